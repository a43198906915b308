"""Whatever state machines are in, the set-up's plan is well-formed, and it rests on nothing that it does not name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from homek8s_tui.base.findings import Intent
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.setup.plans import PARTS, planner
from homek8s_tui.home.inventory import Home, parse
from homek8s_tui.plan.builder import Ensured, Observed, PlanBuilder, States
from homek8s_tui.plan.facts import Facts
from homek8s_tui.plan.model import Plan, Risk, decode, encode
from homek8s_tui.plan.operations import Await, File, Operation, Resource, Secret, Unit
from homek8s_tui.plan.review import review
from homek8s_tui.plan.standing import matches
from homek8s_tui.plan.values import Output, holes

from ..conftest import HOME
from .test_setup_plan import SETTLED, facts

Key = tuple[str, str, str]
HOME_OF_TESTS = parse(HOME, "homek8s.yaml")
DIGESTS = ("0" * 64, "5" * 64, "f" * 64)
PUBLIC = "A" * 42 + "A="

FACTS: Mapping[str, st.SearchStrategy[object]] = {
    "architecture": st.sampled_from(["x86_64", "aarch64", "armv7l"]),
    "os_id": st.sampled_from(["debian", "ubuntu"]),
    "os_version": st.sampled_from(["11", "13"]),
    "cgroup_v2": st.booleans(),
    "memory_cgroup": st.booleans(),
    "wireguard": st.sampled_from(["kernel", "user", "none"]),
    "curl": st.booleans(),
    "forwarding": st.sampled_from(["", "yes", "no"]),
    "hostname": st.sampled_from(["pi4", "other"]),
    "addresses": st.sampled_from([(), (("eth0", "192.0.2.9/24"),), (("eth1", "10.1.10.9/24"),)]),
    "apt": st.booleans(),
}
SETTLED_FACTS = st.fixed_dictionaries({name: st.none() | values for name, values in FACTS.items()})
MACHINES = [host.name for host in HOME_OF_TESTS.hosts]


@dataclass
class Recording(PlanBuilder):
    """A builder that remembers what the rooms asked it for."""

    ensured: list[tuple[Operation, str, Ensured]] = field(default_factory=list)

    def ensure(self, operation: Operation, because: str, risk: Risk = Risk.SAFE) -> Ensured:
        """Remembers and plans."""
        made = super().ensure(operation, because, risk)
        self.ensured.append((operation, self._stage.split("/")[0], made))
        return made


@dataclass(frozen=True)
class Case:
    """Machines in any state."""

    facts: Facts
    states: States
    parts: tuple[str, ...]

    def planned(self, observed: Facts | None = None, states: States | None = None) -> tuple[Plan, Recording]:
        """Plans, and says what was asked for."""
        builder = Recording(HOME_OF_TESTS, Intent("setup"), self.states if states is None else states, parts=self.parts)
        planner("/home/me/.kube/config")(HOME_OF_TESTS, observed or self.facts, builder)
        return builder.build(), builder


def machines(home: Home, changes: Mapping[str, Mapping[str, object]]) -> Facts:
    """What the machines say of themselves."""
    return facts(
        home,
        {
            host.name: msgspec.structs.replace(
                SETTLED,
                **{
                    "hostname": host.name,
                    **{name: value for name, value in changes.get(host.name, {}).items() if value is not None},
                },
            )
            for host in home.hosts
        },
    )


def some_states(operation: Operation) -> list[Callable[[str], Observed]]:
    """States that a resource may be in, by a digest: as wanted, as on a bare machine, and in anybody's own ways."""
    after = operation.wanted({})
    plain: dict[str, list[str]] = {
        "file": ["absent", "file 644 root root DIGEST", "file 600 me me DIGEST", "link", "directory", "special"],
        "artefact": ["absent", "file 755 root DIGEST", "file 644 me DIGEST", "special"],
        "user": ["absent", "present /bin/bash /home/traefik"],
        "unit": [
            "disabled inactive current",
            "enabled active stale",
            "enabled active current",
            "disabled active current",
            "enabled failed current",
            "enabled activating current",
            "masked inactive current",
        ],
        "local": ["absent", "context https://elsewhere:6443 DIGEST"],
        "k3s-installed": ["absent"],
        "k3s-joined": ["absent", "installed"],
    }
    found = [
        lambda digest, state=state: Observed(state.replace("DIGEST", digest))
        for state in plain.get(operation.kind if operation.kind != "command" else operation.state_kind, [])
    ]
    if operation.kind == "packages":
        names = operation.resource.name.split()
        found = [
            lambda _digest: Observed(" ".join(f"{name}=absent" for name in names)),
            lambda _digest: Observed(" ".join([f"{names[0]}=installed", *(f"{name}=absent" for name in names[1:])])),
        ]
    if isinstance(operation, Secret):
        public = f"\npublic={PUBLIC}" if operation.make == "wg-private-key" else ""
        found = [
            lambda _digest: Observed("absent"),
            lambda _digest: Observed("special"),
            lambda digest: Observed(f"present 644 me {digest}", f"sha256={digest}{public}"),
            # without WireGuard's tools nobody can tell a key's public half
            lambda digest: Observed(f"present 600 root {digest}", f"sha256={digest}"),
            lambda digest: Observed(f"present 600 root {digest}", f"sha256={digest}{public}"),
        ]
    elif after is not None:
        found.append(lambda digest: Observed(after.replace("*", digest)))
    return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any machines in any state; at times the same everywhere, so that much is held."""
    observed = machines(HOME_OF_TESTS, draw(st.dictionaries(st.sampled_from(MACHINES), SETTLED_FACTS, max_size=3)))
    parts = draw(st.just(()) | st.lists(st.sampled_from(PARTS), unique=True, min_size=1).map(tuple))
    draft = Recording(HOME_OF_TESTS, Intent("setup"), {})
    planner("/home/me/.kube/config")(HOME_OF_TESTS, observed, draft)
    usual = draw(st.sampled_from([0, -1]))
    states: dict[Key, Observed] = {}
    for operation, _, _ in draft.ensured:
        choices = some_states(operation)
        if choices:
            choice = draw(st.just(usual) | st.integers(0, len(choices) - 1)) if draw(st.integers(0, 3)) == 0 else usual
            states[operation.resource.key] = choices[choice](
                draw(st.sampled_from(DIGESTS)) if choice != usual else DIGESTS[0]
            )
    return Case(observed, states, parts)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_resource_is_held_or_has_a_step_that_starts_where_it_is(case: Case) -> None:
    plan, asked = case.planned()
    held = {each.resource.key: each for each in plan.held}
    steps = {step.number: step for step in plan.steps}
    assert len(held) == len(plan.held)
    assert list(steps) == list(range(1, len(steps) + 1))
    changed: set[tuple[str, str]] = set()
    for operation, part, made in asked.ensured:
        resource = operation.resource
        now = case.states.get(resource.key, Observed("unknown"))
        state = now.state
        if isinstance(operation, Unit) and any((operation.host, path) in changed for path in operation.watch):
            state = state.replace(" current", " stale")
        after = operation.wanted({})
        untold = isinstance(operation, Secret) and operation.make == "wg-private-key" and "public=" not in now.extra
        if after is not None and matches(state, after) and not untold:
            assert made.step == 0
            assert matches(state, held[resource.key].state)
        elif case.parts and part not in case.parts:
            assert (made.step, resource.key in held) == (0, False)
        else:
            step = steps[made.step]
            assert resource.key not in held
            assert (step.operation, step.original) == (operation, now.state)
            assert matches(state, step.before)
            # what somebody else made is replaced only as it was seen, and a file's old text is in the diff
            if operation.kind in ("file", "secret", "artefact", "user", "local"):
                assert step.before == now.state
            assert step.shown_before == (now.extra if isinstance(operation, File) else "")
            changed.add((operation.host, resource.name))
    assert {step.operation.resource.key for step in plan.steps} == {
        operation.resource.key for operation, _, made in asked.ensured if made.step
    }


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_plan_is_in_order_and_the_same_each_time(case: Case) -> None:
    plan, _ = case.planned()
    order = [stage.name for stage in plan.stages]
    assert len(set(order)) == len(order)
    assert set(order) == {step.stage for step in plan.steps}
    assert [order.index(step.stage) for step in plan.steps] == sorted(order.index(step.stage) for step in plan.steps)
    assert not case.parts or {name.split("/")[0] for name in order} <= set(case.parts)
    for step in plan.steps:
        for hole in values_of(step.operation):
            giver = plan.steps[hole.step - 1]
            # lanes run side by side, so a value of another machine must come from an earlier stage
            assert order.index(giver.stage) < order.index(step.stage)
            assert (hole.name, hole.kind) in giver.operation.gives
        for secret in getattr(step.operation, "copy_of", None), getattr(step.operation, "source", None):
            makers = [
                other
                for other in plan.steps
                if secret and (other.host, other.operation.resource.name) == (secret.host, secret.path)
            ]
            assert all(order.index(maker.stage) < order.index(step.stage) for maker in makers)
    again, _ = case.planned()
    assert again == plan
    assert decode(encode(plan), "here") == plan
    assert decode(encode(plan), "here").digest == again.digest
    assert review(plan).endswith(f"Digest {plan.digest}\n")


def values_of(operation: Operation) -> list[Output]:
    """The holes of an operation, wherever it has them."""
    found: list[Output] = []
    for name in ("content", "digest", "certificate"):
        template = getattr(operation, name, None)
        found += holes(template) if isinstance(template, tuple) else ()
    return found


@settings(max_examples=100, deadline=None)
@given(cases(), st.fixed_dictionaries(dict.fromkeys(MACHINES, SETTLED_FACTS)))
def test_a_plan_rests_on_nothing_it_does_not_name(case: Case, told: Mapping[str, Mapping[str, object]]) -> None:
    plan, asked = case.planned()
    premises = {(premise.host, premise.name) for premise in plan.premises}
    settled = {}
    for host in MACHINES:
        known = case.facts.of(host, nodes.NAME)
        assert known is not None and isinstance(known.settled, nodes.Settled)
        free = {
            name: value
            for name, value in told[host].items()
            if value is not None and (host, f"{nodes.NAME}.{name}") not in premises
        }
        settled[host] = msgspec.structs.replace(known.settled, **free)
    other, _ = case.planned(facts(HOME_OF_TESTS, settled))
    # findings judge; they are shown, and no step depends on them
    assert msgspec.structs.replace(other, findings=()) == msgspec.structs.replace(plan, findings=())
    # nor does it matter what else is told of what is held (a secret's public values aside), or of other things
    loose: dict[Key, Observed] = {
        key: Observed(now.state, now.extra if key[1] == "secret" else "# somebody's text\n")
        for key, now in case.states.items()
        if key in {held.resource.key for held in plan.held}
    }
    strangers = {Resource(host, "file", ("/etc/motd",)).key: Observed("absent") for host in MACHINES}
    assert not strangers.keys() & {resource.key for resource in asked.wanted}
    same, _ = case.planned(states={**case.states, **loose, **strangers})
    assert same == plan


def test_the_cases_reach_what_they_are_about() -> None:
    """The strategies would be worth little if a planned kind of resource had no state but one."""
    draft = Recording(HOME_OF_TESTS, Intent("setup"), {})
    planner("/home/me/.kube/config")(HOME_OF_TESTS, facts(HOME_OF_TESTS), draft)
    for operation, _, _ in draft.ensured:
        if not isinstance(operation, Await):
            assert len({made(DIGESTS[1]).state for made in some_states(operation)}) > 1, operation.resource
