"""A plan, and its run, as rows and details: the same for the review, the run and the journal. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from homek8s_tui.base.findings import Finding, Severity, worst_first
from homek8s_tui.base.tones import Line, Piece, Tone, age, elapsed
from homek8s_tui.engine.journal import RunInfo
from homek8s_tui.engine.progress import Progress, StepProgress, StepState
from homek8s_tui.plan.checks import Check, Verdict
from homek8s_tui.plan.model import Plan, Risk, Step
from homek8s_tui.plan.operations import CONSOLE_HOST
from homek8s_tui.plan.review import details, title, undone_by

_STEP_SIGNS: dict[StepState, tuple[str, Tone]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "accent"),
    "unknown": ("?", "warn"),
    "changed": ("✓", "good"),
    "already": ("=", "good"),
    "refused": ("✗", "bad"),
    "failed": ("✗", "bad"),
}
_SEVERITIES: dict[Severity, tuple[str, Tone]] = {
    Severity.BLOCKER: ("✗", "bad"),
    Severity.WARNING: ("!", "warn"),
    Severity.NOTE: ("i", "dim"),
}
_VERDICTS: dict[str, tuple[str, Tone]] = {"holds": ("✓", "good"), "pending": ("…", "warn"), "fails": ("✗", "bad")}
_RISKS: dict[Risk, Line] = {
    Risk.SAFE: (),
    Risk.DISRUPTIVE: (("  interrupts", "warn"),),
    Risk.DESTRUCTIVE: (("  DESTROYS", "bad"),),
}

_RESULTS: dict[str, Piece] = {
    "done": ("✓ done", "good"),
    "failed": ("✗ failed", "bad"),
    "unfinished": ("! not finished", "warn"),
    "superseded": ("· given up", "dim"),
}


@dataclass(frozen=True)
class Row:
    """A row of the list."""

    id: str
    """``finding-N``, ``lost-N``, ``step-N``, ``held``, ``kept``, ``pins``, ``proof-N``; a heading's begins ``=``."""
    line: Line
    """What it shows."""

    @property
    def heading(self) -> bool:
        """Whether it is only a heading."""
        return self.id.startswith("=")


def severity_sign(finding: Finding) -> tuple[str, Tone]:
    """Returns a finding's sign and tone."""
    return _SEVERITIES[finding.severity]


def run_line(info: RunInfo, now: float) -> Line:
    """Returns a run as a row: how it ended, when, how long it took."""
    took = "" if info.ended is None else f"  took {elapsed(info.ended - info.began)}"
    sign, tone = _RESULTS[info.result]
    return (
        (f"{sign:<15}", tone),
        (f"{age(now - info.began):<12} ", "plain"),
        (f"{info.what:<20} ", "strong"),
        (f"{info.id}{took}", "dim"),
    )


def rows(plan: Plan, progress: Progress | None, waived: Collection[str] = ()) -> Iterator[Row]:
    """Yields a plan's rows: what stands against it, what is lost, the steps by stage, what holds, the proofs.

    Args:
        plan: The plan.
        progress: Its run, if there is one.
        waived: The findings that the operator goes on in spite of, by their ids or full names.
    """
    findings = list(_finding_rows(plan, waived))
    if progress is None:
        yield from findings
    for number, sentence in enumerate(plan.destroys):
        yield Row(f"lost-{number}", (("✗ lost for good: ", "bad"), (sentence, "plain")))
    for stage in plan.stages:
        yield Row(f"={stage.name}", ((stage.title, "strong"),))
        for step in plan.steps:
            if step.stage == stage.name:
                yield step_row(step, progress.steps[step.number] if progress else None)
    if plan.proofs:
        yield Row("=proofs", (("Proven at the end", "strong"),))
        judged = progress.proofs if progress else {}
        for number, check in enumerate(plan.proofs):
            yield _proof_row(number, check, judged.get(check.id))
    noticed = findings if progress is not None else []
    if plan.held or plan.kept or plan.checksums or noticed:
        yield Row("=rest", (("Besides", "strong"),))
    # once it runs, they were judged: the steps come first
    yield from noticed
    if plan.held:
        yield Row("held", (("= ", "good"), (f"{len(plan.held)} already so", "plain")))
    if plan.kept:
        yield Row("kept", (("= ", "dim"), (f"{len(plan.kept)} left alone", "plain")))
    if plan.checksums:
        pins = f"{_count(len(plan.checksums), 'checksum')} to be pinned in the inventory"
        yield Row("pins", (("+ ", "good"), (pins, "plain")))


def _finding_rows(plan: Plan, waived: Collection[str]) -> Iterator[Row]:
    for number, finding in enumerate(worst_first(plan.findings)):
        sign, tone = severity_sign(finding)
        line: Line = ((f"{sign} ", tone), (finding.what, "plain"))
        if _is_waived(finding, waived):
            line = (("~ waived: ", "warn"), (finding.what, "dim"))
        yield Row(f"finding-{number}", line)


def step_row(step: Step, progress: StepProgress | None) -> Row:
    """Returns a step's row."""
    sign, tone = _STEP_SIGNS[progress.state if progress else "waiting"]
    took: Line = ()
    if progress is not None and progress.done is not None and progress.done.seconds >= 1:
        took = ((f"  {progress.done.seconds:.0f} s", "dim"),)
    risk = _RISKS[step.risk] if progress is None or progress.state in ("waiting", "running", "unknown") else ()
    return Row(
        f"step-{step.number}",
        (
            (f"{sign} ", tone),
            (f"{step.number:>2} ", "dim"),
            (f"{step.host:<7} ", "accent" if progress is not None and progress.state == "running" else "dim"),
            (title(step), "plain"),
            *risk,
            *took,
        ),
    )


