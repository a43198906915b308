# Runs K3s's own uninstall script, whichever is there.
for script in /usr/local/bin/k3s-uninstall.sh /usr/local/bin/k3s-agent-uninstall.sh; do
    [ ! -x "$script" ] || exec "$script"
done
