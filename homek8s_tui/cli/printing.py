"""A run's events as plain lines, the same whether a terminal reads them or a file."""

from __future__ import annotations

from collections.abc import Iterator

from homek8s_tui.engine.events import Event, Proved, RunEnded, StageBegan, StepBegan, StepEnded, StepSaid
from homek8s_tui.plan.review import title


def lines(event: Event, verbose: bool) -> Iterator[str]:
    """Yields an event's lines.

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
            yield f"       {event.step.host:<8} | {event.line}"
    elif isinstance(event, StepEnded):
        yield f"   {event.step.number:>3} {event.step.host:<8} {event.done.result} ({event.done.seconds:.1f} s)"
        if event.done.trouble:
            yield f"       {event.done.trouble}"
    elif isinstance(event, Proved):
        yield f"   {event.verdict.state.upper():<7} {event.check.title}: {event.verdict.words}"
        if event.verdict.state == "fails" and event.check.explain:
            yield f"           {event.check.explain}"
    elif isinstance(event, RunEnded):
        yield f"{event.result} after {event.seconds:.1f} s"
        if event.result == "unfinished":
            yield "Mend the cause; then 'homek8s resume' goes on where this stopped."
