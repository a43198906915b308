"""A report of an error of our own: for its owner's eyes, without secrets, and never an error itself."""

from __future__ import annotations

import re
from pathlib import Path

from homek8s_tui.base.secrets import Secret
from homek8s_tui.engine.crash import write_report


def test_a_report_is_its_owner_s_alone_and_says_where_it_is(tmp_path: Path) -> None:
    said = write_report(tmp_path / "state", "Traceback:\nZeroDivisionError: pi4 😀 \ud800\x1b[31m")
    (report,) = (tmp_path / "state").iterdir()
    assert str(report) in said and said.endswith("Please report it.")
    assert report.stat().st_mode & 0o7777 == 0o600
    assert report.parent.stat().st_mode & 0o7777 == 0o700
    assert re.fullmatch(r"report-\d{8}-\d{6}-\d+\.txt", report.name)
    assert report.read_text() == "Traceback:\nZeroDivisionError: pi4 😀 \ufffd"


def test_no_secret_is_in_a_report(tmp_path: Path) -> None:
    secrets = [Secret("hunter2"), Secret(""), Secret("two\nlines")]
    write_report(tmp_path, "ValueError: 'hunter2' or two\nlines, hunter2hunter2", secrets)
    (report,) = tmp_path.iterdir()
    assert report.read_text() == "ValueError: '<secret>' or <secret>, <secret><secret>"


def test_a_folder_that_can_t_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_report(tmp_path / "file" / "state", "Traceback") == "and could not write a report of it."
