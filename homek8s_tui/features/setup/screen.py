"""The set-up: the home is described, logins are tried, the plan is reviewed and carried out, proofs are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Checkbox, ContentSwitcher, Input, OptionList
from textual.widgets.option_list import Option

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.tones import Line, Tone, elapsed
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.journal import Run
from homek8s_tui.engine.service import Found
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.setup.draft import Draft, MachineDraft, from_plain
from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Node, Proxy
from homek8s_tui.hosts.model import Question
from homek8s_tui.plan.model import Plan
from homek8s_tui.ui.actions import Action
from homek8s_tui.ui.command_log import log_lines
from homek8s_tui.ui.dialogs import Dialog
from homek8s_tui.ui.plan_panel import PLAN_ACTIONS, PlanPanel, WithPlan
from homek8s_tui.ui.screen import ConsoleScreen
from homek8s_tui.ui.text import toned
from homek8s_tui.ui.widgets import Lines

NEXT = Action("setup.next", "ctrl+n", "Next", "Go to the next stage; what was typed is checked first.", footer=True)
BACK = Action("setup.back", "ctrl+b", "Back", "Go to the stage before; nothing is lost.", footer=True)
FIND = Action("setup.find", "f5", "Find", "Look for machines that answer SSH on your network.", footer=True)
ADD = Action("setup.add", "f6", "Add", "Add a machine at home.")
REMOVE = Action("setup.remove", "f8", "Remove", "Take the highlighted machine out of the home.")
TRUST = Action("setup.trust", "f7", "Trust", "Forget this machine's pinned host key, so that its new one is shown.")
EDIT = Action("setup.edit", "f9", "Editor", "Open homek8s.yaml in your editor; comments and order are kept.")

STAGES = ("Home", "Proxy", "Nodes", "Plan", "Apply", "Proofs")
"""The stages, in order."""
_PLAN, _APPLY, _PROOFS = 3, 4, 5
_TYPING_SECONDS = 0.7
_LIVE_LINES = 6
_SIGNS: dict[str, tuple[str, Tone]] = {
    "done": ("✓", "good"),
    "wrong": ("✗", "bad"),
    "now": ("▸", "accent"),
    "todo": ("·", "dim"),
}

_HINTS: Mapping[str, str] = {
    "domain": "The domain under which your services will be reached; its A record points at the proxy.",
    "name": "What this home is called; it names the context in your kubeconfig.",
    "lan": "The home network that all nodes are in.",
    "proxy.name": "What the proxy is called here.",
    "proxy.address": "The public IPv4 address of the cloud machine.",
    "proxy.user": "Who to log in as over SSH: root, or someone who may use sudo.",
    "proxy.port": "Its SSH port.",
    "node.name": "Its host name, which is its name in the cluster, too.",
    "node.address": "Its address at home; reserve it in the router so that it never changes.",
    "node.user": "Who to log in as over SSH: root, or someone who may use sudo.",
    "node.port": "Its SSH port.",
}


_Inventory = tuple[str | None, dict[str, Any], bytes | None, str, Trouble | None]
"""What was read: the text, its values, what was typed last time, this network, and why it can't be read."""


class Field(Widget):
    """A labelled input with its explanation, or what is wrong, below it.

    Args:
        path: The field's path in the form: ``proxy.address``.
        label: What it is called.
    """

    def __init__(self, path: str, label: str) -> None:
        super().__init__(classes="field-part")
        self.path = path
        self._label = label

    def compose(self) -> ComposeResult:
        """Builds it."""
        with Horizontal(classes="field"):
            yield Lines([((self._label, "plain"),)], classes="field-label")
            yield Input(id=f"field-{self.path.replace('.', '-')}", classes="field-input", compact=True)
        yield Lines([((_HINTS[self.path], "dim"),)], classes="field-hint")

    def on_descendant_focus(self) -> None:
        """Explains itself, also where there is little room."""
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        """Makes room again."""
        self.remove_class("-focused")

    def show(self, value: str) -> None:
        """Shows a value, without telling that it changed."""
        entry = self.query_one(Input)
        if entry.value != value:
            with entry.prevent(Input.Changed):
                entry.value = value

    def judge(self, problem: str | None) -> None:
        """Shows what is wrong with it, or its explanation."""
        hint = self.query_one(".field-hint", Lines)
        # what nobody has typed yet is no mistake
        wrong = problem is not None and bool(self.query_one(Input).value)
        hint.set_class(wrong, "-wrong")
        hint.show([((f"✗ {problem}", "bad"),)] if wrong else [((_HINTS[self.path], "dim"),)])


