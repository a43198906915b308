# state UNIT: whether this agent has joined: installed, running, and holding a kubelet certificate of the cluster.
state() {
    if [ ! -x /usr/local/bin/k3s-agent-uninstall.sh ]; then
        NOW=absent
    elif [ "$(systemctl is-active "$1")" = active ] && [ -s /var/lib/rancher/k3s/agent/client-kubelet.crt ]; then
        NOW=joined
    else
        NOW=installed
    fi
}
