"""Who is joined with whom."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from homek8s_tui.home.inventory import Home

FOLDER = "/etc/wireguard"
"""Where WireGuard's files are."""


@dataclass(frozen=True)
class Edge:
    """Two machines that talk through the tunnel directly."""

    a: str
    """The one that makes the preshared key: the proxy, or the node named first."""
    b: str
    """The other one."""

    @property
    def title(self) -> str:
        """Both names."""
        return f"{self.a} and {self.b}"

    def other(self, host: str) -> str:
        """Returns the other end."""
        return self.b if host == self.a else self.a


def mesh(home: Home) -> tuple[Edge, ...]:
    """Returns every pair of machines: the proxy with each node, and the nodes among themselves over the LAN."""
    return tuple(Edge(a.name, b.name) for a, b in itertools.combinations(home.hosts, 2))


def edges_of(home: Home, host: str) -> tuple[Edge, ...]:
    """Returns the pairs that a machine belongs to."""
    return tuple(edge for edge in mesh(home) if host in (edge.a, edge.b))


def configuration_path(home: Home) -> str:
    """Returns the path of the tunnel's configuration."""
    return f"{FOLDER}/{home.tunnel.name}.conf"


def private_key_path(home: Home) -> str:
    """Returns the path of a machine's private key."""
    return f"{FOLDER}/{home.tunnel.name}.key"


def preshared_key_path(home: Home, host: str, edge: Edge) -> str:
    """Returns the path of a pair's preshared key on one of its machines."""
    return f"{FOLDER}/{home.tunnel.name}-{edge.other(host)}.psk"


def unit(home: Home) -> str:
    """Returns the unit that runs the tunnel."""
    return f"wg-quick@{home.tunnel.name}"
