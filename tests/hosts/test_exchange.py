"""What an exchange says and how its reply is read, by really running it in a local shell."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.model import Change, Outcome, Question
from homek8s_tui.plan.operations import File
from homek8s_tui.plan.values import HostSecret

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the scripts run as root on a machine, and write to /run")


def run(text: str, extra: bytes = b"", password: str | None = None) -> tuple[bytes, int, str]:
    """Runs an exchange as a machine would, in this machine's own shell."""
    data = exchange.envelope("nonce", text, password) + extra
    done = subprocess.run(["sh", "-c", exchange.WRAPPER, "sh", "nonce"], input=data, capture_output=True, check=False)
    return done.stdout, done.returncode, done.stderr.decode("utf-8", "replace")


def change(change: Change) -> Outcome:
    """Makes a change on this machine, in a folder of the test's."""
    return exchange.parse_outcome(*run(exchange.change_text(change)), "file", "here")


def state(kind: str, *arguments: str) -> tuple[str, str]:
    """Asks for one state."""
    question = exchange.state_question(kind, [arguments])
    answers = exchange.parse_answers(run(exchange.ask_text([question]))[0], [question], "here")
    return exchange.parse_states(answers[question.name])[0]


def write(path: Path, text: str, before: str = "absent", undo: str = "", **more: str) -> Change:
    """A change that writes a file."""
    operation = File(host="here", path=str(path), content=(text,), mode="640")
    return Change(
        "file",
        operation.state(),
        before,
        operation.wanted({}) or "",
        (more.get("action", "write"), "640", "root", "root"),
        undo,
        text,
    )


@needs_root
@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=3))
def test_a_question_gets_its_arguments_whatever_they_are(arguments: list[str]) -> None:
    questions = [
        Question("one", "tunnel-ping", ("x", "28")),
        Question(
            "states", "state-material", tuple(word for argument in arguments for word in ("1", f"/nowhere/{argument}"))
        ),
    ]
    answers = exchange.parse_answers(run(exchange.ask_text(questions))[0], questions, "here")
    assert [found[0] for found in exchange.parse_states(answers["states"])] == ["absent"] * len(arguments)
    assert answers["one"].status != 0


@needs_root
def test_a_question_past_its_time_ends_with_124(monkeypatch: pytest.MonkeyPatch) -> None:
    real = exchange.script
    monkeypatch.setattr(exchange, "script", lambda name: "sleep 5\n" if name == "slow" else real(name))
    questions = [Question("slow", "slow", (), seconds=1), Question("after", "state-material", ("1", "/nowhere"))]
    answers = exchange.parse_answers(run(exchange.ask_text(questions))[0], questions, "here")
    assert (answers["slow"].status, answers["after"].status) == (124, 0)


def test_a_reply_that_was_cut_off_is_no_answer() -> None:
    questions = [Question("one", "k3s")]
    whole = b"A one 0 aGk=. .\nZ\n"
    assert exchange.parse_answers(whole, questions, "pi4")["one"].output == "hi"
    for cut in range(len(whole) - 1):
        with pytest.raises(Trouble, match="cut off"):
            exchange.parse_answers(whole[:cut], questions, "pi4")


@given(st.binary(max_size=200))
def test_no_reply_breaks_the_reader(reply: bytes) -> None:
    with pytest.raises(Trouble):
        exchange.parse_answers(reply, [Question("one", "k3s")], "pi4")
    with pytest.raises(Trouble):
        exchange.parse_outcome(reply, 0, "", "file", "pi4")


@needs_root
def test_a_password_that_sudo_did_not_want_is_no_command(tmp_path: Path) -> None:
    reply, _, errors = run("printf 'Z\\n'\n", password=f"touch {tmp_path}/hit")
    assert reply == b"Z\n"
    assert not (tmp_path / "hit").exists()
    assert errors == ""


@needs_root
def test_a_file_is_written_once_held_and_refused_when_it_drifted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.conf"
    assert change(write(path, "one\n")).result == "changed"
    assert path.read_text() == "one\n"
    assert oct(path.stat().st_mode & 0o777) == "0o640"
    assert change(write(path, "one\n")).result == "already"
    path.write_text("somebody's\n")
    refused = change(write(path, "two\n", before="file 640 root root " + hashlib.sha256(b"one\n").hexdigest()))
    assert refused.result == "refused"
    assert refused.now.endswith(hashlib.sha256(b"somebody's\n").hexdigest())
    assert path.read_text() == "somebody's\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.conf"]


@needs_root
def test_undo_material_brings_back_what_was(tmp_path: Path) -> None:
    path, folder = tmp_path / "deep" / "er" / "x.conf", tmp_path / "undo"
    first = write(path, "one\n", undo=str(folder / "1"))
    assert change(first).result == "changed"
    now = state("file", *first.state)[0]
    second = write(path, "two\n", before=now, undo=str(folder / "2"))
    assert change(second).result == "changed"
    assert change(Change("file", first.state, "*", now, (str(folder / "2"), "", "", ""))).result == "changed"
    assert path.read_text() == "one\n"
    assert change(Change("file", first.state, now, "absent", (str(folder / "1"), "", "", ""))).result == "changed"
    assert not (tmp_path / "deep").exists()


@needs_root
def test_secrets_are_spliced_in_there_and_masked_on_the_way_back(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("c2VjcmV0c2VjcmV0\n")
    path = tmp_path / "wg.conf"
    content = ("[Interface]\nPrivateKey = ", HostSecret("here", str(secret)), "\nMTU = 1420\n")
    operation = File(host="here", path=str(path), content=content, mode="600", mask=("PrivateKey", "PresharedKey"))
    after = operation.wanted({})
    assert after is not None
    text = "".join(part if isinstance(part, str) else f"<secret: here:{part.path}>" for part in content)
    made = Change("file", operation.state(), "absent", after, ("write", "600", "root", "root"), "", text)
    assert change(made).result == "changed"
    assert path.read_text() == "[Interface]\nPrivateKey = c2VjcmV0c2VjcmV0\nMTU = 1420\n"
    told, extra = state("file", *operation.state())
    assert told == after
    assert "c2VjcmV0" not in extra
    path.write_text("[Interface]\nPrivateKey = b3RoZXI=\nMTU = 1420\n")
    told, extra = state("file", *operation.state())
    assert told != after
    assert "PrivateKey = <hidden>" in extra


@needs_root
def test_a_download_is_judged_before_it_is_used(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\necho hi\n")
    archive = tmp_path / "program.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", tmp_path, "program"], check=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    path = tmp_path / "bin" / "program"

    def put(sha256: str) -> tuple[bytes, int, str]:
        wanted = Change(
            "artefact",
            (str(path),),
            "absent",
            f"file 755 root {sha256}",
            ("put", sha256, "program", "755"),
            str(tmp_path / "undo"),
        )
        return run(exchange.change_text(wanted, archive.stat().st_size), archive.read_bytes())

    shutil.rmtree(path.parent, ignore_errors=True)
    with pytest.raises(Trouble, match="has the SHA-256"):
        exchange.parse_outcome(*put("0" * 64), "artefact", "here")
    assert list(path.parent.iterdir()) == []
    assert exchange.parse_outcome(*put(digest), "artefact", "here").result == "changed"
    assert path.read_bytes() == program.read_bytes()
    assert state("artefact", str(path))[0] == f"file 755 root {digest}"
    path.write_bytes(b"changed")
    assert state("artefact", str(path))[0] != f"file 755 root {digest}"
