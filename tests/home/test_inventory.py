"""The inventory: what is taken, what is refused and in which words, and that editing changes nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Artefacts, Home, Node, Proxy, Ssh, Tunnel, Versions

GOOD = """\
name: home
domain: example.org
proxy:
  address: 203.0.113.10
  port: 2222
lan: 192.168.1.0/24
nodes:
  - name: pi4
    address: 192.168.1.4
    role: server
  - name: pi5
    address: 192.168.1.5
    role: agent
tunnel:
  subnet: 10.1.10.0/24
  mtu: 1412
versions:
  k3s: v1.36.3+k3s1
artefacts:
  mirror: https://mirror.lan:8443/homek8s
"""
KEY = "k3s/v1.36.3+k3s1/k3s-arm64"
SHA = "0123456789abcdef" * 4


def refusal(text: str) -> str:
    with pytest.raises(Trouble) as caught:
        inventory.parse(text, "homek8s.yaml")
    assert caught.value.kind is Kind.USAGE
    assert caught.value.do
    return caught.value.came_back


def test_a_good_one_is_read() -> None:
    home = inventory.parse(GOOD)
    assert home.proxy == Proxy(address="203.0.113.10", port=2222)
    assert [host.name for host in home.hosts] == ["proxy", "pi4", "pi5"]
    assert home.server.name == "pi4"
    assert [agent.name for agent in home.agents] == ["pi5"]
    assert home.host("pi5") is home.nodes[1]
    assert home.tunnel == Tunnel(mtu=1412)
    assert home.versions.traefik == "v3.7.15"
    assert home.kubeconfig is None


def test_an_unknown_machine_is_a_trouble_that_names_the_nearest() -> None:
    with pytest.raises(Trouble, match=r'Did you mean "pi4"'):
        inventory.parse(GOOD).host("pi44")


MIRROR = "mirror: https://mirror.lan:8443/homek8s"
CASES: dict[str, tuple[str, str, str]] = {
    # what is wrong: (text to replace, its replacement, the expected start of a problem, as a pattern)
    "unknown field": ("port: 2222", "prot: 2222", r':5: proxy\.prot: there is no such field. Did you mean "port"'),
    "unknown at the top": ("lan:", "lann:", r':6: lann: there is no such field. Did you mean "lan"'),
    "missing": ("domain: example.org\n", "", r":1: domain: it is missing; it must be a domain"),
    "missing in a list": ("    role: agent\n", "", r":11: nodes\[1\]\.role: it is missing"),
    "text for a number": ("port: 2222", 'port: "22"', r':5: proxy\.port: found "22"; it must be a number'),
    "port too high": ("port: 2222", "port: 65536", r":5: proxy\.port: found 65536"),
    "switch for text": ("name: home", "name: true", r":1: name: found true \(not text\)"),
    "list for text": ("name: home", "name: [a]", r":1: name: found a list"),
    "nothing": ("domain: example.org", "domain:", r":2: domain: found nothing"),
    "mapping for a list": (GOOD[GOOD.index("nodes") : GOOD.index("tunnel")], "nodes: {a: b}\n", r":7: nodes: found a mapping"),
    "text for a mapping": ("tunnel:\n  subnet: 10.1.10.0/24\n  mtu: 1412", "tunnel: x", r":14: tunnel: found \"x\""),
    "duplicate key": ("port: 2222", "address: 203.0.113.9", r":5: address: it stands twice, first on line 4"),
    "same name": ("name: pi5", "name: pi4", r":11: nodes\[1\]\.name: the name pi4 is that of nodes\[0\]\.name"),
    "the proxy's name": ("name: pi5", "name: proxy", r":11: nodes\[1\]\.name: the name proxy is that of proxy\.name"),
    "same address": ("1.5\n", "1.4\n", r":12: nodes\[1\]\.address: the address 192.168.1.4 is that of nodes\[0\]"),
    "host name": ("name: pi5", "name: Pi_5", r':11: nodes\[1\]\.name: found "Pi_5"; it must be a host name'),
    "host name with dots": ("name: pi5", "name: pi5.lan", r":11: nodes\[1\]\.name"),
    "long host name": ("name: pi5", f"name: {'p' * 64}", r":11: nodes\[1\]\.name"),
    "line end in a name": ("name: pi5", 'name: "pi5\\n"', r":11: nodes\[1\]\.name"),
    "domain": ("example.org", "example", r":2: domain: found"),
    "domain of numbers": ("example.org", "1.2.3.4", r":2: domain: found"),
    "domain with a blank": ("example.org", "exa mple.org", r":2: domain: found"),
    "role": ("role: agent", "role: master", r':13: nodes\[1\]\.role: found "master"; it must be "server" or "agent"'),
    "no server": ("role: server", "role: agent", r":8: nodes: no node has the role server"),
    "two servers": ("role: agent", "role: server", r":13: nodes\[1\]\.role: this is the second server.*odd number"),
    "address as a name": ("203.0.113.10", "vps.example.org", r":4: proxy\.address: .* must be a literal IPv4"),
    "address with zeros": ("192.168.1.5", "192.168.1.05", r":12: nodes\[1\]\.address"),
    "private proxy": ("203.0.113.10", "192.168.7.1", r":4: proxy\.address: 192.168.7.1 can't be reached from"),
    "shared proxy": ("203.0.113.10", "100.64.0.1", r":4: proxy\.address: 100.64.0.1 can't be reached from"),
    "outside lan": ("192.168.1.5", "192.168.2.5", r":12: nodes\[1\]\.address: 192.168.2.5 is outside lan 192.168.1.0/24"),
    "broadcast": ("192.168.1.5", "192.168.1.255", r":12: nodes\[1\]\.address: 192.168.1.255 is no machine's"),
    "host bits": ("192.168.1.0/24", "192.168.1.7/24", r":6: lan: 192.168.1.7/24 is an address.*write 192.168.1.0/24"),
    "subnet": ("192.168.1.0/24", "192.168.1.0", r":6: lan: found"),
    "tunnel in lan": ("10.1.10.0/24", "192.168.0.0/16", r":15: tunnel\.subnet: .* overlaps 192.168.1.0/24 \(lan\)"),
    "tunnel in pods": ("10.1.10.0/24", "10.42.7.0/24", r":15: tunnel\.subnet: .* overlaps 10.42.0.0/16"),
    "tunnel in services": ("10.1.10.0/24", "10.43.0.0/16", r":15: tunnel\.subnet: .* overlaps 10.43.0.0/16"),
    "tunnel over proxy": ("10.1.10.0/24", "203.0.113.0/24", r":15: tunnel\.subnet: .*203.0.113.10/32 \(proxy\.address\)"),
    "lan over pods": ("192.168.1.0/24", "10.42.0.0/24", r":6: lan: .* overlaps 10.42.0.0/16"),
    "tiny tunnel": ("10.1.10.0/24", "10.1.10.0/30", r":15: tunnel\.subnet: 10.1.10.0/30 has no room for 3 machines"),
    "mtu": ("mtu: 1412", "mtu: 1501", r":16: tunnel\.mtu: found 1501.*1280 to 1500"),
    "interface": ("mtu: 1412", "name: a-name-too-long-", r":16: tunnel\.name: found"),
    "interface with a slash": ("mtu: 1412", "name: a/b", r":16: tunnel\.name: found"),
    "k3s version": ("v1.36.3+k3s1", "latest", r":18: versions\.k3s: found \"latest\"; it must be a K3s release"),
    "version as a fraction": ("v1.36.3+k3s1", "1.36", r':18: versions\.k3s: found "1.36"'),
    "old traefik": ("k3s: v1.36.3+k3s1", "traefik: v3.5.0", r":18: versions\.traefik: found"),
    "http mirror": ("https://", "http://", r":20: artefacts\.mirror: found .* must be an https address"),
    "mirror's slash": ("homek8s\n", "homek8s/\n", r":20: artefacts\.mirror: found"),
    "file key": (MIRROR, f"checksums: {{../k3s: {SHA}}}", r":20: artefacts\.checksums"),
    "digest": (MIRROR, f"checksums: {{{KEY}: abc}}", r":20: artefacts\.checksums\.k3s.*64"),
    "kubeconfig": ("name: home", "kubeconfig: config", r":1: kubeconfig: found"),
    "half a character": ("name: home", 'kubeconfig: "/a\\ud800"', r":1: kubeconfig: found"),
    "half a character in a role": ("role: agent", 'role: "\\ud800"', r":13: nodes\[1\]\.role: found"),
    "user": ("port: 2222", "user: a b", r":5: proxy\.user: found"),
    "jump as a mapping": ("port: 2222", "ssh: {jump: {}}", r":5: proxy\.ssh\.jump: found a mapping"),
    "jump of no form": ("port: 2222", "ssh: {jump: 'a b'}", r':5: proxy\.ssh\.jump: found "a b"; it must be a machine of this home, or'),
    "jump like an option": ("port: 2222", "ssh: {jump: me@-oProxyCommand=x}", r":5: proxy\.ssh\.jump: found"),
    "jump's port": ("port: 2222", "ssh: {jump: 'me@there:65536'}", r":5: proxy\.ssh\.jump: found"),
    "jump to nobody": ("port: 2222", "ssh: {jump: pi44}", r':5: proxy\.ssh\.jump: no machine of this home is called "pi44"\. Did you mean "pi4"\? A machine that is not of this home is written user@host:port'),
    "jump to itself": ("port: 2222", "ssh:\n    jump: proxy", r":6: proxy\.ssh\.jump: a machine is not reached through itself"),
    "jump to its own address": ("port: 2222", "ssh: {jump: me@203.0.113.10}", r":5: proxy\.ssh\.jump: a machine is not reached through itself"),
    "jump to its own port": ("port: 2222", "port: 2222\n  ssh: {jump: 'me@203.0.113.10:2222'}", r":6: proxy\.ssh\.jump: a machine is not reached"),
    "config like an option": ("port: 2222", "ssh: {config: -oProxyCommand=x}", r":5: proxy\.ssh\.config: found"),
    "config as a switch": ("port: 2222", "ssh: {config: true}", r":5: proxy\.ssh\.config: found true"),
    "ssh of a typo": ("port: 2222", "ssh: {jmp: pi4}", r':5: proxy\.ssh\.jmp: there is no such field\. Did you mean "jump"'),
    "tag": ("name: home", "name: !!python/object:os.system x", r":1: tags"),
    "anchor": ("name: home", "name: &a home", r":1: anchors"),
    "alias": ("port: 2222", "user: *a", r":5: anchors"),
    "complex key": ("name: home", "? [a]\n: b", r":1: a field's name must be plain text"),
    "merge key": ("port: 2222", "<<: {}", r":5: proxy\.<<: there is no such field"),
    "a tab": ("  port: 2222", "\tport: 2222", r":5: there is a tab"),
    "open bracket": ("name: home", "name: [home", r":2: this is not YAML"),
    "two colons": ("name: home", "name: a: b", r":1: this is not YAML"),
    "control character": ("example.org", "exa\x07mple.org", r":2: this is not YAML"),
    "bad escape": ("name: pi5", 'name: "\\UFFFFFFFF"', r":11: this is not YAML"),
    "two documents": ("lan:", "---\nlan:", r":7: a second document"),
    "too deep": ("name: home", f"name: {'[' * 50}", r":1: lists and mappings are nested deeper"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_one_is_refused_with_file_line_and_field(case: str) -> None:
    old, new, expected = CASES[case]
    assert old in GOOD
    assert re.search(rf"(?m)^homek8s\.yaml{expected}", refusal(GOOD.replace(old, new, 1)))


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~"])
def test_an_empty_one_is_refused(text: str) -> None:
    assert refusal(text).startswith("homek8s.yaml:1: the file is empty; `homek8s init`")


@pytest.mark.parametrize("text", ["- a\n", "[]", "just text", "7"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert re.match(r"homek8s\.yaml:1: found .*; it must be a mapping", refusal(text))


@pytest.mark.parametrize(
    "name",
    ["password", "ssh_password", "token", "k3s-token", "private_key", "PrivateKey", "preshared_key", "psk", "passphrase",
     "api_key", "secret", "key"],
)  # fmt: skip
def test_a_secret_is_refused_and_not_repeated(name: str) -> None:
    said = refusal(GOOD.replace("  port: 2222", f"  {name}: hunter2hunter2"))
    assert said.startswith(f"homek8s.yaml:5: proxy.{name}: no secrets in the inventory")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "value",
    [
        "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=",
        '"-----BEGIN OPENSSH PRIVATE KEY-----"',
        "https://me:hunter2@mirror",
        "K10aabbccddeeff00::server:x",
    ],
)
def test_a_secret_in_a_wrong_field_is_not_repeated(value: str) -> None:
    said = refusal(GOOD.replace("https://mirror.lan:8443/homek8s", value))
    assert "artefacts.mirror: found what looks like a secret (not shown)" in said
    assert value.strip('"') not in said


def test_more_than_two_servers_are_not_offered_yet() -> None:
    third = "  - {name: pi6, address: 192.168.1.6, role: server}\ntunnel:"
    said = refusal(GOOD.replace("role: agent", "role: server").replace("tunnel:", third))
    assert "3 servers are declared, and more than one is not offered yet" in said


def test_all_problems_are_told_at_once_in_the_file_s_order() -> None:
    text = GOOD.replace("name: pi5", "name: pi4").replace("port: 2222", "port: x").replace("domain: example.org\n", "")
    told = refusal(text.replace("mtu: 1412", "mtu: 9000")).split("\n")
    assert [re.split(": ", line)[1] for line in told] == ["domain", "proxy.port", "nodes[1].name", "tunnel.mtu"]


def test_the_default_tunnel_is_judged_too_and_told_where_the_other_network_stands() -> None:
    text = GOOD.replace("tunnel:\n  subnet: 10.1.10.0/24\n  mtu: 1412\n", "").replace("192.168.1.", "10.1.10.")
    assert refusal(text).startswith("homek8s.yaml:6: tunnel.subnet: 10.1.10.0/24 overlaps 10.1.10.0/24 (lan)")


def test_many_problems_are_cut_and_counted() -> None:
    told = refusal("".join(f"x{number}: 1\n" for number in range(200))).split("\n")
    assert len(told) == 51
    assert told[-1] == "and 154 more"


def test_sections_with_nothing_in_them_mean_their_defaults() -> None:
    text = re.sub(r"(?s)tunnel:.*", "tunnel:\nversions: ~\nartefacts:\n  checksums:\n", GOOD)
    home = inventory.parse(text)
    assert (home.tunnel, home.versions, home.artefacts) == (Tunnel(), Versions(), Artefacts())


# --- ways by SSH


def with_jumps(**jumps: str) -> str:
    text = GOOD
    for name, jump in jumps.items():
        anchor = "  port: 2222\n" if name == "proxy" else f"name: {name}\n"
        indent = "  " if name == "proxy" else "    "
        text = text.replace(anchor, f"{anchor}{indent}ssh: {{jump: '{jump}'}}\n")
    return text


@pytest.mark.parametrize("jump", ["pi4", "me@bastion", "Me.X@203.0.113.77:22", "root@Bastion.example.org:65535"])
def test_jumps_that_are_taken(jump: str) -> None:
    home = inventory.parse(with_jumps(pi5=jump, proxy="pi5"))
    assert [host.ssh.jump for host in home.hosts] == ["pi5", None, jump]


@pytest.mark.parametrize(
    ("jumps", "line", "told"),
    [
        ({"pi4": "pi5", "pi5": "pi4"}, 9, r"nodes\[0\].*\(pi4 -> pi5 -> pi4\)"),
        ({"proxy": "pi4", "pi4": "pi5", "pi5": "proxy"}, 6, r"proxy.*\(proxy -> pi4 -> pi5 -> proxy\)"),
        ({"proxy": "pi4", "pi4": "pi5", "pi5": "pi4"}, 10, r"nodes\[0\].*\(pi4 -> pi5 -> pi4\)"),
    ],
)
def test_a_circle_of_jumps_is_told_once(jumps: dict[str, str], line: int, told: str) -> None:
    said = refusal(with_jumps(**jumps))
    assert re.fullmatch(rf"homek8s\.yaml:{line}: {told}; leave one of them out", said)


def test_what_nobody_wrote_is_left_to_the_ssh_configuration() -> None:
    home = inventory.parse(GOOD.replace("port: 2222", "ssh: {config: My-VPS_1.lan}"))
    assert home.proxy == Proxy(address="203.0.113.10", ssh=Ssh(config="My-VPS_1.lan"))
    assert (home.proxy.user, home.proxy.port, home.proxy.usual_user) == (None, None, "root")
    assert home.server.usual_user == "pi"


# --- tunnel addresses


def with_addresses(**addresses: str) -> str:
    text = GOOD
    for name, address in addresses.items():
        anchor = "  port: 2222\n" if name == "proxy" else f"name: {name}\n"
        indent = "  " if name == "proxy" else "    "
        text = text.replace(anchor, f"{anchor}{indent}tunnel_address: {address}\n")
    return text


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({}, ["10.1.10.254", "10.1.10.1", "10.1.10.2"]),
        ({"proxy": "10.1.10.1"}, ["10.1.10.1", "10.1.10.2", "10.1.10.3"]),
        ({"pi5": "10.1.10.1"}, ["10.1.10.254", "10.1.10.2", "10.1.10.1"]),
        ({"pi4": "10.1.10.9"}, ["10.1.10.254", "10.1.10.9", "10.1.10.1"]),
    ],
)
def test_tunnel_addresses(addresses: dict[str, str], expected: list[str]) -> None:
    home = inventory.parse(with_addresses(**addresses))
    assert [home.tunnel_address(host.name) for host in home.hosts] == expected


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({"pi5": "10.1.11.1"}, r":12: nodes\[1\]\.tunnel_address: 10.1.11.1 is outside tunnel\.subnet 10.1.10.0/24"),
        ({"pi5": "10.1.10.0"}, r":12: nodes\[1\]\.tunnel_address: 10.1.10.0 is no machine's address"),
        ({"pi5": "10.1.10.254"}, r":12: nodes\[1\]\.tunnel_address: .* is that of proxy\.tunnel_address too"),
        ({"pi4": "10.1.10.7", "pi5": "10.1.10.7"}, r":13: nodes\[1\]\.tunnel_address: .* is that of nodes\[0\]"),
    ],
)
def test_bad_tunnel_addresses(addresses: dict[str, str], expected: str) -> None:
    assert re.match(rf"homek8s\.yaml{expected}", refusal(with_addresses(**addresses)))


@given(st.integers(1, 12), st.data())
def test_tunnel_addresses_are_always_distinct_and_inside(nodes: int, data: st.DataObject) -> None:
    explicit = data.draw(
        st.lists(st.none() | st.integers(1, 13), min_size=nodes, max_size=nodes).filter(
            lambda given: len([each for each in given if each]) == len({each for each in given if each})
        )
    )
    lines = [
        f"  - {{name: n{index}, address: 192.168.1.{index + 1}, role: {'agent' if index else 'server'}"
        + (f", tunnel_address: 10.9.9.{last}}}" if last else "}")
        for index, last in enumerate(explicit)
    ]
    head = (
        "domain: a.example\nproxy: {address: 203.0.113.1}\nlan: 192.168.1.0/24\ntunnel: {subnet: 10.9.9.0/28}\nnodes:\n"
    )
    home = inventory.parse(head + "\n".join(lines))
    given_out = [home.tunnel_address(host.name) for host in home.hosts]
    assert len(set(given_out)) == len(given_out)
    assert given_out[0] == "10.9.9.14"
    assert all(re.fullmatch(r"10\.9\.9\.([1-9]|1[0-4])", address) for address in given_out)


# --- hostile input

PIECES = [*GOOD.split("\n"), "\t", "&a", "*a", "!!", "{", "}", "[", "]", ": ", "- ", "|", ">-", "'", '"', "%YAML 1.1", "---", "\n",
          "\\U", "? ", "\x85", "\ufeff", "%TAG", "...", "\r"]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(GOOD.split())
NAMES = st.sampled_from(
    [each.name for kind in (Home, Proxy, Node, Ssh, Tunnel, Artefacts) for each in msgspec.structs.fields(kind)]
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=9), inner, max_size=8),
    max_leaves=25,
)


def only_trouble(text: str) -> None:
    said = "homek8s.yaml:"
    try:
        inventory.parse(text)
    except Trouble as trouble:
        said = trouble.came_back
    assert said.startswith("homek8s.yaml:")
    assert "\x1b" not in said
    with contextlib.suppress(Trouble):
        inventory.with_checksums(text, {KEY: SHA})


@given(st.text(max_size=200))
def test_any_text_gives_a_home_or_a_trouble(text: str) -> None:
    only_trouble(text)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(["", "\n", " "]))
def test_any_mix_of_yaml_gives_a_home_or_a_trouble(pieces: list[str], glue: str) -> None:
    only_trouble(glue.join(pieces))


@settings(max_examples=200)
@given(STRUCTURES)
def test_any_structure_gives_a_home_or_a_trouble(structure: Any) -> None:
    only_trouble(json.dumps(structure))


@settings(max_examples=200)
@given(st.dictionaries(NAMES, STRUCTURES, max_size=9))
def test_any_mapping_of_known_fields_gives_a_home_or_a_trouble(structure: Any) -> None:
    only_trouble(json.dumps(structure))


def test_an_alias_bomb_and_a_deep_one_end_at_once() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    before = time.monotonic()
    assert "anchors" in refusal(bomb)
    assert "deeper" in refusal("[" * 1000)
    assert time.monotonic() - before < 5


def test_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    assert "larger than 1 MiB" in refusal("#" * (1 << 20) + "\n")
    path = tmp_path / "large.yaml"
    path.write_text("é" * (1 << 20))
    with pytest.raises(Trouble, match="larger than 1 MiB"):
        inventory.load(path)


# --- files


def test_load_tells_what_stands_in_the_way(tmp_path: Path) -> None:
    good, latin = tmp_path / "good.yaml", tmp_path / "latin.yaml"
    good.write_text(GOOD)
    latin.write_bytes(b"name: caf\xe9\n")
    assert inventory.load(good) == inventory.parse(GOOD)
    with pytest.raises(Trouble, match=r"byte 10 is not UTF-8"):
        inventory.load(latin)
    with pytest.raises(Trouble, match=r"No such file.*homek8s init"):
        inventory.load(tmp_path / "none.yaml")
    with pytest.raises(Trouble, match="Is a directory"):
        inventory.load(tmp_path)


def test_find_takes_the_named_one_then_here_then_the_configured(tmp_path: Path) -> None:
    cwd, config = tmp_path / "cwd", tmp_path / "config"
    (config / "homek8s").mkdir(parents=True)
    cwd.mkdir()
    with pytest.raises(Trouble) as caught:
        inventory.find(None, cwd, config)
    for place in ("--home", str(cwd / "homek8s.yaml"), str(config / "homek8s" / "homek8s.yaml")):
        assert place in str(caught.value)
    (config / "homek8s" / "homek8s.yaml").touch()
    assert inventory.find(None, cwd, config) == config / "homek8s" / "homek8s.yaml"
    (cwd / "homek8s.yaml").touch()
    assert inventory.find(None, cwd, config) == cwd / "homek8s.yaml"
    assert inventory.find(Path("x.yaml"), cwd, config) == Path("x.yaml")


# --- editing

COMMENTED = """\
# my home
%s
nodes:   # odd indent on purpose
- {name: 'pi4',   address: "192.168.1.4", role: server}   # flow

