"""Actions as data: one place that keys, footer, palette, help and menus are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding

from homek8s_tui.base.safe_text import one_line
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


def remapped(
    together: Iterable[Iterable[Action]], keys: Mapping[str, str], source: str = "console.toml"
) -> dict[str, str]:
    """Returns the operator's keys by action, if every action is known and no key has two meanings on one screen.

    Args:
        together: The actions of each screen.
        keys: Keys by action, comma separated, as Textual names them.
        source: The file they stand in.

    Raises:
        Trouble: If an action is not known or has no key, or a key two meanings; it names what there is.
    """
    screens = [tuple(actions) for actions in together]
    known = {action.id for actions in screens for action in actions}

    def refused(came_back: str, do: str) -> Trouble:
        return Trouble("remap the keys", source, came_back, do, Kind.USAGE)

    for name, key in keys.items():
        if name not in known:
            raise refused(f"there is no action '{one_line(name, 60)}'", f"The actions are {', '.join(sorted(known))}.")
        if not all(part.strip() for part in key.split(",")):
            said = f"the keys of '{name}' are '{one_line(key, 60)}', and one of them is empty"
            raise refused(said, "Name a key, such as f5 or ctrl+n.")
    for actions in screens:
        taken: dict[str, str] = {}
        for action in actions:
            for key in keys.get(action.id, action.key).split(","):
                other = taken.setdefault(key.strip(), action.id)
                if other != action.id:
                    said = f"'{one_line(key.strip(), 60)}' would be both {other} and {action.id}"
                    raise refused(said, "Give one of them another key.")
    return dict(keys)
