# INTERFACE: its peers, never their keys' private halves: `wg show INTERFACE dump` would print those.
[ -d "/sys/class/net/$1" ] || { echo 'interface=absent'; exit 0; }
echo 'interface=up'
echo "now=$(date +%s)"
echo "mtu=$(cat "/sys/class/net/$1/mtu")"
for what in allowed-ips endpoints latest-handshakes transfer persistent-keepalive; do
    wg show "$1" "$what" | while IFS= read -r line; do printf '%s\t%s\n' "$what" "$line"; done
done
