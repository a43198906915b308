"""What only the engine may do with a machine: change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from homek8s_tui.base.secrets import Secret
from homek8s_tui.hosts.model import Cancel, Change, Chunk, Ended, Job, Outcome, Started


class Doer(Protocol):
    """A machine that can be changed."""

    def change(self, change: Change) -> Outcome:
        """Compares and changes one resource in one exchange.

        Raises:
            Trouble: If the change failed, or the machine can't be reached; then it may or may not have happened.
        """
        ...

    def start(self, job: Job) -> tuple[Started, str]:
        """Starts a job unless it is no longer needed or was started before.

        Returns:
            What was done, and the resource's state.

        Raises:
            Trouble: If it could not be started, or the machine can't be reached.
        """
        ...

    def follow(self, job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
        """Yields a job's output from an offset on, and its end.

        Raises:
            Trouble: If the connection breaks; following may be taken up again at the last offset.
        """
        ...

    def read_secret(self, path: str) -> Secret:
        """Returns the content of a secret's place, to be put in another place at once.

        Raises:
            Trouble: If it can't be read.
        """
        ...

    def run_secret(self, script: str, arguments: tuple[str, ...]) -> Secret:
        """Runs a script of ``hosts/scripts`` whose only output is a secret, such as a new join token.

        Raises:
            Trouble: If it fails.
        """
        ...
