"""The console on a rehearsal home whose clock stands still, driven by keys."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.cli import console as opening
from homek8s_tui.cli import wiring
from homek8s_tui.engine import observe, run
from homek8s_tui.engine.service import Service
from homek8s_tui.features.overview import screen as overview
from homek8s_tui.home import inventory
from homek8s_tui.rehearsal.home import RehearsalClock, RehearsalHome
from homek8s_tui.ui.app import Console, Settings
from homek8s_tui.ui.questions import Questions


class StillClock(RehearsalClock):
    """A clock that goes on only when somebody waits."""

    def now(self) -> float:
        return self.at


class NoSecrets:
    """Nothing was given on the command line."""

    def get(self, name: str, prompt: str):
        raise Trouble(f"get the {prompt}", "", "nobody gave it", "")

    def reject(self, name: str) -> bool:
        return False


@dataclass
class Stage:
    """A console, its home, and hands on its keys."""

    app: Console
    pilot: Pilot[int]
    service: Service
    rehearsal: RehearsalHome
    questions: Questions

    async def settle(self) -> None:
        """Returns when nothing goes on any more."""
        for _ in range(2):
            await self.pilot.pause()
            await asyncio.wait_for(self.app.background.idle(), 30)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Presses keys, and waits for what they do."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        """Types into the field that has the focus, replacing what is there."""
        names = {".": "full_stop", "-": "minus", "/": "slash"}
        await self.pilot.press("ctrl+a", "ctrl+k", *(names.get(character, character) for character in text))
        await self.settle()

    @property
    def text(self) -> str:
        """Everything on the screen, as text."""
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text[:width].rstrip() for strip in strips[:height])


def one_by_one(hosts, work):
    """Does what `homek8s_tui.engine.observe.side_by_side` does in the order of the machines."""
    results = {}
    for host in hosts:
        try:
            results[host] = work(host)
        except Trouble as trouble:
            results[host] = trouble
    return results


class AtOnce:
    """A thread that has ended when it has begun."""

    def __init__(self, target, args=(), **_options) -> None:
        self._work = lambda: target(*args)

    def start(self) -> None:
        self._work()

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float | None = None) -> None:
        return None


@asynccontextmanager
async def on_stage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str = "home",
    parts: str | None = "tunnel",
    text: str | None = None,
    prepare: Callable[[Service, RehearsalHome], None] | None = None,
    size: tuple[int, int] = (80, 24),
    settings: Settings | None = None,
    settle: bool = True,
    read_only: bool = False,
) -> AsyncIterator[Stage]:
    """Opens the console.

    Args:
        folder: Where inventory and journal are.
        monkeypatch: Makes machines answer and work one after the other, so that pictures are the same each time.
        first: The first screen.
        parts: What is set up already; empty for everything, None for nothing.
        text: The inventory; the commented example if None, no file if empty.
        prepare: Called before the console opens.
        size: The terminal's.
        settings: The operator's.
        settle: Whether to wait for the first look.
        read_only: Whether nothing may be changed.
    """
    monkeypatch.setattr(observe, "side_by_side", one_by_one)
    monkeypatch.setattr(run, "threading", SimpleNamespace(Thread=AtOnce, Lock=threading.Lock))
    monkeypatch.setenv("HOMEK8S_STATE", str(folder / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setattr(Input, "cursor_blink", False)
    # looks again only when it is told to: how long a test takes must not show
    monkeypatch.setattr(overview, "_AGAIN_SECONDS", 3600.0)
    monkeypatch.setattr(Console, "NOTIFICATION_TIMEOUT", 3600.0)
    example = inventory.commented()
    home = inventory.parse(example if parts is not None or text is None or "nodes" not in text else text)
    number = itertools.count(1)
    rehearsal = RehearsalHome(home, lambda count: bytes((next(number) % 256,)) * count, StillClock())
    service = wiring.rehearsed_service(rehearsal, folder)
    # a picture must not tell where it was taken
    monkeypatch.chdir(folder)
    service.path = Path(inventory.FILE_NAME)
    if text != "":
        inventory.write_text(service.path, text or example)
    if parts is not None:
        service.begin(service.plan(home, Intent("setup", (("stages", parts),) if parts else ()))).run()
        service.live = None
        rehearsal.clock.wait(3600)
    if prepare is not None:
        prepare(service, rehearsal)
    questions = Questions(NoSecrets(), {})
    app = opening.console(service, first, questions, read_only, "rehearsal", settings or Settings())
    app.animation_level = "none"
    async with app.run_test(size=size, notifications=True) as pilot:
        stage = Stage(app, pilot, service, rehearsal, questions)
        if settle:
            await stage.settle()
        yield stage
        questions.close()
