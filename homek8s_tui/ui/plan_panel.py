"""A plan on the screen, from the question to the last proof: being made, reviewed, approved, carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, cast, get_args

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Log, OptionList
from textual.widgets.option_list import Option

from homek8s_tui.base.findings import Finding, worst_first
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.tones import Line, elapsed, text
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.journal import Run
from homek8s_tui.engine.progress import Progress
from homek8s_tui.engine.service import LiveRun
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.model import Plan
from homek8s_tui.plan.review import title
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.dialogs import ApprovalDialog, Dialog
from homek8s_tui.ui.plan_picture import Row, detail, rows, step_row, summary
from homek8s_tui.ui.text import toned
from homek8s_tui.ui.widgets import Lines

if TYPE_CHECKING:
    from homek8s_tui.ui.app import Console

APPROVE = Action("plan.approve", "a", "Approve", "Apply the plan, after one more question.", footer=True)
WAIVE = Action(
    "plan.waive", "w", "Waive", "Go on in spite of the highlighted finding, where that is allowed.", footer=True
)
STOP = Action(
    "plan.stop", "s", "Stop", "Stop the run: the steps that run are finished, no further one begins.", footer=True
)
RESUME = Action("plan.resume", "r", "Resume", "Go on with the run that stopped, where it stopped.", footer=True)
AGAIN = Action("plan.again", "p", "Plan again", "Look at the machines anew and make the plan again.", footer=True)
PLAN_ACTIONS = (APPROVE, WAIVE, STOP, RESUME, AGAIN)
"""What can be done with a plan on the screen; screens with a `PlanPanel` take them with `PlanScreenMixin`."""

Phase = Literal["empty", "planning", "review", "beginning", "running", "ended", "trouble"]
_MOST_LOG_LINES = 400


class PlanPanel(Container):
    """A plan or its run, and its details."""

    class Moved(Message):
        """The panel's phase changed."""

    def __init__(self, **options: str) -> None:
        super().__init__(id=options.get("id"))
        self.phase: Phase = "empty"
        """Where the panel is."""
        self.plan: Plan | None = None
        """The plan that is shown."""
        self.live: LiveRun | None = None
        """Its run, if there is one."""
        self.waived: set[str] = set()
        """The findings that the operator goes on in spite of."""
        self.trouble: Trouble | None = None
        """Why there is no plan."""
        self._make: Callable[[], Plan] | None = None
        self._began = 0.0
        self._painted: dict[str, Row] = {}
        self._log_at = 0
        self._turn = 0

    def compose(self) -> ComposeResult:
        """Builds it."""
        yield Lines(id="summary")
        with Container(id="split"):
            yield OptionList(id="rows", markup=False, compact=True)
            with VerticalScroll(id="detail-scroll"):
                yield Lines(id="detail")
        with Vertical(id="log-part"):
            yield Lines(id="lanes")
            yield Log(id="log", max_lines=2000, auto_scroll=True)

    def on_mount(self) -> None:
        """Begins empty."""
        self._enter(self.phase)

    def on_resize(self) -> None:
        """Keeps the newest lines of the log in sight."""
        self.call_after_refresh(self.call_after_refresh, self.query_one(Log).scroll_end, animate=False)
        if self.phase == "ended":
            self._proofs_in_sight()

    # --- what the screen tells it

    def show_planning(self, make: Callable[[], Plan]) -> None:
        """Makes a plan, and shows it.

        Args:
            make: Makes it; called on a thread of its own.
        """
        self._make = make
        self._owner.ask_again()
        self._began = self._owner.clock.monotonic()
        self.plan, self.live, self.trouble = None, None, None
        self.waived.clear()
        self._turn += 1
        turn = self._turn
        self._enter("planning")

        def made(plan: Plan) -> None:
            # whoever asked again meanwhile wants the newer one
            if turn == self._turn:
                self.plan = plan
                self._enter("review")

        def failed(trouble: Trouble) -> None:
            if turn == self._turn:
                self.trouble = trouble
                self._enter("trouble")

        self._owner.background.start("plan", make, made, failed)

    def show_run(self, live: LiveRun) -> None:
        """Shows a run, wherever it is by now."""
        self._turn += 1
        intent, service = live.progress.plan.intent, self._owner.service
        self._make = self._make or (lambda: service.plan(service.home(), intent))
        self.plan, self.live, self.trouble = live.progress.plan, live, None
        if not self._here:
            return
        self.waived = set(live.waived)
        self._log_at = 0
        self.query_one(Log).clear()
        self._enter("ended" if live.progress.ended else "running")

    def resume(self, run: Run) -> None:
        """Goes on with an unfinished run."""
        owner, service = self._owner, self._owner.service
        self._make = self._make or (lambda: service.plan(service.home(), run.plan.intent))

        def answered(answer: str | None) -> None:
            if answer == "resume":
                self._begin(lambda: service.resume(run))

        def compare(home: Home) -> None:
            # the checksums that the approval pinned are no edit
            if msgspec.structs.replace(run.plan.home, artefacts=home.artefacts) == home:
                answered("resume")
                return
            said: Line = (("Going on follows the inventory as it was approved; p plans anew from today's.", "plain"),)
            choices = [("leave", "Leave it", "default"), ("resume", "Go on as approved", "primary")]
            self.app.push_screen(Dialog("The inventory was edited since", [said], choices), answered)

        owner.background.start("compare", service.home, compare, owner.say_trouble)

    def refresh_run(self) -> None:
        """Shows what the run told since."""
        if self.live is None or self.plan is None or not self._here:
            return
        if self.phase == "running" and self.live.progress.ended is not None:
            self._enter("ended")
            return
        self._paint_rows()
        self._paint_log(self.live.progress)
        self._paint_summary()

    def tick(self) -> None:
        """Lets the shown times go on."""
        self._paint_summary()

    # --- what can be done

    def why_not(self, action: str) -> str | None:
        """Returns why one of `PLAN_ACTIONS` can't be done now."""
        plan, phase = self.plan, self.phase
        if action == APPROVE.id:
            if phase != "review" or plan is None:
                return "There is no plan to approve here now."
            blockers = plan.blockers(frozenset(self.waived))
            if blockers:
                return f"{blockers[0].what} {blockers[0].do}".strip()
            if not plan.steps:
                return "There is nothing to do: everything is as it should be."
            if self._owner.read_only:
                return "The console is read-only."
            if self._other_run():
                return "A run is under way; v on the home screen shows it."
        elif action == WAIVE.id:
            if phase != "review" or plan is None:
                return "There is no plan to review here now."
            finding = self._finding()
            if finding is None:
                return "Highlight a finding first."
            if not finding.waivable:
                return "Going on in spite of this one would fail or do harm."
        elif action == STOP.id:
            if phase != "running" or self.live is None:
                return "No run is under way here."
            if self.live.stopping:
                return "It stops already, as soon as the steps that run are finished."
        elif action == RESUME.id:
            if phase != "ended" or self.live is None or self.live.progress.ended is None:
                return "No run has stopped here."
            if self._other_run():
                return "A run is under way; v on the home screen shows it."
            if self.live.progress.ended.result != "unfinished":
                return "The run is not one to go on with; plan again."
            if self._owner.read_only:
                return "The console is read-only."
        elif action == AGAIN.id:
            if phase in ("planning", "beginning", "running"):
                return "Something is under way; wait for it, or stop it."
            if self._make is None:
                return "There is nothing to plan here yet."
        return None

    def approve(self) -> None:
        """Asks once more, and begins the run."""
        plan = self.plan
        if plan is None:
            return

        owner = self._owner

        def answered(answer: str | None) -> None:
            if answer == "apply" and self.plan is plan and self.phase == "review":
                waived = tuple(sorted(self.waived))
                self._begin(lambda: owner.service.begin(plan, waived))

        def ask(unfinished: Run | None) -> None:
            if self.plan is plan and self.phase == "review" and self.screen.is_current:
                given_up = unfinished.id if unfinished is not None and unfinished.plan.digest != plan.digest else ""
                self.app.push_screen(ApprovalDialog(plan, sorted(self.waived), given_up), answered)

        owner.background.start("unfinished", lambda: owner.service.unfinished(plan.home), ask, owner.say_trouble)

    def waive(self) -> None:
        """Goes on in spite of the highlighted finding, or no more."""
        finding = self._finding()
        if finding is not None:
            self.waived ^= {finding.name}
            self._paint_rows()
            self._paint_summary()
            self._paint_detail()

    def stop(self) -> None:
        """Asks the run to stop."""
        if self.live is not None:
            self.live.stop()
            self._paint_summary()

    def again(self) -> None:
        """Makes the plan again."""
        if self._make is not None:
            self.show_planning(self._make)

    def resume_here(self) -> None:
        """Goes on with the run that stopped here."""
        console = self._owner

        def go(found: Run | None) -> None:
            if found is not None:
                self.resume(found)
            else:
                console.notify("It is not unfinished any more; plan again.", severity="warning", markup=False)

        def read() -> Run | None:
            return console.service.unfinished(cast("Plan", self.plan).home)

        console.background.start("resume", read, go, console.say_trouble)

    def copied(self) -> str:
        """Returns the details that are shown, as text."""
        return "\n".join(text(line) for line in self.query_one("#detail", Lines).shown)

    # --- painting

    @property
    def _here(self) -> bool:
        # a screen may be left while something is on its way to it; what is mounted stays "mounted" after that
        return bool(self.query("#rows")) and bool(self.query("#log")) and bool(self.query("#lanes"))

    @property
    def _owner(self) -> Console:
        return cast("Console", self.app)

    def _begin(self, make: Callable[[], LiveRun]) -> None:
        console = self._owner

        def begun(live: LiveRun) -> None:
            console.carry_out(live)
            self.show_run(live)

        before = self.phase

        def failed(trouble: Trouble) -> None:
            if before == "review":
                self.phase = before
                console.say_trouble(trouble)
            else:
                self.trouble = trouble
                self._enter("trouble")

        self.phase = "beginning"
        console.background.start("begin", make, begun, failed)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if not self._here:
            return
        for name in get_args(Phase):
            self.set_class(name == phase, f"-{name}")
        self._painted.clear()
        self.query_one("#rows", OptionList).clear_options()
        self.query_one("#detail", Lines).show(self._before_plan())
        if self.plan is not None:
            self._paint_rows()
        if self.live is not None:
            self._paint_log(self.live.progress)
        self._paint_summary()
        if self.has_focus_within or self.screen.focused is None:
            self.query_one("#rows", OptionList).focus()
        self.post_message(self.Moved())

    def _before_plan(self) -> Iterator[Line]:
        if self.trouble is not None:
            yield (("✗ ", "bad"), (str(self.trouble), "plain"))
            yield ()
            yield (("p plans again.", "dim"),)

    def _paint_rows(self) -> None:
        plan = cast("Plan", self.plan)
        progress = self.live.progress if self.live else None
        options = self.query_one("#rows", OptionList)
        if not self._painted:
            wanted = list(rows(plan, progress, self.waived))
            self._painted = {row.id: row for row in wanted}
            options.add_options([Option(toned([row.line]), id=row.id, disabled=row.heading) for row in wanted])
            self._highlight(plan, progress)
            return
        for row in rows(plan, progress, self.waived):
            if self._painted[row.id] != row:
                self._painted[row.id] = row
                options.replace_option_prompt(row.id, toned([row.line]))
        if progress is not None and self.phase == "running":
            self._follow(progress)
        self._paint_detail()

    def _highlight(self, plan: Plan, progress: Progress | None) -> None:
        """Puts the highlight where it matters: what stands against it, what failed, or the first step."""
        wanted = next((row for row in self._painted if not row.startswith("=")), None)
        if progress is not None and progress.ended is None:
            left = (step.step.number for step in progress.steps.values() if step.state in ("waiting", "running"))
            wanted = f"step-{next(left, plan.steps[-1].number if plan.steps else 0)}"
        elif progress is not None and progress.failures():
            wanted = step_row(progress.failures()[0].step, None).id
        elif progress is not None and progress.ended is not None:
            failed = [
                number
                for number, (_, verdict) in enumerate(progress.proof_list())
                if verdict is not None and verdict.state == "fails"
            ]
            wanted = f"proof-{failed[0] if failed else 0}" if plan.proofs else wanted
        if wanted is not None and wanted in self._painted:
            options = self.query_one("#rows", OptionList)
            options.highlighted = options.get_option_index(wanted)
            if self.phase == "ended":
                # what counts in the end comes into sight whole
                self._proofs_in_sight()

    def _proofs_in_sight(self) -> None:
        # the list knows its rows' places only after it was laid out, and that follows the panel's own refresh
        options = self.query_one("#rows", OptionList)
        self.call_after_refresh(self.call_after_refresh, options.scroll_to_highlight, top=True)

    def _follow(self, progress: Progress) -> None:
        """Keeps the newest running step in sight, unless somebody looks at something else."""
        options = self.query_one("#rows", OptionList)
        running = [step.step.number for step in progress.running().values()]
        index = options.highlighted
        current = options.get_option_at_index(index).id if index is not None else None
        if running and (current is None or self._is_over(current, progress)):
            options.highlighted = options.get_option_index(f"step-{min(running)}")

    def _is_over(self, row: str, progress: Progress) -> bool:
        what, _, number = row.rpartition("-")
        return what == "step" and progress.steps[int(number)].state not in ("running", "failed", "refused")

    def _paint_detail(self) -> None:
        options = self.query_one("#rows", OptionList)
        index = options.highlighted
        if self.plan is None or index is None:
            return
        row = options.get_option_at_index(index).id or ""
        progress = self.live.progress if self.live else None
        self.query_one("#detail", Lines).show(detail(self.plan, row, progress, self.waived))

    def _paint_log(self, progress: Progress) -> None:
        log = self.query_one(Log)
        new = progress.lines_told - self._log_at
        if new <= 0:
            return
        told = list(progress.told)
        shown = told[-min(new, len(told), _MOST_LOG_LINES) :]
        if len(shown) < new:
            log.write_line(f"({new - len(shown)} lines came too fast to be shown)")
        log.write_lines([one_line(line, 400) if len(line) > 400 else line for line in shown])
        self._log_at = progress.lines_told
        if not log.has_focus:
            # whoever scrolls in it is left alone; else the newest is in sight, also where it was just laid out
            self.call_after_refresh(self.call_after_refresh, log.scroll_end, animate=False)

    def _paint_summary(self) -> None:
        if not self._here:
            return
        self.query_one("#summary", Lines).show(self._summary())
        self.query_one("#lanes", Lines).show(self._lanes())

    def _summary(self) -> Iterator[Line]:
        if self.phase == "planning":
            took = self._owner.clock.monotonic() - self._began
            yield (("▸ Looking at the machines ", "accent"), (elapsed(took), "dim"))
            for host, entry in self._owner.service.log.current().items():
                yield ((f"  {host}: ", "dim"), (one_line(entry.what, 60), "plain"))
        elif self.phase == "trouble":
            yield (("✗ There is no plan.", "bad"),)
        elif self.phase == "review" and self.plan is not None:
            yield from summary(self.plan, self.waived)
        elif self.live is not None and self.plan is not None:
            yield from self._run_summary(self.live, self.plan)

    def _run_summary(self, live: LiveRun, plan: Plan) -> Iterator[Line]:
        progress = live.progress
        count = f"{progress.finished} of {len(progress.steps)} steps"
        ended = progress.ended
        if ended is None:
            stage = next((stage.title for stage in plan.stages if stage.name == progress.stage), "")
            if progress.finished == len(progress.steps):
                stage = "Proving that it works"
            took = elapsed(self._owner.clock.now() - live.began)
            sign = "■ Stopping: " if live.stopping else "▸ "
            yield ((sign, "warn" if live.stopping else "accent"), (stage or "Looking once more", "strong"))
            yield ((f"{count} · {took}", "dim"), (_bar(progress.finished, len(progress.steps)), "good"))
        elif ended.result == "done":
            pending = sum(1 for _, verdict in progress.proof_list() if verdict and verdict.state == "pending")
            said = (
                f"{len(plan.proofs)} proofs hold"
                if not pending
                else f"{len(plan.proofs) - pending} proofs hold, {pending} pending"
            )
            yield (("✓ Done. ", "good"), (said if plan.proofs else "", "plain"))
            yield ((f"{count} · {elapsed(ended.seconds)}", "dim"),)
        else:
            what = "Stopped" if ended.result == "unfinished" else "Failed"
            yield ((f"✗ {what}. ", "bad"), (_cause(progress), "plain"))
            how = " · mend the cause, then r goes on" if ended.result == "unfinished" else " · p plans again"
            yield ((f"{count} · {elapsed(ended.seconds)}{how}", "dim"),)

    def _lanes(self) -> Iterator[Line]:
        if self.live is None or self.phase != "running":
            return
        now = self._owner.clock.now()
        for host, step in self.live.progress.running().items():
            yield (
                (f"▸ {host:<7} ", "accent"),
                (one_line(title(step.step), 60), "plain"),
                (f"  {elapsed(now - step.began)}", "dim"),
            )

    @on(OptionList.OptionHighlighted, "#rows")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.query_one("#detail-scroll", VerticalScroll).scroll_home(animate=False)
        self._paint_detail()

    def _other_run(self) -> bool:
        live = self._owner.service.live
        return live is not None and live is not self.live and live.progress.ended is None

    def _finding(self) -> Finding | None:
        index = self.query_one("#rows", OptionList).highlighted
        if self.plan is None or index is None:
            return None
        what, _, number = (self.query_one("#rows", OptionList).get_option_at_index(index).id or "").rpartition("-")
        return worst_first(self.plan.findings)[int(number)] if what == "finding" else None


class WithPlan:
    """The methods behind `PLAN_ACTIONS`, for a screen that has a `PlanPanel`."""

    panel: PlanPanel

    def do_approve(self) -> None:
        """Asks once more, and applies the plan."""
        self.panel.approve()

    def do_waive(self) -> None:
        """Goes on in spite of a finding."""
        self.panel.waive()

    def do_stop(self) -> None:
        """Stops the run."""
        self.panel.stop()

    def do_resume(self) -> None:
        """Goes on with the run."""
        self.panel.resume_here()

    def do_again(self) -> None:
        """Plans again."""
        self.panel.again()


def _bar(done: int, whole: int, width: int = 20) -> str:
    full = width * done // whole if whole else width
    return "  " + "━" * full + "╌" * (width - full)


def _cause(progress: Progress) -> str:
    failures = progress.failures()
    if failures:
        done = failures[0].done
        return one_line(done.trouble if done else "", 1000)
    if progress.ended is not None and progress.ended.trouble:
        return one_line(progress.ended.trouble, 1000)
    failed = [
        f"{check.title}: {verdict.words}"
        for check, verdict in progress.proof_list()
        if verdict and verdict.state == "fails"
    ]
    return one_line("; ".join(failed), 1000) if failed else "It was asked to."
