"""Questions that threads have for the operator: each asked once, answered once, and nobody left waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.known_hosts import HostKeyQuestion
from homek8s_tui.ui.questions import Questions, Waiting

SOON = 10
KEY = HostKeyQuestion("pi4", "192.168.1.4", 22, "ssh-ed25519", "SHA256:right")


class Given:
    """What the command line gave."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets
        self.asked: list[str] = []
        self.rejected: list[str] = []

    def get(self, name: str, prompt: str) -> Secret:
        self.asked.append(name)
        if name not in self.secrets:
            raise Trouble(f"get the {prompt}", "", "nobody can be asked here", "Give it.", Kind.SECRET)
        return Secret(self.secrets[name])

    def reject(self, name: str) -> bool:
        self.rejected.append(name)
        return False


class Operator:
    """Somebody at the screen: the questions that are shown, in order."""

    def __init__(self, questions: Questions) -> None:
        self._shown: queue.Queue[Waiting] = queue.Queue()
        questions.ask = self._shown.put

    def sees(self) -> Waiting:
        return self._shown.get(timeout=SOON)

    def sees_nothing_more(self) -> bool:
        return self._shown.empty()


@contextmanager
def asking(*works: Callable[[], object]) -> Iterator[list[object]]:
    """Has threads ask; at the end they all have gone on, and their results are in the list."""
    results: list[object] = [None] * len(works)

    def run(index: int, work: Callable[[], object]) -> None:
        try:
            results[index] = work()
        except Trouble as trouble:
            results[index] = trouble

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()


def test_what_the_command_line_gave_is_taken_and_nobody_is_asked() -> None:
    given = Given(**{"sudo:pi4": "given"})
    questions = Questions(given, {})
    operator = Operator(questions)
    assert questions.get("sudo:pi4", "password").reveal() == "given"
    assert questions.get("sudo:pi4", "password").reveal() == "given"
    assert given.asked == ["sudo:pi4"]
    assert operator.sees_nothing_more()


def test_many_threads_that_need_the_same_one_ask_once() -> None:
    questions = Questions(Given(), {})
    operator = Operator(questions)
    with asking(*[lambda: questions.get("passphrase:key", "passphrase of the key").reveal()] * 8) as results:
        waiting = operator.sees()
        assert (waiting.subject, waiting.again) == ("passphrase of the key", False)
        waiting.give(Secret("typed"))
    assert results == ["typed"] * 8
    assert operator.sees_nothing_more()
    assert questions.secrets() == (Secret("typed"),)


def test_machines_that_need_different_ones_ask_side_by_side() -> None:
    questions = Questions(Given(), {})
    operator = Operator(questions)
    with asking(
        *(lambda name=name: questions.get(f"sudo:{name}", name).reveal() for name in ("pi4", "pi5"))
    ) as results:
        for waiting in (operator.sees(), operator.sees()):
            waiting.give(Secret(f"of {waiting.subject}"))
    assert results == ["of pi4", "of pi5"]


def test_a_wrong_one_is_asked_for_again_and_says_so() -> None:
    given = Given(**{"sudo:pi4": "wrong"})
    questions = Questions(given, {})
    operator = Operator(questions)
    assert questions.get("sudo:pi4", "password").reveal() == "wrong"
    assert questions.reject("sudo:pi4")
    assert given.rejected == ["sudo:pi4"] and questions.secrets() == ()
    with asking(lambda: questions.get("sudo:pi4", "password").reveal()) as results:
        waiting = operator.sees()
        assert waiting.again
        waiting.give(Secret("right"))
    assert results == ["right"]
    assert given.asked == ["sudo:pi4"], "a given one is never tried twice"
    assert questions.get("sudo:pi4", "password").reveal() == "right"


def test_no_answer_is_a_trouble_and_asks_again_once_the_operator_begins_something() -> None:
    questions = Questions(Given(), {})
    operator = Operator(questions)
    for answer in (None, Secret("typed")):
        with asking(lambda: questions.get("sudo:pi4", "password")) as results:
            operator.sees().give(answer)
        if answer is None:
            (trouble,) = results
            assert isinstance(trouble, Trouble) and trouble.kind is Kind.SECRET
            with pytest.raises(Trouble, match="not given"):
                questions.get("sudo:pi4", "password")
            assert operator.sees_nothing_more()
            questions.ask_again()
    assert results == [Secret("typed")]


def test_closing_frees_everybody_who_waits_and_whoever_comes_later() -> None:
    questions = Questions(Given(), {})
    operator = Operator(questions)
    names = ["sudo:pi4", "sudo:pi5", "sudo:pi4", "sudo:pi4"]
    works: list[Callable[[], object]] = [lambda name=name: questions.get(name, name) for name in names]
    with asking(*works, lambda: questions.approve(KEY)) as results:
        for _ in range(3):
            operator.sees()
        questions.close()
    assert results[-1] is False
    assert all(isinstance(result, Trouble) and result.kind is Kind.SECRET for result in results[:-1])
    with pytest.raises(Trouble, match="it was not given"):
        questions.get("login:pi9", "password")
    assert questions.approve(KEY) is False
    assert operator.sees_nothing_more()


def test_without_a_screen_the_command_line_s_trouble_stands() -> None:
    questions = Questions(Given(), {})
    with pytest.raises(Trouble, match="nobody can be asked here"):
        questions.get("sudo:pi4", "password")
    assert questions.approve(KEY) is False


@pytest.mark.parametrize(("fingerprint", "right"), [("SHA256:right", True), ("SHA256:other", False)])
def test_a_host_key_that_was_named_is_judged_by_its_fingerprint_and_not_asked_about(
    fingerprint: str, right: bool
) -> None:
    questions = Questions(Given(), {"pi4": fingerprint})
    operator = Operator(questions)
    assert questions.approve(KEY) is right
    assert operator.sees_nothing_more()


@pytest.mark.parametrize(("answer", "right"), [(True, True), (False, False), (None, False), (Secret("yes"), False)])
def test_a_host_key_is_approved_by_a_yes_and_by_nothing_else(answer: Secret | bool | None, right: bool) -> None:
    questions = Questions(Given(), {"pi5": "SHA256:right"})
    operator = Operator(questions)
    with asking(lambda: questions.approve(KEY)) as results:
        waiting = operator.sees()
        assert waiting.subject is KEY
        waiting.give(answer)
    assert results == [right]
