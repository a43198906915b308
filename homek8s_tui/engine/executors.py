"""How each operation is carried out. Nothing else in the program changes a machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from homek8s_tui.base.safe_text import clean, one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine.observe import ask_states
from homek8s_tui.engine.world import World
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.doer import Doer
from homek8s_tui.hosts.model import STATE_FOLDER, Cancel, Change, Chunk, Ended, Job, Outcome
from homek8s_tui.plan.checks import Check, Verdict
from homek8s_tui.plan.model import Step
from homek8s_tui.plan.operations import (
    Artefact,
    Await,
    Clear,
    Command,
    File,
    LocalFile,
    Operation,
    Packages,
    Resource,
    Secret,
    Unit,
    User,
)
from homek8s_tui.plan.standing import Standing, matches, standing
from homek8s_tui.plan.values import HostCommand, HostSecret, Outputs, checked, fill, holes

_REATTACH_SECONDS = 60.0
_LAST_LINES = 12
_ASK_AGAIN = 0.5


@dataclass
class Work:
    """One step being carried out."""

    world: World
    """The outside."""
    home: Home
    """The plan's inventory."""
    run: str
    """The run's name."""
    step: Step
    """The step."""
    chain: tuple[Step, ...]
    """All steps of the plan on its resource, in order."""
    attempt: int
    """How often it failed before; a part of its job's name."""
    begun: bool
    """Whether it was begun before and nobody knows how that ended."""
    outputs: Outputs
    """The outputs so far."""
    say: Callable[[str], None]
    """Takes lines of a job's output, cleaned."""
    cancel: Cancel
    """The request to stop."""
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    """The last lines a job said."""


def carry_out(work: Work) -> Outcome:
    """Carries out a step.

    Raises:
        Trouble: If it could not be done; its `kind` tells drift from failure.
    """
    if len(work.chain) > 1:
        # a change's script compares with its own two states only; a longer chain is judged here, from its end
        now = _now(work)
        if standing(work.chain, now, work.outputs, work.chain.index(work.step)) is Standing.AFTER:
            return Outcome("already", now)
    operation = work.step.operation
    if isinstance(operation, Packages | Command) or (
        isinstance(operation, Artefact) and operation.by_host and operation.present
    ):
        return _run_job(work)
    if isinstance(operation, Await):
        return _await(work, operation)
    if isinstance(operation, LocalFile):
        return _edit_kubeconfig(work, operation)
    outcome = _doer(work).change(_change(work, operation))
    gives = dict(operation.gives)
    return Outcome(
        outcome.result,
        outcome.now,
        {
            name: checked(gives[name], value, f"{name} of {operation.resource.name}", operation.host)
            for name, value in outcome.outputs.items()
            if name in gives and value
        },
    )


def judge(world: World, home: Home, check: Check) -> Verdict:
    """Looks once and judges."""
    seen = tuple(world.prober.look(probe, home) for probe in check.probes)
    for look in seen:
        if "trouble" in look:
            return Verdict("fails", look["trouble"])
    return world.judges[check.judge](check, seen, world.clock.now())


def wait_until(world: World, home: Home, check: Check, cancel: Cancel) -> Verdict:
    """Looks again and again until the check holds or its time is up; returns the last verdict."""
    end = world.clock.monotonic() + check.within
    while True:
        verdict = judge(world, home, check)
        if verdict.state != "fails" or world.clock.monotonic() >= end or cancel.cancelled:
            return verdict
        world.clock.wait(_ASK_AGAIN)


def undo_folder(run: str, step: int) -> str:
    """Returns the folder in which a machine keeps what a step replaces."""
    return f"{STATE_FOLDER}/undo/{run}/{step}"


