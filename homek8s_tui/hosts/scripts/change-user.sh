# ACTION SHELL HOME, with the state argument NAME before them. ACTION: make or remove.
name=$1 action=$2
compare "$1"
case $action in
    make) useradd --system --user-group --no-create-home --shell "$3" --home-dir "$4" -- "$name" >&2 || fail "the user $name could not be made" ;;
    remove) userdel -- "$name" >&2 || fail "the user $name could not be removed" ;;
esac
finish "$1"
