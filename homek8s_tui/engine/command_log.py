"""Every exchange with a machine, with its timing: what was asked and done, for whoever wants to look over our shoulder.

Nothing secret can get in here: a question's arguments are public by contract, of a change only kind and name are kept,
and what a machine answered is not kept at all.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from homek8s_tui.base.clock import Clock
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.hosts.doer import Doer
from homek8s_tui.hosts.host import Asker, ByteStream
from homek8s_tui.hosts.model import Answers, Cancel, Change, Chunk, Ended, Job, Outcome, Question, Started

_MOST = 2000


@dataclass
class Entry:
    """One exchange."""

    at: float
    """When it began, in seconds since the epoch."""
    host: str
    """With which machine."""
    what: str
    """What was asked or done."""
    seconds: float | None = None
    """How long it took; None while it goes on."""
    trouble: str = ""
    """What came back, if it failed."""


@dataclass
class CommandLog:
    """The newest exchanges, oldest first. Several threads write, anybody reads.

    Args:
        clock: The one clock.
    """

    clock: Clock
    """The one clock."""
    dropped: int = 0
    """How many older ones were let go."""
    moved: Callable[[], None] = lambda: None
    """Called after every change, from any thread."""
    _entries: deque[Entry] = field(default_factory=deque)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def entries(self) -> tuple[Entry, ...]:
        """Returns what is kept."""
        with self._guard:
            return tuple(self._entries)

    def current(self) -> dict[str, Entry]:
        """Returns what goes on now, by machine."""
        return {entry.host: entry for entry in self.entries() if entry.seconds is None}

    @contextlib.contextmanager
    def noted(self, host: str, what: str) -> Iterator[None]:
        """Notes what is done inside."""
        entry = Entry(self.clock.now(), host, one_line(what, 1000))
        began = self.clock.monotonic()
        with self._guard:
            if len(self._entries) == _MOST:
                self._entries.popleft()
                self.dropped += 1
            self._entries.append(entry)
        self.moved()
        try:
            yield
        except (Trouble, OSError) as trouble:
            entry.trouble = one_line(str(trouble), 1000)
            raise
        finally:
            entry.seconds = self.clock.monotonic() - began
            self.moved()


class _Both(Asker, Doer, Protocol):
    """What a machine of the world is: its asker is its doer as well, where it has one."""


class Noted:
    """A machine whose exchanges are noted; an `Asker` and a `Doer`.

    Args:
        machine: The machine.
        log: Where they are noted.
        name: What it is called there.
    """

    def __init__(self, machine: _Both, log: CommandLog, name: str) -> None:
        self._machine = machine
        self._log = log
        self._name = name

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self._name

    def ask(self, questions: Sequence[Question], seconds: float = 30) -> Answers:
        """Asks; see `homek8s_tui.hosts.host.Asker.ask`."""
        # the states of files alone fill pages, and their names are in the plan
        asked = ", ".join(
            question.script
            if question.script.startswith("state-")
            else " ".join((question.script, *question.arguments)).strip()
            for question in questions
        )
        with self._log.noted(self.name, f"ask {asked}" if asked else "log in"):
            return self._machine.ask(questions, seconds)

    def dial(self, address: str, port: int, seconds: float = 5) -> ByteStream:
        """Connects from there; see `homek8s_tui.hosts.host.Asker.dial`."""
        with self._log.noted(self.name, f"connect to {address}:{port} from there"):
            return self._machine.dial(address, port, seconds)

    def change(self, change: Change) -> Outcome:
        """Changes; see `homek8s_tui.hosts.doer.Doer.change`."""
        with self._log.noted(self.name, f"change {change.kind} {change.state[0]}"):
            return self._machine.change(change)

    def start(self, job: Job) -> tuple[Started, str]:
        """Starts a job; see `homek8s_tui.hosts.doer.Doer.start`."""
        with self._log.noted(self.name, f"start {' '.join((job.script, *job.arguments))}"):
            return self._machine.start(job)

    def follow(self, job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
        """Follows a job; see `homek8s_tui.hosts.doer.Doer.follow`."""
        with self._log.noted(self.name, f"follow {job}"):
            yield from self._machine.follow(job, offset, cancel)

    def read_secret(self, path: str) -> Secret:
        """Reads a secret's place; see `homek8s_tui.hosts.doer.Doer.read_secret`."""
        with self._log.noted(self.name, f"read the secret {path}"):
            return self._machine.read_secret(path)

    def run_secret(self, script: str, arguments: tuple[str, ...]) -> Secret:
        """Runs what makes a secret; see `homek8s_tui.hosts.doer.Doer.run_secret`."""
        with self._log.noted(self.name, f"run {' '.join((script, *arguments))}"):
            return self._machine.run_secret(script, arguments)
