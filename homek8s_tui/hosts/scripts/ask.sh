# ask NAME SECONDS SCRIPT ARGUMENT...: begins to run one question's script; `tell` prints the answer to each, a line each.
# They run side by side: a digest that takes its time keeps no other question waiting, nor do their deadlines add up.
HOMEK8S_TMP=$(mktemp -d /run/homek8s.XXXXXX) || exit 73
trap 'rm -rf "$HOMEK8S_TMP"' EXIT
trap 'exit 129' HUP INT TERM PIPE
asked=''
ask() {
    name=$1 seconds=$2 script=$3
    shift 3
    asked="$asked $name"
    {
        timeout -k 1 "$seconds" sh -c "$script" "$name" "$@" </dev/null >"$HOMEK8S_TMP/$name.out" 2>"$HOMEK8S_TMP/$name.err"
        echo "$?" >"$HOMEK8S_TMP/$name.status"
    } &
}
tell() {
    wait
    for name in $asked; do
        read -r status <"$HOMEK8S_TMP/$name.status" || exit 73
        printf 'A %s %s %s. %s.\n' "$name" "$status" "$(content "$HOMEK8S_TMP/$name.out")" "$(content "$HOMEK8S_TMP/$name.err")"
    done
}
content() { [ ! -s "$1" ] || encode <"$1"; }
