"""Observing and planning: two exchanges a machine for a whole plan."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.base.known import Fresh, Known, Unreachable
from homek8s_tui.base.troubles import EXIT_CODES, Kind, Trouble
from homek8s_tui.engine.world import World
from homek8s_tui.home.artefacts import Download
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.exchange import parse_states, state_question
from homek8s_tui.hosts.host import Asker
from homek8s_tui.hosts.model import Answers, Question
from homek8s_tui.plan.builder import Observed, PlanBuilder, States
from homek8s_tui.plan.facts import Facts, HostFacts, Room
from homek8s_tui.plan.model import Plan
from homek8s_tui.plan.operations import CONSOLE_HOST, Await, LocalFile, Resource

T = TypeVar("T")

NOT_ASKED = frozenset({Await.kind, LocalFile.kind})
"""Kinds whose state no machine of the home knows."""


@dataclass(frozen=True)
class Planner:
    """How an intent becomes a plan."""

    rooms: tuple[Room, ...]
    """The rooms whose questions it needs answered."""
    plan: Callable[[Home, Facts, PlanBuilder], None]
    """The pure planner."""
    downloads: Callable[[Home, Facts], Sequence[Download]]
    """The downloads whose checksums it needs and the inventory does not pin."""


def side_by_side(hosts: Iterable[str], work: Callable[[str], T]) -> dict[str, T | Trouble]:
    """Does the same for several machines at once, a thread each, and returns what came of it by machine."""
    results: dict[str, T | Trouble] = {}

    def run(host: str) -> None:
        try:
            results[host] = work(host)
        except Trouble as trouble:
            results[host] = trouble

    threads = [threading.Thread(target=run, args=(host,), name=f"ask-{host}", daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def ask_all(askers: Mapping[str, Asker], questions: Mapping[str, Sequence[Question]]) -> dict[str, Answers | Trouble]:
    """Asks every machine its questions, in one exchange each."""
    return side_by_side((host for host in questions if questions[host]), lambda host: askers[host].ask(questions[host]))


def observe(world: World, home: Home, rooms: Sequence[Room]) -> Facts:
    """Returns the facts of all rooms about all machines, one exchange a machine."""
    by_room = {room.name: room.questions(home) for room in rooms}
    questions = {
        host.name: [question for asked in by_room.values() for question in asked.get(host.name, ())]
        for host in home.hosts
    }
    began = world.clock.now()
    answers = ask_all(world.askers, questions)
    now = world.clock.now()
    return Facts({host: _known(home, host, answer, rooms, now) for host, answer in answers.items()}, {}, now, began)


def _known(home: Home, host: str, answer: Answers | Trouble, rooms: Sequence[Room], now: float) -> Known[HostFacts]:
    if isinstance(answer, Trouble):
        return Unreachable(host, str(answer), answer.exit_code)
    try:
        return Fresh({room.name: room.parse(home, host, answer) for room in rooms if host in room.questions(home)}, now)
    except Trouble as trouble:
        return Unreachable(host, str(trouble), trouble.exit_code)


def state_questions(
    resources: Iterable[Resource],
) -> tuple[dict[str, list[Question]], dict[tuple[str, str], list[Resource]]]:
    """Returns the questions for the states of resources, a question a kind and machine, and what each is about."""
    grouped: dict[tuple[str, str], dict[tuple[str, str, str], Resource]] = defaultdict(dict)
    for resource in resources:
        if resource.kind not in NOT_ASKED and resource.host != CONSOLE_HOST:
            known = grouped[resource.host, resource.kind].get(resource.key)
            # the same resource may be named twice; the one that knows of more secrets masks more
            if known is None or len(" ".join(known.arguments)) < len(" ".join(resource.arguments)):
                grouped[resource.host, resource.kind][resource.key] = resource
    questions: dict[str, list[Question]] = defaultdict(list)
    asked: dict[tuple[str, str], list[Resource]] = {}
    for (host, kind), found in grouped.items():
        asked[host, kind] = list(found.values())
        questions[host].append(state_question(kind, [resource.arguments for resource in asked[host, kind]]))
    return questions, asked


def read_states(answers: Mapping[str, Answers | Trouble], asked: Mapping[tuple[str, str], list[Resource]]) -> States:
    """Returns the states told by answers to `state_questions`.

    Raises:
        Trouble: If a machine did not answer.
    """
    states: dict[tuple[str, str, str], Observed] = {}
    for (host, kind), resources in asked.items():
        answer = answers[host]
        if isinstance(answer, Trouble):
            raise answer
        told = parse_states(answer[f"state:{kind}"])
        if len(told) != len(resources):
            raise Trouble(
                f"read the state of its {kind}s",
                host,
                f"{len(told)} of {len(resources)} answers came",
                "Try again; if it stays so, run 'homek8s doctor'.",
            )
        for resource, (state, extra) in zip(resources, told, strict=True):
            states[resource.key] = Observed(state, extra)
    return states


def ask_states(world: World, resources: Iterable[Resource]) -> States:
    """Returns the states of resources, one exchange a machine; the kubeconfig's are read here.

    Raises:
        Trouble: If a machine did not answer.
    """
    resources = list(resources)
    questions, asked = state_questions(resources)
    states = dict(read_states(ask_all(world.askers, questions), asked))
    states.update(local_states(world, resources))
    return states


def local_states(world: World, resources: Iterable[Resource]) -> States:
    """Returns the states of this console's own resources."""
    return {
        resource.key: Observed(world.local.state(resource.arguments[0], resource.arguments[1]))
        for resource in resources
        if resource.kind == LocalFile.kind
    }


def make_plan(world: World, home: Home, intent: Intent, planner: Planner, parts: tuple[str, ...] = ()) -> Plan:
    """Observes and plans.

    Args:
        world: The outside.
        home: The inventory.
        intent: What is wanted.
        planner: Who knows how.
        parts: The parts of the plan to make; empty for all.

    Raises:
        Trouble: If a machine stops answering between the two exchanges, or a checksum can't be had.
    """
    facts = observe(world, home, planner.rooms)
    gone = facts.unreachable()
    if gone:
        builder = PlanBuilder(home, intent, {})
        for host, why in gone.items():
            builder.find(unreachable_finding(host, why))
        return builder.build()
    learnt = world.fetcher.checksums(planner.downloads(home, facts))
    facts = replace(facts, checksums=learnt)
    draft = PlanBuilder(home, intent, {}, parts=parts)
    planner.plan(home, facts, draft)
    builder = PlanBuilder(home, intent, ask_states(world, draft.wanted), parts=parts)
    planner.plan(home, facts, builder)
    return builder.build()


def unreachable_finding(host: str, why: Unreachable) -> Finding:
    """Returns the finding of a machine that could not be observed; a missing secret has a name of its own."""
    secret = why.exit_code == EXIT_CODES[Kind.SECRET]
    return Finding(
        "secret-needed" if secret else "unreachable", Severity.BLOCKER, host, f"{host} could not be asked.", why.why
    )
