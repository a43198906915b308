"""What people's own ``~/.ssh/config`` says about a name: OpenSSH's client is asked, nothing is read here."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble

_SECONDS = 10
_HOP = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@:\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)
_TOKEN = re.compile(r"%(.?)|\$\{(\w+)\}")
_REFUSED = {
    "bindaddress": "Remove it for this name, or leave ssh.config out",
    "bindinterface": "Remove it for this name, or leave ssh.config out",
    "certificatefile": "Remove it for this name and let a plain key in there, or leave ssh.config out",
    "pkcs11provider": "Remove it for this name and give the key to your agent ('ssh-add -s'), or leave ssh.config out",
}
"""What changes the connection or the login and can't be followed, and what to do instead."""


@dataclass(frozen=True)
class Hop:
    """A machine to go through, as ``ProxyJump`` names one."""

    host: str
    """Its name, or its address."""
    user: str | None = None
    """Who logs in, where that is said."""
    port: int | None = None
    """The port, where that is said."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True)
class Settings:
    """What OpenSSH would do for a name."""

    host: str
    """Where it would connect to: the name itself where no ``HostName`` is given."""
    user: str
    """As whom it would log in."""
    port: int
    """The port."""
    identities: tuple[str, ...] = ()
    """The key files, none of which has to exist."""
    only: bool = False
    """Whether the agent's other keys are left out (``IdentitiesOnly``)."""
    agent: str = "SSH_AUTH_SOCK"
    """The agent's socket, the variable that names it, or ``none``."""
    alias: str = ""
    """The name that the host key is pinned under (``HostKeyAlias``)."""
    jumps: tuple[Hop, ...] = ()
    """The machines to go through, in that order."""
    command: str = ""
    """The ``ProxyCommand``."""


def settings(name: str, user: str | None = None, port: int | None = None) -> Settings:
    """Asks OpenSSH's client about a name with ``ssh -G`` (ssh(1)), which connects to nothing.

    Args:
        name: The name.
        user: Who logs in, whatever the configuration says.
        port: The port, whatever the configuration says.

    Returns:
        Its answer.

    Raises:
        Trouble: There is no such program, it does not answer, or the answer can't be followed.
    """
    if name.startswith("-"):
        raise _refusal(name, "a name does not begin with a dash", "Correct ssh.config in homek8s.yaml")
    fixed = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and what follows -- is no option
            ["ssh", *fixed, "-G", "--", name],  # noqa: S607 - the one that people's own shells find
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        do = "Install openssh-client here, or write user, port and ssh.jump in homek8s.yaml instead of ssh.config"
        raise _refusal(name, "OpenSSH's client (ssh) is not installed here", do) from None
    except subprocess.TimeoutExpired:
        said = f"'ssh -G {name}' did not answer in {_SECONDS} s"
        raise _refusal(name, said, "See whether a 'Match exec' in ~/.ssh/config hangs") from None
    except OSError as error:
        raise _refusal(name, f"ssh can't be run ({error.strerror})", "Look at that program") from None
    if done.returncode:
        # the last line only sums up; the one before names file, line and option
        words = [line for line in done.stderr.splitlines() if line and not line.startswith("Pseudo-terminal")]
        said = one_line("; ".join(words[:2]), 300) or f"ssh ended with status {done.returncode}"
        raise _refusal(name, said, f"Correct ~/.ssh/config; 'ssh -G {name}' shows what it makes of it")
    here = {"d": str(Path.home()), "i": str(os.getuid()), "l": socket.gethostname(), "u": getpass.getuser()}
    return parse(done.stdout, name, here, os.environ)


def parse(text: str, name: str, here: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Reads what ``ssh -G`` printed: a line an option, its name in small letters first.

    Args:
        text: The output.
        name: The name that was asked about.
        here: What the tokens that are about this console stand for (ssh_config(5), TOKENS), by their letter.
        environ: The variables that files may be named by.

    Returns:
        What matters of it.

    Raises:
        Trouble: It asks for what can't be followed, or is no such output.
    """
    told: dict[str, list[str]] = {}
    for line in text.split("\n"):
        option, _, value = line.strip("\r").partition(" ")
        told.setdefault(option.lower(), []).append(value.strip())
    first = {option: values[0] for option, values in told.items() if values[0] not in ("", "none")}
    for option, do in _REFUSED.items():
        if option in first:
            raise _refusal(name, f"{option} {one_line(first[option], 80)} can't be followed", do)
    host, user, port = first.get("hostname", ""), first.get("user", ""), _port(first.get("port", ""))
    alias = first.get("hostkeyalias", "")
    if not host or not user or port is None or not (host + user + alias).isprintable():
        raise _refusal(name, "ssh -G did not tell host, user and port", "Bring OpenSSH's client up to date")
    known = {**here, "%": "%", "h": host, "k": alias or name, "n": name, "p": str(port), "r": user}

    def file(option: str, path: str) -> str:
        """Puts in what tokens and variables stand for; ssh -G prints them as they were written."""

        def value(token: re.Match[str]) -> str:
            found = environ.get(token[2]) if token[2] else known.get(token[1])
            if found is None:
                said = f"'{token[0]}' in {option} {one_line(path, 80)} can't be followed"
                raise _refusal(name, said, "Write the path out in ~/.ssh/config")
            return found

        with contextlib.suppress(RuntimeError):  # somebody who has no home folder here
            return str(Path(_TOKEN.sub(value, path)).expanduser())
        raise _refusal(name, f"{option} {one_line(path, 80)} can't be followed", "Write the path out in ~/.ssh/config")

    agent = told.get("identityagent", [""])[0]
    if agent.startswith("$") and "/" not in agent:
        agent = environ.get(agent.strip("${}")) or "none"
    return Settings(
        host,
        user,
        port,
        tuple(file("IdentityFile", path) for path in told.get("identityfile", ()) if path not in ("", "none")),
        first.get("identitiesonly") == "yes",
        file("IdentityAgent", agent) if agent not in ("", "none", "SSH_AUTH_SOCK") else agent or "SSH_AUTH_SOCK",
        alias,
        tuple(hop(each, name) for each in first.get("proxyjump", "").split(",") if each),
        first.get("proxycommand", ""),
    )


def hop(text: str, name: str) -> Hop:
    """Reads a machine to go through: ``[user@]host[:port]``, as in ``ProxyJump``.

    Args:
        text: Its text; an address of IPv6 stands in brackets.
        name: The machine it is for, for errors.

    Raises:
        Trouble: If it is none.
    """
    found = _HOP.fullmatch(text.removeprefix("ssh://").rstrip("/").strip())
    host = (found["six"] or found["host"]) if found else ""
    port = _port(found["port"]) if found and found["port"] else None
    if found is None or host.startswith("-") or (found["port"] and port is None) or one_line(text) != text:
        said = f"'{one_line(text, 80)}' is no machine to go through"
        raise _refusal(name, said, "Write ProxyJump as user@host:port, or ssh.jump in homek8s.yaml")
    return Hop(host, found["user"], port)


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 65536 else None


def _refusal(name: str, came_back: str, do: str) -> Trouble:
    return Trouble(f"use what ~/.ssh/config says of {one_line(name, 80)}", "", came_back, do, Kind.USAGE)
