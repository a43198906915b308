"""The whole set-up as one plan. It only composes the rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.features.k3s import plans as k3s
from homek8s_tui.features.nodes.findings import preflight
from homek8s_tui.features.proxy import plans as proxy
from homek8s_tui.features.tunnels.plans import plan_tunnels
from homek8s_tui.home.artefacts import Download
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.facts import Facts

PARTS = ("tunnel", "proxy", "k3s", "access")
"""The parts that can be run alone, in order."""


def parts(text: str) -> tuple[str, ...]:
    """Reads the parts of a comma-separated list; empty means all.

    Raises:
        Trouble: If there is no such part.
    """
    chosen = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in chosen:
        if word not in PARTS:
            raise Trouble(
                "plan the set-up", "", f"there is no part '{word}'", f"The parts are {', '.join(PARTS)}.", Kind.USAGE
            )
    return chosen


def downloads(home: Home, facts: Facts) -> tuple[Download, ...]:
    """Returns the downloads whose checksums the inventory does not pin yet."""
    return tuple(
        download
        for download in (*proxy.downloads(home, facts), *k3s.downloads(home, facts))
        if download.key not in home.artefacts.checksums
    )


def planner(kubeconfig: str) -> Callable[[Home, Facts, PlanBuilder], None]:
    """Returns the planner.

    Args:
        kubeconfig: The kubeconfig that the new context is merged into.
    """

    def plan(home: Home, facts: Facts, b: PlanBuilder) -> None:
        for finding in preflight(home, facts):
            b.find(finding)
        known: Mapping[str, str] = {**facts.checksums, **home.artefacts.checksums}
        for key in facts.checksums:
            b.checksum(key, facts.checksums[key])
        plan_tunnels(home, facts, b)
        proxy.plan_proxy(home, facts, next((known[found.key] for found in proxy.downloads(home, facts)), ""), b)
        k3s.plan_k3s(home, facts, known, b)
        k3s.plan_access(home, kubeconfig, b)
        if not b.parts:
            k3s.prove_access(home, b)
            proxy.prove_proxy(home, b)

    return plan
