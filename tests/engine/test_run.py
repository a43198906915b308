"""The engine over the rehearsal home: drift, failure, resume and undo, without a machine."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.cli import wiring
from homek8s_tui.engine.events import RunEnded, StepEnded
from homek8s_tui.engine.journal import Journal
from homek8s_tui.engine.observe import make_plan
from homek8s_tui.engine.run import ApplyRun
from homek8s_tui.engine.undo import make_undo, newest_undoable
from homek8s_tui.engine.world import World
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Question
from homek8s_tui.plan.model import Approval, Plan
from homek8s_tui.plan.operations import Command
from homek8s_tui.plan.review import title
from homek8s_tui.rehearsal.home import RehearsalHome


class Stage:
    """A rehearsal home, its world and its journal."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.rehearsal = RehearsalHome(home, random.Random(7).randbytes)
        self.world: World = wiring.rehearsed_world(self.rehearsal, folder)
        self.journal = Journal(folder / "journal.sqlite")
        self.planner = wiring.setup_planner("kubeconfig")

    def plan(self) -> Plan:
        """Plans the set-up."""
        return make_plan(self.world, self.home, Intent("setup"), self.planner)

    def apply(self, plan: Plan) -> tuple[RunEnded, ApplyRun]:
        """Applies a plan."""
        run = ApplyRun(
            plan, Approval(plan.digest, "me", 0), self.world, self.journal, wiring.ROOMS, lambda _event: None
        )
        return run.run(), run


@pytest.fixture
def stage(home: Home, tmp_path: Path) -> Stage:
    """Three bare machines in memory."""
    return Stage(home, tmp_path)


def test_a_set_up_ends_well_and_a_second_plan_is_empty(stage: Stage) -> None:
    ended, _ = stage.apply(stage.plan())
    assert (ended.result, ended.exit_code) == ("done", 0)
    assert stage.plan().steps == ()


def test_a_plan_costs_two_exchanges_a_machine(stage: Stage) -> None:
    stage.plan()
    assert {machine.exchanges for machine in stage.rehearsal.machines.values()} == {2}


def test_a_machine_that_does_not_answer_is_a_finding(stage: Stage) -> None:
    stage.rehearsal.machines["pi5"].unplugged = True
    plan = stage.plan()
    assert [finding.name for finding in plan.findings] == ["unreachable:pi5"]
    assert plan.steps == ()


def test_a_failed_step_ends_its_lane_and_a_resume_goes_on_there(stage: Stage) -> None:
    plan = stage.plan()
    broken = stage.rehearsal.machines["pi5"]
    real = broken.catalogue.starts.pop("wg-quick@")

    def fails_on_pi5(machine: object) -> None:
        if machine is broken:
            raise Trouble("start", "pi5", "no", "Mend it.")
        real(machine)  # type: ignore[arg-type]  # the machine it is

    broken.catalogue.starts["wg-quick@"] = fails_on_pi5
    ended, run = stage.apply(plan)
    assert ended.result == "unfinished"
    last = [event for event in run.events if isinstance(event, StepEnded)]
    assert {event.step.stage for event in last if event.done.result == "failed"} == {"tunnel/up"}
    assert not any(event.step.stage == "tunnel/proof" for event in last)
    keys = stage.rehearsal.machines["pi4"].files["/etc/wireguard/k8s-tunnel.key"]
    broken.catalogue.starts["wg-quick@"] = real
    ended, _ = stage.apply(plan)
    assert ended.result == "done"
    assert stage.rehearsal.machines["pi4"].files["/etc/wireguard/k8s-tunnel.key"] == keys
    assert all(
        machine.executed.count("secret /etc/wireguard/k8s-tunnel.key") == 1
        for machine in stage.rehearsal.machines.values()
    )


def test_what_drifted_since_the_plan_is_refused_and_told(stage: Stage) -> None:
    plan = stage.plan()
    stage.rehearsal.machines["proxy"].write("/etc/traefik/traefik.yml", "somebody's")
    ended, run = stage.apply(plan)
    assert ended.exit_code == 3
    refused = [event for event in run.events if isinstance(event, StepEnded) and event.done.result == "refused"]
    assert [event.step.operation.resource.name for event in refused] == ["/etc/traefik/traefik.yml"]
    assert stage.rehearsal.machines["proxy"].files["/etc/traefik/traefik.yml"].text == "somebody's"


def test_what_was_held_and_is_no_more_stops_a_plan_before_it_begins(stage: Stage) -> None:
    stage.apply(stage.plan())
    stage.rehearsal.machines["proxy"].units["traefik"].active = False
    plan = stage.plan()
    stage.rehearsal.machines["pi4"].users["x"] = ("a", "b")
    stage.rehearsal.machines["pi4"].files.pop("/etc/rancher/k3s/config.yaml")
    with pytest.raises(Trouble, match="more has to be done than was approved") as trouble:
        stage.apply(plan)
    assert trouble.value.kind is Kind.DRIFT


def test_an_approval_of_another_plan_is_none(stage: Stage) -> None:
    plan = stage.plan()
    with pytest.raises(Trouble, match="another plan"):
        ApplyRun(plan, Approval("0" * 64, "me", 0), stage.world, stage.journal, wiring.ROOMS, lambda _event: None).run()
    assert stage.journal.runs(stage.home.name) == []


