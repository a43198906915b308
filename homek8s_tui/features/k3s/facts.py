"""What K3s is on each node, and what the cluster says of its nodes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Answers, Question
from homek8s_tui.plan.facts import Room, RoomFacts

NAME = "k3s"


class ClusterNode(msgspec.Struct, frozen=True):
    """A node as the API server knows it."""

    name: str
    """Its name."""
    ready: bool
    """Whether it is Ready."""
    version: str
    """Its kubelet's version."""
    address: str
    """Its internal address."""


class Live(msgspec.Struct, frozen=True):
    """K3s on one machine."""

    version: str
    """The installed version, or empty."""
    server: str
    """The state of the server's unit."""
    agent: str
    """The state of the agent's unit."""
    nodes: tuple[ClusterNode, ...]
    """The cluster's nodes, as this machine's API server knows them."""
    silent: str = ""
    """What came back instead of the nodes, where the API server should have told them."""


class Settled(msgspec.Struct, frozen=True):
    """Nothing: what K3s is made of are resources, whose states are asked for."""


def questions(home: Home) -> Mapping[str, tuple[Question, ...]]:
    """Returns the question about each node."""
    return {node.name: (Question(NAME, "k3s"),) for node in home.nodes}


def parse(_home: Home, _host: str, answers: Answers) -> RoomFacts:
    """Reads a machine's answer."""
    answer = answers[NAME]
    live = read(answer.output)
    if answer.status and not live.silent:
        live = msgspec.structs.replace(live, silent=f"the question ended with status {answer.status}")
    return RoomFacts(Settled(), live)


def read(text: str) -> Live:
    """Reads what the question's script prints."""
    values: dict[str, str] = {}
    nodes = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "node":
            words = [*value.split(), "", "", "", ""]
            nodes.append(ClusterNode(words[0], words[1] == "True", words[2], words[3]))
        else:
            values[name] = value.strip()
    return Live(
        values.get("version", ""),
        values.get("k3s", ""),
        values.get("k3s-agent", ""),
        tuple(nodes),
        values.get("silent", ""),
    )


ROOM = Room(NAME, questions, parse)
"""This room's facts."""
