"""Whether the machines can carry a cluster: everything that would fail later, said before anything is changed."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

from homek8s_tui.base.findings import Finding, Severity
from homek8s_tui.features.nodes.facts import NAME, Live, Settled
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.facts import Facts

_ARCHITECTURES = frozenset({"x86_64", "aarch64", "armv7l"})
_NEEDED_KB = {"proxy": 500_000, "node": 2_000_000}
_COMFORTABLE_KB = 10_000_000
_SKEW_SECONDS = 5.0
_OWN_PROGRAMS = frozenset(
    {"traefik", "k3s", "k3s-server", "k3s-agent", "wireguard-go", "kube-apiserver", "kubelet", "kwok"}
)
_PODS_AND_SERVICES = ("10.42.0.0/16", "10.43.0.0/16")


def preflight(home: Home, facts: Facts) -> Iterator[Finding]:
    """Yields what stands against a set-up, and what should be known."""
    names: Counter[str] = Counter()
    for host in home.hosts:
        room = facts.of(host.name, NAME)
        if room is None or not isinstance(room.settled, Settled) or not isinstance(room.live, Live):
            continue
        names[room.settled.hostname] += 1
        yield from _machine(home, host.name, room.settled)
        yield from _fitness(home, host.name, room.live, facts)
    for name, count in names.items():
        if count > 1:
            yield Finding(
                "duplicate-hostname",
                Severity.BLOCKER,
                name,
                f"{count} machines call themselves {name}.",
                "Each said so when asked for its hostname.",
                "Rename all but one: 'hostnamectl set-hostname NAME'.",
            )


def _machine(home: Home, host: str, settled: Settled) -> Iterator[Finding]:
    node = host != home.proxy.name
    if settled.architecture not in _ARCHITECTURES:
        yield Finding(
            "architecture",
            Severity.BLOCKER,
            host,
            f"{host} is a {settled.architecture}; K3s and Traefik are not released for that.",
            "uname -m says so.",
            "Take another machine.",
        )
    if not settled.apt:
        yield Finding(
            "no-apt",
            Severity.BLOCKER,
            host,
            f"{host} has no apt-get.",
            f"Its system is '{settled.os_id}'.",
            "Install Debian, Raspberry Pi OS or Ubuntu there.",
        )
    if node and not settled.cgroup_v2:
        yield Finding(
            "cgroup-v1",
            Severity.BLOCKER,
            host,
            f"{host} has the old control groups, and kubelet refuses them from Kubernetes 1.35 on.",
            "/sys/fs/cgroup is no cgroup2fs.",
            "Remove 'systemd.unified_cgroup_hierarchy=0' from its kernel command line and reboot.",
            waivable=True,
        )
    if node and not settled.memory_cgroup:
        yield Finding(
            "memory-cgroup",
            Severity.BLOCKER,
            host,
            f"{host} has no memory control group, so K3s will not start.",
            "'memory' is not among its cgroup controllers.",
            "Add 'cgroup_memory=1 cgroup_enable=memory' to the one line of /boot/firmware/cmdline.txt and reboot.",
        )
    if settled.wireguard == "none":
        yield Finding(
            "no-wireguard",
            Severity.BLOCKER,
            host,
            f"{host} has neither a WireGuard kernel module nor a TUN device.",
            "modinfo finds no wireguard and /dev/net/tun is missing.",
            "Enable TUN with the provider, or take a kernel with WireGuard.",
        )
    elif settled.wireguard == "user":
        yield Finding(
            "wireguard-in-user-space",
            Severity.NOTE,
            host,
            f"{host} will run WireGuard in user space, which is slower.",
            "Its kernel has no WireGuard module.",
        )
    if settled.forwarding not in ("", "yes", "local"):
        yield Finding(
            "no-forwarding",
            Severity.BLOCKER,
            host,
            f"sshd on {host} forwards no TCP connections, and the proofs look through it.",
            f"sshd -T says allowtcpforwarding {settled.forwarding}.",
            "Set 'AllowTcpForwarding local' in its sshd_config.",
        )
    if node and settled.hostname != host:
        yield Finding(
            "other-hostname",
            Severity.NOTE,
            host,
            f"{host} calls itself {settled.hostname}; in the cluster it will be {host}.",
            "hostname says so.",
        )
    for subnet in (home.tunnel.subnet, *(_PODS_AND_SERVICES if node else ())):
        for interface, address in settled.addresses:
            if ipaddress.ip_network(subnet).overlaps(ipaddress.ip_interface(address).network):
                yield Finding(
                    "subnet-taken",
                    Severity.BLOCKER,
                    host,
                    f"{interface} of {host} is in {subnet}, which this home needs for itself.",
                    f"It has the address {address}.",
                    "Choose another tunnel.subnet, or another address for that network.",
                )


def _fitness(home: Home, host: str, live: Live, facts: Facts) -> Iterator[Finding]:
    node = host != home.proxy.name
    needed = _NEEDED_KB["node" if node else "proxy"]
    free = f"{live.disk_free_kb // 1024} MB are free."
    if live.disk_free_kb < needed:
        yield Finding(
            "disk-full",
            Severity.BLOCKER,
            host,
            f"{host} has too little space in /var/lib; {needed // 1000} MB are needed.",
            free,
            "Free some space or take a larger disk.",
        )
    elif node and live.disk_free_kb < _COMFORTABLE_KB:
        yield Finding("disk-small", Severity.WARNING, host, f"{host} has little space for images and volumes.", free)
    # one machine that is slow to answer keeps all of them waiting, and is no wrong clock
    skew = max(facts.began - live.clock, live.clock - facts.now)
    if skew > _SKEW_SECONDS:
        yield Finding(
            "clock-wrong",
            Severity.BLOCKER,
            host,
            f"The clock of {host} is {skew:.0f} s away from this console's; certificates and tokens would fail.",
            "Both were read during the same question.",
            "Turn on time synchronisation: 'timedatectl set-ntp true'.",
        )
    elif not live.clock_synchronized:
        yield Finding(
            "clock-unsynchronized",
            Severity.WARNING,
            host,
            f"Nothing keeps the clock of {host} right.",
            "timedatectl says that it is not synchronised.",
            "'timedatectl set-ntp true', or install systemd-timesyncd.",
        )
    wanted = {("udp", home.tunnel.port)} | (
        {("tcp", 6443), ("tcp", 10250)} if node else {("tcp", 80), ("tcp", 443), ("tcp", 6443)}
    )
    for listener in live.listeners:
        own = listener.program in _OWN_PROGRAMS or (listener.protocol == "udp" and listener.program == "kernel")
        if (listener.protocol, listener.port) in wanted and not own:
            yield Finding(
                "port-taken",
                Severity.BLOCKER,
                host,
                f"{listener.program} on {host} listens on {listener.protocol} {listener.port}, which this home needs.",
                f"It is bound to {listener.address}.",
                f"Stop {listener.program} or move it to another port.",
            )
