"""What the set-up's form holds: everything as it was typed, sound or not. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Node, Proxy, Ssh

_MOST_DIGITS = 18
MACHINE_FIELDS = ("name", "address", "user", "port")
"""The fields of a machine in the form."""


class MachineDraft(msgspec.Struct):
    """A machine as it was typed."""

    name: str = ""
    """Its name."""
    address: str = ""
    """Its address."""
    user: str = "pi"
    """Who logs in; empty for whom ~/.ssh/config says, where it is asked."""
    port: str = "22"
    """The port of its sshd; empty for the one that ~/.ssh/config says, where it is asked."""
    server: bool = False
    """Whether it runs the control plane; of nodes only."""
    ssh: dict[str, Any] | None = None
    """How SSH gets there, as it stands in the inventory; the form does not show it."""

    def machine(self, path: str, problems: Mapping[str, str]) -> Proxy | Node | None:
        """Returns it as a machine to log in to, once what that takes is sound.

        Args:
            path: Its path among the problems: ``proxy`` or ``nodes[0]``.
            problems: What is wrong with the draft.
        """
        name, address, user, port = (getattr(self, field).strip() for field in MACHINE_FIELDS)
        wrong = any(problem.startswith(f"{path}.ssh") for problem in problems)
        if wrong or any(f"{path}.{field}" in problems for field in MACHINE_FIELDS) or not address:
            return None
        plain: dict[str, Any] = {"address": address, "user": user or None, "port": int(port) if port else None}
        if self.ssh:
            plain["ssh"] = msgspec.convert(self.ssh, Ssh)
        if path == "proxy":
            return Proxy(name=name or "proxy", **plain)
        return Node(name=name, role="server" if self.server else "agent", **plain) if name else None


class Draft(msgspec.Struct):
    """A home as it was typed."""

    name: str = "home"
    """The home's name."""
    domain: str = ""
    """Its domain."""
    lan: str = ""
    """Its network."""
    proxy: MachineDraft = msgspec.field(default_factory=lambda: MachineDraft("proxy", user="root"))
    """The proxy."""
    nodes: list[MachineDraft] = msgspec.field(default_factory=list)
    """The nodes."""

    def over(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Returns it as an inventory's plain values, laid over those that the form does not show.

        Args:
            base: The inventory as it is; empty if there is none.
        """
        wanted: dict[str, Any] = copy.deepcopy(dict(base))
        for field in ("name", "domain", "lan"):
            if getattr(self, field).strip() != getattr(Draft(), field) or base.get(field) is not None:
                _set(wanted, field, getattr(self, field))
        proxy = wanted["proxy"] if isinstance(wanted.get("proxy"), dict) else {}
        wanted["proxy"] = _machine(self.proxy, proxy, MachineDraft("proxy", user="root"))
        there = _nodes(base)
        nodes = []
        for node in self.nodes:
            same = next((old for old in there if old.get("name") == node.name.strip()), None) or next(
                (old for old in there if old.get("address") == node.address.strip()), {}
            )
            entry = _machine(node, copy.deepcopy(dict(same)), MachineDraft())
            entry["role"] = "server" if node.server else "agent"
            nodes.append(entry)
        wanted["nodes"] = nodes
        return wanted

    def problems(self, base: Mapping[str, Any]) -> Mapping[str, str]:
        """Returns what is wrong with it, by the field's path; see `homek8s_tui.home.inventory.problems`."""
        found = dict(inventory.problems(self.over(base)))
        if not self.nodes:
            found["nodes"] = "no machine at home is named yet; add one, or find them on the network"
        return found


def from_plain(plain: Mapping[str, Any]) -> Draft:
    """Returns the draft of an inventory that may be half done; what is no text or number is left out."""
    draft = Draft(_text(plain.get("name")) or "home", _text(plain.get("domain")), _text(plain.get("lan")))
    proxy = plain.get("proxy")
    if isinstance(proxy, Mapping):
        draft.proxy = _from_plain(proxy, MachineDraft("proxy", user="root"))
    for node in _nodes(plain):
        found = _from_plain(node, MachineDraft())
        found.server = node.get("role") == "server"
        draft.nodes.append(found)
    return draft


def _nodes(plain: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = plain.get("nodes")
    return [node for node in nodes if isinstance(node, Mapping)] if isinstance(nodes, list) else []


def _from_plain(plain: Mapping[str, Any], draft: MachineDraft) -> MachineDraft:
    draft.ssh = dict(plain["ssh"]) if isinstance(plain.get("ssh"), Mapping) else None
    _leave_to_ssh(draft)
    for field in MACHINE_FIELDS:
        if plain.get(field) is not None:
            setattr(draft, field, _text(plain[field]))
    return draft


def _leave_to_ssh(draft: MachineDraft) -> None:
    """With ~/.ssh/config in between, a default that nobody wrote must not win over what it says."""
    if draft.ssh and draft.ssh.get("config"):
        draft.user = draft.port = ""


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _machine(draft: MachineDraft, entry: dict[str, Any], usual: MachineDraft) -> dict[str, Any]:
    usual.ssh = entry["ssh"] if isinstance(entry.get("ssh"), Mapping) else None
    _leave_to_ssh(usual)
    for field in MACHINE_FIELDS:
        typed = getattr(draft, field).strip()
        # what is a default need not be written; where it stands it is kept
        if typed == getattr(usual, field) and entry.get(field) is None:
            continue
        number = field == "port" and typed.isdecimal() and len(typed) <= _MOST_DIGITS
        _set(entry, field, int(typed) if number else typed)
    return entry


def _set(wanted: dict[str, Any], field: str, value: str | int) -> None:
    value = value.strip() if isinstance(value, str) else value
    if value == "":
        wanted.pop(field, None)
    else:
        wanted[field] = value
