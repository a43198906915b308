"""The inventory: what the operator declares about a home, read from ``homek8s.yaml``.

Reading never stops at the first mistake: every problem is collected with its file, line and field, and one
`Trouble` lists them all. The YAML is read as a stream of events, not loaded: that gives exact places for each
value, and leaves nothing that a hostile file could have built (no tags, no aliases, no deep nesting).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import ipaddress
import itertools
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble

FILE_NAME = "homek8s.yaml"
"""What an inventory is called where nobody says otherwise."""
MOST_BYTES = 1 << 20
"""The largest inventory that is read."""
_MOST_DEPTH = 10
_MOST_SHOWN = 50
_CLUSTER_NETWORKS = {"the cluster's pods": "10.42.0.0/16", "the cluster's services": "10.43.0.0/16"}
_PRIVATE = tuple(
    ipaddress.IPv4Network(block)
    # The blocks reserved for documentation stay allowed: examples, rehearsals and labs live there.
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
    )
)  # fmt: skip
_SECRET_NAME = re.compile(
    "password|passwd|passphrase|token|secret|credential|psk|private_?key|preshared|(api|ssh)_?key|^(pass|key)$", re.I
)
_SECRET_VALUE = re.compile(r"PRIVATE KEY|K10[0-9a-f]{8}|[A-Za-z0-9+/]{42,}=|//[^/\s]*@")


def _rule(title: str, pattern: str, example: str) -> Meta:
    # Python's $ also matches before a last line end, which must not get into a script; JSON Schema has no \Z.
    return Meta(title=title, pattern=f"^(?:{pattern})$(?!\\n)", examples=[example])


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = rf"(?=.{{1,253}}$)({_LABEL}\.)+(?![0-9]+$){_LABEL}"
_SUBNET = rf"{_ADDRESS}/([89]|[12][0-9]|30)"
_K3S = r"v1\.[0-9]{1,3}\.[0-9]{1,3}(-rc[0-9]{1,2})?\+k3s[0-9]{1,2}"
_TRAEFIK = r"v3\.([6-9]|[1-9][0-9])\.[0-9]{1,3}(-(ea|rc)\.[0-9]{1,2})?"  # 3.6 brought health checks for TCP
_MIRROR = r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~%+-]+)*"
_FILE_KEY = "(k3s|traefik)/v[0-9][A-Za-z0-9.+-]{0,40}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ELSEWHERE = rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,63}}@[A-Za-z0-9]([A-Za-z0-9.-]{{0,251}}[A-Za-z0-9])?(:{_PORT})?"
# a name that begins with a dash would be an option to the program that is asked about it
_CONFIGURED = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_PATH = r"(~/|/)[^\u0000-\u001f\u007f\ud800-\udfff]{1,1000}"

Slug = Annotated[str, _rule("small letters, digits and inner dashes", "[a-z]([a-z0-9-]{0,38}[a-z0-9])?", "home")]
HostName = Annotated[str, _rule("a host name of small letters, digits and inner dashes, without dots", _LABEL, "pi4")]
Domain = Annotated[str, _rule("a domain in small letters, such as example.org", _DOMAIN, "example.org")]
Address = Annotated[str, _rule("a literal IPv4 address, such as 192.168.1.4", _ADDRESS, "192.168.1.4")]
TunnelAddress = Annotated[str, _rule("a literal IPv4 address, such as 10.1.10.7", _ADDRESS, "10.1.10.7")]
Subnet = Annotated[str, _rule("an IPv4 subnet from /8 to /30, such as 192.168.1.0/24", _SUBNET, "192.168.1.0/24")]
User = Annotated[str, _rule("a Linux user name", "[a-z_][a-z0-9_-]{0,31}", "pi")]
Port = Annotated[int, Meta(ge=1, le=65535, title="a number from 1 to 65535", examples=[22])]
Mtu = Annotated[int, Meta(ge=1280, le=1500, title="a number from 1280 to 1500", examples=[1420])]
Role = Annotated[Literal["server", "agent"], Meta(title='"server" or "agent"', examples=["agent"])]
Interface = Annotated[
    str,
    _rule("at most 15 letters, digits, dashes and underscores, a letter first", "[A-Za-z][A-Za-z0-9_-]{0,14}", "wg0"),
]
K3sVersion = Annotated[str, _rule("a K3s release, such as v1.36.3+k3s1", _K3S, "v1.36.3+k3s1")]
TraefikVersion = Annotated[str, _rule("a Traefik release from v3.6.0 on, such as v3.7.15", _TRAEFIK, "v3.7.15")]
Mirror = Annotated[
    str,
    _rule(
        "an https address without credentials, query and trailing slash", _MIRROR, "https://mirror.example.org/homek8s"
    ),
]
FileKey = Annotated[
    str, _rule("a file key, such as k3s/v1.36.3+k3s1/k3s-arm64", _FILE_KEY, "k3s/v1.36.3+k3s1/k3s-arm64")
]
Digest = Annotated[str, _rule("a SHA-256 digest: 64 digits 0-9 and a-f", "[0-9a-f]{64}", "0" * 64)]
Jump = Annotated[
    str, _rule("a machine of this home, or user@host:port", f"{_LABEL}|{_ELSEWHERE}", "me@bastion.example.org:22")
]
ConfigName = Annotated[str, _rule("a name as after Host in ~/.ssh/config", _CONFIGURED, "pi4")]
FilePath = Annotated[str, _rule("an absolute path, or one that begins with ~/", _PATH, "~/.kube/config")]


class Ssh(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How SSH gets to a machine that it can't simply connect to."""

    jump: Jump | None = None
    """The machine to go through, by SSH as well: one of this home by its name, or user@host:port of another. It has a
    pinned host key, a login and questions of its own, and has to allow TCP forwarding."""
    config: ConfigName | None = None
    """Its name in your ~/.ssh/config. OpenSSH's own client is asked (ssh -G) for HostName, User, Port, keys, agent,
    HostKeyAlias and ProxyJump; what is written in this file wins. Only SSH uses the HostName, all else the address."""


