"""A machine that the console can't connect to, set up through another one; and as people's own SSH configuration has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.cli.wiring import GivenSecrets
from homek8s_tui.home.inventory import load
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.ssh_ways import SshHosts

from .console import Console
from .kubernetes import artefacts
from .lab import Lab

CONFIG = """\
Host behind
  HostName 192.168.1.5
  ProxyJump gate
Host gate
  HostName 192.168.1.4
  HostKeyAlias gate-of-the-home
Host behind gate
  User pi
  IdentitiesOnly yes
  IdentityFile ~/.ssh/id_guarded
"""


@pytest.fixture
def console(fresh: Lab, tmp_path: Path) -> Iterator[Console]:
    """An operator from whom no packet gets to pi5, as with a firewall that lets in the other nodes only."""
    artefacts.fill(fresh.artefacts_dir)
    with fresh.faults.cut_for_now("operator", "pi5"):
        yield Console(fresh, tmp_path)


def declare(console: Console, way: str) -> None:
    """Declares how SSH gets to pi5."""
    text = console.inventory.read_text()
    console.inventory.write_text(text.replace("    role: agent\n", f"    role: agent\n    ssh: {{{way}}}\n"))


def test_a_machine_behind_a_node_is_planned_and_changed(console: Console) -> None:
    alone = console.run("plan", "setup", "--waive", "cgroup-v1")
    assert alone.returncode == 4
    assert "Could not connect by SSH on pi5 (192.168.1.5:22): nobody answered in 5 s." in alone.stdout
    declare(console, "jump: pi4")
    planned = console.done("plan", "setup", "--waive", "cgroup-v1", code=2)
    assert "45 steps, 0 already so" in planned
    pinned = (console.state / "known_hosts").read_text()
    assert [line.split()[0] for line in pinned.splitlines()].count("192.168.1.5") == 1
    done = console.done("apply", "setup", "--stage", "tunnel", "--yes", "--waive", "cgroup-v1")
    assert "FAILS" not in done
    assert console.lab.pi5.run("ip -br addr show k8s-tunnel").split()[2] == "10.1.10.2/24"
    assert "pi from 192.168.1.4 port" in console.lab.pi5.run("journalctl -u ssh --no-pager -o cat | grep Accepted")


def test_a_jump_that_drops_forbids_or_is_off(console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(console, "jump: pi4")
    monkeypatch.setenv("HOME", str(console.folder))
    secrets = GivenSecrets({"sudo:pi5": f"command:cat {console.folder}/password"}, None)
    hosts = SshHosts(HostKeys(tmp_path / "keys", lambda _: True), secrets).of(load(console.inventory).hosts)
    pi4, pi5 = hosts["pi4"], hosts["pi5"]
    assert pi5.ask([]) == {}
    assert console.lab.faults.drop_ssh(console.lab.pi4) >= 1
    assert pi5.ask([]) == {}
    console.lab.pi4.write("/etc/ssh/sshd_config.d/05-shut.conf", "AllowTcpForwarding no\n")
    console.lab.pi4.run("systemctl restart ssh")
    pi4.close()
    with pytest.raises(Trouble) as forbidden:
        pi5.ask([])
    assert forbidden.value.where == "pi4 (192.168.1.4:22), the jump host of pi5"
    assert forbidden.value.came_back == "its sshd forwards no connections"
    assert pi4.ask([]) == {}
    console.lab.pi4.power_cut()
    pi4.close()
    with pytest.raises(Trouble) as off:
        pi5.ask([])
    assert off.value.where == "pi4 (192.168.1.4:22), the jump host of pi5"
    assert off.value.kind is Kind.UNREACHABLE


def test_the_way_of_ones_own_ssh_configuration(console: Console) -> None:
    declare(console, "config: behind")
    config, key = console.folder / ".ssh" / "config", console.folder / ".ssh" / "id_guarded"
    config.write_text(CONFIG)
    shutil.copy(console.lab.keys.guarded, key)
    key.chmod(0o600)
    (console.folder / "passphrase").write_text(console.lab.keys.passphrase + "\n")
    # OpenSSH's client looks for it in the home folder that the system knows, not in $HOME
    client = console.folder / "bin" / "ssh"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    client.chmod(0o755)

    def run(*arguments: str) -> tuple[int, str]:
        secret = f"passphrase:{key}=command:cat {console.folder}/passphrase"
        done = console.run("--secret", secret, *arguments, PATH=f"{client.parent}:{os.environ['PATH']}")
        return done.returncode, done.stdout + done.stderr

    code, said = run("plan", "setup")
    assert code == 5
    assert "on gate (192.168.1.4:22), the jump host of pi5" in said
    approved = ("--host-key", f"gate={console.fingerprint('pi4')}")
    assert f"give '{' '.join(approved)}' or run 'homek8s trust gate'" in said
    code, said = run(*approved, "plan", "setup", "--waive", "cgroup-v1")
    assert code == 2
    assert "45 steps, 0 already so" in said
    assert "gate-of-the-home ssh-ed25519 " in (console.state / "known_hosts").read_text()

    # the gate is trusted anew like any machine
    console.lab.pi4.change_host_key()
    assert "its host key changed" in run("status")[1]
    assert run("trust", "pi4")[0] == 0
    assert "then 'homek8s trust gate'" in run("status")[1]
    assert run("--host-key", f"gate={console.fingerprint('pi4')}", "trust", "gate")[0] == 0
    assert run("status")[0] == 0

    # what can't be followed is refused before anybody is connected to
    config.write_text(CONFIG.replace("ProxyJump gate", "ProxyCommand nc %h %p"))
    code, said = run("status")
    assert code == 64
    assert "Write ssh.jump: user@host:port for pi5 in homek8s.yaml" in said
