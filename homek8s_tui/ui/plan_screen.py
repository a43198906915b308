"""One plan over whatever screen it was asked from: a finding's mend, an undo, an unfinished run."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from homek8s_tui.base.findings import Intent
from homek8s_tui.engine.journal import Run
from homek8s_tui.plan.model import Plan
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.plan_panel import PLAN_ACTIONS, PlanPanel, WithPlan
from homek8s_tui.ui.screen import ConsoleScreen

BACK = Action("plan.back", "escape", "Back", "Go back; a run goes on, and the home screen shows it.", footer=True)


class PlanScreen(WithPlan, ConsoleScreen):
    """A plan from its making to its last proof.

    Args:
        what: The intent to plan, or an unfinished run to go on with; None shows the run that is under way.
    """

    NAME = "Plan"
    EXPLAINED = (
        "What will happen, in order, before it happens: each step with what exactly it runs or writes, why, what it "
        "may interrupt, and how it is taken back. Nothing is changed until you approve it. While it runs, each step "
        "shows how it went; at the end, each proof."
    )
    ACTIONS: ClassVar = (BACK, *PLAN_ACTIONS)

    def __init__(self, what: Intent | Run | None) -> None:
        super().__init__()
        self._what = what
        self.panel = PlanPanel(id="plan")

    def body(self) -> ComposeResult:
        """Yields the plan."""
        yield self.panel

    def on_mount(self) -> None:
        """Begins to plan, or goes on."""
        what, service = self._what, self.service
        if isinstance(what, Intent):
            self.panel.show_planning(lambda: self._plan(what))
        elif isinstance(what, Run):
            self.panel.resume(what)
        elif service.live is not None:
            self.panel.show_run(service.live)

    def _plan(self, intent: Intent) -> Plan:
        return self.service.plan(self.service.home(), intent)

    def do_back(self) -> None:
        """Goes back."""
        self.app.pop_screen()

    def why_not(self, action: str) -> str | None:
        """Returns why an action can't be done now."""
        return self.panel.why_not(action)

    def copied(self) -> str:
        """Returns the details that are shown."""
        return self.panel.copied()

    def refresh_run(self) -> None:
        """Shows what the run told since."""
        self.panel.refresh_run()
        super().refresh_run()

    def tick(self) -> None:
        """Lets the shown times go on."""
        self.panel.tick()
        super().tick()

    def on_plan_panel_moved(self) -> None:
        """Shows what can be done now."""
        self.refresh_frame()