class Proxy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The cloud machine that the internet reaches."""

    name: HostName = "proxy"
    """What the machine is called here; names are unique in a home."""
    address: Address
    """Its literal public IPv4 address. Not a name: the tunnels must come up at boot, before DNS."""
    user: User | None = None
    """Who to log in as over SSH; root, or someone who may use sudo. When left out, ssh.config's, else root."""
    port: Port | None = None
    """Its SSH port; ssh.config's, else 22 when left out. Any other than 22 belongs here all the same: it is the only
    one besides 80, 443 and 6443 that may be open."""
    ssh: Ssh = Ssh()
    """How SSH gets there, where not simply by address."""
    tunnel_address: TunnelAddress | None = None
    """Its address inside the tunnel; the last usable one of the tunnel's subnet when left out."""

    @property
    def usual_user(self) -> str:
        """Who logs in where nothing says otherwise."""
        return "root"


class Node(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine at home that is part of the cluster."""

    name: HostName
    """Its host name, which is also its name in the cluster; names are unique in a home."""
    address: Address
    """Its IPv4 address in the home network; reserve it in the router so that it never changes."""
    role: Role
    """"server" for the one machine that runs the control plane, "agent" for all others."""
    user: User | None = None
    """Who to log in as over SSH; root, or someone who may use sudo. When left out, ssh.config's, else pi."""
    port: Port | None = None
    """Its SSH port; ssh.config's, else 22 when left out."""
    ssh: Ssh = Ssh()
    """How SSH gets there, where not simply by address."""
    tunnel_address: TunnelAddress | None = None
    """Its address inside the tunnel; the next free one, from the first on, when left out."""

    @property
    def usual_user(self) -> str:
        """Who logs in where nothing says otherwise."""
        return "pi"


class Tunnel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The WireGuard network between all machines."""

    name: Interface = "k8s-tunnel"
    """The name of the network interface on every machine."""
    subnet: Subnet = "10.1.10.0/24"
    """The tunnel's own subnet; it must not overlap any network that is in use."""
    port: Port = 51820
    """The UDP port that WireGuard listens on."""
    mtu: Mtu = 1420
    """The largest packet inside the tunnel; 1412 suits most PPPoE lines, 1280 works everywhere."""


class Versions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pinned versions of what is installed."""

    k3s: K3sVersion = "v1.36.3+k3s1"
    """The K3s release for all nodes."""
    traefik: TraefikVersion = "v3.7.15"
    """The Traefik release for the proxy."""


class Artefacts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where downloads come from, and what they must be."""

    mirror: Mirror | None = None
    """A server of your own with the same files, as <mirror>/k3s/<version>/<file> and
    <mirror>/traefik/<version>/<file>; the projects' own releases when left out."""
    checksums: dict[FileKey, Digest] = {}
    """The SHA-256 of each download by its key, <project>/<version>/<file>; filled in when it is first pinned."""


class Home(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A declared home. Reach one through `load` or `parse`, which have judged it as a whole."""

    name: Slug = "home"
    """What this home is called; it names the context in the kubeconfig."""
    domain: Domain
    """The domain under which the home is reached; it resolves to the proxy."""
    proxy: Proxy
    """The cloud machine that the internet reaches."""
    nodes: tuple[Node, ...]
    """The machines at home, exactly one of them with the role server."""
    lan: Subnet
    """The home network that all nodes are in."""
    tunnel: Tunnel = Tunnel()
    """The WireGuard network between all machines."""
    versions: Versions = Versions()
    """The pinned versions of what is installed."""
    artefacts: Artefacts = Artefacts()
    """Where downloads come from, and what they must be."""
    kubeconfig: FilePath | None = None
    """The kubeconfig here that access to the cluster is merged into; ~/.kube/config when left out."""

    @property
    def hosts(self) -> tuple[Proxy | Node, ...]:
        """All machines, the proxy first."""
        return (self.proxy, *self.nodes)

    @property
    def server(self) -> Node:
        """The node that runs the control plane."""
        return next(node for node in self.nodes if node.role == "server")

    @property
    def agents(self) -> tuple[Node, ...]:
        """All other nodes."""
        return tuple(node for node in self.nodes if node.role == "agent")

    def host(self, name: str) -> Proxy | Node:
        """Finds a machine.

        Args:
            name: Its declared name.

        Returns:
            The machine.

        Raises:
            Trouble: No machine has that name.
        """
        by_name = {host.name: host for host in self.hosts}
        if name in by_name:
            return by_name[name]
        tried, known = f'find a machine called "{one_line(name)}"', f"the home {self.name} has {', '.join(by_name)}"
        raise Trouble(tried, "", known, f"Name one of them.{_nearest(name, by_name)}", Kind.USAGE)

    def tunnel_address(self, name: str) -> str:
        """Gives a machine's address inside the tunnel: the declared one, else one by the nodes' order.

        Args:
            name: The machine's declared name.

        Returns:
            The address, without a prefix length.

        Raises:
            Trouble: No machine has that name.
        """
        host = self.host(name)
        if host.tunnel_address:
            return host.tunnel_address
        subnet = ipaddress.IPv4Network(self.tunnel.subnet)
        hub = self.proxy.tunnel_address or _hub(subnet)
        if host is self.proxy:
            return hub
        taken = {hub, *(node.tunnel_address for node in self.nodes)}
        free = (str(address) for address in subnet.hosts() if str(address) not in taken)
        waiting = [node.name for node in self.nodes if not node.tunnel_address]
        return next(address for waiter, address in zip(waiting, free, strict=False) if waiter == name)


def _hub(subnet: ipaddress.IPv4Network) -> str:
    return str(subnet.broadcast_address - 1)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    # Bounded, because the matcher is quadratic and the name may be anything.
    close = difflib.get_close_matches(name[:80].lower(), known, 1)
    return f' Did you mean "{close[0]}"?' if close else ""


# --- reading ------------------------------------------------------------------------------------------------


@dataclass
class _Item:
    """A value of the file, and where it stands."""

    value: Any
    """A scalar, a list of items, or a dict of items."""
    line: int = 0
    """Counted from 1; 0 for a default, which stands nowhere."""
    start: int = 0
    end: int = 0
    """The characters it takes; both are its key's end for a value that is not there."""
    flow: bool = False
    """Whether it is written in brackets."""
    key: int = 0
    """Where its field's name begins, if it has one."""

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value


class _Reading:
    """What was found in a text so far."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.reached = 1
        """The line of the newest value read."""
        self.problems: list[tuple[int, str]] = []
        self.by_field: dict[str, str] = {}
        """The first problem of each field, by its path."""
        self.lines: dict[str, int] = {}
        """Where each field stands, by its path."""
        self.good: dict[str, Any] = {}
        """The sound scalars by their path, defaults included: so a home is judged even where parts are missing."""

    def problem(self, line: int, sentence: str, path: str = "") -> None:
        self.by_field.setdefault(path, sentence)
        self.problems.append((line or 1, f"{one_line(path, 120)}: {sentence}" if path else sentence))

    def bad(self, path: str, sentence: str, other: str = "") -> None:
        """Notes a problem where a field stands; one with its default stands nowhere, so the other's line is told."""
        self.problem(self.lines.get(path) or self.lines.get(other, 0), sentence, path)

    def wrong(self, item: _Item, kind: Any, path: str) -> None:
        self.problem(item.line, f"found {_found(item.value)}; it must be {_must(kind)}", path)

    def check(self) -> None:
        """Stops where there are problems.

        Raises:
            Trouble: It tells them all, in the order of their lines.
        """
        if not self.problems:
            return
        told = [f"{self.source}:{line}: {sentence}" for line, sentence in sorted(set(self.problems))]
        more = [f"and {len(told) - _MOST_SHOWN} more"] if len(told) > _MOST_SHOWN else []
        came_back = "\n".join(told[:_MOST_SHOWN] + more)
        do = "Correct the file, then run the command again"
        raise Trouble("read the inventory", self.source, came_back, do, Kind.USAGE)

    # From text to items

    def items(self) -> _Item:
        """Reads the text into items.

        Raises:
            Trouble: It is no single, plain YAML mapping.
        """
        from ruamel.yaml import YAML
        from ruamel.yaml.events import NodeEvent

        if len(self.text.encode(errors="surrogatepass")) > MOST_BYTES:
            self.problem(1, "the file is larger than 1 MiB and an inventory a few kilobytes; is this the right file?")
            self.check()
        roots: list[_Item] = []
        try:
            events = iter(YAML(typ="safe", pure=True).parse(self.text))
            roots.extend(self._item(events, event, 0) for event in events if isinstance(event, NodeEvent))
        except Trouble:
            raise
        except Exception as error:  # noqa: BLE001 - on broken text ruamel also leaks OverflowError, KeyError and others
            self._syntax(error)
        else:
            if not roots or roots[0].value is None:
                self.problem(1, "the file is empty; `homek8s init` writes one to start from")
            elif len(roots) > 1:
                self.problem(roots[1].line, "a second document begins before this line; keep one, without ---")
            elif not isinstance(roots[0].value, dict):
                self.wrong(roots[0], Home, "")
        self.check()
        return roots[0]

    def _syntax(self, error: Exception) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        position = getattr(error, "position", None)
        line = mark.line + 1 if mark else self.text.count("\n", 0, position) + 1 if position else self.reached
        said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "a value can't be read")
        if "'\\t'" in said:
            self.problem(line, "there is a tab, which YAML does not take here; use spaces")
        else:
            self.problem(line, f"this is not YAML: {one_line(said)}; look at this line and the one before")

    def _item(self, events: Iterator[Any], event: Any, depth: int, key: Any = None) -> _Item:
        from ruamel.yaml.events import AliasEvent, CollectionEndEvent, ScalarEvent, SequenceStartEvent

        item = _Item(None, event.start_mark.line + 1, event.start_mark.index, event.end_mark.index)
        item.key = key.start_mark.index if key else 0
        self.reached = item.line
        if event.anchor:  # an alias has one too
            self.problem(item.line, "anchors (&) and aliases (*) are not taken; write the value out, or quote it")
        elif event.tag:
            self.problem(item.line, "tags (!) are not taken; write a plain value, or quote it")
        if isinstance(event, AliasEvent):
            return item
        if isinstance(event, ScalarEvent):
            item.value = event.value if event.style else _scalar(event.value)
            if item.start == item.end and key:
                # ruamel puts a missing value where the next token is; what is meant is the place after its key.
                item.line, item.start, item.end = key.end_mark.line + 1, key.end_mark.index, key.end_mark.index
            return item
        item.value = [] if isinstance(event, SequenceStartEvent) else {}
        item.flow = event.flow_style
        if depth == _MOST_DEPTH:
            self.problem(item.line, f"lists and mappings are nested deeper than {_MOST_DEPTH} levels")
            self.check()
        while not isinstance(event := next(events), CollectionEndEvent):
            entry = self._item(events, event, depth + 1)
            if isinstance(item.value, list):
                item.value.append(entry)
            else:
                name, entry = entry, self._item(events, next(events), depth + 1, event)
                self._entry(item.value, event, name, entry)
            # A block ends where its last entry does, not where the parser notices that.
            item.end = entry.end
        item.end = event.end_mark.index if item.flow else item.end
        return item

    def _entry(self, entries: dict[str, _Item], event: Any, name: _Item, value: _Item) -> None:
        text = getattr(event, "value", None)
        if text is None:
            self.problem(name.line, "a field's name must be plain text")
        elif text in entries:
            self.problem(name.line, f"it stands twice, first on line {entries[text].line}; keep one of them", text)
        else:
            entries[text] = value

    # From items to fields

    def field(self, item: _Item, kind: Any, path: str) -> Any:
        """Checks a value by itself, whatever else is wrong, and returns it plain."""
        self.lines[path] = item.line
        shape = _shape(kind)
        if shape is None:
            try:
                self.good[path] = msgspec.convert(item.value, kind)
            except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for half a surrogate pair, from "\ud800"
                self.wrong(item, kind, path)
            return item.value
        entries = shape() if item.value is None else item.value
        if not isinstance(entries, shape):
            self.wrong(item, kind, path)
            del self.lines[path]  # what is not there is not judged
            return None
        if get_origin(kind) is None:
            return self._fields(_Item(entries, item.line), kind, path)
        kinds = get_args(kind)
        if shape is list:
            return [self.field(entry, kinds[0], f"{path}[{index}]") for index, entry in enumerate(entries)]
        for name, entry in entries.items():
            self.field(_Item(name, entry.line), kinds[0], f"{path}.{name}")
        return {name: self.field(entry, kinds[1], f"{path}.{name}") for name, entry in entries.items()}

    def _fields(self, item: _Item, kind: type[Struct], path: str) -> dict[str, Any]:
        known = {each.name: each for each in msgspec.structs.fields(kind)}
        prefix = f"{path}." if path else ""
        for name, given in item.value.items():
            if name not in known:
                self.problem(given.line, _unknown(name, known), prefix + name)
        plain = {}
        for name, each in known.items():
            if name in item.value:
                plain[name] = self.field(item.value[name], each.type, prefix + name)
            elif each.required:
                self.problem(item.line, f"it is missing; it must be {_must(each.type)}", prefix + name)
            else:
                # A section's own defaults are those of its fields.
                default = None if _shape(each.type) else each.default
                self.field(_Item(default), each.type, prefix + name)
        return plain

    # From fields to a home

    def judge(self) -> None:
        """Checks what no field can be judged by alone, as far as the fields in question are sound."""
        self._twice("name", "the name")
        self._twice("address", "the address")
        nodes = [path for path in self.lines if re.fullmatch(r"nodes\[\d+\]", path)]
        roles = [path for path in self._of("role") if path.startswith("nodes")]
        if "nodes" in self.lines and len(nodes) == len(roles):
            self._servers([path for path in roles if self.good[path] == "server"])
        networks = {path: network for path in ("tunnel.subnet", "lan") if (network := self._network(path))}
        self._overlaps(networks)
        if "lan" in networks:
            for path in self._of("address"):
                if path != "proxy.address":
                    self._inside(path, "lan", networks["lan"], "correct the address, or lan")
        if "tunnel.subnet" in networks:
            self._tunnel(networks["tunnel.subnet"], len(nodes) + 1)
        self._jumps()

    def _of(self, name: str) -> dict[str, Any]:
        """Returns that field of all machines, by its path."""
        wanted = re.compile(rf"(proxy|nodes\[\d+\])\.{name}")
        return {path: value for path, value in self.good.items() if value and wanted.fullmatch(path)}

    def _twice(self, name: str, what: str) -> None:
        first: dict[str, str] = {}
        for path, value in self._of(name).items():
            other = first.setdefault(value, path)
            if other != path:
                self.bad(path, f"{what} {value} is that of {other} too; give each machine its own")

    def _servers(self, servers: list[str]) -> None:
        if not servers:
            self.bad("nodes", "no node has the role server, which runs the control plane; give it to one node")
        elif len(servers) == 2:
            why = "etcd needs an odd number of servers, and two are no safer than one: losing either stops the cluster"
            self.bad(servers[1], f"this is the second server, and two are refused: {why}; make this node an agent")
        elif len(servers) > 2:
            more = f"{len(servers)} servers are declared, and more than one is not offered yet"
            self.bad(servers[1], f"{more}; make all but one agents")

    def _jumps(self) -> None:
        names = {name: path.removesuffix(".name") for path, name in self._of("name").items()}
        jumps = {path.removesuffix(".ssh.jump"): jump for path, jump in self._of(r"ssh\.jump").items()}
        onward = {machine: names[jump] for machine, jump in jumps.items() if jump in names}
        for machine, jump in jumps.items():
            path = f"{machine}.ssh.jump"
            own = f"@{self.good.get(f'{machine}.address')}:{self.good.get(f'{machine}.port') or 22}"
            if onward.get(machine) == machine or f"{jump}:22".endswith((own, f"{own}:22")):
                self.bad(path, "a machine is not reached through itself; name another one, or leave it out")
            elif "@" not in jump and jump not in names:
                said = f'no machine of this home is called "{jump}".{_nearest(jump, names)}'
                self.bad(path, f"{said} A machine that is not of this home is written user@host:port")
            else:
                circle = [machine]
                while (machine := onward.get(machine, "")) and machine not in circle:
                    circle.append(machine)
                if machine == circle[0] == min(circle, key=list(jumps).index):
                    told = " -> ".join(self.good[f"{each}.name"] for each in [*circle, machine])
                    self.bad(path, f"the jumps go in a circle ({told}); leave one of them out")

    def _network(self, path: str) -> ipaddress.IPv4Network | None:
        if path not in self.good:
            return None
        network = ipaddress.IPv4Network(self.good[path], strict=False)
        if str(network) != self.good[path]:
            self.bad(path, f"{self.good[path]} is an address inside a subnet; write {network}")
        return network

    def _overlaps(self, networks: dict[str, ipaddress.IPv4Network]) -> None:
        others = {name: ipaddress.IPv4Network(block) for name, block in _CLUSTER_NETWORKS.items()}
        if "proxy.address" in self.good:
            proxy = others["proxy.address"] = ipaddress.IPv4Network(self.good["proxy.address"])
            if any(proxy.overlaps(block) for block in _PRIVATE):
                where = f"{proxy.network_address} can't be reached from the internet"
                self.bad("proxy.address", f"{where}; write the proxy's public address")
        for path, network in reversed(networks.items()):
            for name, other in others.items():
                if network.overlaps(other):
                    self.bad(path, f"{network} overlaps {other} ({name}); choose a subnet that is free", name)
            others[path] = network

    def _inside(self, path: str, name: str, network: ipaddress.IPv4Network, do: str) -> None:
        address = ipaddress.IPv4Address(self.good[path])
        if address not in network:
            self.bad(path, f"{address} is outside {name} {network}; {do}")
        elif address in (network.network_address, network.broadcast_address):
            self.bad(path, f"{address} is no machine's address in {network}; {do}")

    def _tunnel(self, subnet: ipaddress.IPv4Network, machines: int) -> None:
        if "proxy.tunnel_address" in self.good:
            self.good["proxy.tunnel_address"] = self.good["proxy.tunnel_address"] or _hub(subnet)
        self._twice("tunnel_address", "the tunnel address")
        for path in self._of("tunnel_address"):
            self._inside(path, "tunnel.subnet", subnet, "correct it, or leave it out")
        if machines > subnet.num_addresses - 2:
            self.bad("tunnel.subnet", f"{subnet} has no room for {machines} machines; choose a larger one", "nodes")


def _shape(kind: Any) -> Any:
    """Returns what YAML makes of a type: list, dict, or None for a scalar."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return dict
    return {tuple: list, dict: dict}.get(get_origin(kind))


def _scalar(text: str) -> Any:
    """Returns what an unquoted scalar means. A fraction stays text: no field takes one, and 1.36 is a version."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return text.lower() == "true"
    return int(text) if re.fullmatch("[-+]?[0-9]{1,18}", text) else text


def _found(value: Any) -> str:
    """Says what stands there, without telling a secret that ended up in the wrong field."""
    if value is None or isinstance(value, dict | list):
        return "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
    if not isinstance(value, str):
        return f"{str(value).lower()} (not text)"
    return "what looks like a secret (not shown)" if _SECRET_VALUE.search(value) else f'"{one_line(value, 60)}"'


def _must(kind: Any) -> str:
    """Says what a type takes; for scalars the types' titles are the one place for that."""
    shapes = {dict: "a mapping, made of `name: value` lines", list: "a list, each entry with a dash before it"}
    shape = _shape(kind)
    return shapes[shape] if shape else str(_meta(kind).title)


def _meta(kind: Any) -> Meta:
    # `Text | None` holds its metadata one level down.
    metadata = getattr(kind, "__metadata__", None) or get_args(kind)[0].__metadata__
    return cast("Meta", metadata[0])


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    if _SECRET_NAME.search(name.replace("-", "_")):
        why = "no secrets in the inventory, so that it can be shared and kept in git"
        return f"{why}; remove the line: passwords are asked for when needed, keys stay on their machines"
    return f"there is no such field.{_nearest(name, known)} Known here: {', '.join(known)}"


def parse(text: str, source_name: str = FILE_NAME) -> Home:
    """Reads an inventory.

    Args:
        text: The YAML.
        source_name: What to call it in sentences, usually the file's path.

    Returns:
        The home, sound as a whole.

    Raises:
        Trouble: Something is wrong with it; ``came_back`` has a line for each problem, with file, line and field.
    """
    reading = _Reading(text, source_name)
    plain = reading.field(reading.items(), Home, "")
    reading.judge()
    reading.check()
    return msgspec.convert(plain, Home)


def read_plain(text: str, source_name: str = FILE_NAME) -> dict[str, Any]:
    """Reads an inventory's text as mappings, lists and scalars, whether its fields are sound or not.

    Args:
        text: The YAML.
        source_name: What to call it in sentences.

    Raises:
        Trouble: It is no single, plain YAML mapping.
    """
    reading = _Reading(text, source_name)
    items = reading.items()
    reading.check()
    return cast("dict[str, Any]", items.plain())


def problems(plain: Mapping[str, Any]) -> Mapping[str, str]:
    """Judges what a form holds, by the same rules as a file.

    Args:
        plain: Mappings, lists and scalars, as they would stand in the file.

    Returns:
        The first problem of each field that has one, by the field's path: ``nodes[0].address``; empty if all is sound.
    """
    reading = _Reading("", "")
    reading.field(_item(plain), Home, "")
    reading.judge()
    return reading.by_field


def _item(plain: Any) -> _Item:
    if isinstance(plain, Mapping):
        return _Item({name: _item(value) for name, value in plain.items()})
    return _Item([_item(value) for value in plain] if isinstance(plain, list | tuple) else plain)


def load(path: Path) -> Home:
    """Reads an inventory from a file.

    Args:
        path: The file.

    Returns:
        The home.

    Raises:
        Trouble: The file can't be read, or something is wrong with it.
    """
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Returns the text of an inventory file.

    Args:
        path: The inventory.

    Raises:
        Trouble: The file can't be read, or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            # A byte past the limit is enough to be refused; the rest of a huge file stays unread.
            data = file.read(MOST_BYTES + 1)
        return data.decode(errors="strict" if len(data) <= MOST_BYTES else "replace")
    except OSError as error:
        said, do = error.strerror or str(error), "Check the path and its permissions; `homek8s init` writes a new one"
        raise Trouble("read the inventory", str(path), said, do, Kind.USAGE) from error
    except UnicodeDecodeError as error:
        said = f"byte {error.start + 1} is not UTF-8 text"
        raise Trouble("read the inventory", str(path), said, "Save the file as UTF-8", Kind.USAGE) from None


def find(explicit: Path | None, cwd: Path, xdg_config: Path) -> Path:
    """Finds the inventory to use.

    Args:
        explicit: What the operator named, if anything; taken as it is.
        cwd: The folder the operator is in.
        xdg_config: The folder for configuration of all programs, usually ``~/.config``.

    Returns:
        The named path, else ``homek8s.yaml`` here, else the one under the configuration folder.

    Raises:
        Trouble: There is none; the sentence names the three places.
    """
    if explicit is not None:
        return explicit
    here, configured = cwd / FILE_NAME, xdg_config / "homek8s" / FILE_NAME
    for path in (here, configured):
        if path.is_file():
            return path
    said = f"none was named, and there is neither {here} nor {configured}"
    do = "Name one with --home, or run `homek8s init` to write one"
    raise Trouble("find the inventory", "", said, do, Kind.USAGE)


# --- writing ------------------------------------------------------------------------------------------------


def with_checksums(text: str, new: Mapping[str, str], source_name: str = FILE_NAME) -> str:
    """Pins checksums in the text of an inventory, and changes nothing else: all other lines stay byte for byte.

    The places come from ruamel's parser and the text is spliced there; dumping the whole file again would
    re-indent lists and re-wrap long lines.

    Args:
        text: The inventory.
        new: Digests by file key; they win over those that stand there.
        source_name: What to call the text in sentences.

    Returns:
        The text with ``artefacts.checksums`` holding them.

    Raises:
        Trouble: A key or digest is malformed, or the text is no inventory that can be edited.
    """
    reading = _Reading(text, source_name)
    for key, digest in new.items():
        reading.field(_Item(key), FileKey, "artefacts.checksums")
        reading.field(_Item(digest), Digest, f"artefacts.checksums.{key}")
    root = reading.items()
    node, column, names = root, _column(text, root), ["artefacts", "checksums"]
    while names and isinstance(node.value, dict) and names[0] in node.value:
        node = node.value[names.pop(0)]
        column = column + 2 if node.flow or not node.value else _column(text, node)
    there = node.value if isinstance(node.value, dict) and not names else {}
    edits = [(there[key].start, there[key].end, digest) for key, digest in new.items() if key in there]
    edits = [edit for edit in edits if text[edit[0] : edit[1]].strip("'\"") != edit[2]]
    missing = [f"{key}: {digest}" for key, digest in new.items() if key not in there]
    if missing:
        if not node.value:  # an explicit ~ or {} makes way, with the blanks before it
            edits.append((len(text[: node.start].rstrip(" ")), node.end, ""))
        ending = "\r\n" if "\r\n" in text else "\n"
        lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(names)]
        lines += [f"{'  ' * len(names)}{line}" for line in missing]
        added = "".join(f"{' ' * column}{line}{ending}" for line in lines)
        at = node.end if text[: node.end].endswith("\n") else text.find("\n", node.end) + 1
        edits.append((at, at, added) if at else (len(text), len(text), ending + added))
    result = text
    for start, end, replacement in sorted(edits, reverse=True):
        result = result[:start] + replacement + result[end:]
    if edits and not _pinned(root.plain(), result, new):
        said = "artefacts.checksums is written in a way that can't be edited safely, such as in brackets"
        do = "\n".join(["Write by hand:", "artefacts:", "  checksums:", *(f"    {key}: {new[key]}" for key in new)])
        raise Trouble("pin checksums in the inventory", source_name, said, do, Kind.USAGE)
    return result


