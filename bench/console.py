"""The console as a person meets it: its first frame, and how soon a key is answered, also with a dead home or a busy run."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import peers
from bench.report import BenchError, Row
from bench.terminal import Terminal, opened
from bench.timing import interleaved
from tests.conftest import HOME

FRAME_RATIO = 1.5
FRAME_SECONDS = 0.5
KEY_SECONDS = 0.05
REPEATS = 9
_HOMEK8S = str(Path(sys.executable).with_name("homek8s"))
_TALKING = Path(__file__).with_name("talking.py")
# A network of its own, in which every address but this one is reached through a loopback that drops what comes by:
# no answer, no error, and nothing leaves the machine.
_NOWHERE = "ip link set lo up; ip address add 198.18.0.1/32 dev lo; ip route add default dev lo; exec " + '"$@"'
_PRESS_ESCAPE = b"\x1b[27u"

Shows = Callable[[str], bool]


def run() -> Iterator[Row]:
    """Measures the first frame beside a bare app's, then the keys."""
    if os.geteuid() != 0:
        raise BenchError("the home that does not answer is a network namespace, which only root can make")
    with tempfile.TemporaryDirectory(prefix="homek8s-bench.") as name:
        folder = Path(name)
        (folder / "homek8s.yaml").write_text(HOME)
        bare = peers.version("textual", peers.HERE.parents[1] / "requirements.lock")
        contenders = {"homek8s": lambda: _first(folder, _console(folder), _home), bare: lambda: _bare(folder)}
        medians = interleaved(contenders, REPEATS)
        yield Row("first frame", medians["homek8s"], FRAME_RATIO, f"bare app, {bare}", medians[bare])
        yield Row("first frame, home unreachable", medians["homek8s"], FRAME_SECONDS)
        with _shown(folder, _console(folder), _home) as terminal:
            yield Row("a key, home unreachable", _slowest(terminal, _around()), KEY_SECONDS)
        talking = [sys.executable, _TALKING, folder]
        with _shown(folder, talking, _busy) as terminal:
            yield Row("a key, 1,000 lines a second", _slowest(terminal, _beside_a_run()), KEY_SECONDS)


def _console(folder: Path) -> Sequence[str | Path]:
    return ["unshare", "--net", "sh", "-c", _NOWHERE, "sh", _HOMEK8S, "--home", folder / "homek8s.yaml"]


def _environment(folder: Path) -> Mapping[str, str]:
    places = {"HOME": str(folder), "HOMEK8S_STATE": str(folder / "state"), "PATH": os.environ["PATH"]}
    return {**places, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


@contextmanager
def _shown(folder: Path, argv: Sequence[str | Path], shows: Shows) -> Iterator[Terminal]:
    with opened(argv, _environment(folder), folder) as terminal:
        terminal.until(shows, "the first frame")
        # what is loaded in the background after the first frame is part of a key's time only at first
        yield terminal


def _first(folder: Path, argv: Sequence[str | Path], shows: Shows) -> float:
    with opened(argv, _environment(folder), folder) as terminal:
        return terminal.until(shows, "the first frame")


def _bare(folder: Path) -> float:
    program = [sys.executable, peers.HERE / "bare.py"]
    return _first(folder, program, lambda text: "row 0" in text and "Quit" in text)


def _home(text: str) -> bool:
    return "Looking at your machines" in text and "Quit" in text.splitlines()[-1]


def _busy(text: str) -> bool:
    return "Unpacking part" in text and "Quit" in text.splitlines()[-1]


def _at(screen: str) -> Shows:
    """Returns whether the top line names a screen."""
    return lambda text: f"▸ {screen}" in text.splitlines()[0] and not _help(text) and not _palette(text)


def _help(text: str) -> bool:
    return "esc closes this" in text


def _palette(text: str) -> bool:
    return "Search for commands" in text


def _around() -> Sequence[tuple[str, bytes, Shows]]:
    return [
        ("2", b"2", _at("Set up")),
        ("3", b"3", _at("Journal")),
        ("1", b"1", _at("Home")),
        ("?", b"?", _help),
        ("escape", _PRESS_ESCAPE, _at("Home")),
        ("ctrl+p", b"\x10", _palette),
        ("escape again", _PRESS_ESCAPE, _at("Home")),
    ]


def _beside_a_run() -> Sequence[tuple[str, bytes, Shows]]:
    return [
        ("?", b"?", _help),
        ("escape", _PRESS_ESCAPE, _at("Plan")),
        ("ctrl+p", b"\x10", _palette),
        ("escape again", _PRESS_ESCAPE, _at("Plan")),
        ("3", b"3", _at("Journal")),
        ("1", b"1", _at("Home")),
        ("v", b"v", _at("Plan")),
    ]


def _slowest(terminal: Terminal, keys: Sequence[tuple[str, bytes, Shows]]) -> float:
    """Presses the keys in turns; returns the median of the key that takes longest to be answered."""
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in keys}
    for _ in range(REPEATS):
        for name, key, shows in keys:
            seconds[name].append(terminal.press(key, shows, f"the answer to {name}"))
    for name, each in seconds.items():
        print(f"  {name}: " + " ".join(f"{second * 1000:.0f}" for second in each) + " ms")
    return max(map(statistics.median, seconds.values()))
