"""Builds the world, real or rehearsed: the one place that knows which is which."""

from __future__ import annotations

import getpass
import os
import secrets as random
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homek8s_tui.base.clock import Clock
from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.engine.observe import Planner
from homek8s_tui.engine.world import World
from homek8s_tui.features.k3s import facts as k3s
from homek8s_tui.features.k3s.findings import nodes_ready
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.proxy.findings import only_these_ports, same_certificate
from homek8s_tui.features.setup import plans as setup
from homek8s_tui.features.tunnels import facts as tunnels
from homek8s_tui.features.tunnels.findings import handshake
from homek8s_tui.home import places
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.known_hosts import HostKeyQuestion, HostKeys
from homek8s_tui.plan.checks import JUDGES, Judge
from homek8s_tui.rehearsal.home import RehearsalHome

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


def real_world(home: Home, keys: HostKeys, secrets: GivenSecrets, kubeconfig: str, read_only: bool) -> World:
    """Builds the real world. SSH is loaded only now: it takes longer than all the rest of the start.

    Raises:
        Trouble: If what ``~/.ssh/config`` says of a machine that is declared by it can't be followed.
    """
    from homek8s_tui.engine.fetching import WebFetcher
    from homek8s_tui.engine.kubeconfig import Kubeconfig
    from homek8s_tui.engine.probing import NetworkProber
    from homek8s_tui.hosts.ssh_ways import SshHosts

    ways = SshHosts(keys, secrets).of(home.hosts)
    hosts = {host.name: ways[host.name] for host in home.hosts}
    clock: Clock = SystemClock()
    return World(
        askers=hosts,
        doers=None if read_only else hosts,
        clock=clock,
        prober=NetworkProber(hosts, kubeconfig),
        fetcher=WebFetcher(places.downloads(os.environ)),
        local=Kubeconfig(),
        judges=REGISTRY,
        state=places.state(os.environ),
        token=lambda: random.token_hex(4),
        who=getpass.getuser(),
    )


def trust(home: Home, name: str, keys: HostKeys, secrets: GivenSecrets) -> None:
    """Forgets a pinned host key and connects, so that the next one is shown and asked about, and pinned.

    Args:
        home: The home.
        name: One of its machines, or a jump host as it is written in the inventory or in ``~/.ssh/config``.
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.

    Raises:
        Trouble: There is no such machine, it is not reached, or nobody approved its key.
    """
    from homek8s_tui.hosts.ssh_ways import SshHosts

    hosts = SshHosts(keys, secrets).of(home.hosts)
    if name not in hosts:
        raise Trouble(
            "find the machine", name, f"the home {home.name} has {', '.join(hosts)}", "Name one of them", Kind.USAGE
        )
    hosts[name].forget_key()
    hosts[name].connect()


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
        token=lambda: random.token_hex(4),
        who="rehearsal",
    )
