"""The set-up's form: what was typed becomes an inventory's values, and what it does not show survives it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homek8s_tui.features.setup.draft import Draft, MachineDraft, from_plain
from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Node, Proxy, Ssh

from ..conftest import HOME

Plain = dict[str, Any]

FULL: Plain = {
    "domain": "home.example",
    "lan": "192.168.1.0/24",
    "proxy": {"address": "198.51.100.10", "ssh": {"config": "vps"}, "tunnel_address": "10.1.10.9"},
    "nodes": [
        {"name": "pi4", "address": "192.168.1.4", "role": "server", "ssh": {"jump": "me@bastion.example:22"}},
        {"name": "pi5", "address": "192.168.1.5", "role": "agent", "user": "pi", "port": 22, "ssh": {"config": "five"}},
        {"name": "pi6", "address": "192.168.1.6", "role": "agent", "tunnel_address": "10.1.10.66"},
    ],
    "tunnel": {"mtu": 1412},
    "artefacts": {"mirror": "https://mirror.example", "checksums": {}},
    "kubeconfig": "~/.kube/config",
}


@pytest.mark.parametrize("base", [FULL, inventory.read_plain(HOME), inventory.read_plain(inventory.commented())])
def test_a_form_that_nobody_edited_says_what_the_file_says(base: Plain) -> None:
    before = copy.deepcopy(base)
    draft = from_plain(base)
    assert draft.over(base) == before
    assert base == before
    assert draft.problems(base) == {}


MACHINES = st.fixed_dictionaries(
    {"name": st.sampled_from(["pi4", "pi5", "home"]), "address": st.sampled_from(["192.168.1.4", "192.168.1.5"])},
    optional={
        "user": st.sampled_from(["pi", "root", "me"]),
        "port": st.integers(1, 65535),
        "ssh": st.fixed_dictionaries({}, optional={"config": st.just("there"), "jump": st.just("proxy")}),
        "tunnel_address": st.just("10.1.10.7"),
    },
)


@settings(max_examples=60, deadline=None)
@given(MACHINES, st.lists(MACHINES, max_size=3, unique_by=(lambda node: node["name"], lambda node: node["address"])),
       st.fixed_dictionaries({}, optional={"name": st.sampled_from(["home", "lab"]), "tunnel": st.none()}))  # fmt: skip
def test_any_form_that_nobody_edited_changes_nothing(proxy: Plain, nodes: list[Plain], more: Plain) -> None:
    listed = [{**node, "role": "agent" if index else "server"} for index, node in enumerate(nodes)]
    base = {"domain": "home.example", "lan": "192.168.1.0/24", "proxy": proxy, "nodes": listed, **more}
    assert from_plain(base).over(base) == base


def test_what_the_form_does_not_show_survives_a_new_name_or_address() -> None:
    draft = from_plain(FULL)
    draft.nodes[0].name = "kitchen"
    draft.nodes[2].address = "192.168.1.60"
    draft.proxy.address = "198.51.100.11"
    wanted = draft.over(FULL)
    assert wanted["nodes"][0] == {**FULL["nodes"][0], "name": "kitchen"}
    assert wanted["nodes"][2] == {**FULL["nodes"][2], "address": "192.168.1.60"}
    assert wanted["proxy"] == {**FULL["proxy"], "address": "198.51.100.11"}
    assert {name: wanted[name] for name in ("tunnel", "artefacts", "kubeconfig")} == {
        name: FULL[name] for name in ("tunnel", "artefacts", "kubeconfig")
    }


def test_a_new_machine_is_written_without_its_defaults() -> None:
    draft = from_plain(FULL)
    draft.nodes.append(MachineDraft("pi7", "192.168.1.7"))
    draft.nodes.append(MachineDraft(" pi8 ", " 192.168.1.8 ", "root", "2222"))
    added = draft.over(FULL)["nodes"][3:]
    assert added == [
        {"name": "pi7", "address": "192.168.1.7", "role": "agent"},
        {"name": "pi8", "address": "192.168.1.8", "user": "root", "port": 2222, "role": "agent"},
    ]


def test_a_removed_machine_is_gone_and_the_others_are_as_they_were() -> None:
    draft = from_plain(FULL)
    del draft.nodes[1]
    assert draft.over(FULL)["nodes"] == [FULL["nodes"][0], FULL["nodes"][2]]


def test_a_form_from_nothing_is_a_home() -> None:
    draft = from_plain({})
    assert draft == Draft()
    draft.domain, draft.lan = "home.example", " 192.168.1.0/24 "
    draft.proxy.address = "198.51.100.10"
    assert draft.problems({})["nodes"].startswith("no machine at home is named yet")
    draft.nodes.append(MachineDraft("home", "192.168.1.4", server=True))
    assert draft.problems({}) == {}
    text = inventory.edited(inventory.commented(), draft.over(inventory.read_plain(inventory.commented())))
    home = inventory.parse(text)
    assert [(node.name, node.address, node.role) for node in home.nodes] == [("home", "192.168.1.4", "server")]


def test_a_default_that_was_emptied_is_left_out_where_it_stood() -> None:
    base = inventory.read_plain(inventory.commented())
    draft = from_plain(base)
    draft.proxy.port = draft.nodes[0].user = draft.nodes[0].port = " "
    wanted = draft.over(base)
    assert "port" not in wanted["proxy"]
    assert set(wanted["nodes"][0]) & {"user", "port"} == set()
    assert draft.problems(base) == {}


# --- a machine to log in to


def test_a_machine_is_one_as_the_inventory_would_have_it() -> None:
    home = inventory.parse(HOME)
    draft = from_plain(inventory.read_plain(HOME))
    assert draft.proxy.machine("proxy", {}) == Proxy(address=home.proxy.address, user="root", port=22)
    assert draft.nodes[1].machine("nodes[1]", {}) == Node(
        name="pi5", address="192.168.1.5", role="agent", user="pi", port=22
    )
    typed = MachineDraft(" pi7 ", " 192.168.1.7 ", " me ", " 2222 ", server=True)
    assert typed.machine("nodes[0]", {}) == Node(name="pi7", address="192.168.1.7", role="server", user="me", port=2222)
    assert MachineDraft("", "198.51.100.1", "", "").machine("proxy", {}) == Proxy(address="198.51.100.1")


def test_a_machine_whose_fields_are_not_sound_is_none_yet() -> None:
    draft = MachineDraft("pi7", "192.168.1.7")
    assert draft.machine("nodes[0]", {"nodes[1].address": "x", "domain": "x"}) is not None
    for field in ("name", "address", "user", "port", "ssh", "ssh.jump"):
        assert draft.machine("nodes[0]", {f"nodes[0].{field}": "it is wrong"}) is None
    assert MachineDraft("pi7", " ").machine("nodes[0]", {}) is None
    assert MachineDraft(" ", "192.168.1.7").machine("nodes[0]", {}) is None


@pytest.mark.parametrize(
    ("written", "user", "port"),
    [
        ({}, None, None),
        ({"user": "root"}, "root", None),
        ({"user": "pi"}, "pi", None),
        ({"port": 22}, None, 22),
        ({"user": "me", "port": 2222}, "me", 2222),
    ],
)
@pytest.mark.parametrize("path", ["proxy", "nodes[0]"])
def test_what_nobody_wrote_is_left_to_ssh_config(path: str, written: Plain, user: str | None, port: int | None) -> None:
    machine = {"name": "there", "address": "198.51.100.10", "ssh": {"config": "five"}, **written}
    base = {"proxy": machine} if path == "proxy" else {"nodes": [{**machine, "role": "agent"}]}
    draft = from_plain(base)
    found = (draft.proxy if path == "proxy" else draft.nodes[0]).machine(path, {})
    assert found is not None
    assert (found.user, found.port, found.ssh) == (user, port, Ssh(config="five"))
    wanted = draft.over(base)
    assert (wanted["proxy"] if path == "proxy" else wanted["nodes"][0]) == (
        machine if path == "proxy" else {**machine, "role": "agent"}
    )


def test_who_is_typed_over_ssh_config_s_choice_is_written() -> None:
    draft = from_plain(FULL)
    draft.nodes[1].user = "me"
    draft.proxy.user, draft.proxy.port = "root", "22"
    wanted = draft.over(FULL)
    assert wanted["nodes"][1]["user"] == "me"
    assert (wanted["proxy"]["user"], wanted["proxy"]["port"]) == ("root", 22)


# --- what is no inventory yet

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "address", "user", "port", "ssh", "config", "role"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "domain", "lan", "proxy", "nodes", "tunnel"]), ANYTHING, max_size=4))
def test_any_half_done_file_is_shown_and_judged(base: Plain) -> None:
    draft = from_plain(base)
    assert draft.problems(base)
    for index, node in enumerate((draft.proxy, *draft.nodes)):
        path = f"nodes[{index - 1}]" if index else "proxy"
        node.machine(path, draft.problems(base))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=8) | st.just("9" * 5000) | st.sampled_from(["\u0662\u0662", "\u00b2", "-1", "0", "22"]))
def test_anything_can_be_typed_as_a_port(typed: str) -> None:
    draft = from_plain(FULL)
    draft.nodes[0].port = typed
    sound = "nodes[0].port" not in draft.problems(FULL)
    assert sound == (not typed.strip() or (typed.strip().isdecimal() and 1 <= int(typed[:4000]) <= 65535))
    assert (draft.nodes[0].machine("nodes[0]", draft.problems(FULL)) is not None) == sound
