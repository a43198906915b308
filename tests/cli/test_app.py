"""The command line without a machine: usage, exit codes, what start-up loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from homek8s_tui.cli.app import main

from ..conftest import HOME


def ended(*arguments: str) -> int:
    """Runs the program in this process and returns its exit code."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("plan", "nothing"),
        ("apply",),
        ("apply", "setup", "--approve", "0" * 64),
        ("apply", "plan.json", "--yes"),
        ("--home", "/nowhere/homek8s.yaml", "plan", "setup"),
        ("--secret", "x", "status"),
    ],
)
def test_a_wrong_command_line_ends_with_64_and_no_traceback(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 64
    said = capsys.readouterr()
    assert said.err and "Traceback" not in said.err


def test_init_writes_an_inventory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended("init") == 0
    assert ended("init") == 64
    assert "exists already" in capsys.readouterr().err


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code} " in shown for code in (0, 1, 2, 3, 4, 5, 64))


def test_start_up_loads_nothing_heavy() -> None:
    script = "import sys, homek8s_tui.cli.app; print(sorted(set(sys.modules) & {'paramiko', 'ruamel.yaml', 'textual', 'kubernetes', 'cryptography', 'asyncio'}))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_the_consoles_first_frame_loads_nothing_of_what_asks_machines(tmp_path: Path) -> None:
    script = """
import sys
from homek8s_tui.cli import app
from homek8s_tui.ui.app import App, Console
from homek8s_tui.ui.background import Background

def run(console):
    def start(*_work):
        shown = "".join(strip.text for strip in console.screen._compositor.render_strips())
        print("Looking at your machines" in shown and "Quit" in shown, end=" ")
        print(sorted(set(sys.modules) & {"paramiko", "cryptography", "ruamel.yaml", "kubernetes", "nacl"}))
        console.exit(0)
    Background.start = start
    return App.run(console, headless=True, size=(80, 24))

Console.run = run
app._terminal = lambda: True
app.main(["--home", sys.argv[1]])
"""
    inventory = tmp_path / "homek8s.yaml"
    inventory.write_text(HOME)
    state = {**os.environ, "HOMEK8S_STATE": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script, inventory], capture_output=True, text=True, env=state)
    assert done.stdout.strip() == "True []", done.stdout + done.stderr


def test_an_error_of_our_own_is_a_sentence_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOMEK8S_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("homek8s_tui.home.inventory.commented", lambda: 1 / 0)
    assert ended("demo") == 1
    assert "Traceback" not in capsys.readouterr().err
    report = next((tmp_path / "state").glob("report-*.txt"))
    assert "ZeroDivisionError" in report.read_text()
    assert oct(report.stat().st_mode & 0o777) == "0o600"


def test_the_demo_needs_no_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("demo") == 0
    shown = capsys.readouterr().out
    assert "Planned again: 0 steps" in shown
    assert "FAILS" not in shown
