# Asks for the states of many resources of one kind: COUNT ARGUMENT*COUNT, again and again.
# Prints one line each: the state, a tab, the extra text in base64 and a dot, or a plain word of it and a semicolon.
while [ $# -gt 0 ]; do
    count=$1
    shift
    # the first $count arguments to state, the rest for the next round
    rest=$(($# - count))
    NOW='' EXTRA=''
    case $count in
        1) state "$1" ;;
        2) state "$1" "$2" ;;
        3) state "$1" "$2" "$3" ;;
        4) state "$1" "$2" "$3" "$4" ;;
        *) echo "a state takes 1 to 4 arguments, not $count" >&2; exit 64 ;;
    esac
    case $EXTRA in
        *[!A-Za-z0-9=_-]*) printf '%s\t%s.\n' "$NOW" "$(printf %s "$EXTRA" | encode)" ;;
        *) printf '%s\t%s;\n' "$NOW" "$EXTRA" ;;
    esac
    while [ $# -gt "$rest" ]; do shift; done
done
