"""How a login becomes root: decided once a connection, the password checked once, alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble

_TRIES = 3


@dataclass(frozen=True)
class Became:
    """The way to root on one connection."""

    prefix: str
    """What goes before a command; empty for root."""
    password: Secret | None = None
    """The line that sudo reads first, where it asks."""


Run = Callable[[str, bytes], tuple[int, str]]
"""Runs a command with that standard input, closed after it; returns its status and standard error."""


def become(user: str, host: str, run: Run, secrets: SecretSource) -> Became:
    """Finds the way to root.

    Args:
        user: The login.
        host: The machine.
        run: Runs a command there.
        secrets: Where a password comes from.

    Raises:
        Trouble: If there is none, or the password is wrong; a wrong one is never tried twice.
    """
    if user == "root":
        return Became("")
    status, said = run("sudo -n true", b"")
    if status == 0:
        return Became("sudo -n ")
    if "not found" in said or status == 127:
        raise Trouble("become root", host, "there is no sudo", "Log in as root, or install sudo there.")
    name = f"sudo:{host}"
    for _ in range(_TRIES):
        password = secrets.get(name, f"sudo password of {user} on {host}")
        # alone and with nothing behind it: after a wrong password sudo would take whatever follows as another try
        status, said = run("sudo -S -k -p '' true", f"{password.reveal()}\n".encode())
        if status == 0:
            return Became("sudo -S -k -p '' ", password)
        if "not in the sudoers" in said or "not allowed" in said or "may not run" in said:
            raise Trouble(
                "become root",
                host,
                f"{user} is not allowed to use sudo: {one_line(said)}",
                f"Add {user} to the group sudo there.",
            )
        if "tty" in said:
            raise Trouble(
                "become root", host, f"sudo wants a terminal: {one_line(said)}", "Remove 'requiretty' from its sudoers."
            )
        if not secrets.reject(name):
            break
    raise Trouble(
        "become root",
        host,
        f"sudo did not accept the password of {user}",
        f"Give the right one ('--secret {name}=...'); the wrong one was tried once and not kept.",
        Kind.SECRET,
    )
