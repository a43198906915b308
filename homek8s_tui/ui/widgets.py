"""Small widgets that every screen uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.style import Style
from textual.widgets import Input, Static

from homek8s_tui.base.tones import Line
from homek8s_tui.ui.actions import Action, shown, usable
from homek8s_tui.ui.text import STYLES, toned

if TYPE_CHECKING:
    from homek8s_tui.ui.screen import ConsoleScreen


class Lines(Static):
    """Lines of toned text; setting the same again costs nothing."""

    def __init__(self, lines: Iterable[Line] = (), **options: Any) -> None:
        super().__init__(markup=False, **options)
        self._shown: tuple[Line, ...] = tuple(lines)

    def on_mount(self) -> None:
        """Shows what was given before."""
        self.update(toned(self._shown))

    def show(self, lines: Iterable[Line]) -> None:
        """Shows other lines."""
        new = tuple(lines)
        if new != self._shown:
            self._shown = new
            self.update(toned(new))

    @property
    def shown(self) -> tuple[Line, ...]:
        """What is shown."""
        return self._shown


class TopLine(Static):
    """Where one is, and what goes on."""

    def __init__(self) -> None:
        super().__init__(markup=False, id="top")
        self._parts: tuple[str, Line] = ("", ())

    def show(self, where: str, right: Line) -> None:
        """Shows the screen's name at the left and a line at the right."""
        if (where, right) != self._parts:
            self._parts = (where, right)
            self._paint()

    def on_resize(self) -> None:
        """Aligns the right part anew."""
        self._paint()

    def _paint(self) -> None:
        where, right = self._parts
        left: Line = ((" homek8s ", "accent"), ("▸ ", "dim"), (where, "strong"))
        used = sum(len(text) for text, _ in (*left, *right))
        gap: Line = ((" " * max(1, self.size.width - used - 1), "plain"),)
        self.update(toned([(*left, *gap, *right)]))


class KeyBar(Static):
    """The footer: the keys of what can be done now, each a button for the mouse as well.

    What can't be done now is left out; palette and help list it with the reason, and its key says it.
    """

    auto_links = False

    def show(self, screen: ConsoleScreen, actions: Iterable[Action]) -> None:
        """Shows as many of the actions as there is room for."""
        room = self.size.width - 1
        pieces: list[Content] = []
        for action in actions:
            if screen.why_not(action.id) is not None:
                continue
            key = shown(usable(screen.key_of(action), isinstance(screen.focused, Input)))
            if not key:
                continue
            used = len(key) + len(action.title) + 3
            if used > room:
                continue
            room -= used
            click = Style.from_meta({"@click": f"screen.act('{action.id}')"})
            pieces.append(Content.assemble((f" {key}", STYLES["accent"]), f" {action.title} ").stylize(click))
        self.update(Content("").join(pieces))
