"""What tests share: the marker's rule that the fast tests need no machine, and a home to plan for."""

from __future__ import annotations

import pytest

from homek8s_tui.home.inventory import Home, parse

from .lab.fixtures import fresh, lab

__all__ = ["fresh", "home", "lab"]

HOME = """\
name: lab
domain: home.example
lan: 192.168.1.0/24
proxy:
  address: 198.51.100.10   # the VPS
nodes:
  - name: pi4
    address: 192.168.1.4
    role: server
  - name: pi5
    address: 192.168.1.5
    role: agent
artefacts:
  mirror: https://mirror.example
"""


@pytest.fixture
def home() -> Home:
    """The lab's home: a proxy and two nodes."""
    return parse(HOME, "homek8s.yaml")
