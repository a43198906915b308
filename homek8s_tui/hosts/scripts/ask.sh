# begin SECONDS SCRIPT: begins to run a script that asks questions and ends by its deadline; it gets the folder for answers.
# tell COUNT: waits for all scripts and prints the answers, a line each.
HOMEK8S_TMP=$(mktemp -d /run/homek8s.XXXXXX) || exit 73
trap 'rm -rf "$HOMEK8S_TMP"' EXIT
trap 'exit 129' HUP INT TERM PIPE
begin() { timeout -k 1 "$1" sh -c "$2" ask "$HOMEK8S_TMP" & }
tell() {
    wait
    name=0
    while [ "$name" -lt "$1" ]; do
        # without a status it was ended by its deadline
        { read -r status <"$HOMEK8S_TMP/$name.status"; } 2>/dev/null || status=124
        printf 'A %s %s %s. %s.\n' "$name" "$status" "$(content "$HOMEK8S_TMP/$name.out")" "$(content "$HOMEK8S_TMP/$name.err")"
        name=$((name + 1))
    done
}
content() { [ ! -s "$1" ] || encode <"$1"; }
