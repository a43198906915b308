"""How each pictured state is come to: a scenario a state, by the keys that an operator presses."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homek8s_tui.engine.service import Service
from homek8s_tui.hosts.known_hosts import HostKeyQuestion
from homek8s_tui.rehearsal.home import RehearsalHome
from homek8s_tui.rehearsal.machine import Shortage

from .stage import Stage, on_stage

Open = Callable[[Path, pytest.MonkeyPatch], Any]
SCENARIOS: dict[str, Open] = {}
"""What opens each state, by ``room/state``."""

MANY = """\
name: home
domain: example.org
lan: 192.168.1.0/24
proxy:
  address: 203.0.113.10
nodes:
""" + "".join(
    f"  - name: pi{number}\n    address: 192.168.1.{number}\n    role: {'server' if number == 4 else 'agent'}\n"
    for number in range(4, 10)
)


def scenario(name: str, **options: Any) -> Callable[[Callable[[Stage], Any]], Callable[[Stage], Any]]:
    """Registers a scenario: the console is opened with the options, and the function goes on from there."""

    def register(walk: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
        @asynccontextmanager
        async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
            async with on_stage(folder, monkeypatch, **options) as stage:
                await walk(stage)
                yield stage

        SCENARIOS[name] = opened
        return walk

    return register


async def nothing(stage: Stage) -> None:
    """The state is there when the console has opened."""


# --- home


def hold_looking(service: Service, _rehearsal: RehearsalHome) -> None:
    """Keeps the first look from coming back."""

    def look(*_arguments: Any) -> None:
        threading.Event().wait(60)

    service.look = look  # type: ignore[method-assign]  # a look that hangs


def unplug(*names: str) -> Callable[[Service, RehearsalHome], None]:
    """Takes machines off the network."""

    def prepare(_service: Service, rehearsal: RehearsalHome) -> None:
        for name in names:
            rehearsal.machines[name].unplugged = True

    return prepare


scenario("home/set-up", parts="")(nothing)
scenario("home/half-way")(nothing)
scenario("home/bare", parts=None)(nothing)
scenario("home/one-machine-gone", parts="", prepare=unplug("pi5"))(nothing)
scenario("home/many-machines", parts=None, text=MANY)(nothing)
scenario("home/inventory-broken", text="proxy: [\n", parts=None)(nothing)


@scenario("home/loading", prepare=hold_looking, settle=False)
async def loading(stage: Stage) -> None:
    await stage.pilot.pause()


@scenario("home/old", parts="")
async def old(stage: Stage) -> None:
    stage.service.path.unlink()
    stage.rehearsal.clock.wait(300)
    await stage.press("l")


@scenario("home/help")
async def home_help(stage: Stage) -> None:
    await stage.press("question_mark")


@scenario("home/palette")
async def palette(stage: Stage) -> None:
    await stage.press("ctrl+p")


@scenario("home/commands")
async def commands(stage: Stage) -> None:
    await stage.press("ctrl+l")


# --- plan and run


@scenario("plan/review")
async def review(stage: Stage) -> None:
    await stage.press("m", "down", "down", "down", "down")


@scenario("plan/approval")
async def approval(stage: Stage) -> None:
    await stage.press("m", "a")


@scenario("plan/blocked", parts=None)
async def blocked(stage: Stage) -> None:
    answer = stage.rehearsal._catalogue.questions["nodes"]
    stage.rehearsal._catalogue.questions["nodes"] = lambda machine, arguments: answer(machine, arguments).replace(
        "cgroup=cgroup2fs", "cgroup=tmpfs"
    )
    await stage.press("2")


@scenario("plan/waived", parts=None)
async def waived(stage: Stage) -> None:
    await blocked(stage)
    await stage.press("w")


@scenario("plan/nothing-to-do", parts="")
async def nothing_to_do(stage: Stage) -> None:
    await stage.press("2")


@scenario("plan/unreachable", prepare=unplug("pi5"))
async def unreachable(stage: Stage) -> None:
    await stage.press("2")


@scenario("plan/running")
async def running(stage: Stage) -> None:
    def download(*_arguments: Any) -> str:
        threading.Event().wait(60)
        return ""

    stage.rehearsal._catalogue.jobs["download"] = download
    await stage.press("2", "a", "tab")
    await stage.pilot.press("enter")
    # the run hangs by intent, so nothing ever settles: its second step is waited for
    while stage.service.live is None or not stage.service.live.progress.running().get("proxy"):
        await stage.pilot.pause(0.01)
    while stage.service.live.progress.running()["proxy"].step.number < 2:
        await stage.pilot.pause(0.01)
    stage.rehearsal.clock.wait(7)
    await stage.pilot.pause(0.2)
    stage.app.screen.refresh_run()
    await stage.pilot.pause()


@scenario("plan/quit-asked")
async def quit_asked(stage: Stage) -> None:
    await running(stage)
    await stage.pilot.press("q")
    await stage.pilot.pause()


@scenario("plan/failed")
async def failed(stage: Stage) -> None:
    def download(*_arguments: Any) -> str:
        raise Shortage("curl: (22) The requested URL returned error: 404")

    stage.rehearsal._catalogue.jobs["download"] = download
    await stage.press("2", "a", "tab", "enter")


@scenario("plan/done")
async def done(stage: Stage) -> None:
    await stage.press("2", "a", "tab", "enter")


# --- set-up

scenario("setup/empty", first="setup", text="", parts=None)(nothing)


@scenario("setup/home-wrong", first="setup", text="", parts=None)
async def home_wrong(stage: Stage) -> None:
    await stage.type("my home.example.org")
    stage.app.screen.settle()


@scenario("setup/proxy", first="setup")
async def proxy(stage: Stage) -> None:
    await stage.press("ctrl+b", "ctrl+b")


@scenario("setup/login-failed", first="setup", prepare=unplug("proxy"))
async def login_failed(stage: Stage) -> None:
    await stage.press("ctrl+b", "ctrl+b")


@scenario("setup/nodes", first="setup")
async def nodes(stage: Stage) -> None:
    await stage.press("ctrl+b", "f5")


@scenario("setup/remove-asked", first="setup")
async def remove_asked(stage: Stage) -> None:
    await stage.press("ctrl+b", "f8")


@scenario("setup/plan", first="setup")
async def setup_plan(stage: Stage) -> None:
    await stage.settle()


@scenario("setup/unfinished")
async def unfinished(stage: Stage) -> None:
    await failed(stage)
    await stage.press("1", "r")


@scenario("setup/resume-offered")
async def resume_offered(stage: Stage) -> None:
    await failed(stage)
    await stage.press("1")
    stage.app._made.pop("setup")
    stage.app.uninstall_screen("setup")
    stage.app.clear_notifications()
    await stage.press("2")


# --- journal

scenario("journal/empty", first="journal", parts=None)(nothing)
scenario("journal/runs", first="journal", parts="")(nothing)


@scenario("journal/undo-asked", first="journal", parts="")
async def undo_asked(stage: Stage) -> None:
    await stage.press("u")


@scenario("journal/undo-plan", first="journal", parts="")
async def undo_plan(stage: Stage) -> None:
    await stage.press("u", "enter")


@scenario("journal/undo-approval", first="journal", parts="")
async def undo_approval(stage: Stage) -> None:
    await stage.press("u", "enter", "a")


@scenario("journal/failed-run")
async def failed_run(stage: Stage) -> None:
    await failed(stage)
    await stage.press("3")


# --- questions of threads


async def ask(stage: Stage, what: Callable[[], object]) -> None:
    """Has a thread ask something, and waits for its dialog."""
    threading.Thread(target=what, daemon=True).start()
    while len(stage.app.screen_stack) < 3:
        await stage.pilot.pause(0.01)
    await stage.pilot.pause()


def _quietly(what: Callable[[], object]) -> Callable[[], object]:
    def quiet() -> None:
        try:
            what()
        except Exception:  # noqa: BLE001 - the dialog is closed at the end of the scenario
            return

    return quiet


@scenario("questions/sudo-password")
async def sudo_password(stage: Stage) -> None:
    await ask(stage, _quietly(lambda: stage.questions.get("sudo:pi5", "sudo password of pi on pi5")))


@scenario("questions/wrong-password")
async def wrong_password(stage: Stage) -> None:
    stage.questions.reject("sudo:pi5")  # as the machine does that was given a wrong one
    await ask(stage, _quietly(lambda: stage.questions.get("sudo:pi5", "sudo password of pi on pi5")))


@scenario("questions/host-key")
async def host_key(stage: Stage) -> None:
    question = HostKeyQuestion(
        "pi4", "192.168.1.4", 22, "ssh-ed25519", "SHA256:uNiVztksCsDhcc0u9e8BrFFOqCyYyLBF4mIkhn4xjJE"
    )
    await ask(stage, lambda: stage.questions.approve(question))
