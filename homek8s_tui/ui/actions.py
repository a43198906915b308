"""Actions as data: one place that keys, footer, palette, help and menus are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding

from homek8s_tui.base.troubles import Kind, Trouble


@dataclass(frozen=True)
class Action:
    """Something that a screen can do."""

    id: str
    """Its stable name, such as ``home.look``; keys are remapped by it. The screen's method is ``do_`` and its end."""
    key: str
    """Its keys, comma separated, as Textual names them."""
    title: str
    """What the footer and the palette call it."""
    help: str
    """What it does, in a sentence."""
    footer: bool = False
    """Whether the footer shows it while there is room."""

    @property
    def method(self) -> str:
        """The name of the screen's method."""
        return "do_" + self.id.rpartition(".")[2].replace("-", "_")

    def binding(self) -> Binding:
        """Returns it as a binding. The footer is our own, so Textual's shows nothing."""
        return Binding(self.key, f"act('{self.id}')", self.title, show=False, id=self.id, tooltip=self.help)


_NAMES = {
    "question_mark": "?",
    "escape": "esc",
    "enter": "enter",
    "space": "space",
    "slash": "/",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


def usable(keys: str, typing: bool) -> str:
    """Returns the first of some keys that does its action now, or empty.

    Args:
        keys: The keys, comma separated.
        typing: Whether a field has the focus, which takes the characters.
    """
    each = [key.strip() for key in keys.split(",")]
    characters = {"question_mark", "slash", "space"}
    return next((key for key in each if not typing or (len(key) > 1 and key not in characters)), "")


def shown(keys: str) -> str:
    """Returns the first of some keys as people read it: ``^p``, ``F1``, ``?``."""
    key = keys.split(",")[0].strip()
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+")
    if key[:1] == "f" and key[1:].isdigit():
        return key.upper()
    return _NAMES.get(key, key)


def remapped(together: Iterable[Iterable[Action]], keys: Mapping[str, str]) -> dict[str, str]:
    """Returns the operator's keys by action, if every action is known and no key has two meanings on one screen.

    Args:
        together: The actions of each screen.
        keys: The operator's keys by action.

    Raises:
        Trouble: If not; it names what stands against it.
    """
    screens = [tuple(actions) for actions in together]
    known = {action.id for actions in screens for action in actions}
    for name in keys:
        if name not in known:
            raise _refused(f"there is no action '{name}'", f"The actions are {', '.join(sorted(known))}.")
    for actions in screens:
        taken: dict[str, str] = {}
        for action in actions:
            for key in keys.get(action.id, action.key).split(","):
                other = taken.setdefault(key.strip(), action.id)
                if other != action.id:
                    raise _refused(f"'{key.strip()}' would be both {other} and {action.id}", "Give one another key.")
    return dict(keys)


def _refused(came_back: str, do: str) -> Trouble:
    return Trouble("remap the keys", "console.toml", came_back, do, Kind.USAGE)
