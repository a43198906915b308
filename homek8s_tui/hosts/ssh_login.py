"""Logging in over SSH: the agent's keys, key files, passwords; never more tries than a server allows."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH
from paramiko.pkey import PublicBlob

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.ssh_session import PARAMIKO

# sshd ends a connection at the sixth failure (MaxAuthTries)
_MOST_KEYS = 5
_TRIES = 3
_PASSWORDS = frozenset({"password", "keyboard-interactive"})


class Reconnect(Exception):  # noqa: N818 - not an error: there is more to try, on a connection of its own
    """The next try needs a fresh connection."""


@dataclass(frozen=True)
class _Candidate:
    """A key that may be tried."""

    label: str
    """What it is called in an error."""
    load: Callable[[], paramiko.PKey | None]
    """Reads it; None if it can't be used."""


@dataclass
class Login:
    """How one person logs in to one machine, over as many connections as it takes."""

    user: str
    """Who logs in."""
    host: str
    """The machine, as secrets are named after it."""
    where: str
    """The machine and its address, for errors."""
    secrets: SecretSource
    """Where passphrases and passwords come from."""
    identities: Sequence[Path]
    """Private key files."""
    agent: bool | str
    """Whether the ssh-agent's keys are tried; or the socket of an agent of its own."""
    only: bool = False
    """Whether the agent's keys that no key file names are left out."""
    asked_at: float = 0.0
    """When somebody last took their time over a secret (monotonic)."""
    _tried: list[str] = field(default_factory=list)
    _missing: list[Trouble] = field(default_factory=list)
    _passwords_only: bool = False
    _passwords: int = 0

    def login(self, transport: paramiko.Transport) -> None:
        """Logs in: the agent's keys, key files, then a password, where the server takes one.

        Raises:
            Trouble: If nothing was accepted; it names the keys that were tried.
            Reconnect: If a password comes next, and keys have used up this connection's tries.
            EOFError, OSError, paramiko.SSHException: If the connection breaks.
        """
        if not self._passwords_only:
            self._tried, self._missing, self._passwords = [], [], 0
        try:
            accepted = self._try(transport)
        except Reconnect:
            self._passwords_only = True
            raise
        self._passwords_only = False
        if not accepted:
            raise self._refused()

    def _try(self, transport: paramiko.Transport) -> bool:
        try:
            transport.auth_none(self.user)
        except paramiko.BadAuthenticationType as refusal:
            methods = set(refusal.allowed_types)
        else:
            return True
        if "publickey" in methods and not self._passwords_only:
            wanted = self._by_key(transport)
            if wanted == set():
                return True
            methods = wanted or methods
        return bool(methods & _PASSWORDS) and self._by_password(transport)

    def _by_key(self, transport: paramiko.Transport) -> set[str] | None:
        """Returns what the server wants besides the key it took (mostly nothing), or None if it took none."""
        agent = self._open_agent()
        try:
            for candidate in self._candidates(agent):
                try:
                    key = candidate.load()
                except Trouble as trouble:
                    # another key or a password may do; if not, this is what is missing
                    self._missing.append(trouble)
                    continue
                if key is None:
                    continue
                self._tried.append(candidate.label)
                try:
                    return set(transport.auth_publickey(self.user, key))
                except paramiko.AuthenticationException as error:
                    if "timeout" in str(error).lower():
                        raise
                    if not transport.is_active():
                        return None  # fewer tries are allowed there than there are keys here
                except (struct.error, ValueError):
                    continue  # the agent's answer makes no sense
        finally:
            if agent is not None:
                agent.close()
        return None

    def _by_password(self, transport: paramiko.Transport) -> bool:
        name = f"login:{self.host}"
        while self._passwords < _TRIES:
            if not transport.is_active() or (self._tried and not self._passwords_only):
                raise Reconnect
            try:
                password = self._get(name, f"SSH password of {self.user} on {self.host}")
            except Trouble as trouble:
                self._missing.append(trouble)
                return False
            if not transport.is_active():
                raise Reconnect  # sshd lost patience while it was typed; it is kept
            if "password" not in self._tried:
                self._tried.append("password")
            try:
                return not transport.auth_password(self.user, password.reveal())
            except paramiko.BadAuthenticationType:
                return False
            except paramiko.AuthenticationException as error:
                if "shut down" in str(error) or "timeout" in str(error).lower():
                    raise
                self._passwords += 1
                if not self.secrets.reject(name):
                    return False
        return False

    def _candidates(self, agent: AgentSSH | None) -> list[_Candidate]:
        public = {path: _public_blob(path) for path in self.identities}
        held = list(agent.get_keys()) if agent is not None else []
        if self.only:
            held = [key for key in held if key.asbytes() in public.values()]
        # those that a key file names come first: an agent full of keys would use up the tries
        held.sort(key=lambda key: key.asbytes() not in public.values())
        # a public key names one that only the agent has
        files = [path for path in self.identities if path.is_file() and path.suffix != ".pub"]
        tries = _MOST_KEYS - 1 if files else _MOST_KEYS
        held = held[:tries]
        known = {key.asbytes() for key in held}
        # the encrypted ones last: nobody is asked for a passphrase if another key does
        files = sorted((path for path in files if public[path] not in known), key=_is_encrypted)
        from_agent = [_Candidate(f"{one_line(key.comment or key.get_name(), 60)} (agent)", _given(key)) for key in held]
        return [*from_agent, *(_Candidate(str(path), self._loader(path)) for path in files)][:_MOST_KEYS]

    def _open_agent(self) -> _Agent | None:
        path = Path(self.agent if isinstance(self.agent, str) else os.environ.get("SSH_AUTH_SOCK", "/"))
        if not self.agent or not path.is_socket():
            return None
        try:
            return _Agent(path)
        except (*PARAMIKO, struct.error, ValueError):
            return None  # one that makes no sense is none

    def _loader(self, path: Path) -> Callable[[], paramiko.PKey | None]:
        return lambda: self._load(path)

    def _load(self, path: Path) -> paramiko.PKey | None:
        if not _is_encrypted(path):
            return _read_key(path, None)
        name = f"passphrase:{path}"
        for _ in range(_TRIES):
            key = _read_key(path, self._get(name, f"passphrase of {path}"))
            if key is not None:
                return key
            if not self.secrets.reject(name):
                break
        raise Trouble(
            f"open the key {path}",
            "",
            "the passphrase is wrong",
            f"Give the right one, headless with '--secret {name}=fd:N'; a wrong one is not tried again.",
            Kind.SECRET,
        )

    def _get(self, name: str, prompt: str) -> Secret:
        before = time.monotonic()
        secret = self.secrets.get(name, prompt)
        if time.monotonic() - before > 1:
            self.asked_at = time.monotonic()
        return secret

    def _refused(self) -> Trouble:
        came_back = f"it accepted none of: {', '.join(self._tried)}" if self._tried else "no usable key was found here"
        if self._missing:
            first = self._missing[0]
            came_back += f"; could not {first.tried}: {first.came_back}"
            do = " ".join(dict.fromkeys(trouble.do for trouble in self._missing))
            return Trouble(f"log in as {self.user}", self.where, came_back, do, first.kind)
        return Trouble(
            f"log in as {self.user}",
            self.where,
            came_back,
            f"Put one of your public keys into the authorized_keys of {self.user} there (ssh-copy-id), or load the "
            "right key into your agent.",
            Kind.SECRET if self._passwords else Kind.UNREACHABLE,
        )


