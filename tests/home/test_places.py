"""Places are computed from the environment, and never created."""

from __future__ import annotations

from pathlib import Path

import pytest

from homek8s_tui.home import places


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_defaults_lie_in_the_user_s_home(home: Path) -> None:
    assert places.state({}) == home / ".local/state/homek8s"
    assert places.journal({}) == home / ".local/state/homek8s/journal.sqlite"
    assert places.known_hosts({}) == home / ".local/state/homek8s/known_hosts"
    assert places.cache({}) == home / ".cache/homek8s"
    assert places.downloads({}) == home / ".cache/homek8s/downloads"
    assert places.config({}) == home / ".config"
    assert list(home.iterdir()) == []


def test_the_variables_win(home: Path) -> None:
    environ = {"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/e"}
    assert places.state(environ) == Path("/s/homek8s")
    assert places.cache(environ) == Path("/c/homek8s")
    assert places.config(environ) == Path("/e")
    assert places.state({**environ, "HOMEK8S_STATE": "/own"}) == Path("/own")
    assert places.journal({"HOMEK8S_STATE": "~/own"}) == home / "own/journal.sqlite"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_an_invalid_variable_is_ignored(home: Path, value: str) -> None:
    assert places.state({"XDG_STATE_HOME": value, "HOMEK8S_STATE": ""}) == home / ".local/state/homek8s"
