"""What OpenSSH's client says of a name: parsed from its real output, asked of the real program."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import ssh_config
from homek8s_tui.hosts.ssh_config import Hop, Settings, hop, parse, settings

CAPTURED = (Path(__file__).parent / "captured" / "ssh-G.txt").read_text()
HERE = {"d": "/home/me", "i": "1000", "l": "console", "u": "me"}
ENVIRON = {"HOME": "/home/me", "KEYS": "/media/keys", "MY_AGENT": "/run/agent", "EMPTY": ""}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a home folder that is nobody's."""
    monkeypatch.setenv("HOME", "/home/me")


def parsed(*lines: str, without: str = "") -> Settings:
    """Returns the settings of a real output with other values in it."""
    options = {line.split()[0] for line in lines} | set(without.split())
    kept = [line for line in CAPTURED.splitlines() if line.split()[0] not in options]
    return parse("\n".join([*kept, *lines]) + "\n", "vps", HERE, ENVIRON)


def test_a_real_output_is_read() -> None:
    assert parse(CAPTURED, "vps", HERE, ENVIRON) == Settings(
        host="203.0.113.10",
        user="admin",
        port=2222,
        identities=("/home/me/.ssh/vps_admin@203.0.113.10",),
        only=True,
        alias="my-vps",
    )


@pytest.mark.parametrize(
    ("lines", "field", "expected"),
    [
        (["proxyjump bastion"], "jumps", (Hop("bastion"),)),
        (["proxyjump a,bob@b:2200,[fd00::1]:22"], "jumps", (Hop("a"), Hop("b", "bob", 2200), Hop("fd00::1", None, 22))),
        (["proxyjump none"], "jumps", ()),
        (["proxycommand none"], "command", ""),
        (["proxycommand nc -x localhost:1080 %h %p"], "command", "nc -x localhost:1080 %h %p"),
        (["identityfile none"], "identities", ()),
        (["identityfile ~/.ssh/a b", "identityfile /k/%n-%u-%l-%i"], "identities", ("/home/me/.ssh/a b", "/k/vps-me-console-1000")),
        (["identityfile %d/%%/%k/%p"], "identities", ("/home/me/%/my-vps/2222",)),
        (["identityfile ${KEYS}/id"], "identities", ("/media/keys/id",)),
        (["identitiesonly no"], "only", False),
        (["identityagent none"], "agent", "none"),
        (["identityagent SSH_AUTH_SOCK"], "agent", "SSH_AUTH_SOCK"),
        (["identityagent ~/.1password/agent.sock"], "agent", "/home/me/.1password/agent.sock"),
        (["identityagent $MY_AGENT"], "agent", "/run/agent"),
        (["identityagent $EMPTY"], "agent", "none"),
        (["hostkeyalias none"], "alias", ""),
    ],
)  # fmt: skip
def test_each_option_that_matters(lines: list[str], field: str, expected: object) -> None:
    assert getattr(parsed(*lines), field) == expected


@pytest.mark.parametrize(
    ("lines", "without", "said"),
    [
        (["bindaddress 10.0.0.1"], "", "bindaddress 10.0.0.1 can't be followed. Remove it"),
        (["bindinterface eth7"], "", "bindinterface eth7 can't be followed"),
        (["pkcs11provider /usr/lib/x.so"], "", "give the key to your agent"),
        (["certificatefile ~/.ssh/id-cert.pub"], "", "let a plain key in"),
        (["identityfile ~/.ssh/%C"], "", "'%C' in IdentityFile ~/.ssh/%C can't be followed. Write the path out"),
        (["identityfile ${NOBODY}/id"], "", "can't be followed"),
        (["identityfile ~nobody-here/id"], "", "IdentityFile ~nobody-here/id can't be followed"),
        (["identityagent /run/%C"], "", "in IdentityAgent"),
        (["proxyjump -oProxyCommand=x"], "", "is no machine to go through. Write ProxyJump as user@host:port"),
        (["proxyjump me@there:0"], "", "is no machine to go through"),
        (["port 65536"], "", "did not tell host, user and port"),
        (["user a\x1b[2Jb"], "", "did not tell host, user and port"),
        ([], "user", "did not tell host, user and port"),
        ([], "hostname", "did not tell host, user and port"),
    ],
)
def test_what_cannot_be_followed_is_refused(lines: list[str], without: str, said: str) -> None:
    with pytest.raises(Trouble) as trouble:
        parsed(*lines, without=without)
    assert trouble.value.kind is Kind.USAGE
    assert str(trouble.value).startswith("Could not use what ~/.ssh/config says of vps: ")
    assert said in str(trouble.value)


