"""Builds the lab's Kubernetes before a session that tests it, and gives it to the lab's machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..lab import why_not
from . import artefacts, build

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Before the first test: later this process sits in the operator's seat, without a way to the registries."""
    chosen = any(HERE in item.path.parents for item in session.items)
    if chosen and not session.config.option.collectonly and why_not() is None:
        os.environ.setdefault("LAB_TOOLS", str(build.binaries()))
        artefacts.traefik_tarball()
