"""What a run tells while it goes: any screen, opened at any time, rebuilds itself from these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from homek8s_tui.engine.journal import Done
from homek8s_tui.plan.checks import Check, Verdict
from homek8s_tui.plan.model import Stage, Step


@dataclass(frozen=True)
class StageBegan:
    """A stage begins."""

    stage: Stage
    """Which."""
    at: float
    """When."""


@dataclass(frozen=True)
class StepBegan:
    """A step begins."""

    step: Step
    """Which."""
    at: float
    """When."""


@dataclass(frozen=True)
class StepSaid:
    """A line of a job's output."""

    step: Step
    """Whose."""
    line: str
    """The line, cleaned."""


@dataclass(frozen=True)
class StepEnded:
    """A step ended."""

    step: Step
    """Which."""
    done: Done
    """How."""


@dataclass(frozen=True)
class Proved:
    """A proof was judged."""

    check: Check
    """Which."""
    verdict: Verdict
    """How."""


@dataclass(frozen=True)
class RunEnded:
    """The run ended."""

    result: str
    """``done``, ``failed`` or ``unfinished``."""
    exit_code: int
    """The process's exit code for it."""
    seconds: float
    """How long it took."""
    trouble: str = ""
    """The sentence, if it did not even begin."""


Event = StageBegan | StepBegan | StepSaid | StepEnded | Proved | RunEnded
Say = Callable[[Event], None]
