"""Judging what the internet sees of the proxy."""

from __future__ import annotations

from homek8s_tui.plan.checks import Check, Seen, Verdict


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
