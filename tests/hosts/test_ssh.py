"""SSH against a real sshd on the loopback: logging in, asking, changing, dialling, and every way it breaks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange, ssh
from homek8s_tui.hosts.known_hosts import HostKeys, fingerprint
from homek8s_tui.hosts.model import Cancel, Change, Chunk, Ended, Question
from homek8s_tui.hosts.ssh import SshHost

from .sshd import Approver, Secrets, Sshd, free_port, keygen

HELLO = Question("hello", "test-hello")
SCRIPTS = {
    "test-hello": "echo hello\n",
    "test-sleep": 'touch "$1"; sleep 30\n',
    "test-whoami": "tr '\\0' ' ' </proc/$PPID/cmdline; id -u\n",
    "test-flood": "head -c 20000000 /dev/zero | tr '\\0' x\n",
    "change-test-slow": 'touch "$1"; sleep 30\n',
    "state-test-slow": "state() { NOW=x; }\n",
}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds scripts that only tests need."""
    real = exchange.script_text
    monkeypatch.setattr(exchange, "script_text", lambda name: SCRIPTS.get(name) or real(name))


def trouble_of(host: SshHost) -> Trouble:
    with pytest.raises(Trouble) as trouble:
        host.ask([HELLO])
    assert trouble.value.__cause__ is None
    return trouble.value


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


# Logging in


def test_a_key_file_logs_in_and_the_host_key_is_asked_about_once(sshd: Sshd) -> None:
    host = sshd.start().host()
    assert host.ask([HELLO])["hello"].output == "hello\n"
    public = (sshd.folder / "host_ed25519.pub").read_text().split()[1]
    expected = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_ed25519.pub"], capture_output=True, text=True, check=True
    )
    assert [question.fingerprint for question in sshd.approver.asked] == [expected.stdout.split()[1]]
    assert public in (sshd.folder / "known_hosts").read_text()
    assert sshd.host().ask([HELLO])["hello"].output == "hello\n"
    assert len(sshd.approver.asked) == 1


@pytest.mark.parametrize(("kind", "options"), [("ed25519", []), ("rsa", []), ("rsa", ["-m", "PEM"]), ("ecdsa", [])])
def test_an_encrypted_key_asks_for_its_passphrase(sshd: Sshd, kind: str, options: list[str]) -> None:
    path = keygen(sshd.folder / "id_locked", "open sesame", kind, *options)
    sshd.authorized.write_text(path.with_suffix(".pub").read_text())
    sshd.start()
    name = f"passphrase:{path}"
    secrets = Secrets().add(name, "open sesame")
    assert sshd.host(secrets, identities=[path]).ask([HELLO])["hello"].status == 0
    assert secrets.asked == [name]
    person = Secrets(person=True).add(name, "wrong", "open sesame")
    assert sshd.host(person, identities=[path]).ask([HELLO])["hello"].status == 0
    given = Secrets().add(name, "wrong", "open sesame")
    trouble = trouble_of(sshd.host(given, identities=[path]))
    assert trouble.kind is Kind.SECRET
    assert "the passphrase is wrong" in trouble.came_back
    missing = trouble_of(sshd.host(identities=[path]))
    assert missing.kind is Kind.SECRET
    assert f"--secret {name}" in missing.do


def test_nobody_is_asked_for_a_passphrase_if_another_key_does(sshd: Sshd) -> None:
    locked = keygen(sshd.folder / "id_locked", "open sesame")
    secrets = Secrets()
    sshd.start().host(secrets, identities=[locked, sshd.identity]).ask([HELLO])
    assert secrets.asked == []


def test_the_trouble_names_the_keys_that_were_tried(sshd: Sshd) -> None:
    wrong = [keygen(sshd.folder / f"id_{number}") for number in range(2)]
    (sshd.folder / "id_garbage").write_text("no key\n")
    trouble = trouble_of(sshd.start().host(identities=[*wrong, sshd.folder / "id_garbage", sshd.folder / "missing"]))
    assert trouble.tried == "log in as root"
    assert trouble.came_back == f"it accepted none of: {wrong[0]}, {wrong[1]}"
    assert trouble.kind is Kind.UNREACHABLE
    assert trouble_of(sshd.host(identities=[])).came_back == "no usable key was found here"


