"""Remote text is hostile."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from homek8s_tui.base.safe_text import clean, one_line


@given(st.text())
def test_nothing_that_commands_a_terminal_gets_through(text: str) -> None:
    for shown in (clean(text), one_line(text)):
        assert all(
            character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"} for character in shown
        )
    assert "\n" not in one_line(text)


def test_escape_sequences_go_whole() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07link\x1b]8;;\x07") == "red link"
    assert clean("\x1b]52;c;ZXZpbA==\x07copied") == "copied"
    assert clean("a\u202eb\u200bc") == "a\ufffdb\ufffdc"


def test_what_is_cut_is_said() -> None:
    assert clean("x" * 5000, 10) == "x" * 10 + " [4990 more characters]"
