"""Where this program keeps its files. Nothing here creates a folder: who writes a file does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs

_NAME = "homek8s"


def state(environ: Mapping[str, str]) -> Path:
    """Returns the folder for what must be kept: ``$HOMEK8S_STATE``, else one in the user's state folder."""
    if environ.get("HOMEK8S_STATE"):
        return Path(environ["HOMEK8S_STATE"]).expanduser().absolute()
    return _base(environ, "XDG_STATE_HOME", platformdirs.user_state_path()) / _NAME


def journal(environ: Mapping[str, str]) -> Path:
    """Returns the file that remembers what was done."""
    return state(environ) / "journal.sqlite"


def known_hosts(environ: Mapping[str, str]) -> Path:
    """Returns the file of the host keys that the operator approved."""
    return state(environ) / "known_hosts"


def cache(environ: Mapping[str, str]) -> Path:
    """Returns the folder for what can be had again."""
    return _base(environ, "XDG_CACHE_HOME", platformdirs.user_cache_path()) / _NAME


def downloads(environ: Mapping[str, str]) -> Path:
    """Returns the folder of verified downloads, in which a file's path is its key."""
    return cache(environ) / "downloads"


def config(environ: Mapping[str, str]) -> Path:
    """Returns the folder of all programs' settings, usually ``~/.config``, as `inventory.find` takes it."""
    return _base(environ, "XDG_CONFIG_HOME", platformdirs.user_config_path())


def _base(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    given = Path(environ.get(variable) or "")
    # The XDG specification: a relative path is invalid and must be ignored.
    return given if given.is_absolute() else default
