"""Text that came from a machine, made harmless for a terminal, a file or a clipboard."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC strings
    r"|\x1b[ -/]*[0-~]?"  # what is left of two-byte escapes
    r"|[\x80-\x9f]"  # the same controls as single bytes
)
_MEANINGFUL = frozenset("\n\t")


def clean(text: str, limit: int = 4000) -> str:
    """Returns text without escape sequences, control, direction-changing and invisible characters.

    Line ends and tabs stay; a carriage return ends a line, as progress bars mean it. Other offenders become
    U+FFFD where dropping them could change what a reader believes to see.

    Args:
        text: Anything that came from a machine.
        limit: The most characters to return; what is cut is said.
    """
    cut = len(text) - limit
    if cut > 0:
        text = text[:limit]
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(character if _harmless(character) else "\ufffd" for character in text)
    return f"{kept} [{cut} more characters]" if cut > 0 else kept


def one_line(text: str, limit: int = 300) -> str:
    """Returns the cleaned text on one line, its white space folded."""
    return " ".join(clean(text, limit * 4).split())[:limit]


def _harmless(character: str) -> bool:
    if character in _MEANINGFUL:
        return True
    # Cc: controls; Cf: bidi overrides, zero-width characters, tags; Cs/Co/Cn: surrogates, private use, unassigned
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
