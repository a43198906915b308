"""What every screen of the console has: a top line, a key bar, actions that say why they can't be done, help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from homek8s_tui.base.tones import Line
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.widgets import KeyBar, TopLine

if TYPE_CHECKING:
    from homek8s_tui.engine.service import Service
    from homek8s_tui.ui.app import Console

HOME = Action("console.home", "1,f2", "Home", "Go to the home screen: machines, tunnel, what is wrong.", footer=True)
SETUP = Action(
    "console.setup", "2,f3", "Set up", "Go to the set-up of machines, tunnel, proxy and cluster.", footer=True
)
JOURNAL = Action(
    "console.journal", "3,f4", "Journal", "Go to the journal: every run, its steps, and undo.", footer=True
)
LOG = Action("console.log", "ctrl+l", "Commands", "Show every exchange with a machine, with its timing.")
THEME = Action("console.theme", "ctrl+t", "Theme", "Go to the next theme: dark, light, high contrast.")
COPY = Action("console.copy", "y,ctrl+y", "Copy", "Copy what is highlighted, by the terminal's clipboard (OSC 52).")
PALETTE = Action("console.palette", "ctrl+p", "Palette", "Find any action by typing a part of its name.", footer=True)
HELP = Action("console.help", "question_mark,f1", "Help", "Explain this screen and its keys.", footer=True)
QUIT = Action(
    "console.quit", "q,ctrl+q", "Quit", "Leave the console; a run that is under way is asked about.", footer=True
)
EVERYWHERE = (HELP, HOME, SETUP, JOURNAL, PALETTE, QUIT, LOG, COPY, THEME)
"""The actions of every screen."""


class ConsoleScreen(Screen[None]):
    """A screen of the console. A subclass names its actions, and has a method ``do_...`` for each."""

    NAME: ClassVar[str] = ""
    """What the top line calls it."""
    EXPLAINED: ClassVar[str] = ""
    """What help says of it, in a few sentences."""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    """Its own actions; the footer shows them in this order."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual declares its type
    BINDINGS = [action.binding() for action in EVERYWHERE]  # noqa: RUF012 - Textual declares its type

    def __init_subclass__(cls, **options: Any) -> None:
        cls.BINDINGS = [action.binding() for action in cls.ACTIONS]
        super().__init_subclass__(**options)

    @property
    def console(self) -> Console:
        """The app, by its own type."""
        return cast("Console", self.app)

    @property
    def service(self) -> Service:
        """The home's service."""
        return self.console.service

    def compose(self) -> ComposeResult:
        """Puts the body between top line and key bar."""
        yield TopLine()
        yield from self.body()
        yield KeyBar(markup=False, id="keys")

    def body(self) -> ComposeResult:
        """Yields what is special to the screen."""
        yield from ()

    def actions(self) -> tuple[Action, ...]:
        """Returns its actions, its own first."""
        return (*self.ACTIONS, *EVERYWHERE)

    def key_of(self, action: Action) -> str:
        """Returns an action's keys, the operator's own where there are any."""
        return self.console.keys.get(action.id, action.key)

    def why_not(self, action: str) -> str | None:
        """Returns why an action can't be done now, as a sentence, or None if it can."""
        del action
        return None

    def copied(self) -> str:
        """Returns what copying takes."""
        return ""

    def status(self) -> Line:
        """Returns the right half of the top line."""
        return ()

    def refresh_frame(self) -> None:
        """Shows top line and key bar as things are now."""
        if not self.is_mounted:
            return
        self.query_one(TopLine).show(self.NAME, (*self.status(), *self.console.run_status()))
        own: Iterable[Action] = (action for action in self.ACTIONS if action.footer)
        self.query_one(KeyBar).show(self, (*(action for action in EVERYWHERE[:1]), *own, *_footer_rest()))

    def on_screen_resume(self) -> None:
        """Is shown again."""
        self.refresh_frame()

    def on_descendant_focus(self) -> None:
        """Shows the keys that work here: a field takes the characters."""
        self.refresh_frame()

    def on_resize(self) -> None:
        """Fits the frame."""
        self.call_after_refresh(self.refresh_frame)

    def leaving(self) -> None:
        """The console is left: what waits to be kept is kept now."""

    def tick(self) -> None:
        """Once a second while it is shown: ages go on."""
        self.refresh_frame()

    def refresh_run(self) -> None:
        """A run told something; at most ten times a second."""
        self.refresh_frame()

    def act(self, action: str) -> None:
        """Does an action, or says why not."""
        found = next((known for known in self.actions() if known.id == action), None)
        if found is None:
            return
        reason = self.why_not(action)
        if reason is not None:
            self.notify(reason, title=found.title, severity="warning", markup=False)
            return
        getattr(self if hasattr(self, found.method) else self.console, found.method)()
        self.refresh_frame()

    def action_act(self, action: str) -> None:
        """The one action that every binding names."""
        self.act(action)


def _footer_rest() -> tuple[Action, ...]:
    return tuple(action for action in EVERYWHERE[1:] if action.footer)
