"""What a home is made of: files, units, packages, users, the tunnel and API objects, as lines to compare."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .lab import Lab
from .machines import Host

EndState = dict[str, Counter[str]]
"""Lines by machine; beside the machines there are `objects`, the cluster's, and `console`, this side's."""

# What a run may leave behind: our own folder goes by the undo itself, logs and caches are the machine's, and useradd
# keeps a copy of the old files beside the new ones.
_MADE_OF = r"""
cd /
found() {
    find etc usr/local var/lib root home opt srv -xdev \
        \( -path var/lib/dpkg -o -path var/lib/apt -o -path var/lib/systemd -o -path var/lib/sudo -o -path var/lib/homek8s \) -prune \
        -o ! -name 'passwd-' ! -name 'group-' ! -name 'shadow-' ! -name 'gshadow-' ! -path etc/ld.so.cache ! -path etc/machine-id "$@"
}
found -type f -exec sha256sum {} + | sed 's/^/sum /'
found \( -type f -o -type l \) -printf 'file %p %m %u %g %l\n'
getent passwd | cut -d: -f1
ip route | sort
ls /sys/class/net
systemctl list-unit-files --no-legend --state=enabled | sort
"""
# Files in which only names of runs and keys are random are compared without these.
_MORE = r"""
cd /
find etc/traefik etc/wireguard etc/rancher var/lib/homek8s run/homek8s* -printf '%p %y %m %u %g\n' 2>/dev/null
find etc/wireguard/*.conf var/lib/homek8s -type f ! -name out -printf 'text of %p ' -exec sh -c '
    sed -E "s#[A-Za-z0-9+/]{43}=#KEY#g; s#(jobs|undo|homek8s)([/-])[0-9a-f]{8}([/-])#\1\2RUN\3#g" "$1" | sha256sum' x {} \;
dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
getent passwd | sed 's/^/user /'
getent group | sed 's/^/group /'
systemctl list-units --all --no-legend --plain --type=service,path,socket,timer | awk '{ print "unit", $1, $2, $3, $4 }'
if command -v wg >/dev/null; then for what in allowed-ips persistent-keepalive; do wg show all $what | awk '{ print $1, $3 }'; done; fi
"""
_OBJECTS = r"""
export KUBECACHEDIR=/run/lab-kubectl
kinds=$(k3s kubectl api-resources --verbs=list -o name | grep -vxE 'events(\..*)?' | paste -s -d ,)
k3s kubectl get "$kinds" -A --no-headers -o custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name
k3s kubectl get nodes --no-headers -o 'custom-columns=NAME:.metadata.name,READY:.status.conditions[?(@.type=="Ready")].status,ADDRESS:.status.addresses[0].address,TAINTS:.spec.taints'
rm -rf /run/lab-kubectl
"""
# What may differ between two runs that end the same: what to look for, what to put in its place, and why.
_DIFFERS = tuple(
    (re.compile(pattern), kept)
    for pattern, kept, _why in (
        (
            r"^(etc/wireguard/\S+\.(?:key|psk|conf) .*) [0-9a-f]{64}",
            r"\1 DIGEST",
            "each home has keys of its own; the configuration without them is compared beside this",
        ),
        (r"^(etc/systemd/system/k3s-agent\.service\.env .*) [0-9a-f]{64}", r"\1 DIGEST", "holds the join token"),
        (r"^(etc/rancher/node/password .*) [0-9a-f]{64}", r"\1 DIGEST", "K3s makes it, a node each"),
        (r"^(etc/rancher/k3s/k3s\.yaml .*) [0-9a-f]{64}", r"\1 DIGEST", "the cluster's own certificates"),
        (
            r"^(var/lib/rancher/k3s/(?:server/(?:cred|tls|db|token)|agent/\S+\.(?:crt|key|kubeconfig)).*) [0-9a-f]{64}",
            r"\1 DIGEST",
            "the cluster's own certificates, tokens and datastore",
        ),
        (r"^(var/lib/homek8s/(?:jobs|undo)/)[0-9a-f]{8}", r"\1RUN", "a run's name"),
        (r"^(text of var/lib/homek8s/(?:jobs|undo)/)[0-9a-f]{8}", r"\1RUN", "a run's name"),
        (
            r"^(Secret +kube-system +bootstrap-token-).*",
            r"\1ID",
            "the join token's own name; that it is one is compared",
        ),
        (
            r"^unit (?:user@|user-runtime-dir@|systemd-(?:timedated|hostnamed|localed)|systemd-tmpfiles-clean|apt-daily|dpkg-db-backup|e2scrub|fstrim|man-db).*",
            "",
            "comes and goes with logins, questions and the hour",
        ),
        (
            r"(client-(?:certificate|key)-data|certificate-authority-data): .*",
            r"\1: DATA",
            "the cluster's certificates",
        ),
    )
)


def made_of(lab: Lab) -> dict[str, set[str]]:
    """What the machines are made of: what an undo must bring back."""
    return {name: set(lines) for name, lines in _of_each(lab, _made_of).items()}


def end_state(lab: Lab, *files: Path) -> EndState:
    """Everything that a set-up ends in, without what is random.

    Args:
        lab: A lab whose machines are set up.
        files: The files of the console that the run wrote for its operator.
    """
    found = _of_each(lab, lambda host: [*_made_of(host), *_lines(host, _MORE)])
    found["objects"] = _lines(lab.pi4, _OBJECTS)
    found["console"] = [
        f"{path.name} {path.stat().st_mode & 0o777:o}: {line}"
        for path in files
        for line in path.read_text().splitlines()
    ]
    return {name: Counter(filter(None, map(_steady, lines))) for name, lines in found.items()}


def difference(one: EndState, other: EndState) -> list[str]:
    """What is in one and not in the other, a line each."""
    return [
        f"{sign} {name}: {line}"
        for name in one.keys() | other.keys()
        for sign, left, right in (("-", one, other), ("+", other, one))
        for line in sorted((left[name] - right[name]).elements())
    ]


def _of_each(lab: Lab, look: Callable[[Host], list[str]]) -> dict[str, list[str]]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(lab.hosts, pool.map(look, lab.hosts.values()), strict=True))


def _made_of(host: Host) -> list[str]:
    sums: dict[str, str] = {}
    lines = []
    for line in _lines(host, _MADE_OF):
        kind, _, rest = line.partition(" ")
        if kind == "sum":
            digest, _, path = rest.partition("  ")
            sums[path] = digest
        elif kind == "file":
            lines.append(f"{rest} {sums.get(rest.split()[0], 'link')}")
        else:
            lines.append(line)
    return lines


def _lines(host: Host, script: str) -> list[str]:
    return host.run(script, timeout=120).splitlines()


def _steady(line: str) -> str:
    for pattern, kept in _DIFFERS:
        line = pattern.sub(kept, line)
    return line
