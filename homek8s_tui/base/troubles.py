"""One way to say that something went wrong, and the one table of exit codes."""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What sort of trouble it is; the process's exit code follows from it."""

    FAILED = "failed"
    """Something was tried and did not work."""
    DRIFT = "drift"
    """A machine is neither as it was planned from nor as it was planned to be."""
    UNREACHABLE = "unreachable"
    """A machine, or a hop on the way to it, did not answer."""
    SECRET = "secret"  # noqa: S105 - a kind of trouble, no password
    """A password, passphrase or host key approval is needed and nobody can be asked."""
    USAGE = "usage"
    """The operator's own input can't be used."""


DONE = 0
CHANGES = 2
EXIT_CODES: dict[Kind, int] = {
    Kind.FAILED: 1,
    Kind.DRIFT: 3,
    Kind.UNREACHABLE: 4,
    Kind.SECRET: 5,
    Kind.USAGE: 64,
}
"""The exit code of each kind of trouble. 0 is done; 2 means that a plan has changes or the doctor a warning."""


class Trouble(Exception):  # noqa: N818 - the word the operator reads
    """An error in the operator's words.

    Args:
        tried: What was being done, beginning with a verb ("log in as pi").
        where: On which machine or in which file ("pi4 (192.168.1.4:22)").
        came_back: What was answered or found; text from a machine must have gone through
            `homek8s_tui.base.safe_text.clean`.
        do: What the operator can do about it.
        kind: What sort of trouble it is.
    """

    def __init__(self, tried: str, where: str, came_back: str, do: str, kind: Kind = Kind.FAILED) -> None:
        super().__init__(tried, where, came_back, do, kind)
        self.tried = tried
        """What was being done."""
        self.where = where
        """On which machine or in which file."""
        self.came_back = came_back
        """What was answered or found."""
        self.do = do
        """What the operator can do about it."""
        self.kind = kind
        """What sort of trouble it is."""

    def __str__(self) -> str:
        place = f" on {self.where}" if self.where else ""
        return f"Could not {self.tried}{place}: {_sentence(self.came_back)} {_sentence(self.do)}".rstrip()

    @property
    def exit_code(self) -> int:
        """The process's exit code for this trouble."""
        return EXIT_CODES[self.kind]


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."
