"""What is shipped works by itself: the wheel in an empty environment runs the demo."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_runs_the_demo(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "homek8s_tui/hosts/scripts/ask.sh" in names
    assert not any(name.startswith("tests") for name in names)
    # the third-party packages are those of this environment; ours comes from the wheel alone
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    for package in ("click", "msgspec", "platformdirs", "ruamel"):
        (site / package).symlink_to(ours / package)
    done = subprocess.run(
        [home / "bin" / "python", "-m", "homek8s_tui.cli.app", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Planned again: 0 steps" in done.stdout
