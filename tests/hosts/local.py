"""Runs composed scripts as a machine would, in this machine's own ``sh``."""

from __future__ import annotations

import subprocess

from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.exchange import Reply
from homek8s_tui.hosts.model import Change, Outcome

NONCE = "0123456789abcdef"


def run(script: str, before: bytes = b"", after: bytes = b"", cut: int = 0) -> Reply:
    """Runs a script through the wrapper.

    Args:
        script: The composed script.
        before: What comes before the nonce, as a password does that sudo left unread.
        after: What comes behind the script.
        cut: How many bytes of it all never arrive.
    """
    data = before + exchange.message(NONCE, script) + after
    done = subprocess.run(
        ["sh", "-c", exchange.WRAPPER, "sh", NONCE],
        input=data[: len(data) - cut],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Reply(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def change(change: Change) -> Outcome:
    """Makes a change here."""
    content = change.stream.read_bytes() if change.stream else b""
    reply = run(exchange.change_script(change, len(content)), after=content)
    output = reply.output.removeprefix(exchange.READY)
    return exchange.read_outcome("here", "change it", Reply(reply.status, output, reply.errors))
