"""Work on threads of our own: whatever comes of it is delivered on the screen's thread."""

from __future__ import annotations

import asyncio
import threading

import pytest
from textual.message import Message

from homek8s_tui.base.troubles import Trouble
from homek8s_tui.ui.background import Background, Delivered

SOON = 10


class Screen:
    """What a screen is to its background: a loop, and what was delivered on which thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.got: list[object] = []
        self.errors: list[ZeroDivisionError] = []
        self.background = Background(self._post, self.take)

    def take(self, what: object) -> None:
        assert threading.get_ident() == self.thread
        self.got.append(what)

    def _post(self, message: Message) -> None:
        assert isinstance(message, Delivered)
        self.loop.call_soon_threadsafe(self._deliver, message)

    def _deliver(self, message: Delivered) -> None:
        try:
            message.deliver()
        except ZeroDivisionError as error:
            self.errors.append(error)

    async def idle(self) -> None:
        await asyncio.wait_for(self.background.idle(), SOON)


async def test_a_result_is_delivered_on_the_screen_s_thread() -> None:
    screen = Screen()
    screen.background.start("work", threading.get_ident, screen.take, screen.take)
    assert screen.background.busy == 1
    await screen.idle()
    (worker,) = screen.got
    assert worker != screen.thread
    assert screen.background.busy == 0


async def test_a_trouble_is_delivered_to_whoever_takes_troubles() -> None:
    screen = Screen()
    trouble = Trouble("look", "pi4", "nobody answered", "Look at it.")

    def fails() -> None:
        raise trouble

    screen.background.start("work", fails, lambda _: pytest.fail("it did not go well"), screen.take)
    await screen.idle()
    assert screen.got == [trouble]


async def test_an_error_of_our_own_is_delivered_with_its_traceback() -> None:
    screen = Screen()

    def fails() -> None:
        raise ZeroDivisionError("an error of our own")

    screen.background.start("work", fails, screen.take, screen.take)
    await screen.idle()
    (report,) = screen.got
    assert "ZeroDivisionError: an error of our own" in str(report) and "in fails" in str(report)


async def test_anything_can_be_delivered_from_any_thread() -> None:
    screen = Screen()

    def work() -> str:
        screen.background.deliver(lambda: screen.take("on the way"))
        return "at the end"

    screen.background.start("work", work, screen.take, screen.take)
    await screen.idle()
    assert screen.got == ["on the way", "at the end"]


async def test_it_is_quiet_only_when_what_followed_has_ended_too() -> None:
    screen = Screen()
    held = threading.Event()

    def second(found: str) -> None:
        screen.take(found)
        screen.background.start("second", lambda: held.wait(SOON), screen.take, screen.take)

    screen.background.start("first", lambda: "first", second, screen.take)
    idle = asyncio.ensure_future(screen.background.idle())
    while screen.got != ["first"]:
        await asyncio.sleep(0)
    assert screen.background.busy == 1 and not idle.done()
    held.set()
    await asyncio.wait_for(idle, SOON)
    assert screen.got == ["first", True]


async def test_many_go_on_side_by_side() -> None:
    screen = Screen()
    together = threading.Barrier(12)
    for number in range(12):
        screen.background.start(f"work-{number}", lambda: together.wait(SOON), screen.take, screen.take)
    assert screen.background.busy == 12
    await screen.idle()
    assert sorted(screen.got) == list(range(12))  # type: ignore[type-var]  # each one's place at the barrier


async def test_an_error_of_whoever_takes_the_result_does_not_keep_it_busy() -> None:
    screen = Screen()

    def fails(_result: object) -> None:
        raise ZeroDivisionError

    screen.background.start("work", lambda: 1, fails, screen.take)
    await screen.idle()
    assert screen.background.busy == 0
    assert len(screen.errors) == 1
