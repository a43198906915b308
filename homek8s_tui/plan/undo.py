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
    for stage in reversed(undoable.plan.stages):
        steps = [step for step in undoable.plan.steps if step.stage == stage.name and step.number in undoable.changed]
        with builder.stage(f"undo/{stage.name.replace('/', '-')}", f"Take back: {stage.title}"):
            for step in reversed(steps):
                if step.operation.kind not in (LocalFile.kind, Await.kind):
                    hosts[step.host] = None
                _take_back(undoable, step, builder, packages)
    with builder.stage("undo/material", "Remove what was kept on the machines"):
        for host in hosts:
            builder.ensure(Clear(host=host), "nothing of ours stays", Risk.DESTRUCTIVE)


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
        enabled, active, *_ = [*step.original.split(), "", ""]
        return Unit(
            host=host,
            unit=operation.unit,
            enabled=enabled == "enabled",
            active=active == "active",
            reload=operation.reload,
        )
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
                folders=folder,
            )
            if step.original == "absent"
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
