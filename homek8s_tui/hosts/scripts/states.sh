# Asks for the states of many resources of one kind: COUNT ARGUMENT*COUNT, again and again.
# Prints one line each: the state, a tab, the extra text in base64 and a dot.
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
    [ -z "$EXTRA" ] || EXTRA=$(printf %s "$EXTRA" | encode)
    printf '%s\t%s.\n' "$NOW" "$EXTRA"
    while [ $# -gt "$rest" ]; do shift; done
done
