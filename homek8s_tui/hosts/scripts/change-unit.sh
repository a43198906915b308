# ENABLED ACTIVE HOW, with the state arguments NAME WATCHED before them. HOW: reload or restart.
NAME=$1 ENABLED=$3 ACTIVE=$4 HOW=$5
compare "$1" "$2"
case $NOW in masked*) fail "$NAME is masked on this machine; 'systemctl unmask $NAME' if that is a mistake" ;; esac
why() {
    printf '%s\n' "$1" >&2
    journalctl -q --no-pager -o cat -n 15 -u "$NAME" >&2
    exit 1
}
systemctl daemon-reload || fail "systemd could not read its units again"
if [ "$ENABLED" = yes ]; then
    systemctl enable -q -- "$NAME" || fail "$NAME could not be enabled"
elif [ "$ENABLED" = no ]; then
    systemctl disable -q -- "$NAME" 2>/dev/null
fi
if [ "$ACTIVE" = yes ]; then
    mkdir -p /run/homek8s/units
    # stamped before it starts: what is written while it starts must count as newer
    : >"/run/homek8s/units/.$NAME"
    case $NOW in
        *" active "*) verb=$HOW ;;
        *) verb=restart ;;
    esac
    systemctl "$verb" -- "$NAME" || why "$NAME did not $verb; its last words:"
    systemctl show -p InvocationID --value -- "$NAME" >"/run/homek8s/units/$NAME.run"
    mv -f "/run/homek8s/units/.$NAME" "/run/homek8s/units/$NAME"
    look "$1" "$2"
    # a simple service counts as started as soon as its process exists, however short it lives
    case $NOW in
        *" active "*) ;;
        *) why "$NAME did not stay active; its last words:" ;;
    esac
else
    systemctl stop -- "$NAME" 2>/dev/null
    systemctl reset-failed -- "$NAME" 2>/dev/null
    rm -f "/run/homek8s/units/$NAME" "/run/homek8s/units/$NAME.run"
fi
finish "$1" "$2"