@pytest.mark.parametrize("allowed", ["MaxAuthTries 6", "MaxAuthTries 2"])
def test_no_more_keys_are_tried_than_a_server_takes(sshd: Sshd, allowed: str) -> None:
    wrong = [keygen(sshd.folder / f"id_{number}") for number in range(7)]
    trouble = trouble_of(sshd.start(allowed).host(identities=wrong))
    assert "it accepted none of" in trouble.came_back
    assert trouble.came_back.count("id_") <= 5
    assert (sshd.folder / "sshd.log").read_text().count("Connection from") <= 2


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ssh-agent of our own."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    wait_for(path)
    yield path
    process.terminate()
    process.wait()


def test_the_agents_keys_come_first(sshd: Sshd, agent: Path) -> None:
    for number in range(8):
        subprocess.run(["ssh-add", "-q", keygen(sshd.folder / f"id_{number}")], check=True, capture_output=True)
    locked = keygen(sshd.folder / "id_locked", "open sesame")
    sshd.authorized.write_text(locked.with_suffix(".pub").read_text())
    sshd.start()
    trouble = trouble_of(sshd.host(agent=True, identities=[]))
    assert trouble.came_back.count("(agent)") == 5
    # the agent holds the key whose file is named: it is tried before the others, and its file stays closed
    askpass = sshd.folder / "askpass"
    askpass.write_text("#!/bin/sh\necho open sesame\n")
    askpass.chmod(0o700)
    environment = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", locked], check=True, env=environment, capture_output=True)
    secrets = Secrets()
    assert sshd.host(secrets, agent=True, identities=[locked]).ask([HELLO])["hello"].status == 0
    assert secrets.asked == []


def test_a_dead_agent_is_none(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sshd.folder / "nobody"))
    assert sshd.start().host(agent=True).ask([HELLO])["hello"].status == 0


class PasswordServer(paramiko.ServerInterface):
    """Takes a password only; it runs nothing, so getting past it is enough."""

    def __init__(self) -> None:
        self.tries: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.tries.append("key")
        return paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.tries.append(password)
        return paramiko.AUTH_SUCCESSFUL if password == "open sesame" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_FAILED_RESOURCE_SHORTAGE


@pytest.fixture
def password_server(tmp_path: Path) -> Iterator[tuple[int, PasswordServer]]:
    """A server that wants a password, and its port."""
    key = paramiko.Ed25519Key.from_private_key_file(str(keygen(tmp_path / "password_host")))
    server = PasswordServer()
    transports: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError, paramiko.SSHException, EOFError):
                while True:
                    transport = paramiko.Transport(listener.accept()[0])
                    transports.append(transport)
                    transport.add_server_key(key)
                    transport.start_server(event=threading.Event(), server=server)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for transport in transports:
        transport.close()


@pytest.mark.parametrize(
    ("secrets", "tries", "words"),
    [
        (Secrets(login__pi4="open sesame"), ["key", "open sesame"], "opened no session"),
        (Secrets(login__pi4=["wrong", "open sesame"]), ["key", "wrong"], "accepted none of: .*id, password"),
        (
            Secrets(login__pi4=["wrong", "open sesame"], person=True),
            ["key", "wrong", "open sesame"],
            "opened no session",
        ),
        (Secrets(login__pi4=["a", "b", "c", "open sesame"], person=True), ["key", "a", "b", "c"], "accepted none of"),
        (Secrets(), ["key"], "nobody can be asked"),
    ],
)
def test_a_password_is_given_where_the_server_takes_one(
    tmp_path: Path, password_server: tuple[int, PasswordServer], secrets: Secrets, tries: list[str], words: str
) -> None:
    port, server = password_server
    keys = HostKeys(tmp_path / "known_hosts", Approver())
    host = SshHost("pi4", "127.0.0.1", port, "pi", keys, secrets, [keygen(tmp_path / "id")], agent=False)
    with pytest.raises(Trouble, match=words) as trouble:
        # what comes after logging in is sudo's password, for which this server opens no session
        host.ask([HELLO])
    host.close()
    assert server.tries == tries
    assert "open sesame" not in str(trouble.value)
    if "opened no" not in words:
        assert trouble.value.kind is Kind.SECRET


