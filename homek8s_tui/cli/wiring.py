"""Builds the world, real or rehearsed: the one place that knows which is which."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets as random
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from homek8s_tui.base.findings import Intent
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine.command_log import CommandLog, Noted
from homek8s_tui.engine.discovery import find_machines, own_subnet
from homek8s_tui.engine.observe import Planner
from homek8s_tui.engine.service import Service, Ways
from homek8s_tui.engine.world import World
from homek8s_tui.features.k3s import facts as k3s
from homek8s_tui.features.k3s.findings import nodes_ready
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.proxy.findings import only_these_ports, same_certificate
from homek8s_tui.features.setup import plans as setup
from homek8s_tui.features.tunnels import facts as tunnels
from homek8s_tui.features.tunnels.findings import handshake
from homek8s_tui.home import inventory, places
from homek8s_tui.home.inventory import Home, Node, Proxy
from homek8s_tui.hosts.known_hosts import HostKeyQuestion, HostKeys
from homek8s_tui.plan.checks import JUDGES, Judge
from homek8s_tui.rehearsal.home import RehearsalClock, RehearsalHome

if TYPE_CHECKING:
    from homek8s_tui.hosts.ssh_ways import SshHosts

REGISTRY: Mapping[str, Judge] = {
    **JUDGES,
    "handshake": handshake,
    "nodes-ready": nodes_ready,
    "only-these-ports": only_these_ports,
    "same-certificate": same_certificate,
}
"""Every judge, by the name that checks know it by."""

ROOMS = (nodes.ROOM, tunnels.ROOM, k3s.ROOM)
"""Every room that asks anything."""


_MOMENT = 0.25
_LATENCY = 0.12


class PacedClock(RehearsalClock):
    """The rehearsal's clock for people: it goes on by itself, and whoever waits does so for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def now(self) -> float:
        """Returns the rehearsal's time."""
        return super().now() + time.monotonic() - self._began

    def monotonic(self) -> float:
        """Returns the same."""
        return self.at + time.monotonic() - self._began

    def wait(self, seconds: float) -> None:
        """Lets that much of it pass, most of it at once."""
        really = min(seconds, _MOMENT)
        time.sleep(really)
        super().wait(seconds - really)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Returns the seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Returns seconds that never go back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Lets that much time pass."""
        time.sleep(seconds)


@dataclass
class GivenSecrets:
    """Secrets from ``--secret NAME=fd:N`` or ``NAME=command:...``, and from a person where there is one.

    Args:
        given: The sources by name, as the options gave them.
        ask: Asks a person, without showing what is typed; None where there is nobody.
    """

    given: Mapping[str, str]
    ask: Callable[[str], str] | None
    _kept: dict[str, Secret] = field(default_factory=dict)
    _wrong: set[str] = field(default_factory=set)

    def get(self, name: str, prompt: str) -> Secret:
        """Returns a secret; see `homek8s_tui.base.secrets.SecretSource.get`."""
        if name in self._kept:
            return self._kept[name]
        if name in self.given and name not in self._wrong:
            self._kept[name] = Secret(_read_source(name, self.given[name]))
        elif self.ask is not None:
            self._kept[name] = Secret(self.ask(prompt))
        else:
            raise Trouble(
                f"get the {prompt}",
                "",
                "nobody can be asked here",
                f"Give it with '--secret {name}=fd:N' or '--secret {name}=command:...'.",
                Kind.SECRET,
            )
        return self._kept[name]

    def reject(self, name: str) -> bool:
        """Forgets a wrong one; see `homek8s_tui.base.secrets.SecretSource.reject`."""
        self._kept.pop(name, None)
        self._wrong.add(name)
        return self.ask is not None


def _read_source(name: str, source: str) -> str:
    kind, _, value = source.partition(":")
    try:
        if kind == "fd" and value.isdigit():
            with os.fdopen(int(value), closefd=False) as file:
                return file.readline().rstrip("\n")
        if kind == "command":
            done = subprocess.run(shlex.split(value), capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - the operator's own command
            return done.stdout.split("\n", 1)[0]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # the command's output may be the secret, so only the sort of failure is told
        raise Trouble(
            f"get the secret {name}", "", type(error).__name__, "Look at what follows --secret.", Kind.SECRET
        ) from None
    raise Trouble(
        f"get the secret {name}", "", f"'{kind}' is no source", "Write NAME=fd:N or NAME=command:COMMAND.", Kind.USAGE
    )


def host_keys(approved: Mapping[str, str], ask: Callable[[HostKeyQuestion], bool] | None) -> HostKeys:
    """Returns the store of pinned keys.

    Args:
        approved: Fingerprints that were given, by machine.
        ask: Asks a person; None where there is nobody.
    """

    def approve(question: HostKeyQuestion) -> bool:
        if question.name in approved:
            return approved[question.name] == question.fingerprint
        return ask is not None and ask(question)

    return HostKeys(places.known_hosts(os.environ), approve)


def kubeconfig_path(home: Home, environ: Mapping[str, str]) -> str:
    """Returns the kubeconfig to merge into: the inventory's, else kubectl's own choice."""
    if home.kubeconfig:
        return str(Path(home.kubeconfig).expanduser())
    named = environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return named or str(Path("~/.kube/config").expanduser())


@dataclass
class Connections:
    """The machines over SSH, one connection each for as long as this process lives.

    Args:
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.
        log: Where every exchange is noted.
        read_only: Whether nothing may be changed.
    """

    keys: HostKeys
    secrets: SecretSource
    log: CommandLog
    read_only: bool
    _hosts: SshHosts | None = None
    _noted: dict[int, Noted] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def of(self, machines: Sequence[Proxy | Node]) -> Mapping[str, Noted]:
        """Returns machines and the jump hosts before them, by name; the same ones as before where they are.

        SSH is loaded only now: it takes longer than all the rest of the start.

        Raises:
            Trouble: If what ``~/.ssh/config`` says of a machine that is declared by it can't be followed.
        """
        with self._guard:
            hosts = self.ssh().of(machines)
            # every host is kept for good by the ways, so its identity stays its own
            return {
                name: self._noted.setdefault(id(host), Noted(host, self.log, host.name)) for name, host in hosts.items()
            }

    def ssh(self) -> SshHosts:
        """Returns the ways to all machines."""
        if self._hosts is None:
            # paramiko does without invoke, which it takes as long to load as for all the rest, and needs only for a
            # "Match exec" of ~/.ssh/config: hosts/ssh_config reads that
            with _left_out("invoke"):
                from homek8s_tui.hosts.ssh_ways import SshHosts

            self._hosts = SshHosts(self.keys, self.secrets)
        return self._hosts

    def trust(self, machines: Sequence[Proxy | Node], name: str) -> None:
        """Forgets a pinned host key and connects, so that the next one is shown and asked about, and pinned.

        Args:
            machines: The machines of the home.
            name: One of them, or a jump host as it is written in the inventory or in ``~/.ssh/config``.

        Raises:
            Trouble: There is no such machine, it is not reached, or nobody approved its key.
        """
        hosts = self.ssh().of(machines)
        if name not in hosts:
            raise Trouble("find the machine", name, f"there are {', '.join(hosts)}", "Name one of them.", Kind.USAGE)
        hosts[name].close()
        hosts[name].forget_key()
        hosts[name].connect()

    def close(self) -> None:
        """Closes them all; nobody is waited for."""
        if self._hosts is not None:
            self._hosts.close()

    def world(self, home: Home) -> World:
        """Builds the real world of a home.

        Raises:
            Trouble: See `of`.
        """
        from homek8s_tui.engine.fetching import WebFetcher
        from homek8s_tui.engine.kubeconfig import Kubeconfig
        from homek8s_tui.engine.probing import NetworkProber

        known = self.of(home.hosts)
        hosts = {host.name: known[host.name] for host in home.hosts}
        return World(
            askers=hosts,
            doers=None if self.read_only else hosts,
            clock=self.log.clock,
            prober=NetworkProber(hosts, kubeconfig_path(home, os.environ)),
            fetcher=WebFetcher(places.downloads(os.environ)),
            local=Kubeconfig(),
            judges=REGISTRY,
            state=places.state(os.environ),
            token=lambda: random.token_hex(4),
            who=getpass.getuser(),
        )


@contextlib.contextmanager
def _left_out(module: str) -> Iterator[None]:
    """Makes what is imported meanwhile believe that a module is not installed, unless somebody loaded it already."""
    left_out = module not in sys.modules
    if left_out:
        sys.modules[module] = None  # type: ignore[assignment]  # as the import system has it
    try:
        yield
    finally:
        if left_out:
            del sys.modules[module]


def real_service(path: Path, keys: HostKeys, secrets: SecretSource, read_only: bool) -> Service:
    """Builds the service of a real home; nothing is connected or loaded before it is used.

    Args:
        path: The inventory; it need not exist yet.
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.
        read_only: Whether nothing may be changed.
    """
    log = CommandLog(SystemClock())
    connections = Connections(keys, secrets, log, read_only)
    ways = Ways(
        world=connections.world,
        machine=lambda machine, among: connections.of((*among, machine))[machine.name],
        planners={"setup": lambda home: setup_planner(kubeconfig_path(home, os.environ))},
        rooms=ROOMS,
        find=find_machines,
        lan=own_subnet,
        journal=places.journal(os.environ),
        clock=log.clock,
        log=log,
        trust=connections.trust,
        close=connections.close,
    )
    return Service(ways, path)


def rehearsed_service(rehearsal: RehearsalHome, folder: Path) -> Service:
    """Builds the service of a home in memory; planner, engine and journal are the real ones.

    Args:
        rehearsal: The home.
        folder: Where its journal and inventory are.
    """
    log = CommandLog(rehearsal.clock)

    def world(home: Home) -> World:
        rehearsal.declare(home)
        machines = {host.name: Noted(rehearsal.machines[host.name], log, host.name) for host in home.hosts}
        return replace(rehearsed_world(rehearsal, folder), askers=machines, doers=machines)

    ways = Ways(
        world=world,
        machine=lambda machine, _among: Noted(rehearsal.machine(machine), log, machine.name),
        planners={"setup": lambda _home: setup_planner("~/.kube/config")},
        rooms=ROOMS,
        find=rehearsal.find,
        lan=lambda: rehearsal.home.lan,
        journal=folder / "journal.sqlite",
        clock=rehearsal.clock,
        log=log,
        trust=lambda _machines, _name: None,
        close=lambda: None,
    )
    return Service(ways, folder / inventory.FILE_NAME)


def setup_planner(kubeconfig: str) -> Planner:
    """Returns the planner of the set-up."""
    return Planner((nodes.ROOM,), setup.planner(kubeconfig), setup.downloads)


def rehearsed_world(rehearsal: RehearsalHome, state: Path) -> World:
    """Builds a world around a home in memory; the engine over it is the real one.

    Args:
        rehearsal: The home.
        state: The folder of its journal.
    """
    return World(
        askers=rehearsal.machines,
        doers=rehearsal.machines,
        clock=rehearsal.clock,
        prober=rehearsal,
        fetcher=rehearsal,
        local=rehearsal.kubeconfig,
        judges=REGISTRY,
        state=state,
        token=lambda: rehearsal.random(4).hex(),
        who="rehearsal",
    )


def demo_service(home: Home, random_bytes: Callable[[int], bytes], folder: Path) -> Service:
    """Builds the service of the rehearsal home for people: it takes its moments, and its tunnel is set up already."""
    rehearsal = RehearsalHome(home, random_bytes, PacedClock())
    service = rehearsed_service(rehearsal, folder)
    inventory.write_text(service.path, inventory.commented())
    service.begin(service.plan(home, Intent("setup", (("stages", "tunnel"),)))).run()
    service.live = None
    for machine in rehearsal.machines.values():
        machine.latency = _LATENCY
    return service
