"""The lab's networks: an internet, a home behind a NAT router, and the places between which tests talk.

Every link is born with both ends in namespaces of the lab, so the machine's own links, routes and firewall
are never touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from .ground import Ground, wait_until

DOMAIN = "home.example"
MIRROR_NAME = "mirror.example"
DNS_ADDRESS = "198.51.100.53"
ROUTER_OUTSIDE = "198.51.100.1"
ROUTER_INSIDE = "192.168.1.1"


@dataclass(frozen=True)
class Place:
    """Something with an address: a machine or a plain namespace."""

    name: str
    bridge: str
    address: str
    gateway: str | None = None

    @property
    def at_home(self) -> bool:
        """Whether it stands behind the home's router."""
        return self.bridge == "lan"

    @property
    def port(self) -> str:
        """The name of the bridge's end of its cable."""
        return f"v-{self.name}"

    @property
    def mac(self) -> str:
        """A fixed hardware address: neighbours would keep a changed one in mind for many seconds."""
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.address.split("."))


PROXY = Place("proxy", "inet", "198.51.100.10")
PI4 = Place("pi4", "lan", "192.168.1.4", ROUTER_INSIDE)
PI5 = Place("pi5", "lan", "192.168.1.5", ROUTER_INSIDE)
OPERATOR = Place("operator", "lan", "192.168.1.10", ROUTER_INSIDE)
OUTSIDE = Place("outside", "inet", "198.51.100.77")
MIRROR = Place("mirror", "inet", "198.51.100.20")
PLACES = {place.name: place for place in (PROXY, PI4, PI5, OPERATOR, OUTSIDE, MIRROR)}

BRIDGES = ("inet", "lan")
PLAIN = ("operator", "outside", "mirror", "router")

# Faults hang in the chain `cut`, which a packet meets before the rule that lets known connections pass.
ROUTER_RULES = """
table ip nat {
  chain leave {
    type nat hook postrouting priority srcnat
    oifname "wan" ip saddr 192.168.1.0/24 masquerade fully-random
  }
}
table ip filter {
  chain cut {
  }
  chain arrive {
    type filter hook input priority filter; policy accept
    iifname "wan" ct state new ip protocol != icmp drop
  }
  chain pass {
    type filter hook forward priority filter; policy drop
    jump cut
    ct state established,related accept
    iifname "home" oifname "wan" accept
  }
}
"""


def build(ground: Ground) -> None:
    """Make the namespaces, the bridges, the router and the plain places. The machines bring their own link."""
    for name in (*BRIDGES, *PLAIN):
        ground.run(["ip", "netns", "add", ground.namespace(name)])
        ground.run(["ip", "-n", ground.namespace(name), "link", "set", "lo", "up"])
    for name in BRIDGES:
        space = ground.namespace(name)
        ground.run(["ip", "-n", space, "link", "add", "br0", "type", "bridge", "forward_delay", "0"])
        ground.run(["ip", "-n", space, "link", "set", "br0", "up"])
        # With br_netfilter loaded, bridged packets would meet IP rules; -e: the keys are absent without it.
        off = [f"net.bridge.bridge-nf-call-{kind}=0" for kind in ("iptables", "ip6tables", "arptables")]
        ground.run(ground.inside(name, ["sysctl", "-qew", *off], dns=False))
    _leg(ground, "router", "wan", "inet", "v-router", [ROUTER_OUTSIDE])
    _leg(ground, "router", "home", "lan", "v-router", [ROUTER_INSIDE])
    for place in (OPERATOR, OUTSIDE, MIRROR):
        extra = [DNS_ADDRESS] if place is MIRROR else []
        _leg(ground, place.name, "eth0", place.bridge, place.port, [place.address, *extra])
        if place.gateway:
            space = ground.namespace(place.name)
            ground.run(["ip", "-n", space, "route", "add", "default", "via", place.gateway])
    ground.run(ground.inside("router", ["sysctl", "-qw", "net.ipv4.ip_forward=1"], dns=False))
    ground.run(ground.inside("router", ["nft", "-f", "-"], dns=False), stdin=ROUTER_RULES)
    ground.resolver.write_text(f"nameserver {DNS_ADDRESS}\noptions timeout:2 attempts:2\n")


def _leg(ground: Ground, name: str, link: str, bridge: str, port: str, addresses: list[str]) -> None:
    here, there = ground.namespace(name), ground.namespace(bridge)
    pair = ["type", "veth", "peer", "name", port, "netns", there]
    ground.run(["ip", "link", "add", link, "netns", here, *pair])
    ground.run(["ip", "-n", there, "link", "set", port, "master", "br0", "up"])
    ground.run(["ip", "-n", here, "link", "set", link, "up"])
    for address in addresses:
        ground.run(["ip", "-n", here, "addr", "add", f"{address}/24", "dev", link])


def existing(ground: Ground) -> list[Path]:
    """The handles of this lab's network namespaces that exist now."""
    return sorted(Path("/run/netns").glob(f"{ground.prefix}-*"))


def inhabitants(ground: Ground) -> list[int]:
    """The processes in the lab's network namespaces, without the calling one."""
    spaces = set()
    for handle in existing(ground):
        stat = handle.stat()
        spaces.add((stat.st_dev, stat.st_ino))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            stat = (entry / "ns/net").stat()
        except OSError:
            continue
        if (stat.st_dev, stat.st_ino) in spaces:
            found.append(int(entry.name))
    return found


def tear_down(ground: Ground) -> None:
    """End what still runs in the lab's namespaces (only the lab can have started it) and remove them."""
    for number, seconds in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 3.0)):
        rest = inhabitants(ground)
        if not rest:
            break
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        try:
            wait_until(lambda: not inhabitants(ground), "the lab's processes end", seconds)
        except RuntimeError:
            continue
    for handle in existing(ground):
        ground.run(["ip", "netns", "del", handle.name], check=False)
