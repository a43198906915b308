"""How a login becomes root: decided once a connection, the password checked once, alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble

_TRIES = 3
# -k with a command: a ticket that another login left must not decide, it may run out in the middle of a run
_WITHOUT_PASSWORD = "sudo -n -k"  # noqa: S105 - a command, no password
_WITH_PASSWORD = "sudo -S -k -p ''"  # noqa: S105 - likewise
# sudo's own words are compared, so they must be English; login shells differ in how they set variables, env does not
_ENGLISH = "env LC_ALL=C"

_MISSING = re.compile(r"not found|no such file", re.IGNORECASE)
_NEEDS_PASSWORD = re.compile(
    r"password is required|authentication is required|terminal is required to read", re.IGNORECASE
)
_REQUIRES_TTY = re.compile(r"must have a tty|requires? a tty", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"not in the sudoers|may not run|is not allowed|not allowed to", re.IGNORECASE)
_NEW_PASSWORD = re.compile(
    r"new password|password (has )?expired|password is expired|password change required|change your password",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"try again|incorrect (password|authentication)|authentication fail|no password was provided", re.IGNORECASE
)


@dataclass(frozen=True)
class Become:
    """The way to root on one connection."""

    prefix: str = ""
    """What goes before a command, with a space behind it; empty for root."""
    password: Secret | None = None
    """The line that sudo reads first, where it asks."""

    @property
    def first(self) -> bytes:
        """What goes to standard input before everything else."""
        return b"" if self.password is None else f"{self.password.reveal()}\n".encode()


Enter = Callable[[Become], tuple[int, str]]
"""Has a shell of root's started that way, with no input but the password; returns 0 if it was, and what was said."""


def become(user: str, host: str, where: str, enter: Enter, secrets: SecretSource) -> Become:
    """Finds the way to root.

    Args:
        user: The login.
        host: The machine, as secrets are named after it.
        where: The machine and its address, for errors.
        enter: Has a shell started there.
        secrets: Where a password comes from.

    Raises:
        Trouble: If there is none; of kind SECRET if the password is missing or wrong.
    """
    if user == "root":
        return Become()
    status, said = enter(Become(f"{_ENGLISH} {_WITHOUT_PASSWORD} "))
    if status == 0:
        return Become(f"{_WITHOUT_PASSWORD} ")
    if not _NEEDS_PASSWORD.search(said) or _NEW_PASSWORD.search(said):
        raise _refusal(user, where, status, said)
    name = f"sudo:{host}"
    for _ in range(_TRIES):
        password = secrets.get(name, f"sudo password of {user} on {host}")
        # alone and with nothing behind it: after a wrong password sudo would take whatever follows as another try
        status, said = enter(Become(f"{_ENGLISH} {_WITH_PASSWORD} ", password))
        if status == 0 and not _NEW_PASSWORD.search(said):
            return Become(f"{_WITH_PASSWORD} ", password)
        if not _WRONG.search(said) or _NOT_ALLOWED.search(said) or _NEW_PASSWORD.search(said):
            raise _refusal(user, where, status, said)
        if not secrets.reject(name):
            break
    raise Trouble(
        "become root",
        where,
        f"sudo did not accept the password of {user}",
        f"Give the right one, headless with '--secret {name}=fd:N'; a wrong one is not tried again.",
        Kind.SECRET,
    )


def _refusal(user: str, where: str, status: int, said: str) -> Trouble:
    words = one_line(said)
    if _NEW_PASSWORD.search(said):
        came_back = f"the password of {user} has expired: {words}"
        do = f"Log in there as {user} by hand and set a new one."
    elif _NOT_ALLOWED.search(said):
        came_back = f"{user} is not allowed to use sudo: {words}"
        do = f"Add {user} to the group sudo there ('usermod -aG sudo {user}' as root), or log in as another user."
    elif _REQUIRES_TTY.search(said):
        came_back = f"sudo wants a terminal: {words}"
        do = f"Add 'Defaults:{user} !requiretty' to its sudoers with visudo."
    elif status == 127 or _MISSING.search(said):
        came_back = "there is no sudo"
        do = "Install sudo there, or log in as root."
    else:
        came_back = words or f"sudo ended with status {status} and said nothing"
        do = f"Try 'sudo true' there as {user} by hand."
    return Trouble("become root", where, came_back, do)
