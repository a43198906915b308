"""What a machine is, asked in one question."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Answer, Answers, Question
from homek8s_tui.plan.facts import Room, RoomFacts

NAME = "nodes"


class Listener(msgspec.Struct, frozen=True):
    """A socket that somebody listens on."""

    protocol: str
    """``tcp`` or ``udp``."""
    port: int
    """The port."""
    address: str
    """The address it is bound to."""
    program: str
    """The program, or ``kernel``."""


class Settled(msgspec.Struct, frozen=True):
    """What stays until somebody changes it."""

    architecture: str
    """As ``uname -m`` says it."""
    os_id: str
    """The distribution: ``debian``, ``raspbian``, ``ubuntu``."""
    os_version: str
    """Its version."""
    hostname: str
    """What the machine calls itself."""
    cgroup_v2: bool
    """Whether the unified cgroup hierarchy is mounted; kubelet refuses the old one from 1.35 on."""
    memory_cgroup: bool
    """Whether the memory controller is on."""
    wireguard: str
    """``kernel``, ``user`` (a TUN device is there for wireguard-go) or ``none``."""
    curl: bool
    """Whether the machine can download by itself."""
    apt: bool
    """Whether packages come by apt."""
    forwarding: str
    """What sshd allows of TCP forwarding; empty where it would not say."""
    addresses: tuple[tuple[str, str], ...]
    """Interfaces and their IPv4 addresses with prefix, the tunnel's left out."""


class Live(msgspec.Struct, frozen=True):
    """What changes by itself."""

    disk_free_kb: int
    """Free space where the cluster's data will lie."""
    memory_kb: int
    """All of its memory."""
    clock: float
    """What its clock said, in seconds since the epoch."""
    clock_synchronized: bool
    """Whether its clock is kept by the network."""
    listeners: tuple[Listener, ...]
    """Who listens."""


def questions(home: Home) -> Mapping[str, tuple[Question, ...]]:
    """Returns the one question about each machine."""
    return {host.name: (Question(NAME, "nodes"),) for host in home.hosts}


def parse(home: Home, host: str, answers: Answers) -> RoomFacts:
    """Reads a machine's answer.

    Raises:
        Trouble: If it is not what the script prints.
    """
    return read(answers[NAME], host, home.tunnel.name)


def read(answer: Answer, host: str, own: str) -> RoomFacts:
    """Reads what the question's script prints.

    Args:
        answer: The answer.
        host: The machine.
        own: The tunnel's interface, which is none of the machine's own.

    Raises:
        Trouble: If it is not what the script prints.
    """
    values: dict[str, str] = {}
    listeners: list[Listener] = []
    for line in answer.output.splitlines():
        name, found, value = line.partition("=")
        if name == "listens":
            words = value.split()
            if len(words) == 4 and words[1].isdigit():
                listeners.append(Listener(words[0], int(words[1]), words[2], words[3]))
        elif found:
            values[name] = value.strip()
    if not values.get("architecture"):
        raise Trouble(
            "learn what the machine is",
            host,
            one_line(answer.errors) or "it said nothing",
            "Log in there and look whether 'uname' and 'ss' work.",
        )
    os_words = [*values.get("os", "").split(), "", ""]
    return RoomFacts(
        Settled(
            architecture=values["architecture"],
            os_id=os_words[0],
            os_version=os_words[1],
            hostname=values.get("hostname", ""),
            cgroup_v2=values.get("cgroup") == "cgroup2fs",
            memory_cgroup=values.get("memory_cgroup") == "yes",
            wireguard=values.get("wireguard", "none"),
            curl=values.get("curl") == "yes",
            apt=values.get("apt") == "yes",
            forwarding=values.get("forwarding", ""),
            addresses=_addresses(values.get("addresses", ""), own),
        ),
        Live(
            disk_free_kb=_number(values.get("disk_free_kb", "")),
            memory_kb=_number(values.get("memory_kb", "")),
            clock=float(_number(values.get("clock", ""))),
            listeners=tuple(listeners),
            clock_synchronized=values.get("clock_synchronized") == "yes",
        ),
    )


def _addresses(text: str, own: str) -> tuple[tuple[str, str], ...]:
    pairs = (word.partition(":") for word in text.split())
    # what K3s and the tunnel bring along later must not look like a changed machine
    brought = (own, "lo", "cni", "flannel", "veth", "docker")
    return tuple(sorted((name, address) for name, _, address in pairs if not name.startswith(brought)))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


ROOM = Room(NAME, questions, parse)
"""This room's facts."""
