"""Opens the console: reads its settings and puts the screens over the home's service."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine.service import Service
from homek8s_tui.home import places
from homek8s_tui.ui.actions import remapped
from homek8s_tui.ui.app import Console, Settings
from homek8s_tui.ui.questions import Questions
from homek8s_tui.ui.screen import EVERYWHERE, ConsoleScreen
from homek8s_tui.ui.theme import THEMES


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    theme: str = "dark"
    keys: dict[str, str] = {}


def home_screen() -> ConsoleScreen:
    """Makes the home screen; its modules are loaded only now, for the first frame's sake."""
    from homek8s_tui.features.overview.screen import HomeScreen

    return HomeScreen()


def setup_screen() -> ConsoleScreen:
    """Makes the set-up."""
    from homek8s_tui.features.setup.screen import SetupScreen

    return SetupScreen()


def journal_screen() -> ConsoleScreen:
    """Makes the journal."""
    from homek8s_tui.features.journal.screen import JournalScreen

    return JournalScreen()


SCREENS: dict[str, Callable[[], ConsoleScreen]] = {
    "home": home_screen,
    "setup": setup_screen,
    "journal": journal_screen,
}
"""What makes each main screen."""


def settings(path: Path) -> Settings:
    """Reads the console's settings.

    Args:
        path: ``console.toml``; it need not exist.

    Raises:
        Trouble: If something in it can't be used; it names what.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble("read the console's settings", str(path), str(error), "Look at the file.", Kind.USAGE) from None
    try:
        told = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        said = one_line(str(error))
        raise Trouble("read the console's settings", str(path), said, "Mend the file.", Kind.USAGE) from None
    names = [theme.name for theme in THEMES]
    if told.theme not in names:
        raise Trouble(
            "read the console's settings",
            str(path),
            f"there is no theme '{one_line(told.theme, 60)}'",
            f"The themes are {', '.join(names)}.",
            Kind.USAGE,
        )
    if told.keys:
        from homek8s_tui.features.journal.screen import JournalScreen
        from homek8s_tui.features.overview.screen import HomeScreen
        from homek8s_tui.features.setup.screen import SetupScreen
        from homek8s_tui.ui.plan_screen import PlanScreen

        screens = (HomeScreen, SetupScreen, JournalScreen, PlanScreen)
        together = [(*screen.ACTIONS, *EVERYWHERE) for screen in screens]
        return Settings(told.theme, remapped(together, told.keys, str(path)))
    return Settings(told.theme)


def console(
    service: Service,
    first: str,
    questions: Questions | None,
    read_only: bool,
    note: str,
    chosen: Settings | None = None,
) -> Console:
    """Returns the console over a home's service.

    Args:
        service: The service.
        first: The screen to begin with.
        questions: What threads ask the operator.
        read_only: Whether nothing may be changed.
        note: What the top line says at all times.
        chosen: The settings; read from the operator's file where None.
    """
    found = chosen or settings(places.config(os.environ) / "homek8s" / "console.toml")
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    reports = places.state(os.environ)
    return Console(service, SCREENS, first, found, reports, questions, read_only, note, editor)
