"""Every exchange with a machine, as a window over whatever screen is open."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from homek8s_tui.base.tones import Line
from homek8s_tui.engine.command_log import CommandLog
from homek8s_tui.ui.widgets import Lines

_SHOWN = 300


class CommandLogScreen(ModalScreen[None]):
    """The newest exchanges, newest last; it follows while it is open.

    Args:
        log: The log.
    """

    BINDINGS: ClassVar = [("escape,q,ctrl+l", "leave", "Leave")]

    def __init__(self, log: CommandLog) -> None:
        super().__init__()
        self._log = log

    def compose(self) -> ComposeResult:
        """Builds it."""
        with Vertical(classes="dialog large"):
            yield Lines([(("Every exchange with a machine", "strong"),)], classes="dialog-title")
            with VerticalScroll(classes="dialog-body"):
                yield Lines(id="entries")
            yield Lines([(("esc", "accent"), (" closes this; secrets never get in here", "dim"))])

    def on_mount(self) -> None:
        """Begins to follow."""
        self.query_one(VerticalScroll).focus()
        self.show()
        self.set_interval(0.5, self.show)

    def show(self) -> None:
        """Shows how it is now."""
        scroll = self.query_one(VerticalScroll)
        at_end = scroll.scroll_offset.y >= scroll.max_scroll_y
        self.query_one("#entries", Lines).show(log_lines(self._log))
        if at_end:
            scroll.scroll_end(animate=False)

    def action_leave(self) -> None:
        """Closes it."""
        self.dismiss(None)


def log_lines(log: CommandLog) -> list[Line]:
    """Returns the newest exchanges as lines."""
    entries = log.entries()
    earlier = log.dropped + max(0, len(entries) - _SHOWN)
    lines: list[Line] = [((f"({earlier} earlier ones are not shown)", "dim"),)] if earlier else []
    for entry in entries[-_SHOWN:]:
        at = dt.datetime.fromtimestamp(entry.at, dt.UTC).strftime("%H:%M:%S")
        took = "..." if entry.seconds is None else f"{entry.seconds:.2f} s"
        lines.append(
            (
                (f"{at} ", "dim"),
                (f"{took:>8} ", "accent" if entry.seconds is None else "dim"),
                (f"{entry.host:<8} ", "strong"),
                (entry.what, "plain"),
            )
        )
        if entry.trouble:
            lines.append(((f"{'':>18}✗ {entry.trouble}", "bad"),))
    return lines or [(("Nothing was asked yet.", "dim"),)]
