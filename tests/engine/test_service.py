"""The service that every front end uses, over the rehearsal: plan, approve, apply, resume, undo, and what is kept."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine import run as running
from homek8s_tui.engine.events import Event, RunEnded, StepBegan, StepEnded
from homek8s_tui.engine.executors import Work, carry_out
from homek8s_tui.engine.service import Service
from homek8s_tui.features.overview.view import ROOMS
from homek8s_tui.home import inventory

from ..conftest import HOME
from ..rehearsed import SET_UP, breaks, mends, rehearsed, set_up


def test_a_set_up_is_planned_begun_and_remembered(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    live, events = set_up(service)
    assert service.live is live and isinstance(events[-1], RunEnded) and events[-1].result == "done"
    (info,) = service.runs(service.home())
    assert (info.result, info.what) == ("done", "setup")
    run, records = service.records(info.id)
    assert run.plan == live.progress.plan
    assert records[0].kind == "approved" and records[-1].kind == "proof"
    assert service.plan(service.home(), SET_UP).steps == ()
    assert service.unfinished(service.home()) is None
    assert service.look(service.home(), ROOMS).unreachable() == {}


def test_a_part_alone_is_planned_alone(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), Intent("setup", (("stages", "tunnel"),)))
    assert {stage.name.split("/")[0] for stage in plan.stages} == {"tunnel"}


def test_an_intent_that_nobody_knows_is_a_sentence(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    with pytest.raises(Trouble, match="Could not plan 'dance'") as caught:
        service.plan(service.home(), Intent("dance"))
    assert caught.value.kind is Kind.USAGE


def test_the_newest_run_or_a_named_one_is_taken_back(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    with pytest.raises(Trouble, match="there is no run"):
        service.plan(service.home(), Intent("undo"))
    service.begin(service.plan(service.home(), Intent("setup", (("stages", "tunnel"),)))).run()
    set_up(service)
    first = service.runs(service.home())[-1].id
    plan = service.plan(service.home(), Intent("undo", (("run", first), ("packages", "yes"))))
    assert plan.undoes == first
    newest = service.plan(service.home(), Intent("undo"))
    assert newest.undoes == service.runs(service.home())[0].id != first
    assert service.begin(newest).run().result == "done"
    assert "traefik" not in rehearsal.machines["proxy"].users
    assert service.runs(service.home())[0].what.startswith("undo of ")
    with pytest.raises(Trouble, match="there is no such run"):
        service.plan(service.home(), Intent("undo", (("run", "nonsense"),)))


# --- one run at a time


def test_a_second_run_is_refused_while_one_is_under_way_and_changes_nothing(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    live = service.begin(service.plan(service.home(), Intent("setup", (("stages", "tunnel"),))))
    service.path.write_text(HOME)
    with pytest.raises(Trouble, match="another run of it is under way"):
        service.begin(plan)
    assert service.path.read_text() == HOME, "what was not approved pins nothing"
    assert service.live is live
    assert live.run().result == "done"
    assert service.begin(plan).run().result == "done"


def test_of_many_that_begin_at_once_one_does(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    together = threading.Barrier(6)
    results: list[object] = []

    def begin() -> None:
        together.wait(10)
        try:
            results.append(service.begin(plan))
        except Trouble as trouble:
            results.append(trouble)

    threads = [threading.Thread(target=begin, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(isinstance(result, Trouble) for result in results) == 5
    assert service.live in results


def test_a_run_of_another_process_is_told_and_touches_nothing(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    other = Service(service.ways, service.path)
    plan = service.plan(service.home(), SET_UP)
    live = other.begin(plan)
    said: list[RunEnded] = []

    def meanwhile(event: Event) -> None:
        if isinstance(event, StepBegan) and not said:
            said.append(service.begin(plan).run())

    live.watch = meanwhile
    assert live.run().result == "done"
    assert "another run of this home is under way" in said[0].trouble
    assert len(service.runs(service.home())) == 1


# --- what goes wrong


def test_a_run_that_was_not_finished_goes_on_as_it_was_approved(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    breaks(rehearsal, "pi5")
    live, _ = set_up(service)
    assert live.progress.ended is not None and live.progress.ended.result == "unfinished"
    home = service.home()
    service.path.write_text(service.path.read_text().replace("name: lab", "name: lab\nkubeconfig: ~/other"))
    run = service.unfinished(home)
    assert run is not None
    mends(rehearsal)
    resumed = service.resume(run)
    again: list[Event] = []
    resumed.watch = again.append
    assert resumed.progress.plan == live.progress.plan
    assert resumed.run().result == "done"
    begun = {event.step.number for event in again if isinstance(event, StepBegan)}
    assert begun and not begun & set(run.done)
    assert service.unfinished(home) is None
    assert len(service.runs(home)) == 1


def test_a_run_that_is_stopped_finishes_the_step_it_is_in_and_begins_no_other(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    live = service.begin(service.plan(service.home(), SET_UP))
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepBegan) and not live.stopping:
            live.stop()

    live.watch = watch
    ended = live.run()
    assert (ended.result, live.stopping) == ("unfinished", True)
    begun = [event.step.number for event in events if isinstance(event, StepBegan)]
    over = [event.step.number for event in events if isinstance(event, StepEnded)]
    assert sorted(begun) == sorted(over)
    assert len(begun) <= 3, "at most what ran side by side"
    run = service.unfinished(service.home())
    assert run is not None and not run.in_doubt
    assert service.resume(run).run().result == "done"


def test_a_run_goes_on_when_whoever_watched_it_is_gone(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    live = service.begin(service.plan(service.home(), SET_UP))
    seen: list[Event] = []

    def closed(event: Event) -> None:
        seen.append(event)
        raise BrokenPipeError(32, "Broken pipe")

    live.watch = closed
    assert live.run().result == "done"
    assert len(seen) == 1
    assert live.progress.finished == len(live.progress.steps)


def test_an_error_of_our_own_ends_the_run_and_no_later_stage_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    victim = next(step for step in plan.steps if step.stage == plan.stages[1].name and step.host == "pi5")

    def crashes(work: Work) -> object:
        if work.step.number == victim.number:
            raise ZeroDivisionError("an error of our own")
        return carry_out(work)

    monkeypatch.setattr(running, "carry_out", crashes)
    live = service.begin(plan)
    with pytest.raises(ZeroDivisionError):
        live.run()
    assert live.progress.ended is not None and live.progress.ended.result == "unfinished"
    later = {stage.name for stage in plan.stages[2:]}
    assert not [step for step in live.progress.steps.values() if step.step.stage in later and step.state != "waiting"]
    monkeypatch.undo()
    run = service.unfinished(service.home())
    assert run is not None and run.in_doubt == {victim.number}
    assert service.resume(run).run().result == "done"


def test_an_inventory_that_can_t_be_written_stops_a_run_before_it_begins(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    service.path.unlink()
    service.path.mkdir()
    with pytest.raises(Trouble, match="inventory"):
        service.begin(plan)
    assert service.live is None
    assert service.runs(plan.home) == []


# --- what is kept


def test_checksums_are_pinned_in_the_file_and_nothing_else_changes(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    plan = service.plan(service.home(), SET_UP)
    service.begin(plan)
    text = service.path.read_text()
    assert text.startswith(HOME) and "# the VPS" in text
    assert service.home().artefacts.checksums == dict(plan.checksums) != {}
    assert service.plan(service.home(), SET_UP).checksums == ()


def test_an_undo_pins_nothing(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    set_up(service)
    service.path.write_text(HOME)
    undo = service.plan(service.home(), Intent("undo"))
    service.begin(msgspec.structs.replace(undo, checksums=(("k3s/v1/k3s", "0" * 64),)))
    assert service.path.read_text() == HOME


def test_a_draft_is_kept_for_its_inventory_alone_and_forgotten(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    other = Service(service.ways, tmp_path / "other.yaml")
    assert service.read_draft() is None
    service.write_draft(b"a longer draft")
    service.write_draft(b"typed")
    assert (service.read_draft(), other.read_draft()) == (b"typed", None)
    (kept,) = tmp_path.glob("draft-*")
    assert kept.stat().st_mode & 0o7777 == 0o600
    service.write_draft(None)
    service.write_draft(None)
    assert service.read_draft() is None and list(tmp_path.glob("draft-*")) == []


def test_a_draft_that_can_t_be_kept_is_let_go(tmp_path: Path) -> None:
    service, _ = rehearsed(tmp_path)
    (tmp_path / "file").write_text("")
    gone = Service(replace(service.ways, journal=tmp_path / "file" / "journal.sqlite"), service.path)
    gone.write_draft(b"typed")
    assert gone.read_draft() is None


def test_a_machine_that_was_just_typed_is_asked_by_itself(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    typed = inventory.Node(name="new", address="192.168.1.77", role="agent")
    assert service.ask(typed, []) == {}
    assert service.log.entries()[-1].what == "log in"
    rehearsal.machines["new"].unplugged = True
    with pytest.raises(Trouble, match="nobody answered"):
        service.ask(typed, [])
    assert {found.address for found in service.find("192.168.1.0/24")} > {"192.168.1.4", "192.168.1.5"}
