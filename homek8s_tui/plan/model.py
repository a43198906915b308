"""The plan: what an operator approves and what the engine runs, whole and frozen."""

from __future__ import annotations

import enum
import hashlib

import msgspec

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.checks import Check
from homek8s_tui.plan.operations import Operation, Resource
from homek8s_tui.plan.values import Output

SCHEMA = 1
"""The version of the plan's own format; a journal of another one is refused in a sentence."""


class Risk(enum.Enum):
    """What a step may do to what already runs."""

    SAFE = "safe"
    """Nothing that runs notices."""
    DISRUPTIVE = "disruptive"
    """Something that runs is interrupted for a moment."""
    DESTRUCTIVE = "destructive"
    """Something is lost for good."""


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps that may run side by side on different machines. A stage begins when the one before has ended."""

    name: str
    """``part/what``, such as ``tunnel/keys``; the part can be run alone."""
    title: str
    """What it does, for people."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One approved change of one resource."""

    number: int
    """Its number in the plan, from 1."""
    stage: str
    """The name of its stage."""
    operation: Operation
    """What is done."""
    before: str
    """The pattern of states it may start from."""
    because: str
    """Why, in a few words."""
    risk: Risk = Risk.SAFE
    """What it may do to what already runs."""
    shown_before: str = ""
    """The file's text now, masked, for the diff."""
    original: str = ""
    """The state at planning time, which an undo goes back to; empty where it could not be known."""

    @property
    def host(self) -> str:
        """The machine whose lane it runs in."""
        return self.operation.host


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What already is as it should be, so that no step is needed. It must still be so when the plan is applied."""

    resource: Resource
    """What."""
    state: str
    """The pattern that its state fits."""
    because: str
    """Why it matters, in a few words."""


class Premise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fact that a decision of the planner rests on and that no step changes."""

    host: str
    """The machine."""
    name: str
    """``room.field`` of its settled facts."""
    value: str
    """What it was."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that will happen, in order, and everything it rests on."""

    schema: int
    """The version of this format."""
    home: Home
    """The inventory it was made from: an edit between a kill and a resume does not change the run."""
    intent: Intent
    """What was asked for."""
    stages: tuple[Stage, ...]
    """In order."""
    steps: tuple[Step, ...]
    """In order of stage, machine and number."""
    held: tuple[Held, ...]
    """What needs no step."""
    premises: tuple[Premise, ...]
    """What the planner's decisions rest on."""
    proofs: tuple[Check, ...]
    """What is verified at the end."""
    findings: tuple[Finding, ...] = ()
    """What was noticed; a blocker that is not waived means that there is nothing to approve."""
    checksums: tuple[tuple[str, str], ...] = ()
    """New checksums to be written into the inventory once this is approved, by the download's key."""
    undoes: str = ""
    """The run that this plan takes back."""
    destroys: tuple[str, ...] = ()
    """What is lost for good, in sentences; the home's name is asked for."""
    kept: tuple[str, ...] = ()
    """What an undo leaves alone, and why."""
    shown_outputs: tuple[tuple[Output, str], ...] = ()
    """Outputs that were known when it was made, for the review."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the plan, which an approval names."""
        return hashlib.sha256(encode(self)).hexdigest()

    def blockers(self, waived: frozenset[str]) -> tuple[Finding, ...]:
        """Returns the blocking findings that are not waived."""
        return tuple(
            finding
            for finding in self.findings
            if finding.severity is Severity.BLOCKER and not (finding.waivable and waived & {finding.id, finding.name})
        )


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's word that a plan may run; the first record of its journal."""

    digest: str
    """The digest of the approved plan."""
    who: str
    """Who approved it."""
    when: float
    """When, in seconds since the epoch."""
    waived: tuple[str, ...] = ()
    """The findings that were waived."""


def encode(plan: Plan) -> bytes:
    """Returns the plan as canonical JSON."""
    return msgspec.json.encode(plan, order="deterministic")


def decode(data: bytes, source: str) -> Plan:
    """Reads a plan that may come from anybody.

    Args:
        data: JSON.
        source: Where it came from, for the error.

    Raises:
        Trouble: If it is no plan of this version.
    """
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Trouble(
            "read the plan", source, one_line(str(error)), "Make it again with 'homek8s plan'.", Kind.USAGE
        ) from None
    if plan.schema != SCHEMA:
        raise Trouble(
            "read the plan",
            source,
            f"it has format {plan.schema} and this program reads {SCHEMA}",
            "Make it again with 'homek8s plan'.",
            Kind.USAGE,
        )
    return plan
