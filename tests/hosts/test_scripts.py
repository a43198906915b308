"""The change scripts, run for real on files of a temporary folder: compare, change, judge, and keep what they replace."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.model import Change, Ended, Outcome

from . import local

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to root, which only root can do")

LINES = st.lists(
    st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), max_size=12), max_size=4
)


def digest(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def wanted(text: str, mode: str = "644") -> str:
    return f"file {mode} root root {digest(text)}"


def write(
    path: Path,
    text: str,
    before: str = "absent",
    after: str = "",
    undo: Path | None = None,
    places: Sequence[Path] = (),
    mask: str = "",
    mode: str = "644",
) -> Outcome:
    state = (str(path), mask, " ".join(map(str, places)), "pi4")
    arguments = ("write", mode, "root", "root")
    return local.change(
        Change("file", state, before, after or wanted(text, mode), arguments, str(undo) if undo else "", text)
    )


def see(path: Path, places: Sequence[Path] = (), mask: str = "") -> tuple[str, str]:
    question = exchange.state_question("file", [(str(path), mask, " ".join(map(str, places)), "pi4")])
    reply = local.run(exchange.ask_script([question]))
    return exchange.parse_states(exchange.read_answers("here", [question], reply)[question.name])[0]


def test_a_file_is_written_once_and_never_over_something_else(tmp_path: Path) -> None:
    path, text = tmp_path / "a" / "b" / "conf", "one\ntwo $HOME `x` 'y' \\n\n"
    assert write(path, text) == Outcome("changed", wanted(text))
    assert path.read_text() == text
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert write(path, text) == Outcome("already", wanted(text))
    assert write(path, "other\n") == Outcome("refused", wanted(text))
    assert path.read_text() == text
    assert write(path, "other\n", before=wanted(text), mode="600").result == "changed"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["conf"], "nothing is left lying around"


@pytest.mark.parametrize(
    "text", ["", "\n", "no end", "\n\nempty lines\n\n", "ünï\u2028cödé\n", "\x01\x7f\n", "-n\n", "x" * 300_000]
)
def test_content_arrives_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "it's a file"
    assert write(path, text).result == "changed"
    assert path.read_bytes() == text.encode()
    assert see(path)[0] == wanted(text)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious\n")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, state in (("link", "link"), ("folder", "directory"), ("pipe", "special")):
        assert write(tmp_path / name, "new\n") == Outcome("refused", state)
    assert (tmp_path / "target").read_text() == "precious\n"


@pytest.mark.parametrize("there", [True, False])
def test_undo_takes_back_content_owner_mode_and_folders(tmp_path: Path, there: bool) -> None:
    path, undo = tmp_path / "etc" / "new" / "conf", tmp_path / "lib" / "undo" / "run" / "1"
    (tmp_path / "etc").mkdir()
    if there:
        path.parent.mkdir()
        path.write_text("old\n")
        path.chmod(0o640)
        os.chown(path, 1, 2)
    original = see(path)[0]
    assert write(path, "new\n", before=original, undo=undo).result == "changed"
    assert undo.stat().st_mode & 0o777 == 0o700
    state = (str(path), "", "", "pi4")
    back = Change("file", state, wanted("new\n"), original, (str(undo), "644", "root", "root"))
    assert local.change(back) == Outcome("changed", original)
    assert local.change(back) == Outcome("already", original)
    assert path.exists() == there
    assert path.parent.exists() == there
    assert (tmp_path / "etc").is_dir(), "a folder that was there before stays"


def test_a_try_that_was_cut_off_does_not_forget_which_folders_are_ours(tmp_path: Path) -> None:
    path, undo = tmp_path / "new" / "deep" / "conf", tmp_path / "undo"
    folder = path.parent
    state = (str(path), "", "", "pi4")
    # the folder is made, then the machine stops: here the place for the file is not writable text
    broken = Change("file", state, "absent", wanted("other\n"), ("write", "644", "root", "root"), str(undo), "text\n")
    with pytest.raises(Trouble, match="came out as"):
        local.change(broken)
    assert folder.is_dir()
    assert write(path, "text\n", undo=undo).result == "changed"
    assert (undo / "folders").read_text().splitlines() == [str(folder), str(folder.parent)]


def test_a_file_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("x\n")
    remove = Change("file", (str(path), "", "", "pi4"), see(path)[0], "absent", ("remove", "644", "root", "root"))
    assert local.change(remove) == Outcome("changed", "absent")
    assert local.change(remove) == Outcome("already", "absent")


def test_what_comes_out_wrong_never_takes_the_old_files_place(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("old\n")
    with pytest.raises(Trouble, match="came out as"):
        write(path, "new\n", before=see(path)[0], after=wanted("something else\n"))
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["conf"]


def test_secrets_are_spliced_in_there_and_never_come_back(tmp_path: Path) -> None:
    private, shared = tmp_path / "private.key", tmp_path / "shared.key"
    private.write_text("cHJpdmF0ZQ+/=\n")
    shared.write_text("c2hhcmVk")  # a hand-made one may lack its line end
    path, places = tmp_path / "wg.conf", (private, shared)
    text = (
        f"[Interface]\nPrivateKey = <secret: pi4:{private}>\n# twice <secret: pi4:{private}> <secret: pi4:{private}>\n"
        f"[Peer]\nPresharedKey = <secret: pi4:{shared}>\nEndpoint = 1.2.3.4:51820\n"
    )
    outcome = write(path, text, places=places, mask="PrivateKey,PresharedKey", mode="600")
    assert outcome == Outcome("changed", wanted(text, "600"))
    content = path.read_text()
    assert content.count("cHJpdmF0ZQ+/=") == 3
    assert "PresharedKey = c2hhcmVk\n" in content
    state, shown = see(path, places, "PrivateKey,PresharedKey")
    assert state == wanted(text, "600")
    assert shown == text.rstrip("\n")
    path.write_text(content.replace("cHJpdmF0ZQ+/=", "c3RyYW5nZXI="))
    state, shown = see(path, places, "PrivateKey,PresharedKey")
    assert "PrivateKey = <hidden>" in shown
    assert "c3RyYW5nZXI=" not in shown.splitlines()[1]
    assert state != wanted(text, "600")


def test_a_secret_that_is_not_there_stops_the_file(tmp_path: Path) -> None:
    place = tmp_path / "missing.key"
    with pytest.raises(Trouble, match="could not be written"):
        write(tmp_path / "wg.conf", f"PrivateKey = <secret: pi4:{place}>\n", places=[place])
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(LINES, LINES, st.booleans())
def test_masking_is_the_inverse_of_splicing(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str], end: bool
) -> None:
    folder = tmp_path_factory.mktemp("mask")
    place = folder / "key"
    place.write_text("S3cr3t/Value+=\n")
    text = "\n".join([*before, f"Key = <secret: pi4:{place}>", *after]) + ("\n" if end else "")
    assert write(folder / "conf", text, places=[place]) == Outcome("changed", wanted(text))
    assert (folder / "conf").read_bytes().decode() == text.replace(f"<secret: pi4:{place}>", "S3cr3t/Value+=")


def secret(path: Path, before: str, after: str, *arguments: str, payload: str = "") -> Outcome:
    return local.change(Change("secret", (str(path), "wg-preshared-key"), before, after, arguments, payload=payload))


def test_a_secret_is_copied_private_from_the_first_byte_and_told_by_its_digest(tmp_path: Path) -> None:
    path, value = tmp_path / "keys" / "shared.key", "c2hhcmVk\n"
    after = f"present 600 root {digest(value)}"
    assert secret(path, "absent", after, "copy", payload=value) == Outcome("changed", after, {"sha256": digest(value)})
    assert path.read_text() == value
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert secret(path, "absent", after, "copy", payload=value).result == "already"
    other = secret(path, "absent", f"present 600 root {digest('other')}", "copy", payload="other")
    assert (other.result, path.read_text()) == ("refused", value)
    path.chmod(0o644)
    mended = secret(path, f"present 644 root {digest(value)}", after, "copy", payload=value)
    assert (mended.result, path.stat().st_mode & 0o777) == ("changed", 0o600)
    assert secret(path, after, "absent", "remove").now == "absent"
    assert not path.exists()


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("member", ["", "traefik"])
def test_an_artefact_is_verified_put_and_taken_back(tmp_path: Path, member: str) -> None:
    program = os.urandom(300_000)
    source = tmp_path / "download"
    source.write_bytes(archive(member, program) if member else program)
    sha256 = digest(source.read_bytes())
    path, undo = tmp_path / "opt" / "bin" / "program", tmp_path / "undo"
    after = f"file 755 root {sha256}"

    def put(expected: str = sha256) -> Change:
        return Change(
            "artefact", (str(path),), "absent", after, ("put", expected, member, "755"), str(undo), stream=source
        )

    with pytest.raises(Trouble, match="has the SHA-256"):
        local.change(put("0" * 64))
    assert not path.exists()
    assert list(path.parent.iterdir()) == []
    assert local.change(put()) == Outcome("changed", after)
    assert path.read_bytes() == program
    assert local.change(put()) == Outcome("already", after)
    path.write_bytes(b"tampered with")
    assert local.change(put()).result == "refused"
    path.write_bytes(program)
    remove = Change("artefact", (str(path),), after, "absent", ("restore", str(undo)))
    assert local.change(remove) == Outcome("changed", "absent")
    assert not (tmp_path / "opt").exists()


def test_a_stream_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    path, content = tmp_path / "program", b"x" * 100_000
    source = tmp_path / "download"
    source.write_bytes(content)
    change = Change(
        "artefact", (str(path),), "absent", "file 755 root *", ("put", digest(content), "", "755"), stream=source
    )
    reply = local.run(exchange.change_script(change, len(content)), after=content[:5000])
    assert reply.status == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["download"]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of jobs of our own, and a systemd that has every unit running."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho active\n")
    systemctl.chmod(0o755)
    real = exchange.script_text
    folder = tmp_path / "jobs"
    monkeypatch.setattr(
        exchange,
        "script_text",
        lambda name: real(name).replace("/var/lib/homek8s/jobs", str(folder)).replace("systemctl", str(systemctl)),
    )
    (folder / "j1").mkdir(parents=True)
    return folder / "j1"


def follow(offset: int = 0) -> tuple[bytes, list[Ended]]:
    reply = local.run(exchange.follow_script("j1", offset))
    assert reply.status == 0, reply.errors
    pieces = [exchange.read_progress("here", "follow it", line) for line in reply.output.splitlines(keepends=True)]
    return (
        b"".join(piece for piece in pieces if isinstance(piece, bytes)),
        [piece for piece in pieces if isinstance(piece, Ended)],
    )


def test_a_job_is_followed_from_any_offset_to_its_end(jobs: Path) -> None:
    words = os.urandom(100_000)
    (jobs / "out").write_bytes(words)
    (jobs / "rc").write_text("7\n")
    assert follow() == (words, [Ended(7)])
    assert follow(99_990) == (words[99_990:], [Ended(7)])
    assert follow(100_000) == (b"", [Ended(7)])


def test_a_job_is_followed_while_it_runs(jobs: Path) -> None:
    (jobs / "out").write_bytes(b"one\n")

    def work() -> None:
        with (jobs / "out").open("ab") as out:
            for word in (b"two\n", b"three\n"):
                time.sleep(0.3)
                out.write(word)
                out.flush()
        (jobs / "rc").write_text("0\n")

    thread = threading.Thread(target=work)
    thread.start()
    assert follow() == (b"one\ntwo\nthree\n", [Ended(0)])
    thread.join()


def test_a_job_without_unit_and_status_is_lost(jobs: Path) -> None:
    (jobs.parents[1] / "systemctl").write_text("#!/bin/sh\necho inactive\n")
    (jobs / "out").write_bytes(b"half\n")
    assert follow() == (b"half\n", [Ended(None)])
    reply = local.run(exchange.follow_script("never", 0))
    assert reply.output == b"E lost\n"
