"""Judging handshakes: WireGuard renews a session at 120 s and drops it at 180 s (whitepaper, 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.features.tunnels import facts as tunnel
from homek8s_tui.features.tunnels.model import mesh
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.checks import Check, Seen, Verdict
from homek8s_tui.plan.facts import Facts

FRESH_SECONDS = 135
"""Up to this age a session is renewed in time."""
DEAD_SECONDS = 180
"""From this age on it is dropped."""


def handshake(check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that a machine shook hands with ``expect[0]``, a tunnel address, within ``expect[1]`` seconds."""
    address, limit = check.expect
    for look in seen:
        peer = next((peer for peer in tunnel.read(look.get("output", "")).peers if peer.address == address), None)
        if peer is None:
            return Verdict("fails", f"it has no peer {address}")
        if peer.handshake_age is None:
            return Verdict("fails", f"there never was a handshake with {address}")
        if peer.handshake_age > float(limit):
            return Verdict("fails", f"the last handshake was {peer.handshake_age:.0f} s ago")
    return Verdict("holds", "they shook hands")


def findings(home: Home, facts: Facts) -> Iterator[Finding]:
    """Yields the edges that are down or about to be."""
    mend = Intent("setup", (("stages", "tunnel"),))
    for edge in mesh(home):
        room = facts.of(edge.a, tunnel.NAME)
        if room is None or not isinstance(room.live, tunnel.Live):
            continue
        if not room.live.up:
            yield Finding(
                "tunnel-down",
                Severity.BLOCKER,
                edge.title,
                f"{edge.a} has no tunnel interface {home.tunnel.name}.",
                "The interface does not exist.",
                "'homek8s apply setup' sets it up.",
                mend=mend,
            )
            continue
        address = home.tunnel_address(edge.b)
        age = next((peer.handshake_age for peer in room.live.peers if peer.address == address), None)
        if age is None or age > DEAD_SECONDS:
            how = "There never was a handshake." if age is None else f"The last handshake was {age:.0f} s ago."
            yield Finding(
                "edge-down",
                Severity.BLOCKER,
                edge.title,
                f"{edge.a} and {edge.b} do not reach each other through the tunnel.",
                how,
                f"See whether UDP {home.tunnel.port} gets from {edge.b} to {edge.a}.",
                mend=mend,
            )
        elif age > FRESH_SECONDS:
            yield Finding(
                "edge-silent",
                Severity.WARNING,
                edge.title,
                f"{edge.a} and {edge.b} have not renewed their session in time.",
                f"The last handshake was {age:.0f} s ago.",
            )
