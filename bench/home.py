"""A home on the lab's machines: its fresh set-up, and a plan that finds nothing to do beside the peers' equal."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import CompletedProcess

from bench import peers
from bench.report import BenchError, Row
from bench.timing import interleaved, must, timed
from homek8s_tui.engine.journal import Journal
from homek8s_tui.home import places
from homek8s_tui.plan.model import Plan
from tests.lab.console import Console
from tests.lab.kubernetes import artefacts, build
from tests.lab.lab import Lab, default_prefix, why_not

SET_UP_SECONDS = 45
PYINFRA_RATIO = 0.6
ANSIBLE_RATIO = 0.1
REPEATS = 9
_HOMEK8S = str(Path(sys.executable).with_name("homek8s"))
# the lab's machine may have cgroup v1, which says nothing about us
_WAIVED = ("--waive", "cgroup-v1")
# Ansible runs on Python; pyinfra and we need none. Installed after the set-up was timed.
_PYTHON = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; apt-get -qq -y --no-install-recommends install "
_PYTHON += "python3 python3-apt >/dev/null"


@contextmanager
def _operator() -> Iterator[Console]:
    """An operator in front of three bare machines, with this process in the operator's seat."""
    reason = why_not()
    if reason is not None:
        raise BenchError(reason)
    tools = build.binaries()
    artefacts.traefik_tarball()
    with Lab(default_prefix(), tools=tools) as lab, tempfile.TemporaryDirectory(prefix="homek8s-bench.") as folder:
        artefacts.fill(lab.artefacts_dir)
        lab.enter_operator()
        yield Console(lab, Path(folder))


def run() -> Iterator[Row]:
    """Measures the fresh set-up, then the plan with nothing to do."""
    programs = peers.environment()
    with _operator() as console:
        yield Row("set up three bare machines", _set_up(console), SET_UP_SECONDS)
        plan = _applied(console)
        held = peers.share(console.lab.hosts, (step.operation for step in plan.steps))
        print(f"  {held.words()}", flush=True)
        for host in console.lab.hosts.values():
            host.run(_PYTHON, timeout=300)
        folder = console.folder / "peers"
        folder.mkdir()
        them = peers.Peers(programs, folder, console.lab.hosts, held, console.lab.keys.plain)
        them.lay_out()
        pyinfra, ansible = them.contenders
        medians = interleaved({"homek8s": lambda: _plan(console), **them.contenders}, REPEATS)
        for peer, limit in ((pyinfra, PYINFRA_RATIO), (ansible, ANSIBLE_RATIO)):
            yield Row("plan with nothing to do", medians["homek8s"], limit, peer, medians[peer])


def _set_up(console: Console) -> float:
    seconds, done = _homek8s(console, "apply", "setup", "--yes")
    must(done.returncode == 0, "the set-up", done)
    return seconds


def _plan(console: Console) -> float:
    seconds, done = _homek8s(console, "plan", "setup")
    must(done.returncode == 0 and "0 steps, " in done.stdout, "the plan", done)
    return seconds


def _homek8s(console: Console, *arguments: str) -> tuple[float, CompletedProcess[str]]:
    command = console.command(*arguments, *_WAIVED, program=(_HOMEK8S,))
    return timed(command, console.environment, console.folder)


def _applied(console: Console) -> Plan:
    """Returns the plan of the set-up, as the journal kept it."""
    with closing(Journal(places.journal(console.environment))) as journal:
        newest = journal.runs("lab")[0]
        return journal.load(newest.id).plan
