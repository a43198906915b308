"""What everybody may do with a machine: ask it, and look at the network from where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from homek8s_tui.hosts.model import Answers, Question


class ByteStream(Protocol):
    """A connection, as bytes."""

    def send(self, data: bytes) -> None:
        """Sends all of the bytes.

        Raises:
            OSError: If the other side is gone or takes too long.
        """
        ...

    def receive(self, limit: int) -> bytes:
        """Returns up to that many bytes; empty at the end.

        Raises:
            OSError: If the other side is gone or takes too long.
        """
        ...

    def close(self) -> None:
        """Closes the connection; may be called twice and from another thread."""
        ...


class Asker(Protocol):
    """A machine that can be asked. Nothing here changes it."""

    @property
    def name(self) -> str:
        """The machine's name in the inventory."""
        ...

    def ask(self, questions: Sequence[Question], seconds: float = 30) -> Answers:
        """Asks all of the questions in one exchange.

        Without a question this is the trial of a login: it connects, through whatever jump hosts there are, logs in
        and becomes root.

        Args:
            questions: Read-only scripts; their names are unique.
            seconds: The deadline of the whole exchange.

        Raises:
            Trouble: If the machine can't be reached, logged in to or made root on.
        """
        ...

    def dial(self, address: str, port: int, seconds: float = 5) -> ByteStream:
        """Opens a TCP connection as seen from the machine; nothing is installed there for it.

        Raises:
            ConnectionRefusedError: If nothing listens there, or the machine could not get there.
            TimeoutError: If nobody answered in time.
            Trouble: If the machine itself can't be reached.
        """
        ...
