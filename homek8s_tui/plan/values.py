"""Values that exist only later, and secrets, which are places and never values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Trouble

OutputKind = Literal["wg-public-key", "sha256"]

_SHAPES: dict[str, re.Pattern[str]] = {
    # wg(8): a key is 32 bytes in base64, so 43 characters and one padding
    "wg-public-key": re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw480]="),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}


class Output(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A public value that is known once a step has run: a typed hole in a template."""

    step: int
    """The number of the step that gives it."""
    name: str
    """Its name among the step's outputs."""
    kind: OutputKind
    """Its shape, checked when it arrives from the machine."""
    of: str
    """What it is, for people: ``public key of pi4``."""


class HostSecret(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A secret in a file of a machine. Spliced in on that machine; it does not travel."""

    host: str
    """The machine."""
    path: str
    """The file; its first line is the value."""


class HostCommand(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A secret that a command on a machine makes, such as a join token."""

    host: str
    """The machine."""
    script: str
    """The script in ``hosts/scripts`` whose only output is the secret."""
    arguments: tuple[str, ...] = ()
    """Its arguments."""
    of: str = ""
    """What it is, for people."""


SecretPlace = HostSecret | HostCommand
Template = tuple[str | Output | HostSecret, ...]
"""Text with typed holes and secret places."""
Outputs = Mapping[tuple[int, str], str]
"""The outputs so far, by step number and name."""


def fill(template: Template, outputs: Outputs) -> str | None:
    """Returns the text with its holes filled and its secrets as their places; None while a hole is open."""
    parts: list[str] = []
    for part in template:
        if isinstance(part, Output):
            value = outputs.get((part.step, part.name))
            if value is None:
                return None
            parts.append(value)
        else:
            parts.append(part if isinstance(part, str) else place_mark(part))
    return "".join(parts)


def show(template: Template, outputs: Outputs | None = None) -> str:
    """Returns the text as a review shows it: open holes named, secrets as their places."""
    shown = []
    for part in template:
        if isinstance(part, Output):
            known = (outputs or {}).get((part.step, part.name))
            shown.append(known or f"<{part.of}, known after step {part.step}>")
        else:
            shown.append(part if isinstance(part, str) else place_mark(part))
    return "".join(shown)


def place_mark(place: SecretPlace) -> str:
    """Returns how a secret's place is written in shown and digested text."""
    if isinstance(place, HostSecret):
        return f"<secret: {place.host}:{place.path}>"
    return f"<secret: {place.of or place.script} from {place.host}>"


def places(template: Template) -> tuple[HostSecret, ...]:
    """Returns the secret places of a template, each once, in order."""
    return tuple(dict.fromkeys(part for part in template if isinstance(part, HostSecret)))


def holes(template: Template) -> tuple[Output, ...]:
    """Returns the holes of a template, in order."""
    return tuple(part for part in template if isinstance(part, Output))


def checked(kind: OutputKind, value: str, of: str, host: str) -> str:
    """Returns an output that arrived from a machine if it has its kind's shape.

    Raises:
        Trouble: If it has not; the machine's words never become part of another machine's files unchecked.
    """
    if not _SHAPES[kind].fullmatch(value):
        raise Trouble(
            f"read the {of}",
            host,
            f"it answered '{one_line(value, 80)}', which is no {kind}",
            "Look at that machine; nothing was done with the value.",
        )
    return value
