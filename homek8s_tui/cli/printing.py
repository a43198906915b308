"""A run on the command line: plain lines, and on a terminal a last line that tells what goes on now."""

from __future__ import annotations

import shutil
import sys
import threading
from typing import TextIO

from homek8s_tui.base.safe_text import clean, one_line
from homek8s_tui.engine.events import Event
from homek8s_tui.engine.progress import Progress, lines
from homek8s_tui.engine.service import LiveRun
from homek8s_tui.plan.review import title

_TICK = 0.5
_ERASE = "\r\x1b[2K"


class RunPrinter:
    """Prints a run's events as they come.

    Args:
        run: The run.
        verbose: Whether the output of jobs is shown, too.
        out: Where to; what goes on now is told only to a terminal.
    """

    def __init__(self, run: LiveRun, verbose: bool, out: TextIO | None = None) -> None:
        self._run = run
        self._verbose = verbose
        self._out = out or sys.stdout
        self._terminal = self._out.isatty()
        self._guard = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> int:
        """Carries the run out and returns its exit code."""
        self._run.watch = self._print
        ticking = threading.Thread(target=self._tick, name="progress", daemon=True)
        if self._terminal:
            ticking.start()
        try:
            ended = self._run.run()
        finally:
            self._ended.set()
            if self._terminal:
                ticking.join()
                self._write("")
        if ended.trouble:
            # it did not even begin: that is for whoever reads errors
            sys.stderr.write(f"{ended.trouble}\n")
        return ended.exit_code

    def _print(self, event: Event) -> None:
        with self._guard:
            told = [clean(line) for line in lines(event, self._verbose)]
            if told:
                self._write("\n".join(told) + "\n")
            if self._terminal and self._run.progress.ended is None:
                self._write(status_line(self._run.progress, self._run.now(), shutil.get_terminal_size().columns))

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            with self._guard:
                if self._run.progress.ended is None:
                    self._write(status_line(self._run.progress, self._run.now(), shutil.get_terminal_size().columns))

    def _write(self, text: str) -> None:
        self._out.write(f"{_ERASE}{text}" if self._terminal else text)
        self._out.flush()


def status_line(progress: Progress, now: float, width: int) -> str:
    """Returns what goes on now: steps done, and on each machine what for how long.

    Args:
        progress: The run.
        now: The time, in seconds since the epoch.
        width: The terminal's columns.
    """
    doing = "; ".join(
        f"{host}: {title(step.step)} {max(0.0, now - step.began):.0f} s" for host, step in progress.running().items()
    )
    line = one_line(f"[{progress.finished}/{len(progress.steps)}] {doing or 'proving that it works'}", 1000)
    return line[: max(0, width - 1)]
