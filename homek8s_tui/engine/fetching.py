"""Downloads for this console: over verified HTTPS only, and never used before their digest is right."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
import urllib.response
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.home.artefacts import Download, parse_checksums

_LARGEST_TEXT = 1 << 20


class WebFetcher:
    """Fetches artefacts and keeps them by digest.

    Args:
        cache: The folder they are kept in.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def checksums(self, downloads: Iterable[Download]) -> Mapping[str, str]:
        """Returns the SHA-256 of each download by its key.

        It comes from the release's own checksum file; a download without one (the K3s installer, which upstream
        pins by its tag only) is fetched and digested.

        Raises:
            Trouble: If one can't be had.
        """
        found: dict[str, str] = {}
        files: dict[str, Mapping[str, str]] = {}
        for download in downloads:
            if download.checksums_url is None:
                found[download.key] = hashlib.sha256(self._text(download.url)).hexdigest()
                continue
            if download.checksums_url not in files:
                files[download.checksums_url] = parse_checksums(
                    self._text(download.checksums_url).decode("utf-8", "replace")
                )
            name = download.key.rsplit("/", 1)[-1]
            if name not in files[download.checksums_url]:
                raise Trouble(
                    f"find the checksum of {name}",
                    download.checksums_url,
                    "the release's checksum file does not name it",
                    "Look whether the release has that file, or pin its checksum in the inventory.",
                )
            found[download.key] = files[download.checksums_url][name]
        return found

    def download(self, url: str, sha256: str) -> Path:
        """Returns a local file with that digest.

        Raises:
            Trouble: If it can't be had or is something else.
        """
        kept = self._cache / sha256
        if kept.exists():
            return kept
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._cache)
        except OSError as error:
            raise Trouble(
                "keep a download", str(self._cache), str(error), "Look at the free space of its disk."
            ) from None
        fresh = Path(name)
        try:
            digest = hashlib.sha256()
            with os.fdopen(number, "wb") as file, self._open(url) as answer:
                while block := answer.read(1 << 18):
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != sha256:
                raise Trouble(
                    "download",
                    url,
                    f"it has the SHA-256 {digest.hexdigest()} and not {sha256}",
                    "Do not use it. Compare with the release's checksums; somebody may have changed the file.",
                )
            fresh.replace(kept)
        except (OSError, HTTPException) as error:
            raise self._trouble(url, error) from None
        finally:
            fresh.unlink(missing_ok=True)
        return kept

    def _text(self, url: str) -> bytes:
        try:
            with self._open(url) as answer:
                data: bytes = answer.read(_LARGEST_TEXT + 1)
        except (OSError, HTTPException) as error:
            raise self._trouble(url, error) from None
        if len(data) > _LARGEST_TEXT:
            raise Trouble("download", url, "it is larger than any checksum file or installer", "Look at the address.")
        return data

    @staticmethod
    def _open(url: str) -> urllib.response.addinfourl:
        if not url.startswith("https://"):
            raise Trouble(
                "download", url, "only https is used for artefacts", "Give the mirror an https address.", Kind.USAGE
            )
        answer: urllib.response.addinfourl = urllib.request.urlopen(url, timeout=20)  # noqa: S310 - https alone, see above
        return answer

    @staticmethod
    def _trouble(url: str, error: Exception) -> Trouble:
        reason = getattr(error, "reason", error)
        return Trouble(
            "download",
            url,
            one_line(str(reason) or type(error).__name__),
            "Look whether this console reaches that address; a mirror can be named in the inventory.",
            Kind.UNREACHABLE,
        )
