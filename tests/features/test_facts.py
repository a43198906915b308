"""Parsers of what machines say, on real output and on anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homek8s_tui.base.known import Fresh
from homek8s_tui.features.k3s import facts as k3s
from homek8s_tui.features.k3s.findings import findings, nodes_ready
from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.proxy.findings import only_these_ports, same_certificate
from homek8s_tui.features.tunnels import facts as tunnels
from homek8s_tui.features.tunnels.findings import handshake
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.model import Answer
from homek8s_tui.plan.checks import Check
from homek8s_tui.plan.facts import Facts

TUNNEL = (
    "interface=up\nnow=1795433142\nmtu=1420\n"
    "allowed-ips\tFQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t10.1.10.1/32\n"
    "allowed-ips\tXQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t10.1.10.2/32\n"
    "endpoints\tFQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t198.51.100.1:51820\n"
    "endpoints\tXQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t(none)\n"
    "latest-handshakes\tFQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t1795433125\n"
    "latest-handshakes\tXQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t0\n"
    "transfer\tFQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t4284\t5012\n"
    "persistent-keepalive\tFQzbpJpJQzlCvtGfCLqh0VvDGzxbBBdZn+0wvyV7bmo=\t25\n"
)


def test_a_tunnel_as_wg_tells_it() -> None:
    live = tunnels.read(TUNNEL)
    assert live.up and live.mtu == 1420
    assert live.peers[0] == tunnels.Peer("10.1.10.1", "198.51.100.1:51820", 17.0, 4284, 5012, "25")
    assert live.peers[1].handshake_age is None and live.peers[1].endpoint == ""


def test_handshakes_are_judged_by_their_age() -> None:
    def verdict(address: str, limit: str) -> str:
        return handshake(Check("h", "h", (), "handshake", (address, limit)), ({"output": TUNNEL},), 0).state

    assert verdict("10.1.10.1", "135") == "holds"
    assert verdict("10.1.10.1", "10") == "fails"
    assert verdict("10.1.10.2", "135") == "fails"
    assert verdict("10.1.10.9", "135") == "fails"


@given(st.text())
def test_no_answer_breaks_a_parser(text: str) -> None:
    tunnels.read(text)
    k3s.read(text)


def test_nodes_as_the_api_server_knows_them() -> None:
    live = k3s.read(
        "version=v1.36.3+k3s1\nk3s=active\nk3s-agent=inactive\nnode=pi4 True v1.36.3+k3s1 10.1.10.1\nnode=pi5 Unknown v1.36.3+k3s1 10.1.10.2\n"
    )
    assert [(node.name, node.ready) for node in live.nodes] == [("pi4", True), ("pi5", False)]
    assert (live.version, live.server) == ("v1.36.3+k3s1", "active")


def test_an_api_server_that_does_not_answer_says_nothing_of_its_nodes(home: Home) -> None:
    said = "version=v1.36.3+k3s1\nk3s=active\nk3s-agent=inactive\nsilent=Unable to connect to the server: timeout\n"
    ready = Check("r", "r", (), "nodes-ready", ("pi4", "pi5"))
    verdict = nodes_ready(ready, ({"output": said},), 0)
    assert (verdict.state, "timeout" in verdict.words, "no node" in verdict.words) == ("fails", True, False)
    for answer in (Answer(0, said), Answer(124, "version=v1.36.3+k3s1\nk3s=active\n")):
        known = Fresh({"k3s": k3s.parse(home, "pi4", {"k3s": answer})}, 1.0)
        found = list(findings(home, Facts({"pi4": known}, {}, 1.0, 1.0)))
        assert [(finding.id, finding.subject, finding.mend) for finding in found] == [("api-silent", "pi4", None)]


def test_a_machine_as_it_tells_of_itself(home: Home) -> None:
    said = (
        "architecture=aarch64\nos=raspbian 12 debian\nhostname=pi4\ncgroup=cgroup2fs\nmemory_cgroup=yes\nwireguard=kernel\ncurl=no\napt=yes\n"
        "forwarding=yes\naddresses=lo:127.0.0.1/8 eth0:192.168.1.4/24 k8s-tunnel:10.1.10.1/24 cni0:10.42.0.1/24 \ndisk_free_kb=51234\nmemory_kb=8000000\n"
        "clock=1795433142\nclock_synchronized=yes\nlistens=tcp 22 0.0.0.0 sshd\nlistens=udp 51820 0.0.0.0 kernel\nlistens=tcp 80 [::] nginx\n"
    )
    facts = nodes.parse(home, "pi4", {"nodes": Answer(0, said)})
    assert isinstance(facts.settled, nodes.Settled)
    assert isinstance(facts.live, nodes.Live)
    # what the set-up itself brings along is no change of the machine
    assert facts.settled.addresses == (("eth0", "192.168.1.4/24"),)
    assert nodes.Listener("tcp", 80, "[::]", "nginx") in facts.live.listeners


def test_what_the_internet_sees_is_judged() -> None:
    ports = Check("p", "p", (), "only-these-ports", ("22", "443"))
    assert only_these_ports(ports, ({"open": "22 443", "asked": "40"},), 0).state == "holds"
    assert (
        only_these_ports(ports, ({"open": "22 443 8080", "asked": "40"},), 0).words
        == "these accept connections too: 8080"
    )
    same = Check("s", "s", (), "same-certificate")
    assert same_certificate(same, ({"state": "timeout"}, {"state": "refused"}), 0).state == "pending"
    assert (
        same_certificate(same, ({"certificate": "a"}, {"certificate": "a"}, {"state": "refused"}), 0).state == "holds"
    )
    assert same_certificate(same, ({"certificate": "b"}, {"certificate": "a"}), 0).state == "fails"
    assert same_certificate(same, ({"state": "timeout"}, {"certificate": "a"}), 0).state == "fails"
