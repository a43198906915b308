"""`python -m bench [NAME...]`: runs benchmarks and prints one table; the exit code is 1 when a limit is missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping

from bench import console, home
from bench.report import BenchError, Row, table

BENCHMARKS: Mapping[str, Callable[[], Iterable[Row]]] = {"console": console.run, "home": home.run}
"""Every benchmark, by name. It prints what a reader must know, and yields its rows."""


def main() -> int:
    """Runs what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)} (all without one)")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load before: {load}")
    rows: list[Row] = []
    trouble = False
    for name in names:
        print(f"{name}:", flush=True)
        try:
            rows.extend(BENCHMARKS[name]())
        except BenchError as error:
            trouble = True
            print(f"  {error}", file=sys.stderr)
    if rows:
        print("\n" + table(rows))
    return int(trouble or not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
