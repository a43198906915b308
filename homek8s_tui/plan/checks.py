"""Checks as data: where to look from, what to look at, what to expect, and how long to wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

CONSOLE = "console"
"""The vantage of this machine; from the home's point of view, the internet side of the proxy."""


class Port(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Whether a TCP port accepts a connection. Seen: ``open``, ``refused``, ``timeout``."""

    vantage: str
    """`CONSOLE` or a host's name."""
    address: str
    """The address to connect to."""
    port: int
    """The port."""


class Scan(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Which TCP ports accept a connection: the suspects and every port that any machine of the home listens on.

    Seen: ``open``, the open ports separated by spaces, and ``asked``, how many were tried.
    """

    vantage: str
    """`CONSOLE` or a host's name."""
    address: str
    """The address to connect to."""
    suspects: tuple[int, ...]
    """Ports that are always tried."""


class Tls(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The certificate served at a port. Seen: ``certificate`` (SHA-256) and ``names``, or ``refused``, ``timeout``."""

    vantage: str
    """`CONSOLE` or a host's name."""
    address: str
    """The address to connect to."""
    port: int
    """The port."""
    server_name: str
    """The name asked for (SNI)."""
    proxy_protocol: bool = False
    """Whether a PROXY protocol v2 header goes first, as the proxy sends one to the nodes."""
    authority: str = ""
    """The kubeconfig context whose CA must have signed it for `server_name`; empty to accept any."""


class Http(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A GET over verified TLS with a kubeconfig context's credentials. Seen: ``status``, or what failed."""

    vantage: str
    """`CONSOLE` or a host's name."""
    address: str
    """The address to connect to."""
    port: int
    """The port."""
    server_name: str
    """The name asked for and verified."""
    path: str
    """The path of the request."""
    context: str
    """The kubeconfig context with the CA and the credentials."""


class Asked(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A question to a machine. Seen: ``status``, ``output`` and ``errors``."""

    vantage: str
    """The host asked."""
    script: str
    """The question's script."""
    arguments: tuple[str, ...] = ()
    """Its arguments."""


Probe = Port | Scan | Tls | Http | Asked


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that must hold: a step's proof, something to wait for, a line of status or the doctor's."""

    id: str
    """Unique within a plan."""
    title: str
    """What holds if it passes: ``proxy and pi4 shook hands``."""
    probes: tuple[Probe, ...]
    """What to look at; the judge gets what was seen, in this order."""
    judge: str
    """The judge's name in the registry."""
    expect: tuple[str, ...] = ()
    """The judge's arguments."""
    within: int = 0
    """How long to go on asking until it holds, in seconds; 0 asks once."""
    explain: str = ""
    """What the operator can do if it does not hold."""


State = Literal["holds", "pending", "fails"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says."""

    state: State
    """``pending`` holds for now: what it is about does not exist yet."""
    words: str
    """What was seen, in a sentence's words."""


Seen = Mapping[str, str]
"""What a probe saw; a key ``trouble`` holds the sentence of a vantage that could not be asked."""
Judge = Callable[[Check, tuple[Seen, ...], float], Verdict]
"""Judges what the probes saw, at a time in seconds since the epoch."""


def is_open(check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that every probed port accepts connections."""
    closed = [
        f"{probe.address}:{probe.port} from {probe.vantage}: {_words(look)}"
        for probe, look in zip(check.probes, seen, strict=True)
        if isinstance(probe, Port) and look.get("state") != "open"
    ]
    return Verdict("fails", "; ".join(closed)) if closed else Verdict("holds", "it accepts connections")


def answers_status(check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that every HTTP answer has the expected status, ``expect[0]``."""
    for look in seen:
        if "status" not in look:
            return Verdict("fails", f"no answer: {_words(look)}")
        if look["status"] != check.expect[0]:
            return Verdict("fails", f"answered {look['status']} and not {check.expect[0]}")
    return Verdict("holds", f"answered {check.expect[0]}")


def succeeds(_check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that every asked script ended with status 0."""
    for look in seen:
        if look.get("status") != "0":
            return Verdict("fails", _words(look))
    return Verdict("holds", "answered")


def verified(_check: Check, seen: tuple[Seen, ...], _now: float) -> Verdict:
    """Judges that every TLS probe saw a certificate that its authority signed for the name asked for."""
    for look in seen:
        if "certificate" not in look:
            return Verdict("fails", f"no good certificate came: {_words(look)}")
    return Verdict("holds", "the certificate is signed by the cluster's CA for that name")


def _words(look: Seen) -> str:
    return (
        look.get("trouble")
        or look.get("errors")
        or look.get("output")
        or look.get("state")
        or look.get("status")
        or "nothing"
    )


JUDGES: dict[str, Judge] = {
    "is-open": is_open,
    "answers-status": answers_status,
    "succeeds": succeeds,
    "verified": verified,
}
"""The judges that need no room's knowledge; wiring adds those of the rooms."""
