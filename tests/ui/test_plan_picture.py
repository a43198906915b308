"""A plan as rows and details: nothing of it is left out, and every state of a run has its sign."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.base.tones import Line, text
from homek8s_tui.engine.journal import Done, RunInfo
from homek8s_tui.engine.progress import Progress, StepState, remembered
from homek8s_tui.plan.checks import Verdict
from homek8s_tui.plan.model import Plan, Risk
from homek8s_tui.plan.review import title
from homek8s_tui.ui.plan_picture import detail, rows, run_line, step_row, summary

from ..rehearsed import SET_UP, breaks, rehearsed, set_up

FINDINGS = (
    Finding("port-taken", Severity.BLOCKER, "pi4", "Port 80 is taken.", "nginx listens", "Stop it.", waivable=True),
    Finding("cgroup-v1", Severity.BLOCKER, "pi5", "No memory cgroup.", "", "Edit cmdline.txt."),
    Finding("clock", Severity.WARNING, "pi5", "The clock is off.", "by a minute"),
    Finding("note", Severity.NOTE, "pi4", "It is warm.", ""),
)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """The whole set-up, its undo after somebody changed a file, and the set-up again."""
    service, rehearsal = rehearsed(tmp_path_factory.mktemp("home"))
    made = service.plan(service.home(), SET_UP)
    set_up(service)
    again = service.plan(service.home(), SET_UP)
    rehearsal.machines["proxy"].write("/etc/traefik/dynamic/homek8s.yml", "mine now")
    undo = service.plan(service.home(), Intent("undo"))
    found = msgspec.structs.replace(made, findings=FINDINGS)
    return {"set-up": made, "again": again, "undo": undo, "findings": found}


def shown(lines: object) -> str:
    """Lines as text."""
    return "\n".join(text(line) for line in lines)  # type: ignore[attr-defined]  # an iterable of lines


@pytest.mark.parametrize("name", ["set-up", "again", "undo", "findings"])
def test_everything_of_a_plan_has_a_row_and_every_row_its_details(plans: dict[str, Plan], name: str) -> None:
    plan = plans[name]
    found = list(rows(plan, None))
    ids = [row.id for row in found]
    assert len(set(ids)) == len(ids)
    assert [row for row in ids if row.startswith("step-")] == [f"step-{step.number}" for step in plan.steps]
    by_id = {row.id: text(row.line) for row in found}
    for step in plan.steps:
        assert title(step) in by_id[f"step-{step.number}"] and step.host in by_id[f"step-{step.number}"]
        told = shown(detail(plan, f"step-{step.number}", None))
        assert step.because in told and "undo " in told
    for number, check in enumerate(plan.proofs):
        assert check.title in by_id[f"proof-{number}"]
    for number, sentence in enumerate(plan.destroys):
        assert sentence in by_id[f"lost-{number}"]
        assert sentence in shown(detail(plan, f"lost-{number}", None))
    assert all(any(finding.what in line for line in by_id.values()) for finding in plan.findings)
    assert {"held", "kept", "pins"} & set(ids) == {
        row for row, there in (("held", plan.held), ("kept", plan.kept), ("pins", plan.checksums)) if there
    }
    for row in found:
        assert row.heading or list(detail(plan, row.id, None)), row.id
    if plan.held:
        assert len(list(detail(plan, "held", None))) == len(plan.held)
    assert all(sentence in shown(detail(plan, "kept", None)) for sentence in plan.kept)
    assert all(digest in shown(detail(plan, "pins", None)) for _, digest in plan.checksums)


def test_the_rehearsal_s_plans_have_something_of_everything(plans: dict[str, Plan]) -> None:
    assert plans["set-up"].steps and plans["set-up"].proofs and plans["set-up"].checksums
    assert plans["again"].held and not plans["again"].steps
    assert plans["undo"].destroys and plans["undo"].kept
    assert any(step.risk is Risk.DESTRUCTIVE for step in plans["undo"].steps)


def test_stages_are_headings_above_their_steps(plans: dict[str, Plan]) -> None:
    plan = plans["set-up"]
    ids = [row.id for row in rows(plan, None)]
    for stage in plan.stages:
        numbers = [step.number for step in plan.steps if step.stage == stage.name]
        at = ids.index(f"={stage.name}")
        assert ids[at + 1 : at + 1 + len(numbers)] == [f"step-{number}" for number in numbers]


def test_only_what_may_be_waived_is_shown_as_waived(plans: dict[str, Plan]) -> None:
    plan = plans["findings"]
    order = [text(row.line) for row in rows(plan, None) if row.id.startswith("finding-")]
    assert [line[0] for line in order] == ["✗", "✗", "!", "i"]
    for waived in ({"port-taken"}, {"port-taken:pi4"}):
        told = {text(row.line) for row in rows(plan, None, waived)}
        assert "~ waived: Port 80 is taken." in told and "✗ No memory cgroup." in told
        assert "in spite of it." in shown(detail(plan, "finding-0", None, waived))
        assert "cgroup-v1" in shown(summary(plan, waived)) and "port-taken" not in shown(summary(plan, waived))
    everything = {finding.name for finding in FINDINGS}
    assert "✗ No memory cgroup." in {text(row.line) for row in rows(plan, None, everything)}
    assert "in spite of" not in shown(detail(plan, "finding-1", None, everything))
    assert "w." in shown(detail(plan, "finding-0", None))


def test_the_summary_says_what_is_to_come(plans: dict[str, Plan]) -> None:
    assert "Nothing has been changed so far." in shown(summary(plans["set-up"]))
    steps = len(plans["set-up"].steps)
    assert f"{steps} steps on 3 machines · 0 already so" in shown(summary(plans["set-up"]))
    assert "everything is as it should be" in shown(summary(plans["again"]))
    assert "destroy" in shown(summary(plans["undo"]))
    assert "Not to be applied yet: port-taken, cgroup-v1" in shown(summary(plans["findings"]))
    one = msgspec.structs.replace(plans["set-up"], steps=plans["set-up"].steps[:1])
    assert "1 step on 1 machine ·" in shown(summary(one))


def test_every_state_of_a_step_has_a_sign_of_its_own_meaning(plans: dict[str, Plan]) -> None:
    plan = plans["undo"]
    step = next(step for step in plan.steps if step.risk is Risk.DESTRUCTIVE)
    signs: dict[StepState, Line] = {}
    for state in get_args(StepState):
        progress = Progress(plan).steps[step.number]
        progress.state = state
        if state in ("changed", "already", "refused", "failed"):
            progress.done = Done(state, seconds=12.4, trouble="It broke." if state == "failed" else "", words="a\nb")
        line = step_row(step, progress).line
        signs[state] = line
        told = shown(detail(plan, f"step-{step.number}", _with(plan, step.number, progress.state, progress.done)))
        assert (" in 12.4 s" in told) == (progress.done is not None)
        assert ("It broke." in told) == (state == "failed")
        assert ("nobody knows how it ended" in told) == (state == "unknown")
        assert ("  DESTROYS" in text(line)) == (progress.done is None), "what lies behind us destroys nothing any more"
        assert text(line).endswith("  12 s") == (progress.done is not None)
    assert [text(signs[state])[0] for state in ("waiting", "running", "unknown", "changed", "already")] == list("·▸?✓=")
    assert {signs[state][0] for state in ("refused", "failed")} == {("✗ ", "bad")}
    assert signs["running"][2][1] == "accent"


def _with(plan: Plan, number: int, state: StepState, done: Done | None) -> Progress:
    progress = Progress(plan)
    progress.steps[number].state, progress.steps[number].done = state, done
    return progress


def test_the_newest_line_of_a_running_step_is_shown(plans: dict[str, Plan]) -> None:
    progress = Progress(plans["set-up"])
    progress.steps[1].state, progress.steps[1].said = "running", "Unpacking ..."
    assert "| Unpacking ..." in shown(detail(plans["set-up"], "step-1", progress))


def test_proofs_are_shown_as_they_were_judged(plans: dict[str, Plan]) -> None:
    plan = plans["set-up"]
    progress = Progress(plan)
    for index, state in enumerate(("holds", "pending", "fails")):
        progress.proofs[plan.proofs[index].id] = Verdict(state, f"seen {state}")  # type: ignore[arg-type]  # a state
    lines = [text(row.line) for row in rows(plan, progress) if row.id.startswith("proof-")]
    assert [line[0] for line in lines[:4]] == list("✓…✗·")
    assert "seen fails" in shown(detail(plan, "proof-2", progress))
    assert "seen" not in shown(detail(plan, "proof-3", progress))


def test_a_run_that_failed_is_shown_with_its_trouble(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    breaks(rehearsal, "pi5")
    live, _ = set_up(service)
    progress = remembered(*service.records(service.runs(service.home())[0].id))
    (failed,) = progress.failures()
    row = next(row for row in rows(live.progress.plan, progress) if row.id == f"step-{failed.step.number}")
    assert text(row.line).startswith("✗")
    assert "Job failed." in shown(detail(live.progress.plan, row.id, progress))


@pytest.mark.parametrize(
    ("info", "line"),
    [
        (RunInfo("1a2b", "d", 100.0, 165.0, "done", "setup"), "✓ done         15 min ago   setup                1a2b  took 1:05"),
        (RunInfo("1a2b", "d", 100.0, None, "unfinished", "undo of 3c"), "! not finished 15 min ago   undo of 3c           1a2b"),
        (RunInfo("1a2b", "d", 100.0, 101.0, "failed", "setup"), "✗ failed       15 min ago   setup                1a2b  took 0:01"),
        (RunInfo("1a2b", "d", 100.0, 101.0, "superseded", "setup"), "· given up     15 min ago   setup                1a2b  took 0:01"),
    ],
)  # fmt: skip
def test_a_run_is_a_row_of_how_when_what_and_how_long(info: RunInfo, line: str) -> None:
    assert text(run_line(info, 1005.0)) == line
