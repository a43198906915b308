"""Composing what one exchange with a machine says, and reading what comes back. Pure: no connection here."""

from __future__ import annotations

import base64
import binascii
import functools
import re
import shlex
from collections.abc import Sequence
from importlib import resources

from homek8s_tui.base.safe_text import clean
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.hosts.model import Answer, Change, Job, Outcome, Question, Started

LARGEST_REPLY = 16 << 20
"""The most bytes of an answer that are read."""

WRAPPER = (
    'while IFS= read -r l; do [ "$l" = "$1" ] && break; done; '
    'IFS= read -r n || exit 70; s=$(head -c "$n"; echo x) || exit 70; eval "${s%x}"'
)
"""What a machine runs for each exchange; everything else comes by standard input, so nothing of it is in an argument.

It skips lines up to a nonce, because a sudo that wanted no password leaves the password line unread, and a shell
would run it. Then it reads the script by its length; what follows stays unread for the script itself.
"""


@functools.cache
def script(name: str) -> str:
    """Returns the text of a script in ``hosts/scripts``."""
    return resources.files("homek8s_tui.hosts").joinpath("scripts", f"{name}.sh").read_text()


def envelope(nonce: str, text: str, password: str | None) -> bytes:
    """Returns what goes to the wrapper's standard input."""
    body = text.encode()
    head = "" if password is None else f"{password}\n"
    return f"{head}{nonce}\n{len(body)}\n".encode() + body


def state_question(kind: str, resources_: Sequence[tuple[str, ...]]) -> Question:
    """Returns the question for the states of several resources of one kind.

    Args:
        kind: The state script's name, without ``state-``.
        resources_: The arguments of each resource's state.
    """
    arguments = tuple(word for arguments in resources_ for word in (str(len(arguments)), *arguments))
    return Question(f"state:{kind}", f"state-{kind}", arguments, seconds=60)


def parse_states(answer: Answer) -> list[tuple[str, str]]:
    """Returns the states and their extra texts, in the order asked.

    Raises:
        Trouble: If the answer is cut off or garbled.
    """
    if answer.status != 0:
        raise Trouble("read a state", "", clean(answer.errors) or f"status {answer.status}", "Try again.")
    found = []
    for line in answer.output.splitlines():
        state, _, extra = line.partition("\t")
        found.append((state, _decoded(extra)))
    return found


def ask_text(questions: Sequence[Question]) -> str:
    """Returns the script of an exchange that asks questions."""
    parts = [script("prelude"), script("ask")]
    for question in questions:
        text = script("prelude") + script(question.script)
        if question.script.startswith("state-"):
            text += script("states")
        words = ("ask", question.name, str(question.seconds), text, *question.arguments)
        parts.append(" ".join(map(shlex.quote, words)) + "\n")
    return "".join(parts) + "printf 'Z\\n'\n"


def parse_answers(reply: bytes, questions: Sequence[Question], host: str) -> dict[str, Answer]:
    """Returns the answers by question.

    Raises:
        Trouble: If the reply is cut off or garbled.
    """
    answers: dict[str, Answer] = {}
    complete = False
    for line in reply.split(b"\n"):
        words = line.decode("utf-8", "replace").split(" ")
        if words[0] == "A" and len(words) == 5 and words[2].isdigit():
            answers[words[1]] = Answer(int(words[2]), _decoded(words[3]), _decoded(words[4]))
        complete = complete or words == ["Z"]
    missing = [question.name for question in questions if question.name not in answers]
    if missing or not complete:
        raise Trouble(
            "ask the machine",
            host,
            f"its reply was cut off before {', '.join(missing) or 'its end'}",
            "Try again; if it stays so, look for something that prints text at each login there.",
        )
    return answers


def change_text(change: Change, size: int | None = None) -> str:
    """Returns the script of an exchange that changes a resource.

    Args:
        change: The change.
        size: How many bytes follow the script, if any do.
    """
    arguments = (*change.state, *change.arguments, *(() if size is None else (str(size),)))
    return "".join(
        (
            script("prelude"),
            script(f"state-{change.kind}"),
            script("compare"),
            "" if change.kind != "artefact" else script("artefact"),
            _assign(BEFORE=change.before, AFTER=change.after, UNDO=change.undo, PAYLOAD=_encoded(change.payload)),
            _set(arguments),
            script(f"change-{change.kind}"),
        )
    )


