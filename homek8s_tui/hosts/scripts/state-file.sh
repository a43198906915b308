# state PATH FIELDS PLACES HOST: a file's state, with the secrets in it masked before anything leaves the machine.
# FIELDS: names, comma separated, whose values are always masked. PLACES: paths, space separated, of secrets that
# may stand in the file; a value that equals one is shown as that place, any other masked value as <hidden>.
mask() {
    end=yes
    while IFS= read -r line || { [ -n "$line" ] && end=no; }; do
        for place in $PLACES; do
            # a last line without its end is read too, though read then says that it failed
            value=''
            { IFS= read -r value <"$place"; } 2>/dev/null
            [ -n "$value" ] || continue
            before=''
            while :; do
                case $line in
                    *"$value"*) ;;
                    *) break ;;
                esac
                before="$before${line%%"$value"*}<secret: $HOST:$place>"
                line=${line#*"$value"}
            done
            line=$before$line
        done
        case $line in
            *"<secret: $HOST:"*) ;;
            *[=:]*)
                key=${line%%[=:]*}
                # most keys need no program to take the blanks and dashes out
                key=${key% }
                case $key in *[!A-Za-z0-9_]*) key=$(printf %s "$key" | tr -d ' \t-') ;; esac
                # a line that begins with = or : names no field
                case ",$FIELDS," in
                    *",${key:-=},"*) line="${line%%[=:]*}= <hidden>" ;;
                esac
                ;;
        esac
        printf '%s' "$line"
        # as the file has it, so that the digest is that of the text which was approved
        [ "$end" = no ] || echo
    done
}
state() {
    FIELDS=$2 PLACES=$3 HOST=$4
    if [ -L "$1" ]; then
        NOW="link"
    elif [ -d "$1" ]; then
        NOW="directory"
    elif [ ! -e "$1" ]; then
        NOW="absent"
    elif [ ! -f "$1" ]; then
        NOW="special"
    elif [ -n "$FIELDS$PLACES" ]; then
        # the dot keeps line ends at the end
        masked=$(mask <"$1"; printf .)
        digest=$(printf %s "${masked%.}" | sha256sum)
        NOW="file $(stat -c '%a %U %G' -- "$1") ${digest%% *}"
        EXTRA=$(printf %s "${masked%.}" | head -c 65536)
    else
        digest=$(sha256sum <"$1")
        NOW="file $(stat -c '%a %U %G' -- "$1") ${digest%% *}"
        # every sh leaves null characters out of this
        EXTRA=$(head -c 65536 <"$1")
    fi
}
