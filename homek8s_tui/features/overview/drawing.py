"""Machines and tunnel drawn with characters: who sees whom, how long ago, what each machine is. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.tones import Line, Tone
from homek8s_tui.features.overview.view import Link, Machine, Picture

_LINKS: dict[str, tuple[str, Tone]] = {"up": ("✓", "good"), "silent": ("!", "warn"), "down": ("✗", "bad")}
_GAP = 9
_NARROWEST = 20
_WIDEST = 34
_CELL = 5
_TRUST: dict[str, int] = {"down": 0, "silent": 1, "unknown": 2, "up": 3}


class _Canvas:
    """Characters with tones, written anywhere."""

    def __init__(self, width: int, height: int) -> None:
        self.cells: list[list[tuple[str, Tone]]] = [[(" ", "plain")] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, tone: Tone) -> None:
        row = self.cells[y]
        for offset, character in enumerate(text):
            if 0 <= x + offset < len(row):
                row[x + offset] = (character, tone)

    def centre(self, x: int, y: int, text: str, tone: Tone) -> None:
        self.put(x - len(text) // 2, y, text, tone)

    def box(self, x: int, y: int, width: int, height: int, title: str, tone: Tone) -> None:
        self.put(x, y, f"╭{'─' * (width - 2)}╮", tone)
        self.put(x + 1, y, f" {_clip(title, width - 4)} ", "strong")
        for row in range(y + 1, y + height - 1):
            self.put(x, row, "│", tone)
            self.put(x + width - 1, row, "│", tone)
        self.put(x, y + height - 1, f"╰{'─' * (width - 2)}╯", tone)

    def lines(self) -> Iterator[Line]:
        for row in self.cells:
            pieces: list[tuple[str, Tone]] = []
            for character, tone in row:
                if pieces and pieces[-1][1] == tone:
                    pieces[-1] = (pieces[-1][0] + character, tone)
                else:
                    pieces.append((character, tone))
            if pieces and not pieces[-1][0].strip():
                pieces.pop()
            yield tuple(pieces)


def draw(shown: Picture, width: int, roomy: bool, since: float, old: bool) -> list[Line]:
    """Draws a home.

    Args:
        shown: The picture.
        width: The columns there are.
        roomy: Whether there are rows for everything about a machine.
        since: Seconds since the picture was observed; handshakes have aged by them.
        old: Whether it could not be observed again: then nothing of it is shown as good.
    """
    shown = _narrow(shown)
    nodes = shown.machines[1:]
    card = min(_WIDEST, (width - _GAP * (len(nodes) - 1)) // len(nodes))
    if card < _NARROWEST:
        return list(table(shown, width, since, old))
    inner = 4 if roomy else 2
    proxy_height, gap_rows = (4, 3) if roomy else (3, 1)
    canvas = _Canvas(width, proxy_height + gap_rows + inner + 2)
    left = (width - card * len(nodes) - _GAP * (len(nodes) - 1)) // 2
    centres = [left + index * (card + _GAP) + card // 2 for index in range(len(nodes))]
    proxy = shown.machines[0]
    # wide enough that every edge can leave it downwards
    told = len(f"{proxy.address} · {proxy.tunnel_address} · {proxy.what}") if not roomy and proxy.reachable else 0
    proxy_width = min(width, max(40, told + 6, centres[-1] - centres[0] + 5))
    proxy_left = max(0, min(width - proxy_width, (centres[0] + centres[-1]) // 2 - proxy_width // 2))
    _draw_proxy(canvas, proxy, proxy_left, proxy_width, proxy_height, old)
    top = proxy_height + gap_rows
    for index, node in enumerate(nodes):
        x = left + index * (card + _GAP)
        _draw_node(canvas, node, x, top, card, inner, old)
        link = _between(shown, proxy.name, node.name)
        canvas.put(centres[index], proxy_height - 1, "┬", "dim")
        canvas.put(centres[index], top, "┴", "dim")
        for row in range(proxy_height, top):
            canvas.put(centres[index], row, "│", "dim")
        label, tone = age(link, since, old)
        canvas.centre(centres[index], proxy_height + gap_rows // 2, f" {label} ", tone)
        if index:
            label, tone = age(_between(shown, nodes[index - 1].name, node.name), since, old)
            canvas.put(x - _GAP, top + 2, "─" * _GAP, "dim")
            canvas.centre(x - _GAP + _GAP // 2, top + 1, label, tone)
    return [*canvas.lines(), *_edges(_distant(shown), width, since, old)]


def table(shown: Picture, width: int, since: float, old: bool) -> Iterator[Line]:
    """Yields many machines as a table: a row each, and a column for how it sees each other one while there is room.

    Args:
        shown: The picture.
        width: The columns there are; where the machines' own do not fit, the edges stand below, the worst first.
        since: Seconds since the picture was observed.
        old: Whether it could not be observed again.
    """
    shown = _narrow(shown)
    room = width - 2 - 2 - 8 - 8
    wide = min(room, max(len(machine.name) for machine in shown.machines))
    names = [machine.name for machine in shown.machines]
    columns = [max(_CELL, len(name)) for name in names]
    fits = 2 + wide + 2 + 8 + 10 + sum(columns) + 2 * len(columns) <= width
    head = "  " + "  ".join(f"{name:<{columns[index]}}" for index, name in enumerate(names)) if fits else ""
    yield (("Handshakes, seconds ago" if fits else "Machines", "dim"),)
    yield ((f"  {'':<{wide}}  {'role':<6}  {'node':<8}{head}", "dim"),)
    for machine in shown.machines:
        sign, tone = _state(machine, old)
        cells: list[tuple[str, Tone]] = []
        for index, name in enumerate(names if fits else ()):
            label, seen = _cell(shown, machine.name, name, since, old)
            cells.append((f"{label:<{columns[index]}}  ", seen))
        node = (machine.node or "-") if machine.reachable else "no reply"
        yield (
            (f"{sign} ", tone),
            (f"{_clip(machine.name, wide):<{wide}}  ", "strong"),
            (f"{machine.role:<6}  ", "plain"),
            (f"{node:<8}{'  ' if cells else ''}", "plain" if machine.reachable else "bad"),
            *cells,
        )
    if not fits:
        yield (("Handshakes", "dim"),)
        yield from _edges(sorted(shown.links, key=lambda link: _TRUST[link.state]), width, since, old)


def age(link: Link | None, since: float, old: bool) -> tuple[str, Tone]:
    """Returns an edge's label: its sign, and how long ago its ends shook hands."""
    if link is None or link.state == "unknown":
        return "? unseen", "dim"
    sign, tone = _LINKS[link.state]
    told = "never" if link.handshake_age is None else " ".join(_span(link.handshake_age + since))
    return f"{sign} {told}", "dim" if old and tone == "good" else tone


