"""The whole set-up by keyboard alone, in a real terminal of 80x24, with what goes wrong on the way."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ..terminal import Terminal
from .console import Console
from .kubernetes import artefacts
from .lab import Lab
from .machines import PASSWORD

EDITOR = """#!/bin/sh
exec sed -i 's|^  # mirror: .*|  mirror: https://mirror.example|' "$1"
"""


@pytest.fixture
def operator(fresh: Lab, tmp_path: Path) -> Console:
    """An operator in front of three bare machines, who has written nothing yet."""
    artefacts.fill(fresh.artefacts_dir)
    console = Console(fresh, tmp_path)
    console.inventory.unlink()
    editor = tmp_path / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o700)
    return console


def opened(operator: Console) -> Terminal:
    """The console, as ``homek8s`` opens it."""
    environment = {**operator.environment, "EDITOR": str(operator.folder / "editor")}
    terminal = Terminal([sys.executable, "-m", "homek8s_tui.cli.app"], environment, operator.folder)
    recording = os.environ.get("HOMEK8S_RECORD")
    if recording:
        terminal.record_to = Path(recording)
    return terminal


def approve_key(terminal: Terminal, operator: Console, host: str) -> None:
    """Compares the fingerprint that is shown with the machine's own, and pins it."""
    terminal.wait(f"Is this the key of {host}?")
    terminal.wait(operator.fingerprint(host))
    terminal.press("tab", "enter")


def give_password(terminal: Terminal, password: str) -> None:
    """Types a password that was asked for."""
    terminal.wait("The sudo password of pi on pi5")
    assert password not in terminal.text
    terminal.press(*password, "enter")


def describe(terminal: Terminal, operator: Console) -> None:
    """Describes the home in three stages, up to the plan; a wrong sudo password is met and mended."""
    # the explanation of a field is shown while it has the focus
    terminal.wait("The domain under which")
    terminal.type("home.example")
    terminal.press("tab")
    terminal.wait("it names the context")
    terminal.type("lab")
    terminal.press("tab")
    terminal.wait("The home network that all nodes are in")
    terminal.type("192.168.1.0/24")
    terminal.press("ctrl+n")

    terminal.wait("The public IPv4 address")
    terminal.type("198.51.100.10")
    approve_key(terminal, operator, "proxy")
    terminal.wait("✓ logged in, and root: debian")
    terminal.press("ctrl+n")

    terminal.wait("No machine yet")
    terminal.press("f5")
    terminal.wait("+ 192.168.1.4")
    terminal.wait("+ 192.168.1.5")
    terminal.press("enter")
    terminal.wait("Its host name")
    terminal.type("pi4")
    approve_key(terminal, operator, "pi4")
    terminal.wait("✓ logged in, and root: debian")
    terminal.press("backtab", "backtab", "backtab", "backtab", "down", "enter")
    terminal.wait("Its host name")
    terminal.type("pi5")
    approve_key(terminal, operator, "pi5")
    give_password(terminal, "blueberry")
    terminal.wait("The one before was not accepted")
    give_password(terminal, PASSWORD)
    terminal.wait("✓ logged in, and root: debian")
    terminal.press("ctrl+n")

    # the releases' own addresses can't be reached from here: the mirror is named, by the editor
    terminal.wait("There is no plan", 60)
    terminal.wait("checksum")
    terminal.press("f9")
    terminal.wait("Not to be applied yet: cgroup-v1", 60)


def test_the_whole_set_up_by_keyboard_with_a_kill_a_wrong_password_and_a_changed_host_key(operator: Console) -> None:
    with opened(operator) as terminal:
        describe(terminal, operator)
        terminal.press("w", "down", "w")
        terminal.wait("To be approved")
        terminal.press("a")
        terminal.wait("Apply this plan?")
        terminal.press("tab", "enter")
        terminal.wait(lambda text: " of 45 steps" in text and not text.split(" of 45 steps")[0].endswith(" 0"), 60)
        terminal.wait("12 of 45 steps", 60)
        terminal.kill()

    assert "mirror: https://mirror.example" in operator.inventory.read_text()
    assert "# The domain under which the home is reached" in operator.inventory.read_text()
    operator.lab.pi5.change_host_key()

    with opened(operator) as terminal:
        terminal.wait("pi5 could not be asked", 60)
        terminal.wait("its host key changed")
        terminal.wait("! not finished")
        terminal.press("2")
        terminal.wait("was not finished")
        terminal.press("escape")
        terminal.wait(lambda text: "was not finished" not in text)
        terminal.wait("Not to be applied yet: unreachable")
        terminal.press("ctrl+b", "down")
        terminal.wait("F7, if you installed it anew")
        terminal.press("f7")
        terminal.wait("Forget the pinned host key of pi5?")
        terminal.press("tab", "enter")
        approve_key(terminal, operator, "pi5")
        give_password(terminal, PASSWORD)
        terminal.wait("✓ logged in, and root: debian")

        terminal.press("f2")
        terminal.wait("Resume")
        terminal.press("tab", "r")
        terminal.wait("✓ Done. 11 proofs hold, 1 pending", 120)
        terminal.press("1")
        terminal.wait("✓ server · Ready")
        terminal.wait("✓ agent · Ready")
        terminal.press("q")
        assert terminal.ended() == 0

    for secret in (PASSWORD, "blueberry"):
        for path in operator.state.rglob("*"):
            assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    assert "0 steps" in operator.done("plan", "setup", "--waive", "cgroup-v1", code=0)
