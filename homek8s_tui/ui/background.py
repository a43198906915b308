"""Work that may take its time, on threads of our own.

Textual's thread workers share asyncio's default executor: with 2 cores six of twelve blocking ones start, and quitting
waits for them. These threads are daemons: nobody waits for them, and they reach the screen by messages alone.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

from textual.message import Message

from homek8s_tui.base.troubles import Trouble

T = TypeVar("T")


class Delivered(Message):
    """Something for the screen's own thread to do."""

    def __init__(self, deliver: Callable[[], None]) -> None:
        super().__init__()
        self.deliver = deliver


class Background:
    """Starts threads and brings back what they found.

    Args:
        post: Posts a message to the app; may be called from any thread.
        crashed: Takes the traceback of an error of the program's own, on the screen's thread.
    """

    def __init__(self, post: Callable[[Message], object], crashed: Callable[[str], None]) -> None:
        self._post = post
        self._crashed = crashed
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """How many pieces of work are under way."""
        return self._busy

    def start(
        self,
        name: str,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[Trouble], None],
    ) -> None:
        """Starts a piece of work; call it on the screen's thread.

        Args:
            name: The thread's name.
            work: Does it, on a thread of its own.
            then: Takes what came of it, on the screen's thread.
            failed: Takes the trouble, on the screen's thread.
        """
        self._busy += 1
        self._idle.clear()

        def run() -> None:
            try:
                result = work()
            except Trouble as trouble:
                failure = trouble
                self.deliver(lambda: self._ended(lambda: failed(failure)))
            except Exception:  # noqa: BLE001 - a thread's error must not vanish with the thread
                report = traceback.format_exc()
                self.deliver(lambda: self._ended(lambda: self._crashed(report)))
            else:
                self.deliver(lambda: self._ended(lambda: then(result)))

        threading.Thread(target=run, name=name, daemon=True).start()

    def deliver(self, what: Callable[[], None]) -> None:
        """Has something done on the screen's thread; may be called from any thread."""
        self._post(Delivered(what))

    async def idle(self) -> None:
        """Returns when no work is under way: what tests wait for."""
        await self._idle.wait()

    def _ended(self, deliver: Callable[[], None]) -> None:
        # what is delivered may start more work: only after that can it be quiet here
        try:
            deliver()
        finally:
            self._busy -= 1
            if self._busy == 0:
                self._idle.set()
