"""Everything outside the program, in one value that wiring builds, real or rehearsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from homek8s_tui.base.clock import Clock
from homek8s_tui.home.artefacts import Download
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.doer import Doer
from homek8s_tui.hosts.host import Asker
from homek8s_tui.plan.checks import Judge, Probe, Seen


class Prober(Protocol):
    """Looks at one thing from one vantage."""

    def look(self, probe: Probe, home: Home) -> Seen:
        """Returns what was seen; never raises for what it looks at."""
        ...


class Fetcher(Protocol):
    """Gets artefacts for this console."""

    def checksums(self, downloads: Iterable[Download]) -> Mapping[str, str]:
        """Returns the SHA-256 of each download by its key, from its release's own checksum file.

        Raises:
            Trouble: If one can't be had.
        """
        ...

    def download(self, url: str, sha256: str) -> Path:
        """Returns a local file with that digest, downloaded unless it was before.

        Raises:
            Trouble: If it can't be had or is something else.
        """
        ...


class LocalEditor(Protocol):
    """The kubeconfig of this console."""

    def state(self, path: str, context: str) -> str:
        """Returns ``absent``, or ``context SERVER CERTIFICATE-SHA256``."""
        ...

    def put(self, path: str, context: str, server: str, source: str) -> None:
        """Merges a context of its own made from a cluster's own kubeconfig."""
        ...

    def remove(self, path: str, context: str) -> None:
        """Removes a context with its cluster and user."""
        ...


@dataclass(frozen=True)
class World:
    """The machines, this console's files, the clock. Without doers it is read-only."""

    askers: Mapping[str, Asker]
    """The machines by name, to be asked."""
    doers: Mapping[str, Doer] | None
    """The machines by name, to be changed; None in read-only mode."""
    clock: Clock
    """The one clock."""
    prober: Prober
    """Looks at ports, certificates and answers."""
    fetcher: Fetcher
    """Gets artefacts."""
    local: LocalEditor
    """The kubeconfig."""
    judges: Mapping[str, Judge]
    """The registry of judges."""
    state: Path
    """The folder of the journal and the lock."""
    token: Callable[[], str]
    """Makes a run's random name: 8 hexadecimal digits."""
    who: str
    """Who sits here."""
