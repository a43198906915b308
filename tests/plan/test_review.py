"""A plan says what is done, and nothing that is not."""

from __future__ import annotations

from homek8s_tui.plan.model import Risk, Step
from homek8s_tui.plan.operations import Secret
from homek8s_tui.plan.review import details, title, undone_by


def test_a_kubeconfig_that_k3s_makes_is_only_read() -> None:
    operation = Secret(host="pi4", path="/etc/rancher/k3s/k3s.yaml", make="kubeconfig")
    step = Step(1, "access/made", operation, "*", "its credentials are needed", Risk.SAFE, original="absent")
    assert title(step) == "see which credentials K3s made in /etc/rancher/k3s/k3s.yaml"
    assert "K3s makes it" in "\n".join(details(step)) and "wg" not in "\n".join(details(step))
    assert undone_by(step) == "nothing to undo"
