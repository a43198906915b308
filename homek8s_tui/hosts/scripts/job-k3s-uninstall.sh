# Runs K3s's own uninstall script, whichever is there, and removes the node's password, which that leaves behind: a
# machine that joins again as another cluster's node would be refused with it.
for script in /usr/local/bin/k3s-uninstall.sh /usr/local/bin/k3s-agent-uninstall.sh; do
    [ ! -x "$script" ] || "$script" || exit 1
done
rm -rf /etc/rancher/node
rmdir /etc/rancher 2>/dev/null || true
