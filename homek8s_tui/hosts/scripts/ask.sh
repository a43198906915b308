# ask NAME SECONDS SCRIPT ARGUMENT...: runs one question's script and prints its answer as one line.
HOMEK8S_TMP=$(mktemp -d /run/homek8s.XXXXXX) || exit 73
trap 'rm -rf "$HOMEK8S_TMP"' EXIT
trap 'exit 129' HUP INT TERM PIPE
ask() {
    name=$1 seconds=$2 script=$3
    shift 3
    timeout -k 1 "$seconds" sh -c "$script" "$name" "$@" </dev/null >"$HOMEK8S_TMP/out" 2>"$HOMEK8S_TMP/err"
    status=$?
    printf 'A %s %s %s. %s.\n' "$name" "$status" "$(encode <"$HOMEK8S_TMP/out")" "$(encode <"$HOMEK8S_TMP/err")"
}
