# INSTALLER URL: installs and starts an agent; its token comes on standard input, and the installer keeps it 0600.
IFS= read -r K3S_TOKEN || { echo 'no token came' >&2; exit 1; }
K3S_URL=$2 INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=agent
export K3S_TOKEN K3S_URL INSTALL_K3S_SKIP_DOWNLOAD INSTALL_K3S_SKIP_START INSTALL_K3S_EXEC
sh "$1" || exit 1
unset K3S_TOKEN
systemctl enable -q k3s-agent
# waits until systemd says active, which an agent is once the server took it
timeout 150 systemctl restart k3s-agent && exit 0
journalctl -q --no-pager -o cat -n 20 -u k3s-agent
exit 1
