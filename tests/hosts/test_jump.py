"""Through a jump host, with real sshds on the loopback: each way it fails names the hop that failed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange, ssh
from homek8s_tui.hosts.become import Become
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.model import Question
from homek8s_tui.hosts.ssh import SshHost

from .sshd import Secrets, Sshd, free_port, keygen

HELLO = Question("hello", "test-hello")
SCRIPTS = {"test-hello": "echo hello\n", "test-sleep": 'touch "$1"; sleep 30\n'}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds scripts that only tests need."""
    real = exchange.script_text
    monkeypatch.setattr(exchange, "script_text", lambda name: SCRIPTS.get(name) or real(name))


def says_hello(host: SshHost) -> bool:
    return host.ask([HELLO])["hello"].output == "hello\n"


def trouble_of(host: SshHost) -> Trouble:
    with pytest.raises(Trouble) as trouble:
        host.ask([HELLO])
    assert trouble.value.__cause__ is None
    return trouble.value


def at_bastion(bastion: Sshd, behind: str = "pi5") -> str:
    return f"bastion (127.0.0.1:{bastion.port}), the jump host of {behind}"


def test_a_machine_behind_a_jump_is_asked_and_both_keys_are_pinned(sshd: Sshd, bastion: Sshd) -> None:
    # the bastion runs nothing, not even for us, and has nobody who may become root
    public = bastion.identity.with_suffix(".pub").read_text()
    bastion.authorized.write_text(f'restrict,port-forwarding,command="false" {public}')
    jump = bastion.start().host(name="bastion")
    behind = sshd.start().host(name="pi5", jump=jump)
    assert says_hello(behind)
    assert (behind.exchanges, jump.exchanges) == (1, 0)
    assert [(question.name, question.port) for question in bastion.approver.asked] == [("bastion", bastion.port)]
    assert [(question.name, question.port) for question in sshd.approver.asked] == [("pi5", sshd.port)]
    stream = behind.dial("127.0.0.1", sshd.port)
    assert stream.receive(4) == b"SSH-"
    stream.close()


