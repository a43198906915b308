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


def shown(keys: str) -> str:
    """Returns the first of some keys as people read it: ``^p``, ``F1``, ``?``."""
    key = keys.split(",")[0].strip()
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+")
    if key[:1] == "f" and key[1:].isdigit():
        return key.upper()
    return _NAMES.get(key, key)


def remapped(actions: Iterable[Action], keys: Mapping[str, str], source: str = "console.toml") -> dict[str, str]:
    """Returns the operator's keys by action, if every action is known.

    Args:
        actions: All there are.
        keys: Keys by action, comma separated, as Textual names them.
        source: The file they stand in.

    Raises:
        Trouble: If an action is not known, or has no key; it names what there is.
    """
    known = {action.id for action in actions}
    for name, key in keys.items():
        if name not in known:
            said, do = f"there is no action '{one_line(name, 60)}'", f"The actions are {', '.join(sorted(known))}."
            raise Trouble("remap the keys", source, said, do, Kind.USAGE)
        if not all(each.strip() for each in key.split(",")):
            said = f"the keys of '{name}' are '{one_line(key, 60)}', and one of them is empty"
            raise Trouble("remap the keys", source, said, "Name a key, such as f5 or ctrl+n.", Kind.USAGE)
    return dict(keys)