def test_undo_takes_everything_back_but_what_somebody_changed(stage: Stage) -> None:
    bare = {name: dict(machine.files) for name, machine in stage.rehearsal.machines.items()}
    plan = stage.plan()
    stage.apply(plan)
    stage.rehearsal.machines["proxy"].write("/etc/traefik/dynamic/homek8s.yml", "mine now")
    made = make_undo(stage.world, newest_undoable(stage.journal, stage.home.name), packages=True)
    assert any("every object of the cluster" in sentence for sentence in made.destroys)
    assert any("homek8s.yml was changed since" in sentence for sentence in made.kept)
    ended, _ = stage.apply(made)
    assert ended.result == "done"
    for host, machine in stage.rehearsal.machines.items():
        left = {path for path in machine.files if path not in bare[host]}
        assert left == ({"/etc/traefik/dynamic/homek8s.yml"} if host == "proxy" else set()), host
        assert not machine.packages
        assert not machine.users
        assert not any(unit.active or unit.enabled for unit in machine.units.values())
    assert stage.rehearsal.kubeconfig.contexts == {}


def test_an_agent_that_is_taken_back_alone_leaves_no_node_behind(stage: Stage) -> None:
    stage.apply(stage.plan())
    pi4, pi5 = (stage.rehearsal.machines[name] for name in ("pi4", "pi5"))

    def nodes() -> list[str]:
        said = pi4.ask([Question("k3s", "k3s")])["k3s"].output
        return [line.split()[0] for line in said.splitlines() if line.startswith("node=")]

    # a machine that was installed anew joins by a run of its own
    pi5.catalogue.jobs["k3s-uninstall"](pi5, (), ())
    assert stage.apply(stage.plan())[0].result == "done"
    assert nodes() == ["node=pi4", "node=pi5"]
    run = newest_undoable(stage.journal, stage.home.name)
    assert {step.host for step in run.plan.steps if step.number in run.done} == {"pi5", "pi4"}
    made = make_undo(stage.world, run, packages=False)
    assert any("pi4: the node pi5 of the cluster" in sentence for sentence in made.destroys)
    order = [(step.host, title(step)) for step in made.steps if isinstance(step.operation, Command)]
    assert order == [("pi5", "take back: join pi5 to the cluster"), ("pi4", "delete the node pi5 from the cluster")]
    assert stage.apply(made)[0].result == "done"
    assert nodes() == ["node=pi4"]
    assert make_undo(stage.world, run, packages=False).steps == ()


def test_a_whole_home_that_is_taken_back_needs_no_node_deleted(stage: Stage) -> None:
    stage.apply(stage.plan())
    made = make_undo(stage.world, newest_undoable(stage.journal, stage.home.name), packages=False)
    assert "k3s-forget-node" not in {getattr(step.operation, "script", "") for step in made.steps}


def test_an_upgrade_is_taken_back_and_what_older_runs_replaced_stays_for_theirs(stage: Stage) -> None:
    pi4 = stage.rehearsal.machines["pi4"]
    pi4.write("/etc/rancher/k3s/config.yaml", "somebody's older one\n", "600")
    stage.apply(stage.plan())
    was = {path: entry.text for path, entry in pi4.files.items()}
    newer = msgspec.structs.replace(
        stage.home, versions=msgspec.structs.replace(stage.home.versions, k3s="v1.37.0+k3s1")
    )
    ended, _ = stage.apply(make_plan(stage.world, newer, Intent("setup"), stage.planner))
    assert ended.result == "done"
    assert pi4.files["/usr/local/bin/k3s"].text != was["/usr/local/bin/k3s"]
    started = pi4.units["k3s"].started
    made = make_undo(stage.world, newest_undoable(stage.journal, stage.home.name), packages=False)
    assert any(title(step) == "restore /usr/local/bin/k3s" for step in made.steps)
    assert stage.apply(made)[0].result == "done"
    assert pi4.files["/usr/local/bin/k3s"].text == was["/usr/local/bin/k3s"]
    assert pi4.units["k3s"].active and pi4.units["k3s"].started > started, "it runs with the old program again"
    assert {path: entry.text for path, entry in pi4.files.items() if "/undo/" in path} == {
        path: text for path, text in was.items() if "/undo/" in path
    }
    first = stage.journal.load(stage.journal.runs(stage.home.name)[-1].id)
    assert stage.apply(make_undo(stage.world, first, packages=False))[0].result == "done"
    assert pi4.files["/etc/rancher/k3s/config.yaml"].text == "somebody's older one\n"
    assert not [path for machine in stage.rehearsal.machines.values() for path in machine.files if "homek8s" in path]


def test_the_newest_run_to_take_back_changed_something_and_is_no_undo(stage: Stage) -> None:
    with pytest.raises(Trouble, match="there is no run"):
        newest_undoable(stage.journal, stage.home.name)
    stage.apply(stage.plan())
    first = stage.journal.runs(stage.home.name)[0].id
    stage.apply(stage.plan())
    assert stage.journal.runs(stage.home.name)[0].id != first
    found = newest_undoable(stage.journal, stage.home.name)
    assert found.id == first
    stage.apply(make_undo(stage.world, found, packages=False))
    assert newest_undoable(stage.journal, stage.home.name).id == first
