# ACTION MODE OWNER GROUP, with the state arguments PATH FIELDS PLACES HOST before them; the content is the payload.
# ACTION: write, remove, or the folder of undo material to restore from.
path=$1 PLACES=$3 HOST=$4 action=$5 mode=$6 owner=$7 group=$8
case $action in write | remove) ;; *) from_nothing "$path" ;; esac
compare "$1" "$2" "$3" "$4"
folder=$(dirname -- "$path")
fill() {
    if [ -z "$PLACES" ]; then
        cat
        return
    fi
    end=yes
    while IFS= read -r line || { [ -n "$line" ] && end=no; }; do
        for place in $PLACES; do
            marker="<secret: $HOST:$place>"
            before=''
            while :; do
                case $line in
                    *"$marker"*) ;;
                    *) break ;;
                esac
                value=''
                IFS= read -r value <"$place"
                [ -n "$value" ] || return 1
                before="$before${line%%"$marker"*}$value"
                line=${line#*"$marker"}
            done
            line=$before$line
        done
        printf '%s' "$line" || return 1
        [ "$end" = no ] || echo || return 1
    done
}
[ -z "$UNDO" ] || keep "$path" "$UNDO" || fail "$path could not be kept for undo in $UNDO"
case $action in
    write)
        (umask 022 && mkdir -p -- "$folder") || fail "the folder $folder could not be made"
        fresh=$(mktemp "$folder/.homek8s.XXXXXX") || fail "nothing can be written in $folder"
        trap 'rm -f -- "$fresh"' EXIT
        printf %s "$PAYLOAD" | base64 -d | fill >"$fresh" || fail "the content of $path could not be written"
        chown -- "$owner:$group" "$fresh" && chmod -- "$mode" "$fresh" || fail "$path could not get its owner and mode"
        sync -- "$fresh" || fail "$path could not be written to the disk"
        # what was written is judged before it takes the old file's place, so nothing half-written is ever seen
        look "$fresh" "$2" "$3" "$4"
        # shellcheck disable=SC2254  # a pattern on purpose
        case $NOW in
            $AFTER) ;;
            *) fail "what was written for $path came out as '$NOW' and not '$AFTER'" ;;
        esac
        mv -fT -- "$fresh" "$path" || fail "$path could not be replaced"
        trap - EXIT
        ;;
    remove) rm -f -- "$path" || fail "$path could not be removed" ;;
    *)
        if [ "$AFTER" = absent ]; then
            rm -f -- "$path" || fail "$path could not be removed"
            drop_folders "$action"
        elif [ -e "$action/content" ] || [ -L "$action/content" ]; then
            put_back "$path" "$action" || fail "$path could not be restored"
        else
            fail "what $path was before is no longer kept in $action, so it stays as it is"
        fi
        ;;
esac
finish "$1" "$2" "$3" "$4"
