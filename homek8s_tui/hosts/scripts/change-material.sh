# Removes the folder that we keep on a machine; the state arguments FOLDER RUN. With a RUN the undo material of others stays.
compare "$@"
if [ -z "${2:-}" ]; then
    rm -rf -- "$1" || fail "$1 could not be removed"
else
    rm -rf -- "$1/undo/$2" "$1/jobs" || fail "what is kept in $1 could not be removed"
    rmdir -- "$1/undo" "$1" 2>/dev/null
fi
rm -rf /run/homek8s || fail "/run/homek8s could not be removed"
finish "$@"
