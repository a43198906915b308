"""The set-up's plan as a table: facts in, steps out."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from homek8s_tui.base.findings import Intent, Severity
from homek8s_tui.base.known import Fresh
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.nodes.findings import preflight
from homek8s_tui.features.setup.plans import downloads, parts, planner
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.builder import Observed, PlanBuilder, States
from homek8s_tui.plan.facts import Facts, RoomFacts
from homek8s_tui.plan.model import Plan, decode, encode
from homek8s_tui.plan.operations import Await, File, Unit
from homek8s_tui.plan.review import review

NOW = 1_800_000_000.0
SETTLED = nodes.Settled(
    architecture="aarch64",
    os_id="debian",
    os_version="12",
    hostname="",
    cgroup_v2=True,
    memory_cgroup=True,
    wireguard="kernel",
    curl=False,
    apt=True,
    forwarding="yes",
    addresses=(("eth0", "192.0.2.7/24"),),
)
LIVE = nodes.Live(disk_free_kb=50_000_000, memory_kb=8_000_000, clock=NOW, clock_synchronized=True, listeners=())


def facts(home: Home, settled: dict[str, nodes.Settled] | None = None, live: nodes.Live = LIVE) -> Facts:
    """What three machines said."""
    hosts = {}
    for host in home.hosts:
        known = (settled or {}).get(host.name) or msgspec.structs.replace(SETTLED, hostname=host.name)
        hosts[host.name] = Fresh({"nodes": RoomFacts(known, live)}, NOW)
    found = Facts(hosts, {}, NOW, NOW - 1)
    return Facts(
        hosts, {download.key: f"{number:064x}" for number, download in enumerate(downloads(home, found))}, NOW, NOW - 1
    )


def planned(home: Home, observed: Facts, states: States | None = None, chosen: tuple[str, ...] = ()) -> Plan:
    """The plan, made in two passes as the engine makes it."""
    draft = PlanBuilder(home, Intent("setup"), {}, parts=chosen)
    planner("/home/me/.kube/config")(home, observed, draft)
    bare = {resource.key: Observed(_bare(resource.kind, resource.name)) for resource in draft.wanted}
    builder = PlanBuilder(home, Intent("setup"), {**bare, **(states or {})}, parts=chosen)
    planner("/home/me/.kube/config")(home, observed, builder)
    return builder.build()


def _bare(kind: str, name: str) -> str:
    if kind == "unit":
        return "disabled inactive current"
    if kind == "packages":
        return " ".join(f"{package}=absent" for package in name.split())
    return "absent"


def held_states(plan: Plan) -> States:
    """How the machines are once a plan ran."""
    states: dict[tuple[str, str, str], Observed] = {}
    key = "A" * 42 + "A="
    for step in plan.steps:
        resource = step.operation.resource
        outputs = {
            (other.number, name): "0" * 64 if kind == "sha256" else key
            for other in plan.steps
            for name, kind in other.operation.gives
        }
        after = step.operation.wanted(outputs)
        assert after is not None
        extra = f"sha256={'0' * 64}\npublic={key}" if step.operation.gives else ""
        states[resource.key] = Observed(after.replace("*", "0" * 64), extra)
    return states


def test_bare_machines_get_everything_and_a_second_plan_nothing(home: Home) -> None:
    plan = planned(home, facts(home))
    assert [stage.name.split("/")[0] for stage in plan.stages] == sorted(
        (stage.name.split("/")[0] for stage in plan.stages), key=["tunnel", "proxy", "k3s", "access"].index
    )
    assert len(plan.proofs) == 12
    again = planned(home, facts(home), held_states(plan))
    assert again.steps == ()
    assert len(again.held) == len([step for step in plan.steps if not isinstance(step.operation, Await)])


def test_a_changed_file_restarts_what_reads_it_and_nothing_else(home: Home) -> None:
    plan = planned(home, facts(home))
    states = {
        **held_states(plan),
        ("pi4", "file", "/etc/wireguard/k8s-tunnel.conf"): Observed("file 600 root root 0bad"),
    }
    changed = [
        step.operation for step in planned(home, facts(home), states).steps if not isinstance(step.operation, Await)
    ]
    assert [(type(operation), operation.host, operation.resource.name) for operation in changed] == [
        (File, "pi4", "/etc/wireguard/k8s-tunnel.conf"),
        (Unit, "pi4", "wg-quick@k8s-tunnel"),
    ]


def test_a_part_alone_leaves_the_others_out(home: Home) -> None:
    plan = planned(home, facts(home), chosen=("tunnel",))
    assert {stage.name.split("/")[0] for stage in plan.stages} == {"tunnel"}
    with pytest.raises(Trouble, match="no part 'tunel'"):
        parts("tunel")


def test_holes_and_secrets_are_shown_as_what_they_are(home: Home) -> None:
    text = review(planned(home, facts(home)))
    assert "PublicKey = <public key of pi5, known after step 6>" in text
    assert "PrivateKey = <secret: pi4:/etc/wireguard/k8s-tunnel.key>" in text
    assert "on its standard input: <secret: join token that lives for an hour from pi4>" in text


def test_a_plan_survives_its_journey_and_a_hostile_one_does_not(home: Home) -> None:
    plan = planned(home, facts(home))
    assert decode(encode(plan), "here") == plan
    assert decode(encode(plan), "here").digest == plan.digest
    for hostile in (
        b"",
        b"[]",
        b"[" * 100_000,
        encode(plan).replace(b'"schema":1', b'"schema":2'),
        encode(plan).replace(b'"host":"pi4"', b'"host":"pi4","more":1', 1),
        b"\xff\xfe",
    ):
        with pytest.raises(Trouble, match="read the plan"):
            decode(hostile, "here")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"architecture": "riscv64"}, "architecture"),
        ({"cgroup_v2": False}, "cgroup-v1"),
        ({"memory_cgroup": False}, "memory-cgroup"),
        ({"wireguard": "none"}, "no-wireguard"),
        ({"apt": False}, "no-apt"),
        ({"forwarding": "no"}, "no-forwarding"),
        ({"addresses": (("docker9", "10.1.10.9/24"), ("eth1", "10.42.7.1/16"))}, "subnet-taken"),
        ({"hostname": "pi5"}, "duplicate-hostname"),
    ],
)
def test_preflight_stops_what_would_fail_later(home: Home, change: dict[str, object], finding: str) -> None:
    bad = msgspec.structs.replace(msgspec.structs.replace(SETTLED, hostname="pi4"), **change)
    found = [
        found
        for found in preflight(
            home, replace(facts(home), hosts={**facts(home).hosts, "pi4": Fresh({"nodes": RoomFacts(bad, LIVE)}, NOW)})
        )
        if found.severity is Severity.BLOCKER
    ]
    assert finding in {each.id for each in found}
    assert all(each.what.endswith((".", "!")) and each.do for each in found)


@pytest.mark.parametrize(
    ("live", "finding"),
    [
        (msgspec.structs.replace(LIVE, disk_free_kb=1000), "disk-full"),
        (msgspec.structs.replace(LIVE, clock=NOW - 60), "clock-wrong"),
        (msgspec.structs.replace(LIVE, clock=NOW + 60), "clock-wrong"),
        (msgspec.structs.replace(LIVE, listeners=(nodes.Listener("tcp", 6443, "0.0.0.0", "nginx"),)), "port-taken"),
    ],
)
def test_preflight_judges_what_changes_by_itself(home: Home, live: nodes.Live, finding: str) -> None:
    plan = planned(home, facts(home, live=live))
    assert finding in {each.id for each in plan.blockers(frozenset())}


def test_a_machine_that_is_slow_to_answer_makes_no_clock_wrong(home: Home) -> None:
    slow = replace(facts(home), began=NOW - 20)
    for clock in (NOW - 22, NOW - 10, NOW + 3):
        live = msgspec.structs.replace(LIVE, clock=clock)
        hosts = {host.name: Fresh({"nodes": RoomFacts(SETTLED, live)}, NOW) for host in home.hosts}
        assert "clock-wrong" not in {finding.id for finding in preflight(home, replace(slow, hosts=hosts))}


def test_only_what_may_be_waived_is_waived(home: Home) -> None:
    old = {
        host.name: msgspec.structs.replace(SETTLED, hostname=host.name, cgroup_v2=False, memory_cgroup=False)
        for host in home.nodes
    }
    plan = planned(home, facts(home, old))
    assert {each.id for each in plan.blockers(frozenset({"cgroup-v1", "memory-cgroup"}))} == {"memory-cgroup"}