def _cell(shown: Picture, one: str, other: str, since: float, old: bool) -> tuple[str, Tone]:
    if one == other:
        return "·", "dim"
    link = _between(shown, one, other)
    label, tone = age(link, since, old)
    if link is None or link.state == "unknown":
        return "?", tone
    if link.handshake_age is None:
        return f"{label[0]} -", tone
    number, unit = _span(link.handshake_age + since)
    return f"{label[0]} {number}{'' if unit == 's' else unit[0]}", tone


def _span(seconds: float) -> tuple[str, str]:
    for size, unit, most in ((1, "s", 1000), (60, "min", 100), (3600, "h", 100)):
        if round(seconds / size) < most:
            return f"{max(0.0, seconds) / size:.0f}", unit
    return f"{min(seconds / 86_400, 999):.0f}", "d"


def _draw_proxy(canvas: _Canvas, machine: Machine, x: int, width: int, height: int, old: bool) -> None:
    sign, tone = _state(machine, old)
    canvas.box(
        x, 0, width, height, machine.name if machine.name == machine.role else f"{machine.name} · {machine.role}", "dim"
    )
    canvas.put(x + 2, 1, sign, tone)
    facts = [machine.address, machine.tunnel_address, machine.what if machine.reachable else "no answer"]
    first = " · ".join(facts if height == 3 else facts[:2])
    canvas.put(x + 4, 1, _clip(first, width - 6), "plain")
    if height > 3:
        canvas.put(x + 4, 2, _clip(facts[2], width - 6), "dim" if machine.reachable else "bad")


def _draw_node(canvas: _Canvas, machine: Machine, x: int, y: int, width: int, inner: int, old: bool) -> None:
    sign, tone = _state(machine, old)
    canvas.box(x, y, width, inner + 2, machine.name, "dim")
    state = (machine.node or "not in the cluster") if machine.reachable else "no answer"
    canvas.put(x + 2, y + 1, sign, tone)
    canvas.put(x + 4, y + 1, _clip(f"{machine.role} · {state}", width - 6), "plain" if tone == "good" or old else tone)
    rows = [machine.address, machine.tunnel_address, machine.what if machine.reachable else ""]
    if inner == 2:
        both = f"{machine.address} · {machine.tunnel_address}"
        rows = [both if len(both) <= width - 6 else machine.address]
    for row, text in enumerate(rows):
        canvas.put(x + 4, y + 2 + row, _clip(text, width - 6), "dim")


def _state(machine: Machine, old: bool) -> tuple[str, Tone]:
    if not machine.reachable:
        return "✗", "bad"
    if machine.node == "NotReady":
        return "✗", "bad"
    if machine.role != "proxy" and not machine.node:
        return "!", "warn"
    return "✓", "dim" if old else "good"


def _between(shown: Picture, one: str, other: str) -> Link | None:
    return next((link for link in shown.links if {link.a, link.b} == {one, other}), None)


def _distant(shown: Picture) -> list[Link]:
    """Returns the edges between nodes that do not stand side by side."""
    names = [machine.name for machine in shown.machines[1:]]
    return [
        link
        for link in shown.links
        if link.a in names and link.b in names and abs(names.index(link.a) - names.index(link.b)) > 1
    ]


def _edges(links: Sequence[Link], width: int, since: float, old: bool) -> Iterator[Line]:
    """Yields edges, as many to a line as there is room for."""
    line: list[tuple[str, Tone]] = []
    taken = 0
    for link in links:
        label, tone = age(link, since, old)
        name = (width - 6 - len(label)) // 2
        ends = f"  {_clip(link.a, name)} - {_clip(link.b, name)} "
        if line and taken + len(ends) + len(label) > width:
            yield tuple(line)
            line, taken = [], 0
        line += [(ends, "dim"), (label, tone)]
        taken += len(ends) + len(label)
    if line:
        yield tuple(line)


def _narrow(shown: Picture) -> Picture:
    """Returns a picture in which every character takes one column, whatever machines called themselves."""
    machines = [
        msgspec.structs.replace(machine, name=_columns(machine.name), what=_columns(machine.what))
        for machine in shown.machines
    ]
    links = [msgspec.structs.replace(link, a=_columns(link.a), b=_columns(link.b)) for link in shown.links]
    return msgspec.structs.replace(shown, machines=tuple(machines), links=tuple(links))


def _columns(text: str) -> str:
    return "".join(
        "\ufffd" if unicodedata.east_asian_width(each) in "WF" or unicodedata.category(each) in ("Mn", "Me") else each
        for each in one_line(text, 1000)
    )


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
