"""How rooms write plans: they say what must be so, and the builder finds out what that takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from homek8s_tui.base.findings import Finding, Intent
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.checks import Check
from homek8s_tui.plan.model import SCHEMA, Held, Plan, Premise, Risk, Stage, Step
from homek8s_tui.plan.operations import Artefact, Await, File, Operation, Resource, Unit
from homek8s_tui.plan.standing import matches
from homek8s_tui.plan.values import HostSecret, Output, Template


@dataclass(frozen=True)
class Observed:
    """A resource's state as its machine told it."""

    state: str
    """The state."""
    extra: str = ""
    """What the state script tells beyond it: a file's masked text, a secret's public values."""

    def outputs(self) -> dict[str, str]:
        """Returns the extra's ``name=value`` lines."""
        return dict(line.split("=", 1) for line in self.extra.splitlines() if "=" in line)


States = Mapping[tuple[str, str, str], Observed]
"""What was observed, by a resource's key. What is missing there was not asked yet."""


@dataclass(frozen=True)
class Ensured:
    """What `PlanBuilder.ensure` made of an operation."""

    operation: Operation
    """The operation."""
    step: int
    """The number of its step, or 0 if it already holds."""
    known: Mapping[str, str]
    """Outputs that were observed already."""

    def output(self, name: str, of: str) -> str | Output:
        """Returns a public value: itself where it is known, else a hole that the step fills.

        Args:
            name: Its name among the operation's outputs.
            of: What it is, for people: ``public key of pi4``.
        """
        if self.known.get(name) and not self.step:
            return self.known[name]
        return Output(self.step, name, dict(self.operation.gives)[name], of)


@dataclass
class PlanBuilder:
    """Collects a plan against the projected state: each ensured operation moves it.

    A planner runs twice. The first time nothing was observed (`states` is empty) and only `wanted` matters: the
    resources to ask the machines for. The second time decides. So a planner names its resources whatever their
    states are.
    """

    home: Home
    """The inventory."""
    intent: Intent
    """What was asked for."""
    states: States
    """What was observed."""
    wanted: list[Resource] = field(default_factory=list)
    """Every resource that was named."""
    _stages: list[Stage] = field(default_factory=list)
    _steps: list[Step] = field(default_factory=list)
    _held: list[Held] = field(default_factory=list)
    _premises: dict[tuple[str, str], Premise] = field(default_factory=dict)
    _proofs: list[Check] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)
    _checksums: dict[str, str] = field(default_factory=dict)
    _destroys: list[str] = field(default_factory=list)
    _kept: list[str] = field(default_factory=list)
    _projected: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _touched: set[tuple[str, str]] = field(default_factory=set)
    _stage: str = ""
    _skipped: bool = False
    parts: tuple[str, ...] = ()
    """The parts of the plan to make; empty for all of them."""

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Puts what is ensured inside into a stage.

        Args:
            name: ``part/what``. A stage of a part that was not asked for keeps only what already holds.
            title: What it does, for people.
        """
        outer, self._stage = (self._stage, self._skipped), name
        self._skipped = bool(self.parts) and name.split("/")[0] not in self.parts
        if all(stage.name != name for stage in self._stages):
            self._stages.append(Stage(name, title))
        try:
            yield
        finally:
            self._stage, self._skipped = outer

    def ensure(self, operation: Operation, because: str, risk: Risk = Risk.SAFE) -> Ensured:
        """Plans an operation unless what it ends in already holds.

        Args:
            operation: What must be so.
            because: Why, in a few words.
            risk: What it may do to what already runs.
        """
        resource = operation.resource
        self.wanted.append(resource)
        observed = self.states.get(resource.key, Observed("unknown"))
        known = observed.outputs()
        now = self._projected.get(resource.key, observed.state)
        after = operation.wanted({})
        if isinstance(operation, Unit) and any((operation.host, path) in self._touched for path in operation.watch):
            now = now.replace(" current", " stale")
        complete = not operation.gives or all(
            known.get(name) for name, _ in operation.gives if name in _given(operation)
        )
        if after is not None and matches(now, after) and complete:
            if resource.key not in self._projected:
                self._held.append(Held(resource, after, because))
            return Ensured(operation, 0, known)
        if self._skipped:
            return Ensured(operation, 0, known)
        step = Step(
            number=len(self._steps) + 1,
            stage=self._stage,
            operation=operation,
            before=operation.start(now),
            because=because,
            risk=risk,
            original=observed.state,
            shown_before=observed.extra if isinstance(operation, File) and resource.key not in self._projected else "",
        )
        self._steps.append(step)
        self._projected[resource.key] = after if after is not None else "*"
        if isinstance(operation, File | Artefact):
            self._touched.add((operation.host, operation.path))
        return Ensured(operation, step.number, known)

    def wait_for(self, host: str, check: Check, because: str) -> None:
        """Plans to wait for a check, if any step of its part stands before it; a proof of its own is for the end.

        Args:
            host: The machine whose lane waits.
            check: What to wait for.
            because: Why, in a few words.
        """
        part = self._stage.split("/")[0]
        if not self._skipped and any(step.stage.split("/")[0] == part for step in self._steps):
            self.ensure(Await(host=host, check=check), because)

    def planned(self, part: str) -> bool:
        """Tells whether any step of a part is planned so far."""
        return any(step.stage.split("/")[0] == part for step in self._steps)

    def premise(self, host: str, name: str, value: object) -> None:
        """Records a settled fact that a decision rests on; it is looked at again before the first step."""
        self._premises[(host, name)] = Premise(host, name, str(value))

    def prove(self, check: Check) -> None:
        """Adds a proof for the end."""
        self._proofs.append(check)

    def find(self, finding: Finding) -> None:
        """Adds a finding."""
        self._findings.append(finding)

    def checksum(self, key: str, sha256: str) -> None:
        """Records a checksum that was learnt, to be written into the inventory once the plan is approved."""
        self._checksums[key] = sha256

    def destroys(self, sentence: str) -> None:
        """Records what is lost for good."""
        self._destroys.append(sentence)

    def keeps(self, sentence: str) -> None:
        """Records what an undo leaves alone."""
        self._kept.append(sentence)

    def build(self, undoes: str = "") -> Plan:
        """Returns the plan."""
        used = {step.stage for step in self._steps}
        return Plan(
            schema=SCHEMA,
            home=self.home,
            intent=self.intent,
            stages=tuple(stage for stage in self._stages if stage.name in used),
            steps=tuple(self._steps),
            held=tuple(self._held),
            premises=tuple(self._premises.values()),
            proofs=tuple(self._proofs),
            findings=tuple(self._findings),
            checksums=tuple(sorted(self._checksums.items())),
            undoes=undoes,
            destroys=tuple(self._destroys),
            kept=tuple(self._kept),
        )


def text(*parts: str | Output | HostSecret | Template) -> Template:
    """Returns a template made of parts, neighbouring texts joined."""
    joined: list[str | Output | HostSecret] = []
    for part in parts:
        for piece in part if isinstance(part, tuple) else (part,):
            last = joined[-1] if joined else None
            if isinstance(piece, str) and isinstance(last, str):
                joined[-1] = last + piece
            else:
                joined.append(piece)
    return tuple(joined)


def _given(operation: Operation) -> frozenset[str]:
    make = getattr(operation, "make", "")
    return frozenset({"sha256", "public"} if make == "wg-private-key" else {"sha256"})
