"""What one exchange with a machine says and how the reply is read. Pure: the transport is somebody else's business.

Every exchange runs the same fixed command and sends everything else on standard input, so that neither a script nor
a secret ever stands in a process list. What comes back are framed lines: a letter, words, base64 that ends in a
dot. A line of any other shape, a missing line and a missing dot are errors, never data.
"""

from __future__ import annotations

import base64
import functools
import importlib.resources
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from homek8s_tui.base.safe_text import clean, one_line
from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.model import Answer, Answers, Change, Ended, Job, Outcome, Question, Result, Started

REPLY_LIMIT = 16 * 1024 * 1024
"""The most bytes of a reply that are taken."""
NOT_WHOLE = 70
"""The exit status of `WRAPPER` when it did not get the whole script."""
READY = b"R\n"
"""What a change that takes a stream prints when its bytes may follow."""
WRAPPER = (
    'LC_ALL=C; while IFS= read -r l; do [ "$l" = "$1" ] && break; done; '
    'IFS= read -r n && s=$(head -c "$n") && [ "${#s}" -eq "$n" ] || exit 70; '
    'eval "$s"'
)
"""Runs the script that comes on standard input, whole or not at all, and leaves what follows it there.

It skips all lines before the nonce, its only argument: a password line that sudo did not need is never run. Login
shells of every kind must take it between single quotes, so it has no single quote, backslash, exclamation mark or
line end.
"""

_SCRIPT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_BASE64 = r"[A-Za-z0-9+/=]*"
_ANSWER = re.compile(rf"A (\d+) (\d+) ({_BASE64})\. ({_BASE64})\.\n")
_CHANGED = re.compile(rf"C ([a-z]+) ({_BASE64})\. ({_BASE64})\.\n")
_SECRET = re.compile(rf"S ({_BASE64})\.\n")
_OUTPUT = re.compile(rf"O ({_BASE64})\.\n")
_END = re.compile(r"E (\d{1,3}|lost)\n")
_KEEPALIVE = "K\n"
_PATTERN_CHARACTERS = re.compile(r"[\[\]\\?]")

_RESULTS: dict[str, Result] = {"changed": "changed", "already": "already", "refused": "refused"}
_STARTS: dict[str, Started] = {"started": "started", "attached": "attached", "already": "already", "refused": "refused"}


@dataclass(frozen=True)
class Reply:
    """What came back from one exchange."""

    status: int
    """The exit status of the script; -1 if there was none."""
    output: bytes = field(repr=False)
    """Its standard output; may hold a secret."""
    errors: str
    """The beginning of its standard error, as it came."""


def quote(word: str) -> str:
    """Returns a word for a shell script. The only place where anything is quoted.

    Raises:
        Trouble: If it holds a null character, which no shell can carry.
    """
    if "\0" in word:
        raise Trouble(
            "write a script",
            "",
            "one of its words holds a null character",
            "Look at the inventory's texts.",
            Kind.USAGE,
        )
    return shlex.quote(word)


def command(nonce: str, prefix: str = "", greet: bool = False) -> str:
    """Returns the command line that a login shell runs for one exchange; nothing in it is secret.

    Args:
        nonce: The line that the script comes after.
        prefix: How to become root, such as ``sudo -n -- ``.
        greet: Whether it says the nonce once it waits for its script.
    """
    greeting = 'echo "$1"; ' if greet else ""
    return f"{prefix}sh -c '{greeting}{WRAPPER}' sh {quote(nonce)}"


def message(nonce: str, script: str) -> bytes:
    """Returns what goes to the standard input of `command`, before any streamed bytes."""
    body = script.rstrip("\n").encode("utf-8", "surrogateescape")
    return f"{nonce}\n{len(body)}\n".encode() + body


# Composing


@functools.cache
def script_text(name: str) -> str:
    """Returns one script of ``hosts/scripts``.

    Args:
        name: Its name, without its ending.

    Raises:
        Trouble: If there is none of that name; names may come from a plan that somebody else made.
    """
    path = importlib.resources.files("homek8s_tui.hosts") / "scripts" / f"{name}.sh"
    if not _SCRIPT_NAME.fullmatch(name) or not path.is_file():
        raise Trouble(
            f"find the script '{one_line(name, 60)}'",
            "",
            "this program has none of that name",
            "The plan comes from another version; plan again.",
            Kind.USAGE,
        )
    return path.read_text(encoding="utf-8")


