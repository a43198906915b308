"""Where a chain stands: the one rule of drift, resume and idempotence."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from homek8s_tui.plan.model import Step
from homek8s_tui.plan.operations import File
from homek8s_tui.plan.standing import Standing, matches, standing


def write(number: int, text: str, before: str) -> Step:
    """A step that writes a file."""
    return Step(
        number=number,
        stage="t/t",
        operation=File(host="pi4", path="/etc/x", content=(text,)),
        before=before,
        because="",
    )


def state(text: str) -> str:
    """The state that writing a text ends in."""
    after = File(host="pi4", path="/etc/x", content=(text,)).wanted({})
    assert after is not None
    return after


CHAIN = (write(1, "a\n", "absent"), write(2, "b\n", state("a\n")), write(3, "c\n", state("b\n")))


def test_a_chain_is_judged_from_its_end() -> None:
    # judged step by step, a finished chain would read as drift at its first step
    assert [standing(CHAIN, state("c\n"), {}, position) for position in range(3)] == [Standing.AFTER] * 3


def test_a_chain_in_the_middle() -> None:
    assert [standing(CHAIN, state("a\n"), {}, position) for position in range(3)] == [
        Standing.AFTER,
        Standing.BEFORE,
        Standing.ELSEWHERE,
    ]


def test_neither_before_nor_after_is_refused() -> None:
    assert standing(CHAIN, state("somebody's\n"), {}, 0) is Standing.ELSEWHERE


words = st.lists(
    st.sampled_from(["file", "600", "root", "absent", "*", "a=installed", "<secret: pi4:/x>", "0a1b"]), max_size=5
).map(" ".join)


@given(
    states=st.lists(
        words.map(lambda text: text.replace("*", "?")).map(lambda text: text.replace("?", "")), min_size=1, max_size=20
    ),
    pattern=words,
)
def test_the_machines_judge_as_we_do(states: list[str], pattern: str) -> None:
    script = "p=$1; shift; for s; do case $s in $p) echo yes ;; *) echo no ;; esac; done"
    told = subprocess.run(
        ["sh", "-c", script, "sh", pattern, *states], capture_output=True, text=True, check=True
    ).stdout.split()
    assert told == ["yes" if matches(state, pattern) else "no" for state in states]
