"""What a front end does with a home: look, plan, approve, apply, remember. The screens and the command line share it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from homek8s_tui.base.clock import Clock
from homek8s_tui.base.findings import Intent
from homek8s_tui.base.troubles import EXIT_CODES, Kind, Trouble
from homek8s_tui.engine.command_log import CommandLog
from homek8s_tui.engine.events import Event, RunEnded
from homek8s_tui.engine.journal import Done, Journal, Record, Run, RunInfo
from homek8s_tui.engine.observe import Planner, make_plan, observe
from homek8s_tui.engine.progress import Progress
from homek8s_tui.engine.run import ApplyRun
from homek8s_tui.engine.undo import make_undo, newest_undoable
from homek8s_tui.engine.world import World
from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Home, Node, Proxy
from homek8s_tui.hosts.host import Asker
from homek8s_tui.hosts.model import Answers, Question
from homek8s_tui.plan.facts import Facts, Room
from homek8s_tui.plan.model import Approval, Plan


@dataclass(frozen=True)
class Found:
    """A machine that answers SSH on the local network."""

    address: str
    """Its address."""
    says: str
    """The greeting of its sshd, cleaned."""
    maker: str = ""
    """Who made its network card, where that is known: ``Raspberry Pi``."""
    name: str = ""
    """Its name in the local DNS, or empty."""


@dataclass(frozen=True)
class Ways:
    """How the service reaches the outside; wiring makes it, real or rehearsed."""

    world: Callable[[Home], World]
    """The world of a home; asked again for the same machines, it keeps their connections."""
    machine: Callable[[Proxy | Node, Sequence[Proxy | Node]], Asker]
    """One machine among others that it may be reached through, also of a home that is not declared yet; its connection
    is the one that `world` uses later."""
    planners: Mapping[str, Callable[[Home], Planner]]
    """The planners by the intent's kind."""
    rooms: Sequence[Room]
    """Every room that asks anything."""
    find: Callable[[str], Iterator[Found]]
    """Looks for machines in a subnet."""
    lan: Callable[[], str]
    """The subnet that this console is in, or empty."""
    journal: Path
    """The journal's file."""
    clock: Clock
    """The one clock."""
    log: CommandLog
    """Every exchange with a machine."""
    trust: Callable[[Sequence[Proxy | Node], str], None]
    """Forgets a pinned host key and connects, so that the next one is shown and pinned: of one of these machines, or of
    a jump host before them."""
    close: Callable[[], None]
    """Closes every connection, at once."""


