"""The lab's own servers as a test sees them: start, stop, what they were asked."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ground import Ground, alive, wait_until


@dataclass(frozen=True)
class Request:
    """One request to a mirror. Machines behind the home's router all show up with its outside address."""

    time: float
    client: str
    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Question:
    """One question to the name server, and the address it got (None: no such name)."""

    time: float
    client: str
    name: str
    address: str | None


class Service:
    """A server process in the namespace `mirror` that a test can stop and start."""

    script = ""

    def __init__(self, ground: Ground, name: str, config: dict[str, Any]) -> None:
        self._ground = ground
        self.name = name
        self._directory = ground.directory
        self._pid = self._directory / f"{name}.pid"
        self.log = self._directory / f"{name}.log"
        self._config = {**config, "pid": str(self._pid), "log": str(self.log)}

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is stopped."""
        try:
            pid = int(json.loads(self._pid.read_text())["pid"])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, ValueError):
            return None
        # A pid file left behind by a killed lab must not point at somebody else's process.
        return pid if str(self._directory / f"{self.name}.json") in words and alive(pid) else None

    def start(self) -> None:
        """Start the server and wait until it listens."""
        if self.pid is not None:
            return
        self._pid.unlink(missing_ok=True)
        config = self._directory / f"{self.name}.json"
        config.write_text(json.dumps(self._config))
        self._ground.detach(self.script, config, self._directory / f"{self.name}.out", "mirror")
        wait_until(self._pid.exists, f"the lab's server '{self.name}' listens", 10)

    def stop(self) -> None:
        """Kill the server: from now on connections to it are refused."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not alive(pid), f"the lab's server '{self.name}' ends", 10)

    def hang(self) -> None:
        """Let the server fall silent: connections open, and then nothing comes."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """End what `hang` began."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    def _entries(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def forget(self) -> None:
        """Empty the log."""
        if self.log.exists():
            os.truncate(self.log, 0)


class Mirror(Service):
    """A file server."""

    script = "mirror_server.py"

    def requests(self) -> list[Request]:
        """What it was asked for, oldest first."""
        return [Request(**entry) for entry in self._entries()]


class NameServer(Service):
    """The name server. Its zone is a file that counts from the next question on."""

    script = "dns_server.py"

    def __init__(self, ground: Ground, name: str, address: str, records: dict[str, str]) -> None:
        self._zone = ground.directory / f"{name}.zone"
        self._default = dict(records)
        self._records = dict(records)
        super().__init__(ground, name, {"address": address, "zone": str(self._zone)})

    def start(self) -> None:
        """Start it with the zone as it stands."""
        self._write()
        super().start()

    def set(self, name: str, address: str) -> None:
        """Let a name (or a wildcard `*.name`) lead to this address."""
        self._records[name] = address
        self._write()

    def remove(self, name: str) -> None:
        """Forget a name: it does not exist any more."""
        self._records.pop(name, None)
        self._write()

    def restore(self) -> None:
        """Bring the zone back to what the lab began with."""
        self._records = dict(self._default)
        self._write()

    def _write(self) -> None:
        fresh = self._zone.with_suffix(".new")
        fresh.write_text("".join(f"{address} {name}\n" for name, address in self._records.items()))
        fresh.rename(self._zone)

    def questions(self) -> list[Question]:
        """What it was asked, oldest first."""
        return [Question(**entry) for entry in self._entries()]
