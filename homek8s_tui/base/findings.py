"""What is noticed about a home, and what could be done about it: both are data."""

from __future__ import annotations

import enum

import msgspec


class Severity(enum.Enum):
    """How much a finding matters, worst first."""

    BLOCKER = "blocker"
    """Going on would fail or do harm."""
    WARNING = "warning"
    """It works, and will hurt some day."""
    NOTE = "note"
    """Worth knowing."""


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody wants done; a planner turns it into a plan.

    Forms, the command line, a finding's mend and "plan again" all make the same intents.
    """

    kind: str
    """The planner's name, such as ``setup`` or ``undo``."""
    arguments: tuple[tuple[str, str], ...] = ()
    """Names and values; the planner of that kind decodes them."""

    def get(self, name: str, default: str = "") -> str:
        """Returns the value of an argument, or the default."""
        return dict(self.arguments).get(name, default)


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something noticed, in the operator's words. Holds no callable, so it can be stored and compared."""

    id: str
    """A stable name, such as ``cgroup-v1``; with the subject it is unique."""
    severity: Severity
    """How much it matters."""
    subject: str
    """The machine or thing it is about."""
    what: str
    """What is so, in a sentence."""
    how_we_know: str
    """The observation behind it."""
    do: str = ""
    """What the operator can do, in a sentence."""
    waivable: bool = False
    """Whether the operator may go on in spite of it (``--waive ID`` or ``--waive ID:SUBJECT``)."""
    mend: Intent | None = None
    """The intent whose plan mends it, where there is one."""

    @property
    def name(self) -> str:
        """The finding's full name, as ``--waive`` takes it."""
        return f"{self.id}:{self.subject}"


def worst_first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Returns the findings sorted by severity, then subject."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: (order.index(finding.severity), finding.subject, finding.id)))
