"""Every exchange with a machine is noted, and nothing secret is."""

from __future__ import annotations

from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine import command_log
from homek8s_tui.engine.command_log import CommandLog, Noted
from homek8s_tui.hosts.model import Cancel, Change, Chunk, Question
from homek8s_tui.rehearsal.home import RehearsalClock

from ..rehearsed import rehearsed, set_up


class Still(RehearsalClock):
    """A clock that goes on only when somebody waits."""

    def now(self) -> float:
        return self.at


def test_an_exchange_is_noted_with_what_when_and_how_long() -> None:
    clock = Still(at=100.0)
    log = CommandLog(clock)
    moved: list[int] = []
    log.moved = lambda: moved.append(len(log.entries()))
    with log.noted("pi4", "ask\x1b[31m nodes\nagain"):
        (entry,) = log.entries()
        assert (entry.at, entry.host, entry.what, entry.seconds) == (100.0, "pi4", "ask nodes again", None)
        assert log.current() == {"pi4": entry}
        clock.wait(1.5)
    assert (entry.seconds, entry.trouble) == (1.5, "")
    assert log.current() == {}
    assert moved == [1, 1]


@pytest.mark.parametrize("trouble", [Trouble("ask", "pi4", "nobody\nanswered", "Look."), ConnectionRefusedError("no")])
def test_what_came_back_is_noted_when_it_fails(trouble: Exception) -> None:
    log = CommandLog(Still())
    with pytest.raises(type(trouble)), log.noted("pi4", "ask"):
        raise trouble
    (entry,) = log.entries()
    assert entry.seconds is not None
    assert entry.trouble == " ".join(str(trouble).split())


def test_an_error_of_our_own_ends_an_entry_too() -> None:
    log = CommandLog(Still())
    with pytest.raises(ZeroDivisionError), log.noted("pi4", "ask"):
        raise ZeroDivisionError
    assert log.current() == {}


def test_the_oldest_are_let_go_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_log, "_MOST", 3)
    log = CommandLog(Still())
    for number in range(8):
        with log.noted("pi4", f"ask {number}"):
            pass
    assert [entry.what for entry in log.entries()] == ["ask 5", "ask 6", "ask 7"]
    assert log.dropped == 5


def test_a_machine_is_noted_door_by_door(tmp_path: Path) -> None:
    _, rehearsal = rehearsed(tmp_path)
    log = CommandLog(rehearsal.clock)
    machine = rehearsal.machines["pi4"]
    machine.latency = 2
    noted = Noted(machine, log, "pi4")
    noted.ask([])
    noted.ask([Question("a", "nodes"), Question("b", "state-file", ("4", "/etc/passwd", "", "", "pi4"))])
    noted.change(Change("user", ("traefik",), "absent", "present*", ("make", "/bin/false", "/nowhere")))
    with pytest.raises(ConnectionRefusedError):
        noted.dial("10.1.10.2", 6443)
    with pytest.raises(Trouble):
        noted.read_secret("/etc/none")
    with pytest.raises(Trouble):
        noted.run_secret("k3s-token", ())
    machine.unplugged = True
    with pytest.raises(Trouble):
        noted.ask([Question("a", "nodes")])
    assert [entry.what for entry in log.entries()] == [
        "log in",
        "ask nodes, state-file",
        "change user traefik",
        "connect to 10.1.10.2:6443 from there",
        "read the secret /etc/none",
        "run k3s-token",
        "ask nodes",
    ]
    assert [bool(entry.trouble) for entry in log.entries()] == [False, False, False, True, True, True, True]
    assert [round(entry.seconds or 0) for entry in log.entries()] == [2, 2, 2, 0, 2, 2, 2]


def test_a_job_that_nobody_follows_to_its_end_ends_in_the_log(tmp_path: Path) -> None:
    _, rehearsal = rehearsed(tmp_path)
    log = CommandLog(rehearsal.clock)
    machine = rehearsal.machines["pi4"]
    machine.jobs["j-1"] = "a line\n", 0
    following = iter(Noted(machine, log, "pi4").follow("j-1", 0, Cancel()))
    assert isinstance(next(following), Chunk)
    assert list(log.current()) == ["pi4"]
    following.close()  # type: ignore[attr-defined]  # it is a generator
    (entry,) = log.entries()
    assert (entry.what, entry.seconds is not None, entry.trouble) == ("follow j-1", True, "")


def test_no_secret_of_any_machine_gets_into_the_log(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    tokens: list[str] = []
    catalogue = next(iter(rehearsal.machines.values())).catalogue
    real = catalogue.questions["k3s-token"]

    def overheard(machine: object, arguments: object) -> str:
        tokens.append(real(machine, arguments))  # type: ignore[arg-type]  # passed on as they came
        return tokens[-1]

    catalogue.questions["k3s-token"] = overheard
    live, _ = set_up(service)
    assert live.progress.ended is not None and live.progress.ended.result == "done"
    secrets = {
        value
        for machine in rehearsal.machines.values()
        for path, entry in machine.files.items()
        if entry.mode == "600" and path.endswith((".key", ".psk", "k3s.yaml"))
        for value in (line.rsplit(" ", 1)[-1].strip() for line in entry.text.splitlines())
        if len(value) > 20
    }
    assert len(secrets) >= 7 and len(tokens) == 1
    secrets |= {tokens[0].strip(), tokens[0].strip().rpartition(":")[2]}
    said = "\n".join(f"{entry.what}\n{entry.trouble}" for entry in service.log.entries())
    assert "k3s-join" in said and "read the secret" in said
    assert not [secret for secret in secrets if secret in said]
    assert not [secret for secret in secrets if secret in "\n".join(live.progress.told)]
    remembered = b"".join(path.read_bytes() for path in tmp_path.glob("journal.sqlite*"))
    assert b"k3s-join" in remembered
    assert not [secret for secret in secrets if secret.encode() in remembered]
