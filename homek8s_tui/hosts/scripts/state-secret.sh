# state PATH MAKE: a secret's place. What it holds is told by its SHA-256 only (it is random, so that tells nothing);
# of a WireGuard key also the public half.
state() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then
        NOW="absent"
    elif [ -f "$1" ] && [ ! -L "$1" ]; then
        if [ "$2" = kubeconfig ]; then
            # its client certificate is what changes with the cluster; the file itself is K3s's own
            digest=$(sed -n 's/^ *client-certificate-data: *//p' "$1" | tr -d '\n' | sha256sum)
        else
            digest=$(sha256sum <"$1")
        fi
        NOW="present $(stat -c '%a %U' -- "$1") ${digest%% *}"
        EXTRA="sha256=${digest%% *}"
        if [ "$2" = wg-private-key ] && command -v wg >/dev/null; then
            EXTRA="$EXTRA
public=$(wg pubkey <"$1" 2>/dev/null)"
        fi
    else
        NOW="special"
    fi
    OUTPUTS=$EXTRA
}
