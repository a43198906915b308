"""Timing processes, fairly."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.report import BenchError


def timed(
    argv: Sequence[str | Path], environment: Mapping[str, str], folder: Path, timeout: float = 600
) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Runs a program to its end, without a terminal; returns the seconds from its start to its end, and what it said."""
    began = time.perf_counter()
    done = subprocess.run(
        argv,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return time.perf_counter() - began, done


def interleaved(contenders: Mapping[str, Callable[[], float]], times: int) -> dict[str, float]:
    """Lets everybody run in turns, so that a busy moment of the machine hits all of them; returns the medians.

    Args:
        contenders: By name, what runs once and returns its seconds. One run of each goes before and does not count.
        times: How many runs of each count.
    """
    runs: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(times + 1):
        for name, run in contenders.items():
            seconds = run()
            if turn:
                runs[name].append(seconds)
    for name, seconds_each in runs.items():
        print(f"  {name}: " + " ".join(f"{seconds:.2f}" for seconds in seconds_each) + " s")
    return {name: statistics.median(seconds_each) for name, seconds_each in runs.items()}


def must(fits: bool, who: str, done: subprocess.CompletedProcess[str]) -> None:
    """Makes sure that a run did what it was timed for.

    Raises:
        BenchError: If it did not, with the end of what it said.
    """
    if not fits:
        said = (done.stdout + done.stderr)[-4000:].strip()
        raise BenchError(f"{who} ended with {done.returncode} and did not do what is measured:\n{said}")