class SetupScreen(WithPlan, ConsoleScreen):
    """From nothing to a home that the internet reaches."""

    NAME = "Set up"
    EXPLAINED = (
        "Describe your home in three stages; each login is tried as soon as it is typed. Then the plan shows everything "
        "that would be done. Nothing is changed before you approve it, and homek8s.yaml keeps its comments. Stages can "
        "be gone back to at any time. Tunnel, versions and mirror have good defaults; F9 opens the file for them."
    )
    ACTIONS: ClassVar = (NEXT, BACK, *PLAN_ACTIONS, FIND, ADD, REMOVE, TRUST, EDIT)

    def __init__(self) -> None:
        super().__init__()
        self.panel = PlanPanel(id="stage-plan")
        self.stage = 0
        """The stage that is shown."""
        self.draft = Draft()
        """What was typed."""
        self._base: dict[str, Any] = {}
        self._base_text: str | None = None
        self._problems: Mapping[str, str] = {}
        self._node = 0
        self._logins: dict[tuple[str, str, str, str], Line] = {}
        self._trying: dict[tuple[str, str, str, str], float] = {}
        self._typed: Timer | None = None
        self._found: list[Found] = []
        self._finding = False
        self._loaded = False
        self._unreadable: Trouble | None = None
        self._offered: set[str] = set()

    def body(self) -> ComposeResult:
        """Yields stages, form or plan, and the live log."""
        with Horizontal(id="setup"):
            yield OptionList(id="stages", markup=False, compact=True)
            with Vertical(id="middle"):
                with ContentSwitcher(id="stage", initial="stage-home", disabled=True):
                    with VerticalScroll(id="stage-home", classes="form", can_focus=False):
                        yield Lines(id="home-intro", classes="intro")
                        yield Field("domain", "Domain")
                        yield Field("name", "Name")
                        yield Field("lan", "Network")
                    with VerticalScroll(id="stage-proxy", classes="form", can_focus=False):
                        yield Field("proxy.address", "Address")
                        yield Field("proxy.user", "User")
                        yield Field("proxy.port", "SSH port")
                        yield Field("proxy.name", "Name")
                        yield Lines(id="proxy-login", classes="login")
                    with VerticalScroll(id="stage-nodes", classes="form", can_focus=False):
                        yield OptionList(id="node-list", markup=False, compact=True)
                        with Horizontal(classes="row"):
                            yield Button("Find on the network", id="find", compact=True)
                            yield Button("Add one", id="add", compact=True)
                            yield Button("Remove", id="remove", compact=True)
                        with Vertical(id="node-form"):
                            yield Field("node.name", "Name")
                            yield Field("node.address", "Address")
                            yield Field("node.user", "User")
                            yield Field("node.port", "SSH port")
                            yield Checkbox(_server_label(False), id="server", compact=True)
                            yield Lines(id="node-login", classes="login")
                    yield self.panel
                yield Lines(id="live")
                with Horizontal(id="nav"):
                    yield Button("Back", id="back", compact=True)
                    yield Button("Next", id="next", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Reads what there is: inventory, draft, unfinished run."""
        self._paint_stages()
        service = self.service
        path = service.path

        def read() -> _Inventory:
            written, plain, wrong = None, {}, None
            if path.exists():
                try:
                    written = inventory.read_text(path)
                    plain = inventory.read_plain(written, str(path))
                except Trouble as trouble:
                    wrong = trouble
            return written, plain, service.read_draft(), service.ways.lan(), wrong

        self.console.background.start("setup-read", read, self._read, self.console.say_trouble)

    def _read(self, found: _Inventory) -> None:
        text, self._base, drafted, lan, self._unreadable = found
        if self._loaded and text != self._base_text and self.panel.phase != "running":
            self.panel.phase = "empty"  # what was planned from the old inventory is no plan any more
        self._base_text = text
        self.draft = from_plain(self._base)
        if drafted is not None:
            try:
                self.draft = msgspec.json.decode(drafted, type=Draft)
            except msgspec.MsgspecError:
                self.notify("What was typed last time can't be read any more.", severity="warning", markup=False)
        if not self.draft.lan:
            self.draft.lan = lan
        self._loaded = True
        self.query_one("#stage").disabled = False
        self._judge()
        live = self.service.live
        if live is not None and live.progress.plan.intent.kind == "setup" and live.progress.ended is None:
            self.panel.show_run(live)
            self._go(_APPLY)
        elif not self._problems and drafted is None and self._base_text is not None:
            self._go(_PLAN)
        else:
            self._go(0)

    # --- what can be done

    def why_not(self, action: str) -> str | None:
        """Returns why an action can't be done now."""
        if action in {found.id for found in PLAN_ACTIONS}:
            if self.stage < _PLAN:
                return "That is for the plan; ctrl+n goes on to it."
            return self.panel.why_not(action)
        if action == BACK.id and self.stage == 0:
            return "This is the first stage."
        if action == BACK.id and self.panel.phase == "running":
            return "A run is under way; stop it first, or leave this screen: it goes on."
        if action in (NEXT.id, FIND.id, ADD.id, REMOVE.id) and not self._loaded:
            return "The inventory is being read."
        if action == NEXT.id and self._unreadable is not None and self.stage < _PLAN:
            return f"{self._unreadable} F9 opens it."
        if action == NEXT.id and self.stage == _PLAN:
            return "a approves the plan; it is carried out then."
        if action == NEXT.id and self.stage > _PLAN:
            return "This is the last stage. 1 goes to the home screen."
        if action in (FIND.id, ADD.id, REMOVE.id) and self.stage != 2:
            return "That is for the stage Nodes."
        if action == FIND.id and self._finding:
            return "It is being looked already."
        if action == REMOVE.id and self._node >= len(self.draft.nodes):
            return "Highlight a machine of the home first."
        if action == EDIT.id:
            if self._base_text is None:
                return "The file is written when you go on to the plan."
            if self._unreadable is None and self.draft.over(self._base) != self._base:
                return "Something typed here is not in the file yet; go on to the plan first, which writes it."
        if action == TRUST.id and self.console.read_only:
            return "The console is read-only."
        written = self._base_text is not None and self.draft.over(self._base) == self._base
        if action == NEXT.id and self.stage == _PLAN - 1 and self.console.read_only and not written:
            return "The console is read-only, and the inventory would have to be written."
        if action == TRUST.id and (self.stage not in (1, 2) or self._machine() is None):
            return "Go to a machine whose address is typed first."
        return None

    def do_next(self) -> None:
        """Goes to the next stage."""
        wrong = self._wrong(self.stage)
        if wrong:
            field, sentence = next(iter(wrong.items()))
            self.notify(f"{field}: {sentence}", title="Not yet", severity="warning", markup=False)
            self._focus_field(field)
            return
        if self.stage + 1 == _PLAN:
            self._save()
        else:
            self._go(self.stage + 1)

    def do_back(self) -> None:
        """Goes to the stage before."""
        self._go(_PLAN - 1 if self.stage > _PLAN else self.stage - 1)

    def do_find(self) -> None:
        """Looks for machines on the network."""
        subnet = self.draft.lan.strip()
        if "lan" in self._problems or not subnet:
            self.notify("Type your home network at the stage Home first.", severity="warning", markup=False)
            return
        self._finding = True
        self._found = []
        service = self.service

        def find() -> list[Found]:
            return sorted(service.find(subnet), key=lambda found: tuple(map(int, found.address.split("."))))

        def found(machines: list[Found]) -> None:
            self._finding = False
            known = {node.address for node in self.draft.nodes} | {self.draft.proxy.address}
            self._found = [machine for machine in machines if machine.address not in known]
            self._paint_nodes()
            if not self._found:
                self.notify(f"No further machine in {subnet} answers SSH.", title="Looked", markup=False)

        self.console.background.start("find", find, found, self._not_found)
        self._paint_nodes()

    def do_add(self) -> None:
        """Adds an empty machine."""
        self._add(MachineDraft())

    def do_remove(self) -> None:
        """Takes the highlighted machine out, after a question."""
        if self._node >= len(self.draft.nodes):
            return
        node = self.draft.nodes[self._node]

        def answered(answer: str | None) -> None:
            if answer == "remove" and node in self.draft.nodes:
                self.draft.nodes.remove(node)
                self._node = max(0, self._node - 1)
                self._changed()
                self._show_fields()

        self.app.push_screen(
            Dialog(
                f"Take {node.name or 'this machine'} out of the home?",
                [(("It leaves homek8s.yaml. On the machine itself nothing is changed.", "plain"),)],
                [("leave", "Leave it", "default"), ("remove", "Take it out", "warning")],
            ),
            answered,
        )

    def do_trust(self) -> None:
        """Forgets the pinned key of the machine that is shown, after a question, and tries the login again."""
        machine = self._machine()
        if machine is None:
            return

        def answered(answer: str | None) -> None:
            if answer == "forget":
                service = self.service
                among = [other for other in self._machines() if other.name != machine.name]
                self.console.background.start(
                    "trust",
                    lambda: service.trust([*among, machine], machine.name),
                    lambda _none: self._try(machine),
                    self.console.say_trouble,
                )

        self.app.push_screen(
            Dialog(
                f"Forget the pinned host key of {machine.name}?",
                [
                    (("Do this only if you installed the machine anew.", "warn"),),
                    (("Its next key is shown, and pinned only if you say so.", "plain"),),
                ],
                [("leave", "Leave it", "default"), ("forget", "I installed it anew", "warning")],
            ),
            answered,
        )

    def do_edit(self) -> None:
        """Opens the inventory in the operator's editor."""
        self.console.edit(self.service.path)
        if self._unreadable is None:
            self.service.write_draft(None)
        self.on_mount()

    def copied(self) -> str:
        """Returns the plan's details, or the address of the machine that is shown."""
        if self.stage >= _PLAN:
            return self.panel.copied()
        machine = self._machine()
        return machine.address if machine else ""

    def on_screen_resume(self) -> None:
        """Shows how a run stands that went on meanwhile."""
        super().on_screen_resume()
        self.panel.refresh_run()

    def refresh_run(self) -> None:
        """Shows what the run told since."""
        self.panel.refresh_run()
        super().refresh_run()

    def on_resize(self) -> None:
        """Shows as much of the log as there is room for."""
        super().on_resize()
        self.call_after_refresh(self._paint_live)

    def tick(self) -> None:
        """Lets the shown times go on."""
        if not self.is_mounted:
            return
        if self.stage >= _PLAN:
            self.panel.tick()
        self._paint_logins()
        self._paint_live()
        super().tick()

    # --- stages

    def _go(self, stage: int) -> None:
        self.stage = stage
        names = ("stage-home", "stage-proxy", "stage-nodes", "stage-plan", "stage-plan", "stage-plan")
        self.query_one("#stage", ContentSwitcher).current = names[stage]
        # a login that failed may be tried again now: the machine may have been plugged in
        self._logins = {key: line for key, line in self._logins.items() if line[0][1] != "bad"}
        if stage == _PLAN and self.panel.phase not in ("planning", "review", "beginning", "running"):
            self._look_for_unfinished()
            self.panel.show_planning(self._plan)
        self._show_fields()
        self._paint_stages()
        self._paint_live()
        self._focus_stage()
        self.refresh_frame()

    def _focus_stage(self) -> None:
        if self.stage >= _PLAN:
            self.panel.query_one("#rows", OptionList).focus()
        elif self.stage == 2:
            self.query_one("#node-list", OptionList).focus()
        else:
            self.query_one("#field-domain" if self.stage == 0 else "#field-proxy-address", Input).focus()

    def _plan(self) -> Plan:
        return self.service.plan(self.service.home(), Intent("setup"))

    def _look_for_unfinished(self) -> None:
        service = self.service

        def found(run: Run | None) -> None:
            if run is not None and run.id not in self._offered and self.stage == _PLAN and self.is_current:
                self._offered.add(run.id)
                self._offer_resume(run)

        self.console.background.start(
            "unfinished", lambda: service.unfinished(service.home()), found, self.console.say_trouble
        )

    def _offer_resume(self, run: Run) -> None:
        def answered(answer: str | None) -> None:
            if answer == "resume":
                self.panel.resume(run)

        done = len(run.done)
        self.app.push_screen(
            Dialog(
                f"Run {run.id} was not finished",
                [
                    ((f"{done} of its {len(run.plan.steps)} steps are done.", "plain"),),
                    (("Going on does the rest as it was approved; what is done is not done twice.", "dim"),),
                    (("It is given up once another plan is applied.", "dim"),),
                ],
                [("resume", "Go on with it", "primary"), ("plan", "Plan anew", "default")],
            ),
            answered,
        )

    def on_plan_panel_moved(self) -> None:
        """Follows the plan: it is reviewed, carried out, proven."""
        phase = self.panel.phase
        if self.stage >= _PLAN:
            ended = self.panel.live.progress.ended if self.panel.live else None
            if phase == "ended" and ended is not None and ended.result == "done":
                self.stage = _PROOFS
            elif phase in ("running", "ended"):
                self.stage = _APPLY
            elif phase in ("planning", "review", "trouble"):
                self.stage = _PLAN
        self._paint_stages()
        self._paint_live()
        self.refresh_frame()

    @on(OptionList.OptionSelected, "#stages")
    def _stage_selected(self, event: OptionList.OptionSelected) -> None:
        wanted = event.option_index
        if wanted > self.stage and any(self._wrong(stage) for stage in range(min(wanted, _PLAN))):
            self.act(NEXT.id)
        elif wanted < _PLAN and self.panel.phase != "running":
            self._go(wanted)
        elif wanted >= _PLAN > self.stage:
            self._save()

    def _wrong(self, stage: int) -> dict[str, str]:
        """Returns the problems of a stage's fields."""
        prefixes = (("domain", "name", "lan", "tunnel", "versions", "artefacts", "kubeconfig"), ("proxy",), ("nodes",))
        if stage >= len(prefixes):
            return {}
        return {path: said for path, said in self._problems.items() if path.startswith(prefixes[stage])}

    # --- the form

    def _save(self) -> None:
        service, path, before = self.service, self.service.path, self._base_text
        base, draft = self._base, msgspec.convert(msgspec.to_builtins(self.draft), Draft)
        if self._typed is not None:
            self._typed.stop()
            self._typed = None

        def save() -> tuple[str, bool]:
            there = inventory.read_text(path) if path.exists() else None
            plain = inventory.read_plain(there, str(path)) if there is not None else {}
            if there != before and _without_artefacts(plain) != _without_artefacts(base):
                return there or "", False
            # pinned checksums are no edit: what was typed is laid over the file as it is now
            start = inventory.commented() if there is None else there
            result = inventory.edited(start, draft.over(inventory.read_plain(start, str(path))), str(path))
            if result != there:
                inventory.write_text(path, result)
            service.write_draft(None)
            return result, True

        def saved(found: tuple[str, bool]) -> None:
            result, written = found
            if not written:
                self._base_text, self._base = result, inventory.read_plain(result, str(path))
                said = "It was changed meanwhile, and is not overwritten. What you typed is here; Next writes it over."
                self.notify(said, title=path.name, severity="warning", timeout=15, markup=False)
                return
            if result != self._base_text:
                self.notify(f"{path.name} is written.", title="Saved", markup=False)
                self.panel.phase = "empty"  # what was planned from the old inventory is no plan any more
            self._base_text, self._base = result, inventory.read_plain(result, str(path))
            self._go(_PLAN)

        self.console.background.start("save", save, saved, self.console.say_trouble)

    @on(Input.Changed, ".field-input")
    def _input_changed(self, event: Input.Changed) -> None:
        what, _, field = (event.input.id or "").removeprefix("field-").rpartition("-")
        if what == "":
            setattr(self.draft, field, event.value)
        elif what == "proxy":
            setattr(self.draft.proxy, field, event.value)
        elif self._node < len(self.draft.nodes):
            setattr(self.draft.nodes[self._node], field, event.value)
        self._changed()

    @on(Input.Submitted, ".field-input")
    def _input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        inputs = [entry for entry in self.query(".field-input") if entry.is_on_screen or entry.region.height]
        last = bool(inputs) and inputs[-1] is event.input
        if last and self.stage < 2:
            self.act(NEXT.id)
        else:
            self._logins = {key: line for key, line in self._logins.items() if line[0][1] != "bad"}
            self._try_shown()
            self.focus_next()

    @on(Checkbox.Changed, "#server")
    def _server_changed(self, event: Checkbox.Changed) -> None:
        event.checkbox.label = _server_label(event.value)
        if self._node >= len(self.draft.nodes):
            return
        for index, node in enumerate(self.draft.nodes):
            if index == self._node:
                node.server = event.value
            elif event.value:
                node.server = False
        self._changed()

    @on(OptionList.OptionHighlighted, "#node-list")
    def _node_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index != self._node:
            self._node = event.option_index
            self._show_fields()

    @on(OptionList.OptionSelected, "#node-list")
    def _node_selected(self, event: OptionList.OptionSelected) -> None:
        index = event.option_index - len(self.draft.nodes)
        if 0 <= index < len(self._found):
            found = self._found.pop(index)
            name = found.name.split(".")[0].lower()
            self._add(MachineDraft(name=name, address=found.address))
        else:
            self.query_one("#field-node-name", Input).focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.act(f"setup.{event.button.id}")

    def _add(self, node: MachineDraft) -> None:
        node.server = not any(other.server for other in self.draft.nodes)
        self.draft.nodes.append(node)
        self._node = len(self.draft.nodes) - 1
        self._changed()
        self._show_fields()
        self.query_one("#field-node-name", Input).focus()

    def _not_found(self, trouble: Trouble) -> None:
        self._finding = False
        self.console.say_trouble(trouble)

    def _changed(self) -> None:
        """Something was typed: it is judged at once, kept, and the login tried once the typing pauses."""
        self._judge()
        self._paint_nodes()
        self._paint_stages()
        if self._typed is not None:
            self._typed.stop()
        self._typed = self.set_timer(_TYPING_SECONDS, self._typing_paused)

    def _typing_paused(self) -> None:
        self._typed = None
        self.service.write_draft(msgspec.json.encode(self.draft))
        self._try_shown()

    def leaving(self) -> None:
        """Keeps what was typed a moment ago."""
        self.settle()

    def settle(self) -> None:
        """Does at once what waits for a pause in the typing."""
        if self._typed is not None:
            self._typed.stop()
            self._typing_paused()

    def _judge(self) -> None:
        self._problems = self.draft.problems(self._base)
        for field in self.query(Field):
            path = field.path.replace("node.", f"nodes[{self._node}].")
            problem = self._problems.get(path)
            if problem is not None and field.path.startswith("node.") and self._node >= len(self.draft.nodes):
                problem = None
            field.judge(problem)

    def _show_fields(self) -> None:
        draft = self.draft
        node = draft.nodes[self._node] if self._node < len(draft.nodes) else MachineDraft()
        for field in self.query(Field):
            owner, _, name = field.path.rpartition(".")
            source: object = draft if not owner else draft.proxy if owner == "proxy" else node
            field.show(getattr(source, name))
        box = self.query_one("#server", Checkbox)
        with box.prevent(Checkbox.Changed):
            box.value = node.server
        box.label = _server_label(node.server)
        self.query_one("#node-form").display = self._node < len(draft.nodes)
        self._judge()
        self._paint_nodes()
        self._try_shown()

    def _focus_field(self, path: str) -> None:
        if path.startswith("nodes["):
            self._node = int(path[6 : path.index("]")])
            self._show_fields()
            path = "node." + path.rpartition(".")[2]
        found = next((field for field in self.query(Field) if field.path == path), None)
        if found is not None:
            found.query_one(Input).focus()

    # --- logins

    def _machine(self) -> Proxy | Node | None:
        """Returns the machine that the stage shows, once its fields are sound."""
        if self.stage == 1:
            return self.draft.proxy.machine("proxy", self._problems)
        if self.stage == 2 and self._node < len(self.draft.nodes):
            return self.draft.nodes[self._node].machine(f"nodes[{self._node}]", self._problems)
        return None

    def _machines(self) -> list[Proxy | Node]:
        """Returns every machine of the draft that is sound."""
        drafts = [("proxy", self.draft.proxy)]
        drafts += [(f"nodes[{index}]", node) for index, node in enumerate(self.draft.nodes)]
        found = (draft.machine(path, self._problems) for path, draft in drafts)
        return [machine for machine in found if machine is not None]

    def _try_shown(self) -> None:
        machine = self._machine()
        if machine is not None and _key(machine) not in self._logins and _key(machine) not in self._trying:
            self._try(machine)
        self._paint_logins()

    def _try(self, machine: Proxy | Node) -> None:
        key = _key(machine)
        self._logins.pop(key, None)
        self.console.ask_again()
        self._trying[key] = self.service.clock.monotonic()
        service = self.service
        among = [other for other in self._machines() if other.name != machine.name]

        def ask() -> Line:
            answers = service.ask(machine, [Question(nodes.NAME, "nodes")], among)
            facts = nodes.read(answers[nodes.NAME], machine.name, "k8s-tunnel").settled
            what = f"{facts.os_id} {facts.os_version} {facts.architecture}" if isinstance(facts, nodes.Settled) else ""
            return (("✓ logged in, and root: ", "good"), (one_line(what), "plain"))

        def failed(trouble: Trouble) -> None:
            hint = "(F7, if you installed it anew) " if "homek8s trust" in trouble.do else ""
            self._tried(key, (("✗ ", "bad"), (hint, "accent"), (str(trouble), "plain")))

        self.console.background.start(f"login-{machine.name}", ask, lambda line: self._tried(key, line), failed)
        self._paint_logins()

    def _tried(self, key: tuple[str, str, str, str], line: Line) -> None:
        self._trying.pop(key, None)
        self._logins[key] = line
        self._paint_logins()
        self._paint_nodes()

    def _login_line(self, machine: Proxy | Node | None) -> Line:
        if machine is None:
            return (("· the login is tried once name and address are typed", "dim"),)
        key = _key(machine)
        if key in self._trying:
            took = self.service.clock.monotonic() - self._trying[key]
            return (
                ("▸ logging in as ", "accent"),
                (f"{machine.user or machine.usual_user} ", "plain"),
                (elapsed(took), "dim"),
            )
        return self._logins.get(key, (("· not tried yet", "dim"),))

    # --- painting

    def _paint_logins(self) -> None:
        line = self._login_line(self._machine())
        self.query_one("#proxy-login" if self.stage == 1 else "#node-login", Lines).show([line])

    def _paint_nodes(self) -> None:
        options = self.query_one("#node-list", OptionList)
        lines: list[Line] = []
        for index, node in enumerate(self.draft.nodes):
            wrong = any(path.startswith(f"nodes[{index}]") for path in self._problems)
            machine = node.machine(f"nodes[{index}]", self._problems)
            login = self._login_line(machine)[0] if machine else ("·", "dim")
            sign: tuple[str, Tone] = ("✗ ", "bad") if wrong else (f"{login[0][:1]} ", login[1])
            role = "server" if node.server else "agent"
            lines.append(
                (sign, (f"{node.name or '(no name)':<12} ", "strong"), (f"{node.address:<16} {role}", "plain"))
            )
        for found in self._found:
            who = " ".join(filter(None, (found.name, found.maker)))
            lines.append((("+ ", "accent"), (f"{found.address:<16} ", "plain"), (f"{who}  {found.says}", "dim")))
        if self._finding:
            lines.append((("▸ looking on the network", "accent"),))
        if not lines:
            lines.append((("No machine yet. Find them on the network, or add one.", "dim"),))
        highlighted = options.highlighted
        with options.prevent(OptionList.OptionHighlighted):
            options.clear_options()
            options.add_options([Option(toned([line])) for line in lines])
            options.highlighted = min(
                self._node if self._node < len(self.draft.nodes) else highlighted or 0, len(lines) - 1
            )

    def _paint_stages(self) -> None:
        options = self.query_one("#stages", OptionList)
        lines: list[Line] = [
            ((f"{sign} ", tone), (name, "strong" if index == self.stage else "plain"))
            for index, name, sign, tone in self._stage_states()
        ]
        with options.prevent(OptionList.OptionHighlighted):
            if options.option_count == len(lines):
                for index, line in enumerate(lines):
                    options.replace_option_prompt_at_index(index, toned([line]))
            else:
                options.add_options([Option(toned([line])) for line in lines])
            options.highlighted = self.stage
        intro = (
            "Where is your home?"
            if self._base_text is None
            else f"{self.service.path.name} as it is; change what you like."
        )
        if self._unreadable is not None:
            intro = str(self._unreadable)
        tone: Tone = "bad" if self._unreadable is not None else "strong"
        self.query_one("#home-intro", Lines).show([((intro, tone),)])

    def _stage_states(self) -> Iterator[tuple[int, str, str, Tone]]:
        for index, name in enumerate(STAGES):
            if index == self.stage:
                state = "now"
                ended = self.panel.live.progress.ended if self.panel.live else None
                if index >= _PLAN and (self.panel.phase == "trouble" or (ended and ended.result != "done")):
                    state = "wrong"
                elif index == _PROOFS:
                    state = "done"
            elif index < _PLAN:
                wrong = self._loaded and bool(self._wrong(index))
                state = (
                    "todo" if wrong and index > self.stage else "wrong" if wrong else "done" if self._loaded else "todo"
                )
            else:
                state = "done" if index < self.stage else "todo"
            yield index, name, *_SIGNS[state]

    def _paint_live(self) -> None:
        live = self.query_one("#live", Lines)
        live.display = self.panel.phase not in ("running", "ended") or self.stage < _PLAN
        if live.display:
            live.show(log_lines(self.service.log)[-(_LIVE_LINES if self.has_class("-wide") else 3) :])
        self.query_one("#nav").display = self.stage < _PLAN


def _server_label(server: bool) -> str:
    # the box's sign is the same on and off, and differs by its colour alone
    return f"runs the control plane: {'yes' if server else 'no'} (one node does)"


def _without_artefacts(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name != "artefacts"}


def _key(machine: Proxy | Node) -> tuple[str, str, str, str]:
    return machine.name, machine.address, str(machine.user), str(machine.port)
