"""The operator's kubeconfig: our context is merged in by parsing, everything else in it stays as it is."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Trouble

_LISTS = {"clusters": "cluster", "contexts": "context", "users": "user"}


@dataclass(frozen=True, repr=False)
class Credentials:
    """What a context needs to talk to its API. Never shown."""

    host: str
    """The API's name."""
    port: int
    """Its port."""
    authority: str
    """The CA, PEM."""
    certificate: str
    """The client certificate, PEM."""
    key: str
    """Its key, PEM."""


class Kubeconfig:
    """Edits kubeconfig files: locked, atomic, 0600."""

    def state(self, path: str, context: str) -> str:
        """Returns ``absent``, or ``context SERVER`` and the SHA-256 of the client certificate's text."""
        document = _read(Path(path).expanduser())
        cluster, user = _entry(document, "clusters", context), _entry(document, "users", context)
        if cluster is None or user is None or _entry(document, "contexts", context) is None:
            return "absent"
        certificate = str(user.get("client-certificate-data", ""))
        return f"context {cluster.get('server', '')} {hashlib.sha256(certificate.encode()).hexdigest()}"

    def put(self, path: str, context: str, server: str, source: str) -> None:
        """Merges the first context of a cluster's own kubeconfig under another name and address.

        Raises:
            Trouble: If either file is no kubeconfig or can't be written.
        """
        made = _parse(source, "the server's kubeconfig")
        try:
            cluster, user = made["clusters"][0]["cluster"], made["users"][0]["user"]
        except (KeyError, IndexError, TypeError):
            raise Trouble(
                "read the server's kubeconfig",
                "",
                "it has no cluster or no user",
                "Look at /etc/rancher/k3s/k3s.yaml on the server.",
            ) from None
        bodies: dict[str, dict[str, Any]] = {
            "clusters": {**cluster, "server": server},
            "contexts": {"cluster": context, "user": context},
            "users": dict(user),
        }
        with _editing(Path(path).expanduser()) as document:
            for plural, singular in _LISTS.items():
                entries = document.setdefault(plural, [])
                entry = next((entry for entry in entries if entry.get("name") == context), None)
                if entry is None:
                    entries.append({"name": context, singular: bodies[plural]})
                else:
                    entry[singular] = bodies[plural]
            document.setdefault("apiVersion", "v1")
            document.setdefault("kind", "Config")
            if not document.get("current-context"):
                document["current-context"] = context

    def remove(self, path: str, context: str) -> None:
        """Removes a context with its cluster and user; an otherwise empty file goes too."""
        file = Path(path).expanduser()
        with _editing(file) as document:
            for plural in _LISTS:
                document[plural] = [entry for entry in document.get(plural) or [] if entry.get("name") != context]
            if document.get("current-context") == context:
                document["current-context"] = ""
        if not any(document[plural] for plural in _LISTS):
            file.unlink()


def credentials(path: str, context: str) -> Credentials | None:
    """Returns a context's credentials, or None if the file has no such context with embedded ones."""
    document = _read(Path(path).expanduser())
    cluster, user = _entry(document, "clusters", context), _entry(document, "users", context)
    if cluster is None or user is None:
        return None
    address = urlsplit(str(cluster.get("server", "")))
    try:
        authority, certificate, key = (
            base64.b64decode(str(data), validate=True).decode()
            for data in (
                cluster.get("certificate-authority-data", ""),
                user.get("client-certificate-data", ""),
                user.get("client-key-data", ""),
            )
        )
    except ValueError:  # of bad base64, of letters beyond ASCII, of bytes that are no text
        return None
    return Credentials(address.hostname or "", address.port or 443, authority, certificate, key)


def _yaml() -> Any:
    from ruamel.yaml import YAML  # a tenth of a second that only those pay who touch a kubeconfig

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    return yaml


def _parse(text: str, source: str) -> MutableMapping[str, Any]:
    from ruamel.yaml.error import YAMLError

    try:
        document = _yaml().load(text)
    except YAMLError as error:
        raise Trouble(
            "read the kubeconfig", source, one_line(str(error)), "Mend the file or name another one as 'kubeconfig'."
        ) from None
    if document is None:
        return {}
    if not isinstance(document, MutableMapping):
        raise Trouble(
            "read the kubeconfig", source, "it is no mapping", "Mend the file or name another one as 'kubeconfig'."
        )
    return document


def _read(path: Path) -> MutableMapping[str, Any]:
    try:
        return _parse(path.read_text(), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble("read the kubeconfig", str(path), str(error), "Look at the file's owner and mode.") from None


def _entry(document: MutableMapping[str, Any], plural: str, name: str) -> MutableMapping[str, Any] | None:
    for entry in document.get(plural) or []:
        if (
            isinstance(entry, MutableMapping)
            and entry.get("name") == name
            and isinstance(entry.get(_LISTS[plural]), MutableMapping)
        ):
            body: MutableMapping[str, Any] = entry[_LISTS[plural]]
            return body
    return None


@contextmanager
def _editing(path: Path) -> Iterator[MutableMapping[str, Any]]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.homek8s-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = _read(path)
            yield document
            text = io.StringIO()
            _yaml().dump(document, text)
            number, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 from the first byte
            try:
                with os.fdopen(number, "w") as file:
                    file.write(text.getvalue())
                    file.flush()
                    os.fsync(file.fileno())
                Path(fresh).replace(path)
            except BaseException:
                Path(fresh).unlink(missing_ok=True)
                raise
            Path(lock.name).unlink(missing_ok=True)
    except OSError as error:
        raise Trouble(
            "write the kubeconfig", str(path), str(error), "Look at the folder's owner and the free space."
        ) from None
