"""The shape of the one clock; wiring builds a real one, tests and the rehearsal another."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> float:
        """Returns the seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Returns seconds that never go back, from an arbitrary start."""
        ...

    def wait(self, seconds: float) -> None:
        """Lets that much time pass."""
        ...
