"""What is sent to a machine and what comes back, as data."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

STATE_FOLDER = "/var/lib/homek8s"
"""Where a machine keeps what belongs to us: jobs and undo material, 0700."""


class Question(msgspec.Struct, frozen=True):
    """A read-only script and its arguments.

    A room's ``facts.py`` makes questions and parses their answers; questions of one machine travel together.
    """

    name: str
    """Unique among the questions of one exchange."""
    script: str
    """The script's name in ``hosts/scripts``, without its ending."""
    arguments: tuple[str, ...] = ()
    """Positional arguments; never secret."""
    seconds: int = 10
    """How long it may take on the machine."""


@dataclass(frozen=True)
class Answer:
    """What a question's script said."""

    status: int
    """Its exit status; 124 is its time limit."""
    output: str
    """Its standard output."""
    errors: str = ""
    """Its standard error."""


Answers = Mapping[str, Answer]
"""Answers by the question's name."""


@dataclass(frozen=True)
class Change:
    """A short, atomic change of one resource, which the machine compares before it makes it."""

    kind: str
    """Which change: ``file``, ``secret``, ``unit``, ``user``, ``artefact`` or ``material``."""
    state: tuple[str, ...]
    """The arguments of the resource's state, its name first."""
    before: str
    """The state to start from, as a pattern in which ``*`` stands for anything."""
    after: str
    """The state to end in, likewise."""
    arguments: tuple[str, ...] = ()
    """The kind's own arguments."""
    undo: str = ""
    """The folder on the machine that keeps what the change replaces; empty for nothing to keep."""
    payload: str = field(default="", repr=False)
    """Text for the change, such as a file's content; may hold secrets."""
    stream: Path | None = None
    """A local file whose bytes follow, for what is too large for a payload."""
    seconds: int = 60
    """How long it may take on the machine."""


Result = Literal["changed", "already", "refused"]


@dataclass(frozen=True)
class Outcome:
    """What became of a change."""

    result: Result
    """``refused`` means that the state was neither the one before nor the one after."""
    now: str
    """The resource's state at the end."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Public values that the change found or made, by name."""


@dataclass(frozen=True)
class Job:
    """A long command, run at most once as a transient unit of the machine's systemd."""

    id: str
    """Names the unit and the folder whose making is the at-most-once token."""
    script: str
    """The script's name in ``hosts/scripts``, without its ending."""
    arguments: tuple[str, ...]
    """Positional arguments; never secret."""
    state_kind: str
    """Which state script tells whether the job is still needed."""
    state: tuple[str, ...]
    """That script's arguments."""
    before: str
    """The state to start from, as a pattern."""
    after: str
    """The state to end in, as a pattern."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Lines for the job's standard input."""


Started = Literal["started", "attached", "already", "refused"]


@dataclass(frozen=True)
class Chunk:
    """A piece of a job's output."""

    offset: int
    """Where the next piece begins, in bytes."""
    text: str
    """The piece."""


@dataclass(frozen=True)
class Ended:
    """The end of a job."""

    status: int | None
    """Its exit status; None when the machine no longer runs it and it left none (a power cut)."""


@dataclass
class Cancel:
    """A request to stop, made from another thread."""

    _event: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Asks for the stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the stop was asked for."""
        return self._event.is_set()