def _change(work: Work, operation: Operation) -> Change:
    after = _after(work)
    undo = undo_folder(work.run, work.step.number)
    arguments: tuple[str, ...] = ()
    payload = ""
    stream = None
    seconds = 60
    if isinstance(operation, File):
        action = operation.restore or ("remove" if operation.content is None else "write")
        undo = "" if operation.restore else undo
        arguments = (action, operation.mode, operation.owner, operation.group)
        payload = (fill(operation.content, work.outputs) or "") if operation.content is not None else ""
    elif isinstance(operation, Secret):
        undo = ""
        if operation.present and operation.copy_of is not None:
            arguments = ("copy",)
            payload = _doer(work, operation.copy_of.host).read_secret(operation.copy_of.path).reveal()
        else:
            arguments = ("make" if operation.present else "remove",)
    elif isinstance(operation, Unit):
        undo, seconds = "", 240
        arguments = (_yes(operation.enabled), _yes(operation.active), "reload" if operation.reload else "restart")
    elif isinstance(operation, User):
        undo = ""
        arguments = ("make" if operation.present else "remove", operation.shell, operation.home)
    elif isinstance(operation, Artefact):
        if operation.present:
            arguments, seconds = ("put", operation.sha256, operation.member, operation.mode), 900
            stream = work.world.fetcher.download(operation.url, operation.sha256)
        else:
            arguments, undo = ("restore", operation.restore), ""
    elif isinstance(operation, Clear):
        undo = ""
    return Change(operation.kind, operation.state(), work.step.before, after, arguments, undo, payload, stream, seconds)


def _run_job(work: Work) -> Outcome:
    operation, after = work.step.operation, _after(work)
    attempt = work.attempt
    while True:
        identity = f"{work.run}-{work.step.number}-{attempt}"
        job = _job(work, operation, identity, after)
        if job is None:
            return Outcome("already", _now(work))
        doer = _doer(work)
        started, now = doer.start(job)
        if started == "already":
            return Outcome("already", now)
        if started == "refused":
            return Outcome("refused", now)
        status = _follow(work, doer, identity)
        now = _now(work)
        if matches(now, after):
            return Outcome("changed", now)
        words = "\n".join(work.last)
        if status is None and attempt == work.attempt and getattr(operation, "repeatable", True):
            # the machine went down in the middle of it; what it left allows another try
            attempt += 1
            continue
        if status is None:
            raise Trouble(
                _title(operation),
                operation.host,
                f"the machine stopped in the middle of it and the state is now '{now}'",
                "Look at the machine; it is not run again blindly.",
            )
        if status:
            raise Trouble(
                _title(operation),
                operation.host,
                f"it ended with status {status}. Its last words: {words or 'none'}",
                "Mend the cause; then 'homek8s resume' goes on here.",
            )
        raise Trouble(
            _title(operation),
            operation.host,
            f"it ended well, but the state is '{now}' and not '{after}'. Its last words: {words or 'none'}",
            "Look at the machine; then 'homek8s resume' goes on here.",
        )


def _job(work: Work, operation: Operation, identity: str, after: str) -> Job | None:
    script = "packages"
    arguments: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    if isinstance(operation, Packages):
        arguments = ("install" if operation.installed else "remove", *operation.names)
    elif isinstance(operation, Artefact):
        script = "download"
        arguments = (
            operation.path,
            operation.url,
            operation.sha256,
            operation.member,
            operation.mode,
            undo_folder(work.run, work.step.number),
        )
    elif isinstance(operation, Command):
        script, arguments = operation.script, operation.arguments
        if operation.secrets and not _was_started(work, identity):
            if matches(_now(work), after):
                return None
            # made only now, and only for a job that will start: a token must not be made twice
            secrets = tuple(_reveal(work, secret) for secret in operation.secrets)
    return Job(identity, script, arguments, operation.state_kind, operation.state(), work.step.before, after, secrets)


def _was_started(work: Work, identity: str) -> bool:
    if not work.begun:
        return False
    resource = Resource(work.step.host, "job", (identity,))
    return ask_states(work.world, [resource])[resource.key].state == "present"