def edited(text: str, wanted: Mapping[str, Any], source_name: str = FILE_NAME) -> str:
    """Returns an inventory's text with other values, as a form writes it; all other lines stay byte for byte.

    Like `with_checksums` it splices at the places that ruamel's parser tells: its own round trip moves the comment
    above a section to the end of the list before it.

    Args:
        text: The inventory as it is.
        wanted: All that it shall say. Machines in a list are the same if their names are, or else their addresses.
        source_name: What to call it in sentences.

    Raises:
        Trouble: The text can't be edited so, or what came out is no sound inventory.
    """
    splice = _Splice(text, source_name)
    splice.mapping(_Reading(text, source_name).items(), wanted)
    result = splice.result()
    try:
        told = read_plain(result, source_name)
    except Trouble:
        raise splice.refusal() from None
    if _without_nothing(told) != _without_nothing(wanted):
        raise splice.refusal()
    parse(result, source_name)
    return result


def _without_nothing(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = ((name, _without_nothing(entry)) for name, entry in value.items())
        return {name: entry for name, entry in pairs if entry not in (None, {}, [])}
    return [_without_nothing(entry) for entry in value] if isinstance(value, list | tuple) else value


class _Splice:
    """Edits to a text, gathered by their places in it."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source
        self._ending = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[tuple[int, int, int, str]] = []
        """Start, end, order among those at one place, replacement."""

    def result(self) -> str:
        """Returns the text with all of them."""
        result = self._text
        for start, end, _, replacement in sorted(self._edits, reverse=True):
            result = result[:start] + replacement + result[end:]
        return result

    def refusal(self) -> Trouble:
        """Returns what to say where the text can't be edited."""
        said = "it is written in a way that can't be edited safely, such as with lists in brackets"
        do = "Edit it by hand; what was typed here is kept."
        return Trouble("edit the inventory", self._source, said, do, Kind.USAGE)

    def mapping(self, there: _Item, wanted: Mapping[str, Any]) -> None:
        """Makes a mapping say what is wanted."""
        added = []
        for name, old in there.value.items():
            if wanted.get(name) is None and old.value is not None:
                self._in_block(there)
                self._remove_field(old)
        for name, value in wanted.items():
            old = there.value.get(name)
            if value is None or (old is not None and old.plain() == value):
                continue
            if old is None:
                if value not in ({}, []):
                    added += _block({name: value})
            elif isinstance(value, Mapping | list):
                self._section(there, old, value)
            elif isinstance(old.value, dict | list):
                raise self.refusal()
            else:
                start, end = self._place(old)
                blank = " " if self._text[start - 1 : start] == ":" else ""
                self._edits.append((start, end, 0, f"{blank}{_as_yaml(value)}"))
        if added:
            self._in_block(there)
            self._insert(there.end, _column(self._text, there), added)

    def _section(self, there: _Item, old: _Item, value: Mapping[str, Any] | list[Any]) -> None:
        if old.value and isinstance(old.value, dict | list):
            if isinstance(value, Mapping) != isinstance(old.value, dict):
                raise self.refusal()
            self.mapping(old, value) if isinstance(value, Mapping) else self._list(old, value)
        elif value:
            # a ~, {} or [] makes way, with the blanks before it
            self._in_block(there)
            start, end = self._place(old)
            self._edits.append((len(self._text[:start].rstrip(" ")), end, 0, ""))
            column = _column(self._text, there) + 2
            lines = _block(value) if isinstance(value, Mapping) else [line for each in value for line in _dashed(each)]
            self._insert_at(self._next_line(end), column, lines)

    def _list(self, there: _Item, wanted: list[Any]) -> None:
        """Makes a list of mappings say what is wanted; entries stay in the order in which they stand."""
        column = _column(self._text, there)
        plain = [entry.plain() for entry in there.value]
        first = 0
        at = self._line(there.start)
        new: list[str] = []
        kept = set()
        for entry in wanted:
            same = next((index for index in range(first, len(plain)) if _same(plain[index], entry)), None)
            if same is None:
                new += _dashed(entry)
                continue
            self._new_entries(there, at, column, new)
            new = []
            self.mapping(there.value[same], entry)
            kept.add(same)
            at, first = self._end_of(there.value[same].end, column), same + 1
        if first == 0 or new:
            at = self._end_of(there.end, column)
        self._new_entries(there, at, column, new)
        for index, entry in enumerate(there.value):
            if index not in kept:
                self._in_block(there)
                self._edits.append((self._line(self._dash(entry, column)), self._end_of(entry.end, column), 0, ""))

    def _new_entries(self, there: _Item, at: int, column: int, lines: list[str]) -> None:
        if lines:
            self._in_block(there)
            self._insert_at(at, column, lines)

    def _in_block(self, there: _Item) -> None:
        """Refuses where lines would have to come or go between brackets."""
        if there.flow:
            raise self.refusal()

    def _remove_field(self, old: _Item) -> None:
        line = self._line(old.key)
        column = old.key - line
        if not self._text[line : old.key].strip(" "):
            self._edits.append((line, self._end_of(old.end, column), 0, ""))
        else:
            # the dash of its entry stands before it, and stays
            end = len(self._text[: self._next_line(old.end)].rstrip("\r\n"))
            self._edits.append((len(self._text[: old.key].rstrip(" ")), end, 0, ""))

    def _dash(self, entry: _Item, column: int) -> int:
        """Returns where an entry's dash is: in a comment between it and the entry there may be others."""
        at = entry.start
        while at > 0:
            line = self._line(at)
            if self._text[line : line + column + 1] == " " * column + "-":
                return line + column
            at = line - 1
        raise self.refusal()

    def _place(self, old: _Item) -> tuple[int, int]:
        """Returns the characters of a value; one that is not there belongs behind the colon of its name."""
        if old.start < old.end:
            return old.start, old.end
        colon = self._text.find(":", old.end) + 1
        if not colon:
            raise self.refusal()
        return colon, colon

    def _line(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _next_line(self, at: int) -> int:
        # a block's end may be the start of the next line already
        if self._text[:at].endswith("\n"):
            return at
        return self._text.find("\n", at) + 1 or len(self._text)

    def _end_of(self, at: int, column: int) -> int:
        """Returns where a block ends with the comments below it that are its own: those further in than it is."""
        at = self._next_line(at)
        while match := re.compile(rf" {{{column + 1},}}#.*(\n|\Z)").match(self._text, at):
            at = match.end()
        return at

    def _insert(self, after: int, column: int, lines: list[str]) -> None:
        self._insert_at(self._end_of(after, column), column, lines)

    def _insert_at(self, at: int, column: int, lines: list[str]) -> None:
        block = "".join(f"{' ' * column}{line}{self._ending}" for line in lines)
        if not self._text[:at].endswith("\n"):
            block = self._ending + block
        # of what comes to one place the innermost comes first
        self._edits.append((at, at, -column, block))


def _same(plain: Any, wanted: Mapping[str, Any]) -> bool:
    """Tells whether two entries of a list are one machine: by name, or by address."""
    if not isinstance(plain, dict):
        return False
    return any(
        wanted.get(field) not in (None, "") and plain.get(field) == wanted[field] for field in ("name", "address")
    )


def _block(value: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, entry in value.items():
        if entry in (None, {}, []):
            continue
        if isinstance(entry, Mapping):
            lines += [f"{name}:", *(f"  {line}" for line in _block(entry))]
        elif isinstance(entry, list):
            lines += [f"{name}:", *(f"  {line}" for each in entry for line in _dashed(each))]
        else:
            lines.append(f"{name}: {_as_yaml(entry)}")
    return lines


def _dashed(entry: Mapping[str, Any]) -> list[str]:
    first, *rest = _block(entry) or ["{}"]
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _as_yaml(value: Any) -> str:
    text = str(value)
    # what is read back as something else, or is more than a word, stands in quotes
    plain = re.fullmatch(r"[A-Za-z0-9/~][A-Za-z0-9._/:~+@-]*", text) and not text.endswith(":")
    if plain and _scalar(text) == value:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'


def _column(text: str, item: _Item) -> int:
    return item.start - (text.rfind("\n", 0, item.start) + 1)


def _pinned(before: dict[str, Any], result: str, new: Mapping[str, str]) -> bool:
    """Tells whether an edited text means what the old one did, plus the checksums: the proof of the splice."""
    artefacts = before.get("artefacts") or {}
    if not isinstance(artefacts, dict) or not isinstance(artefacts.get("checksums") or {}, dict):
        return False
    checksums = {**(artefacts.get("checksums") or {}), **new}
    with contextlib.suppress(Trouble):
        after = _Reading(result, "").items().plain()
        return bool(after == {**before, "artefacts": {**artefacts, "checksums": checksums}})
    return False


def save_checksums(path: Path, new: Mapping[str, str]) -> None:
    """Pins checksums in an inventory file, atomically; comments, mode and a symbolic link to the file stay.

    Args:
        path: The inventory.
        new: Digests by file key.

    Raises:
        Trouble: The file can't be read, edited or written; it is then as it was.
    """
    old = read_text(path)
    text = with_checksums(old, new, str(path))
    if text != old:
        write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Writes an inventory file, atomically; mode and a symbolic link to the file stay, a new one is the owner's alone.

    Args:
        path: The inventory.
        text: All of it.

    Raises:
        Trouble: The file can't be written; it is then as it was.
    """
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        said, do = "its symbolic links go in a circle", "Remove the link, then run the command again"
        raise Trouble("write the inventory", str(path), said, do, Kind.USAGE) from error
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        said, do = error.strerror or str(error), "Make the file and its folder writable, then run the command again"
        raise Trouble("write the inventory", str(path), said, do, Kind.USAGE) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.cache
def _docs(kind: type[Struct]) -> dict[str, str]:
    """Returns the docstring under each field: written once, read here for people, files and editors."""
    import ast
    import inspect

    docs = {}
    source: Any = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    for pair in itertools.pairwise(source.body[0].body):
        match pair:
            case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text)))):
                docs[name] = " ".join(text.split())
    return docs


def commented() -> str:
    """Returns an inventory to start from: a sound example, each field under its explanation."""
    example = Home(
        domain="example.org",
        proxy=Proxy(address="203.0.113.10", user="root", port=22),
        nodes=(
            Node(name="pi4", address="192.168.1.4", role="server", user="pi", port=22),
            Node(name="pi5", address="192.168.1.5", role="agent", user="pi", port=22),
        ),
        lan="192.168.1.0/24",
    )
    head = "# A home for homek8s. Change the values; what is commented out is optional. No secrets belong here."
    return "\n".join([head, *_rendered(example, "", explained=True), ""])


def _rendered(value: Struct, indent: str, *, explained: bool) -> Iterator[str]:
    for each in msgspec.structs.fields(value):
        if explained:
            if not indent:
                yield ""
            lines = textwrap.wrap(_docs(type(value))[each.name], 98 - len(indent))
            yield from (f"{indent}# {line}" for line in lines)
        part = getattr(value, each.name)
        if isinstance(part, Struct):
            lines = list(_rendered(part, indent + "  ", explained=explained))
            yield from [f"{indent}{each.name}:", *lines] if lines else []
        elif isinstance(part, tuple):
            yield f"{indent}{each.name}:"
            for index, entry in enumerate(part):
                # The fields of the first entry are explained; a dash on its own line leaves room for that.
                yield f"{indent}  -"
                yield from _rendered(entry, indent + "    ", explained=explained and index == 0)
        elif part is None:
            if explained:
                yield f"{indent}# {each.name}: {(_meta(each.type).examples or [''])[0]}"
        else:
            yield f"{indent}{each.name}:{f' {part}' if part != {} else ''}"


def json_schema() -> bytes:
    """Returns the JSON Schema of an inventory, for editors; the fields' docstrings are its descriptions."""
    schema = msgspec.json.schema(Home)
    for kind in (Home, Proxy, Node, Ssh, Tunnel, Versions, Artefacts):
        properties = schema["$defs"][kind.__name__]["properties"]
        for name, text in _docs(kind).items():
            found = properties[name]
            if "default" in found and ("$ref" in found or found.get("type") == "object"):
                # An optional section may stand there with nothing in it, as in `commented`.
                found = {"anyOf": [found, {"type": "null"}]}
            properties[name] = {**found, "description": text}
    return msgspec.json.format(
        msgspec.json.encode({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}), indent=2
    )
