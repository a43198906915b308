"""Three themes: dark, light, and one of high contrast."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="dark",
    primary="#7aa2f7",
    secondary="#9aa5ce",
    accent="#7dcfff",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8d3f5",
    background="#16181f",
    surface="#1d2029",
    panel="#262a36",
    dark=True,
    variables={"dim": "#8890a8", "border-blurred": "#3b4261"},
)
LIGHT = Theme(
    name="light",
    primary="#2f5fb3",
    secondary="#5a6a8a",
    accent="#00687d",
    success="#2f6b1f",
    warning="#8a5300",
    error="#b3203b",
    foreground="#20242e",
    background="#f7f7f4",
    surface="#eeeeea",
    panel="#e2e3e0",
    dark=False,
    variables={"dim": "#646b78", "border-blurred": "#b8bcc4"},
)
CONTRAST = Theme(
    name="contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#00ffff",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    dark=True,
    text_alpha=1.0,
    variables={"dim": "#d0d0d0", "border-blurred": "#ffffff"},
)
THEMES = (DARK, LIGHT, CONTRAST)
"""Every theme, in the order that the key goes through them."""
