"""The machines' own keys, pinned: shown and approved once, and never changed behind the operator's back."""

from __future__ import annotations

import base64
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

    @property
    def where(self) -> str:
        """The machine and its address, for errors."""
        return f"{self.name} ({self.address}:{self.port})"


Approve = Callable[[HostKeyQuestion], bool]
"""Decides on a key that was never seen; may ask a person and take its time."""


def fingerprint(blob: bytes) -> str:
    """Returns a public key's fingerprint as ssh-keygen(1) writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


class HostKeys:
    """The store of pinned keys, in the format of OpenSSH's known_hosts; one key a machine.

    Several threads and processes may use it at once. Lines that are not ours stay as they are.

    Args:
        path: The file; made 0600.
        approve: Decides on a key that was never seen.
    """

    def __init__(self, path: Path, approve: Approve) -> None:
        self._path = path
        self._approve = approve

    def pinned(self, address: str, port: int, alias: str = "") -> tuple[str, bytes] | None:
        """Returns the type and the bytes of a machine's pinned key, or None.

        Args:
            address: Its address.
            port: Its port.
            alias: The name that its key is pinned under instead (``HostKeyAlias``, ssh_config(5)).

        Raises:
            Trouble: If the file can't be read.
        """
        return _find(self._lines(), _host(address, port, alias))

    def check(self, name: str, address: str, port: int, key_type: str, blob: bytes, alias: str = "") -> bool:
        """Accepts a key that is pinned, or that is approved now and pinned for the next time.

        Returns:
            Whether somebody was asked; then time has passed, and the connection may be stale.

        Raises:
            Trouble: If another key is pinned, or nobody approved this one.
        """
        known = self.pinned(address, port, alias)
        host = _host(address, port, alias)
        question = HostKeyQuestion(name, address, port, key_type, fingerprint(blob))
        if known is not None:
            _compare(question, known, blob)
            return False
        # no lock is held meanwhile: a person may take minutes
        if not self._approve(question):
            raise Trouble(
                "trust the machine",
                question.where,
                f"its host key {question.fingerprint} ({key_type}) was never approved",
                f"Compare it with 'ssh-keygen -lf' of the key in /etc/ssh at the machine itself; "
                f"then give '--host-key {name}={question.fingerprint}' or run 'homek8s trust {name}'.",
                Kind.SECRET,
            )

        def pin(lines: list[str]) -> list[str]:
            meanwhile = _find(lines, host)
            if meanwhile is not None:
                # somebody else pinned one while this one was being approved; theirs is not overwritten
                _compare(question, meanwhile, blob)
                return lines
            return [*lines, f"{host} {key_type} {base64.b64encode(blob).decode()}"]

        self._rewrite(pin)
        return True

    def forget(self, address: str, port: int, alias: str = "") -> None:
        """Forgets a machine's key, so that the next one is asked about.

        Raises:
            Trouble: If the file can't be written.
        """
        host = _host(address, port, alias)
        self._rewrite(lambda lines: [line for line in lines if _find([line], host) is None])

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Trouble(
                "read the pinned host keys", str(self._path), str(error.strerror), "Look at the file's owner and mode."
            ) from None

    def _rewrite(self, edit: Callable[[list[str]], list[str]]) -> None:
        try:
            with self._locked():
                lines = self._lines()
                edited = edit(lines)
                if edited != lines:
                    self._replace("".join(f"{line}\n" for line in edited))
        except OSError as error:
            raise Trouble(
                "pin the host key",
                str(self._path),
                str(error.strerror),
                "Look at the folder's owner and the free space.",
            ) from None

    def _replace(self, text: str) -> None:
        number, fresh = tempfile.mkstemp(dir=self._path.parent, prefix=".known_hosts.")  # 0600 from the first byte
        try:
            with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(fresh).replace(self._path)
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # a file of its own: the store itself is replaced, and a lock on what was replaced locks nothing
        number = os.open(
            self._path.with_name(self._path.name + ".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)


def _find(lines: list[str], host: str) -> tuple[str, bytes] | None:
    for line in lines:
        words = line.split()
        if len(words) >= 3 and host in words[0].split(","):
            with contextlib.suppress(ValueError):
                return words[1], base64.b64decode(words[2], validate=True)
    return None


def _compare(question: HostKeyQuestion, known: tuple[str, bytes], blob: bytes) -> None:
    if known == (question.key_type, blob):
        return
    raise Trouble(
        "trust the machine",
        question.where,
        f"its host key changed from {fingerprint(known[1])} to {question.fingerprint}. Either it was installed anew, "
        "or something else answers in its place; nothing was sent to it",
        f"If you installed it anew, compare with 'ssh-keygen -lf' of the key in /etc/ssh at the machine itself; "
        f"then 'homek8s trust {question.name}'.",
    )


def _host(address: str, port: int, alias: str) -> str:
    # known_hosts writes the port only where it is not 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), with an alias never
    return alias or (address if port == 22 else f"[{address}]:{port}")