def state_question(kind: str, resources: Sequence[tuple[str, ...]]) -> Question:
    """Returns the question for the states of many resources of one kind.

    Args:
        kind: The name of their state script, without ``state-``.
        resources: The arguments of each, its name first.
    """
    words = tuple(word for arguments in resources for word in (str(len(arguments)), *arguments))
    return Question(f"state:{kind}", f"state-{kind}", words, seconds=60)


def question_script(question: Question) -> str:
    """Returns the text that one question runs, behind the prelude."""
    states = ("states",) if question.script.startswith("state-") else ()
    return "".join(map(script_text, (question.script, *states)))


def ask_script(questions: Sequence[Question]) -> str:
    """Returns the script that asks all of the questions; they are told apart by their position.

    They run side by side, each in a subshell of its own: what takes its time keeps no other waiting. Those with the
    same deadline share a shell, since starting programs is most of what questions cost.
    """
    shells: dict[int, str] = {}
    for number, question in enumerate(questions):
        shell = shells.setdefault(question.seconds, script_text("prelude") + "folder=$1\n")
        place = f'"$folder/{number}'
        shells[question.seconds] = (
            f"{shell}{{ (\n{_positional(question.arguments)}{question_script(question)}\n"
            f') </dev/null >{place}.out" 2>{place}.err"; echo "$?" >{place}.status"; }} &\n'
        )
    begun = [f"begin {seconds} {quote(shell + 'wait')}" for seconds, shell in shells.items()]
    return "\n".join((script_text("prelude") + script_text("ask"), *begun, f"tell {len(questions)}"))


def change_script(change: Change, size: int = 0) -> str:
    """Returns the script that makes a change.

    Args:
        change: The change.
        size: How many bytes will be streamed, where the change has a stream.
    """
    arguments = (*change.state, *change.arguments, *([str(size)] if change.stream is not None else []))
    helpers = {"file": ["keep"], "artefact": ["keep", "artefact"]}.get(change.kind, [])
    return "".join(
        (
            script_text("prelude"),
            script_text(f"state-{change.kind}"),
            script_text("compare"),
            *map(script_text, helpers),
            _variables(before=change.before, after=change.after, undo=change.undo, payload=change.payload),
            _positional(arguments),
            script_text(f"change-{change.kind}"),
        )
    )


def job_script(job: Job) -> str:
    """Returns the script that a job's unit runs, without its secrets."""
    helpers = ["keep", "artefact"] if job.script == "download" else []
    return "".join(
        (
            script_text("prelude"),
            *map(script_text, helpers),
            _positional(job.arguments),
            script_text(f"job-{job.script}"),
        )
    )


def start_script(job: Job) -> str:
    """Returns the script that starts a job.

    Raises:
        Trouble: If the job's id can't name a folder and a unit.
    """
    secrets = "".join(f"{line}\n" for line in job.secrets)
    return "".join(
        (
            script_text("prelude"),
            script_text(f"state-{job.state_kind}"),
            script_text("compare"),
            _variables(before=job.before, after=job.after, undo="", payload=job_script(job)),
            _assign("SECRETS", _encode(secrets)),
            _positional((job.id, unit_name(job.id), *job.state)),
            script_text("start-job"),
        )
    )


def follow_script(job: str, offset: int) -> str:
    """Returns the script that prints a job's output from an offset on, and its end."""
    return script_text("prelude") + _positional((job, unit_name(job), str(offset))) + script_text("follow-job")


def secret_script(script: str, arguments: tuple[str, ...]) -> str:
    """Returns the script that prints the output of another one as a secret."""
    inner = script_text("prelude") + script_text(script)
    return script_text("prelude") + _positional((inner, script, *arguments)) + script_text("secret")


