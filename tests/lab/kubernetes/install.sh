#!/bin/sh
# The lab's stand-in for K3s's installer: the same variables, files, units and refusals, nothing downloaded.
#
# Variables: K3S_* (kept for the unit), INSTALL_K3S_EXEC (or arguments), INSTALL_K3S_SKIP_DOWNLOAD (the lab has
# no releases to download, so it must be true), INSTALL_K3S_SKIP_START, INSTALL_K3S_SKIP_ENABLE,
# INSTALL_K3S_FORCE_RESTART, INSTALL_K3S_SYMLINK (skip, force), INSTALL_K3S_NAME, INSTALL_K3S_TYPE,
# INSTALL_K3S_BIN_DIR, INSTALL_K3S_SYSTEMD_DIR, INSTALL_K3S_VERSION (only reported).
set -eu

info() {
    echo "[INFO]  $*"
}

fatal() {
    echo "[ERROR]  $*" >&2
    exit 1
}

# One word for a systemd unit's command line.
quoted() {
    printf '%s' "$1" | sed "s/[\\\\\"]/\\\\&/g; s/%/%%/g; s/\\\$/\$\$/g; 1s/^/\"/; \$s/\$/\"/"
}

checksums() {
    sha256sum "$BIN_DIR/k3s" "$UNIT" "$UNIT.env" 2>&1 || true
}

install_links() {
    [ "${INSTALL_K3S_SYMLINK:-}" != skip ] || return 0
    for name in kubectl crictl ctr; do
        if [ "${INSTALL_K3S_SYMLINK:-}" != force ]; then
            if [ -e "$BIN_DIR/$name" ]; then
                info "Skipping $BIN_DIR/$name symlink to k3s, already exists"
                continue
            fi
            if elsewhere=$(command -v "$name" 2>/dev/null); then
                info "Skipping $BIN_DIR/$name symlink to k3s, command exists in PATH at $elsewhere"
                continue
            fi
        fi
        info "Creating $BIN_DIR/$name symlink to k3s"
        ln -sf k3s "$BIN_DIR/$name"
    done
}

