"""The lab as fixtures: `lab` boots it once a session, `fresh` gives a test three bare machines."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .kubernetes import artefacts, build
from .lab import Lab, default_prefix, why_not


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, with this process in the operator's seat."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the lab's tests: {reason}", pytrace=False)
        pytest.skip(reason)
    # before this process sits in the operator's seat, which has no way to the registries
    tools = build.binaries()
    artefacts.traefik_tarball()
    # Test workers side by side have a lab each.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    the_lab = Lab(default_prefix() + worker, tools=tools)
    the_lab.boot()
    try:
        the_lab.enter_operator()
        yield the_lab
    finally:
        the_lab.down()


@pytest.fixture
def fresh(lab: Lab) -> Iterator[Lab]:
    """The lab with three bare machines and nothing broken."""
    lab.restore()
    lab.reset()
    yield lab
    lab.restore()