def unit_name(job: str) -> str:
    """Returns the name of a job's unit, which is as unique as the job's id.

    Raises:
        Trouble: If the id can't name a folder and a unit.
    """
    if not _JOB_ID.fullmatch(job):
        raise Trouble(
            "name a job",
            "",
            f"'{one_line(job, 60)}' can't name a folder and a unit",
            "Job names are letters, digits, dots, dashes and underscores.",
            Kind.USAGE,
        )
    return f"homek8s-{job}"


def shell_pattern(pattern: str) -> str:
    """Returns a pattern for the scripts' ``case``, in which only ``*`` is special, as in `plan.standing.matches`."""
    return _PATTERN_CHARACTERS.sub(r"\\\g<0>", pattern)


def _variables(before: str, after: str, undo: str, payload: str) -> str:
    return "".join(
        (
            _assign("BEFORE", shell_pattern(before)),
            _assign("AFTER", shell_pattern(after)),
            _assign("UNDO", undo),
            _assign("PAYLOAD", _encode(payload)),
        )
    )


def _assign(name: str, value: str) -> str:
    # a variable that came with the login's environment would pass the value on to every child's environment
    return f"unset {name}\n{name}={quote(value)}\n"


def _positional(words: Sequence[str]) -> str:
    return " ".join(("set --", *map(quote, words))) + "\n"


def _encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


# Reading


def read_answers(where: str, questions: Sequence[Question], reply: Reply) -> Answers:
    """Reads the reply to `ask_script`.

    Args:
        where: The machine, for errors.
        questions: What was asked.
        reply: What came back.

    Raises:
        Trouble: Unless there is exactly one whole answer to each question, and nothing else.
    """
    tried = "read its answers"
    answers: dict[str, Answer] = {}
    lines = _lines(where, tried, reply)
    for line in lines:
        found = _ANSWER.fullmatch(line)
        if not found:
            raise _noise(where, tried, line)
        if len(answers) == len(questions) or found[1] != str(len(answers)):
            raise _noise(where, tried, line)
        answers[questions[len(answers)].name] = Answer(
            int(found[2]),
            _decode(where, tried, found[3]).decode("utf-8", "replace"),
            _decode(where, tried, found[4]).decode("utf-8", "replace"),
        )
    if reply.status:
        raise _failed(where, tried, reply)
    if len(answers) != len(questions):
        raise Trouble(
            tried, where, f"only {len(answers)} of {len(questions)} answers came", "Try again.", Kind.UNREACHABLE
        )
    return answers


def parse_states(answer: Answer) -> list[tuple[str, str]]:
    """Reads the answer to `state_question`.

    Returns:
        The state of each resource and the extra text about it, in the order in which they were asked for.

    Raises:
        Trouble: If the script failed or its output is not whole.
    """
    tried = "read states"
    if answer.status:
        words = (
            "it took too long"
            if answer.status == 124
            else one_line(answer.errors) or f"the script ended with status {answer.status}"
        )
        raise Trouble(tried, "", words, "Try again; if it stays so, look at the machine.")
    states: list[tuple[str, str]] = []
    for line in answer.output.splitlines():
        state, tab, extra = line.rpartition("\t")
        if not tab or not extra.endswith((".", ";")):
            raise Trouble(tried, "", "a line of the answer is not whole", "Try again.")
        plain = extra.endswith(";")
        states.append((state, extra[:-1] if plain else _decode("", tried, extra[:-1]).decode("utf-8", "replace")))
    return states


def read_outcome(where: str, tried: str, reply: Reply) -> Outcome:
    """Reads the reply to `change_script`.

    Args:
        where: The machine, for errors.
        tried: What was being done, for errors.
        reply: What came back, without `READY`.

    Raises:
        Trouble: If the change failed or did not say how it ended.
    """
    word, now, outputs = _one_report(where, tried, reply)
    if word not in _RESULTS:
        raise _noise(where, tried, word)
    return Outcome(_RESULTS[word], now, outputs)


def read_start(where: str, tried: str, reply: Reply) -> tuple[Started, str]:
    """Reads the reply to `start_script`: what was done, and the resource's state.

    Raises:
        Trouble: If the job could not be started.
    """
    word, now, _ = _one_report(where, tried, reply)
    if word not in _STARTS:
        raise _noise(where, tried, word)
    return _STARTS[word], now


