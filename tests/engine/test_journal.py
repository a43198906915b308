"""The journal: what it remembers, and what it makes of a run that was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.journal import Done, Journal
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.model import Approval, Plan


def plan_of(home: Home, name: str = "setup") -> Plan:
    """A plan with nothing in it."""
    return PlanBuilder(home, Intent(name), {}).build()


def approval_of(plan: Plan) -> Approval:
    """Its approval."""
    return Approval(plan.digest, "me", 1.0)


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    plan = plan_of(home)
    journal = Journal(path)
    journal.open_run(plan, approval_of(plan), "r1")
    journal.append("r1", "intent", 1, 2.0, Done("already"))
    journal.append("r1", "outcome", 1, 3.0, Done("changed", outputs=(("public", "x"),)))
    journal.append("r1", "intent", 2, 4.0, Done("already"))
    journal.append("r1", "intent", 3, 4.0, Done("already"))
    journal.append("r1", "outcome", 3, 4.0, Done("failed", trouble="no"))
    journal.close()
    again = Journal(path).open_run(plan, approval_of(plan), "r2")
    assert again.id == "r1"
    assert again.plan == plan
    assert dict(again.done[1].outputs) == {"public": "x"}
    assert again.in_doubt == {2}
    assert again.attempts == {3: 1}
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_another_plan_supersedes_an_unfinished_run(tmp_path: Path, home: Home) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    one, other = plan_of(home), plan_of(home, "undo")
    journal.open_run(one, approval_of(one), "r1")
    journal.open_run(other, approval_of(other), "r2")
    journal.end("r2", "done", 9.0)
    assert [(run.id, run.result) for run in journal.runs(home.name)] == [("r2", "done"), ("r1", "superseded")]
    assert journal.open_run(other, approval_of(other), "r3").id == "r3"


def test_what_can_not_be_opened_or_found_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and quite long enough to be looked at as one " * 50)
    with pytest.raises(Trouble, match="open the journal"):
        Journal(tmp_path / "file")
    with pytest.raises(Trouble, match="no such run"):
        Journal(tmp_path / "new").load("nope")