LINES = st.sampled_from(CAPTURED.splitlines()) | st.builds(
    "{} {}".format,
    st.sampled_from(["hostname", "user", "port", "identityfile", "identityagent", "proxyjump", "hostkeyalias"]),
    st.text(max_size=30),
)


@given(st.lists(LINES, max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_any_output_gives_settings_or_a_trouble(lines: list[str], ending: str) -> None:
    said = ""
    try:
        found = parse(ending.join(lines), "vps", HERE, ENVIRON)
    except Trouble as trouble:
        said = str(trouble)
    else:
        assert found.host and found.user and 0 < found.port < 65536
        assert all(each.host and not each.host.startswith("-") for each in found.jumps)
        said = f"{found.host} {found.user} {found.alias} {' '.join(map(str, found.jumps))}"
    assert said.isprintable()


USERS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
HOSTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True) | st.sampled_from(["::1", "fd00::12"])


@given(st.builds(Hop, HOSTS, st.none() | USERS, st.none() | st.integers(1, 65535)))
def test_a_hop_is_read_back_as_it_is_written(each: Hop) -> None:
    assert hop(str(each), "vps") == each
    assert hop(f"ssh://{each}/", "vps") == each


# The real program


CONFIG = """\
Host vps
  HostName 203.0.113.10
  User admin
  Port 2222
  IdentityFile ~/.ssh/vps_%r@%h
  IdentityFile "~/.ssh/with space"
  IdentitiesOnly yes
  HostKeyAlias my-vps
Host deep
  ProxyJump a,bob@b:2200
Host command
  ProxyCommand nc -x localhost:1080 %h %p
Match originalhost who user bob
  HostName bobs.example.org
"""


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has OpenSSH's client read another configuration than that of whoever runs the tests."""
    real = shutil.which("ssh")
    if real is None and os.environ.get("CI") != "true":
        pytest.skip("openssh-client is not on this machine")

    def write(config: str) -> None:
        (tmp_path / "config").write_text(config)
        program = tmp_path / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {real} -F {tmp_path}/config "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return write


def test_the_real_program_is_asked(configure: Callable[[str], None]) -> None:
    configure(CONFIG)
    assert settings("vps") == Settings(
        "203.0.113.10",
        "admin",
        2222,
        ("/home/me/.ssh/vps_admin@203.0.113.10", "/home/me/.ssh/with space"),
        only=True,
        alias="my-vps",
    )
    assert settings("deep").jumps == (Hop("a"), Hop("b", "bob", 2200))
    assert settings("command").command == "nc -x localhost:1080 %h %p"
    plain = settings("plain")
    assert (plain.host, plain.port, plain.only, plain.jumps, plain.agent) == ("plain", 22, False, (), "SSH_AUTH_SOCK")
    assert "/home/me/.ssh/id_ed25519" in plain.identities


def test_what_is_given_wins_and_is_what_match_sees(configure: Callable[[str], None]) -> None:
    configure(CONFIG)
    given_port = settings("vps", "bob", 99)
    assert (given_port.user, given_port.port, given_port.identities[0]) == (
        "bob",
        99,
        "/home/me/.ssh/vps_bob@203.0.113.10",
    )
    assert settings("who", "bob").host == "bobs.example.org"
    assert settings("who", "eve").host == "who"


def refusal(name: str) -> str:
    with pytest.raises(Trouble) as trouble:
        settings(name)
    assert trouble.value.kind is Kind.USAGE
    assert trouble.value.__cause__ is None
    return str(trouble.value)


def test_an_option_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_config.subprocess, "run", lambda *_, **__: pytest.fail("it was run"))
    assert "does not begin with a dash" in refusal("-oProxyCommand=touch /tmp/x")


def test_a_configuration_with_a_mistake_is_told_with_its_line(configure: Callable[[str], None]) -> None:
    configure("Host x\n  Bogus yes\n")
    said = refusal("x")
    assert "line 2: Bad configuration option: bogus" in said
    assert "'ssh -G x' shows" in said


def test_no_client_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refusal("x")
    assert "(ssh) is not installed here" in said
    assert "ssh.jump in homek8s.yaml" in said
    (tmp_path / "ssh").write_text("no program\n")
    assert "can't be run" in refusal("x")


def test_one_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configure: Callable[[str], None]
) -> None:
    monkeypatch.setattr(ssh_config, "_SECONDS", 0.5)
    configure('Match exec "sleep 3"\n  User x\n')
    before = time.monotonic()
    assert "'ssh -G x' did not answer in 0.5 s" in refusal("x")
    assert time.monotonic() - before < 5
