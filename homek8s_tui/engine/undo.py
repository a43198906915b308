"""Taking a run back: its journal and how things are today become a plan."""

from __future__ import annotations

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine.executors import undo_folder
from homek8s_tui.engine.journal import Journal, Run
from homek8s_tui.engine.observe import ask_states
from homek8s_tui.engine.world import World
from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.model import Plan
from homek8s_tui.plan.undo import Undoable, plan_undo


def newest_undoable(journal: Journal, home: str) -> Run:
    """Returns the newest run of a home that changed something and was not itself an undo.

    Raises:
        Trouble: If there is none.
    """
    for info in journal.runs(home):
        run = journal.load(info.id)
        if not run.plan.undoes and _changed(run):
            return run
    raise Trouble("take a run back", "the journal", "there is no run", "'homek8s journal' lists the runs.", Kind.USAGE)


def make_undo(world: World, run: Run, packages: bool) -> Plan:
    """Plans to take a run back, from how the machines are now, one exchange each.

    Args:
        world: The outside.
        run: The run, from the journal.
        packages: Whether the packages that it installed go too.

    Raises:
        Trouble: If a machine does not answer.
    """
    undoable = Undoable(run.id, run.plan, _changed(run), lambda step: undo_folder(run.id, step))
    intent = Intent("undo", (("run", run.id), ("packages", "yes" if packages else "no")))
    draft = PlanBuilder(run.plan.home, intent, {})
    plan_undo(undoable, draft, packages)
    builder = PlanBuilder(run.plan.home, intent, ask_states(world, draft.wanted))
    plan_undo(undoable, builder, packages)
    return builder.build(undoes=run.id)


def _changed(run: Run) -> dict[int, str]:
    return {step: done.now for step, done in run.done.items() if done.result == "changed"}
