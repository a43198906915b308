"""The SSH layer on real machines: sudo in all its moods, jobs under systemd, units, and power cuts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.model import Cancel, Change, Chunk, Ended, Job, Outcome, Question
from homek8s_tui.hosts.ssh import SshHost

from .ground import wait_until
from .lab import Lab
from .machines import PASSWORD, Host

SCRIPTS = {
    "test-who": "id -u\n",
    "state-test": "state() { unit=x job=x name=x path=x active=x action=x; NOW=absent; [ ! -e /var/lib/test-job ] || NOW=done; }\n",
    "job-test": (
        'IFS= read -r token; echo "begin $1 ${#token}"; n=0\n'
        'while [ ! -e /run/test-go ]; do n=$((n + 1)); [ "$n" -lt 600 ] || exit 9; sleep 0.1; done\n'
        "echo end; touch /var/lib/test-job\n"
    ),
    "job-test-fails": "echo 'no good' >&2; exit 7\n",
}
TOKEN = "K10secret::token"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds scripts that only tests need."""
    real = exchange.script_text
    monkeypatch.setattr(exchange, "script_text", lambda name: SCRIPTS.get(name) or real(name))


class Person:
    """Somebody who is asked for secrets."""

    def __init__(self, *answers: str, again: bool = True) -> None:
        self.answers = list(answers)
        self.again = again
        self.asked: list[str] = []

    def get(self, name: str, prompt: str) -> Secret:
        """Returns the next answer."""
        self.asked.append(name)
        return Secret(self.answers[0])

    def reject(self, name: str) -> bool:
        """Goes on to the next answer."""
        self.answers.pop(0)
        return self.again


Connect = Callable[..., SshHost]


TIDY = """
systemctl stop 'homek8s-*' test 2>/dev/null
rm -rf /var/lib/homek8s /run/homek8s /run/test-go /var/lib/test-job /srv/conf /etc/test.conf /usr/local/bin/program
rm -f /opt/x /etc/sudoers.d/pty /etc/systemd/system/test.service /etc/systemd/system/*/test.service
systemctl daemon-reload
"""


@pytest.fixture(scope="module")
def clean(lab: Lab) -> Iterator[Lab]:
    """Three bare machines for all tests here: a reset for each of them would take most of their time."""
    lab.restore()
    lab.reset()
    yield lab
    lab.restore()


@pytest.fixture
def machines(clean: Lab) -> Iterator[Lab]:
    """The machines, without what a test leaves behind."""
    yield clean
    for host in clean.hosts.values():
        host.run(TIDY, check=False)


@pytest.fixture
def connect(machines: Lab, tmp_path: Path) -> Iterator[Connect]:
    """Makes a connection to a machine of the lab."""
    opened: list[SshHost] = []

    def make(host: Host, person: Person | None = None, user: str | None = None) -> SshHost:
        keys = HostKeys(tmp_path / "known_hosts", lambda question: True)
        machine = SshHost(
            host.name,
            host.address,
            22,
            user or host.user,
            keys,
            person or Person(PASSWORD),
            [machines.keys.plain],
            agent=False,
        )
        opened.append(machine)
        return machine

    yield make
    for machine in opened:
        machine.close()


def who(machine: SshHost) -> str:
    return machine.ask([Question("who", "test-who")])["who"].output


def state(machine: SshHost, kind: str, *arguments: str) -> str:
    question = exchange.state_question(kind, [arguments])
    return exchange.parse_states(machine.ask([question])[question.name])[0][0]


@pytest.mark.parametrize(("name", "asked"), [("proxy", []), ("pi4", []), ("pi5", ["sudo:pi5"])])
def test_everybody_becomes_root(machines: Lab, connect: Connect, name: str, asked: list[str]) -> None:
    host, person = machines.hosts[name], Person(PASSWORD)
    machine = connect(host, person)
    since = host.mark()
    assert who(machine) == "0\n"
    assert who(machine) == "0\n"
    assert person.asked == asked
    assert all(PASSWORD not in " ".join(words) for words in host.executions(since))


@pytest.mark.parametrize(
    ("spoil", "words", "mend"),
    [
        ("mv /etc/sudoers.d/pi /root/", "pi is not allowed to use sudo", "mv /root/pi /etc/sudoers.d/"),
        ("mv /usr/bin/sudo /root/", "there is no sudo", "mv /root/sudo /usr/bin/"),
        ("echo 'Defaults requiretty' >/etc/sudoers.d/tty", "sudo wants a terminal", "rm /etc/sudoers.d/tty"),
        ("chage -d 0 pi", "the password of pi has expired", "chage -d -1 pi"),
        (
            "cp -p /home/pi/.bashrc /root/; echo 'echo good morning' >/home/pi/.bashrc",
            "good morning.*bashrc",
            "mv /root/.bashrc /home/pi/",
        ),
        ("usermod -s /usr/sbin/nologin pi", "not available", "usermod -s /bin/bash pi"),
    ],
)
def test_every_way_not_to_become_root(machines: Lab, connect: Connect, spoil: str, words: str, mend: str) -> None:
    machines.pi5.run(spoil)
    try:
        with pytest.raises(Trouble, match=words):
            who(connect(machines.pi5))
    finally:
        machines.pi5.run(mend)
    assert who(connect(machines.pi5)) == "0\n"


