"""A real sshd on the loopback, started and ended by a test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.known_hosts import HostKeyQuestion, HostKeys
from homek8s_tui.hosts.ssh import SshHost

PROGRAM = Path("/usr/sbin/sshd")


def require() -> None:
    """Skips where there can be no sshd; in CI there must be one."""
    reason = (
        "openssh-server is not on this machine (apt-get install openssh-server)" if not PROGRAM.exists()
        else "only root can start an sshd that root logs in to" if os.geteuid()
        else ""
    )  # fmt: skip
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run these: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


def keygen(path: Path, passphrase: str = "", kind: str = "ed25519", *options: str) -> Path:
    """Makes a key pair."""
    path.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", path, *options], check=True
    )
    return path


class Secrets:
    """Somebody who knows some secrets, or a headless run that was given some."""

    def __init__(self, person: bool = False, **values: str | list[str]) -> None:
        self.values = {
            name.replace("__", ":"): [value] if isinstance(value, str) else value for name, value in values.items()
        }
        self.person = person
        self.asked: list[str] = []

    def add(self, name: str, *values: str) -> Secrets:
        """Adds a secret whose name is no word."""
        self.values[name] = list(values)
        return self

    def get(self, name: str, prompt: str) -> Secret:
        """Returns the first value that was not rejected."""
        self.asked.append(name)
        if not self.values.get(name):
            raise Trouble(
                f"get the {prompt}", "", "nobody can be asked here", f"Give '--secret {name}=fd:N'.", Kind.SECRET
            )
        return Secret(self.values[name][0])

    def reject(self, name: str) -> bool:
        """Forgets a wrong value."""
        self.values[name].pop(0)
        return self.person


class Approver:
    """Approves every new key, and remembers which."""

    def __init__(self, says: bool = True) -> None:
        self.says = says
        self.asked: list[HostKeyQuestion] = []

    def __call__(self, question: HostKeyQuestion) -> bool:
        self.asked.append(question)
        return self.says


class Sshd:
    """One sshd with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.identity = keygen(folder / "id_test")
        self.authorized = folder / "authorized_keys"
        self.authorized.write_text(self.identity.with_suffix(".pub").read_text())
        self.approver = Approver()
        self.keys = HostKeys(folder / "known_hosts", self.approver)
        self._process: subprocess.Popen[bytes] | None = None
        self._hosts: list[SshHost] = []
        keygen(folder / "host_ed25519")

    def start(self, *options: str, host_keys: Sequence[str] = ("host_ed25519",)) -> Sshd:
        """Starts it; with other options, again."""
        self.stop()
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", "PidFile none", "UsePAM no", "StrictModes no",
            "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            f"AuthorizedKeysFile {self.authorized}", *(f"HostKey {self.folder / key}" for key in host_keys),
        ]  # fmt: skip
        config = self.folder / "sshd_config"
        # sshd takes the first of several values
        config.write_text("\n".join([*options, *lines]) + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("a") as log:
            self._process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    pytest.fail(f"sshd did not start: {(self.folder / 'sshd.log').read_text()}")
                time.sleep(0.02)
            else:
                return self

    def host(
        self,
        secrets: Secrets | None = None,
        user: str = "root",
        agent: bool | str = False,
        identities: Sequence[Path] | None = None,
        name: str = "pi4",
        **way: Any,
    ) -> SshHost:
        """Returns the machine behind it; `way` is how to get there."""
        files = [self.identity] if identities is None else identities
        host = SshHost(name, "127.0.0.1", self.port, user, self.keys, secrets or Secrets(), files, agent, **way)
        self._hosts.append(host)
        return host

    def sessions(self) -> list[int]:
        """Returns the processes that serve connections."""
        if self._process is None:
            return []
        return _children(self._process.pid)

    def signal_sessions(self, number: signal.Signals) -> None:
        """Sends a signal to what serves connections, and to nothing else."""
        for process in self.sessions():
            for pid in [*_children(process), process]:
                # one may end by itself meanwhile
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                        os.kill(pid, number)

    def stop(self) -> None:
        """Ends it and its connections."""
        for host in self._hosts:
            host.close()
        if self._process is not None:
            self.signal_sessions(signal.SIGKILL)
            self._process.terminate()
            self._process.wait()
            self._process = None


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def free_port() -> int:
    """Returns a port of the loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def bastion(tmp_path: Path) -> Iterator[Sshd]:
    """Another one, to go through."""
    require()
    folder = tmp_path / "bastion"
    folder.mkdir()
    server = Sshd(folder)
    yield server
    server.stop()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that is not started yet."""
    require()
    server = Sshd(tmp_path)
    yield server
    server.stop()
