"""Every state looks as it was approved: 80x24 and 160x48, dark and light.

``make screens`` renders them anew, and PNGs of them to look at.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from textual.widgets import Log

from .scenarios import SCENARIOS
from .stage import Stage

APPROVED = Path(__file__).parents[2] / "screens"
WRITE = bool(os.environ.get("HOMEK8S_RENDER_SCREENS"))
SIZES = ((80, 24), (160, 48))
THEMES = ("dark", "light")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_it_looks_as_approved(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    different = []
    async with SCENARIOS[name](tmp_path, monkeypatch) as stage:
        for size in SIZES:
            stage.app.clear_notifications()
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            for theme in THEMES:
                stage.app.theme = theme
                path = APPROVED / f"{name}-{size[0]}x{size[1]}-{theme}.svg"
                picture = await quiet_picture(stage, path.read_text() if path.is_file() and not WRITE else "")
                if WRITE:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(picture)
                elif not path.is_file() or path.read_text() != picture:
                    rendered = tmp_path / path.name
                    rendered.write_text(picture)
                    different.append(f"{path.name} (now {rendered})")
    assert not different, f"not as approved: {', '.join(different)}; 'make screens' renders them anew, to be looked at"


def test_no_picture_is_left_of_a_state_that_is_gone() -> None:
    there = {str(path.relative_to(APPROVED)) for path in APPROVED.rglob("*.svg")}
    known = {
        f"{name}-{columns}x{rows}-{theme}.svg" for name in SCENARIOS for columns, rows in SIZES for theme in THEMES
    }
    assert there == known


async def quiet_picture(stage: Stage, approved: str) -> str:
    """Returns the picture once nothing moves any more: what follows a change of size takes a few rounds.

    Args:
        stage: The console.
        approved: What it should come to; empty to take what is the same twice.
    """
    before = ""
    for turn in range(40):
        stage.app.clear_notifications()
        for log in stage.app.screen.query(Log):
            # how far a log had scrolled while the size changed is no part of the picture
            log.scroll_end(animate=False, immediate=True)
        # a machine that is busy with other tests takes its time
        await stage.pilot.pause(0.1 if turn > 3 else None)
        picture = stable(stage.app.export_screenshot(title="homek8s"))
        if picture == approved or (not approved and picture == before and turn > 2):
            return picture
        before = picture
    return before


def stable(picture: str) -> str:
    """Returns a picture without the number that its class names are made unique by, and without web fonts."""
    picture = re.sub(r"terminal-\d+", "terminal", picture)
    picture = re.sub(r"\s*@font-face \{[^}]*\}", "", picture)
    return re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE)
