"""How the tunnel fares on each machine: handshakes, endpoints, traffic."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Answers, Question
from homek8s_tui.plan.facts import Room, RoomFacts

NAME = "tunnels"


class Peer(msgspec.Struct, frozen=True):
    """The other end of an edge, as a machine sees it."""

    address: str
    """Its tunnel address."""
    endpoint: str
    """Where its packets come from, or empty."""
    handshake_age: float | None
    """Seconds since the last handshake; None for never."""
    received: int
    """Bytes received from it."""
    sent: int
    """Bytes sent to it."""
    keepalive: str
    """Its keepalive in seconds, or ``off``."""


class Live(msgspec.Struct, frozen=True):
    """The tunnel's interface on one machine."""

    up: bool
    """Whether the interface is there."""
    mtu: int
    """Its MTU."""
    peers: tuple[Peer, ...]
    """Its peers."""


class Settled(msgspec.Struct, frozen=True):
    """Nothing: what the tunnel is made of are resources, whose states are asked for."""


def questions(home: Home) -> Mapping[str, tuple[Question, ...]]:
    """Returns the question about the tunnel on each machine."""
    return {host.name: (Question(NAME, "tunnel", (home.tunnel.name,)),) for host in home.hosts}


def parse(_home: Home, _host: str, answers: Answers) -> RoomFacts:
    """Reads a machine's answer."""
    return RoomFacts(Settled(), read(answers[NAME].output))


def read(text: str) -> Live:
    """Reads what the question's script prints. Lines that are not understood are passed over."""
    values: dict[str, str] = {}
    peers: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        what, *rest = line.split("\t")
        if rest and len(rest) >= 2:
            peers.setdefault(rest[0], {})[what] = rest[1:]
        elif "=" in line:
            name, _, value = line.partition("=")
            values[name] = value
    now = _number(values.get("now", "0"))
    return Live(
        values.get("interface") == "up",
        _number(values.get("mtu", "0")),
        tuple(sorted((_peer(told, now) for told in peers.values()), key=lambda peer: peer.address)),
    )


def _peer(told: Mapping[str, list[str]], now: int) -> Peer:
    handshake = _number(told.get("latest-handshakes", ["0"])[0])
    endpoint = told.get("endpoints", ["(none)"])[0]
    transfer = [*told.get("transfer", []), "0", "0"]
    return Peer(
        address=told.get("allowed-ips", [""])[0].split("/")[0].split(" ")[0],
        endpoint="" if endpoint == "(none)" else endpoint,
        handshake_age=max(0.0, float(now - handshake)) if handshake else None,
        received=_number(transfer[0]),
        sent=_number(transfer[1]),
        keepalive=told.get("persistent-keepalive", ["off"])[0],
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


ROOM = Room(NAME, questions, parse)
"""This room's facts."""
