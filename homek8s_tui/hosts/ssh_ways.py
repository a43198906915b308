"""How SSH gets to the machines of a home: directly, through jump hosts, as the operator's own configuration says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from homek8s_tui.base.secrets import SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.home.inventory import Node, Proxy
from homek8s_tui.hosts import ssh_config
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.ssh import IDENTITIES, SshHost
from homek8s_tui.hosts.ssh_config import Hop, Settings

Ask = Callable[[str, str | None, int | None], Settings]
"""Asks what the configuration says of a name, see `ssh_config.settings`."""

_MOST_HOPS = 16


class SshHosts:
    """All machines that are reached over SSH, each with one connection; several threads may use it at once.

    A machine that several are behind is one `SshHost`. One that is not of the home is called as it is written, such as
    ``me@bastion.example.org``, or ``a,b`` for b behind a; secrets, host keys and ``homek8s trust`` know it by that.

    Args:
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.
        ask: Asks what ``~/.ssh/config`` says of a name; each answer is kept.
    """

    def __init__(self, keys: HostKeys, secrets: SecretSource, ask: Ask = ssh_config.settings) -> None:
        self._keys = keys
        self._secrets = secrets
        self._ask = ask
        self._guard = threading.Lock()
        self._said: dict[tuple[str, str | None, int | None], Settings] = {}
        self._made: dict[tuple[object, ...], SshHost] = {}

    def of(self, machines: Iterable[Proxy | Node]) -> dict[str, SshHost]:
        """Returns these machines and all that they are reached through, by name; nothing is connected to yet.

        What was returned before is returned again, as long as it is declared the same.

        Raises:
            Trouble: ``~/.ssh/config`` asks for what can't be followed, or a machine would be reached through itself.
        """
        with self._guard:
            ways = _Ways(self, tuple(machines))
            return ways.all()

    def close(self) -> None:
        """Closes all connections; may be called from any thread."""
        with self._guard:
            made = list(self._made.values())
        for host in made:
            host.close()

    def said(self, name: str, user: str | None, port: int | None) -> Settings:
        """Returns what the configuration says of a name."""
        key = (name, user, port)
        if key not in self._said:
            self._said[key] = self._ask(*key)
        return self._said[key]

    def host(
        self,
        name: str,
        address: str,
        port: int,
        user: str,
        identities: tuple[str, ...] = IDENTITIES,
        agent: bool | str = True,
        only: bool = False,
        alias: str = "",
        jump: SshHost | None = None,
    ) -> SshHost:
        """Returns the one machine that is reached so."""
        key = (name, address, port, user, identities, agent, only, alias, jump)
        if key not in self._made:
            self._made[key] = SshHost(
                name, address, port, user, self._keys, self._secrets, identities, agent, only, alias, jump
            )
        return self._made[key]


class _Ways:
    """The ways to some machines, as far as they were found."""

    def __init__(self, hosts: SshHosts, machines: Sequence[Proxy | Node]) -> None:
        self._hosts = hosts
        self._machines = {machine.name: machine for machine in machines}
        self._configured = {machine.ssh.config: machine.name for machine in machines if machine.ssh.config}
        self._building: list[str] = []
        self._found: dict[str, SshHost] = {}

    def all(self) -> dict[str, SshHost]:
        for name in self._machines:
            self._machine(name)
        return self._found

    def _machine(self, name: str) -> SshHost:
        def build() -> SshHost:
            host = self._machines[name]
            jump = self._declared(name, host.ssh.jump) if host.ssh.jump else None
            if not host.ssh.config:
                return self._hosts.host(name, host.address, host.port or 22, host.user or host.usual_user, jump=jump)
            said = self._hosts.said(host.ssh.config, host.user, host.port)
            # without a HostName ssh would look the name itself up, and we know better than that
            address = host.address if said.host.lower() == host.ssh.config.lower() else said.host
            return self._as_said(name, said, address, jump)

        return self._once(name, build)

    def _declared(self, name: str, jump: str) -> SshHost:
        if jump in self._machines:
            return self._machine(jump)
        hop = ssh_config.hop(jump, name)
        if hop.user is None:
            raise Trouble(
                f"reach {name} by SSH",
                "",
                f"{jump}, which it is behind, is not declared",
                f"Declare {jump}, or write ssh.jump as user@host:port",
                Kind.USAGE,
            )
        user = hop.user
        return self._once(jump, lambda: self._hosts.host(jump, hop.host, hop.port or 22, user))

    def _as_said(self, name: str, said: Settings, address: str, jump: SshHost | None) -> SshHost:
        if jump is None and said.jumps:
            jump = self._hops(said.jumps)
        elif jump is None and said.command:
            raise Trouble(
                f"reach {name} by SSH",
                "",
                "its ProxyCommand in ~/.ssh/config can't be followed: it may be any program",
                f"Write ssh.jump: user@host:port for {name} in homek8s.yaml, or use ProxyJump in ~/.ssh/config",
                Kind.USAGE,
            )
        agent = said.agent != "none" and (said.agent == "SSH_AUTH_SOCK" or said.agent)
        return self._hosts.host(
            name, address, said.port, said.user, said.identities, agent, said.only, said.alias, jump
        )

    def _hops(self, hops: Sequence[Hop]) -> SshHost:
        """Returns the last of several machines to go through, each behind the one before (ssh_config(5), ProxyJump)."""
        *before, last = hops
        name = ",".join(map(str, hops))
        if name in self._configured:
            return self._machine(self._configured[name])
        said = self._hosts.said(last.host, last.user, last.port)
        if name in self._machines:
            # what is called so in ~/.ssh/config need not be what is called so in the home
            name = str(Hop(said.host, said.user, said.port))
        return self._once(name, lambda: self._as_said(name, said, said.host, self._hops(before) if before else None))

    def _once(self, name: str, build: Callable[[], SshHost]) -> SshHost:
        if name in self._building or len(self._building) > _MOST_HOPS:
            raise Trouble(
                f"reach {self._building[0]} by SSH",
                "",
                f"the jumps go in a circle ({' -> '.join([*self._building, name])})",
                "Look at ssh.jump in homek8s.yaml and at ProxyJump in ~/.ssh/config",
                Kind.USAGE,
            )
        if name not in self._found:
            self._building.append(name)
            self._found[name] = build()
            self._building.pop()
        return self._found[name]
