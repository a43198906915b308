"""Opening the console: its settings, and what is said where it can't be opened."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.cli import console as opening
from homek8s_tui.cli.app import main
from homek8s_tui.cli.console import console, settings
from homek8s_tui.ui.app import Settings
from homek8s_tui.ui.theme import THEMES

from ..rehearsed import rehearsed


def ended(*arguments: str) -> int:
    """Runs the program in this process and returns its exit code."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert settings(tmp_path / "none.toml") == Settings("dark", {})


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
def test_every_theme_can_be_chosen(tmp_path: Path, theme: str) -> None:
    path = tmp_path / "console.toml"
    path.write_text(f'theme = "{theme}"\n')
    assert settings(path).theme == theme


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'theme = "pink"', "there is no theme 'pink'"),
        (b'theme = "\\u001b[31m"', "there is no theme"),
        (b"theme = 1", "Expected `str`, got `int`"),
        (b'colour = "dark"', "unknown field `colour`"),
        (b'[keys]\n"home.dance" = "d"', "there is no action 'home.dance'"),
        (b'[keys]\n"home.look" = ""', "one of them is empty"),
        (b'[keys]\n"home.look" = "f5,,l"', "one of them is empty"),
        (b'[keys]\n"home.look" = 5', "Expected `str`"),
        (b'[keys]\n"home.look" = "2"', "'2' would be both home.look and console.setup"),
        (b"theme = ", "Invalid value"),
        (b"theme = '\xff'", "can't decode"),
        (b"a = " + b"[" * 100_000, "recursion"),
    ],
)
def test_what_can_t_be_used_is_a_sentence_that_names_the_file(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "console.toml"
    path.write_bytes(text)
    with pytest.raises(Trouble) as caught:
        settings(path)
    assert caught.value.kind is Kind.USAGE
    assert caught.value.where == str(path) and caught.value.do
    assert said in caught.value.came_back
    assert "\x1b" not in str(caught.value)


def test_a_file_that_can_t_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="Is a directory") as caught:
        settings(tmp_path)
    assert caught.value.kind is Kind.USAGE


def test_unknown_themes_and_actions_are_told_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "console.toml"
    path.write_text('theme = "pink"')
    with pytest.raises(Trouble, match="The themes are dark, light, contrast"):
        settings(path)
    path.write_text('[keys]\n"home.dance" = "d"')
    with pytest.raises(Trouble, match=r"home\.look"):
        settings(path)


async def test_keys_of_the_operator_s_own_reach_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "config" / "homek8s"
    folder.mkdir(parents=True)
    (folder / "console.toml").write_text('theme = "light"\n[keys]\n"home.look" = "f5,x"\n"setup.next" = "f10"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOMEK8S_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VISUAL", "code --wait")
    service, _ = rehearsed(tmp_path)
    opened = console(service, "home", None, False, "")
    assert opened.keys == {"home.look": "f5,x", "setup.next": "f10"}
    assert opened.editor == ("code", "--wait")
    screen = opening.home_screen()
    look = next(action for action in screen.ACTIONS if action.id == "home.look")
    async with opened.run_test(size=(80, 24)):
        assert opened.theme == "light"
        shown = opened.screen
        assert shown.key_of(look) == "f5,x"  # type: ignore[attr-defined]  # one of ours
        assert {"f5", "x"} <= set(shown.active_bindings) and "l" not in shown.active_bindings


# --- on the command line


def test_without_a_terminal_the_console_says_what_does_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended() == 64
    said = capsys.readouterr()
    assert "the console needs a terminal" in said.err and "homek8s --help" in said.err
    assert said.out == ""


def test_a_headless_demo_is_printed_even_where_there_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("homek8s_tui.cli.app._terminal", lambda: True)
    assert ended("demo", "--headless") == 0
    shown = capsys.readouterr().out
    assert "Plan: setup of home" in shown and "Approved, in memory only:" in shown
    assert "Planned again: 0 steps" in shown and "\x1b" not in shown


def test_settings_that_can_t_be_used_end_the_program_with_64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "homek8s").mkdir()
    (tmp_path / "homek8s" / "console.toml").write_text('theme = "pink"')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOMEK8S_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("homek8s_tui.cli.app._terminal", lambda: True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert ended() == 64
    assert "there is no theme 'pink'" in capsys.readouterr().err
