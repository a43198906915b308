# state ROLE: whether the installer has been here: the unit and the way to take it back are both there.
state() {
    case $1 in
        server) unit=k3s uninstall=k3s-uninstall.sh ;;
        *) unit=k3s-agent uninstall=k3s-agent-uninstall.sh ;;
    esac
    if [ -f "/etc/systemd/system/$unit.service" ] && [ -x "/usr/local/bin/$uninstall" ]; then NOW=installed; else NOW=absent; fi
}
