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