def test_a_session_that_uses_a_terminal_of_sudos_own(machines: Lab, connect: Connect) -> None:
    """Debian 13's sudo runs commands in a pseudo-terminal by default; input and output must stay as they are."""
    for host in (machines.pi4, machines.pi5):
        host.run("echo 'Defaults use_pty' >/etc/sudoers.d/pty")
        machine = connect(host)
        content = "".join(f"line {number} \x03\x04\x1a\n" for number in range(2000))
        after = f"file 644 root root {hashlib.sha256(content.encode()).hexdigest()}"
        change = Change(
            "file", ("/opt/x", "", "", host.name), "absent", after, ("write", "644", "root", "root"), "", content
        )
        assert machine.change(change) == Outcome("changed", after)


def test_an_artefact_reaches_a_machine_through_sudo(machines: Lab, connect: Connect, tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_bytes(bytes(range(256)) * 20_000)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    for host in (machines.pi4, machines.pi5, machines.proxy):
        change = Change(
            "artefact",
            ("/usr/local/bin/program",),
            "absent",
            f"file 755 root {sha256}",
            ("put", sha256, "", "755"),
            stream=source,
        )
        assert connect(host).change(change).result == "changed"
        assert host.run("sha256sum </usr/local/bin/program").split()[0] == sha256


def test_a_full_disk_leaves_the_old_file(machines: Lab, connect: Connect) -> None:
    machines.pi4.write("/srv/conf", "old\n")
    machines.pi4.run("chmod 644 /srv/conf")
    machine = connect(machines.pi4)
    before = state(machine, "file", "/srv/conf", "", "", "pi4")
    machines.faults.small_directory(machines.pi4, "/srv")
    content = "new\n" * 50_000
    after = f"file 644 root root {hashlib.sha256(content.encode()).hexdigest()}"
    change = Change("file", ("/srv/conf", "", "", "pi4"), before, after, ("write", "644", "root", "root"), "", content)
    with pytest.raises(Trouble, match="No space left on device"):
        machine.change(change)
    assert machines.pi4.run("cat /srv/conf; ls -A /srv").split() == ["old", ".lab-fill", "conf"]
    machines.faults.mend_directory(machines.pi4, "/srv")


# Jobs


def job(identity: str = "run-1-0", script: str = "test") -> Job:
    return Job(identity, script, ("it's $1",), "test", ("x",), "*", "done", (TOKEN,))


def lines(machine: SshHost, identity: str, offset: int = 0) -> tuple[str, Ended | None]:
    text, ended = "", None
    for piece in machine.follow(identity, offset, Cancel()):
        if isinstance(piece, Ended):
            ended = piece
        else:
            text += piece.text
    return text, ended


@pytest.mark.parametrize("name", ["pi4", "pi5", "proxy"])
def test_a_job_runs_once_and_keeps_its_secret(machines: Lab, connect: Connect, name: str) -> None:
    host = machines.hosts[name]
    machine, since = connect(host), host.mark()
    assert machine.start(job()) == ("started", "absent")
    assert machine.start(job()) == ("attached", "")
    assert state(machine, "job", "run-1-0") == "present"
    pieces = machine.follow("run-1-0", 0, Cancel())
    assert next(pieces) == Chunk(len("begin it's $1 16\n"), "begin it's $1 16\n")
    assert TOKEN not in host.run("cat /var/lib/homek8s/jobs/run-1-0/*")
    assert host.run("stat -c %a /run/homek8s /run/homek8s/*/in /var/lib/homek8s/jobs/run-1-0").split() == [
        "700",
        "600",
        "700",
    ]
    host.run("touch /run/test-go")
    assert list(pieces) == [Chunk(len("begin it's $1 16\nend\n"), "end\n"), Ended(0)]
    assert machine.start(job()) == ("attached", "")
    assert machine.start(job("run-1-1")) == ("already", "done")
    assert host.run("ls -A /run/homek8s") == "", "the input goes when the job ends"
    assert all(TOKEN not in " ".join(words) for words in host.executions(since))
    assert host.run("systemctl list-units --all --no-legend 'homek8s-*'") == ""


def test_a_job_that_fails_says_how(machines: Lab, connect: Connect) -> None:
    machine = connect(machines.pi4)
    assert machine.start(job("j", "test-fails"))[0] == "started"
    assert lines(machine, "j") == ("no good\n", Ended(7))


def test_a_refused_job_starts_nothing(machines: Lab, connect: Connect) -> None:
    machine = connect(machines.pi4)
    refused = Job("j", "test", ("x",), "test", ("x",), "something else", "done")
    assert machine.start(refused) == ("refused", "absent")
    assert not machines.pi4.exists("/var/lib/homek8s/jobs/j")
    assert state(machine, "job", "j") == "absent"


def test_a_job_outlives_the_connection_and_sshd(machines: Lab, connect: Connect) -> None:
    machine = connect(machines.pi5)
    machine.start(job())
    pieces = machine.follow("run-1-0", 0, Cancel())
    first = next(pieces)
    assert isinstance(first, Chunk)
    machines.faults.drop_ssh(machines.pi5)
    with pytest.raises(Trouble) as trouble:
        list(pieces)
    assert trouble.value.kind is Kind.UNREACHABLE
    machines.pi5.run("systemctl restart ssh; touch /run/test-go")
    assert lines(machine, "run-1-0", first.offset) == ("end\n", Ended(0))


def test_a_follower_that_leaves_leaves_nothing_behind(machines: Lab, connect: Connect) -> None:
    machine, cancel = connect(machines.pi5), Cancel()
    machine.start(job())
    pieces = machine.follow("run-1-0", 0, cancel)
    next(pieces)
    cancel.cancel()
    assert list(pieces) == []
    wait_until(lambda: not machines.pi5.run("pgrep -f '[s]udo -S' || true"), "the far end follows for nobody", 10)
    machines.pi5.run("touch /run/test-go")
    assert lines(machine, "run-1-0")[1] == Ended(0)


def test_a_power_cut_loses_the_job_but_not_that_it_began(machines: Lab, connect: Connect) -> None:
    machine = connect(machines.pi4)
    machine.start(job())
    pieces = machine.follow("run-1-0", 0, Cancel())
    next(pieces)
    machines.pi4.power_cut()
    with pytest.raises(Trouble) as trouble:
        list(pieces)
    assert trouble.value.kind is Kind.UNREACHABLE
    machines.pi4.power_on()
    machines.pi4.wait_ssh()
    text, ended = lines(machine, "run-1-0")
    assert (text, ended) == ("begin it's $1 16\n", Ended(None))
    assert machine.start(job()) == ("attached", "")
    assert machine.start(job("run-1-1"))[0] == "started"


# Units

UNIT = "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n"


def unit(enabled: str, active: str, how: str, after: str) -> Change:
    return Change(
        "unit", ("test.service", "/etc/systemd/system/test.service /etc/test.conf"), "*", after, (enabled, active, how)
    )


def test_a_unit_starts_is_restarted_for_what_it_watches_and_stops(machines: Lab, connect: Connect) -> None:
    host = machines.pi4
    machine = connect(host)
    watched = ("test.service", "/etc/systemd/system/test.service /etc/test.conf")
    assert state(machine, "unit", *watched) == "disabled inactive current"
    host.write("/etc/systemd/system/test.service", UNIT)
    running = "enabled active current"
    assert machine.change(unit("yes", "yes", "restart", running)) == Outcome("changed", running)
    assert machine.change(unit("yes", "yes", "restart", running)) == Outcome("already", running)
    first = host.run("systemctl show -p MainPID --value test")
    host.write("/etc/test.conf", "x\n")
    assert state(machine, "unit", *watched) == "enabled active stale"
    assert machine.change(unit("yes", "yes", "reload", running)) == Outcome("changed", running)
    assert host.run("systemctl show -p MainPID --value test") == first
    host.write("/etc/systemd/system/test.service", UNIT + "\n")
    assert machine.change(unit("yes", "yes", "restart", running)) == Outcome("changed", running)
    assert host.run("systemctl show -p MainPID --value test") != first
    host.reboot()
    assert state(machine, "unit", *watched) == running
    off = "disabled inactive current"
    assert machine.change(unit("no", "no", "restart", off)) == Outcome("changed", off)
    host.write("/etc/systemd/system/test.service", UNIT.replace("sleep infinity", "false"))
    with pytest.raises(Trouble, match=r"(?s)did not stay active; its last words:.*Main process exited"):
        machine.change(unit("yes", "yes", "restart", running))
    host.run(
        "systemctl disable -q test; systemctl mask -q --force test || { rm /etc/systemd/system/test.service; systemctl mask -q test; }"
    )
    with pytest.raises(Trouble, match="is masked"):
        machine.change(unit("yes", "yes", "restart", running))


def test_a_file_written_right_after_somebody_elses_start_makes_it_stale(machines: Lab, connect: Connect) -> None:
    host, machine = machines.pi4, connect(machines.pi4)
    host.write("/etc/systemd/system/test.service", UNIT)
    watched = ("test.service", "/etc/systemd/system/test.service /etc/test.conf")
    # as a package does
    host.run("systemctl daemon-reload; systemctl enable -q --now test; echo x >/etc/test.conf")
    written = """
    started=$(date -d "$(systemctl show --timestamp=us+utc --value -p ActiveEnterTimestamp test)" +%s%N)
    moment=$((started + $1))
    touch -d "@$((moment / 1000000000)).$(printf %09d $((moment % 1000000000)))" /etc/test.conf
    """
    for nanoseconds, told in (("-1000", "current"), ("1000", "stale")):
        host.run(written, arguments=[nanoseconds])
        assert state(machine, "unit", *watched) == f"enabled active {told}"
