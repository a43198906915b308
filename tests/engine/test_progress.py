"""A run folded from its events, as the journal remembers it, and as lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine import progress as folding
from homek8s_tui.engine.events import Event, Proved, RunEnded, StageBegan, StepBegan, StepEnded, StepSaid
from homek8s_tui.engine.journal import Done
from homek8s_tui.engine.progress import Progress, lines, remembered
from homek8s_tui.engine.service import Service
from homek8s_tui.plan.checks import Verdict

from ..rehearsed import SET_UP, breaks, mends, rehearsed, set_up


def known(progress: Progress) -> object:
    """What events and journal both tell."""
    return {number: (step.state, step.done) for number, step in progress.steps.items()}, progress.proofs


def from_journal(service: Service) -> Progress:
    """The newest run as the journal remembers it."""
    return remembered(*service.records(service.runs(service.home())[0].id))


def test_a_run_that_went_well_is_remembered_as_it_was_seen(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    live, events = set_up(service)
    seen = live.progress
    assert known(from_journal(service)) == known(seen)
    assert seen.finished == len(seen.steps) > 0
    assert seen.ended is events[-1] and seen.ended == RunEnded("done", 0, seen.ended.seconds)
    assert seen.stage == seen.plan.stages[-1].name
    assert not seen.running() and not seen.failures()
    judged = [verdict.state for _, verdict in seen.proof_list() if verdict]
    assert len(judged) == len(seen.plan.proofs) and set(judged) == {"holds", "pending"}
    again = Progress(seen.plan)
    for event in events:
        again.take(event)
    assert known(again) == known(seen)
    assert list(again.told) == list(seen.told) == [line for event in events for line in lines(event, verbose=True)]


def test_a_run_that_failed_is_remembered_and_resumed_with_what_is_done(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    breaks(rehearsal, "pi5")
    failed, _ = set_up(service)
    assert known(from_journal(service)) == known(failed.progress)
    assert [step.step.host for step in failed.progress.failures()] == ["pi5"]
    assert 0 < failed.progress.finished < len(failed.progress.steps)
    mends(rehearsal)
    run = service.unfinished(service.home())
    assert run is not None
    live = service.resume(run)
    assert live.progress.finished == failed.progress.finished
    assert live.progress.steps[1].state == "changed" and live.progress.steps[1].done == run.done[1]
    assert not live.progress.failures(), "what failed is tried again"
    assert live.run().result == "done"
    assert known(from_journal(service)) == known(live.progress)


def test_a_step_that_was_begun_and_has_no_end_is_not_said_to_run(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    live = service.begin(plan)

    def pulled(event: Event) -> None:
        if isinstance(event, StepBegan) and event.step.host == "pi5":
            rehearsal.machines["pi5"].unplugged = True

    live.watch = pulled
    assert live.run().result == "unfinished"
    (lost,) = live.progress.failures()
    assert lost.step.host == "pi5"
    found = from_journal(service)
    assert found.steps[lost.step.number].state == "unknown"
    assert not found.running()


def test_what_each_machine_does_is_told_while_it_does_it(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    progress = Progress(plan)
    first = next(step for step in plan.steps if step.host == "pi4")
    progress.take(StepBegan(first, 12.0))
    progress.take(StepSaid(first, "Unpacking"))
    assert {host: (step.began, step.said) for host, step in progress.running().items()} == {"pi4": (12.0, "Unpacking")}
    progress.take(StepEnded(first, Done("changed", seconds=1)))
    assert progress.running() == {} and progress.finished == 1


def test_a_run_that_may_not_begin_ends_with_its_sentence(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    set_up(service)
    made = service.plan(service.home(), SET_UP)
    rehearsal.machines["pi4"].files.pop("/etc/rancher/k3s/config.yaml")
    live = service.begin(made)
    ended = live.run()
    assert (ended.result, ended.exit_code) == ("failed", 3)
    assert "more has to be done than was approved" in ended.trouble
    assert live.progress.ended == ended
    assert live.progress.told[-2] == ended.trouble


def test_told_lines_are_bounded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = rehearsed(tmp_path)
    step = service.plan(service.home(), SET_UP).steps[0]
    progress = Progress(service.plan(service.home(), SET_UP))
    most = folding._MOST_LINES
    for number in range(most + 7):
        progress.take(StepSaid(step, f"line {number}"))
    assert progress.lines_told == most + 7
    assert len(progress.told) == most
    assert progress.told[0].endswith("| line 7") and progress.told[-1].endswith(f"| line {most + 6}")


def test_lines_tell_every_event_and_what_jobs_say_only_if_asked(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    step, check, stage = plan.steps[0], plan.proofs[0], plan.stages[0]
    said = StepSaid(step, "\x1b[31mred\x1b[0m\nand more")
    assert list(lines(said, verbose=False)) == []
    (line,) = lines(said, verbose=True)
    assert line.endswith("| red and more")
    broken = Done("failed", seconds=2.25, trouble=str(Trouble("start", step.host, "it\nbroke", "Mend it.")))
    events: list[tuple[Event, str]] = [
        (StageBegan(stage, 0), f"== {stage.title}"),
        (StepBegan(step, 0), " ..."),
        (StepEnded(step, broken), "failed (2.2 s)"),
        (StepEnded(step, broken), "it\nbroke"),
        (Proved(check, Verdict("holds", "it answers")), f"HOLDS   {check.title}: it answers"),
        (Proved(check, Verdict("fails", "silence")), check.explain),
        (RunEnded("unfinished", 4, 12.3), "homek8s resume"),
        (RunEnded("failed", 1, 0, "Could not begin."), "Could not begin."),
        (RunEnded("done", 0, 65), "done after 65.0 s"),
    ]
    for event, expected in events:
        assert any(expected in line for line in lines(event, verbose=False)), event
