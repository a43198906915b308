"""Facts in two halves: what a plan may rest on, and what only gets judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from homek8s_tui.base.known import Known, Unreachable
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Answers, Question


@dataclass(frozen=True)
class RoomFacts:
    """What one room knows of one machine."""

    settled: msgspec.Struct
    """What stays until somebody changes it: may be a reason for a step."""
    live: msgspec.Struct | None = None
    """Ages, counters, free space: judged, never a reason for a step."""


HostFacts = Mapping[str, RoomFacts]
"""A machine's facts, by room."""


@dataclass(frozen=True)
class Facts:
    """Everything observed."""

    hosts: Mapping[str, Known[HostFacts]]
    """By machine; what could not be observed is there as `Unreachable`."""
    checksums: Mapping[str, str]
    """Learnt checksums by the download's key."""
    now: float
    """When the last answer came, in seconds since the epoch."""
    began: float
    """When the asking began: an answer may have been made at any time since."""

    def of(self, host: str, room: str) -> RoomFacts | None:
        """Returns a room's facts of a machine, or None if it could not be observed."""
        known = self.hosts.get(host)
        if known is None or isinstance(known, Unreachable):
            return None
        return known.value.get(room)

    def unreachable(self) -> Mapping[str, Unreachable]:
        """Returns the machines that could not be observed."""
        return {host: known for host, known in self.hosts.items() if isinstance(known, Unreachable)}


@dataclass(frozen=True)
class Room:
    """A room's first door: what it asks of each machine and how it reads the answers."""

    name: str
    """The room's name."""
    questions: Callable[[Home], Mapping[str, tuple[Question, ...]]]
    """Questions by machine."""
    parse: Callable[[Home, str, Answers], RoomFacts]
    """Reads one machine's answers."""