# Host keys


def test_an_unapproved_host_key_ends_it_before_anything_is_sent(sshd: Sshd) -> None:
    sshd.approver.says = False
    trouble = trouble_of(sshd.start("LogLevel VERBOSE").host())
    assert trouble.kind is Kind.SECRET
    assert f"--host-key pi4={sshd.approver.asked[0].fingerprint}" in trouble.do
    assert "Failed publickey" not in (sshd.folder / "sshd.log").read_text()


def test_a_changed_host_key_is_refused(sshd: Sshd) -> None:
    sshd.start().host().ask([HELLO])
    old = sshd.keys.pinned("127.0.0.1", sshd.port)
    keygen(sshd.folder / "host_ed25519")
    trouble = trouble_of(sshd.start().host())
    assert trouble.kind is Kind.FAILED
    assert old
    assert fingerprint(old[1]) in trouble.came_back
    assert "homek8s trust pi4" in trouble.do
    assert sshd.keys.pinned("127.0.0.1", sshd.port) == old
    sshd.keys.forget("127.0.0.1", sshd.port)
    assert sshd.host().ask([HELLO])["hello"].status == 0


def test_the_pinned_type_is_the_one_that_is_asked_for(sshd: Sshd) -> None:
    keygen(sshd.folder / "host_rsa", kind="rsa")
    sshd.start(host_keys=["host_rsa"]).host().ask([HELLO])
    # the machine gets another key, which would be preferred
    sshd.start(host_keys=["host_ed25519", "host_rsa"]).host().ask([HELLO])
    assert len(sshd.approver.asked) == 1
    trouble = trouble_of(sshd.start(host_keys=["host_ed25519"]).host())
    assert "no ssh-rsa host key any more" in trouble.came_back
    assert "homek8s trust pi4" in trouble.do


# Exchanges


def test_thirty_questions_are_one_exchange(sshd: Sshd) -> None:
    host = sshd.start().host()
    answers = host.ask([Question(f"q{number}", "test-hello") for number in range(30)])
    assert list(answers) == [f"q{number}" for number in range(30)]
    assert all(answer.output == "hello\n" for answer in answers.values())
    assert host.exchanges == 1
    assert len(sshd.sessions()) == 1


def test_many_threads_share_one_connection(sshd: Sshd) -> None:
    host = sshd.start().host()
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(host.ask([HELLO])["hello"].output)) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["hello\n"] * 24
    assert host.exchanges == 24
    assert len(sshd.sessions()) == 1


def test_nothing_that_was_sent_stands_in_the_process_list(sshd: Sshd) -> None:
    answers = sshd.start().host().ask([Question("who", "test-whoami", ("argument",))])
    assert answers["who"].output.endswith("0\n")
    change = Change(
        "secret", (str(sshd.folder / "key"), "x"), "absent", "present 600 root *", ("copy",), payload="hunter2"
    )
    host = sshd.host()
    assert host.change(change).result == "changed"
    assert host.read_secret(str(sshd.folder / "key")).reveal() == "hunter2"


def test_a_file_is_changed_and_then_already_so_and_otherwise_refused(sshd: Sshd) -> None:
    host = sshd.start().host()
    path, text = sshd.folder / "conf", "content\n"
    after = f"file 644 root root {hashlib.sha256(text.encode()).hexdigest()}"
    change = Change("file", (str(path), "", "", "pi4"), "absent", after, ("write", "644", "root", "root"), "", text)
    assert host.change(change).result == "changed"
    assert host.change(change).result == "already"
    path.write_text("drift\n")
    assert host.change(change).result == "refused"
    ((state, _),) = exchange.parse_states(
        host.ask([exchange.state_question("file", [(str(path), "", "", "pi4")])])["state:file"]
    )
    assert state.startswith("file 644 root root ")
    failing = Change("file", ("/proc/no/such", "", "", "pi4"), "absent", after, ("write", "644", "root", "root"))
    with pytest.raises(Trouble, match=r"(?s)change the file /proc/no/such on pi4 .*could not be made"):
        host.change(failing)


