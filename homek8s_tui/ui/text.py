"""Text for widgets. Nothing here reads markup, so that nothing a machine said can style, link or run anything."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from homek8s_tui.base.safe_text import clean
from homek8s_tui.base.tones import Line, Tone

STYLES: dict[Tone, str] = {
    "plain": "",
    "strong": "bold",
    "dim": "$dim",
    "accent": "$text-accent bold",
    "good": "$text-success",
    "warn": "$text-warning",
    "bad": "$text-error bold",
}
"""The style of each tone; variables are the theme's."""


def toned(lines: Iterable[Line]) -> Content:
    """Returns lines as content, each piece cleaned and in its tone."""
    return Content("\n").join(
        Content.assemble(*((clean(piece), STYLES[tone]) for piece, tone in line)) for line in lines
    )


def words(text: str, tone: Tone = "plain") -> Content:
    """Returns a text as content, cleaned."""
    return Content.styled(clean(text), STYLES[tone])