class _Agent(AgentSSH):
    """The ssh-agent at a socket; paramiko's own knows only the one that the environment names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            self._connect(connection)  # type: ignore[attr-defined]  # as paramiko.Agent itself does
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        self._close()  # type: ignore[attr-defined]  # likewise


def _given(key: paramiko.PKey) -> Callable[[], paramiko.PKey | None]:
    return lambda: key


def _read_key(path: Path, passphrase: Secret | None) -> paramiko.PKey | None:
    """Reads a private key file; None if it can't be used, or not with that passphrase."""
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with contextlib.suppress(*PARAMIKO, ValueError, TypeError, struct.error):
            return kind.from_private_key_file(str(path), passphrase.reveal() if passphrase else None)
    return None


def _is_encrypted(path: Path) -> bool:
    try:
        paramiko.Ed25519Key.from_private_key_file(str(path))
    except paramiko.PasswordRequiredException:
        return True
    except (*PARAMIKO, ValueError, struct.error):
        # the old format tells it in its header
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return "Proc-Type: 4,ENCRYPTED" in path.read_text()[:400]
    return False


def _public_blob(path: Path) -> bytes | None:
    with contextlib.suppress(*PARAMIKO, ValueError, IndexError):
        blob: bytes = PublicBlob.from_file(str(path) if path.suffix == ".pub" else f"{path}.pub").key_blob
        return blob
    return None
