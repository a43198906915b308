"""What only the operator knows, asked for by threads and answered in dialogs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.known_hosts import HostKeyQuestion


@dataclass
class Waiting:
    """A thread that waits for an answer."""

    subject: str | HostKeyQuestion
    """A secret's prompt, or a host key to be judged."""
    again: bool = False
    """Whether the answer before was wrong."""
    answer: Secret | bool | None = None
    """What was answered; None for nothing."""
    answered: threading.Event = field(default_factory=threading.Event)
    """Set with the answer."""

    def give(self, answer: Secret | bool | None) -> None:
        """Answers, and lets the thread go on."""
        self.answer = answer
        self.answered.set()


class Questions:
    """Secrets and host keys by dialog; a `SecretSource`. What was given on the command line comes first.

    Args:
        given: Where secrets from the command line come from; says by its troubles that it has none.
        approved: Fingerprints from the command line, by machine.
    """

    def __init__(self, given: SecretSource, approved: Mapping[str, str]) -> None:
        self._given = given
        self._approved = approved
        self._guard = threading.RLock()
        self._kept: dict[str, Secret] = {}
        self._wrong: set[str] = set()
        self._refused: set[str] = set()
        self._turns: dict[str, threading.Lock] = {}
        self._closed = False
        self._waiting: list[Waiting] = []
        self.ask: Callable[[Waiting], None] | None = None
        """Shows a dialog for a waiting thread; called from that thread. None while there is no screen."""

    def get(self, name: str, prompt: str) -> Secret:
        """Returns a secret; see `homek8s_tui.base.secrets.SecretSource.get`."""
        with self._guard:
            turn = self._turns.setdefault(name, threading.Lock())
        # machines asked side by side may need the same one: it is asked for once
        with turn:
            with self._guard:
                if name in self._kept:
                    return self._kept[name]
                again = name in self._wrong
                if name in self._refused:
                    raise _not_given(prompt)
            if not again:
                try:
                    return self._keep(name, self._given.get(name, prompt))
                except Trouble:
                    if self.ask is None:
                        raise
            answer = self._wait(Waiting(prompt, again))
            if not isinstance(answer, Secret):
                with self._guard:
                    self._refused.add(name)
                raise _not_given(prompt)
            return self._keep(name, answer)

    def reject(self, name: str) -> bool:
        """Forgets a wrong one; see `homek8s_tui.base.secrets.SecretSource.reject`."""
        with self._guard:
            self._kept.pop(name, None)
            self._wrong.add(name)
        self._given.reject(name)
        return True

    def approve(self, question: HostKeyQuestion) -> bool:
        """Has a host key judged that was never seen."""
        if question.name in self._approved:
            return self._approved[question.name] == question.fingerprint
        with self._guard:
            if question.fingerprint in self._refused:
                return False
        approved = self._wait(Waiting(question)) is True
        if not approved:
            with self._guard:
                self._refused.add(question.fingerprint)
        return approved

    def ask_again(self) -> None:
        """Forgets what was not answered: the operator began something anew."""
        with self._guard:
            self._refused.clear()

    def secrets(self) -> tuple[Secret, ...]:
        """Returns every secret in here, to be kept out of reports."""
        with self._guard:
            return tuple(self._kept.values())

    def close(self) -> None:
        """Lets every waiting thread go, without an answer."""
        with self._guard:
            self._closed = True
            for waiting in self._waiting:
                waiting.give(None)

    def _keep(self, name: str, secret: Secret) -> Secret:
        with self._guard:
            self._kept[name] = secret
            self._wrong.discard(name)
        return secret

    def _wait(self, waiting: Waiting) -> Secret | bool | None:
        with self._guard:
            if self._closed or self.ask is None:
                return None
            self._waiting.append(waiting)
        self.ask(waiting)
        waiting.answered.wait()
        with self._guard:
            self._waiting.remove(waiting)
        return waiting.answer


def _not_given(prompt: str) -> Trouble:
    return Trouble(f"get the {prompt}", "", "it was not given", "Look or plan again, and type it.", Kind.SECRET)
