"""Things that go wrong in a home: lines, disks, machines and services, broken on purpose."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .ground import Ground, LabError
from .machines import Host
from .network import PLACES, Place

# A file system that allocates late says it is full while it has blocks left for small writes, so the rest is
# written in small pieces that go straight to the disk. A large disk is refused: it would be the machine's own.
_FILL = """
file=$1/.lab-fill
room() { df --output=avail --block-size=1 "$file" | tail -n 1; }
: >> "$file"
[ "$(room)" -lt 4294967296 ] || { echo "too large to fill: reset(disk=...) or small_directory first" >&2; exit 1; }
for try in 1 2 3 4 5; do
    cat /dev/zero >> "$file" 2>/dev/null
    sync --file-system "$file"
    dd if=/dev/zero of="$file" bs=1k oflag=append,sync conv=notrunc 2>/dev/null
    [ "$(room)" -gt 0 ] || exit 0
done
echo "still $(room) bytes left" >&2
exit 1
"""
_SMALL = """
set -e
mkdir -p "$1"
mount -t tmpfs -o "size=$2,mode=$(stat -c %a "$1")" lab /mnt
cp -a "$1/." /mnt/
mount --bind /mnt "$1"
umount /mnt
"""
_DROP = """
main=$(systemctl show --property MainPID --value ssh)
count=0
for pid in $(pgrep -x sshd); do
    [ "$pid" = "$main" ] || { kill -KILL "$pid" && count=$((count + 1)); }
