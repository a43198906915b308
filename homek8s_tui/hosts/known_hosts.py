"""The machines' own keys, pinned: shown and approved once, and never changed behind the operator's back."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from homek8s_tui.base.troubles import Kind, Trouble


@dataclass(frozen=True)
class HostKeyQuestion:
    """Whether a key that was never seen is really the machine's."""

    name: str
    """The machine's name in the inventory."""
    address: str
    """Where it was met."""
    port: int
    """At which port."""
    key_type: str
    """The key's type, such as ``ssh-ed25519``."""
    fingerprint: str
    """Its fingerprint as OpenSSH writes it: ``SHA256:...``."""


Approve = Callable[[HostKeyQuestion], bool]


def fingerprint(blob: bytes) -> str:
    """Returns a public key's fingerprint as ssh-keygen(1) writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


class HostKeys:
    """The store of pinned keys, in the format of OpenSSH's known_hosts; one key a machine.

    Args:
        path: The file; made 0600.
        approve: Decides on a key that was never seen.
    """

    def __init__(self, path: Path, approve: Approve) -> None:
        self._path = path
        self._approve = approve

    def pinned(self, address: str, port: int) -> tuple[str, bytes] | None:
        """Returns the type and the bytes of a machine's pinned key, or None."""
        for host, key_type, blob in self._entries():
            if host == _host(address, port):
                return key_type, blob
        return None

    def check(self, name: str, address: str, port: int, key_type: str, blob: bytes) -> None:
        """Accepts a key that is pinned, or that is approved now.

        Raises:
            Trouble: If another key is pinned, or nobody approved this one.
        """
        known = self.pinned(address, port)
        where = f"{name} ({address}:{port})"
        seen = fingerprint(blob)
        if known is not None:
            if known == (key_type, blob):
                return
            raise Trouble(
                "trust the machine",
                where,
                f"its host key changed from {fingerprint(known[1])} to {seen}. Either it was installed anew, or "
                "somebody answers in its place; nothing was sent to it",
                f"If you installed it anew, compare with 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' at the machine "
                f"itself; then 'homek8s trust {name}'.",
            )
        if not self._approve(HostKeyQuestion(name, address, port, key_type, seen)):
            raise Trouble(
                "trust the machine",
                where,
                f"its host key {seen} ({key_type}) was never approved",
                f"Compare it at the machine itself; then give '--host-key {name}={seen}' or run 'homek8s trust {name}'.",
                Kind.SECRET,
            )
        self._rewrite(lambda entries: [*entries, (_host(address, port), key_type, blob)])

    def forget(self, address: str, port: int) -> None:
        """Forgets a machine's key, so that the next one is asked about."""
        self._rewrite(lambda entries: [entry for entry in entries if entry[0] != _host(address, port)])

    def _entries(self) -> list[tuple[str, str, bytes]]:
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Trouble(
                "read the pinned host keys", str(self._path), str(error), "Look at the file's owner."
            ) from None
        entries = []
        for line in lines:
            words = line.split()
            if len(words) == 3:
                with contextlib.suppress(binascii.Error):
                    entries.append((words[0], words[1], base64.b64decode(words[2], validate=True)))
        return entries

    def _rewrite(self, edit: Callable[[list[tuple[str, str, bytes]]], list[tuple[str, str, bytes]]]) -> None:
        try:
            with self._locked():
                text = "".join(
                    f"{host} {key_type} {base64.b64encode(blob).decode()}\n"
                    for host, key_type, blob in edit(self._entries())
                )
                number, fresh = tempfile.mkstemp(dir=self._path.parent)  # 0600 from the first byte
                with os.fdopen(number, "w") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(fresh).replace(self._path)
        except OSError as error:
            raise Trouble(
                "pin the host key", str(self._path), str(error), "Look at the folder's owner and the free space."
            ) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _host(address: str, port: int) -> str:
    # known_hosts writes the port only where it is not 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)
    return address if port == 22 else f"[{address}]:{port}"
