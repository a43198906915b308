"""The console: one app around the screens, their threads, dialogs, theme and end."""

from __future__ import annotations

import contextlib
import functools
import gc
import subprocess
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import App, SuspendNotSupported
from textual.command import CommandPalette, DiscoveryHit, Hit, Provider
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widgets import Input

from homek8s_tui.base.clock import Clock
from homek8s_tui.base.findings import Intent
from homek8s_tui.base.safe_text import clean, one_line
from homek8s_tui.base.tones import Line
from homek8s_tui.base.troubles import EXIT_CODES, Kind, Trouble
from homek8s_tui.engine.crash import write_report
from homek8s_tui.engine.events import RunEnded
from homek8s_tui.engine.service import LiveRun, Service
from homek8s_tui.ui.actions import shown
from homek8s_tui.ui.background import Background, Delivered
from homek8s_tui.ui.command_log import CommandLogScreen
from homek8s_tui.ui.dialogs import Dialog, HelpDialog, SecretDialog, host_key_dialog
from homek8s_tui.ui.questions import Questions, Waiting
from homek8s_tui.ui.screen import ConsoleScreen
from homek8s_tui.ui.theme import THEMES

_RUN_PAINT_SECONDS = 0.1
_TYPING_PAUSE_SECONDS = 0.8
_LOADED_SECONDS = 5.0


def _keep_for_good() -> None:
    """Has the garbage collector leave alone what is there: going through it all takes 0.1 s, in the middle of a key's answer."""
    gc.freeze()
    gc.enable()


@dataclass(frozen=True)
class Settings:
    """What the operator decides about the console, from ``console.toml``; it is never written by the console."""

    theme: str = "dark"
    """The theme to begin with."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys by action."""


