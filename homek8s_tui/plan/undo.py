"""Undo is a plan like any other, made from a run's journal and from how things are today."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.model import Plan, Risk, Step
from homek8s_tui.plan.operations import (
    Artefact,
    Await,
    Clear,
    Command,
    File,
    LocalFile,
    Operation,
    Packages,
    Secret,
    Unit,
    User,
)
from homek8s_tui.plan.standing import matches
from homek8s_tui.plan.values import places


@dataclass(frozen=True)
class Undoable:
    """A run that can be taken back."""

    run: str
    """Its name."""
    plan: Plan
    """Its plan."""
    changed: Mapping[int, str]
    """The steps that changed something, with the state each left."""
    folder: Callable[[int], str]
    """Where the machines keep what a step replaced."""


def plan_undo(undoable: Undoable, builder: PlanBuilder, packages: bool) -> None:
    """Plans to take a run back, its last step first.

    What somebody changed since is left alone and said; packages stay unless asked for, since other things may
    have come to need them.

    Args:
        undoable: The run.
        builder: Takes the plan.
        packages: Whether the packages that it installed go too.
    """
    hosts: dict[str, None] = {}
    changed = [step for step in undoable.plan.steps if step.number in undoable.changed]
    # what a command made on a machine goes with it, so nothing else has to be told to that machine
    going = {step.host for step in changed if isinstance(step.operation, Command) and step.operation.undo_script}
    running = {
        step.number: unit
        for step in changed
        if isinstance(step.operation, Unit) and (unit := _as_before(step.operation, step.original)).active
    }
    for stage in reversed(undoable.plan.stages):
        steps = [step for step in changed if step.stage == stage.name]
        name = f"undo/{stage.name.replace('/', '-')}"
        with builder.stage(name, f"Take back: {stage.title}"):
            for step in reversed(steps):
                if step.operation.kind not in (LocalFile.kind, Await.kind):
                    hosts[step.host] = None
                # what ran before is seen to once its files are as they were
                if step.number not in running:
                    _take_back(undoable, step, builder, packages)
        with builder.stage(f"{name}-then", f"What that leaves on other machines: {stage.title}"):
            for step in steps:
                for then in step.operation.undo_then if isinstance(step.operation, Command) else ():
                    if then.host not in going:
                        hosts[then.host] = None
                        _tell(step, then, builder)
    with builder.stage("undo/units", "Let what ran before run with what was put back"):
        for number, unit in running.items():
            builder.ensure(unit, f"step {number} of run {undoable.run} changed it", Risk.DISRUPTIVE)
    with builder.stage("undo/material", "Remove what was kept on the machines"):
        for host in hosts:
            builder.ensure(Clear(host=host, run=undoable.run), "nothing of that run stays", Risk.DESTRUCTIVE)


def _as_before(unit: Unit, original: str) -> Unit:
    enabled, active, *_ = [*original.split(), "", ""]
    running = active == "active"
    return Unit(
        host=unit.host,
        unit=unit.unit,
        enabled=enabled == "enabled",
        active=running,
        # one that stops runs with no file at all
        watch=unit.watch if running else (),
        reload=unit.reload,
    )


def _tell(step: Step, then: Command, builder: PlanBuilder) -> None:
    made = builder.ensure(then, f"taking back step {step.number} leaves it", Risk.DESTRUCTIVE)
    if made.step:
        for sentence in then.destroys:
            builder.destroys(f"{then.host}: {sentence}")


def _take_back(undoable: Undoable, step: Step, builder: PlanBuilder, packages: bool) -> None:
    operation = step.operation
    back = _back(undoable, step, packages)
    if back is None:
        if isinstance(operation, Packages):
            builder.keeps(
                f"{operation.host}: the packages {', '.join(operation.names)} stay installed (--packages removes them)."
            )
        return
    observed = builder.states.get(back.resource.key)
    left = undoable.changed[step.number]
    wanted = back.wanted({})
    if (
        observed is not None
        and isinstance(operation, File | Secret | Artefact | User | LocalFile)
        and not matches(observed.state, left)
        and not (wanted is not None and matches(observed.state, wanted))
    ):
        builder.keeps(
            f"{operation.host}: {operation.kind} {operation.resource.name} was changed since, so it is left alone."
        )
        return
    destructive = isinstance(operation, Secret | Command)
    made = builder.ensure(
        back, f"step {step.number} of run {undoable.run} made it", Risk.DESTRUCTIVE if destructive else Risk.DISRUPTIVE
    )
    if made.step:
        if isinstance(operation, Secret) and operation.copy_of is None:
            builder.destroys(
                f"{operation.host}: the {operation.make.replace('wg-', 'WireGuard ')} in {operation.path}."
            )
        if isinstance(operation, Command):
            for sentence in operation.destroys:
                builder.destroys(f"{operation.host}: {sentence}")


def _back(undoable: Undoable, step: Step, packages: bool) -> Operation | None:
    operation, host = step.operation, step.host
    folder = undoable.folder(step.number)
    if isinstance(operation, File):
        inside = () if operation.content is None else tuple(place.path for place in places(operation.content))
        return File(
            host=host,
            path=operation.path,
            content=None,
            mask=operation.mask,
            restore=folder,
            wanted_state=step.original,
            secrets=tuple(dict.fromkeys((*inside, *operation.secrets))),
        )
    if isinstance(operation, Secret):
        if operation.make == "kubeconfig":
            return None
        return (
            Secret(host=host, path=operation.path, make=operation.make, present=False)
            if step.original == "absent"
            else None
        )
    if isinstance(operation, Packages):
        absent = tuple(word.split("=")[0] for word in step.original.split() if word.endswith("=absent"))
        return Packages(host=host, names=absent, installed=False) if packages and absent else None
    if isinstance(operation, Unit):
        return _as_before(operation, step.original)
    if isinstance(operation, User):
        return User(host=host, user=operation.user, present=False) if step.original == "absent" else None
    if isinstance(operation, Artefact):
        return (
            Artefact(
                host=host,
                path=operation.path,
                url=operation.url,
                sha256=operation.sha256,
                present=False,
                restore=folder,
                wanted_state="" if step.original == "absent" else step.original,
            )
            if step.original == "absent" or step.original.startswith("file ")
            else None
        )
    if isinstance(operation, Command) and operation.undo_script:
        return Command(
            host=host,
            title=f"take back: {operation.title}",
            script=operation.undo_script,
            proof=operation.proof,
            ends=operation.undo_ends,
            arguments=operation.arguments,
        )
    if isinstance(operation, LocalFile):
        return (
            LocalFile(host=host, path=operation.path, context=operation.context, server=operation.server, source=None)
            if step.original == "absent"
            else None
        )
    return None