done
echo "$count"
"""


@dataclass(frozen=True)
class Cut:
    """A line between two places that is down: all of it, or one protocol, or one port of one protocol."""

    one: str
    other: str
    protocol: str | None = None
    port: int | None = None

    def rules(self) -> list[str]:
        """The nft matches for its packets, both ways."""
        ends = PLACES[self.one].address, PLACES[self.other].address
        rules = []
        for source, target in (ends, ends[::-1]):
            match = f"ip saddr {source} ip daddr {target}"
            if self.protocol is None:
                rules.append(match)
            elif self.port is None:
                rules.append(f"{match} ip protocol {self.protocol}")
            else:
                rules += [f"{match} {self.protocol} {side} {self.port}" for side in ("dport", "sport")]
        return rules


class Faults:
    """Breaks things in the lab, and mends them."""

    def __init__(self, ground: Ground, hosts: dict[str, Host]) -> None:
        self._ground = ground
        self._hosts = hosts
        self._cuts: list[Cut] = []
        self._loss = 0
        self._slow: set[str] = set()
        self._unplugged: set[str] = set()

    # -- lines ---------------------------------------------------------------------------------------

    def cut(self, one: str, other: str, *, protocol: str | None = None, port: int | None = None) -> Cut:
        """Let packets between two places disappear, those of known connections too. `mend` ends it.

        Places are the machines, `operator`, `outside` and `mirror`. `protocol` is `tcp` or `udp`.
        """
        for name in (one, other):
            _place(name)
        if one == other or (port is not None and protocol not in ("tcp", "udp")):
            raise LabError(f"no line to cut: {one}, {other}, {protocol}, {port}")
        cut = Cut(one, other, protocol, port)
        self._cuts.append(cut)
        self._apply()
        return cut

    def mend(self, cut: Cut | None = None) -> None:
        """Bring one cut line back, or all of them."""
        self._cuts = [] if cut is None else [other for other in self._cuts if other != cut]
        self._apply()

    @contextmanager
    def cut_for_now(
        self, one: str, other: str, *, protocol: str | None = None, port: int | None = None
    ) -> Iterator[Cut]:
        """`cut` for the length of a with block."""
        cut = self.cut(one, other, protocol=protocol, port=port)
        try:
            yield cut
        finally:
            self.mend(cut)

    def loss(self, percent: int) -> None:
        """Let this share of the packets between home and internet disappear, each way; 0 ends it."""
        if not 0 <= percent <= 100:
            raise LabError(f"not a share: {percent} %")
        self._loss = percent
        self._apply()

    def _apply(self) -> None:
        """Write down the state of all lines at once: in the router, and in the bridges it never sees."""
        router = []
        if self._loss:
            # 100 is no possible remainder, so nft refuses to compare with it.
            router.append("drop" if self._loss == 100 else f"numgen random mod 100 < {self._loss} drop")
        bridges: dict[str, list[str]] = {"lan": [], "inet": []}
        for cut in self._cuts:
            one, other = PLACES[cut.one], PLACES[cut.other]
            chosen = bridges[one.bridge] if one.bridge == other.bridge else router
            chosen += [f"{rule} drop" for rule in cut.rules()]
        lines = ["flush chain ip filter cut", *(f"add rule ip filter cut {rule}" for rule in router)]
        self._nft("router", lines)
        for bridge, rules in bridges.items():
            chain = "add chain bridge cut pass { type filter hook forward priority 0; policy accept; }"
            lines = ["add table bridge cut", "delete table bridge cut"]
            if rules:
                lines += ["add table bridge cut", chain, *(f"add rule bridge cut pass {rule}" for rule in rules)]
            self._nft(bridge, lines)

    def _nft(self, name: str, lines: list[str]) -> None:
        self._ground.run(self._ground.inside(name, ["nft", "-f", "-"], dns=False), stdin="\n".join(lines) + "\n")

    def forget_connections(self) -> None:
        """Empty the router's table of connections, as its reboot would: mappings and endpoints change."""
        self._ground.run(self._ground.inside("router", ["conntrack", "-F"], dns=False))

    def unplug(self, name: str) -> None:
        """Pull a place's cable."""
        self._cable(name, "down")
        self._unplugged.add(name)

    def plug(self, name: str) -> None:
        """Put the cable back."""
        self._cable(name, "up")
        self._unplugged.discard(name)

    def _cable(self, name: str, state: str) -> None:
        place = _place(name)
        self._ground.run(["ip", "-n", self._ground.namespace(place.bridge), "link", "set", place.port, state])

    def slow(self, where: str, rate: str | None) -> None:
        """Limit a line to a rate such as `1mbit`, both ways; None ends it.

        `where` is `home` for the line between home and internet, or a place for its cable. A host that
        boots comes back with a fast line.
        """
        if where == "home":
            ends = [("router", "wan"), ("router", "home")]
        else:
            place = _place(where)
            ends = [(place.bridge, place.port), (where, "eth0")]
        for name, link in ends:
            tc = ["tc", "-n", self._ground.namespace(name), "qdisc"]
            if rate is None:
                self._ground.run([*tc, "del", "dev", link, "root"], check=False)
            else:
                shape = ["tbf", "rate", rate, "burst", "16kb", "latency", "300ms"]
                self._ground.run([*tc, "replace", "dev", link, "root", *shape])
        if rate is None:
            self._slow.discard(where)
        else:
            self._slow.add(where)

    # -- machines ------------------------------------------------------------------------------------

    def small_directory(self, host: Host, path: str, size: str = "1M", *, full: bool = True) -> None:
        """Put a small disk over a directory of a running host (with what is in it), by default a full one.

        `mend_directory` takes it away again.
        """
        host.run(_SMALL, arguments=[path, size])
        if full:
            self.fill(host, path)

    def fill(self, host: Host, directory: str) -> None:
        """Write a file until the disk below this directory has no byte left. `drain` removes it."""
        host.run(_FILL, arguments=[directory])

    def drain(self, host: Host, directory: str) -> None:
        """End what `fill` did."""
        host.run(f"rm -f {shlex.quote(directory.rstrip('/') + '/.lab-fill')}")

    def read_only(self, host: Host, path: str) -> None:
        """Let a directory of a running host refuse writes. `mend_directory` ends it."""
        place = shlex.quote(path)
        host.run(f"set -e; mount --bind {place} {place}; mount -o remount,bind,ro {place}")

    def mend_directory(self, host: Host, path: str) -> None:
        """Take away what `small_directory` or `read_only` put over a directory."""
        host.run(f"umount --lazy {shlex.quote(path)}")

    def drop_ssh(self, host: Host) -> int:
        """End every SSH session of the host right now, and leave its server running; says how many processes."""
        return int(host.run(_DROP))

    def hang(self, host: Host, unit: str) -> None:
        """Stop a unit's main process: systemd still calls it active, and it answers nobody."""
        host.run(f"systemctl kill --signal STOP --kill-whom main {shlex.quote(unit)}")

    def unhang(self, host: Host, unit: str) -> None:
        """Let a unit go on after `hang`."""
        host.run(f"systemctl kill --signal CONT --kill-whom main {shlex.quote(unit)}")

    def restore(self) -> None:
        """End every fault of the lines and thaw every host (a reset host has no fault of its own left)."""
        self._cuts, self._loss = [], 0
        self._apply()
        for where in sorted(self._slow):
            self.slow(where, None)
        for name in sorted(self._unplugged):
            if name not in self._hosts or self._hosts[name].is_on:  # a host that boots brings a new cable
                self.plug(name)
        self._unplugged.clear()
        for host in self._hosts.values():
            host.thaw()


def _place(name: str) -> Place:
    if name not in PLACES:
        raise LabError(f"no such place: {name} (there are {', '.join(PLACES)})")
    return PLACES[name]
