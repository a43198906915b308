"""How every screen behaves: keys, reasons, dialogs, runs that outlive screens, text that nobody can vouch for."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, Log

from homek8s_tui.features.journal.screen import JournalScreen
from homek8s_tui.features.overview.screen import HomeScreen
from homek8s_tui.features.setup.screen import SetupScreen
from homek8s_tui.ui.app import Settings
from homek8s_tui.ui.plan_screen import PlanScreen
from homek8s_tui.ui.screen import EVERYWHERE, ConsoleScreen

from ..screens.stage import Stage, on_stage

SCREENS: tuple[type[ConsoleScreen], ...] = (HomeScreen, SetupScreen, JournalScreen, PlanScreen)
HOSTILE = "[@click=app.quit]click[/] \x1b[2J\x1b]0;title\x07 \u202egnp.exe\u202c [/script] \x9b31m" + "x" * (1 << 20)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_action_has_a_method_a_sentence_and_keys_of_its_own(screen: type[ConsoleScreen]) -> None:
    actions = (*screen.ACTIONS, *EVERYWHERE)
    assert len({action.id for action in actions}) == len(actions)
    keys = Counter(key for action in actions for key in action.key.split(","))
    assert [key for key, count in keys.items() if count > 1] == []
    for action in actions:
        assert action.help.endswith(".")
        from homek8s_tui.ui.app import Console

        assert hasattr(screen, action.method) or hasattr(Console, action.method), action.id


async def test_an_action_that_cannot_be_done_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch, parts="") as stage:
        await stage.press("m")
        assert [note.message for note in stage.app._notifications] == ["Nothing is highlighted that is wrong."]
        await stage.press("question_mark")
        assert "not now: No run is unfinished." in stage.text


async def test_a_key_is_remapped_by_its_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch, settings=Settings(keys={"console.journal": "j"})) as stage:
        assert " j Journal" in stage.text
        await stage.press("3")
        assert isinstance(stage.app.screen, HomeScreen)
        await stage.press("j")
        assert isinstance(stage.app.screen, JournalScreen)


async def test_the_footer_is_clicked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        column = stage.text.splitlines()[-1].index("Journal")
        await stage.pilot.click("#keys", offset=(column, 0))
        await stage.settle()
        assert isinstance(stage.app.screen, JournalScreen)


async def test_the_palette_does_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        await stage.press("ctrl+p", *"journal")
        for _ in range(50):
            await stage.pilot.pause(0.05)
            if "Go to the journal" in stage.text:
                break
        await stage.press("enter")
        assert isinstance(stage.app.screen, JournalScreen)


async def test_nothing_is_approved_by_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        await stage.press("2", "a", "enter")
        assert stage.service.live is None
        await stage.press("a", "escape")
        assert stage.service.live is None


async def test_what_destroys_wants_the_home_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch, first="journal", parts="") as stage:
        await stage.press("u", "enter", "a")
        assert isinstance(stage.app.focused, Input)
        assert stage.app.screen.query_one("#apply", Button).disabled
        await stage.press(*"homes", "enter")
        assert stage.service.live is None
        await stage.press("backspace", "enter")
        assert stage.service.live is not None
        assert stage.service.live.progress.ended is not None
        assert stage.service.live.progress.ended.result == "done"
        await stage.press("1")
        assert "not in the cluster" in stage.text


async def test_read_only_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch, read_only=True) as stage:
        await stage.press("2", "a")
        assert "The console is read-only." in [note.message for note in stage.app._notifications]
        assert stage.service.live is None


def held_back(stage: Stage) -> threading.Event:
    """Has a download wait until the event is set."""
    go = threading.Event()
    download = stage.rehearsal._catalogue.jobs["download"]

    def wait(*arguments: Any) -> str:
        go.wait(30)
        return download(*arguments)

    stage.rehearsal._catalogue.jobs["download"] = wait
    return go


async def test_a_run_outlives_its_screen_and_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        go = held_back(stage)
        await stage.press("2", "a", "tab")
        await stage.pilot.press("enter")
        while stage.service.live is None or not stage.service.live.progress.running():
            await stage.pilot.pause(0.01)
        await stage.pilot.press("1")
        await stage.pilot.pause(0.2)
        assert "/24 steps" in stage.text.splitlines()[0]
        await stage.pilot.press("v")
        await stage.pilot.pause(0.2)
        assert isinstance(stage.app.screen, PlanScreen)
        await stage.pilot.press("q")
        await stage.pilot.pause(0.1)
        assert "A run is under way" in stage.text
        await stage.pilot.press("enter")
        go.set()
        await stage.settle()
        assert "✓ Done." in stage.text


async def test_a_run_is_stopped_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        go = held_back(stage)
        await stage.press("2", "a", "tab")
        await stage.pilot.press("enter")
        while stage.service.live is None or not stage.service.live.progress.running():
            await stage.pilot.pause(0.01)
        await stage.pilot.press("s")
        await stage.pilot.pause(0.1)
        go.set()
        await stage.settle()
        assert "✗ Stopped." in stage.text
        await stage.press("r")
        assert "✓ Done." in stage.text


async def test_what_was_typed_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"first": "setup", "text": "", "parts": None}
    async with on_stage(tmp_path, monkeypatch, **options) as stage:
        await stage.type("half-typed.exam")
        stage.app.screen.settle()
    async with on_stage(tmp_path, monkeypatch, **options) as stage:
        assert "half-typed.exam" in stage.text


async def test_bad_input_is_refused_before_anything_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch, first="setup", text="", parts=None) as stage:
        await stage.type("no domain")
        await stage.press("ctrl+n")
        assert stage.app.screen.stage == 0
        assert not stage.service.path.exists()
        assert "no domain" in stage.text


async def test_hostile_output_is_harmless_text_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        download = stage.rehearsal._catalogue.jobs["download"]

        def shout(*arguments: Any) -> str:
            return download(*arguments) + HOSTILE + "\n"

        stage.rehearsal._catalogue.jobs["download"] = shout
        answer = stage.rehearsal._catalogue.questions["nodes"]
        stage.rehearsal._catalogue.questions["nodes"] = lambda machine, arguments: answer(machine, arguments).replace(
            "os=debian 12", "os=[@click=app.quit]debian[/x]\x1b[31m 12"
        )
        await stage.press("2", "a", "tab", "enter")
        live = stage.service.live
        assert live is not None
        assert live.progress.ended is not None
        assert any("click" in line for line in live.progress.told)
        shown = stage.text + "\n".join(stage.app.screen.query_one(Log).lines)
        await stage.press("3", "down", "tab", "down")
        shown += stage.text
        await stage.press("y", "1", "l", "ctrl+l")
        shown += stage.text + stage.app.clipboard
        assert "[@click=app.quit]" in shown
        for offender in ("\x1b", "\x9b", "\u202e", "\x07"):
            assert offender not in shown
        assert max(map(len, stage.app.clipboard.splitlines())) < 10_000


async def test_a_flood_of_output_is_shown_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(tmp_path, monkeypatch) as stage:
        download = stage.rehearsal._catalogue.jobs["download"]
        stage.rehearsal._catalogue.jobs["download"] = lambda *arguments: (
            download(*arguments) + "".join(f"line {number}\n" for number in range(20_000))
        )
        await stage.press("2", "a", "tab", "enter")
        lines = stage.app.screen.query_one(Log).lines
        assert any("came too fast to be shown" in line for line in lines)
        assert "✓ Done." in stage.text
