"""What is downloaded for a home, from where, and how a published list of checksums is read. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.home.inventory import Home

_K3S = {
    "x86_64": ("k3s", "sha256sum-amd64.txt"),
    "aarch64": ("k3s-arm64", "sha256sum-arm64.txt"),
    "armv7l": ("k3s-armhf", "sha256sum-arm.txt"),
}
_TRAEFIK = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armv7"}
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?([A-Za-z0-9][A-Za-z0-9._+-]{0,199})")
_MOST_CHARACTERS = 1 << 18


class Download(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file to download."""

    key: str
    """``<project>/<version>/<file>``: its name in the inventory's checksums, in the cache and on a mirror."""
    url: str
    """Where it comes from."""
    checksums_url: str | None
    """Where its project publishes a list with its checksum, if it does."""

    @property
    def file(self) -> str:
        """Its name in that list."""
        return self.key.rpartition("/")[2]


def k3s_binary(home: Home, architecture: str) -> Download:
    """Names the K3s binary for a node.

    Args:
        home: The home, for the version and the mirror.
        architecture: The node's, as ``uname -m`` gives it.

    Returns:
        The download.

    Raises:
        Trouble: K3s is not built for that architecture.
    """
    _supported("K3s", architecture, _K3S)
    file, checksums = _K3S[architecture]
    version = home.versions.k3s
    upstream = f"https://github.com/k3s-io/k3s/releases/download/{_quoted(version)}"
    return _download(home, f"k3s/{version}", file, upstream, checksums)


def k3s_installer(home: Home) -> Download:
    """Names the K3s installer of the pinned version.

    Args:
        home: The home, for the version and the mirror.

    Returns:
        The download; no checksum is published for it.
    """
    version = home.versions.k3s
    upstream = f"https://raw.githubusercontent.com/k3s-io/k3s/{_quoted(version)}"
    return _download(home, f"k3s/{version}", "install.sh", upstream, None)


def traefik_archive(home: Home, architecture: str) -> Download:
    """Names the Traefik archive for the proxy.

    Args:
        home: The home, for the version and the mirror.
        architecture: The proxy's, as ``uname -m`` gives it.

    Returns:
        The download.

    Raises:
        Trouble: Traefik is not built for that architecture.
    """
    _supported("Traefik", architecture, _TRAEFIK)
    version = home.versions.traefik
    file = f"traefik_{version}_linux_{_TRAEFIK[architecture]}.tar.gz"
    upstream = f"https://github.com/traefik/traefik/releases/download/{_quoted(version)}"
    return _download(home, f"traefik/{version}", file, upstream, f"traefik_{version}_checksums.txt")


def parse_checksums(text: str) -> dict[str, str]:
    """Reads a published list of checksums, as ``sha256sum`` writes it.

    Args:
        text: The list; it came from the internet.

    Returns:
        SHA-256 digests in small letters, by file name.

    Raises:
        Trouble: Anything in it is not such a line, or a name stands twice.
    """
    if len(text) > _MOST_CHARACTERS:
        raise _malformed(f"the list is longer than {_MOST_CHARACTERS} characters")
    digests: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise _malformed(f'line {number} is not a digest and a file name: "{one_line(line, 100)}"')
        digest, name = match.groups()
        if name in digests:
            raise _malformed(f"line {number} names {name} a second time")
        digests[name] = digest.lower()
    if not digests:
        raise _malformed("the list is empty")
    return digests


def _malformed(came_back: str) -> Trouble:
    do = "Check what the release or the mirror publishes; nothing of it has been used"
    return Trouble("read a list of checksums", "", came_back, do)


def _supported(what: str, architecture: str, known: Collection[str]) -> None:
    if architecture not in known:
        said = f'the machine calls itself "{one_line(architecture, 60)}"; {what} is taken for {", ".join(known)}'
        raise Trouble(f"choose the {what} download", "", said, "Use a machine with one of these architectures")


def _quoted(version: str) -> str:
    return version.replace("+", "%2B")


def _download(home: Home, folder: str, file: str, upstream: str, checksums: str | None) -> Download:
    base = f"{home.artefacts.mirror}/{folder}" if home.artefacts.mirror else upstream
    return Download(f"{folder}/{file}", f"{base}/{file}", f"{base}/{checksums}" if checksums else None)