def read_secret(where: str, tried: str, reply: Reply) -> Secret:
    """Reads the reply to `secret_script`.

    Raises:
        Trouble: If the script failed; what it printed is never part of the error.
    """
    if reply.status:
        raise _failed(where, tried, reply)
    found = _SECRET.fullmatch(reply.output.decode("ascii", "replace"))
    if not found:
        raise Trouble(tried, where, "the answer is not whole", "Try again.", Kind.UNREACHABLE)
    try:
        return Secret(_decode(where, tried, found[1]).decode("utf-8"))
    except UnicodeDecodeError:
        raise Trouble(tried, where, "it is no text", "Look at the file on the machine.") from None


def read_progress(where: str, tried: str, line: bytes) -> bytes | Ended | None:
    """Reads one line of `follow_script`: a piece of output, the end, or nothing new.

    Raises:
        Trouble: If it is none of these.
    """
    text = line.decode("ascii", "replace")
    if text == _KEEPALIVE:
        return None
    ended = _END.fullmatch(text)
    if ended:
        return Ended(None if ended[1] == "lost" else int(ended[1]))
    found = _OUTPUT.fullmatch(text)
    if not found:
        raise _noise(where, tried, text)
    return _decode(where, tried, found[1])


def check_end(where: str, tried: str, reply: Reply) -> None:
    """Checks that an exchange ended well.

    Raises:
        Trouble: If it did not.
    """
    if reply.status:
        raise _failed(where, tried, reply)


def _one_report(where: str, tried: str, reply: Reply) -> tuple[str, str, dict[str, str]]:
    if reply.status:
        raise _failed(where, tried, reply)
    lines = _lines(where, tried, reply)
    found = _CHANGED.fullmatch("".join(lines))
    if not found:
        if lines:
            raise _noise(where, tried, lines[0])
        raise Trouble(
            tried,
            where,
            "it did not say how it ended",
            "Look again: the next plan shows what became of it.",
            Kind.UNREACHABLE,
        )
    now = _decode(where, tried, found[2]).decode("utf-8", "replace")
    outputs: dict[str, str] = {}
    for line in _decode(where, tried, found[3]).decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            outputs[name] = value
    return found[1], now, outputs


def _lines(where: str, tried: str, reply: Reply) -> list[str]:
    text = reply.output.decode("ascii", "replace")
    lines = text.split("\n")
    if lines.pop():
        # the last line has no end: the reply was cut off, or it is no line of ours
        if reply.status:
            raise _failed(where, tried, reply)
        raise Trouble(tried, where, "the answer is not whole", "Try again.", Kind.UNREACHABLE)
    return [f"{line}\n" for line in lines]


def _decode(where: str, tried: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # of bad base64, and of letters beyond ASCII
        raise Trouble(tried, where, "the answer is garbled", "Try again.", Kind.UNREACHABLE) from None


def _noise(where: str, tried: str, line: str) -> Trouble:
    return Trouble(
        tried,
        where,
        f"the machine printed '{one_line(line, 120)}', which is no answer of ours",
        "If that comes from the login's own start-up files (such as .bashrc), make them silent where no terminal is attached.",
    )


def _failed(where: str, tried: str, reply: Reply) -> Trouble:
    words = clean(reply.errors, 2000).strip()
    if reply.status == -1 or reply.status > 128:
        # by a signal: the machine goes down, or somebody ended the session
        return Trouble(
            tried,
            where,
            words or "the machine ended the exchange in the middle of it",
            "Look again: it may or may not have happened.",
            Kind.UNREACHABLE,
        )
    if reply.status == NOT_WHOLE and not words:
        return Trouble(
            tried, where, "the script did not arrive whole, so nothing was run", "Try again.", Kind.UNREACHABLE
        )
    if not words:
        words = one_line(reply.output.decode("utf-8", "replace"), 200)
    return Trouble(
        tried,
        where,
        words or f"it ended with status {reply.status} and said nothing",
        "Mend the cause; then try again.",
    )
