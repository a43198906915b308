"""What the benchmarks found, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEAD = ("what", "ours", "peer", "ratio", "limit", "verdict")


class BenchError(RuntimeError):
    """A measurement would mean nothing, and why."""


@dataclass(frozen=True)
class Row:
    """One comparison: with a peer the limit is a ratio, alone it is in seconds."""

    what: str
    """What was measured."""
    ours: float
    """How long we took, in seconds."""
    limit: float
    """The most that `measured` may be."""
    peer: str = ""
    """Whom we are compared with, with its version; empty where there is nobody."""
    theirs: float = 0.0
    """How long it took, in seconds."""

    @property
    def measured(self) -> float:
        """What the limit is about."""
        return self.ours / self.theirs if self.peer else self.ours

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        """Returns the row as the table shows it. The ratio has a digit more than its limit, so that a miss shows."""
        peer = (f"{self.theirs:.2f} s  {self.peer}", f"{self.measured:.3f}") if self.peer else ("-", "-")
        limit = f"<= {self.limit:g}" + ("" if self.peer else " s")
        return self.what, f"{self.ours:.2f} s", *peer, limit, "holds" if self.holds else "MISSED"


def table(rows: Iterable[Row]) -> str:
    """Returns the rows as aligned text, under a head."""
    return aligned([HEAD, *(row.cells() for row in rows)])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