def test_an_artefact_is_streamed(sshd: Sshd) -> None:
    host = sshd.start().host()
    source, path = sshd.folder / "download", sshd.folder / "bin" / "program"
    source.write_bytes(os.urandom(12_000_000))
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    change = Change(
        "artefact", (str(path),), "absent", f"file 755 root {sha256}", ("put", sha256, "", "755"), stream=source
    )
    assert host.change(change).result == "changed"
    assert path.read_bytes() == source.read_bytes()
    assert host.change(change).result == "already"
    other = Change(
        "artefact", (str(path) + "2",), "absent", "file 755 root *", ("put", "0" * 64, "", "755"), stream=source
    )
    with pytest.raises(Trouble, match="has the SHA-256"):
        host.change(other)
    full = Change("artefact", ("/proc/x",), "absent", "file 755 root *", ("put", sha256, "", "755"), stream=source)
    with pytest.raises(Trouble, match="could not be written"):
        host.change(full)
    with pytest.raises(Trouble, match=r"read .*/gone"):
        host.change(Change("artefact", ("/x",), "absent", "*", ("put", sha256, "", "755"), stream=sshd.folder / "gone"))


def test_an_answer_without_end_is_refused(sshd: Sshd) -> None:
    host = sshd.start().host()
    with pytest.raises(Trouble, match="more than 16 MiB"):
        host.ask([Question("flood", "test-flood")])
    assert host.ask([HELLO])["hello"].status == 0


def test_a_login_that_talks_is_told(sshd: Sshd) -> None:
    sshd.authorized.write_text('command="echo Have a nice day" ' + sshd.identity.with_suffix(".pub").read_text())
    assert "printed 'Have a nice day'" in trouble_of(sshd.start().host()).came_back
    sshd.authorized.write_text(
        'command="echo This account is locked. >&2; exit 1" ' + sshd.identity.with_suffix(".pub").read_text()
    )
    assert "This account is locked." in trouble_of(sshd.host()).came_back


# Following