def _reveal(work: Work, secret: HostCommand | HostSecret) -> str:
    doer = _doer(work, secret.host)
    if isinstance(secret, HostSecret):
        return doer.read_secret(secret.path).reveal().strip("\n")
    try:
        return doer.run_secret(secret.script, secret.arguments).reveal().strip("\n")
    except Trouble as trouble:
        # it stops this step, whichever machine it should have come from
        raise Trouble(
            f"get the {secret.of} for '{_title(work.step.operation)}'",
            trouble.where,
            trouble.came_back,
            trouble.do if trouble.kind is Kind.UNREACHABLE else "Mend that; then 'homek8s resume' goes on here.",
            trouble.kind,
        ) from None


def _follow(work: Work, doer: Doer, identity: str) -> int | None:
    offset = 0
    rest = ""
    gone_since: float | None = None
    while True:
        try:
            for piece in doer.follow(identity, offset, work.cancel):
                gone_since = None
                if isinstance(piece, Ended):
                    _hear(work, rest)
                    return piece.status
                if isinstance(piece, Chunk):
                    offset = piece.offset
                    *lines, rest = (rest + piece.text).split("\n")
                    for line in lines:
                        _hear(work, line)
        except Trouble as trouble:
            if trouble.kind is not Kind.UNREACHABLE:
                raise
            # the job goes on without us; it is followed again from where we were
            now = work.world.clock.monotonic()
            gone_since = gone_since if gone_since is not None else now
            if now - gone_since > _REATTACH_SECONDS:
                raise
            work.say(f"connection lost, trying again: {one_line(trouble.came_back)}")
            work.world.clock.wait(1)
        if work.cancel.cancelled:
            raise Trouble(
                _title(work.step.operation),
                work.step.host,
                "it was asked to stop waiting; the machine goes on with it",
                "'homek8s resume' takes it up again where it is then.",
            )


def _hear(work: Work, line: str) -> None:
    # of a line that draws itself over and over, as a progress bar does, its last state is what it says
    line = clean(line.rstrip("\r").rsplit("\r", 1)[-1], 500).strip()
    if line:
        work.last.append(line)
        work.say(line)


def _await(work: Work, operation: Await) -> Outcome:
    verdict = wait_until(work.world, work.home, operation.check, work.cancel)
    if verdict.state == "fails":
        raise Trouble(f"see that {operation.check.title}", operation.host, verdict.words, operation.check.explain)
    return Outcome("changed", "holds")


def _edit_kubeconfig(work: Work, operation: LocalFile) -> Outcome:
    after = _after(work)
    now = work.world.local.state(operation.path, operation.context)
    if matches(now, after):
        return Outcome("already", now)
    if not matches(now, work.step.before):
        return Outcome("refused", now)
    if operation.source is None:
        work.world.local.remove(operation.path, operation.context)
    else:
        source = _doer(work, operation.source.host).read_secret(operation.source.path)
        work.world.local.put(operation.path, operation.context, operation.server, source.reveal())
    now = work.world.local.state(operation.path, operation.context)
    if not matches(now, after):
        raise Trouble(
            "merge the kubeconfig",
            operation.path,
            f"the context came out as '{now}' and not '{after}'",
            "Look at the file; then plan again.",
        )
    return Outcome("changed", now)


def _now(work: Work) -> str:
    resource = work.step.operation.resource
    return ask_states(work.world, [resource])[resource.key].state


def _after(work: Work) -> str:
    after = work.step.operation.wanted(work.outputs)
    if after is None:
        content = getattr(work.step.operation, "content", None) or ()
        missing = ", ".join(hole.of for hole in holes(content)) or "a value"
        raise Trouble(
            _title(work.step.operation),
            work.step.host,
            f"{missing} is not known",
            "An earlier step did not give it; plan again.",
        )
    return after


def _doer(work: Work, host: str | None = None) -> Doer:
    if work.world.doers is None:
        raise Trouble(
            "change anything",
            host or work.step.host,
            "this is a read-only session",
            "Start it without --read-only.",
            Kind.USAGE,
        )
    return work.world.doers[host or work.step.host]


def _title(operation: Operation) -> str:
    return operation.title if isinstance(operation, Command) else f"set {operation.kind} {operation.resource.name}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