def parse_outcome(reply: bytes, status: int, errors: str, what: str, host: str) -> Outcome:
    """Returns what became of a change.

    Raises:
        Trouble: If it failed; the machine's own words are in it.
    """
    found = _result(reply)
    if found is None or status != 0:
        raise Trouble(
            f"change {what}",
            host,
            clean(errors).strip() or f"it ended with status {status} and said nothing",
            "Mend that; then go on with 'homek8s resume'.",
        )
    result, now, outputs = found
    if result not in ("changed", "already", "refused"):
        raise Trouble(f"change {what}", host, f"it answered '{clean(result)}'", "Try again.")
    return Outcome(
        "changed" if result == "changed" else "already" if result == "already" else "refused",
        now,
        dict(line.split("=", 1) for line in outputs.splitlines() if "=" in line),
    )


def unit_name(job: str) -> str:
    """Returns the transient unit of a job."""
    return "homek8s-" + re.sub(r"[^A-Za-z0-9_.-]", "-", job)


def start_text(job: Job) -> str:
    """Returns the script of an exchange that starts a job."""
    body = "".join(
        (
            script("prelude"),
            script("artefact") if job.script == "download" else "",
            _set(job.arguments),
            script(f"job-{job.script}"),
        )
    )
    return "".join(
        (
            script("prelude"),
            script(f"state-{job.state_kind}"),
            script("compare"),
            _assign(
                BEFORE=job.before,
                AFTER=job.after,
                UNDO="",
                PAYLOAD=_encoded(body),
                SECRETS=_encoded("".join(f"{line}\n" for line in job.secrets)),
            ),
            _set((job.id, unit_name(job.id), *job.state)),
            script("start-job"),
        )
    )


def parse_started(reply: bytes, status: int, errors: str, what: str, host: str) -> tuple[Started, str]:
    """Returns what became of a job's start, and the resource's state.

    Raises:
        Trouble: If it could not be started.
    """
    found = _result(reply)
    words: dict[str, Started] = {
        "started": "started",
        "attached": "attached",
        "already": "already",
        "refused": "refused",
    }
    if found is None or status != 0 or found[0] not in words:
        raise Trouble(
            f"start {what}",
            host,
            clean(errors).strip() or f"it ended with status {status} and said nothing",
            "Mend that; then go on with 'homek8s resume'.",
        )
    return words[found[0]], found[1]


def follow_text(job: str, offset: int) -> str:
    """Returns the script of an exchange that follows a job."""
    return script("prelude") + _set((job, unit_name(job), str(offset))) + script("follow-job")


def plain_text(name: str, arguments: Sequence[str]) -> str:
    """Returns the script of an exchange that runs one script by itself."""
    return script("prelude") + _set(arguments) + script(name)


def decode_chunk(word: str) -> bytes:
    """Returns the bytes of a piece of output.

    Raises:
        Trouble: If it is garbled.
    """
    try:
        return base64.b64decode(word.removesuffix("."), validate=True)
    except binascii.Error:
        raise Trouble("follow the job", "", "a piece of its output came garbled", "Try again.") from None


def _result(reply: bytes) -> tuple[str, str, str] | None:
    for line in reply.split(b"\n"):
        words = line.decode("utf-8", "replace").split(" ")
        if words[0] == "C" and len(words) == 4:
            return words[1], _decoded(words[2]), _decoded(words[3])
    return None


def _decoded(word: str) -> str:
    """Decodes base64 that ends in a dot, by which a cut-off one is told."""
    try:
        # without its dot it is no base64 either: a stray character makes it invalid
        text = word[:-1] if word.endswith(".") else "!"
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        raise Trouble("read the reply", "", "it was cut off or garbled", "Try again.") from None


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _assign(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _set(arguments: Sequence[str]) -> str:
    # the leading x keeps `set --` from listing variables when there are no arguments
    return f"set -- x {' '.join(map(shlex.quote, arguments))}\nshift\n"
