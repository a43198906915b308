"""Fixtures for everything about machines."""

from __future__ import annotations

from .sshd import sshd

__all__ = ["sshd"]