def test_a_jump_becomes_root_only_where_it_is_asked_itself(
    sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sudo(_user: str, host: str, where: str, *_: object) -> Become:
        if host == "bastion":
            raise Trouble("become root", where, "there is no sudo", "")
        return Become()

    monkeypatch.setattr(ssh, "become", no_sudo)
    jump = bastion.start().host(name="bastion")
    behind = sshd.start().host(name="pi5", jump=jump)
    assert says_hello(behind)
    assert trouble_of(jump).came_back == "there is no sudo"
    assert says_hello(behind)
    assert len(bastion.sessions()) == 1, "what is wrong with its sudo breaks nobody's connection"


def test_all_behind_a_jump_share_its_connection(sshd: Sshd, bastion: Sshd) -> None:
    jump = bastion.start().host(name="bastion")
    sshd.start()
    machines = [sshd.host(name=f"pi{number}", jump=jump) for number in range(4)]
    results: list[bool] = []
    threads = [threading.Thread(target=lambda each=each: results.append(says_hello(each))) for each in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert len(bastion.sessions()) == 1
    assert len(sshd.sessions()) == 4
    assert says_hello(jump)
    assert len(bastion.sessions()) == 1


def test_a_jump_behind_a_jump(sshd: Sshd, bastion: Sshd) -> None:
    first = bastion.start().host(name="bastion")
    second = sshd.start().host(name="inner", jump=first)
    behind = sshd.host(name="pi5", jump=second)
    assert says_hello(behind)
    bastion.stop()
    trouble = trouble_of(behind)
    assert trouble.where == at_bastion(bastion, "inner")


# Each way it fails


def test_the_jump_refuses_the_connection(sshd: Sshd, bastion: Sshd) -> None:
    trouble = trouble_of(sshd.start().host(name="pi5", jump=bastion.host(name="bastion")))
    assert trouble.where == at_bastion(bastion)
    assert trouble.came_back == "the connection was refused"
    assert trouble.kind is Kind.UNREACHABLE


def test_the_jumps_name_is_not_known(sshd: Sshd, bastion: Sshd) -> None:
    jump = SshHost("bastion", "host.invalid", 22, "root", bastion.keys, Secrets(), [], agent=False)
    trouble = trouble_of(sshd.start().host(name="pi5", jump=jump))
    assert trouble.where == "bastion (host.invalid:22), the jump host of pi5"
    assert trouble.came_back == "the name is not known"


def test_the_jump_does_not_answer(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(ssh.socket, "create_connection", nobody)
    trouble = trouble_of(sshd.host(name="pi5", jump=bastion.host(name="bastion")))
    assert trouble.where == at_bastion(bastion)
    assert "nobody answered in 5 s" in trouble.came_back


def test_a_dead_jump_is_waited_for_once(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[object] = []
    jump = bastion.host(name="bastion")
    waiting = threading.Semaphore(0)
    forward = jump._forward

    def counted(*where: Any) -> Any:
        waiting.release()
        return forward(*where)

    def nobody(*_: object) -> socket.socket:
        tries.append(None)
        for _ in range(4 if len(tries) == 1 else 1):
            assert waiting.acquire(timeout=10)
        time.sleep(0.1)  # the last one is between there and the lock
        raise TimeoutError

    monkeypatch.setattr(jump, "_forward", counted)
    monkeypatch.setattr(ssh.socket, "create_connection", nobody)
    troubles: list[Trouble] = []
    machines = [sshd.host(name=f"pi{number}", jump=jump) for number in range(4)]
    threads = [threading.Thread(target=lambda each=each: troubles.append(trouble_of(each))) for each in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 1
    assert {trouble.where for trouble in troubles} == {at_bastion(bastion, machine.name) for machine in machines}
    trouble_of(machines[0])
    assert len(tries) == 2


def test_the_jump_does_not_let_us_in(sshd: Sshd, bastion: Sshd) -> None:
    wrong = keygen(bastion.folder / "id_wrong")
    jump = bastion.start().host(identities=[wrong], name="bastion")
    trouble = trouble_of(sshd.start().host(name="pi5", jump=jump))
    assert trouble.where == at_bastion(bastion)
    assert trouble.came_back == f"it accepted none of: {wrong}"


def test_the_jumps_secrets_go_by_its_own_name(sshd: Sshd, bastion: Sshd) -> None:
    bastion.start("PasswordAuthentication yes")
    secrets = Secrets()
    trouble = trouble_of(sshd.start().host(name="pi5", jump=bastion.host(secrets, identities=[], name="bastion")))
    assert secrets.asked == ["login:bastion"]
    assert trouble.kind is Kind.SECRET
    assert "--secret login:bastion=" in trouble.do
    locked = keygen(bastion.folder / "id_locked", "open sesame")
    bastion.authorized.write_text(locked.with_suffix(".pub").read_text())
    given = Secrets().add(f"passphrase:{locked}", "open sesame")
    assert says_hello(sshd.host(name="pi5", jump=bastion.host(given, identities=[locked], name="bastion")))


def test_the_jumps_key_is_unknown_or_changed(sshd: Sshd, bastion: Sshd) -> None:
    bastion.approver.says = False
    jump = bastion.start().host(name="bastion")
    behind = sshd.start().host(name="pi5", jump=jump)
    unknown = trouble_of(behind)
    assert unknown.where == at_bastion(bastion)
    assert unknown.kind is Kind.SECRET
    assert f"--host-key bastion={bastion.approver.asked[0].fingerprint}" in unknown.do
    assert not sshd.approver.asked
    bastion.approver.says = True
    assert says_hello(behind)
    keygen(bastion.folder / "host_ed25519")
    bastion.start()
    changed = trouble_of(behind)
    assert changed.where == at_bastion(bastion)
    assert changed.kind is Kind.FAILED
    assert "homek8s trust bastion" in changed.do
    jump.forget_key()
    jump.connect()
    assert says_hello(behind)


@pytest.mark.parametrize("how", ["AllowTcpForwarding no", "DisableForwarding yes", "PermitOpen none", "restrict"])
def test_the_jump_forbids_forwarding(sshd: Sshd, bastion: Sshd, how: str) -> None:
    if how == "restrict":
        bastion.authorized.write_text(f"restrict {bastion.authorized.read_text()}")
    jump = bastion.start(*([] if how == "restrict" else [how])).host(name="bastion")
    trouble = trouble_of(sshd.start().host(name="pi5", jump=jump))
    assert trouble.where == at_bastion(bastion)
    assert trouble.came_back == "its sshd forwards no connections"
    assert "AllowTcpForwarding" in trouble.do and "restrict" in trouble.do


def test_the_machine_behind_refuses_or_has_no_name(sshd: Sshd, bastion: Sshd) -> None:
    jump = bastion.start().host(name="bastion")
    refused = trouble_of(sshd.host(name="pi5", jump=jump))
    assert refused.where == f"pi5 (127.0.0.1:{sshd.port} through bastion)"
    assert refused.came_back == "bastion could not connect to it (Connection refused)"
    assert "lets bastion in" in refused.do
    assert refused.kind is Kind.UNREACHABLE
    nameless = SshHost("pi5", "host.invalid", 22, "root", sshd.keys, Secrets(), [], agent=False, jump=jump)
    unknown = trouble_of(nameless)
    assert unknown.where == "pi5 (host.invalid:22 through bastion)"
    assert "DNS of bastion" in unknown.do


def test_the_machine_behind_does_not_answer(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_CONNECT_SECONDS", 0.5)
    jump = bastion.start().host(name="bastion")
    with socket.socket() as server, contextlib.ExitStack() as fillers:
        server.bind(("127.0.0.1", sshd.port))
        server.listen(0)
        # nobody accepts: once the queue is full the kernel drops what knocks
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        trouble = trouble_of(sshd.host(name="pi5", jump=jump))
    assert trouble.where == f"pi5 (127.0.0.1:{sshd.port} through bastion)"
    assert trouble.came_back == "nobody answered bastion in 0.5 s"


def test_what_is_behind_is_no_sshd(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_BANNER_SECONDS", 0.5)
    monkeypatch.setattr(ssh, "_KEY_EXCHANGE_SECONDS", 0.5)
    jump = bastion.start().host(name="bastion")
    with socket.create_server(("127.0.0.1", sshd.port)):
        trouble = trouble_of(sshd.host(name="pi5", jump=jump))
    assert trouble.where == f"pi5 (127.0.0.1:{sshd.port} through bastion)"
    assert "no sshd introduced itself" in trouble.came_back


def test_the_machine_behind_does_not_let_us_in_or_changed_its_key(sshd: Sshd, bastion: Sshd) -> None:
    jump = bastion.start().host(name="bastion")
    refused = trouble_of(sshd.start().host(identities=[], name="pi5", jump=jump))
    assert refused.where == f"pi5 (127.0.0.1:{sshd.port} through bastion)"
    assert refused.tried == "log in as root"
    keygen(sshd.folder / "host_ed25519")
    changed = trouble_of(sshd.start().host(name="pi5", jump=jump))
    assert changed.where == f"pi5 (127.0.0.1:{sshd.port})"
    assert "homek8s trust pi5" in changed.do


def test_a_jump_that_drops_takes_everybody_along_and_is_dialled_again(sshd: Sshd, bastion: Sshd) -> None:
    jump = bastion.start().host(name="bastion")
    sshd.start()
    machines = [sshd.host(name=f"pi{number}", jump=jump) for number in range(2)]
    marks = [sshd.folder / f"mark{number}" for number in range(2)]
    results: list[Trouble] = []

    def ask(number: int) -> None:
        try:
            machines[number].ask([Question("sleep", "test-sleep", (str(marks[number]),))])
        except Trouble as trouble:
            results.append(trouble)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while not all(mark.exists() for mark in marks):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    bastion.signal_sessions(signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    assert [trouble.kind for trouble in results] == [Kind.UNREACHABLE] * 2
    assert all("the connection broke in the middle" in trouble.came_back for trouble in results)
    assert all(says_hello(machine) for machine in machines)
    assert len(bastion.sessions()) == 1
    bastion.signal_sessions(signal.SIGKILL)
    assert all(says_hello(machine) for machine in machines), "between two exchanges nobody notices"


def test_a_jump_that_hangs_is_replaced(sshd: Sshd, bastion: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_OPEN_SECONDS", 0.5)
    monkeypatch.setattr(ssh, "_CONNECT_SECONDS", 0.5)
    jump = bastion.start().host(name="bastion")
    behind = sshd.start().host(name="pi5", jump=jump)
    says_hello(behind)
    bastion.signal_sessions(signal.SIGSTOP)
    assert says_hello(behind)


# Trying a login


def test_a_login_is_tried_by_asking_nothing(sshd: Sshd, bastion: Sshd) -> None:
    behind = sshd.start().host(name="pi5", jump=bastion.start().host(name="bastion"))
    assert behind.ask([]) == {}


@pytest.mark.parametrize("through", [False, True])
def test_another_thread_may_end_a_connection_that_is_being_opened(sshd: Sshd, bastion: Sshd, through: bool) -> None:
    jump = bastion.start().host(name="bastion") if through else None
    results: list[Trouble] = []
    with socket.create_server(("127.0.0.1", sshd.port)) as mute:
        host = sshd.host(name="pi5", jump=jump)

        def ask() -> None:
            try:
                host.ask([])
            except Trouble as trouble:
                results.append(trouble)

        thread = threading.Thread(target=ask)
        thread.start()
        connection, _ = mute.accept()
        with connection:
            connection.recv(4)
            before = time.monotonic()
            host.close()
            thread.join(10)
            assert time.monotonic() - before < 3
    assert results[0].kind is Kind.UNREACHABLE


def test_a_question_about_the_key_may_outlive_the_connection_but_not_a_close(sshd: Sshd) -> None:
    sshd.start()

    def approve(_question: object) -> bool:
        host.close()
        return True

    host = SshHost("pi5", "127.0.0.1", sshd.port, "root", HostKeys(sshd.folder / "k", approve), Secrets(), [])
    assert "it was closed here" in trouble_of(host).came_back


# The agent, as ~/.ssh/config may have it


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An ssh-agent that the environment does not name."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield path
    process.terminate()
    process.wait()


def test_an_agent_of_its_own_and_only_the_named_keys(sshd: Sshd, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    for number in range(8):
        other = keygen(sshd.folder / f"id_{number}")
        subprocess.run(["ssh-add", "-q", other], check=True, capture_output=True, env=environment)
    subprocess.run(["ssh-add", "-q", sshd.identity], check=True, capture_output=True, env=environment)
    sshd.identity.unlink()
    sshd.start("MaxAuthTries 2")
    # a key file's public half is enough to choose among the agent's keys
    for named in (sshd.identity, sshd.identity.with_suffix(".pub")):
        assert says_hello(sshd.host(agent=str(agent), identities=[named], only=True))
    assert "no usable key" in trouble_of(sshd.host(agent=str(agent), identities=[], only=True)).came_back
    assert "no usable key" in trouble_of(sshd.host(agent=True, identities=[])).came_back
    assert "no usable key" in trouble_of(sshd.host(agent=str(agent) + "-gone", identities=[])).came_back


def test_a_key_is_pinned_under_its_alias(sshd: Sshd) -> None:
    assert says_hello(sshd.start().host(alias="my-vps"))
    assert (sshd.folder / "known_hosts").read_text().startswith("my-vps ssh-ed25519 ")
    sshd.port, before = free_port(), sshd.port
    host = sshd.start().host(alias="my-vps")
    assert sshd.port != before and says_hello(host)
    assert len(sshd.approver.asked) == 1
    host.forget_key()
    assert sshd.keys.pinned("127.0.0.1", sshd.port, "my-vps") is None
