# ACTION SHA256 MEMBER MODE SIZE, with the state argument PATH before them; the bytes follow on standard input.
# ACTION: put or remove.
path=$1 action=$2
compare "$1"
folder=$(dirname -- "$path")
case $action in
    remove)
        rm -f -- "$path" "$path.origin" || fail "$path could not be removed"
        if [ -f "$3/folders" ]; then
            while IFS= read -r made; do rmdir -- "$made" 2>/dev/null || break; done <"$3/folders"
        fi
        ;;
    put)
        if [ -n "$UNDO" ]; then
            keep_folder
            keep_folders "$folder"
        fi
        (umask 022 && mkdir -p -- "$folder") || fail "the folder $folder could not be made"
        trap 'rm -f -- "$path.download" "$path.fresh" "$path.origin.fresh"' EXIT
        printf 'R\n'
        head -c "$6" >"$path.download" || fail "the download could not be written to $folder"
        put "$path.download" "$path" "$3" "$4" "$5" || fail "$path could not be put in place"
        ;;
esac
finish "$1"
