# ACTION, with the state arguments PATH MAKE before it. ACTION: make (here, by the tool that owns the format), copy
# (the payload is the value) or remove.
path=$1 make=$2 action=$3
compare "$1" "$2"
folder=$(dirname -- "$path")
case $action in
    remove)
        rm -f -- "$path" || fail "$path could not be removed"
        ;;
    *)
        mkdir -p -- "$folder" || fail "the folder $folder could not be made"
        if [ "$NOW" = absent ]; then
            fresh=$(mktemp "$folder/.homek8s.XXXXXX") || fail "nothing can be written in $folder"
            trap 'rm -f -- "$fresh"' EXIT
            case $action:$make in
                copy:*) printf %s "$PAYLOAD" | base64 -d >"$fresh" || fail "$path could not be written" ;;
                make:wg-private-key) wg genkey >"$fresh" || fail "wg could not make a key" ;;
                make:wg-preshared-key) wg genpsk >"$fresh" || fail "wg could not make a key" ;;
                *) fail "no way is known to make a $make" ;;
            esac
            [ -s "$fresh" ] || fail "the new $make came out empty"
            sync -- "$fresh" || fail "$path could not be written to the disk"
            mv -nT -- "$fresh" "$path" || fail "$path could not be put in place"
            trap - EXIT
        fi
        chown root:root -- "$path" && chmod 600 -- "$path" || fail "$path could not be made private"
        ;;
esac
finish "$1" "$2"
