"""Values that must never be shown."""

from __future__ import annotations

import hmac
from typing import Protocol


class Secret:
    """A secret value that formats as ``<secret>`` everywhere; only `reveal` gives it away.

    Args:
        value: The value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the value itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        raise TypeError("a secret is no key")

    def __reduce__(self) -> str:
        raise TypeError("a secret is not stored")


class SecretSource(Protocol):
    """Where secrets that only the operator has come from: asked once, checked once, kept for the process.

    Names: ``sudo:HOST``, ``login:HOST``, ``passphrase:KEYFILE``.
    """

    def get(self, name: str, prompt: str) -> Secret:
        """Returns a secret.

        Args:
            name: Its name, as ``--secret NAME=...`` takes it.
            prompt: How to ask a person for it.

        Raises:
            Trouble: Of kind SECRET, naming what is missing, if nobody can be asked.
        """
        ...

    def reject(self, name: str) -> bool:
        """Forgets a secret that turned out to be wrong.

        Returns:
            Whether somebody can be asked for another one; a given one is never tried twice.
        """
        ...
