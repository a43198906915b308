# What a machine is and how it fares, as NAME=VALUE lines.
say() { printf '%s=%s\n' "$1" "$2"; }
# -n comes before -m, however they are written
names=$(uname -nm)
say architecture "${names#* }"
# shellcheck disable=SC1091  # the machine's own
os=$(. /etc/os-release && printf '%s %s %s' "$ID" "${VERSION_ID:-0}" "${ID_LIKE:-}") 2>/dev/null
say os "$os"
say hostname "${names%% *}"
say cgroup "$(stat -fc %T /sys/fs/cgroup 2>/dev/null)"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    case " $(cat /sys/fs/cgroup/cgroup.controllers) " in *' memory '*) say memory_cgroup yes ;; *) say memory_cgroup no ;; esac
elif [ -d /sys/fs/cgroup/memory ]; then
    say memory_cgroup yes
else
    say memory_cgroup no
fi
if [ -d /sys/module/wireguard ] || modinfo wireguard >/dev/null 2>&1; then say wireguard kernel; elif [ -c /dev/net/tun ]; then say wireguard user; else say wireguard none; fi
if command -v curl >/dev/null; then say curl yes; else say curl no; fi
if command -v apt-get >/dev/null; then say apt yes; else say apt no; fi
say forwarding "$(sshd -T 2>/dev/null | while read -r key value; do [ "$key" != allowtcpforwarding ] || printf %s "$value"; done)"
say addresses "$(ip -o -4 addr show 2>/dev/null | while read -r _ device _ address _; do printf '%s:%s ' "$device" "$address"; done)"
say disk_free_kb "$(df -Pk /var/lib 2>/dev/null | { read -r _ && read -r _ _ _ free _; printf %s "$free"; })"
while read -r key value _; do [ "$key" != MemTotal: ] || { say memory_kb "$value"; break; }; done </proc/meminfo
say clock "$(date +%s)"
say clock_synchronized "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
ss -Hlntup 2>/dev/null | while read -r protocol _ _ _ address _ who; do
    case $who in *'(("'*) name=${who##*'(("'} name=${name%%'"'*} ;; *) name='' ;; esac
    say listens "$protocol ${address##*:} ${address%:*} ${name:-kernel}"
done
