"""Editing an inventory by a form: what was not touched stays byte for byte, and what comes out says what was wanted."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.home import inventory

from ..conftest import HOME

Plain = dict[str, Any]

KEPT = """\
# my home
name: lab   # behind the name
domain: 'home.example'  # quoted

proxy:
  # the VPS
  address: 198.51.100.10   # rented
  ssh:
    config: vps
# all of them
nodes:
  # in the kitchen
  - name: pi4   # the old one
    address: 192.168.1.4
    role: server
    # it listens elsewhere
    port: 2222
  # in the cellar
  - name: pi5
    address: 192.168.1.5
    role: agent
    # the last word on pi5
lan: 192.168.1.0/24
"""
DASHES = """\
domain: home.example
lan: 192.168.1.0/24
proxy:
  address: 198.51.100.10
nodes:
-
  # a dash - and - more
  name: pi4
  address: 192.168.1.4
  role: server
-
  # another - one
  name: pi5
  address: 192.168.1.5
  role: agent
"""
FIRST_FIELDS = """\
domain: home.example
lan: 192.168.1.0/24
proxy:
  address: 198.51.100.10
nodes:
  - port: 2222  # on the dash's line
    name: pi4
    address: 192.168.1.4
    role: server
  - ssh:
      config: five
    name: pi5
    address: 192.168.1.5
    role: agent
