"""The drawing of a home: it fits, it leaves nobody out, it is not fooled, and what is old is not called good."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homek8s_tui.base.tones import Line, text
from homek8s_tui.features.overview.drawing import age, draw, table
from homek8s_tui.features.overview.view import Link, Machine, Picture
from homek8s_tui.ui.text import toned

STATES = st.sampled_from(["up", "silent", "down", "unknown"])
AGES = st.none() | st.floats(0, 179) | st.sampled_from([179.0, 999.4, 1000.0, 5999.0, 360_000.0, 2.0**31, 1e12])
HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]8;;http://evil\x07link",
        "\x1b]0;open",
        "a\nb\r\nc",
        "\u202eevil",
        "日本語" * 30,
        "e\u0301" * 9,
    ]
)
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)


@st.composite
def pictures(draw_: st.DrawFn, names: st.SearchStrategy[str] = NAMES, most: int = 12) -> Picture:
    """Any home."""
    count = draw_(st.integers(1, most))
    called = ["proxy", *(f"{draw_(names)}{number}" for number in range(count))]
    machines = [
        Machine(
            name,
            "agent" if index > 1 else "server" if index else "proxy",
            f"192.168.100.{100 + index}",
            f"10.1.10.{100 + index}",
            draw_(st.booleans()),
            draw_(HOSTILE),
            draw_(st.sampled_from(["", "Ready", "NotReady"])) if index else "",
        )
        for index, name in enumerate(called)
    ]
    state, since = draw_(st.lists(STATES, min_size=4, max_size=4)), draw_(st.lists(AGES, min_size=3, max_size=3))
    links = [
        Link(one, other, state[index % 4], None if state[index % 4] == "unknown" else since[index % 3])
        for index, (one, other) in enumerate(itertools.combinations(called, 2))
    ]
    return Picture("home", 0.0, tuple(machines), tuple(links), ())


def columns(line: Line) -> int:
    """How many columns a terminal takes for a line, once it is cleaned as the screen cleans it."""
    shown = toned([line]).plain
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in shown)


@settings(max_examples=80, deadline=None)
@given(pictures(), st.integers(40, 200), st.booleans(), st.booleans(), st.floats(0, 10_000))
def test_it_fits_and_leaves_nobody_out(shown: Picture, width: int, roomy: bool, old: bool, since: float) -> None:
    lines = draw(shown, width, roomy, since, old)
    assert all(columns(line) <= width for line in lines)
    whole = "\n".join(text(line) for line in lines)
    assert all(machine.name in whole for machine in shown.machines)
    signs = {"up": "✓", "silent": "!", "down": "✗", "unknown": "?"}
    if "Handshakes" in whole and "Machines" not in whole:
        rows = {row.split()[1]: row for row in whole.splitlines()[2:]}
        for link in shown.links:
            cells = rows[link.a].split("  ")
            assert any(cell.strip().startswith(signs[link.state]) for cell in cells)
        assert sum(row.count(signs["up"]) for row in rows.values()) >= 2 * sum(
            link.state == "up" for link in shown.links
        )
    else:
        labels = [age(link, since, old)[0] for link in shown.links]
        assert all(whole.count(label) >= labels.count(label) for label in labels)


@settings(max_examples=60, deadline=None)
@given(pictures(names=HOSTILE.map(lambda name: f"n{name}")), st.integers(40, 200), st.booleans())
def test_what_a_machine_says_neither_widens_nor_commands_anything(shown: Picture, width: int, roomy: bool) -> None:
    for line in draw(shown, width, roomy, 0, False):
        assert columns(line) <= width
        assert not any(unicodedata.category(each) in {"Cc", "Cf"} for each in text(line))


@settings(max_examples=30, deadline=None)
@given(pictures(), st.integers(40, 200), st.booleans())
def test_what_is_old_is_not_called_good(shown: Picture, width: int, roomy: bool) -> None:
    tones = {tone for line in draw(shown, width, roomy, 100, True) for _, tone in line}
    assert "good" not in tones


def home(*ages: float | None, nodes: int = 2, state: str = "up") -> Picture:
    """A home that is set up, and whose edges have these ages, over and over."""
    names = ["proxy", *(f"pi{number}" for number in range(nodes))]
    machines = [
        Machine(name, "server" if name == "pi0" else "agent" if index else "proxy", f"192.168.1.{index}", f"10.1.10.{index}",
                True, "debian 12 aarch64", "Ready" if index else "")
        for index, name in enumerate(names)
    ]  # fmt: skip
    turns = itertools.cycle(ages)
    links = [Link(one, other, state, next(turns)) for one, other in itertools.combinations(names, 2)]
    return Picture("home", 0.0, tuple(machines), tuple(links), ())


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("nodes", [2, 12])
def test_ages_go_on_while_nobody_looks(width: int, nodes: int) -> None:
    now, later = (
        "\n".join(text(line) for line in draw(home(7, nodes=nodes), width, False, since, False)) for since in (0, 30)
    )
    assert "✓ 7" in now and "✓ 37" not in now
    assert "✓ 37" in later and "✓ 7 " not in later


@pytest.mark.parametrize(
    ("seconds", "label", "cell"),
    [
        (0.2, "✓ 0 s", "✓ 0"),
        (999, "✓ 999 s", "✓ 999"),
        (1200, "✓ 20 min", "✓ 20m"),
        (7200, "✓ 2 h", "✓ 2h"),
        (864_000, "✓ 10 d", "✓ 10d"),
        (None, "✓ never", "✓ -"),
    ],
)
def test_an_age_tells_its_unit_in_a_drawing_and_in_a_table(seconds: float | None, label: str, cell: str) -> None:
    assert age(Link("a", "b", "up", seconds), 0, False) == (label, "good")
    rows = [text(line) for line in table(home(seconds), 80, 0, False)]
    assert f"  {cell} " in f"{rows[2]} "


def test_what_is_old_keeps_its_warnings() -> None:
    assert age(Link("a", "b", "down", 400.0), 0, True)[1] == "bad"
    assert age(Link("a", "b", "silent", 200.0), 0, True)[1] == "warn"
    assert age(None, 0, True) == age(Link("a", "b", "unknown", None), 0, False) == ("? unseen", "dim")


def test_where_the_columns_do_not_fit_the_worst_edges_come_first() -> None:
    shown = home(7, nodes=12)
    links = (*shown.links[:-1], Link(shown.links[-1].a, shown.links[-1].b, "down", None))
    lines = [text(line) for line in table(Picture("home", 0, shown.machines, links, ()), 80, 0, False)]
    edges = lines[lines.index("Handshakes") + 1 :]
    assert edges[0].startswith("  pi10 - pi11 ✗ never")
    assert sum(line.count(" - ") for line in edges) == 78
    assert all(len(line) <= 80 for line in lines)


def test_very_long_names_are_cut_and_not_left_out() -> None:
    long = Machine("a" * 63, "server", "192.168.1.4", "10.1.10.1", True, "debian", "Ready")
    proxy = Machine("b" * 63, "proxy", "198.51.100.10", "10.1.10.254", False, "no route to host " * 20, "")
    shown = Picture("home", 0, (proxy, long), (Link(proxy.name, long.name, "down", None),), ())
    for lines in (draw(shown, 40, True, 0, False), list(table(shown, 40, 0, False))):
        whole = [text(line) for line in lines]
        assert all(len(line) <= 40 for line in whole)
        assert any("a" * 10 in line for line in whole) and any("b" * 10 in line for line in whole)
        assert any("✗ never" in line for line in whole)
