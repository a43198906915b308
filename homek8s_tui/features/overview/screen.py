"""The home screen: machines and tunnel, what is wrong first, and the last runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from homek8s_tui.base.findings import Finding
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.tones import Line, Piece, age, elapsed
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.journal import Run, RunInfo
from homek8s_tui.features.overview.drawing import draw
from homek8s_tui.features.overview.view import ROOMS, Picture, picture
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.plan_picture import run_line, severity_sign
from homek8s_tui.ui.plan_screen import PlanScreen
from homek8s_tui.ui.screen import ConsoleScreen
from homek8s_tui.ui.text import toned
from homek8s_tui.ui.widgets import Lines

MEND = Action("home.mend", "m", "Mend", "Plan what mends the highlighted finding.", footer=True)
RESUME = Action("home.resume", "r", "Resume", "Go on with the run that was not finished.", footer=True)
WATCH = Action(
    "home.watch", "v", "View run", "Show the run that is under way, or the newest of this session.", footer=True
)
LOOK = Action("home.look", "l", "Look", "Look at all machines now.", footer=True)

_AGAIN_SECONDS = 5.0
_OLD_SECONDS = 12.0
_SLOW_SECONDS = 3.0
_RUNS = 20
_ROOMY_ROWS = 34


_Look = tuple[Picture, list[RunInfo], Run | None, Trouble | None]


class HomeScreen(ConsoleScreen):
    """The home at a glance."""

    NAME = "Home"
    EXPLAINED = (
        "Your machines and the tunnel between them, asked every few seconds on connections that stay open: each edge "
        "shows how long ago its two ends shook hands (WireGuard renews that every two minutes). Below is what is wrong, "
        "worst first, with how that is known; m plans what mends it. Then the last runs."
    )
    ACTIONS: ClassVar = (MEND, RESUME, WATCH, LOOK)

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._trouble: Trouble | None = None
        self._runs: list[RunInfo] = []
        self._unfinished: Run | None = None
        self._looking = False
        self._opened = False
        self._unread: Trouble | None = None
        self._began = 0.0
        self._timer: Timer | None = None

    def body(self) -> ComposeResult:
        """Yields picture, findings and runs."""
        with Vertical(id="home"):
            yield Lines(id="picture")
            with Container(id="below"):
                with Vertical(id="findings-part"):
                    yield Lines(id="findings-title", classes="title")
                    yield OptionList(id="findings", markup=False, compact=True)
                    with VerticalScroll(id="finding-scroll"):
                        yield Lines(id="finding")
                with Vertical(id="runs-part"):
                    yield Lines([(("Last runs", "strong"),)], classes="title")
                    yield OptionList(id="runs", markup=False, compact=True)

    def on_mount(self) -> None:
        """Looks for the first time."""
        self.query_one("#findings", OptionList).focus()
        self._began = self.service.clock.monotonic()
        self._paint_picture()
        # only after the second refresh, when the frame is there with its words: what a look loads, SSH above all,
        # would take the first frame's time
        self.call_after_refresh(self.call_after_refresh, self._look)

    def on_screen_resume(self) -> None:
        """Looks again: what was seen while hidden is old."""
        super().on_screen_resume()
        if self._opened and not self._looking:
            self._look()

    def on_screen_suspend(self) -> None:
        """Asks nobody while nobody looks."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def on_resize(self) -> None:
        """Draws for the new size."""
        super().on_resize()
        self.call_after_refresh(self._paint)

    # --- what can be done

    def why_not(self, action: str) -> str | None:
        """Returns why an action can't be done now."""
        live = self.service.live
        if action == MEND.id:
            finding = self._finding()
            if finding is None:
                return "Nothing is highlighted that is wrong."
            if finding.mend is None:
                return f"That is not for a plan. {finding.do}".strip()
        elif action == RESUME.id:
            if live is not None and live.progress.ended is None:
                return "A run is under way already."
            if self.console.read_only:
                return "The console is read-only."
            if self._unfinished is None:
                return "No run is unfinished."
        elif action == WATCH.id and live is None:
            return "There was no run since the console began; the journal has the earlier ones."
        return None

    def do_mend(self) -> None:
        """Plans what mends the highlighted finding."""
        finding = self._finding()
        if finding is not None and finding.mend is not None:
            self.console.show_plan(finding.mend)

    def do_resume(self) -> None:
        """Goes on with the unfinished run."""
        self.app.push_screen(PlanScreen(self._unfinished))

    def do_watch(self) -> None:
        """Shows the run that is under way."""
        self.app.push_screen(PlanScreen(None))

    def do_look(self) -> None:
        """Looks at all machines now."""
        self.console.ask_again()
        self._look()

    def copied(self) -> str:
        """Returns the highlighted finding."""
        finding = self._finding()
        return "" if finding is None else f"{finding.subject}: {finding.what} {finding.how_we_know} {finding.do}"

    def status(self) -> Line:
        """Returns how old what is shown is."""
        if self._picture is None:
            return ()
        since = self.service.clock.now() - self._picture.at
        old = since > _OLD_SECONDS
        seen: Piece = (f"{'! last seen' if old else 'seen'} {age(since)}", "warn" if old else "dim")
        took = self.service.clock.monotonic() - self._began
        if self._looking and took > _SLOW_SECONDS:
            # nothing of what is shown is newer than that look, and it may end in nothing
            return ((f"looking {took:.0f} s  ", "accent"), seen)
        return (seen,)

    def tick(self) -> None:
        """Lets ages go on."""
        self._paint_picture()
        if self._picture is not None:
            self._paint_findings()
        super().tick()

    # --- looking

    def _look(self) -> None:
        if self._looking:
            return
        self._looking = self._opened = True
        self._began = self.service.clock.monotonic()
        service = self.service

        def look() -> _Look:
            home = service.home()
            seen = picture(home, service.look(home, ROOMS))
            try:
                return seen, service.runs(home)[:_RUNS], service.unfinished(home), None
            except Trouble as unread:
                # what the journal holds against us must not hide the machines
                return seen, [], None, unread

        self.console.background.start("look", look, self._seen, self._unseen)
        self._paint_picture()

    def _seen(self, found: _Look) -> None:
        self._picture, self._runs, self._unfinished, self._unread = found
        self._trouble = None
        self._looked()

    def _unseen(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._looked()

    def _looked(self) -> None:
        self._looking = False
        self._paint()
        # only after it came back, so that looks never pile up
        if self.is_current and self._timer is None:
            self._timer = self.set_timer(_AGAIN_SECONDS, self._again)

    def _again(self) -> None:
        self._timer = None
        self._look()

    # --- painting

    def _paint(self) -> None:
        if not self.is_mounted:
            return
        self._paint_picture()
        self._paint_findings()
        self._paint_runs()
        self.refresh_frame()

    def _paint_picture(self) -> None:
        if not self.is_mounted:
            return
        widget = self.query_one("#picture", Lines)
        if self._picture is None:
            widget.show(self._before())
            return
        since = self.service.clock.now() - self._picture.at
        width = max(40, widget.size.width)
        drawn = draw(self._picture, width, self.size.height >= _ROOMY_ROWS, since, since > _OLD_SECONDS)
        if self._trouble is not None:
            why = one_line(f"{self._trouble.where}: {self._trouble.came_back}", 300)
            drawn.insert(0, (("! This is how it was. ", "warn"), (why[: width - 24], "plain")))
        widget.show(drawn)

    def _before(self) -> Iterator[Line]:
        if self._trouble is not None:
            yield (("✗ ", "bad"), (str(self._trouble), "plain"))
            return
        took = self.service.clock.monotonic() - self._began
        yield (("▸ Looking at your machines ", "accent"), (elapsed(took), "dim"))
        for host, entry in self.service.log.current().items():
            yield ((f"  {host}: ", "dim"), (one_line(entry.what, 60), "plain"))

    def _findings(self) -> tuple[Finding, ...]:
        return self._picture.findings if self._picture else ()

    def _finding(self) -> Finding | None:
        index = self.query_one("#findings", OptionList).highlighted
        found = self._findings()
        return found[index] if index is not None and index < len(found) else None

    def _paint_findings(self) -> None:
        found = self._findings()
        title = self.query_one("#findings-title", Lines)
        if self._picture is None:
            title.show([(("What is wrong", "strong"), ("  not known yet", "dim"))])
        elif not found:
            title.show([(("✓ Nothing is wrong", "good"),)])
        else:
            title.show([((f"What is wrong ({len(found)})", "strong"),)])
        since = self.service.clock.now() - self._picture.at if self._picture is not None else 0.0
        if self._picture is not None and (self._trouble is not None or since > _OLD_SECONDS):
            what = f"{len(found)} things were wrong" if found else "Nothing was wrong"
            title.show([((f"? {what} {age(since)}", "warn"),)])
        lines: list[Line] = [
            (
                (f"{severity_sign(finding)[0]} ", severity_sign(finding)[1]),
                (f"{finding.subject}: ", "dim"),
                (finding.what, "plain"),
            )
            for finding in found
        ]
        _refill(self.query_one("#findings", OptionList), lines)
        self._paint_finding()

    def _paint_finding(self) -> None:
        finding = self._finding()
        lines: list[Line] = []
        if finding is not None:
            lines = [(("known by ", "dim"), (finding.how_we_know, "plain"))]
            if finding.do:
                lines.append((("do       ", "dim"), (finding.do, "plain")))
        self.query_one("#finding", Lines).show(lines)

    def _no_runs(self) -> Line:
        if self._unread is not None:
            return (("✗ ", "bad"), (one_line(str(self._unread), 300), "plain"))
        return (("No run yet. 2 begins the set-up.", "dim"),)

    def _paint_runs(self) -> None:
        now = self.service.clock.now()
        _refill(
            self.query_one("#runs", OptionList),
            [run_line(info, now) for info in self._runs] or [self._no_runs()],
        )

    @on(OptionList.OptionHighlighted, "#findings")
    def _highlighted(self) -> None:
        self._paint_finding()
        self.refresh_frame()

    @on(OptionList.OptionSelected, "#findings")
    def _selected(self) -> None:
        self.act(MEND.id)

    @on(OptionList.OptionSelected, "#runs")
    def _run_selected(self, event: OptionList.OptionSelected) -> None:
        if self._runs:
            screen = self.console.go("journal")
            choose = getattr(screen, "choose", None)
            if choose is not None:
                choose(self._runs[event.option_index].id)


def _refill(options: OptionList, lines: list[Line]) -> None:
    """Shows other rows; touches only those that changed, and keeps the highlight."""
    if options.option_count == len(lines):
        for index, line in enumerate(lines):
            content = toned([line])
            if options.get_option_at_index(index).prompt != content:
                options.replace_option_prompt_at_index(index, content)
        return
    highlighted = options.highlighted
    options.clear_options()
    options.add_options([Option(toned([line])) for line in lines])
    if lines:
        options.highlighted = min(highlighted or 0, len(lines) - 1)
