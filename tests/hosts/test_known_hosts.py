"""Pinned host keys: asked about once, never changed silently, safe against each other's writers."""

from __future__ import annotations

import base64
import subprocess
import threading
from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.known_hosts import HostKeyQuestion, HostKeys, fingerprint

KEY, OTHER = b"\0\0\0\x0bssh-ed25519 one", b"\0\0\0\x0bssh-ed25519 two"


class Person:
    """Somebody who is asked."""

    def __init__(self, says: bool = True) -> None:
        self.says = says
        self.asked: list[HostKeyQuestion] = []

    def __call__(self, question: HostKeyQuestion) -> bool:
        self.asked.append(question)
        return self.says


def test_a_new_key_is_shown_once_and_pinned(tmp_path: Path) -> None:
    person = Person()
    path = tmp_path / "deep" / "known_hosts"
    keys = HostKeys(path, person)
    assert keys.pinned("10.0.0.4", 22) is None
    assert keys.check("pi4", "10.0.0.4", 22, "ssh-ed25519", KEY)
    assert person.asked == [HostKeyQuestion("pi4", "10.0.0.4", 22, "ssh-ed25519", fingerprint(KEY))]
    assert not keys.check("pi4", "10.0.0.4", 22, "ssh-ed25519", KEY)
    assert len(person.asked) == 1
    assert keys.pinned("10.0.0.4", 22) == ("ssh-ed25519", KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.read_text() == f"10.0.0.4 ssh-ed25519 {base64.b64encode(KEY).decode()}\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["known_hosts", "known_hosts.lock"]


def test_a_key_that_nobody_approves_is_not_pinned(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path / "known_hosts", Person(says=False))
    with pytest.raises(Trouble) as trouble:
        keys.check("pi4", "10.0.0.4", 22, "ssh-ed25519", KEY)
    assert trouble.value.kind is Kind.SECRET
    assert f"--host-key pi4={fingerprint(KEY)}" in trouble.value.do
    assert keys.pinned("10.0.0.4", 22) is None


@pytest.mark.parametrize(("key_type", "blob"), [("ssh-ed25519", OTHER), ("ssh-rsa", KEY)])
def test_a_changed_key_is_refused_and_nobody_is_asked(tmp_path: Path, key_type: str, blob: bytes) -> None:
    person = Person()
    keys = HostKeys(tmp_path / "known_hosts", person)
    keys.check("pi4", "10.0.0.4", 2222, "ssh-ed25519", KEY)
    before = (tmp_path / "known_hosts").read_text()
    with pytest.raises(Trouble) as trouble:
        keys.check("pi4", "10.0.0.4", 2222, key_type, blob)
    assert trouble.value.kind is Kind.FAILED
    assert fingerprint(KEY) in trouble.value.came_back
    assert fingerprint(blob) in trouble.value.came_back
    assert "homek8s trust pi4" in trouble.value.do
    assert len(person.asked) == 1
    assert (tmp_path / "known_hosts").read_text() == before
    keys.forget("10.0.0.4", 2222)
    assert keys.check("pi4", "10.0.0.4", 2222, key_type, blob)


def test_ports_are_machines_of_their_own_and_foreign_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    foreign = "# a note\n\n|1|abc=|def= ssh-rsa AAAA\nbroken\n10.0.0.9 ssh-ed25519 !!!\nb\udcfcrokenbytes x y\n"
    path.write_text(foreign, errors="surrogateescape")
    keys = HostKeys(path, Person())
    keys.check("a", "10.0.0.4", 22, "ssh-ed25519", KEY)
    keys.check("b", "10.0.0.4", 2222, "ssh-ed25519", OTHER)
    assert keys.pinned("10.0.0.4", 2222) == ("ssh-ed25519", OTHER)
    keys.forget("10.0.0.4", 22)
    assert keys.pinned("10.0.0.4", 22) is None
    assert "[10.0.0.4]:2222 " in path.read_text(errors="surrogateescape")
    assert path.read_text(errors="surrogateescape").startswith(foreign)


def test_fingerprints_and_file_are_as_openssh_has_them(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "key"], check=True)
    key_type, word, _ = (tmp_path / "key.pub").read_text().split(maxsplit=2)
    keys = HostKeys(tmp_path / "known_hosts", Person())
    keys.check("pi4", "10.0.0.4", 2222, key_type, base64.b64decode(word))
    found = subprocess.run(
        ["ssh-keygen", "-l", "-F", "[10.0.0.4]:2222", "-f", tmp_path / "known_hosts"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert fingerprint(base64.b64decode(word)) in found.stdout


def test_many_at_a_time_lose_nothing(tmp_path: Path) -> None:
    def pin(number: int) -> None:
        HostKeys(tmp_path / "known_hosts", Person()).check(f"h{number}", f"10.0.0.{number}", 22, "ssh-ed25519", KEY)

    threads = [threading.Thread(target=pin, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tmp_path / "known_hosts").read_text().splitlines()) == 20


def test_a_key_pinned_while_another_was_being_approved_stays(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"

    def slowly(question: HostKeyQuestion) -> bool:
        HostKeys(path, Person()).check("pi4", "10.0.0.4", 22, "ssh-ed25519", OTHER)
        return True

    with pytest.raises(Trouble, match="changed from"):
        HostKeys(path, slowly).check("pi4", "10.0.0.4", 22, "ssh-ed25519", KEY)
    assert HostKeys(path, Person()).pinned("10.0.0.4", 22) == ("ssh-ed25519", OTHER)


def test_a_store_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").mkdir()
    with pytest.raises(Trouble, match="pinned host keys"):
        HostKeys(tmp_path / "known_hosts", Person()).pinned("10.0.0.4", 22)
    (tmp_path / "file").touch()
    with pytest.raises(Trouble):
        HostKeys(tmp_path / "file" / "known_hosts", Person()).check("pi4", "10.0.0.4", 22, "ssh-ed25519", KEY)
