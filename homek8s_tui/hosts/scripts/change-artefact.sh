# ACTION SHA256 MEMBER MODE SIZE, with the state argument PATH before them; the bytes follow on standard input.
# ACTION: put, or restore FOLDER: what is kept there comes back, or what was put is removed if there was nothing before.
path=$1 action=$2
[ "$action" = put ] || from_nothing "$path"
compare "$1"
folder=$(dirname -- "$path")
case $action in
    restore)
        if [ "$AFTER" = absent ]; then
            rm -f -- "$path" "$path.origin" || fail "$path could not be removed"
            drop_folders "$3"
        elif [ -f "$3/content" ]; then
            rm -f -- "$path.origin"
            [ ! -f "$3/origin" ] || cp -a -- "$3/origin" "$path.origin" || fail "$path.origin could not be restored"
            put_back "$path" "$3" || fail "$path could not be restored"
        else
            fail "what $path was before is no longer kept in $3, so it stays as it is"
        fi
        ;;
    put)
        [ -z "$UNDO" ] || keep_program "$path" "$UNDO" || fail "$path could not be kept for undo in $UNDO"
        (umask 022 && mkdir -p -- "$folder") || fail "the folder $folder could not be made"
        trap 'rm -f -- "$path.download" "$path.fresh" "$path.origin.fresh"' EXIT
        printf 'R\n'
        head -c "$6" >"$path.download" || fail "the download could not be written to $folder"
        put "$path.download" "$path" "$3" "$4" "$5" || fail "$path could not be put in place"
        ;;
esac
finish "$1"
