"""Exchanges are composed, run by a real shell and read back; whatever is not whole is refused."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.exchange import Reply
from homek8s_tui.hosts.model import Answer, Change, Ended, Job, Outcome, Question
from homek8s_tui.plan.standing import matches

from . import local

SHELL_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40) | st.text(
    "'\"\\$`!*?[]{}()|&;<>#~ \t\n\r-x", max_size=20
)
SCRIPTS = {
    "test-echo": 'for word in "$@"; do printf "%s\\n" "$word" | base64 -w 0; echo; done\n',
    "test-binary": "printf '\\000\\001\\377A 0 0 x. y.\\nC changed eA==. .\\n'; printf 'R\\nK\\nE 0\\n' >&2\nexit 3\n",
    "test-input": "cat\n",
    "test-long": "sleep 5\n",
    "test-arguments": "cat /proc/$$/cmdline\n",
    "test-noise": "echo 'the secret is hunter2'; echo 'it broke' >&2; exit 9\n",
    "test-text": "printf 'one\\ntwo\\n\\n'\n",
    "test-latin": "printf '\\377'\n",
}


@pytest.fixture(autouse=True, scope="module")
def scripts() -> Iterator[None]:
    """Adds scripts that only tests need."""
    real = exchange.script_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "script_text", lambda name: SCRIPTS.get(name) or real(name))
        yield


def ask(*questions: Question) -> dict[str, Answer]:
    return dict(exchange.read_answers("here", questions, local.run(exchange.ask_script(questions))))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(SHELL_TEXT, max_size=4), min_size=1, max_size=4), st.text(max_size=8))
def test_any_argument_arrives_as_it_was(words: list[list[str]], name: str) -> None:
    questions = [Question(f"{name}{n}", "test-echo", tuple(each)) for n, each in enumerate(words)]
    answers = ask(*questions)
    for question in questions:
        answer = answers[question.name]
        assert answer.status == 0, answer.errors
        assert [base64.b64decode(line).decode()[:-1] for line in answer.output.splitlines()] == list(question.arguments)


def test_output_that_looks_like_frames_is_only_output() -> None:
    answers = ask(Question("a", "test-binary"), Question("b", "test-text"))
    assert answers["a"] == Answer(3, "\0\x01\ufffdA 0 0 x. y.\nC changed eA==. .\n", "R\nK\nE 0\n")
    assert answers["b"].output == "one\ntwo\n\n"


def test_a_question_reads_no_input_and_ends_at_its_limit() -> None:
    answers = ask(Question("input", "test-input"), Question("long", "test-long", seconds=1))
    assert answers["input"] == Answer(0, "", "")
    assert answers["long"].status == 124


def test_no_argument_and_no_script_stands_in_a_process_list() -> None:
    secret = "hunter2"
    command = exchange.command(local.NONCE, "sudo -n -k ")
    assert command.startswith("sudo -n -k sh -c '")
    change = Change("file", ("/x", "", "", "h"), "absent", "*", ("write", "600", "root", "root"), payload=secret)
    for text in (command, exchange.WRAPPER):
        assert secret not in text
    assert secret not in exchange.change_script(change), "a payload travels as base64, so that no line end matters"
    assert not set("'\\!\n") & set(exchange.WRAPPER), "some login shell would read this in its own way"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox"])
def test_login_shells_take_the_command(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not on this machine")
    argv = [shell, *(["sh"] if shell == "busybox" else []), "-c", exchange.command(local.NONCE)]
    done = subprocess.run(
        argv, input=exchange.message(local.NONCE, "echo it ran"), capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"it ran\n")


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_what_comes_before_the_nonce_is_never_run(line: str) -> None:
    reply = local.run('echo it ran; read -r rest; echo "$rest"', before=f"{line}\ntouch x\n".encode(), after=b"rest\n")
    assert (reply.status, reply.output, reply.errors) == (0, b"it ran\nrest\n", "")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), SHELL_TEXT)
def test_a_script_that_arrives_cut_off_is_not_run(cut: int, words: str) -> None:
    script = f"echo ran\n: {exchange.quote(words)}\necho ran"
    reply = local.run(script, cut=min(cut, len(exchange.message("", script)) - 4))
    assert reply.status == exchange.NOT_WHOLE
    assert reply.output == b""
    with pytest.raises(Trouble) as trouble:
        exchange.read_answers("pi4", [Question("a", "nodes")], Reply(reply.status, b"", ""))
    assert trouble.value.kind is Kind.UNREACHABLE
    assert "nothing was run" in trouble.value.came_back


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=3), st.data())
def test_no_cut_reply_passes_for_a_whole_one(outputs: list[bytes], data: st.DataObject) -> None:
    questions = [Question(str(number), "nodes") for number in range(len(outputs))]
    whole = b"".join(b"A %d 0 %s. .\n" % (n, base64.b64encode(output)) for n, output in enumerate(outputs))
    answers = exchange.read_answers("pi4", questions, Reply(0, whole, ""))
    assert [answer.output for answer in answers.values()] == [output.decode("utf-8", "replace") for output in outputs]
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Trouble):
        exchange.read_answers("pi4", questions, Reply(0, whole[:cut], ""))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | st.from_regex(rb"\A([ACSOEKR] [a-z0-9+/=. ]*\n)*\Z"))
@example(b"\t\x80.")
def test_hostile_replies_are_refused_in_a_sentence(output: bytes) -> None:
    reply = Reply(0, output, "")
    readers = (
        lambda: exchange.read_answers("pi4", [Question("a", "nodes")], reply),
        lambda: exchange.read_outcome("pi4", "change it", reply),
        lambda: exchange.read_start("pi4", "start it", reply),
        lambda: exchange.read_secret("pi4", "read it", reply),
        lambda: exchange.read_progress("pi4", "follow it", output),
        lambda: exchange.parse_states(Answer(0, output.decode("utf-8", "replace"))),
    )
    for read in readers:
        with contextlib.suppress(Trouble):
            read()


def test_a_talkative_login_is_told_as_such() -> None:
    reply = Reply(0, b"Welcome to \x1b[31mpi4\nA 0 0 . .\n", "")
    with pytest.raises(Trouble, match=r"printed 'Welcome to pi4'.*\.bashrc"):
        exchange.read_answers("pi4", [Question("a", "nodes")], reply)


def test_a_failed_exchange_tells_what_the_machine_said() -> None:
    with pytest.raises(Trouble, match="No space left") as trouble:
        exchange.read_outcome("pi4", "change it", Reply(1, b"", "cat: \x1b[2Jwrite error: No space left on device\n"))
    assert trouble.value.kind is Kind.FAILED
    with pytest.raises(Trouble) as trouble:
        exchange.read_outcome("pi4", "change it", Reply(143, b"", "Terminated"))
    assert trouble.value.kind is Kind.UNREACHABLE


def test_names_from_elsewhere_reach_no_other_file() -> None:
    for name in ("../../x", "nodes/../nodes", "", "Nodes", "no-such", "-rf", "nodes\n"):
        with pytest.raises(Trouble):
            exchange.script_text(name)
    for job in ("", "../x", "a b", "-x", "a/b", "x" * 200, "a\n"):
        with pytest.raises(Trouble):
            exchange.follow_script(job, 0)
    with pytest.raises(Trouble, match="null"):
        exchange.quote("a\0b")


def test_secrets_come_whole_and_stay_out_of_errors() -> None:
    def read(script: str, *arguments: str) -> str:
        reply = local.run(exchange.secret_script(script, arguments))
        return exchange.read_secret("pi4", "read it", reply).reveal()

    assert read("test-text") == "one\ntwo\n\n"
    with pytest.raises(Trouble, match="it broke") as trouble:
        read("test-noise")
    assert "hunter2" not in str(trouble.value)
    with pytest.raises(Trouble, match="no text"):
        read("test-latin")
    with pytest.raises(Trouble, match="no file /does/not/exist"):
        read("read-secret", "/does/not/exist")


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=200))
def test_a_secret_file_is_read_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    path = tmp_path_factory.mktemp("secret") / "it's one"
    path.write_bytes(content.encode())
    reply = local.run(exchange.secret_script("read-secret", (str(path),)))
    assert exchange.read_secret("pi4", "read it", reply).reveal() == content
    assert content == "" or base64.b64encode(content.encode()).decode() not in repr(reply)


def test_progress_lines() -> None:
    read = lambda line: exchange.read_progress("pi4", "follow", line)  # noqa: E731 - a short name for a long call
    assert read(b"K\n") is None
    assert read(b"O aGk=.\n") == b"hi"
    assert read(b"E 0\n") == Ended(0)
    assert read(b"E lost\n") == Ended(None)
    for line in (b"O aGk=\n", b"O aGk=.", b"E\n", b"E 0", b"X\n", b""):
        with pytest.raises(Trouble):
            read(line)


def test_a_states_variables_are_not_the_changes() -> None:
    state = "state() { path=x action=x unit=x NAME=x seen=x; NOW=there OUTPUTS=a=b; }\n"
    script = exchange.script_text("prelude") + exchange.script_text("compare") + state
    reply = local.run(f"{script}BEFORE=there AFTER=gone path=/p NAME=n\ncompare x\necho $path $NAME $NOW $OUTPUTS")
    assert reply.output == b"/p n there a=b\n"
    broken = local.run(f"{script}BEFORE='*' AFTER=gone\nstate() {{ NOW=$unset; }}\ncompare x\necho went on")
    assert (broken.status, broken.output) == (2, b""), "a state that can't be told is never taken for one"


PATTERNS = st.text("ab*?[]^!-\\ '\"$~{}\n/=.", max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PATTERNS, PATTERNS, PATTERNS), min_size=1, max_size=40))
@example([("\n", "", ""), ("a\n", "a", "a"), ("", "", "x")])
def test_machines_judge_states_as_the_plan_does(triples: list[tuple[str, str, str]]) -> None:
    """The contract with `plan.standing.matches`: the ``case`` in compare.sh is its twin."""
    script = [exchange.script_text("prelude"), exchange.script_text("compare")]
    for now, before, after in triples:
        variables = exchange._variables(before, after, "", "")
        script.append(f"(\n{variables}state() {{ NOW={exchange.quote(now)}; }}\ncompare x\necho go\n)\n")
    output = local.run("".join(script)).output.decode()
    got = ["go" if line == "go" else line.split()[1] for line in output.splitlines()]
    want = [
        "already" if matches(now, after) else "go" if matches(now, before) else "refused"
        for now, before, after in triples
    ]
    assert got == want


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_states_of_many_resources_come_in_order(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("states")
    question = exchange.state_question("material", [(f"{folder}/{name}",) for name in names])
    (folder / "a").touch()
    states = exchange.parse_states(ask(question)["state:material"])
    # "." and ".." are names too
    assert states == [("present" if Path(f"{folder}/{name}").exists() else "absent", "") for name in names]


def test_states_that_fail_are_no_states() -> None:
    with pytest.raises(Trouble, match="took too long"):
        exchange.parse_states(Answer(124, "", ""))
    with pytest.raises(Trouble, match="1 to 4"):
        exchange.parse_states(ask(exchange.state_question("material", [("a", "b", "c", "d", "e")]))["state:material"])


SHELLCHECK = shutil.which("shellcheck")


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not on this machine")
def test_every_composed_script_passes_shellcheck(tmp_path: Path) -> None:
    names = sorted(path.stem for path in Path(exchange.__file__).parent.joinpath("scripts").iterdir())
    composed = {
        name: exchange.script_text("prelude") + exchange.script_text(name)
        for name in names
        if not name.startswith(("state-", "change-", "job-"))
        and name not in {"prelude", "states", "compare", "start-job", "artefact", "ask"}
    }
    for name in names:
        kind = name.partition("-")[2]
        if name.startswith("state-"):
            composed[name] = exchange.script_text("prelude") + exchange.question_script(Question("q", name))
        elif name.startswith("change-"):
            composed[name] = exchange.change_script(Change(kind, ("a",), "b", "c"))
        elif name.startswith("job-"):
            job = Job("j", kind, ("a",), "job", ("j",), "*", "present", ("s",))
            composed[name], composed[f"start-{name}"] = exchange.job_script(job), exchange.start_script(job)
    composed["ask"] = exchange.ask_script([Question("q", "nodes", ("a'b",))])
    for name, text in composed.items():
        (tmp_path / f"{name}.sh").write_text(text)
    done = subprocess.run(
        # SC2034 and SC2154: variables that one part sets for another, not all of which are in every exchange
        [SHELLCHECK or "", "-s", "sh", "-S", "warning", "-e", "SC2034,SC2154", *sorted(tmp_path.glob("*.sh"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[:4000]


def test_outcomes_carry_outputs() -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    line = b"C changed " + encoded("file 600").encode() + b". " + encoded("sha256=ab\npublic=cd=\n").encode() + b".\n"
    outcome = exchange.read_outcome("pi4", "change it", Reply(0, line, ""))
    assert outcome == Outcome("changed", "file 600", {"sha256": "ab", "public": "cd="})
