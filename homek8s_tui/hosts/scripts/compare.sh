# Compare before changing. A change's script defines `state` (from its kind's state script), sets BEFORE, AFTER,
# UNDO, and calls `compare STATE-ARGUMENT...` first and `finish STATE-ARGUMENT...` last.
report() { printf 'C %s %s. %s.\n' "$1" "$(printf %s "$NOW" | encode)" "$(printf %s "${OUTPUTS:-}" | encode)"; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
# look STATE-ARGUMENT...: sets NOW and OUTPUTS. In a shell of its own: a state's variables are not the change's, and
# whoever writes the one need not know the other.
look() {
    seen=$(
        NOW='' EXTRA='' OUTPUTS=''
        state "$@"
        printf '%s %s' "$(printf %s "$NOW" | encode)" "$(printf %s "$OUTPUTS" | encode)"
    ) || exit
    # the dot keeps line ends, which a substitution drops
    NOW=$(printf %s "${seen% *}" | base64 -d; printf .)
    NOW=${NOW%.}
    OUTPUTS=$(printf %s "${seen#* }" | base64 -d)
}
compare() {
    look "$@"
    # shellcheck disable=SC2254  # both are patterns on purpose: * stands for anything
    case $NOW in
        $AFTER) report already; exit 0 ;;
        $BEFORE) ;;
        *) report refused; exit 0 ;;
    esac
}
finish() {
    look "$@"
    # shellcheck disable=SC2254  # a pattern on purpose
    case $NOW in
        $AFTER) report changed ;;
        *) fail "it was done, but the state is now '$NOW' and not '$AFTER'" ;;
    esac
}
