"""A run on the command line: plain lines for a pipe, and a line for a person that leaves nothing behind."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import msgspec
import pytest

from homek8s_tui.cli import printing
from homek8s_tui.cli.printing import RunPrinter, status_line
from homek8s_tui.engine.events import StepBegan, StepEnded
from homek8s_tui.engine.journal import Done
from homek8s_tui.engine.progress import Progress
from homek8s_tui.plan.model import Plan
from homek8s_tui.plan.operations import Command
from homek8s_tui.plan.review import review

from ..rehearsed import SET_UP, breaks, rehearsed


class Terminal(io.StringIO):
    """What a terminal is given, and what stands on it in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> str:
        """The text that is left once what was erased is gone."""
        lines = [""]
        for part in re.split(r"(\n|\r\x1b\[2K)", self.getvalue()):
            if part == "\n":
                lines.append("")
            elif part == "\r\x1b[2K":
                lines[-1] = ""
            else:
                lines[-1] += part
        return "\n".join(lines)


@pytest.mark.parametrize("verbose", [False, True])
def test_a_pipe_gets_plain_lines(tmp_path: Path, verbose: bool) -> None:
    service, _ = rehearsed(tmp_path)
    out = io.StringIO()
    live = service.begin(service.plan(service.home(), SET_UP))
    assert RunPrinter(live, verbose, out).run() == 0
    said = out.getvalue()
    assert "\x1b" not in said and "\r" not in said
    assert said.startswith("== ") and re.search(r"\ndone after \d+\.\d s\n$", said)
    assert ("| Setting up wireguard-tools" in said) == verbose
    assert said.count("HOLDS") + said.count("PENDING") == len(live.progress.plan.proofs)


def test_a_terminal_is_told_what_goes_on_and_left_with_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    service, _ = rehearsed(tmp_path)
    out = Terminal()
    live = service.begin(service.plan(service.home(), SET_UP))
    assert RunPrinter(live, False, out).run() == 0
    shown = re.findall(r"\x1b\[2K(\[[^\n\r]*)", out.getvalue())
    assert shown and all(len(line) < 60 for line in shown)
    assert any("install the packages" in line for line in shown) and any("proving" in line for line in shown)
    left = out.screen
    assert "\x1b" not in left and not re.search(r"^\[\d", left, re.MULTILINE)
    assert left.startswith("== ") and re.search(r"\ndone after \d+\.\d s\n$", left)


def test_the_line_ticks_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "_TICK", 0.001)
    service, rehearsal = rehearsed(tmp_path)
    out = Terminal()
    live = service.begin(service.plan(service.home(), SET_UP))
    printer = RunPrinter(live, False, out)
    catalogue = rehearsal.machines["pi4"].catalogue
    real = catalogue.starts["wg-quick@"]

    def slow(machine: object) -> None:
        # the other machines have only so much to tell in the meantime
        for _ in range(40):
            out.written.clear()
            assert out.written.wait(10)
        real(machine)  # type: ignore[arg-type]  # the machine it is

    catalogue.starts["wg-quick@"] = slow
    assert printer.run() == 0
    assert "start wg-quick@k8s-tunnel 0 s" in out.getvalue()


def test_a_failed_run_says_what_and_how_to_go_on(tmp_path: Path) -> None:
    service, rehearsal = rehearsed(tmp_path)
    breaks(rehearsal, "pi5")
    out = Terminal()
    code = RunPrinter(service.begin(service.plan(service.home(), SET_UP)), False, out).run()
    assert code == 1
    assert "failed (" in out.screen and "Job failed." in out.screen
    assert out.screen.rstrip().endswith("'homek8s resume' goes on where this stopped.")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The set-up's plan."""
    service, _ = rehearsed(tmp_path)
    return service.plan(service.home(), SET_UP)


@pytest.mark.parametrize("width", [0, 1, 2, 20, 80, 500])
def test_the_line_is_narrower_than_the_terminal(plan: Plan, width: int) -> None:
    progress = Progress(plan)
    for step in plan.steps[:3]:
        progress.take(StepBegan(step, 100.0))
    assert len(status_line(progress, 107.4, width)) <= max(0, width - 1)


def test_the_line_says_what_each_machine_does_for_how_long(plan: Plan) -> None:
    progress = Progress(plan)
    assert status_line(progress, 100, 80) == f"[0/{len(plan.steps)}] proving that it works"
    one, other = plan.steps[:2]
    progress.take(StepBegan(one, 100.0))
    progress.take(StepEnded(one, Done("changed")))
    progress.take(StepBegan(other, 100.0))
    assert status_line(progress, 107.4, 200) == (
        f"[1/{len(plan.steps)}] {other.host}: install the packages wireguard-tools 7 s"
    )
    assert " 0 s" in status_line(progress, 50.0, 200), "a clock that was set back makes no negative age"


def test_a_plan_from_anybody_commands_no_terminal(plan: Plan) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\nevil"
    index = next(index for index, step in enumerate(plan.steps) if isinstance(step.operation, Command))
    operation = plan.steps[index].operation
    assert isinstance(operation, Command)
    hostile = msgspec.structs.replace(
        plan.steps[index],
        because=evil,
        operation=msgspec.structs.replace(operation, title=evil, shows=(evil,)),
    )
    made = msgspec.structs.replace(plan, steps=(hostile,), destroys=(evil,), kept=(evil,))
    assert "evil" in review(made) and "\x1b" not in review(made) and "\x07" not in review(made)
    progress = Progress(made)
    progress.take(StepBegan(hostile, 0))
    line = status_line(progress, 0, 200)
    assert "evil" in line and "\x1b" not in line and "\n" not in line