-   name:  "pi5"
    address:    192.168.1.5   # trailing blanks   
    role: agent
proxy: {address: 203.0.113.10}
domain: >-
  example.org
lan: 192.168.1.0/24   # a very long comment that a dumper would love to wrap somewhere around the eightieth column
# the end
"""  # noqa: W291
EDITS = {
    "none": "name: home",
    "null": "artefacts:  # soon",
    "tilde": "artefacts: ~",
    "braces": "artefacts: {}   # nothing",
    "mirror": "artefacts:\n    # ours\n    mirror: 'https://m.example'   # fast",
    "empty checksums": "artefacts:\n  mirror: ~\n  checksums:\n  # none yet",
    "brace checksums": "artefacts:\n  checksums: {}  # none yet\n  mirror: https://m.example",
    "others": f"artefacts:\n   checksums:\n      # first\n      traefik/v3.7.15/a: '{SHA}'   # kept\n   mirror: https://m.example",
    "same": f"artefacts:\n  checksums:\n    {KEY}: {SHA}",
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("case", EDITS)
def test_pinning_keeps_every_other_line(case: str, ending: str) -> None:
    text = (COMMENTED % EDITS[case]).replace("\n", ending)
    new = {KEY: SHA, "traefik/v3.7.15/traefik_v3.7.15_linux_arm64.tar.gz": SHA[::-1]}
    result = inventory.with_checksums(text, new)
    before, after = inventory.parse(text), inventory.parse(result)
    assert after.artefacts.checksums == {**before.artefacts.checksums, **new}
    assert after.artefacts.mirror == before.artefacts.mirror
    assert msgspec.structs.replace(after, artefacts=before.artefacts) == before
    left = result.split(ending)
    changed = [line for line in text.split(ending) if line not in left]
    assert all(re.fullmatch(r"\s*(artefacts|checksums): (~|\{\}.*)", line) for line in changed)
    if ending == "\r\n":
        assert result.count("\n") == result.count("\r\n")
    assert inventory.with_checksums(result, new) == result


def test_pinning_replaces_a_digest_in_its_quotes_and_only_that() -> None:
    text = (
        COMMENTED % f"artefacts:\n  checksums:\n    {KEY}: '{'a' * 64}'   # pinned\n    traefik/v3.7.15/a: {'b' * 64}"
    )
    assert inventory.with_checksums(text, {KEY: SHA}).replace(SHA, "a" * 64).replace("'", "") == text.replace("'", "")


def test_pinning_nothing_changes_nothing() -> None:
    assert inventory.with_checksums(GOOD, {}) == GOOD


def test_pinning_a_file_without_a_last_line_end() -> None:
    assert inventory.parse(inventory.with_checksums(GOOD.rstrip("\n"), {KEY: SHA})).artefacts.checksums == {KEY: SHA}


@pytest.mark.parametrize(
    "section",
    ["artefacts: {mirror: https://m.example}", "artefacts: [1]", "artefacts: text", "artefacts: {checksums: }"],
)
def test_pinning_refuses_what_it_cannot_edit_and_says_what_to_write(section: str) -> None:
    with pytest.raises(Trouble) as caught:
        inventory.with_checksums(COMMENTED % section, {KEY: SHA})
    assert f"    {KEY}: {SHA}" in caught.value.do


@pytest.mark.parametrize("new", [{KEY: "abc"}, {"../../etc": SHA}, {f"{KEY}\nuser: root": SHA}, {KEY: SHA + "\n"}])
def test_pinning_refuses_malformed_pins(new: dict[str, str]) -> None:
    with pytest.raises(Trouble, match="it must be a"):
        inventory.with_checksums(GOOD, new)


def test_saving_is_atomic_and_keeps_mode_and_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "homek8s.yaml"
    real.write_text(GOOD)
    real.chmod(0o640)
    link.symlink_to(real)
    inode = real.stat().st_ino
    inventory.save_checksums(link, {KEY: SHA})
    assert link.is_symlink()
    assert real.stat().st_ino != inode
    assert real.stat().st_mode & 0o7777 == 0o640
    assert inventory.load(link).artefacts.checksums == {KEY: SHA}
    assert sorted(tmp_path.iterdir()) == [link, real]
    inode = real.stat().st_ino
    inventory.save_checksums(link, {KEY: SHA})
    assert real.stat().st_ino == inode


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "homek8s.yaml"
    path.write_text(GOOD)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Trouble, match="No space left on device"):
        inventory.save_checksums(path, {KEY: SHA})
    assert path.read_text() == GOOD
    assert list(tmp_path.iterdir()) == [path]


# --- the example and the schema


def test_the_example_is_sound_and_explains_every_field() -> None:
    text = inventory.commented()
    home = inventory.parse(text)
    assert home.server.name == "pi4"
    for kind in (Home, Proxy, Node, Ssh, Tunnel, Versions, Artefacts):
        names = {each.name for each in msgspec.structs.fields(kind)}
        assert set(inventory._docs(kind)) == names
        flat = " ".join(text.replace("#", " ").split())
        for name, explained in inventory._docs(kind).items():
            assert explained in flat
            assert f"{name}:" in text


def test_the_example_s_optional_lines_are_sound_when_uncommented() -> None:
    text = re.sub(r"# ((mirror|kubeconfig|jump|config): )", r"\1", inventory.commented())
    assert text != inventory.commented()
    assert inventory.parse(text).kubeconfig == "~/.kube/config"


def conforms(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Judges by the few keywords of JSON Schema that ours uses; any other fails the test."""
    known = {"$schema", "$ref", "$defs", "title", "description", "examples", "default", "type", "properties", "required", "items",
             "additionalProperties", "anyOf", "enum", "pattern", "minimum", "maximum", "propertyNames"}  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema and not conforms(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root):
        return False
    if "anyOf" in schema and not any(conforms(value, each, root) for each in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    types = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return False
    if isinstance(value, str):
        return bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, int):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        return all(conforms(each, schema.get("items", {}), root) for each in value)
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", True)
        for name, each in value.items():
            if name in schema.get("properties", {}):
                if not conforms(each, schema["properties"][name], root):
                    return False
            elif rest is False or (isinstance(rest, dict) and not conforms(each, rest, root)):
                return False
            if "propertyNames" in schema and not conforms(name, schema["propertyNames"], root):
                return False
        return set(schema.get("required", [])) <= set(value)
    return True


def test_the_schema_takes_what_parse_takes_and_describes_every_field() -> None:
    from ruamel.yaml import YAML

    schema = json.loads(inventory.json_schema())
    plain = YAML(typ="safe", pure=True).load
    assert conforms(plain(GOOD), schema, schema)
    assert conforms(plain(inventory.commented()), schema, schema)
    assert conforms(plain(inventory.with_checksums(GOOD, {KEY: SHA})), schema, schema)
    for case in ("unknown field", "missing", "text for a number", "port too high", "host name", "domain", "role", "subnet", "mtu",
                 "digest", "http mirror", "mapping for a list", "nothing", "file key"):  # fmt: skip
        old, new, _ = CASES[case]
        assert not conforms(plain(GOOD.replace(old, new, 1)), schema, schema), case
    for kind in (Home, Proxy, Node, Ssh, Tunnel, Versions, Artefacts):
        for name, found in schema["$defs"][kind.__name__]["properties"].items():
            assert found["description"] == inventory._docs(kind)[name]


def test_importing_loads_no_yaml() -> None:
    code = "import sys, homek8s_tui.home.inventory; print([m for m in sys.modules if m.startswith('ruamel')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