@pytest.fixture
def job(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a job that is said to run."""
    systemctl = sshd.folder / "systemctl"
    systemctl.write_text("#!/bin/sh\necho active\n")
    systemctl.chmod(0o755)
    faked = (
        exchange.script_text("follow-job")
        .replace("/var/lib/homek8s", str(sshd.folder))
        .replace("systemctl", str(systemctl))
    )
    monkeypatch.setitem(SCRIPTS, "follow-job", faked)
    folder = sshd.folder / "jobs" / "j1"
    folder.mkdir(parents=True)
    (folder / "out").touch()
    return folder


def append(job: Path, data: bytes) -> None:
    with (job / "out").open("ab") as out:
        out.write(data)


def test_a_job_is_followed_piece_by_piece(sshd: Sshd, job: Path) -> None:
    host = sshd.start().host()
    append(job, "grü".encode()[:-1])
    pieces = host.follow("j1", 0, Cancel())
    assert next(pieces) == Chunk(2, "gr"), "half a character waits for its other half, and the offset with it"
    append(job, "ü\n".encode()[1:])
    assert next(pieces) == Chunk(5, "ü\n")
    append(job, b"\xff end")
    (job / "rc").write_text("3\n")
    assert list(pieces) == [Chunk(10, "\ufffd end"), Ended(3)]
    assert list(host.follow("j1", 2, Cancel())) == [Chunk(10, "ü\n\ufffd end"), Ended(3)]


def test_following_stops_when_asked_to(sshd: Sshd, job: Path) -> None:
    host, cancel = sshd.start().host(), Cancel()
    append(job, b"one\n")
    pieces = host.follow("j1", 0, cancel)
    next(pieces)
    threading.Timer(0.3, cancel.cancel).start()
    started = time.monotonic()
    assert list(pieces) == []
    assert time.monotonic() - started < 2
    deadline = time.monotonic() + 5
    while any("follow" in Path(f"/proc/{pid}/cmdline").read_text() for pid in sshd.sessions()):
        assert time.monotonic() < deadline
    assert host.ask([HELLO])["hello"].status == 0


def test_following_says_when_the_connection_breaks(sshd: Sshd, job: Path) -> None:
    host = sshd.start().host()
    append(job, b"one\n")
    pieces = host.follow("j1", 0, Cancel())
    assert next(pieces) == Chunk(4, "one\n")
    sshd.signal_sessions(signal.SIGKILL)
    with pytest.raises(Trouble) as trouble:
        list(pieces)
    assert trouble.value.kind is Kind.UNREACHABLE
    append(job, b"two\n")
    (job / "rc").write_text("0\n")
    assert list(host.follow("j1", 4, Cancel())) == [Chunk(8, "two\n"), Ended(0)]


def test_a_silent_connection_is_given_up(sshd: Sshd, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "DEAD_SECONDS", 1.5)
    host = sshd.start().host()
    append(job, b"one\n")
    pieces = host.follow("j1", 0, Cancel())
    next(pieces)
    sshd.signal_sessions(signal.SIGSTOP)
    with pytest.raises(Trouble, match=r"nothing came for 1\.5 s") as trouble:
        list(pieces)
    assert trouble.value.kind is Kind.UNREACHABLE


# Dialling


def test_the_machine_dials(sshd: Sshd) -> None:
    host = sshd.start().host()
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = host.dial("127.0.0.1", server.getsockname()[1])
        far, _ = server.accept()
        with far:
            stream.send(b"ping" * 100_000)
            received = b""
            while len(received) < 400_000:
                received += far.recv(65536)
            far.sendall(b"pong")
            assert stream.receive(100) == b"pong"
            far.shutdown(socket.SHUT_RDWR)
            assert stream.receive(100) == b""
        stream.close()
        stream.close()
    assert host.exchanges == 0


def test_what_does_not_listen_is_refused(sshd: Sshd) -> None:
    host = sshd.start().host()
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        host.dial("127.0.0.1", port)
    refused: list[type] = []

    def dial() -> None:
        try:
            host.dial("127.0.0.1", port)
        except OSError as error:
            refused.append(type(error))

    threads = [threading.Thread(target=dial) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [ConnectionRefusedError] * 30


def test_a_stream_waits_only_so_long(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = sshd.start().host().dial("127.0.0.1", server.getsockname()[1], seconds=1)
        with pytest.raises(TimeoutError):
            stream.receive(1)


def test_a_backlog_that_is_full_times_out(sshd: Sshd) -> None:
    with socket.socket() as server, contextlib.ExitStack() as fillers:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        # nobody accepts: once the queue is full the kernel drops what knocks
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        with pytest.raises(TimeoutError):
            sshd.start().host().dial("127.0.0.1", server.getsockname()[1], seconds=0.5)


def test_forwarding_that_is_prohibited_is_a_sentence(sshd: Sshd) -> None:
    with pytest.raises(Trouble, match="forwards no connections") as trouble:
        sshd.start("AllowTcpForwarding no").host().dial("127.0.0.1", sshd.port)
    assert "AllowTcpForwarding" in trouble.value.do


# Breaking


def test_a_connection_that_drops_in_the_middle_is_told_and_reopened(sshd: Sshd) -> None:
    host, mark = sshd.start().host(), sshd.folder / "mark"
    results: list[Trouble] = []

    def ask() -> None:
        try:
            host.ask([Question("sleep", "test-sleep", (str(mark),))])
        except Trouble as trouble:
            results.append(trouble)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(mark)
    sshd.signal_sessions(signal.SIGKILL)
    thread.join(10)
    assert [trouble.kind for trouble in results] == [Kind.UNREACHABLE]
    assert "the connection broke in the middle" in results[0].came_back
    assert host.ask([HELLO])["hello"].status == 0


def test_a_change_that_may_have_happened_is_not_repeated(sshd: Sshd) -> None:
    host, mark = sshd.start().host(), sshd.folder / "mark"
    results: list[Trouble] = []

    def change() -> None:
        try:
            host.change(Change("test-slow", (str(mark),), "x", "y"))
        except Trouble as trouble:
            results.append(trouble)

    thread = threading.Thread(target=change)
    thread.start()
    wait_for(mark)
    mark.unlink()
    sshd.signal_sessions(signal.SIGKILL)
    thread.join(10)
    assert results[0].kind is Kind.UNREACHABLE
    time.sleep(0.2)
    assert not mark.exists()
    assert host.exchanges == 1


def test_a_connection_that_died_between_two_exchanges_goes_unnoticed(sshd: Sshd) -> None:
    host = sshd.start().host()
    host.ask([HELLO])
    sshd.signal_sessions(signal.SIGKILL)
    assert host.ask([HELLO])["hello"].status == 0
    sshd.start()
    assert host.ask([HELLO])["hello"].status == 0
    host.close()
    host.close()
    assert host.ask([HELLO])["hello"].status == 0


def test_a_connection_that_hangs_unnoticed_is_replaced(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_OPEN_SECONDS", 0.5)
    host = sshd.start().host()
    host.ask([HELLO])
    sshd.signal_sessions(signal.SIGSTOP)
    assert host.ask([HELLO])["hello"].status == 0


def test_a_deadline_ends_an_exchange(sshd: Sshd) -> None:
    host, mark = sshd.start().host(), sshd.folder / "mark"
    started = time.monotonic()
    with pytest.raises(Trouble, match="did not answer within 1 s") as trouble:
        host.change(Change("test-slow", (str(mark),), "x", "y", seconds=1))
    assert time.monotonic() - started < 5
    assert trouble.value.kind is Kind.UNREACHABLE
    assert host.ask([HELLO])["hello"].status == 0


def test_another_thread_may_close(sshd: Sshd) -> None:
    host, mark = sshd.start().host(), sshd.folder / "mark"
    results: list[Trouble] = []

    def ask() -> None:
        try:
            host.ask([Question("sleep", "test-sleep", (str(mark),))])
        except Trouble as trouble:
            results.append(trouble)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(mark)
    host.close()
    thread.join(10)
    assert results[0].kind is Kind.UNREACHABLE


def host_at(tmp_path: Path, address: str, port: int) -> SshHost:
    return SshHost(
        "pi4", address, port, "root", HostKeys(tmp_path / "known_hosts", Approver()), Secrets(), [], agent=False
    )


def test_ways_not_to_get_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "refused" in trouble_of(host_at(tmp_path, "127.0.0.1", free_port())).came_back
    assert trouble_of(host_at(tmp_path, "host.invalid", 22)).came_back == "the name is not known"
    for error, words in (
        (TimeoutError(), "nobody answered in 5 s"),
        (OSError(101, "Network is unreachable"), "no way into that network"),
        (OSError(113, "No route to host"), "no way to that address"),
        (PermissionError(1, "Operation not permitted"), "Operation not permitted"),
    ):

        def fail(*_: object, error: OSError = error) -> socket.socket:
            raise error

        monkeypatch.setattr(ssh.socket, "create_connection", fail)
        trouble = trouble_of(host_at(tmp_path, "127.0.0.1", 22))
        assert words in trouble.came_back
        assert trouble.kind is Kind.UNREACHABLE
        assert trouble.where == "pi4 (127.0.0.1:22)"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"", "no sshd introduced itself"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200, "no sshd introduced itself"),
        (b"SSH-2.0-Tarpit\r\n", "stopped in the middle of the handshake"),
        (b"SSH-1.0-Old\r\n", "Incompatible version"),
        (b"SSH-2.0-Noise\r\n" + b"\xff" * 200, "handshake"),
    ],
)
@pytest.mark.parametrize("closes", [True, False])
def test_what_is_no_sshd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: bytes, words: str, closes: bool
) -> None:
    monkeypatch.setattr(ssh, "_BANNER_SECONDS", 0.5)
    monkeypatch.setattr(ssh, "_KEY_EXCHANGE_SECONDS", 0.5)
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connections.append(connection)
            connection.sendall(says)
            if closes:
                time.sleep(0.2)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        trouble = trouble_of(host_at(tmp_path, "127.0.0.1", server.getsockname()[1]))
        thread.join()
    for connection in connections:
        connection.close()
    assert words in trouble.came_back
    assert trouble.kind is Kind.UNREACHABLE


def test_nothing_of_paramiko_reaches_a_terminal(sshd: Sshd, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trouble_of(host_at(tmp_path, "127.0.0.1", free_port()))
    trouble_of(sshd.start().host(identities=[keygen(sshd.folder / "id_wrong")]))
    assert capfd.readouterr() == ("", "")
