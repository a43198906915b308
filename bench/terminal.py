"""A program in a terminal of 100 by 30: when a text is on its screen, and how long keys take to bring it there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyte

from bench.report import BenchError

COLUMNS, ROWS = 100, 30


class Terminal:
    """One program that is shown; made by `opened`.

    Args:
        master: The terminal's side of the pseudo-terminal.
        began: When the program was started.
    """

    def __init__(self, master: int, began: float) -> None:
        self._master = master
        self._began = began
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._output: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self._screen.display)

    def until(self, shows: Callable[[str], bool], what: str, seconds: float = 15) -> float:
        """Returns when the output came that made the screen show something, in seconds since the program's start.

        Raises:
            BenchError: If it does not come.
        """
        deadline = time.perf_counter() + seconds
        while True:
            try:
                at, output = self._output.get(timeout=max(0.0, deadline - time.perf_counter()))
            except queue.Empty:
                raise BenchError(f"{what} did not come in {seconds:g} s; the screen:\n{self.text}") from None
            # pyte knows no private markers here, and would take them for text
            self._stream.feed(output.replace(b"\x1b[>1u", b"").replace(b"\x1b[<u", b""))
            if shows(self.text):
                return at - self._began

    def press(self, key: bytes, shows: Callable[[str], bool], what: str) -> float:
        """Presses a key; returns the seconds until the screen shows what it brings."""
        self.settle()
        pressed = time.perf_counter()
        os.write(self._master, key)
        return self.until(shows, what) - (pressed - self._began)

    def settle(self, seconds: float = 0.2) -> None:
        """Takes in what comes for a moment: keys are pressed by people, not in the middle of the last one's answer."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            with contextlib.suppress(queue.Empty):
                self._stream.feed(self._output.get(timeout=left)[1])

    def _read(self) -> None:
        # the time is that of the output's arrival, whatever drawing it here takes
        with contextlib.suppress(OSError):
            while output := os.read(self._master, 1 << 16):
                self._output.put((time.perf_counter(), output))


@contextlib.contextmanager
def opened(argv: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> Iterator[Terminal]:
    """Starts a program in a terminal; ends it afterwards.

    Args:
        argv: Its command line.
        environment: Its variables, besides the terminal's.
        folder: Where it runs.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    variables = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    began = time.perf_counter()
    running = subprocess.Popen(
        argv, env=variables, cwd=folder, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield Terminal(master, began)
    finally:
        running.kill()
        running.wait()
        os.close(master)
