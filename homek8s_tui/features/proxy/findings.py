"""Judging what the internet sees of the proxy."""

from __future__ import annotations

from collections.abc import Iterator

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.checks import Check, Seen, Verdict
from homek8s_tui.plan.facts import Facts

PASSED_ON = (80, 443, 6443)
"""The ports that the proxy passes on to the nodes."""


def findings(home: Home, facts: Facts) -> Iterator[Finding]:
    """Yields what the internet does not get through the proxy."""
    room = facts.of(home.proxy.name, nodes.NAME)
    if room is None or not isinstance(room.live, nodes.Live):
        return
    open_ports = {listener.port for listener in room.live.listeners if not listener.address.startswith("127.")}
    closed = [str(port) for port in PASSED_ON if port not in open_ports]
    if closed:
        yield Finding(
            "proxy-not-listening",
            Severity.BLOCKER,
            home.proxy.name,
            f"{home.proxy.name} passes nothing on to your home (TCP {', '.join(closed)}).",
            "Nothing listens there.",
            "'homek8s apply setup' sets Traefik up; 'journalctl -u traefik' there says why it does not run.",
            mend=Intent("setup", (("stages", "proxy"),)),
        )


def only_these_ports(check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that no port but ``expect`` accepts connections."""
    found = {int(port) for port in seen[0].get("open", "").split()}
    extra = sorted(found - {int(port) for port in check.expect})
    asked = seen[0].get("asked", "0")
    if extra:
        return Verdict("fails", f"these accept connections too: {', '.join(map(str, extra))}")
    return Verdict("holds", f"{asked} ports were asked, and open are {', '.join(map(str, sorted(found))) or 'none'}")


def same_certificate(_check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that the certificate seen first, from outside, is one that a node serves; pending without any."""
    outside, *nodes = seen
    served = {look["certificate"] for look in nodes if "certificate" in look}
    if not served:
        return Verdict("pending", "no node listens yet: pending ingress")
    if "certificate" not in outside:
        return Verdict("fails", f"from outside: {outside.get('state', 'no answer')}")
    if outside["certificate"] not in served:
        return Verdict(
            "fails",
            "the certificate served from outside is none that a node serves: something else ends TLS on the way",
        )
    return Verdict("holds", "the certificate seen from outside is the one a node serves")
