"""The product with a power switch: dies by SIGKILL at the n-th record of its journal, before or after it is written.

python killing.py before:3 [ARGUMENT...]
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import msgspec

from homek8s_tui.cli.app import main
from homek8s_tui.engine import journal

when, _, number = sys.argv.pop(1).partition(":")
left = int(number)
guard = threading.Lock()
append = journal.Journal.append


def deadly(self: journal.Journal, run: str, kind: str, step: int, at: float, body: msgspec.Struct) -> None:
    """Writes a record, unless this is where the process dies."""
    global left  # noqa: PLW0603 - the one counter of a process that is about to die
    with guard:
        left -= 1
        last = left == 0
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, run, kind, step, at, body)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)


journal.Journal.append = deadly  # type: ignore[method-assign]  # the whole point
main()
