"""What was approved, tried and done, synced to the disk before and after each step."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.plan.model import Approval, Plan, decode, encode

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, home TEXT NOT NULL, digest TEXT NOT NULL, plan BLOB NOT NULL, began REAL NOT NULL,
    ended REAL, result TEXT);
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, kind TEXT NOT NULL, step INTEGER NOT NULL,
    at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_of_run ON records (run, sequence);
"""

RunResult = Literal["done", "failed", "unfinished", "superseded"]


class Done(msgspec.Struct, frozen=True):
    """The outcome of a step."""

    result: Literal["changed", "already", "refused", "failed"]
    """What became of it."""
    now: str = ""
    """The resource's state at the end."""
    outputs: tuple[tuple[str, str], ...] = ()
    """Its public values."""
    seconds: float = 0
    """How long it took."""
    trouble: str = ""
    """The sentence, if it failed or was refused."""
    exit_code: int = 0
    """The exit code of that trouble."""
    words: str = ""
    """The end of its output, cleaned."""

    @property
    def well(self) -> bool:
        """Whether the step is behind us."""
        return self.result in ("changed", "already")


@dataclass(frozen=True)
class Record:
    """One line of the journal."""

    kind: str
    """``approved``, ``intent``, ``outcome``, ``proof`` or ``ended``."""
    step: int
    """The step's number, or 0."""
    at: float
    """When, in seconds since the epoch."""
    body: bytes
    """JSON."""


@dataclass(frozen=True)
class RunInfo:
    """A run as a list shows it."""

    id: str
    """Its name."""
    digest: str
    """The digest of its plan."""
    began: float
    """When it was approved."""
    ended: float | None
    """When it ended; None while it is unfinished."""
    result: RunResult
    """How."""
    what: str = ""
    """What was asked for: ``setup``, ``setup (tunnel)``, ``undo of 1a2b3c4d``."""


class _Asked(msgspec.Struct):
    """The head of a plan, of whatever version."""

    intent: Intent
    undoes: str = ""

    def what(self) -> str:
        if self.undoes:
            return f"undo of {one_line(self.undoes, 20)}"
        stages = self.intent.get("stages")
        return one_line(f"{self.intent.kind} ({stages})" if stages else self.intent.kind, 60)


@dataclass
class Run:
    """A run that goes on: what is known of its steps."""

    id: str
    """Its name."""
    plan: Plan
    """Its plan, whole."""
    done: dict[int, Done] = field(default_factory=dict)
    """Steps that are behind us."""
    in_doubt: set[int] = field(default_factory=set)
    """Steps that were begun and have no outcome: nobody knows whether they ran."""
    attempts: dict[int, int] = field(default_factory=dict)
    """How often a step failed."""


def _asked(plan: bytes) -> str:
    try:
        return msgspec.json.decode(plan, type=_Asked).what()
    except msgspec.MsgspecError:
        return "of another version"


class Journal:
    """The journal of one home, in one SQLite file.

    Args:
        path: The file; made 0600 in a folder made 0700.

    Raises:
        Trouble: If it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._guard = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            # NORMAL may lose the last records at a power cut, and with them that a step was begun
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise Trouble(
                "open the journal", str(path), str(error), "Look at the file's owner and at the free space of its disk."
            ) from None

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def open_run(self, plan: Plan, approval: Approval, name: str) -> Run:
        """Begins a run, or goes on with the unfinished one of the same plan.

        Args:
            plan: The approved plan.
            approval: Its approval, the first record.
            name: The name for a new run.
        """
        for info in self.runs(plan.home.name):
            if info.result == "unfinished":
                if info.digest == approval.digest:
                    return self.load(info.id)
                self._close(info.id, "superseded", approval.when)
        with self._transaction():
            self._db.execute(
                "INSERT INTO runs VALUES (?,?,?,?,?,NULL,NULL)",
                (name, plan.home.name, approval.digest, encode(plan), approval.when),
            )
            self._insert(name, "approved", 0, approval.when, approval)
        return Run(name, plan)

    def append(self, run: str, kind: str, step: int, at: float, body: msgspec.Struct) -> None:
        """Writes one record; when this returns it is on the disk.

        Raises:
            Trouble: If it can't be written, so that nothing is done that would not be remembered.
        """
        with self._transaction():
            self._insert(run, kind, step, at, body)

    def end(self, run: str, result: RunResult, at: float) -> None:
        """Closes a run."""
        self._close(run, result, at)

    def runs(self, home: str) -> list[RunInfo]:
        """Returns the runs of a home, newest first."""
        with self._guard:
            rows = self._db.execute(
                "SELECT id, digest, began, ended, result, plan FROM runs WHERE home = ? ORDER BY began DESC, rowid DESC",
                (home,),
            ).fetchall()
        return [
            RunInfo(name, digest, began, ended, result or "unfinished", _asked(plan))
            for name, digest, began, ended, result, plan in rows
        ]

    def load(self, run: str) -> Run:
        """Returns a run with what is known of its steps.

        Raises:
            Trouble: If there is no such run, or another version of this program wrote it.
        """
        with self._guard:
            row = self._db.execute("SELECT plan FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise Trouble(
                f"find run {run}", "the journal", "there is no such run", "'homek8s journal' lists them.", Kind.USAGE
            )
        loaded = Run(run, decode(row[0], f"run {run} of the journal"))
        for record in self.records(run):
            if record.kind == "intent":
                loaded.in_doubt.add(record.step)
            elif record.kind == "outcome":
                loaded.in_doubt.discard(record.step)
                outcome = msgspec.json.decode(record.body, type=Done)
                if outcome.well:
                    loaded.done[record.step] = outcome
                else:
                    loaded.attempts[record.step] = loaded.attempts.get(record.step, 0) + 1
        return loaded

    def records(self, run: str) -> list[Record]:
        """Returns the records of a run, oldest first."""
        with self._guard:
            rows = self._db.execute(
                "SELECT kind, step, at, body FROM records WHERE run = ? ORDER BY sequence", (run,)
            ).fetchall()
        return [Record(*row) for row in rows]

    def _insert(self, run: str, kind: str, step: int, at: float, body: msgspec.Struct) -> None:
        self._db.execute(
            "INSERT INTO records (run, kind, step, at, body) VALUES (?,?,?,?,?)",
            (run, kind, step, at, msgspec.json.encode(body)),
        )

    def _close(self, run: str, result: RunResult, at: float) -> None:
        with self._transaction():
            self._db.execute("UPDATE runs SET ended = ?, result = ? WHERE id = ?", (at, result, run))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guard:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise Trouble(
                    "write the journal",
                    "this console",
                    str(error),
                    "Nothing more was done. Look at the free space of its disk; then 'homek8s resume'.",
                ) from None
