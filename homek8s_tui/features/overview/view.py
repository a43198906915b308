"""The home as one picture: the same rows for the command line, a screen and the tests."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from homek8s_tui.base.findings import Finding, Severity, worst_first
from homek8s_tui.base.known import Unreachable
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.features.k3s import facts as k3s
from homek8s_tui.features.k3s import findings as k3s_findings
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.nodes.findings import preflight
from homek8s_tui.features.proxy import findings as proxy_findings
from homek8s_tui.features.tunnels import facts as tunnels
from homek8s_tui.features.tunnels import findings as tunnel_findings
from homek8s_tui.features.tunnels.model import mesh
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.facts import Facts

_SENTENCES = 1000

ROOMS = (nodes.ROOM, tunnels.ROOM, k3s.ROOM)
"""The rooms whose facts make the picture."""


class Machine(msgspec.Struct, frozen=True):
    """A machine in the picture."""

    name: str
    """Its name."""
    role: str
    """``proxy``, ``server`` or ``agent``."""
    address: str
    """Its own address."""
    tunnel_address: str
    """Its address in the tunnel."""
    reachable: bool
    """Whether it answered."""
    what: str
    """What it is, or why it did not answer."""
    node: str
    """``Ready``, ``NotReady`` or empty where the cluster does not know it."""


class Link(msgspec.Struct, frozen=True):
    """An edge of the tunnel in the picture."""

    a: str
    """One end, whose view it is."""
    b: str
    """The other end."""
    state: str
    """``up``, ``silent``, ``down`` or ``unknown``."""
    handshake_age: float | None
    """Seconds since the last handshake."""


class Picture(msgspec.Struct, frozen=True):
    """Everything at a glance."""

    home: str
    """The home's name."""
    at: float
    """When it was observed, in seconds since the epoch."""
    machines: tuple[Machine, ...]
    """The machines."""
    links: tuple[Link, ...]
    """The tunnel's edges."""
    findings: tuple[Finding, ...]
    """What is wrong, worst first."""


def picture(home: Home, facts: Facts) -> Picture:
    """Returns the picture of a home."""
    server = facts.of(home.server.name, k3s.NAME)
    known = {node.name: node for node in server.live.nodes} if server and isinstance(server.live, k3s.Live) else {}
    machines = []
    for host in home.hosts:
        fact = facts.hosts.get(host.name)
        room = facts.of(host.name, nodes.NAME)
        if room and isinstance(room.settled, nodes.Settled):
            what = one_line(f"{room.settled.os_id} {room.settled.os_version} {room.settled.architecture}")
        else:
            what = one_line(fact.why, _SENTENCES) if isinstance(fact, Unreachable) else "not asked"
        node = known.get(host.name)
        machines.append(
            Machine(
                host.name,
                getattr(host, "role", "proxy"),
                host.address,
                home.tunnel_address(host.name),
                room is not None,
                what,
                "" if node is None else "Ready" if node.ready else "NotReady",
            )
        )
    silent = tuple(
        Finding("unreachable", Severity.BLOCKER, name, f"{name} could not be asked.", one_line(why.why, _SENTENCES))
        for name, why in facts.unreachable().items()
    )
    found = (
        *preflight(home, facts),
        *tunnel_findings.findings(home, facts),
        *proxy_findings.findings(home, facts),
        *k3s_findings.findings(home, facts),
    )
    # a machine that does not answer is what most of the others may come from
    return Picture(home.name, facts.now, tuple(machines), tuple(_links(home, facts)), (*silent, *worst_first(found)))


def lines(shown: Picture) -> Iterator[str]:
    """Yields the picture as plain lines."""
    width = max(len(machine.name) for machine in shown.machines)
    yield f"Home {shown.home}"
    for machine in shown.machines:
        state = "up" if machine.reachable else "DOWN"
        yield f"  {machine.name:<{width}}  {machine.role:<6}  {machine.address:<15}  {machine.tunnel_address:<15}  {state:<4}  {machine.node:<8}  {machine.what}"
    yield "Tunnel"
    for link in shown.links:
        age = "no handshake" if link.handshake_age is None else f"handshake {link.handshake_age:.0f} s ago"
        yield f"  {link.a:<{width}} - {link.b:<{width}}  {link.state:<7}  {age}"
    yield "Findings" if shown.findings else "Nothing is wrong."
    for finding in shown.findings:
        yield f"  {finding.severity.value:<7}  {finding.subject}: {one_line(finding.what)} {one_line(finding.how_we_know, _SENTENCES)} {finding.do}".rstrip()


def _links(home: Home, facts: Facts) -> Iterator[Link]:
    for edge in mesh(home):
        room = facts.of(edge.a, tunnels.NAME)
        if room is None or not isinstance(room.live, tunnels.Live):
            yield Link(edge.a, edge.b, "unknown", None)
            continue
        address = home.tunnel_address(edge.b)
        age = next((peer.handshake_age for peer in room.live.peers if peer.address == address), None)
        state = (
            "down"
            if age is None or age > tunnel_findings.DEAD_SECONDS
            else "silent"
            if age > tunnel_findings.FRESH_SECONDS
            else "up"
        )
        yield Link(edge.a, edge.b, state, age)
