"""A rehearsal home behind the service that every front end uses, for tests of what stands above the engine."""

from __future__ import annotations

import random
from pathlib import Path

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.cli import wiring
from homek8s_tui.engine.events import Event
from homek8s_tui.engine.service import LiveRun, Service
from homek8s_tui.home import inventory
from homek8s_tui.rehearsal.home import RehearsalHome

from .conftest import HOME

SET_UP = Intent("setup")


def rehearsed(folder: Path) -> tuple[Service, RehearsalHome]:
    """Returns the service of three bare machines in memory, and them; inventory and journal are in the folder."""
    rehearsal = RehearsalHome(inventory.parse(HOME), random.Random(7).randbytes)
    service = wiring.rehearsed_service(rehearsal, folder)
    inventory.write_text(service.path, HOME)
    return service, rehearsal


def set_up(service: Service) -> tuple[LiveRun, list[Event]]:
    """Plans, approves and carries out the set-up; returns the run and everything that it told."""
    events: list[Event] = []
    live = service.begin(service.plan(service.home(), SET_UP))
    live.watch = events.append
    live.run()
    return live, events


def breaks(rehearsal: RehearsalHome, name: str, start: str = "wg-quick@") -> None:
    """Has a machine fail to start a unit; `mends` takes it back."""
    machine = rehearsal.machines[name]
    real = machine.catalogue.starts[start]

    def fails(asked: object) -> None:
        if asked is machine:
            raise Trouble(f"start {start}", name, "Job failed.\nSee 'journalctl -xe'", "Mend it.")
        real(asked)  # type: ignore[arg-type]  # the machine it is

    fails.real = real  # type: ignore[attr-defined]  # to be put back
    machine.catalogue.starts[start] = fails


def mends(rehearsal: RehearsalHome, start: str = "wg-quick@") -> None:
    """Takes `breaks` back."""
    starts = next(iter(rehearsal.machines.values())).catalogue.starts
    starts[start] = starts[start].real  # type: ignore[attr-defined]  # put there by `breaks`
