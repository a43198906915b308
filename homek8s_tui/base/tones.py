"""Text with a meaning: what a view hands to a screen, which knows the colours."""

from __future__ import annotations

from typing import Literal

Tone = Literal["plain", "strong", "dim", "accent", "good", "warn", "bad"]
"""What a piece of text means. A colour may be lost (NO_COLOR, eyes), so words or signs always say it, too."""
Piece = tuple[str, Tone]
"""A piece of text in one tone."""
Line = tuple[Piece, ...]
"""A line of pieces."""


def text(line: Line) -> str:
    """Returns a line without its tones."""
    return "".join(piece for piece, _ in line)


def elapsed(seconds: float) -> str:
    """Returns a time span as people say it: ``0:07``, ``12:34``, ``3 h``, ``5 d``."""
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h" if whole < 172_800 else f"{whole // 86_400} d"


def age(seconds: float) -> str:
    """Returns how long ago something was."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s ago"
    return f"{whole // 60} min ago" if whole < 7200 else f"{elapsed(seconds)} ago"
