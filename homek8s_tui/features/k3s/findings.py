"""Judging the cluster's nodes."""

from __future__ import annotations

from collections.abc import Iterator

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.features.k3s import facts as k3s
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.checks import Check, Seen, Verdict
from homek8s_tui.plan.facts import Facts


def nodes_ready(check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that the nodes named in ``expect`` are Ready."""
    live = k3s.read(seen[0].get("output", ""))
    if live.silent:
        return Verdict("fails", f"the API server did not tell its nodes: {one_line(live.silent)}")
    nodes = {node.name: node for node in live.nodes}
    missing = [name for name in check.expect if name not in nodes]
    waiting = [name for name in check.expect if name in nodes and not nodes[name].ready]
    if missing or waiting:
        words = [f"the cluster has no node {name}" for name in missing] + [f"{name} is not Ready" for name in waiting]
        return Verdict("fails", "; ".join(words))
    return Verdict(
        "holds", f"{', '.join(check.expect)} are Ready" if len(check.expect) > 1 else f"{check.expect[0]} is Ready"
    )


def findings(home: Home, facts: Facts) -> Iterator[Finding]:
    """Yields what is wrong with the cluster."""
    room = facts.of(home.server.name, k3s.NAME)
    if room is None or not isinstance(room.live, k3s.Live):
        return
    mend = Intent("setup", (("stages", "k3s"),))
    if room.live.server != "active":
        yield Finding(
            "k3s-down",
            Severity.BLOCKER,
            home.server.name,
            "K3s does not run on the server.",
            f"Its unit is {room.live.server or 'absent'}.",
            "'journalctl -u k3s' on the server says why; 'homek8s apply setup' starts it.",
            mend=mend,
        )
        return
    if room.live.silent:
        # what it did not tell is no reason to say anything of its nodes
        yield Finding(
            "api-silent",
            Severity.BLOCKER,
            home.server.name,
            f"The API server on {home.server.name} does not answer.",
            f"K3s runs there, but kubectl on that machine said: {one_line(room.live.silent)}.",
            "'journalctl -u k3s' there says what it is busy with; 'systemctl restart k3s' if it hangs.",
        )
        return
    known = {node.name: node for node in room.live.nodes}
    for node in home.nodes:
        if node.name not in known:
            yield Finding(
                "node-missing",
                Severity.BLOCKER,
                node.name,
                f"{node.name} is not in the cluster.",
                "The API server does not list it.",
                "'homek8s apply setup' joins it.",
                mend=mend,
            )
        elif not known[node.name].ready:
            yield Finding(
                "node-not-ready",
                Severity.BLOCKER,
                node.name,
                f"{node.name} is not Ready.",
                "The API server says so.",
                f"'journalctl -u {'k3s' if node.role == 'server' else 'k3s-agent'}' on {node.name} says why.",
            )
