"""Where a chain of steps stands: drift, resume and idempotence are one rule."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

from homek8s_tui.plan.model import Step
from homek8s_tui.plan.values import Outputs


class Standing(enum.Enum):
    """What to do with a step, judged at the moment it would run."""

    AFTER = "already so"
    """Record it as done."""
    BEFORE = "as planned"
    """Run it."""
    ELSEWHERE = "neither"
    """Refuse it and show the difference."""


def matches(state: str, pattern: str) -> bool:
    """Tells whether a state fits a pattern in which ``*`` stands for anything and all else for itself.

    The machines' scripts judge the same by ``case``, so only ``*`` may be special: states and patterns hold no
    other character that means something to either.
    """
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), state, re.DOTALL) is not None


def standing(chain: Sequence[Step], now: str, outputs: Outputs, position: int = 0) -> Standing:
    """Judges one step of a chain: the steps of a plan that change the same resource, in order.

    A chain is judged from its end: in a finished chain a -> b -> c, the state c would read as drift at the
    first step, were each step judged alone.

    Args:
        chain: The steps on the resource, in order.
        now: The resource's state.
        outputs: The outputs so far.
        position: Which step of the chain is about to run.
    """
    for later in reversed(range(position, len(chain))):
        after = chain[later].operation.wanted(outputs)
        if after is not None and matches(now, after):
            return Standing.AFTER
    return Standing.BEFORE if matches(now, chain[position].before) else Standing.ELSEWHERE
