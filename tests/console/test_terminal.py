"""The product in a real pseudo-terminal, 80x24, by keyboard alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ..terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]


def opened(folder: Path, *arguments: str, size: tuple[int, int] = (80, 24), **variables: str) -> Terminal:
    """Opens the product in a terminal, with a home folder of its own."""
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    environment = {**kept, "HOME": str(folder), "HOMEK8S_STATE": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "homek8s_tui.cli.app", *arguments]
    return Terminal(command, {**environment, **variables}, folder, size)


def test_the_demo_is_walked_to_its_end_by_keyboard(tmp_path: Path) -> None:
    with opened(tmp_path, "demo") as terminal:
        terminal.wait("What is wrong (")
        terminal.press("2")
        terminal.wait("To be approved")
        terminal.press("a")
        terminal.wait("Apply this plan?")
        terminal.press("tab", "enter")
        terminal.wait("✓ Done. 11 proofs hold, 1 pending", 60)
        terminal.press("1")
        terminal.wait("Nothing is wrong")
        terminal.press("q")
        assert terminal.ended() == 0
        assert "Traceback" not in terminal.output.decode(errors="replace")


def test_without_an_inventory_it_begins_at_the_set_up(tmp_path: Path) -> None:
    with opened(tmp_path) as terminal:
        terminal.wait("Where is your home?")
        terminal.press("ctrl+q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("arguments", [(), ("demo",)])
def test_no_color_leaves_no_colour(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with opened(tmp_path, *arguments, NO_COLOR="1") as terminal:
        terminal.wait("homek8s")
        terminal.wait("Quit")
        for line in terminal._screen.buffer.values():
            for character in line.values():
                for colour in (character.fg, character.bg):
                    assert colour == "default" or colour[:2] == colour[2:4] == colour[4:6], colour


HANGING = """
import sys, threading
from homek8s_tui.cli import console, wiring
from homek8s_tui.engine import service
service.Service.look = lambda *arguments: threading.Event().wait()
from homek8s_tui.cli.app import main
main(["demo"])
"""
CRASHING = """
from homek8s_tui.features.overview import screen
def fail(self):
    secret = "raspberry"
    raise ZeroDivisionError("our own mistake")
screen.HomeScreen.do_look = fail
from homek8s_tui.cli.app import main
main(["demo"])
"""


def scripted(folder: Path, script: str) -> Terminal:
    """Opens the product with something changed about it."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HOMEK8S_STATE": str(folder / "state")}
    return Terminal([sys.executable, "-c", script], {**environment, "PYTHONPATH": str(ROOT)}, folder)


def test_quitting_waits_for_nobody(tmp_path: Path) -> None:
    with scripted(tmp_path, HANGING) as terminal:
        terminal.wait("Looking at your machines")
        terminal.press("q")
        assert terminal.ended(5) == 0


def test_an_error_of_our_own_is_a_sentence_and_a_report(tmp_path: Path) -> None:
    with scripted(tmp_path, CRASHING) as terminal:
        terminal.wait("What is wrong (")
        terminal.press("l")
        assert terminal.ended() == 1
        said = " ".join(terminal.text.split())
        assert "homek8s met an error of its own" in said
        assert "Traceback" not in terminal.output.decode(errors="replace")
    report = next((tmp_path / "state").glob("report-*.txt"))
    assert report.stat().st_mode & 0o777 == 0o600
    assert "our own mistake" in report.read_text()
    assert "raspberry" not in report.read_text().replace('secret = "raspberry"', "")


def test_copying_goes_to_the_terminal_s_clipboard(tmp_path: Path) -> None:
    with opened(tmp_path, "demo") as terminal:
        terminal.wait("What is wrong (")
        terminal.press("y")
        terminal.wait("Copied")
        assert b"\x1b]52;c;" in terminal.output
