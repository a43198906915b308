# ENABLED ACTIVE HOW, with the state arguments NAME WATCHED before them. HOW: reload or restart.
name=$1 enabled=$3 active=$4 how=$5
compare "$1" "$2"
case $NOW in masked*) fail "$name is masked on this machine; 'systemctl unmask $name' if that is a mistake" ;; esac
why() {
    printf '%s\n' "$1" >&2
    journalctl -q --no-pager -o cat -n 15 -u "$name" >&2
    exit 1
}
systemctl daemon-reload || fail "systemd could not read its units again"
if [ "$enabled" = yes ]; then
    systemctl enable -q -- "$name" || fail "$name could not be enabled"
elif [ "$enabled" = no ]; then
    systemctl disable -q -- "$name" 2>/dev/null
fi
if [ "$active" = yes ]; then
    mkdir -p /run/homek8s/units
    # stamped before it starts: what is written while it starts must count as newer
    : >"/run/homek8s/units/.$name"
    case $NOW in
        *" active "*) verb=$how ;;
        *) verb=restart ;;
    esac
    systemctl "$verb" -- "$name" || why "$name did not $verb; its last words:"
    mv -f "/run/homek8s/units/.$name" "/run/homek8s/units/$name"
else
    systemctl stop -- "$name" 2>/dev/null
    systemctl reset-failed -- "$name" 2>/dev/null
    rm -f "/run/homek8s/units/$name"
fi
finish "$1" "$2"
