"""What the set-up's form holds: everything as it was typed, sound or not. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from homek8s_tui.home import inventory
from homek8s_tui.home.inventory import Node, Proxy, Ssh

_USUAL = ("root", "pi")
MACHINE_FIELDS = ("name", "address", "user", "port")
"""The fields of a machine in the form."""


class MachineDraft(msgspec.Struct):
    """A machine as it was typed."""

    name: str = ""
    """Its name."""
    address: str = ""
    """Its address."""
    user: str = "pi"
    """Who logs in."""
    port: str = "22"
    """The port of its sshd."""
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
        wrong = any(problem.startswith(f"{path}.ssh") for problem in problems)
        if wrong or any(f"{path}.{field}" in problems for field in MACHINE_FIELDS) or not self.address:
            return None
        plain: dict[str, Any] = {"address": self.address}
        # with ~/.ssh/config in between, a default that nobody wrote must not win over what it says
        if not (self.ssh or {}).get("config") or self.user not in _USUAL:
            plain["user"] = self.user or None
        if not (self.ssh or {}).get("config") or self.port != "22":
            plain["port"] = int(self.port or 22)
        if self.ssh:
            plain["ssh"] = msgspec.convert(self.ssh, Ssh)
        if path == "proxy":
            return Proxy(name=self.name or "proxy", **plain)
        return Node(name=self.name, role="server" if self.server else "agent", **plain) if self.name else None


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
            _set(wanted, field, getattr(self, field), base)
        proxy = wanted["proxy"] if isinstance(wanted.get("proxy"), dict) else {}
        wanted["proxy"] = _machine(self.proxy, proxy, {"name": "proxy", "user": "root", "port": "22"})
        there = [node for node in base.get("nodes") or () if isinstance(node, dict)]
        nodes = []
        for node in self.nodes:
            same = next((old for old in there if old.get("name") == node.name), None) or next(
                (old for old in there if old.get("address") == node.address), {}
            )
            entry = _machine(node, copy.deepcopy(same), {"user": "pi", "port": "22"})
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
    for node in plain.get("nodes") or ():
        if isinstance(node, Mapping):
            found = _from_plain(node, MachineDraft())
            found.server = node.get("role") == "server"
            draft.nodes.append(found)
    return draft


def _from_plain(plain: Mapping[str, Any], draft: MachineDraft) -> MachineDraft:
    for field in MACHINE_FIELDS:
        if plain.get(field) is not None:
            setattr(draft, field, _text(plain[field]))
    draft.ssh = dict(plain["ssh"]) if isinstance(plain.get("ssh"), Mapping) else None
    return draft


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _machine(draft: MachineDraft, entry: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    for field in MACHINE_FIELDS:
        typed = getattr(draft, field).strip()
        # what is a default need not be written; where it stands it is kept
        if typed == defaults.get(field) and field not in entry:
            continue
        _set(entry, field, int(typed) if field == "port" and typed.isdecimal() else typed, entry)
    return entry


def _set(wanted: dict[str, Any], field: str, value: str | int, base: Mapping[str, Any]) -> None:
    value = value.strip() if isinstance(value, str) else value
    if value == "" or (field == "name" and value == "home" and "name" not in base and "domain" in wanted):
        wanted.pop(field, None)
    else:
        wanted[field] = value
