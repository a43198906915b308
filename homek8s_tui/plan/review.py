"""The plan as people read it before they approve it: exactly what will run, in order, and how it is taken back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from homek8s_tui.base.findings import worst_first
from homek8s_tui.base.safe_text import clean, one_line
from homek8s_tui.plan.model import Plan, Step
from homek8s_tui.plan.operations import Artefact, Await, Command, File, LocalFile, Packages, Secret, Unit, User
from homek8s_tui.plan.values import place_mark, show

_MOST_CHARACTERS = 1 << 20


def review(plan: Plan) -> str:
    """Returns the whole plan as text, harmless for a terminal: a plan's file may come from anybody."""
    return "\n".join(clean(line, _MOST_CHARACTERS) for line in lines(plan)) + "\n"


def lines(plan: Plan) -> Iterator[str]:
    """Yields the plan line by line."""
    yield f"Plan: {plan.intent.kind} of {plan.home.name}"
    for finding in worst_first(plan.findings):
        waive = f" (--waive {finding.id})" if finding.waivable else ""
        sentences = clean(f"{finding.what} {finding.how_we_know} {finding.do}").strip()
        yield f"  {finding.severity.value.upper()} {finding.subject}: {sentences}{waive}"
    for sentence in plan.destroys:
        yield f"  DESTROYS {sentence}"
    for stage in plan.stages:
        steps = [step for step in plan.steps if step.stage == stage.name]
        yield ""
        yield f"{stage.title}"
        for step in steps:
            yield f"  {step.number:>3} {step.host:<8} {title(step)}" + (
                "" if step.risk.value == "safe" else f"  [{step.risk.value}]"
            )
            yield f"               because {step.because}; undo: {undone_by(step)}"
            for line in details(step):
                yield f"               {line}"
    if not plan.steps:
        yield "" if plan.findings else "Nothing to do."
    if plan.held:
        yield ""
        yield f"Already so ({len(plan.held)})"
        for held in plan.held:
            yield f"      {held.resource.host:<8} {held.resource.kind} {held.resource.name}"
    for sentence in plan.kept:
        yield f"  kept: {sentence}"
    for key, digest in plan.checksums:
        yield f"  to be pinned in the inventory: {key} sha256:{digest}"
    if plan.proofs:
        yield ""
        yield "Proven at the end"
        for check in plan.proofs:
            yield f"      {check.title}"
    yield ""
    yield f"{len(plan.steps)} steps, {len(plan.held)} already so. Digest {plan.digest}"


def title(step: Step) -> str:
    """Returns a step in a few words."""
    operation = step.operation
    if isinstance(operation, File):
        verb = "restore" if operation.restore else "remove" if operation.content is None else "write"
        return f"{verb} {operation.path}"
    if isinstance(operation, Secret):
        if operation.make == "kubeconfig" and operation.present:
            return f"see which credentials K3s made in {operation.path}"
        what = operation.make.replace("wg-", "WireGuard ")
        if not operation.present:
            return f"remove the {what} {operation.path}"
        return f"copy the {what} to {operation.path}" if operation.copy_of else f"make a {what} in {operation.path}"
    if isinstance(operation, Packages):
        return f"{'install' if operation.installed else 'remove'} the packages {' '.join(operation.names)}"
    if isinstance(operation, Unit):
        verbs = [("enable" if operation.enabled else "disable"), ("start" if operation.active else "stop")]
        if operation.active and "active" in step.before.split():
            verbs[1] = "reload" if operation.reload else "restart"
        return f"{' and '.join(verbs)} {operation.unit}"
    if isinstance(operation, User):
        return f"{'make' if operation.present else 'remove'} the system user {operation.user}"
    if isinstance(operation, Artefact):
        verb = "put" if operation.present else "restore" if operation.wanted_state else "remove"
        return f"{verb} {operation.path}"
    if isinstance(operation, Command):
        return operation.title
    if isinstance(operation, Await):
        return f"wait until {operation.check.title}"
    if isinstance(operation, LocalFile):
        verb, where = ("merge", "into") if operation.source else ("remove", "from")
        return f"{verb} the context {operation.context} {where} {operation.path}"
    return f"remove {operation.path}"


def details(step: Step) -> Iterator[str]:
    """Yields what exactly a step runs or writes."""
    operation = step.operation
    if isinstance(operation, File) and operation.content is not None:
        yield f"{operation.owner}:{operation.group} 0{operation.mode}"
        before = clean(step.shown_before, 65536).splitlines()
        after = show(operation.content).splitlines()
        for line in list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]:
            yield line
    elif isinstance(operation, Secret) and operation.present and operation.make == "kubeconfig":
        yield "K3s makes it; only the digest of its client certificate is read"
    elif isinstance(operation, Secret) and operation.present:
        yield (
            f"cp {place_mark(operation.copy_of)}"
            if operation.copy_of
            else "$ wg genkey"
            if operation.make == "wg-private-key"
            else "$ wg genpsk"
        )
        yield "root:root 0600"
    elif isinstance(operation, Packages):
        yield f"$ apt-get {'install' if operation.installed else 'purge'} {' '.join(operation.names)}"
    elif isinstance(operation, Unit):
        yield f"$ systemctl {'enable' if operation.enabled else 'disable'} --now {operation.unit}"
    elif isinstance(operation, Artefact) and operation.present:
        who = "the machine downloads it" if operation.by_host else "this console downloads it and sends it"
        yield f"{operation.url} ({who})"
        yield f"sha256:{operation.sha256}" + (f", member {operation.member}" if operation.member else "")
    elif isinstance(operation, Command):
        for line in operation.shows:
            yield f"$ {line}"
        for secret in operation.secrets:
            yield f"on its standard input: {place_mark(secret)}"
    elif isinstance(operation, Await):
        yield f"for up to {operation.check.within:g} s"
    elif isinstance(operation, LocalFile) and operation.source:
        yield f"server {operation.server}, credentials from {place_mark(operation.source)}"


def undone_by(step: Step) -> str:
    """Returns in a few words how a step is taken back."""
    operation = step.operation
    if isinstance(operation, File | Artefact):
        return "removes it" if step.original == "absent" else "puts the old one back"
    if isinstance(operation, Secret) and operation.make == "kubeconfig":
        return "nothing to undo"
    if isinstance(operation, Secret | User | LocalFile):
        return "removes it" if step.original == "absent" else "leaves it"
    if isinstance(operation, Packages):
        return "leaves them, unless asked"
    if isinstance(operation, Unit):
        return "as it was before"
    if isinstance(operation, Command):
        then = [f"{command.script} on {command.host}" for command in operation.undo_then]
        return one_line(", then ".join([operation.undo_script or "none", *then]))
    return "nothing to undo"