class Service:
    """A home's service. Its methods may take their time and raise `Trouble`; call them where that does not matter.

    Args:
        ways: How the outside is reached.
        path: The inventory; it need not exist yet.
    """

    def __init__(self, ways: Ways, path: Path) -> None:
        self.ways = ways
        self.path = path
        """The inventory."""
        self.live: LiveRun | None = None
        """The run of this process that is under way or ended last."""
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._journal: Journal | None = None

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self.ways.clock

    @property
    def log(self) -> CommandLog:
        """Every exchange with a machine."""
        return self.ways.log

    def home(self) -> Home:
        """Reads the inventory."""
        return inventory.load(self.path)

    def look(self, home: Home, rooms: Sequence[Room]) -> Facts:
        """Observes a home, one exchange a machine."""
        return observe(self.ways.world(home), home, rooms)

    def ask(self, machine: Proxy | Node, questions: Sequence[Question], among: Sequence[Proxy | Node] = ()) -> Answers:
        """Asks one machine, logging in if need be: the test of a login that was just typed.

        Args:
            machine: The machine.
            questions: What to ask; with none, only the login is tried.
            among: The other machines, which it may be reached through.
        """
        return self.ways.machine(machine, among).ask(questions)

    def trust(self, machines: Sequence[Proxy | Node], name: str) -> None:
        """Forgets a pinned host key and connects, so that the next one is shown and asked about."""
        self.ways.trust(machines, name)

    def find(self, subnet: str) -> Iterator[Found]:
        """Looks for machines in a subnet."""
        return self.ways.find(subnet)

    def plan(self, home: Home, intent: Intent) -> Plan:
        """Plans what an intent asks for.

        Args:
            home: The home.
            intent: ``undo`` with ``run`` (or the newest that can be) and ``packages``, or one that a room knows.
        """
        world = self.ways.world(home)
        if intent.kind == "undo":
            name = intent.get("run")
            run = self.journal.load(name) if name else newest_undoable(self.journal, home.name)
            return make_undo(world, run, intent.get("packages") == "yes")
        if intent.kind not in self.ways.planners:
            raise Trouble(
                f"plan '{intent.kind}'", "", "nothing here knows how", "Is it from a newer version?", Kind.USAGE
            )
        chosen = tuple(filter(None, intent.get("stages").split(",")))
        return make_plan(world, home, intent, self.ways.planners[intent.kind](home), chosen)

    def begin(self, plan: Plan, waived: Sequence[str] = ()) -> LiveRun:
        """Approves a plan and makes its run, which goes on when `LiveRun.run` is called.

        Raises:
            Trouble: If a run is under way already, or the checksums can't be pinned in the inventory.
        """
        world = self.ways.world(plan.home)
        if world.doers is None:
            raise Trouble("apply the plan", "", "nothing may be changed: this is read-only", "Leave --read-only out.")
        with self._turn:
            self._refuse_a_second()
            if plan.checksums and not plan.undoes:
                inventory.save_checksums(self.path, dict(plan.checksums))
            approval = Approval(plan.digest, world.who, world.clock.now(), tuple(waived))
            self.live = LiveRun(self, plan, approval, {})
            return self.live

    def unfinished(self, home: Home) -> Run | None:
        """Returns the run of a home that was not finished, or None."""
        info = next((run for run in self.journal.runs(home.name) if run.result == "unfinished"), None)
        return self.journal.load(info.id) if info else None

    def resume(self, run: Run) -> LiveRun:
        """Goes on with an unfinished run, as it was approved.

        Raises:
            Trouble: If a run is under way already.
        """
        if not any(info.id == run.id and info.result == "unfinished" for info in self.journal.runs(run.plan.home.name)):
            raise Trouble(f"go on with run {run.id}", "", "it is not unfinished any more", "Plan again.", Kind.USAGE)
        run = self.journal.load(run.id)
        record = next(record for record in self.journal.records(run.id) if record.kind == "approved")
        with self._turn:
            self._refuse_a_second()
            self.live = LiveRun(self, run.plan, msgspec.json.decode(record.body, type=Approval), run.done)
            return self.live

    def runs(self, home: Home) -> list[RunInfo]:
        """Returns a home's runs, newest first."""
        return self.journal.runs(home.name)

    def records(self, run: str) -> tuple[Run, list[Record]]:
        """Returns a run and everything that is remembered of it."""
        return self.journal.load(run), self.journal.records(run)

    def read_draft(self) -> bytes | None:
        """Returns what was typed for this inventory and not saved yet, or None."""
        try:
            return self._draft().read_bytes()
        except OSError:
            return None

    def write_draft(self, draft: bytes | None) -> None:
        """Keeps what was typed for this inventory until it is saved; None forgets it."""
        path = self._draft()
        # the inventory itself will say what can't be written; a draft is a courtesy
        with contextlib.suppress(OSError):
            if draft is None:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(draft)

    def _draft(self) -> Path:
        name = hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:12]
        return self.ways.journal.parent / f"draft-{name}.json"

    @property
    def journal(self) -> Journal:
        """The journal, opened at its first use."""
        with self._guard:
            if self._journal is None:
                self._journal = Journal(self.ways.journal)
            return self._journal

    def _refuse_a_second(self) -> None:
        if self.live is not None and self.live.progress.ended is None:
            raise Trouble("apply the plan", "this console", "another run of it is under way", "Wait for it to end.")


class LiveRun:
    """A run of this process. It goes on whoever watches it.

    Args:
        service: Whose it is.
        plan: What is carried out.
        approval: Its approval.
        done: What an interrupted run had done already.
    """

    def __init__(self, service: Service, plan: Plan, approval: Approval, done: Mapping[int, Done]) -> None:
        self._clock = service.clock
        self._apply = ApplyRun(
            plan, approval, service.ways.world(plan.home), service.journal, service.ways.rooms, self._take
        )
        self.progress = Progress(plan, done)
        """How it stands."""
        self.waived = approval.waived
        """The findings that were waived."""
        self.began = service.clock.now()
        """When, in seconds since the epoch."""
        self.watch: Callable[[Event], None] = lambda _event: None
        """Called with each event, from any thread; one that comes later reads `progress` first."""
        self.stopping = False
        """Whether it was asked to stop."""

    def now(self) -> float:
        """Returns the time by the run's clock, in seconds since the epoch."""
        return self._clock.now()

    def run(self) -> RunEnded:
        """Carries the plan out; a trouble is how it ended, too.

        Raises:
            Exception: An error of the program's own; the run has ended all the same, and can be gone on with.
        """
        began = self._clock.monotonic()
        try:
            return self._apply.run()
        except Trouble as trouble:
            ended = RunEnded("failed", trouble.exit_code, self._clock.monotonic() - began, str(trouble))
            self._take(ended)
            return ended
        except Exception:
            exit_code = EXIT_CODES[Kind.FAILED]
            self._take(
                RunEnded("unfinished", exit_code, self._clock.monotonic() - began, "It met an error of its own.")
            )
            raise

    def stop(self) -> None:
        """Asks it to stop: the steps that run are finished, no further one begins."""
        self.stopping = True
        self._apply.cancel.cancel()

    def _take(self, event: Event) -> None:
        self.progress.take(event)
        try:
            self.watch(event)
        except Exception:  # noqa: BLE001 - whoever watches may be gone, such as a closed pipe: the run is not
            self.watch = lambda _event: None
