"""The product as its operator runs it: a process of its own in the operator's seat."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..conftest import HOME
from .cache import recorder
from .lab import Lab
from .machines import PASSWORD, read_record

ROOT = Path(__file__).resolve().parents[2]


class Console:
    """One operator's machine: home folder, inventory, journal.

    Args:
        lab: The lab, with this process in the operator's seat.
        folder: An empty folder for the operator's files.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.inventory = folder / "homek8s.yaml"
        self.inventory.write_text(HOME)
        self.kubeconfig = folder / "kubeconfig"
        self.state = folder / "state"
        self.password = PASSWORD
        ssh = folder / ".ssh"
        ssh.mkdir(mode=0o700)
        shutil.copy(lab.keys.plain, ssh / "id_ed25519")
        (ssh / "id_ed25519").chmod(0o600)
        self.password_file = folder / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        self.password_file.chmod(0o600)
        self._record = folder / "executions"
        self._record.touch()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the operator's shell."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")}
        return {
            **kept,
            "HOME": str(self.folder),
            "HOMEK8S_STATE": str(self.state),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "KUBECONFIG": str(self.kubeconfig),
            "SSL_CERT_FILE": str(self.lab.ca_file),
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": str(recorder("operator")),
            "LAB_RECORD": str(self._record),
        }

    def executions(self) -> list[list[str]]:
        """The argument lists of the product's own processes and of the programs they started, in order."""
        return read_record(self._record)

    def fingerprint(self, host: str) -> str:
        """A machine's real fingerprint, as somebody in front of it would read it."""
        words = self.lab.hosts[host].host_key.split()
        done = subprocess.run(
            ["ssh-keygen", "-lf", "-"], input=" ".join(words[:2]), capture_output=True, text=True, check=True
        )
        return done.stdout.split()[1]

    def command(self, *arguments: str, program: Sequence[str] = ("-m", "homek8s_tui.cli.app")) -> list[str]:
        """The command line of the product."""
        keys = [word for host in self.lab.hosts for word in ("--host-key", f"{host}={self.fingerprint(host)}")]
        password = ["--secret", f"sudo:pi5=command:cat {self.password_file}"]
        return [sys.executable, *program, "--home", str(self.inventory), *keys, *password, *arguments]

    def run(self, *arguments: str, timeout: float = 300, **more: object) -> subprocess.CompletedProcess[str]:
        """Runs the product to its end; it never has a terminal here."""
        program = more.pop("program", ("-m", "homek8s_tui.cli.app"))
        variables = {**self.environment, **{str(name): str(value) for name, value in more.items()}}
        return subprocess.run(
            self.command(*arguments, program=program),  # type: ignore[arg-type]  # a tuple of words
            env=variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def done(self, *arguments: str, code: int = 0) -> str:
        """Runs the product, and fails the test with its words unless it ended as expected."""
        done = self.run(*arguments)
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr}"
        )
        return done.stdout

    def outcomes(self) -> dict[str, object]:
        """The newest run as the journal tells it."""
        runs = json.loads(self.done("journal", "--json"))
        return dict(runs[0])

    def set_up(self) -> str:
        """Sets the home up, whole."""
        return self.done("apply", "setup", "--yes", "--waive", "cgroup-v1")
