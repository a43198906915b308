"""A value that had to be observed, and what is there instead when it could not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Fresh(Generic[T_co]):
    """Observed just now."""

    value: T_co
    """What was observed."""
    at: float
    """When, in seconds since the epoch."""


@dataclass(frozen=True)
class Stale(Generic[T_co]):
    """Observed earlier; the newest attempt failed."""

    value: T_co
    """What was observed."""
    at: float
    """When, in seconds since the epoch."""
    why: str
    """Why it could not be observed again."""


@dataclass(frozen=True)
class Unreachable:
    """Could not be observed."""

    hop: str
    """The first hop that did not answer."""
    why: str
    """What was tried and what came back, as a sentence."""
    exit_code: int
    """The exit code of the trouble behind it."""


Known = Fresh[T_co] | Stale[T_co] | Unreachable
"""An observed value, an aged one, or the reason why there is none."""
