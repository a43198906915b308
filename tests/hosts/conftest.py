"""Fixtures for everything about machines."""

from __future__ import annotations

from .sshd import bastion, sshd

__all__ = ["bastion", "sshd"]