def summary(plan: Plan, waived: Collection[str] = ()) -> Iterator[Line]:
    """Yields what a plan comes to, in one or two lines."""
    blockers = plan.blockers(frozenset(waived))
    risky = [step for step in plan.steps if step.risk is not Risk.SAFE]
    machines = {step.host for step in plan.steps} - {CONSOLE_HOST}
    destructive = sum(1 for step in risky if step.risk is Risk.DESTRUCTIVE)
    said = [
        f"{_count(len(plan.steps), 'step')} on {_count(len(machines), 'machine')}",
        f"{len(plan.held)} already so",
    ]
    if len(risky) > destructive:
        said.append(f"{len(risky) - destructive} interrupt")
    if destructive:
        said.append(f"{destructive} destroy")
    if blockers:
        names = ", ".join(dict.fromkeys(finding.id for finding in blockers))
        yield (("✗ Not to be applied yet: ", "bad"), (names, "plain"))
    elif not plan.steps:
        yield (("✓ Nothing to do: ", "good"), ("everything is as it should be.", "plain"))
    else:
        yield (("▸ To be approved. ", "accent"), ("Nothing has been changed so far.", "plain"))
    if plan.steps or plan.held:
        yield ((" · ".join(said), "dim"),)


def detail(plan: Plan, row: str, progress: Progress | None, waived: Collection[str] = ()) -> Iterator[Line]:
    """Yields everything about the row that is highlighted."""
    what, _, index = row.rpartition("-")
    if what == "finding":
        yield from _finding_detail(worst_first(plan.findings)[int(index)], waived)
    elif what == "lost":
        yield (("Lost for good", "bad"),)
        yield ((plan.destroys[int(index)], "plain"),)
        yield (("The home's name is asked for before this is done.", "dim"),)
    elif what == "step":
        number = int(index)
        step = next(step for step in plan.steps if step.number == number)
        yield from step_detail(step, progress.steps[number] if progress else None)
    elif what == "proof":
        yield from _proof_detail(plan.proofs[int(index)], (progress.proofs if progress else {}))
    elif row == "held":
        for held in plan.held:
            yield ((f"{held.resource.host:<7} ", "dim"), (f"{held.resource.kind} {held.resource.name}", "plain"))
    elif row == "kept":
        for sentence in plan.kept:
            yield ((sentence, "plain"),)
    elif row == "pins":
        for key, digest in plan.checksums:
            yield ((key, "plain"),)
            yield ((f"  sha256:{digest}", "dim"),)


def step_detail(step: Step, progress: StepProgress | None) -> Iterator[Line]:
    """Yields a step: why, what exactly, how it is undone, and how it went."""
    yield ((f"{step.number} {step.host}: ", "dim"), (title(step), "strong"))
    if progress is not None and progress.done is not None:
        done = progress.done
        sign, tone = _STEP_SIGNS[done.result]
        yield ((f"{sign} {done.result}", tone), (f" in {done.seconds:.1f} s", "dim"))
        if done.trouble:
            yield ((done.trouble, "bad"),)
        for line in done.words.splitlines():
            yield (("  | ", "dim"), (line, "plain"))
    elif progress is not None and progress.state == "unknown":
        yield (("? begun, and nobody knows how it ended", "warn"), (": going on looks first.", "plain"))
    elif progress is not None and progress.said:
        yield (("  | ", "dim"), (progress.said, "plain"))
    yield (("because ", "dim"), (step.because, "plain"))
    yield (("undo    ", "dim"), (undone_by(step), "plain"))
    if step.risk is not Risk.SAFE:
        yield (("risk    ", "dim"), (step.risk.value, "warn" if step.risk is Risk.DISRUPTIVE else "bad"))
    for text in details(step):
        first = text[:1]
        kind: Tone = "good" if first == "+" else "bad" if first == "-" else "accent" if first in ("$", "@") else "plain"
        yield ((text, kind),)


def _finding_detail(finding: Finding, waived: Collection[str]) -> Iterator[Line]:
    sign, tone = severity_sign(finding)
    yield ((f"{sign} {finding.severity.value} ", tone), (finding.subject, "strong"))
    yield ((finding.what, "plain"),)
    if finding.how_we_know:
        yield (("known by ", "dim"), (finding.how_we_know, "plain"))
    if finding.do:
        yield (("do       ", "dim"), (finding.do, "plain"))
    if _is_waived(finding, waived):
        yield (("You go on in spite of it.", "warn"),)
    elif finding.waivable:
        yield (("You may go on in spite of it: w.", "dim"),)


def _is_waived(finding: Finding, waived: Collection[str]) -> bool:
    return finding.waivable and (finding.name in waived or finding.id in waived)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _proof_row(number: int, check: Check, verdict: Verdict | None) -> Row:
    sign, tone = _VERDICTS[verdict.state] if verdict else ("·", "dim")
    return Row(f"proof-{number}", ((f"{sign} ", tone), (check.title, "plain")))


def _proof_detail(check: Check, judged: dict[str, Verdict]) -> Iterator[Line]:
    yield ((check.title, "strong"),)
    verdict = judged.get(check.id)
    if verdict is not None:
        sign, tone = _VERDICTS[verdict.state]
        yield ((f"{sign} {verdict.state}: ", tone), (verdict.words, "plain"))
    yield (("looked at from ", "dim"), (", ".join(dict.fromkeys(probe.vantage for probe in check.probes)), "plain"))
    if check.within:
        yield ((f"asked again for up to {check.within} s until it holds", "dim"),)
    if check.explain:
        yield (("if not   ", "dim"), (check.explain, "plain"))
