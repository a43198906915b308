"""The lab's own tests: it is what it claims to be."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from .ground import Ground, LabError, wait_until
from .lab import Lab
from .machines import PASSWORD, Host
from .network import MIRROR, OUTSIDE, ROUTER_OUTSIDE


def answers(host: Host) -> bool:
    """Whether the host's SSH server greets the operator."""
    return host.ssh("true", check=False, timeout=20).returncode == 0


def pings(lab: Lab, name: str, address: str) -> bool:
    """Whether one ping comes back."""
    return lab.ns(name, ["ping", "-c1", "-W1", "-q", address], check=False).returncode == 0


@pytest.mark.parametrize(("name", "user"), [("proxy", "root"), ("pi4", "pi"), ("pi5", "pi")])
def test_login_with_either_key(fresh: Lab, name: str, user: str) -> None:
    host = fresh.hosts[name]
    assert host.user == user
    assert host.ssh("id -un; hostname").stdout.split() == [user, name]
    askpass = fresh.directory / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{fresh.keys.passphrase}'\n")
    askpass.chmod(0o700)
    argv = [word.replace("BatchMode=yes", "BatchMode=no") for word in host.ssh_command(key=fresh.keys.guarded)]
    environment = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    done = subprocess.run([*argv, "id", "-un"], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{user}\n", done.stderr


def test_root_logs_in_on_the_proxy_only(fresh: Lab) -> None:
    assert fresh.proxy.ssh("id -un", user="root").stdout == "root\n"
    for host in (fresh.pi4, fresh.pi5):
        assert host.ssh("id -un", user="root", check=False).returncode == 255


def test_sudo(fresh: Lab) -> None:
    assert fresh.pi4.ssh("sudo -n id -un").stdout == "root\n"
    refused = fresh.pi5.ssh("sudo -n id -un", check=False)
    assert refused.returncode == 1
    assert "password is required" in refused.stderr
    assert fresh.pi5.ssh("sudo -S -p '' id -un", stdin=PASSWORD + "\n").stdout == "root\n"
    assert fresh.pi5.ssh("sudo -S -p '' id -un", stdin="wrong\n", check=False).returncode == 1


def test_machines_are_bare_and_healthy(fresh: Lab) -> None:
    identities = set()
    for host in fresh.hosts.values():
        assert host.run("systemctl is-system-running --wait", check=False) == "running\n"
        assert host.run("systemctl --failed --no-legend") == ""
        for program in ("python3", "wg", "nft", "nginx", "wireguard-go"):
            assert host.run(f"command -v {program}", check=False) == ""
        assert bool(host.run("command -v curl", check=False)) == (host.name == "proxy")
        identities.add((host.read("/etc/machine-id"), host.host_key))
        assert host.exists("/dev/net/tun")
    assert len(identities) == 3


def test_home_is_behind_nat(fresh: Lab) -> None:
    assert pings(fresh, "operator", OUTSIDE.address)
    fresh.ns("outside", ["ip", "route", "add", "192.168.1.0/24", "via", ROUTER_OUTSIDE])
    try:
        for host in (fresh.pi4, fresh.pi5):
            assert not pings(fresh, "outside", host.address)
    finally:
        fresh.ns("outside", ["ip", "route", "del", "192.168.1.0/24"])
    script = (
        "import socket;s=socket.create_server(('198.51.100.77',7000));print('on',flush=True);print(s.accept()[1][0])"
    )
    server = fresh.popen("outside", ["python3", "-c", script])
    assert server.stdout is not None
    assert server.stdout.readline() == "on\n"
    with socket.create_connection((OUTSIDE.address, 7000), 5):
        assert server.communicate(timeout=10)[0] == f"{ROUTER_OUTSIDE}\n"


def test_nothing_leads_out_of_the_lab(fresh: Lab) -> None:
    for host in fresh.hosts.values():
        assert host.run("ping -c1 -W1 -q 203.0.113.1", check=False).count("1 received") == 0
    with pytest.raises(OSError, match=r"unreachable|timed out"):
        socket.create_connection(("203.0.113.1", 80), 1)


def test_names(fresh: Lab) -> None:
    assert socket.gethostbyname("home.example") == fresh.proxy.address
    assert socket.gethostbyname("grafana.home.example") == fresh.proxy.address
    assert socket.gethostbyname("mirror.example") == MIRROR.address
    with pytest.raises(socket.gaierror):
        socket.gethostbyname("elsewhere.example")
    for host in fresh.hosts.values():
        assert host.run("getent ahostsv4 a.b.home.example").split()[0] == fresh.proxy.address
    fresh.dns.set("grafana.home.example", "198.51.100.99")
    assert socket.gethostbyname("grafana.home.example") == "198.51.100.99"
    assert socket.gethostbyname("home.example") == fresh.proxy.address
    assert "elsewhere.example" in [question.name for question in fresh.dns.questions() if not question.address]
    assert fresh.ns("outside", ["getent", "ahostsv4", "home.example"]).stdout.startswith(fresh.proxy.address)


def test_apt_installs_from_the_mirror(fresh: Lab) -> None:
    install = "sudo -S -p '' sh -c 'apt-get -q update && apt-get -q install -y jq' && jq --version"
    assert "jq-1" in fresh.pi5.ssh(install, stdin=PASSWORD + "\n", timeout=120).stdout
    asked = [request for request in fresh.apt_mirror.requests() if "/jq_" in request.path]
    assert [(request.client, request.status) for request in asked] == [(ROUTER_OUTSIDE, 200)]
    missing = fresh.pi5.run("apt-get install -y no-such-package 2>&1", check=False)
    assert "Unable to locate package" in missing


def test_every_package_of_the_repository_is_installable(fresh: Lab) -> None:
    packages = "wireguard-tools wireguard-go nginx-light nftables iptables open-iscsi python3"
    done = fresh.pi4.run(f"apt-get -qq update && apt-get install --simulate -y {packages} | grep -c ^Inst")
    assert int(done) > 10


def test_wireguard_comes_up(fresh: Lab) -> None:
    fresh.pi4.run(
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y wireguard-tools wireguard-go "
        ">/dev/null 2>&1; umask 077; printf '[Interface]\\nAddress = 10.1.10.1/24\\nPrivateKey = %s\\n' $(wg genkey) "
        "> /etc/wireguard/k8s-tunnel.conf; systemctl start wg-quick@k8s-tunnel",
        timeout=120,
    )
    assert "10.1.10.1/24" in fresh.pi4.run("ip -br addr show k8s-tunnel")
    before = fresh.pi4.run("ip -br link")
    fresh.pi4.reboot()
    assert "k8s-tunnel" in before
    assert "k8s-tunnel" not in fresh.pi4.run("ip -br link")


def test_artefacts_over_https(fresh: Lab) -> None:
    (fresh.artefacts_dir / "k3s").mkdir(exist_ok=True)
    (fresh.artefacts_dir / "k3s" / "hello").write_text("hello\n")
    url = "https://mirror.example/k3s/hello"
    assert fresh.proxy.run(f"curl -sS --fail {url}") == "hello\n"
    stranger = fresh.proxy.run(f"curl -sS --cacert /dev/null {url} 2>&1", check=False)
    assert "certificate" in stranger
    context = ssl.create_default_context(cafile=str(fresh.ca_file))
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:
        assert answer.read() == b"hello\n"
    clients = [request.client for request in fresh.artefact_mirror.requests() if request.status == 200]
    assert clients == [fresh.proxy.address, ROUTER_OUTSIDE]
    assert "404" in fresh.proxy.run("curl -s -o /dev/null -w '%{http_code}' https://mirror.example/../etc/passwd")


def test_a_stopped_mirror_refuses(fresh: Lab) -> None:
    get = "curl -sS --max-time 3 -o /dev/null -w '%{http_code}' https://mirror.example/"
    fresh.artefact_mirror.stop()
    assert fresh.proxy.run(f"{get} >/dev/null 2>&1; echo $?") == "7\n"  # curl's word for refused
    fresh.artefact_mirror.start()
    assert fresh.proxy.run(get) == "200"
    fresh.artefact_mirror.hang()
    assert "000" in fresh.proxy.run(get, check=False)
    fresh.artefact_mirror.resume()
    assert fresh.proxy.run(get) == "200"


def test_reset_gives_a_bare_machine_with_the_same_identity(fresh: Lab) -> None:
    before = fresh.pi5.host_key, fresh.pi5.boot_id()
    fresh.pi5.write("/etc/some/thing", "x")
    fresh.reset("pi5")
    assert not fresh.pi5.exists("/etc/some/thing")
    assert fresh.pi5.host_key == before[0]
    assert fresh.pi5.boot_id() != before[1]


@pytest.mark.parametrize("order", ["systemctl reboot", "systemctl reboot -ff"])
def test_reboot_keeps_the_disk_and_changes_the_boot_id(fresh: Lab, order: str) -> None:
    before = fresh.pi4.boot_id()
    fresh.pi4.write("/etc/some/thing", "x")
    fresh.pi4.ssh(f"sudo {order}", check=False)
    fresh.pi4.wait_reboot(before)
    assert fresh.pi4.read("/etc/some/thing") == "x"


@pytest.mark.parametrize("how", ["power_cut", "power_off"])
def test_power(fresh: Lab, how: str) -> None:
    fresh.pi4.write("/etc/some/thing", "x")
    stop: Callable[[], None] = getattr(fresh.pi4, how)
    stop()
    assert not fresh.pi4.is_on
    assert not pings(fresh, "operator", fresh.pi4.address)
    fresh.pi4.power_on()
    fresh.pi4.wait_ssh()
    assert fresh.pi4.read("/etc/some/thing") == "x"


def test_poweroff_from_inside(fresh: Lab) -> None:
    fresh.pi4.ssh("sudo systemctl poweroff", check=False)
    wait_until(lambda: not fresh.pi4.is_on, "pi4 is off", 60)
    fresh.pi4.power_on()
    fresh.pi4.wait_ssh()


def test_program_starts_are_recorded(fresh: Lab) -> None:
    mark = fresh.pi5.mark()
    odd = "a b\\\tc\nd"
    fresh.pi5.ssh(["sudo", "-S", "-p", "", "env", "echo", odd, ""], stdin=PASSWORD + "\n")
    fresh.pi5.run("ls /")
    starts = fresh.pi5.executions(mark)
    assert ["sudo", "-S", "-p", "", "env", "echo", odd, ""] in starts
    assert ["env", "echo", odd, ""] in starts
    assert ["echo", odd, ""] in starts
    assert not [start for start in starts if start and start[0] == "ls"]
    assert any("systemd" in start[0] for start in fresh.pi5.executions() if start)


def test_records_of_simultaneous_starts_do_not_mix(fresh: Lab) -> None:
    mark = fresh.pi4.mark()
    fresh.pi4.ssh("for i in $(seq 40); do /bin/echo number-$i >/dev/null & done; wait")
    names = [start[1] for start in fresh.pi4.executions(mark) if start[:1] == ["/bin/echo"]]
    assert sorted(names) == sorted(f"number-{i}" for i in range(1, 41))


@pytest.mark.parametrize("pair", [("operator", "pi4"), ("operator", "proxy"), ("proxy", "mirror")])
def test_cut_and_mend(fresh: Lab, pair: tuple[str, str]) -> None:
    target = {"pi4": fresh.pi4, "proxy": fresh.proxy, "mirror": fresh.proxy}[pair[1]]
    here, there = pair[0], MIRROR.address if pair[1] == "mirror" else target.address
    assert pings(fresh, here, there)
    cut = fresh.faults.cut(*pair)
    assert not pings(fresh, here, there)
    fresh.faults.mend(cut)
    assert pings(fresh, here, there)


def test_cut_hits_known_connections_and_one_port_only(fresh: Lab) -> None:
    with fresh.ground.connect("operator", (fresh.proxy.address, 22), 5) as connection:
        connection.settimeout(2)
        assert connection.recv(4) == b"SSH-"
        with fresh.faults.cut_for_now("operator", "proxy", protocol="tcp", port=22):
            assert pings(fresh, "operator", fresh.proxy.address)
            connection.recv(100)
            connection.sendall(b"SSH-2.0-nobody\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(100)
        assert answers(fresh.proxy)


def test_cables_losses_and_slow_lines(fresh: Lab) -> None:
    fresh.faults.unplug("pi5")
    assert not pings(fresh, "operator", fresh.pi5.address)
    fresh.faults.plug("pi5")
    fresh.pi5.wait_ssh()
    fresh.faults.loss(100)
    assert not pings(fresh, "operator", OUTSIDE.address)
    assert pings(fresh, "operator", fresh.pi5.address)
    fresh.faults.loss(0)
    assert pings(fresh, "operator", OUTSIDE.address)
    for where in ("home", "proxy"):
        fresh.faults.slow(where, "1mbit")
    assert "tbf" in fresh.ns("router", ["tc", "qdisc", "show", "dev", "wan"]).stdout
    assert answers(fresh.proxy)
    fresh.faults.restore()
    assert "tbf" not in fresh.ns("router", ["tc", "qdisc", "show", "dev", "wan"]).stdout


def test_router_forgets_connections(fresh: Lab) -> None:
    listing = ["conntrack", "-L", "-d", fresh.proxy.address]
    with fresh.ground.connect("operator", (fresh.proxy.address, 22), 5):
        assert "dport=22" in fresh.ns("router", listing).stdout
        fresh.faults.forget_connections()
        assert "dport=22" not in fresh.ns("router", listing).stdout


def test_freeze(fresh: Lab) -> None:
    fresh.pi5.freeze()
    with fresh.ground.connect("operator", (fresh.pi5.address, 22), 5) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    fresh.pi5.thaw()
    fresh.pi5.wait_ssh()
    fresh.pi5.freeze()
    fresh.reset("pi5")


def test_full_and_read_only_directories(fresh: Lab) -> None:
    host = fresh.pi4
    host.write("/var/lib/some/kept", "x")
    fresh.faults.small_directory(host, "/var/lib/some")
    assert host.read("/var/lib/some/kept") == "x"
    assert "No space left" in host.ssh("sudo cp /etc/hostname /var/lib/some/new", check=False).stderr
    fresh.faults.drain(host, "/var/lib/some")
    host.write("/var/lib/some/new", "y")
    fresh.faults.mend_directory(host, "/var/lib/some")
    assert host.run("ls /var/lib/some") == "kept\n"
    fresh.faults.read_only(host, "/etc/apt")
    assert "Read-only" in host.ssh("sudo touch /etc/apt/new", check=False).stderr
    fresh.faults.mend_directory(host, "/etc/apt")
    host.ssh("sudo touch /etc/apt/new")


def test_small_disk(fresh: Lab) -> None:
    with pytest.raises(LabError, match="too large"):
        fresh.faults.fill(fresh.pi5, "/var")
    fresh.pi5.reset(disk="60M")
    fresh.pi5.wait_ssh()
    fresh.faults.fill(fresh.pi5, "/var")
    assert "No space left" in fresh.pi5.run("cp /etc/hostname /etc/new 2>&1", check=False)
    assert answers(fresh.pi5)
    fresh.faults.drain(fresh.pi5, "/var")
    fresh.pi5.write("/etc/new", "x")


def test_changed_host_key(fresh: Lab) -> None:
    before = fresh.pi4.known_hosts.read_text()
    fresh.pi4.change_host_key()
    assert fresh.pi4.known_hosts.read_text() != before
    fresh.pi4.wait_ssh()
    fresh.pi4.known_hosts.write_text(before)
    assert fresh.pi4.ssh("true", check=False).returncode == 255
    fresh.pi4.change_host_key()
    fresh.pi4.wait_ssh()


def test_dropped_ssh_sessions(fresh: Lab) -> None:
    argv = [*fresh.pi4.ssh_command(), "echo on; sleep 300"]
    session = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None
    assert session.stdout.readline() == "on\n"
    assert fresh.faults.drop_ssh(fresh.pi4) >= 1
    assert session.wait(timeout=20) == 255
    session.stdout.close()
    assert answers(fresh.pi4)


def test_hanging_unit(fresh: Lab) -> None:
    fresh.faults.hang(fresh.pi4, "ssh")
    assert fresh.pi4.run("systemctl is-active ssh") == "active\n"
    with fresh.ground.connect("operator", (fresh.pi4.address, 22), 5) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    fresh.faults.unhang(fresh.pi4, "ssh")
    fresh.pi4.wait_ssh()


def test_threads_started_in_the_seat_see_the_lab(fresh: Lab) -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(socket.gethostbyname("home.example")))
    thread.start()
    thread.join()
    assert found == [fresh.proxy.address]
    assert not fresh.ground.run(["ip", "-o", "link", "show", "type", "veth"]).stdout.count("v-pi4")


def test_a_second_lab_with_the_same_prefix_is_refused(fresh: Lab) -> None:
    with pytest.raises(LabError, match="LAB_PREFIX"):
        Lab(fresh.prefix).boot()


def test_a_killed_lab_leaves_nothing_after_down(fresh: Lab) -> None:
    prefix = f"{fresh.prefix[:2]}kill"
    program = (
        "import os, signal; from tests.lab.lab import Lab; lab = Lab(); lab.boot(); lab.enter_operator(); "
        "lab.pi4.freeze(); lab.faults.slow('home', '1mbit'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = ["env", f"PYTHONPATH={Path(__file__).resolve().parents[2]}", f"LAB_PREFIX={prefix}"]
    killed = fresh.ground.run([*environment, sys.executable, "-c", program], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL or killed.returncode == 128 + signal.SIGKILL, killed.stderr
    assert fresh.ground.run(["ip", "netns"]).stdout.count(f"{prefix}-pi4") == 1
    fresh.ground.run([*environment, sys.executable, "-m", "tests.lab", "down"])
    assert prefix + "-" not in fresh.ground.run(["ip", "netns"]).stdout
    assert f"/{prefix}/" not in fresh.ground.run(["cat", "/proc/self/mountinfo"]).stdout
    assert not (fresh.directory.parent / prefix).exists()
    assert fresh.pi4.is_on


def test_trouble_is_told(fresh: Lab) -> None:
    with pytest.raises(LabError, match="no such place"):
        fresh.faults.cut("operator", "nowhere")
    with pytest.raises(LabError, match="exit 3 of"):
        fresh.pi4.run("exit 3")
    with pytest.raises(LabError, match="never comes: not within"):
        wait_until(lambda: False, "what never comes", 0.05)
    assert isinstance(fresh.ground, Ground)
