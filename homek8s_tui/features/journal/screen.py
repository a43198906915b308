"""The journal: every run with its steps, commands, differences, output and times; undo from there."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.tones import Line, text
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.journal import Run, RunInfo
from homek8s_tui.engine.progress import Progress, remembered
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.dialogs import Dialog
from homek8s_tui.ui.plan_picture import detail, rows, run_line
from homek8s_tui.ui.plan_screen import PlanScreen
from homek8s_tui.ui.screen import ConsoleScreen
from homek8s_tui.ui.text import toned
from homek8s_tui.ui.widgets import Lines

UNDO = Action("journal.undo", "u", "Undo", "Plan to take the highlighted run back; nothing is done yet.", footer=True)
RESUME = Action("journal.resume", "r", "Resume", "Go on with the highlighted run, if it was not finished.", footer=True)
READ = Action("journal.read", "l", "Read again", "Read the journal again.")


class JournalScreen(ConsoleScreen):
    """What was done."""

    NAME = "Journal"
    EXPLAINED = (
        "Every run that was approved here, newest first. Below are its steps as they were approved, each with how it "
        "went: what it ran or wrote, what it said, how long it took. u plans to take a run back, from how the machines "
        "are today: what somebody changed since is left alone and said."
    )
    ACTIONS: ClassVar = (UNDO, RESUME, READ)

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunInfo] = []
        self._wanted = ""
        self._progress: Progress | None = None
        self._shown = ""
        self._said: Line = (("▸ Reading the journal", "accent"),)

    def body(self) -> ComposeResult:
        """Yields runs, steps and details."""
        with Vertical(id="journal"):
            yield OptionList(id="journal-runs", markup=False, compact=True)
            yield Lines(id="journal-title", classes="title")
            with Container(id="journal-split"):
                yield OptionList(id="journal-rows", markup=False, compact=True)
                with VerticalScroll(id="journal-detail-scroll"):
                    yield Lines(id="journal-detail")

    def on_mount(self) -> None:
        """Begins at the runs; they are read when the screen is shown."""
        self.query_one("#journal-runs", OptionList).focus()

    def on_screen_resume(self) -> None:
        """Reads again: something may have been done meanwhile."""
        super().on_screen_resume()
        if self.is_mounted:
            self._read()

    def choose(self, run: str) -> None:
        """Highlights a run."""
        self._wanted = run
        if self.is_mounted:
            self._read()

    def why_not(self, action: str) -> str | None:
        """Returns why an action can't be done now."""
        info = self._info()
        if action in (UNDO.id, RESUME.id) and info is None:
            return "There is no run yet."
        if action == UNDO.id and self._progress is not None and self._progress.plan.undoes:
            return "That run was an undo itself; plan the set-up again instead."
        if action == RESUME.id and info is not None and info.result != "unfinished":
            return "That run is not unfinished."
        live = self.service.live
        if action in (UNDO.id, RESUME.id) and live is not None and live.progress.ended is None:
            return "A run is under way; v on the home screen shows it."
        if action == RESUME.id and self.console.read_only:
            return "The console is read-only."
        return None

    def do_undo(self) -> None:
        """Asks about the packages, and plans."""
        info = self._info()
        if info is None:
            return

        def answered(answer: str | None) -> None:
            if answer in ("keep", "remove"):
                packages = "yes" if answer == "remove" else "no"
                self.console.show_plan(Intent("undo", (("run", info.id), ("packages", packages))))

        self.app.push_screen(
            Dialog(
                f"Plan to take run {info.id} back",
                [
                    (("Nothing is done yet: you will see the plan first.", "plain"),),
                    (("The packages it installed may be needed by other things by now.", "dim"),),
                ],
                [
                    ("keep", "Keep packages", "primary"),
                    ("remove", "Remove them, too", "default"),
                    ("leave", "Leave it", "default"),
                ],
            ),
            answered,
        )

    def do_resume(self) -> None:
        """Goes on with the highlighted run."""
        info = self._info()
        if info is not None:
            service = self.service

            def loaded(run: Run) -> None:
                if self.is_current:
                    self.app.push_screen(PlanScreen(run))

            self.console.background.start(
                "resume", lambda: service.journal.load(info.id), loaded, self.console.say_trouble
            )

    def do_read(self) -> None:
        """Reads the journal again."""
        self._read()

    def copied(self) -> str:
        """Returns the details that are shown."""
        return "\n".join(text(line) for line in self.query_one("#journal-detail", Lines).shown)

    def _info(self) -> RunInfo | None:
        index = self.query_one("#journal-runs", OptionList).highlighted
        return self._runs[index] if index is not None and index < len(self._runs) else None

    def _read(self) -> None:
        service = self.service
        self.console.background.start("journal", lambda: service.runs(service.home()), self._listed, self._failed)

    def _failed(self, trouble: Trouble) -> None:
        self._said = (("✗ ", "bad"), (str(trouble), "plain"))
        self._paint_title()

    def _listed(self, runs: list[RunInfo]) -> None:
        current = self._wanted or (info.id if (info := self._info()) else "")
        self._wanted = ""
        self._runs = runs
        options = self.query_one("#journal-runs", OptionList)
        now = self.service.clock.now()
        options.clear_options()
        lines = [run_line(info, now) for info in runs] or [(("Nothing was done yet. 2 begins the set-up.", "dim"),)]
        options.add_options([Option(toned([line])) for line in lines])
        found = [index for index, info in enumerate(runs) if info.id == current]
        options.highlighted = found[0] if found else 0
        self._said = ()
        self._open()

    def _open(self) -> None:
        info = self._info()
        if info is None:
            self._paint_title()
            return
        if info.id != self._shown:
            # what is shown below is never another run's
            self._progress = None
            self.query_one("#journal-rows", OptionList).clear_options()
            self.query_one("#journal-detail", Lines).show([])
        service = self.service

        def opened(progress: Progress) -> None:
            if self._info() is info:
                self._progress = progress
                self._paint_run(info)

        self.console.background.start(
            "journal-run", lambda: remembered(*service.records(info.id)), opened, self._failed
        )

    def _paint_run(self, info: RunInfo) -> None:
        progress = self._progress
        if progress is None:
            return
        plan = progress.plan
        self._said = (
            (info.what, "strong"),
            (f"  {progress.finished} of {len(plan.steps)} steps · plan {plan.digest[:12]}", "dim"),
        )
        self._paint_title()
        options = self.query_one("#journal-rows", OptionList)
        options.clear_options()
        options.add_options(
            [Option(toned([row.line]), id=row.id, disabled=row.heading) for row in rows(plan, progress)]
        )
        first = next((row.id for row in rows(plan, progress) if not row.heading), None)
        failed = progress.failures()
        if failed:
            first = f"step-{failed[0].step.number}"
        if first is not None:
            options.highlighted = options.get_option_index(first)
        self._shown = info.id
        self._paint_detail()
        self.refresh_frame()

    def _paint_title(self) -> None:
        self.query_one("#journal-title", Lines).show([self._said])

    def _paint_detail(self) -> None:
        options = self.query_one("#journal-rows", OptionList)
        if self._progress is None or options.highlighted is None:
            return
        row = options.get_option_at_index(options.highlighted).id or ""
        self.query_one("#journal-detail", Lines).show(detail(self._progress.plan, row, self._progress))

    @on(OptionList.OptionHighlighted, "#journal-runs")
    def _run_highlighted(self) -> None:
        info = self._info()
        if info is not None and info.id != self._shown:
            self._open()

    @on(OptionList.OptionHighlighted, "#journal-rows")
    def _row_highlighted(self) -> None:
        self.query_one("#journal-detail-scroll", VerticalScroll).scroll_home(animate=False)
        self._paint_detail()