"""
TEXTS = {
    "the example": inventory.commented(),
    "tests' own": HOME,
    "comments everywhere": KEPT,
    "dashes on their own lines": DASHES,
    "other fields first": FIRST_FIELDS,
    "no last line end": KEPT.rstrip("\n"),
    "Windows' line ends": KEPT.replace("\n", "\r\n"),
}


def changed(text: str, change: Callable[[Plain], object]) -> str:
    """The text with a change of its values."""
    wanted = inventory.read_plain(text)
    change(wanted)
    result = inventory.edited(text, wanted)
    assert said(inventory.read_plain(result)) == said(wanted)
    inventory.parse(result)
    return result


def said(value: Any) -> Any:
    """What values say: sections with nothing in them say nothing."""
    if isinstance(value, dict):
        return {name: said(entry) for name, entry in value.items() if said(entry) not in (None, {}, [])}
    return [said(entry) for entry in value] if isinstance(value, list) else value


def node(number: int, **more: Any) -> Plain:
    """Another machine at home."""
    return {"name": f"pi{number}", "address": f"192.168.1.{number}", "role": "agent", **more}


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_to_change_changes_nothing(name: str) -> None:
    text = TEXTS[name]
    assert inventory.edited(text, inventory.read_plain(text)) == text


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_value_is_changed_alone_and_the_comment_behind_it_stays(ending: str) -> None:
    text = KEPT.replace("\n", ending)
    result = changed(text, lambda wanted: wanted["proxy"].update(address="198.51.100.99"))
    assert result == text.replace("198.51.100.10 ", "198.51.100.99 ")
    result = changed(text, lambda wanted: wanted.update(domain="new.example"))
    assert result == text.replace("'home.example'", "new.example")


def test_a_machine_is_added_below_the_last_one_and_its_comments() -> None:
    result = changed(KEPT, lambda wanted: wanted["nodes"].append(node(6, port=2200)))
    after = "    # the last word on pi5\n"
    added = "  - name: pi6\n    address: 192.168.1.6\n    role: agent\n    port: 2200\n"
    assert result == KEPT.replace(after, after + added)


def test_a_machine_is_added_in_the_file_s_own_line_ends() -> None:
    result = changed(TEXTS["Windows' line ends"], lambda wanted: wanted["nodes"].append(node(6)))
    assert "pi6\r\n" in result and not re.search(r"[^\r]\n", result)


def test_a_machine_goes_with_its_own_comments_and_no_others() -> None:
    first = changed(KEPT, lambda wanted: wanted.update(nodes=[{**wanted["nodes"][1], "role": "server", "name": "pi5"}]))
    assert "pi4" not in first and "it listens elsewhere" not in first and "the last word on pi5" in first
    last = changed(KEPT, lambda wanted: wanted["nodes"].pop())
    assert last == KEPT[: KEPT.index("  - name: pi5")] + KEPT[KEPT.index("lan:") :]


def test_a_machine_with_its_dash_on_its_own_line_goes_whole_whatever_its_comments_say() -> None:
    assert changed(DASHES, lambda wanted: wanted["nodes"].pop()) == DASHES[: DASHES.rindex("-\n  #")]
    example = inventory.commented()
    without = changed(example, lambda wanted: wanted.update(nodes=[{**wanted["nodes"][1], "role": "server"}]))
    listed = without[without.index("nodes:") : without.index("# The home network")]
    assert listed.split() == ["nodes:", "-", "name:", "pi5", "address:", "192.168.1.5", "role:", "server", "user:",
        "pi", "port:", "22"]  # fmt: skip


def test_a_renamed_or_readdressed_machine_keeps_its_place_and_comments() -> None:
    renamed = changed(KEPT, lambda wanted: wanted["nodes"][0].update(name="kitchen"))
    assert renamed == KEPT.replace("name: pi4 ", "name: kitchen ")
    moved = changed(KEPT, lambda wanted: wanted["nodes"][0].update(address="192.168.1.40"))
    assert moved == KEPT.replace("192.168.1.4\n", "192.168.1.40\n")


def test_machines_that_swap_their_names_or_addresses_stay_where_they_are() -> None:
    for field in ("name", "address"):

        def swap(wanted: Plain, field: str = field) -> None:
            one, other = wanted["nodes"]
            one[field], other[field] = other[field], one[field]

        result = changed(KEPT, swap)
        assert [line for line in result.splitlines() if "#" in line and "name:" not in line] == [
            line for line in KEPT.splitlines() if "#" in line and "name:" not in line
        ]


def test_a_machine_that_was_taken_out_and_added_again_stands_at_the_end() -> None:
    def again(wanted: Plain) -> None:
        wanted["nodes"].append(wanted["nodes"].pop(0))

    result = changed(KEPT, again)
    assert result.index("name: pi5") < result.index("name: pi4")


def test_machines_that_are_all_others_replace_the_list() -> None:
    result = changed(KEPT, lambda wanted: wanted.update(nodes=[node(7, role="server"), node(8)]))
    assert "# in the cellar" in result and "# all of them" in result
    assert "pi4" not in result


def test_a_field_that_is_left_out_goes_alone() -> None:
    result = changed(KEPT, lambda wanted: wanted["nodes"][0].pop("port"))
    assert result == KEPT.replace("    port: 2222\n", "")


def test_a_field_on_the_dash_s_line_goes_and_the_dash_stays() -> None:
    result = changed(FIRST_FIELDS, lambda wanted: wanted["nodes"][0].pop("port"))
    assert result == FIRST_FIELDS.replace("  - port: 2222  # on the dash's line\n", "  -\n")
    result = changed(FIRST_FIELDS, lambda wanted: wanted["nodes"][1].pop("ssh"))
    assert result == FIRST_FIELDS.replace("  - ssh:\n      config: five\n", "  -\n")


def test_a_section_that_is_left_out_goes_whole() -> None:
    result = changed(KEPT, lambda wanted: wanted["proxy"].pop("ssh"))
    assert result == KEPT.replace("  ssh:\n    config: vps\n", "")


@pytest.mark.parametrize("written", ["", " ~", " null", " {}"])
def test_a_section_with_nothing_in_it_is_filled(written: str) -> None:
    text = KEPT.replace("lan:", f"tunnel:{written}  # mine\nlan:")
    result = changed(text, lambda wanted: wanted.update(tunnel={"mtu": 1412}))
    assert result == KEPT.replace("lan:", "tunnel:  # mine\n  mtu: 1412\nlan:")


@pytest.mark.parametrize("written", ["", " ~"])
def test_a_value_that_was_never_filled_in_is(written: str) -> None:
    text = KEPT.replace("domain: 'home.example'", f"domain:{written}")
    result = changed(text, lambda wanted: wanted.update(domain="new.example"))
    assert result == KEPT.replace("'home.example'", "new.example")


def test_nodes_without_any_are_filled() -> None:
    text = KEPT[: KEPT.index("  # in the kitchen")] + KEPT[KEPT.index("lan:") :]
    result = changed(text, lambda wanted: wanted.update(nodes=[node(4, role="server"), node(5)]))
    assert result.index("# all of them") < result.index("  - name: pi4") < result.index("lan:")


def test_optional_fields_are_added_below_their_own_section() -> None:
    def fill(wanted: Plain) -> None:
        wanted["proxy"].update(port=2222, user="me")
        wanted["nodes"][1]["ssh"] = {"jump": "pi4"}
        wanted["kubeconfig"] = '~/my "home"/config'

    result = changed(KEPT, fill)
    assert result.startswith(KEPT[: KEPT.index("# all of them")] + "  port: 2222\n  user: me\n# all of them")
    assert "    role: agent\n    # the last word on pi5\n" in result.replace("    ssh:\n      jump: pi4\n", "")
    assert result.endswith('lan: 192.168.1.0/24\nkubeconfig: "~/my \\"home\\"/config"\n')


@pytest.mark.parametrize(
    "name", ["true", "null", "~", "22", "1e3", "0x10", "no", "a: b", "a #b", "- a", "@a", 'a"b\\c', "é\u2028\x7f", "😀"]
)
def test_what_is_written_is_read_back_as_what_it_was(name: str) -> None:
    assert inventory.read_plain(f"name: {inventory._as_yaml(name)}") == {"name": name}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("proxy:\n  # the VPS\n  address: 198.51.100.10   # rented\n  ssh:\n    config: vps\n",
         "proxy: {address: 198.51.100.10, ssh: {config: vps}}\n"),
        ("proxy:\n  # the VPS\n  address: 198.51.100.10   # rented\n  ssh:\n    config: vps\n", "proxy: [1]\n"),
        ("  ssh:\n    config: vps\n", "  ssh: [1]\n"),
    ],
)  # fmt: skip
def test_what_is_in_brackets_is_refused_in_a_sentence(old: str, new: str) -> None:
    text = KEPT.replace(old, new)
    assert text != KEPT
    wanted = inventory.read_plain(KEPT)
    wanted["proxy"] = {"address": "198.51.100.10", "port": 2222, "ssh": {"config": "vps"}}
    with pytest.raises(Trouble, match="can't be edited safely") as caught:
        inventory.edited(text, wanted, "mine.yaml")
    assert caught.value.kind is Kind.USAGE
    assert "by hand" in caught.value.do and caught.value.where == "mine.yaml"


def test_a_list_in_brackets_is_refused_unless_only_its_values_change() -> None:
    text = KEPT[: KEPT.index("# all of them")] + (
        "nodes: [{name: pi4, address: 192.168.1.4, role: server}, {name: pi5, address: 192.168.1.5, role: agent}]\n"
        "lan: 192.168.1.0/24\n"
    )
    assert changed(text, lambda wanted: wanted["nodes"][0].update(name="pi7")) == text.replace("name: pi4", "name: pi7")
    for change in (
        lambda wanted: wanted["nodes"].append(node(6)),
        lambda wanted: wanted["nodes"].pop(),
        lambda wanted: wanted["nodes"][0].update(port=22),
    ):
        with pytest.raises(Trouble, match="can't be edited safely"):
            changed(text, change)


WITHOUT_NODES = KEPT[: KEPT.index("# all of them")] + "nodes: %s\nlan: 192.168.1.0/24\n"


@pytest.mark.parametrize("nodes", ["[]", "abc", "7", "\n  -\n  - name: pi5", "\n  - pi4\n  - [1]"])
def test_nodes_that_are_none_are_replaced(nodes: str) -> None:
    wanted = inventory.read_plain(KEPT)
    assert said(inventory.read_plain(inventory.edited(WITHOUT_NODES % nodes, wanted))) == said(wanted)


@pytest.mark.parametrize("nodes", ["[1, 2]", "{a: b}"])
def test_nodes_that_are_none_are_refused_in_brackets(nodes: str) -> None:
    with pytest.raises(Trouble, match="can't be edited safely"):
        inventory.edited(WITHOUT_NODES % nodes, inventory.read_plain(KEPT))


def test_what_would_be_no_sound_inventory_is_refused() -> None:
    with pytest.raises(Trouble, match=r"nodes\[1\]\.address: 192.168.2.5 is outside lan"):
        changed(KEPT, lambda wanted: wanted["nodes"][1].update(address="192.168.2.5"))


# --- any draft over any of them

ADDRESSES = st.integers(1, 60).map(lambda number: f"192.168.1.{number}")
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,4}", fullmatch=True).filter(lambda name: name != "proxy")
OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["pi", "root", "me"]),
        "port": st.integers(1, 65535),
        "ssh": st.sampled_from([{"config": "there"}, {"jump": "me@bastion.example"}]),
    },
)


@st.composite
def drafts(draw: st.DrawFn) -> tuple[str, Plain]:
    """A text, and what somebody could make of it in a form."""
    text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
    wanted = inventory.read_plain(text)
    nodes = [entry for entry in copy.deepcopy(wanted["nodes"]) if draw(st.booleans())]
    for entry in nodes:
        for field in ("user", "port", "ssh"):
            if draw(st.booleans()):
                entry.pop(field, None)
        entry.update(draw(OPTIONAL))
    while len(nodes) < draw(st.integers(1, 4)):
        added = {"name": "", "address": "", "role": "", **draw(OPTIONAL)}
        nodes.insert(draw(st.integers(0, len(nodes))), added)
    names = draw(st.lists(NAMES, min_size=len(nodes), max_size=len(nodes), unique=True))
    addresses = draw(st.lists(ADDRESSES, min_size=len(nodes), max_size=len(nodes), unique=True))
    server = draw(st.integers(0, len(nodes) - 1))
    for index, entry in enumerate(nodes):
        if not entry["name"] or draw(st.booleans()):
            entry["name"] = names[index]
        if not entry["address"] or draw(st.booleans()):
            entry["address"] = addresses[index]
        entry["role"] = "server" if index == server else "agent"
    wanted["nodes"] = draw(st.permutations(nodes))
    wanted["domain"] = draw(st.sampled_from(["home.example", "example.org"]))
    wanted["proxy"].update(draw(OPTIONAL))
    if draw(st.booleans()):
        wanted["tunnel"] = {"mtu": 1412}
    return text, wanted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drafts())
def test_any_draft_is_written_as_it_was_meant(drafted: tuple[str, Plain]) -> None:
    text, wanted = drafted
    if inventory.problems(wanted):
        with pytest.raises(Trouble, match="read the inventory"):
            inventory.edited(text, wanted)
        return
    result = inventory.edited(text, wanted)
    assert said(inventory.read_plain(result)) == said(wanted)
    inventory.parse(result)
    outside = [line for line in text[: text.index("nodes:")].splitlines() if line.lstrip().startswith("#")]
    assert [line for line in result[: result.index("nodes:")].splitlines() if line.lstrip().startswith("#")] == outside
    if [entry["name"] for entry in inventory.read_plain(text)["nodes"]] == [each["name"] for each in wanted["nodes"]]:
        assert comments(result) == comments(text)


def comments(text: str) -> list[str]:
    """The lines of a text that are comments."""
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]


# --- the form's judge and the file's

VALUES: st.SearchStrategy[Any] = st.none() | st.integers(0, 70000) | st.booleans() | st.sampled_from([
    "", "home", "pi4", "proxy", "192.168.1.4", "192.168.1.5", "192.168.1.0/24", "10.42.1.0/24", "198.51.100.10", "server",
    "agent", "example.org", "me@bastion.example:22", "v1.36.3+k3s1", "a b", "K10" + "0" * 64, "\u00e9", [], {}, [1], {"a": 1},
])  # fmt: skip
MACHINE = st.fixed_dictionaries(
    {},
    optional={
        "name": VALUES, "address": VALUES, "role": VALUES, "user": VALUES, "port": VALUES, "tunnel_address": VALUES,
        "ssh": VALUES | st.fixed_dictionaries({}, optional={"jump": VALUES, "config": VALUES}), "password": VALUES,
    },
)  # fmt: skip
SOUND: Plain = inventory.read_plain(HOME)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["name", "domain", "lan", "tunnel", "versions", "artefacts", "kubeconfig", "more"]),
        VALUES,
        max_size=3,
    ),
    st.none() | VALUES | MACHINE,
    st.none() | VALUES | st.lists(VALUES | MACHINE, max_size=3),
)
def test_the_form_is_judged_as_its_file_would_be(more: Plain, proxy: Any, nodes: Any) -> None:
    plain = {**copy.deepcopy(SOUND), **more}
    if isinstance(proxy, dict):
        plain["proxy"].update(proxy)
    elif proxy is not None:
        plain["proxy"] = proxy
    if isinstance(nodes, list):
        for number, entry in enumerate(nodes):
            if number < 2 and isinstance(entry, dict):
                plain["nodes"][number].update(entry)
            else:
                plain["nodes"].append(entry)
    elif nodes is not None:
        plain["nodes"] = nodes
    found = inventory.problems(plain)
    try:
        inventory.parse(json.dumps(plain, ensure_ascii=False), "f")
    except Trouble as trouble:
        told = [_told(line) for line in trouble.came_back.splitlines()]
        assert {field for field, _ in told} == set(found)
        assert set(found.items()) <= set(told)
    else:
        assert found == {}


def _told(line: str) -> tuple[str, str]:
    """The field and the sentence of a line such as ``f:3: proxy.port: found "x"; it must be a number``."""
    match = re.fullmatch(r"f:\d+: (?:([\w.\[\]-]+): )?(.*)", line)
    assert match
    return match[1] or "", match[2]


# --- files


def test_a_new_inventory_is_the_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "homek8s.yaml"
    inventory.write_text(path, KEPT.replace("\n", "\r\n"))
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.read_bytes() == KEPT.replace("\n", "\r\n").encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_written_inventory_keeps_its_mode_and_a_link_to_it(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "homek8s.yaml"
    real.write_text("old")
    real.chmod(0o644)
    link.symlink_to(real)
    inventory.write_text(link, KEPT)
    assert link.is_symlink() and real.read_text() == KEPT
    assert real.stat().st_mode & 0o7777 == 0o644
    dangling = tmp_path / "dangling.yaml"
    dangling.symlink_to(tmp_path / "later.yaml")
    inventory.write_text(dangling, KEPT)
    assert dangling.is_symlink() and (tmp_path / "later.yaml").read_text() == KEPT


def test_a_link_in_a_circle_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "homek8s.yaml"
    path.symlink_to(path)
    with pytest.raises(Trouble, match="write the inventory") as caught:
        inventory.write_text(path, KEPT)
    assert caught.value.kind is Kind.USAGE


def test_a_write_that_fails_leaves_the_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "homek8s.yaml"
    path.write_text(KEPT)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Trouble, match="No space left on device"):
        inventory.write_text(path, "new")
    assert path.read_text() == KEPT and list(tmp_path.iterdir()) == [path]
