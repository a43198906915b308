"""How a login becomes root, told by what sudo answers."""

from __future__ import annotations

import pytest

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.become import Become, become

NEEDS = (1, "sudo: a password is required\n")
WRONG = (1, "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n")
RIGHT = (0, "")


class Sudo:
    """A machine's sudo: one answer to each command, and what it was given."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, bytes]] = []

    def enter(self, way: Become) -> tuple[int, str]:
        self.calls.append((way.prefix, way.first))
        return self.answers.pop(0)


class Secrets:
    """Somebody with some passwords."""

    def __init__(self, *values: str, person: bool = True) -> None:
        self.values = list(values)
        self.person = person
        self.rejected = 0

    def get(self, name: str, prompt: str) -> Secret:
        assert name == "sudo:pi5"
        assert prompt == "sudo password of pi on pi5"
        return Secret(self.values.pop(0))

    def reject(self, name: str) -> bool:
        self.rejected += 1
        return self.person


def way(sudo: Sudo, secrets: Secrets | None = None, user: str = "pi") -> Become:
    return become(user, "pi5", "pi5 (10.0.0.5:22)", sudo.enter, secrets or Secrets())


def test_root_needs_nothing() -> None:
    sudo = Sudo()
    assert way(sudo, user="root") == Become()
    assert sudo.calls == []


def test_without_password() -> None:
    sudo = Sudo(RIGHT)
    assert way(sudo).prefix == "sudo -n -k "
    assert sudo.calls == [("env LC_ALL=C sudo -n -k ", b"")]


def test_with_a_password_checked_alone() -> None:
    sudo = Sudo(NEEDS, RIGHT)
    found = way(sudo, Secrets("hunter2"))
    assert found.prefix == "sudo -S -k -p '' "
    assert found.first == b"hunter2\n"
    assert sudo.calls[1] == ("env LC_ALL=C sudo -S -k -p '' ", b"hunter2\n")
    assert all("hunter2" not in command for command, _ in sudo.calls)
    assert "hunter2" not in repr(found)


def test_a_person_gets_three_tries() -> None:
    secrets = Secrets("a", "b", "c")
    assert way(Sudo(NEEDS, WRONG, WRONG, RIGHT), secrets).first == b"c\n"
    secrets = Secrets("a", "b", "c", "d")
    with pytest.raises(Trouble, match="did not accept the password of pi") as trouble:
        way(Sudo(NEEDS, WRONG, WRONG, WRONG), secrets)
    assert trouble.value.kind is Kind.SECRET
    assert (secrets.rejected, secrets.values) == (3, ["d"])


def test_a_given_password_is_tried_once() -> None:
    secrets = Secrets("a", "b", person=False)
    with pytest.raises(Trouble) as trouble:
        way(Sudo(NEEDS, WRONG), secrets)
    assert trouble.value.kind is Kind.SECRET
    assert "--secret sudo:pi5=" in trouble.value.do
    assert secrets.values == ["b"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(127, "sh: 1: sudo: not found\n")], "there is no sudo"),
        ([(127, "env: 'sudo': No such file or directory\n")], "there is no sudo"),
        ([(1, "sudo: sorry, you must have a tty to run sudo\n")], "wants a terminal"),
        ([NEEDS, (1, "pi is not in the sudoers file.\n")], "not allowed to use sudo"),
        ([NEEDS, (1, "Sorry, user pi may not run sudo on pi5.\n")], "not allowed to use sudo"),
        ([NEEDS, (1, "Sorry, user pi is not allowed to execute '/bin/true' as root on pi5.\n")], "not allowed"),
        ([(1, "sudo: Account or password is expired, reset your password and try again\n")], "has expired"),
        ([NEEDS, (1, "You are required to change your password immediately.\nNew password: \n")], "has expired"),
        ([(1, "WARNING: Your password has expired.\nPassword change required but no TTY available.\n")], "has expired"),
        ([(1, "sudo: /etc/sudo.conf is owned by uid 1000, should be 0\n")], "is owned by uid 1000"),
        ([(1, "")], "ended with status 1"),
        (
            [NEEDS, (1, "sudo: unable to allocate pty: \x1b[2JNo such device\n")],
            "unable to allocate pty: No such device",
        ),
    ],
)
def test_every_other_way_has_its_own_sentence(answers: list[tuple[int, str]], words: str) -> None:
    secrets = Secrets("hunter2")
    with pytest.raises(Trouble, match=words) as trouble:
        way(Sudo(*answers), secrets)
    assert trouble.value.kind is Kind.FAILED
    assert secrets.rejected == 0, "it was not the password"
    assert "hunter2" not in str(trouble.value)
