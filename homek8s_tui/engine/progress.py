"""A run as it stands, folded from its events: what a screen shows that is opened in the middle of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.engine.events import Event, Proved, RunEnded, StageBegan, StepBegan, StepEnded, StepSaid
from homek8s_tui.engine.journal import Done, Record, Run
from homek8s_tui.plan.checks import Check, State, Verdict
from homek8s_tui.plan.model import Plan, Step
from homek8s_tui.plan.review import title

_MOST_LINES = 5000

StepState = Literal["waiting", "running", "unknown", "changed", "already", "refused", "failed"]
"""How a step stands; ``unknown`` was begun, and nobody knows how it ended."""


@dataclass
class StepProgress:
    """A step as it stands."""

    step: Step
    """Which."""
    state: StepState = "waiting"
    """How it stands."""
    began: float = 0
    """When it began, in seconds since the epoch."""
    said: str = ""
    """The newest line of its output."""
    done: Done | None = None
    """How it ended."""


@dataclass
class Progress:
    """A run as it stands. One thread writes; reading it in the middle gives an older or a newer moment, never both.

    Args:
        plan: What is carried out.
        done: What an interrupted run had done already.
    """

    plan: Plan
    """What is carried out."""
    done: Mapping[int, Done] = field(default_factory=dict)
    """What an interrupted run had done already."""
    steps: dict[int, StepProgress] = field(init=False)
    """The steps by number."""
    stage: str = ""
    """The name of the stage that runs."""
    proofs: dict[str, Verdict] = field(default_factory=dict)
    """The proofs judged so far, by the check's id."""
    ended: RunEnded | None = None
    """How it ended."""
    told: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    """The newest lines for a log."""
    lines_told: int = 0
    """How many lines there were in all."""

    def __post_init__(self) -> None:
        self.steps = {step.number: StepProgress(step) for step in self.plan.steps}
        for number, done in self.done.items():
            self.steps[number].state, self.steps[number].done = done.result, done

    def take(self, event: Event) -> None:
        """Takes the next event."""
        if isinstance(event, StageBegan):
            self.stage = event.stage.name
        elif isinstance(event, StepBegan):
            self.steps[event.step.number].state = "running"
            self.steps[event.step.number].began = event.at
        elif isinstance(event, StepSaid):
            self.steps[event.step.number].said = event.line
        elif isinstance(event, StepEnded):
            found = self.steps[event.step.number]
            found.state, found.done = event.done.result, event.done
        elif isinstance(event, Proved):
            self.proofs[event.check.id] = event.verdict
        else:
            self.ended = event
        for line in lines(event, verbose=True):
            self.told.append(line)
            self.lines_told += 1

    @property
    def finished(self) -> int:
        """How many steps are behind us."""
        return sum(1 for step in self.steps.values() if step.state in ("changed", "already"))

    def running(self) -> Mapping[str, StepProgress]:
        """Returns what each machine does now."""
        return {step.step.host: step for step in self.steps.values() if step.state == "running"}

    def failures(self) -> tuple[StepProgress, ...]:
        """Returns the steps that failed or were refused."""
        return tuple(step for step in self.steps.values() if step.state in ("failed", "refused"))

    def proof_list(self) -> tuple[tuple[Check, Verdict | None], ...]:
        """Returns every proof with its verdict, or None while it is not judged."""
        return tuple((check, self.proofs.get(check.id)) for check in self.plan.proofs)


def remembered(run: Run, records: Sequence[Record]) -> Progress:
    """Returns a run as far as the journal knows it.

    Args:
        run: The run.
        records: Everything that is remembered of it.
    """
    progress = Progress(run.plan)
    for record in records:
        if record.kind == "intent":
            progress.steps[record.step].began = record.at
            # whoever watches a run sees it go on; the journal knows that a step was begun, and no more
            progress.steps[record.step].state = "unknown"
        elif record.kind == "outcome":
            done = msgspec.json.decode(record.body, type=Done)
            progress.steps[record.step].state, progress.steps[record.step].done = done.result, done
        elif record.kind == "proof":
            told = dict(msgspec.json.decode(record.body, type=Done).outputs)
            if told.get("check"):
                state = told.get("state", "fails")
                words = told.get("words", "")
                known: State = "holds" if state == "holds" else "pending" if state == "pending" else "fails"
                progress.proofs[told["check"]] = Verdict(known, words)
    return progress


def lines(event: Event, verbose: bool) -> Iterator[str]:
    """Yields an event's lines, the same for a terminal, a file and a screen's log.

    Args:
        event: What happened.
        verbose: Whether a job's own output is shown.
    """
    if isinstance(event, StageBegan):
        yield f"== {event.stage.title}"
    elif isinstance(event, StepBegan):
        yield f"   {event.step.number:>3} {event.step.host:<8} {title(event.step)} ..."
    elif isinstance(event, StepSaid):
        if verbose:
            yield f"       {event.step.host:<8} | {one_line(event.line, 1000)}"
    elif isinstance(event, StepEnded):
        yield f"   {event.step.number:>3} {event.step.host:<8} {event.done.result} ({event.done.seconds:.1f} s)"
        if event.done.trouble:
            yield f"       {event.done.trouble}"
    elif isinstance(event, Proved):
        yield f"   {event.verdict.state.upper():<7} {event.check.title}: {event.verdict.words}"
        if event.verdict.state == "fails" and event.check.explain:
            yield f"           {event.check.explain}"
    else:
        if event.trouble:
            yield event.trouble
        yield f"{event.result} after {event.seconds:.1f} s"
        if event.result == "unfinished":
            yield "Mend the cause; then 'homek8s resume' goes on where this stopped."
