"""Finding machines: who answers SSH is found, whoever greets with anything else is not, and none can hold it up."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from homek8s_tui.engine import discovery
from homek8s_tui.engine.discovery import find_machines, own_subnet
from homek8s_tui.engine.service import Found

HERE = "127.0.0.0/29"
SSHD = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n"


@contextmanager
def listening(port: int, greetings: dict[str, bytes | None]) -> Iterator[None]:
    """Greets whoever connects to these addresses; None says nothing and keeps the connection."""
    with ExitStack() as stack:
        kept: list[socket.socket] = []

        def greet(server: socket.socket, greeting: bytes | None) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if greeting is not None:
                        connection.sendall(greeting)
                        connection.shutdown(socket.SHUT_WR)

        for address, greeting in greetings.items():
            server = stack.enter_context(socket.create_server((address, port)))
            thread = threading.Thread(target=greet, args=(server, greeting), daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        yield
        for connection in kept:
            connection.close()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """A port that is free on the loopback, where machines are looked for instead; names and neighbours are made up."""

    def named(address: str) -> tuple[str, list[str], list[str]]:
        names = {"127.0.0.1": "pi4.home", "127.0.0.2": "\x1b]0;evil\x07pi5"}
        if address == "127.0.0.6":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")
        if address not in names:
            raise socket.herror(1, "Unknown host")
        return names[address], [], [address]

    table = tmp_path / "arp"
    table.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "127.0.0.1        0x1         0x2         DC:A6:32:00:00:01     *        eth0\n"
        "127.0.0.2        0x1         0x2         00:11:22:33:44:55     *        eth0\n"
    )
    monkeypatch.setattr(discovery, "_NEIGHBOURS", table)
    monkeypatch.setattr(discovery, "_PATIENCE", 0.3)
    monkeypatch.setattr(socket, "gethostbyaddr", named)
    while True:
        number = random.randint(20_000, 32_000)
        with contextlib.suppress(OSError), ExitStack() as stack:
            for last in range(1, 7):
                stack.enter_context(socket.create_server((f"127.0.0.{last}", number)))
            monkeypatch.setattr(discovery, "_PORT", number)
            return number


def test_machines_that_answer_ssh_are_found_with_maker_and_name(port: int) -> None:
    greetings: dict[str, bytes | None] = {
        "127.0.0.1": SSHD,
        "127.0.0.2": SSHD + b"\x00\x00\x01\x34\x07\x14" + bytes(range(200)),
        "127.0.0.3": b"Go away if you are a robot.\r\nSSH-2.0-dropbear_2022.83\n",
        "127.0.0.4": b"HTTP/1.1 400 Bad Request\r\n\r\nSSH",
    }
    with listening(port, greetings):
        found = {machine.address: machine for machine in find_machines(HERE)}
    says = SSHD.decode().strip()
    assert found == {
        "127.0.0.1": Found("127.0.0.1", says, "Raspberry Pi", "pi4.home"),
        "127.0.0.2": Found("127.0.0.2", says, "", "pi5"),
        "127.0.0.3": Found("127.0.0.3", "SSH-2.0-dropbear_2022.83", "", ""),
    }


def test_hostile_greetings_are_cleaned_and_silence_is_not_waited_for(port: int) -> None:
    greetings: dict[str, bytes | None] = {
        "127.0.0.1": None,
        "127.0.0.2": b"",
        "127.0.0.3": b"SSH-" + b"A" * 100_000,
        "127.0.0.4": b"SSH-2.0-\x1b[31m\x1b]52;c;ZXZpbA==\x07red\xff\xfe\x00\r\n",
        "127.0.0.5": bytes(range(256)),
        "127.0.0.6": SSHD,
    }
    with listening(port, greetings):
        found = {machine.address: machine for machine in find_machines(HERE)}
    assert set(found) == {"127.0.0.3", "127.0.0.4", "127.0.0.6"}
    assert found["127.0.0.3"].says == ("SSH-" + "A" * 100)[:80]
    assert "\x1b" not in found["127.0.0.4"].says and found["127.0.0.4"].says.startswith("SSH-2.0-red")
    assert found["127.0.0.6"].name == "", "a name that is no text is none"


def test_where_nobody_answers_nothing_is_found(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(discovery, "_NEIGHBOURS", tmp_path / "none")
    assert list(find_machines(HERE)) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_our_own_does_not_keep_anybody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_address: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(discovery, "_greeting", fails)
    assert list(find_machines(HERE)) == []


def test_of_a_large_subnet_the_first_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(discovery, "_greeting", tried.append)
    assert list(find_machines("10.0.0.0/8")) == []
    assert len(tried) == 1024 and {"10.0.0.1", "10.0.4.0"} <= set(tried)


@pytest.mark.parametrize("subnet", ["", "nonsense", "192.168.1.0/33", "::/64"])
def test_what_is_no_subnet_is_refused(subnet: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(find_machines(subnet))


class Unconnected(socket.socket):
    """A socket that may choose a route, and must not send."""

    address = ("192.168.7.9", 1)

    def __init__(self, family: int, kind: int) -> None:
        assert kind == socket.SOCK_DGRAM
        super().__init__(family, kind)

    def connect(self, address: object) -> None:
        if self.address is None:
            raise OSError(101, "Network is unreachable")

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def _refused(self, *_arguments: object) -> int:
        raise AssertionError("something was sent")

    send = sendto = sendall = sendmsg = _refused  # type: ignore[assignment]  # none of them is called


@pytest.mark.parametrize(
    ("address", "subnet"),
    [
        (("192.168.7.9", 1), "192.168.7.0/24"),
        (("10.1.2.3", 1), "10.1.2.0/24"),
        (("198.41.0.4", 1), ""),
        (("127.0.0.1", 1), ""),
        (None, ""),
    ],
)
def test_the_own_subnet_is_found_without_sending_anything(
    address: tuple[str, int] | None, subnet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: type[Unconnected] = type("Made", (Unconnected,), {"address": address})
    monkeypatch.setattr(socket, "socket", made)
    assert own_subnet() == subnet
