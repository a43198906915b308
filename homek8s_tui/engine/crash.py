"""An error of the program's own: never a traceback on the screen, but a report for whoever mends it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from homek8s_tui.base.safe_text import clean
from homek8s_tui.base.secrets import Secret


def write_report(folder: Path, traceback: str, secrets: Iterable[Secret] = ()) -> str:
    """Writes a report, 0600, and returns where it is as the end of a sentence.

    Args:
        folder: Where reports go.
        traceback: What happened; without the values of variables, which may be anything.
        secrets: Values that must not be in it.
    """
    for secret in secrets:
        if secret.reveal():
            traceback = traceback.replace(secret.reveal(), "<secret>")
    path = folder / f"report-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(clean(traceback, 1 << 20))
    except OSError:
        return "and could not write a report of it."
    return f"what happened is in {path}. Please report it."