class ActionCommands(Provider):
    """Every action of the screen, for the palette."""

    async def discover(self) -> AsyncIterator[DiscoveryHit]:
        """Yields all of them."""
        for title, help_text, run in self._all():
            yield DiscoveryHit(title, run, help=help_text)

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """Yields those that what was typed could mean."""
        matcher = self.matcher(query)
        for title, help_text, run in self._all():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=help_text)

    def _all(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            for action in screen.actions():
                reason = screen.why_not(action.id)
                # the palette reads markup, and a reason may quote a machine
                told = action.help if reason is None else "not now: " + clean(reason).replace("[", "(")
                yield (
                    f"{action.title}  ({shown(screen.key_of(action))})",
                    told,
                    functools.partial(screen.act, action.id),
                )


class Console(App[int]):
    """The console of a home.

    Args:
        service: The home's service.
        screens: What makes each screen: ``home``, ``setup`` and ``journal``.
        first: The screen to begin with.
        settings: What the operator decided.
        reports: The folder for reports of our own errors.
        questions: What threads ask the operator; None where nothing is asked.
        read_only: Whether nothing may be changed.
        note: What the top line says at all times, such as that this is a rehearsal.
        editor: The operator's editor, as words.
    """

    CSS_PATH = "console.tcss"
    TITLE = "homek8s"
    COMMANDS: ClassVar = {ActionCommands}
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "f12"

    def __init__(
        self,
        service: Service,
        screens: Mapping[str, Callable[[], ConsoleScreen]],
        first: str,
        settings: Settings,
        reports: Path,
        questions: Questions | None = None,
        read_only: bool = False,
        note: str = "",
        editor: Sequence[str] = ("vi",),
    ) -> None:
        super().__init__()
        self.service = service
        """The home's service."""
        self.keys = dict(settings.keys)
        """The operator's own keys by action."""
        self.editor = tuple(editor)
        """The operator's editor, as words."""
        self.read_only = read_only
        """Whether nothing may be changed."""
        self.background = Background(self.post_message, self._crashed)
        """The threads."""
        self._makers = dict(screens)
        self._made: dict[str, ConsoleScreen] = {}
        self._first = first
        self._reports = reports
        self._questions = questions
        self._note = note
        self._asking: list[Waiting] = []
        self._run_told = False
        self._painted_at = 0.0
        self.report = ""
        """What was said about an error of our own, at the end."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = settings.theme

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self.service.clock

    def on_mount(self) -> None:
        """Opens the first screen."""
        self.set_keymap(self.keys)
        if self._questions is not None:
            self._questions.ask = lambda waiting: self.background.deliver(lambda: self._ask(waiting))
        self.push_screen(self._screen(self._first))
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(_keep_for_good)
        self.set_timer(_LOADED_SECONDS, _keep_for_good)

    # --- screens

    def go(self, name: str) -> ConsoleScreen:
        """Goes to one of the main screens, which keeps its state while another is shown."""
        screen = self._screen(name)
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if self.screen is not screen:
            self.switch_screen(screen)
        return screen

    def show_plan(self, intent: Intent) -> None:
        """Makes the plan of an intent and shows it: a finding's mend, an undo, a part of the set-up."""
        from homek8s_tui.ui.plan_screen import PlanScreen

        self.push_screen(PlanScreen(intent))

    def do_home(self) -> None:
        """Goes to the home screen."""
        self.go("home")

    def do_setup(self) -> None:
        """Goes to the set-up."""
        self.go("setup")

    def do_journal(self) -> None:
        """Goes to the journal."""
        self.go("journal")

    def do_log(self) -> None:
        """Shows every exchange."""
        self.push_screen(CommandLogScreen(self.service.log))

    def do_theme(self) -> None:
        """Goes to the next theme."""
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.notify(f"'theme = \"{self.theme}\"' in console.toml keeps it.", title=f"Theme: {self.theme}", markup=False)

    def do_copy(self) -> None:
        """Copies what is highlighted."""
        copied = clean(self.screen.copied() if isinstance(self.screen, ConsoleScreen) else "", 100_000)
        if not copied.strip():
            self.notify("Nothing is highlighted.", title="Copy", severity="warning", markup=False)
            return
        self.copy_to_clipboard(copied)
        count = len(copied.splitlines())
        told = f"{count} line{'' if count == 1 else 's'} in the terminal's clipboard."
        self.notify(told, title="Copied", markup=False)

    def do_palette(self) -> None:
        """Opens the palette."""
        self.push_screen(CommandPalette(id="--command-palette"))

    def do_help(self) -> None:
        """Explains the screen."""
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            told = [(action, screen.key_of(action), screen.why_not(action.id)) for action in screen.actions()]
            self.push_screen(HelpDialog(screen.NAME, screen.EXPLAINED, told))

    def do_quit(self) -> None:
        """Leaves, after a question where a run is under way."""
        live = self.service.live
        if live is None or live.progress.ended is not None:
            self._leave()
            return

        def answered(answer: str | None) -> None:
            if answer == "now":
                self._leave()
            elif answer == "stop":
                live.stop()
                self.notify("The steps that run are finished first.", title="Stopping", markup=False)

        self.push_screen(
            Dialog(
                "A run is under way",
                [
                    (("It is remembered: the home screen offers to go on with it.", "plain"),),
                    (("Long commands go on on their machines by themselves.", "plain"),),
                ],
                [
                    ("stay", "Stay", "primary"),
                    ("stop", "Stop it first", "default"),
                    ("now", "Quit now", "warning"),
                ],
            ),
            answered,
        )

    async def action_quit(self) -> None:
        """Textual's own quit key does the same as ours."""
        self.do_quit()

    def _leave(self) -> None:
        for screen in self._made.values():
            screen.leaving()
        if self._questions is not None:
            self._questions.close()
        self.exit(0)

    def _screen(self, name: str) -> ConsoleScreen:
        if name not in self._made:
            self._made[name] = self._makers[name]()
            self.install_screen(self._made[name], name)
        return self._made[name]

    def edit(self, path: Path) -> None:
        """Opens a file in the operator's editor; the console comes back when it ends."""
        try:
            with self.suspend():
                subprocess.run([*self.editor, str(path)], check=False)  # noqa: S603 - the operator's own editor
        except (OSError, SuspendNotSupported) as error:
            tried = f"open {path} with {self.editor[0]}"
            self.say_trouble(Trouble(tried, "", str(error), "Set EDITOR, or edit the file in another terminal."))

    # --- runs

    def carry_out(self, live: LiveRun) -> None:
        """Carries a run out on a thread of its own; it goes on whatever screen is shown."""
        live.watch = lambda _event: self._run_moved()
        self.background.start("apply", live.run, self._run_ended, self.say_trouble)

    def run_status(self) -> Line:
        """Returns what the top line says of the run and of the console."""
        live = self.service.live
        said: list[tuple[str, str]] = []
        if live is not None and live.progress.ended is None:
            said.append((f" ▸ {live.progress.finished}/{len(live.progress.steps)} steps ", "accent"))
        if self.read_only:
            said.append((" read-only ", "warn"))
        if self._note:
            said.append((f" {self._note} ", "warn"))
        return cast("Line", tuple(said))

    def _run_moved(self) -> None:
        # called from the run's threads a thousand times a second: one message is enough until it was handled
        if not self._run_told:
            self._run_told = True
            self.background.deliver(self._paint_run_soon)

    def _paint_run_soon(self) -> None:
        wait = self._painted_at + _RUN_PAINT_SECONDS - time.monotonic()
        if wait > 0:
            self.set_timer(wait, self._paint_run)
        else:
            self._paint_run()

    def _paint_run(self) -> None:
        self._run_told = False
        self._painted_at = time.monotonic()
        self._all_screens(lambda screen: screen.refresh_run())

    def _run_ended(self, ended: RunEnded) -> None:
        self._paint_run()
        if ended.result == "done":
            self.notify("Everything that was planned is done.", title="The run is done", markup=False)
        else:
            self.notify(
                "It says what happened and what to do.", title="The run stopped", severity="error", markup=False
            )

    def _tick(self) -> None:
        self._all_screens(lambda screen: screen.tick())

    def _all_screens(self, what: Callable[[ConsoleScreen], None]) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen):
                # a timer may still fire while a screen is taken down, widget by widget
                with contextlib.suppress(NoMatches):
                    what(screen)

    # --- what threads want

    @on(Delivered)
    def _delivered(self, message: Delivered) -> None:
        # what was on its way to a screen that has been left meanwhile is of no use to anybody
        with contextlib.suppress(NoMatches):
            message.deliver()

    def say_trouble(self, trouble: Trouble) -> None:
        """Says a trouble that no screen has a place for."""
        self.notify(one_line(str(trouble), 1000), title="That did not work", severity="error", timeout=15, markup=False)

    def _ask(self, waiting: Waiting) -> None:
        self._asking.append(waiting)
        if len(self._asking) == 1:
            self._ask_next()

    def _ask_next(self) -> None:
        field = self.focused
        if isinstance(field, Input) and not isinstance(self.screen, ModalScreen):
            self._ask_after_typing(field, field.value)
        else:
            self._show_question()

    def _ask_after_typing(self, field: Input, value: str) -> None:
        """Asks once the typing pauses: what is meant for a field must not answer a question."""

        def look() -> None:
            if self.focused is field and field.value != value:
                self._ask_after_typing(field, field.value)
            else:
                self._show_question()

        self.set_timer(_TYPING_PAUSE_SECONDS, look)

    def _show_question(self) -> None:
        waiting = self._asking[0]

        def answered(answer: object) -> None:
            self._asking.pop(0)
            waiting.give(answer == "approve" if isinstance(answer, str) else answer)  # type: ignore[arg-type]  # a Secret or None
            if self._asking:
                self._ask_next()

        if isinstance(waiting.subject, str):
            self.push_screen(SecretDialog(waiting.subject, waiting.again), answered)
        else:
            self.push_screen(host_key_dialog(waiting.subject), answered)

    def ask_again(self) -> None:
        """Lets questions be asked again that were not answered; called where the operator begins something."""
        if self._questions is not None:
            self._questions.ask_again()

    # --- our own errors

    def _crashed(self, report: str) -> None:
        """Ends with a report: going on after an error of our own would show something that is not so."""
        secrets = self._questions.secrets() if self._questions is not None else ()
        self.report = f"homek8s met an error of its own; {write_report(self._reports, report, secrets)}"
        if self._questions is not None:
            self._questions.close()
        self._return_code = EXIT_CODES[Kind.FAILED]
        self._exit_renderables.append(Text(self.report))
        self._close_messages_no_wait()

    def _handle_exception(self, error: Exception) -> None:
        """Textual's hook for what nobody caught; its own shows a traceback with the values of variables."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._crashed("".join(traceback.format_exception(error)))