install_killall() {
    info "Creating killall script $BIN_DIR/k3s-killall.sh"
    cat >"$BIN_DIR/k3s-killall.sh" <<'EOF'
#!/bin/sh
# Stops every K3s unit and takes its network interfaces away.
[ "$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
for unit in /etc/systemd/system/k3s*.service; do
    [ -s "$unit" ] && systemctl stop "$(basename "$unit")"
done
for link in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
    [ -e "/sys/class/net/$link" ] && ip link delete "$link"
done
rm -rf /var/lib/cni
exit 0
EOF
    chmod 755 "$BIN_DIR/k3s-killall.sh"
}

install_uninstall() {
    script=$BIN_DIR/$SYSTEM_NAME-uninstall.sh
    info "Creating uninstall script $script"
    cat >"$script" <<EOF
#!/bin/sh
# Removes $SYSTEM_NAME from this machine. As with the real script, /etc/rancher/node stays.
[ "\$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "\$0" "\$@"
data=\${K3S_DATA_DIR:-/var/lib/rancher/k3s}
[ ! -x "$BIN_DIR/k3s-killall.sh" ] || "$BIN_DIR/k3s-killall.sh"
systemctl disable "$SYSTEM_NAME"
rm -f "$UNIT" "$UNIT.env"
systemctl reset-failed "$SYSTEM_NAME" 2>/dev/null
systemctl daemon-reload
trap 'rm -f "$script"' EXIT
for unit in "$SYSTEMD_DIR"/k3s*.service; do
    if [ -e "\$unit" ]; then
        echo 'Additional k3s services installed, skipping uninstall of k3s'
        exit 0
    fi
done
for name in kubectl crictl ctr; do
    [ ! -L "$BIN_DIR/\$name" ] || rm -f "$BIN_DIR/\$name"
done
rm -rf /etc/rancher/k3s /run/k3s /run/flannel "\$data" /var/lib/kubelet
rm -f "$BIN_DIR/k3s" "$BIN_DIR/k3s-killall.sh"
EOF
    chmod 755 "$script"
}

install_environment() {
    info "env: Creating environment file $UNIT.env"
    rm -f "$UNIT.env"
    (
        umask 077
        # The shell quotes the values in a way that systemd understands too.
        export -p | sed -nE 's/^export ((K3S|CONTAINERD)_[A-Za-z0-9_]*=)/\1/p
            s/^export ((NO|HTTP|HTTPS|no|http|https)_(PROXY|proxy)=)/\1/p' >"$UNIT.env"
    )
}

install_unit() {
    info "systemd: Creating service file $UNIT"
    cat >"$UNIT" <<EOF
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=${INSTALL_K3S_TYPE:-notify}
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-$UNIT.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=$BIN_DIR/k3s $COMMAND_LINE
EOF
}

start() {
    [ "${INSTALL_K3S_SKIP_ENABLE:-}" != true ] || return 0
    info "systemd: Enabling $SYSTEM_NAME unit"
    systemctl enable "$UNIT" >/dev/null 2>&1
    systemctl daemon-reload
    [ "${INSTALL_K3S_SKIP_START:-}" != true ] || return 0
    if [ "$before" = "$(checksums)" ] && [ "${INSTALL_K3S_FORCE_RESTART:-}" != true ]; then
        info 'No change detected so skipping service start'
        return 0
    fi
    info "systemd: Starting $SYSTEM_NAME"
    systemctl restart "$SYSTEM_NAME"
}

# The words of INSTALL_K3S_EXEC come before the arguments. Quotes in it hold words together; anything else that
# the shell would act on is made harmless first.
words=$(printf '%s' "${INSTALL_K3S_EXEC:-}" | sed "s/[^A-Za-z0-9 '\"=.,:@+_\/-]/\\\\&/g")
eval "set -- $words \"\$@\""

command -v systemctl >/dev/null 2>&1 || fatal 'Can not find systemd or openrc to use as a process supervisor for k3s'
[ "$(id -u)" -eq 0 ] || fatal "the lab's stand-in for the installer must be run by root"

case "${1:-}" in
    -* | '')
        if [ -z "${K3S_URL:-}" ]; then
            command=server
        else
            [ -n "${K3S_TOKEN:-}${K3S_TOKEN_FILE:-}" ] || fatal "Defaulted k3s exec command to 'agent' because K3S_URL" \
                "is defined, but K3S_TOKEN or K3S_TOKEN_FILE is not defined."
            command=agent
        fi
        ;;
    *)
        command=$1
        shift
        ;;
esac
case "${K3S_URL:-}" in
    '' | https://*) ;;
    *) fatal "Only https:// URLs are supported for K3S_URL (have $K3S_URL)" ;;
esac

COMMAND_LINE=$command
for word in "$@"; do
    COMMAND_LINE="$COMMAND_LINE $(quoted "$word")"
done
if [ -n "${INSTALL_K3S_NAME:-}" ]; then
    SYSTEM_NAME=k3s-$INSTALL_K3S_NAME
elif [ "$command" = server ]; then
    SYSTEM_NAME=k3s
else
    SYSTEM_NAME=k3s-$command
fi
case "$SYSTEM_NAME" in
    *[!A-Za-z0-9:.@-]*) fatal "Invalid characters for system name: $SYSTEM_NAME" ;;
esac
BIN_DIR=${INSTALL_K3S_BIN_DIR:-/usr/local/bin}
SYSTEMD_DIR=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}
UNIT=$SYSTEMD_DIR/$SYSTEM_NAME.service
before=$(checksums)

case "${INSTALL_K3S_SKIP_DOWNLOAD:-}" in
    true | binary) ;;
    *)
        [ -z "${INSTALL_K3S_VERSION:-}" ] || info "Using $INSTALL_K3S_VERSION as release"
        fatal 'Download failed (the lab has no releases: set INSTALL_K3S_SKIP_DOWNLOAD=true)'
        ;;
esac
info 'Skipping k3s download and verify'
[ -x "$BIN_DIR/k3s" ] || fatal "Executable k3s binary not found at $BIN_DIR/k3s"
info 'Skipping installation of SELinux RPM'

install_links
install_killall
install_uninstall
systemctl disable "$SYSTEM_NAME" >/dev/null 2>&1 || true
install_environment
install_unit
start
