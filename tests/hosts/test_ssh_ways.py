"""How SSH gets to the machines of a home: by the inventory, by people's own configuration, and which wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.cli import wiring
from homek8s_tui.engine.command_log import CommandLog
from homek8s_tui.home.inventory import Home, Node, Proxy, Ssh
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.ssh import SshHost
from homek8s_tui.hosts.ssh_config import Hop, Settings
from homek8s_tui.hosts.ssh_ways import SshHosts

from .sshd import Approver, Secrets, Sshd, keygen


class Config:
    """A configuration that says something of some names."""

    def __init__(self, **said: Settings) -> None:
        self.said = said
        self.asked: list[tuple[str, str | None, int | None]] = []

    def __call__(self, name: str, user: str | None, port: int | None) -> Settings:
        self.asked.append((name, user, port))
        return self.said.get(name, Settings(name, user or "me", port or 22))


Of = Callable[..., dict[str, SshHost]]


@pytest.fixture
def of(tmp_path: Path) -> Of:
    """Builds the ways to some machines."""

    def build(*machines: Proxy | Node, **said: Settings) -> dict[str, SshHost]:
        return SshHosts(HostKeys(tmp_path / "known_hosts", Approver()), Secrets(), Config(**said)).of(machines)

    return build


def way(host: SshHost) -> str:
    """Says where a machine is and what it is behind."""
    return f"{host._login.user}@{host._address}:{host._port}" + (f" < {way(host._jump)}" if host._jump else "")


def pi(number: int, **more: object) -> Node:
    return Node(name=f"pi{number}", address=f"192.168.1.{number}", role="agent", **more)  # type: ignore[arg-type]


def test_ways_of_the_inventory_alone(of: Of) -> None:
    proxy = Proxy(address="203.0.113.1", ssh=Ssh(jump="pi4"))
    hosts = of(proxy, pi(4, ssh=Ssh(jump="me@bastion:99")), pi(5, ssh=Ssh(jump="me@bastion:99"), user="eve", port=23))
    assert {name: way(host) for name, host in hosts.items()} == {
        "me@bastion:99": "me@bastion:99",
        "pi4": "pi@192.168.1.4:22 < me@bastion:99",
        "proxy": "root@203.0.113.1:22 < pi@192.168.1.4:22 < me@bastion:99",
        "pi5": "eve@192.168.1.5:23 < me@bastion:99",
    }
    assert hosts["pi4"]._jump is hosts["pi5"]._jump is hosts["me@bastion:99"]


def test_ways_of_the_configuration(of: Of) -> None:
    hosts = of(
        pi(3, ssh=Ssh(config="three")),
        pi(4, ssh=Ssh(config="four")),
        pi(5, ssh=Ssh(config="five", jump="pi4"), user="eve"),
        pi(6, ssh=Ssh(config="Six")),
        four=Settings("four.lan", "bob", 44, ("/k",), only=True, agent="/a", alias="4", jumps=(Hop("gate"), Hop("b", "x", 7))),
        three=Settings("3.lan", "bob", 33, jumps=(Hop("four"),), agent="none"),
        five=Settings("five", "eve", 22, jumps=(Hop("gate"),), command="nc"),
        Six=Settings("six", "me", 66),
        gate=Settings("198.51.100.1", "guard", 2222),
        b=Settings("b.lan", "x", 7),
    )  # fmt: skip
    gate = "guard@198.51.100.1:2222"
    four = f"bob@four.lan:44 < x@b.lan:7 < {gate}"
    assert {name: way(host) for name, host in hosts.items()} == {
        "gate": gate,
        "gate,x@b:7": f"x@b.lan:7 < {gate}",
        "pi4": four,
        "pi3": f"bob@3.lan:33 < {four}",
        "pi5": f"eve@192.168.1.5:22 < {four}",
        "pi6": "me@192.168.1.6:66",
    }
    login = hosts["pi4"]._login
    assert (login.only, login.agent, hosts["pi4"]._alias) == (True, "/a", "4")
    assert list(login.identities) == [Path("/k")]
    assert hosts["pi3"]._login.agent is False
    assert hosts["pi6"]._login.agent is True


def test_a_name_of_the_configuration_is_not_taken_for_a_machine(of: Of) -> None:
    hosts = of(
        pi(4),
        pi(5, ssh=Ssh(config="five")),
        five=Settings("five.lan", "me", 22, jumps=(Hop("pi4"),)),
        pi4=Settings("work.example", "me", 22),
    )
    assert way(hosts["pi5"]) == "me@five.lan:22 < me@work.example:22"
    assert "me@work.example:22" in hosts
    assert way(hosts["pi4"]) == "pi@192.168.1.4:22"


def test_what_cannot_be_followed_is_refused(of: Of) -> None:
    a, b = Settings("a", "me", 22, jumps=(Hop("b"),)), Settings("b", "me", 22, jumps=(Hop("a"),))
    for machines, said, words in (
        ([pi(4, ssh=Ssh(config="c"))], {"c": Settings("c", "me", 22, command="nc %h %p")}, "its ProxyCommand .*ssh.jump: user@host:port for pi4"),
        ([pi(4, ssh=Ssh(config="c"))], {"c": Settings("c", "me", 22, jumps=(Hop("c"),))}, "circle .pi4 -> pi4"),
        ([pi(4, ssh=Ssh(config="a"))], {"a": a, "b": b}, "circle .pi4 -> b -> pi4"),
        ([pi(4, ssh=Ssh(config="c"))], {"a": a, "b": b, "c": Settings("c", "me", 22, jumps=(Hop("a"),))}, "circle .pi4 -> a -> b -> a"),
        ([pi(4, ssh=Ssh(jump="pi5"))], {}, "pi5, which it is behind, is not declared"),
        ([pi(4, ssh=Ssh(jump="pi5")), pi(5, ssh=Ssh(jump="pi4"))], {}, "circle .pi4 -> pi5 -> pi4"),
    ):  # fmt: skip
        with pytest.raises(Trouble, match=words) as trouble:
            of(*machines, **said)
        assert trouble.value.kind is Kind.USAGE


def test_what_is_declared_the_same_stays_connected(tmp_path: Path) -> None:
    config = Config()
    hosts = SshHosts(HostKeys(tmp_path / "known_hosts", Approver()), Secrets(), config)
    first = hosts.of([pi(4), pi(5, ssh=Ssh(jump="pi4")), pi(6, ssh=Ssh(config="six"))])
    again = hosts.of([pi(4), pi(5, ssh=Ssh(jump="pi4"), user="eve"), pi(6, ssh=Ssh(config="six"))])
    assert again["pi4"] is first["pi4"] and again["pi6"] is first["pi6"]
    assert again["pi5"] is not first["pi5"] and again["pi5"]._jump is first["pi4"]
    assert hosts.of([pi(4, user="eve"), pi(5, ssh=Ssh(jump="pi4"))])["pi5"] is not first["pi5"]
    assert config.asked == [("six", None, None)]
    hosts.close()


def trusting(keys: HostKeys, secrets: wiring.GivenSecrets) -> wiring.Connections:
    """Returns connections as the program makes them."""
    return wiring.Connections(keys, secrets, CommandLog(wiring.SystemClock()), read_only=True)


def test_trust_covers_a_jump(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    bastion.identity.rename(tmp_path / ".ssh" / "id_ed25519")
    bastion.start()
    name = f"root@127.0.0.1:{bastion.port}"
    behind = pi(4, ssh=Ssh(jump=name))
    home = Home(domain="a.example", proxy=Proxy(address="203.0.113.1"), nodes=(behind,), lan="192.168.1.0/24")
    secrets = wiring.GivenSecrets({}, None)
    trusting(bastion.keys, secrets).trust(home.hosts, name)
    keygen(bastion.folder / "host_ed25519")
    bastion.start()
    trusting(bastion.keys, secrets).trust(home.hosts, name)
    assert [question.name for question in bastion.approver.asked] == [name, name]
    with pytest.raises(Trouble, match=r"there are proxy, root@127.*, pi4"):
        trusting(bastion.keys, secrets).trust(home.hosts, "pi5")
