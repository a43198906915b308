"""A terminal of our own: the product runs in a real pseudo-terminal, and its screen can be read."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import ptyprocess
import pyte

KEYS = {
    "enter": b"\r",
    "escape": b"\x1b",
    "tab": b"\t",
    "backtab": b"\x1b[Z",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "f1": b"\x1bOP",
    "f2": b"\x1bOQ",
    "f3": b"\x1bOR",
    "f4": b"\x1bOS",
    "f5": b"\x1b[15~",
    "f6": b"\x1b[17~",
    "f7": b"\x1b[18~",
    "f8": b"\x1b[19~",
    "f9": b"\x1b[20~",
    "space": b" ",
    **{f"ctrl+{letter}": bytes((ord(letter) - 96,)) for letter in "abcdefghijklmnopqrstuvwxyz"},
}
"""What a terminal sends for the keys that are no characters."""


class Terminal:
    """A program in a pseudo-terminal.

    Args:
        command: Its command line.
        environment: All of its variables; TERM is added.
        folder: Where it runs.
        size: Columns and rows.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, size: tuple[int, int] = (80, 24)
    ) -> None:
        columns, rows = size
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        variables = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self._process = ptyprocess.PtyProcess.spawn(list(command), str(folder), variables, dimensions=(rows, columns))
        self._began = time.monotonic()
        self.recorded: list[tuple[float, bytes]] = []
        """Everything it wrote, with the seconds since it began."""
        self.record_to: Path | None = None
        """A file that the recording is added to at the end, a JSON line each: seconds and bytes as Latin-1."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.close(force=True)
        if self.record_to is not None:
            with self.record_to.open("a") as file:
                file.writelines(json.dumps([at, data.decode("latin-1")]) + "\n" for at, data in self.recorded)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def output(self) -> bytes:
        """Everything it wrote."""
        return b"".join(data for _, data in self.recorded)

    def read(self, seconds: float) -> bool:
        """Takes in what it writes for up to that long, and tells whether it wrote anything."""
        ready, _, _ = select.select([self._process.fd], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._process.fd, 1 << 16)
        except OSError:
            return False
        self.recorded.append((time.monotonic() - self._began, data))
        # what a terminal answers by itself is of no interest here, and pyte stumbles over some of it
        self._stream.feed(plain(data))
        return bool(data)

    def wait(self, what: str | Callable[[str], bool], seconds: float = 30) -> str:
        """Reads until a text is on the screen, or a condition on its text holds.

        Returns:
            The screen's text.
        """
        # a sentence may be broken into lines anywhere
        holds = what if callable(what) else lambda text: what in text or what in " ".join(text.split())
        end = time.monotonic() + seconds
        while not holds(self.text):
            left = end - time.monotonic()
            assert left > 0, f"'{what}' did not come within {seconds:g} s; on the screen is\n{self.text}"
            self.read(min(left, 0.5))
        return self.text

    def press(self, *keys: str) -> None:
        """Presses keys."""
        for key in keys:
            self.write(KEYS.get(key) or key.encode())
            # an escape and the next key must not arrive as one sequence
            until = time.monotonic() + (0.4 if key == "escape" else 0.05)
            while time.monotonic() < until:
                self.read(max(0.0, until - time.monotonic()))

    def type(self, text: str) -> None:
        """Types, character by character, in the place of what the field holds."""
        self.press("ctrl+a", "ctrl+k", *text)

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        os.write(self._process.fd, data)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def ended(self, seconds: float = 10) -> int:
        """Waits for its end and returns its exit code."""
        end = time.monotonic() + seconds
        while self._process.isalive():
            assert time.monotonic() < end, f"it did not end within {seconds:g} s; on the screen is\n{self.text}"
            self.read(0.05)
        return int(self._process.exitstatus if self._process.exitstatus is not None else -self._process.signalstatus)


def plain(data: bytes) -> bytes:
    """Returns output without what pyte does not know: private modes with sub-parameters, and answers to queries."""
    return data.replace(b"\x1b[>1u", b"").replace(b"\x1b[<u", b"").replace(b"\x1b[?2048$p", b"")
