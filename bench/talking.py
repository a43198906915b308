"""The console on a home in memory whose proxy says 1,000 lines a second while its packages are installed."""

from __future__ import annotations

import itertools
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from textual.pilot import Pilot

from homek8s_tui.base.findings import Intent
from homek8s_tui.cli import wiring
from homek8s_tui.cli.console import console
from homek8s_tui.home import inventory
from homek8s_tui.hosts.model import Cancel, Chunk, Ended
from homek8s_tui.rehearsal.home import RehearsalHome
from homek8s_tui.ui.app import Settings
from homek8s_tui.ui.plan_screen import PlanScreen

LINES_A_SECOND = 1000


def talk(_job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
    """Follows a job that never ends: a line every millisecond."""
    began = time.monotonic()
    for number in itertools.count(1):
        if cancel.cancelled:
            return
        line = f"Unpacking part {number} of a package that is larger than any other ...\n"
        offset += len(line)
        yield Chunk(offset, line)
        time.sleep(max(0.0, began + number / LINES_A_SECOND - time.monotonic()))


def main(folder: Path) -> None:
    """Opens it at the run."""
    home = inventory.parse(inventory.commented(), "the rehearsal's inventory")
    rehearsal = RehearsalHome(home, secrets.token_bytes, wiring.PacedClock())
    rehearsal.machines[home.proxy.name].follow = talk  # type: ignore[method-assign]  # this one alone
    service = wiring.rehearsed_service(rehearsal, folder)
    inventory.write_text(service.path, inventory.commented())
    live = service.begin(service.plan(home, Intent("setup")))
    app = console(service, "home", None, False, "rehearsal", Settings())

    async def begin(_pilot: Pilot[int]) -> None:
        app.carry_out(live)
        app.push_screen(PlanScreen(None))

    app.run(auto_pilot=begin)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
