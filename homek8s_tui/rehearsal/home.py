"""The whole home in memory: what its machines know, how they hear of each other, and what is seen from where."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from homek8s_tui.engine.service import Found
from homek8s_tui.home.artefacts import Download
from homek8s_tui.home.inventory import Home, Node, Proxy
from homek8s_tui.hosts.model import Question
from homek8s_tui.plan.checks import Asked, Http, Port, Probe, Scan, Seen
from homek8s_tui.rehearsal.machine import Catalogue, Machine, Shortage, UnitEntry, public_key

_EPOCH = 1_790_000_000.0
_LAST_SECONDS = 7
_RENEWED_SECONDS = 120


@dataclass
class RehearsalClock:
    """A clock that only goes on when somebody waits, so that a rehearsal takes no time."""

    at: float = _EPOCH

    def now(self) -> float:
        """Returns the rehearsal's time."""
        self.at += 0.001  # two things never happen at the same moment
        return self.at

    def monotonic(self) -> float:
        """Returns the same, which never goes back."""
        return self.at

    def wait(self, seconds: float) -> None:
        """Lets that much of it pass, at once."""
        self.at += seconds


class RehearsalHome:
    """Bare machines in memory for every machine of an inventory. It is its own prober and fetcher.

    Args:
        home: The inventory.
        random: Where keys come from: a number of bytes.
        clock: Its time; one that goes on only when somebody waits, unless another is given.
    """

    def __init__(self, home: Home, random: Callable[[int], bytes], clock: RehearsalClock | None = None) -> None:
        self.home = home
        self.clock = clock or RehearsalClock()
        self.kubeconfig = RehearsalKubeconfig()
        self.random = random
        """Where keys, tokens and the names of runs come from."""
        self._nodes_known: set[str] = set()
        catalogue = Catalogue(
            questions={
                "nodes": self._nodes,
                "tunnel": self._tunnel,
                "tunnel-ping": self._ping,
                "listening": self._listening,
                "k3s": self._k3s,
                "k3s-ready": self._ready,
                "k3s-token": self._token,
            },
            states={"k3s-installed": _installed, "k3s-joined": _joined, "k3s-node": self._node_known},
            jobs={
                "packages": _packages,
                "download": _download,
                "k3s-install": _install,
                "k3s-join": self._join,
                "k3s-uninstall": _uninstall,
                "k3s-forget-node": self._forget,
            },
            starts={"wg-quick@": self._start_tunnel, "traefik": _start_traefik, "k3s": self._start_k3s},
        )
        self._catalogue = catalogue
        self.machines = {host.name: self._machine(host.name) for host in home.hosts}

    def declare(self, home: Home) -> None:
        """Follows an edited inventory: machines are the same by name, new ones are bare."""
        self.home = home
        for host in home.hosts:
            self.machines.setdefault(host.name, self._machine(host.name))

    def machine(self, host: Proxy | Node) -> Machine:
        """Returns the machine at an address, whatever it is going to be called; a bare one where none is declared."""
        declared = {known.address: known.name for known in self.home.hosts}
        name = declared.get(host.address, host.name)
        return self.machines.setdefault(name, self._machine(name))

    def find(self, subnet: str) -> Iterator[Found]:
        """Yields the nodes and a machine that is none, as if they answered on the local network."""
        for node in self.home.nodes:
            yield Found(node.address, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7", "Raspberry Pi", f"{node.name}.home")
        network = ipaddress.IPv4Network(subnet, strict=False)
        yield Found(str(network.network_address + 30), "SSH-2.0-OpenSSH_8.4p1", "", "nas.home")

    def _machine(self, name: str) -> Machine:
        return Machine(name, self.clock, self._catalogue, self.random)

    def checksums(self, downloads: Iterable[Download]) -> Mapping[str, str]:
        """Returns a made-up digest of each download by its key."""
        return {download.key: hashlib.sha256(download.key.encode()).hexdigest() for download in downloads}

    def download(self, url: str, sha256: str) -> Path:
        """Returns a path that a rehearsed machine never reads."""
        return Path(url.rsplit("/", 1)[-1]) / sha256

    def look(self, probe: Probe, home: Home) -> Seen:
        """Returns what would be seen; see `homek8s_tui.engine.world.Prober.look`."""
        if isinstance(probe, Asked):
            answer = self.machines[probe.vantage].ask([Question("probe", probe.script, probe.arguments)])["probe"]
            return {"status": str(answer.status), "output": answer.output, "errors": answer.errors}
        if isinstance(probe, Scan):
            listening = [port for port in (22, 80, 443, 6443) if self._accepts(probe.address, port)]
            return {"open": " ".join(map(str, listening)), "asked": str(len(probe.suspects))}
        if isinstance(probe, Port):
            return {"state": "open" if self._accepts(probe.address, probe.port) else "refused"}
        if probe.port != 6443 or not self._accepts(probe.address, probe.port):
            return {"state": "refused"}
        server = self.machines[home.server.name]
        if not server.active("k3s") or (
            probe.address == home.proxy.address and not self._joined_by_tunnel(home.proxy.name, home.server.name)
        ):
            return {"state": "timeout"}
        if isinstance(probe, Http):
            return (
                {"status": "200"}
                if self.kubeconfig.contexts.get(probe.context)
                else {"state": f"the kubeconfig has no context {probe.context}"}
            )
        return {"certificate": hashlib.sha256(b"api").hexdigest()}

    def _accepts(self, address: str, port: int) -> bool:
        for host in self.home.hosts:
            if address in (host.address, self.home.tunnel_address(host.name)):
                return port in self._ports(self.machines[host.name])
        return False

    def _ports(self, machine: Machine) -> set[int]:
        ports = {22}
        if machine.active("traefik"):
            ports |= {80, 443, 6443}
        if machine.active("k3s"):
            ports |= {6443, 10250}
        if machine.active("k3s-agent"):
            ports |= {10250}
        return ports

    def _interface(self, machine: Machine) -> _Interface | None:
        entry = machine.files.get(f"/etc/wireguard/{self.home.tunnel.name}.conf")
        if entry is None or not machine.active(f"wg-quick@{self.home.tunnel.name}"):
            return None
        return _Interface.read(entry.text)

    def _joined_by_tunnel(self, one: str, other: str) -> bool:
        a, b = self._interface(self.machines[one]), self._interface(self.machines[other])
        return bool(
            a
            and b
            and a.peers.get(public_key(b.private))
            and b.peers.get(public_key(a.private))
            and a.peers[public_key(b.private)]["PresharedKey"] == b.peers[public_key(a.private)]["PresharedKey"]
        )

    def _nodes(self, machine: Machine, _arguments: Sequence[str]) -> str:
        lines = [
            "architecture=aarch64",
            "os=debian 12 ",
            f"hostname={machine.name}",
            "cgroup=cgroup2fs",
            "memory_cgroup=yes",
            "wireguard=kernel",
            f"curl={'yes' if machine.name == self.home.proxy.name else 'no'}",
            "apt=yes",
            "forwarding=yes",
            f"addresses=lo:127.0.0.1/8 eth0:{self.home.host(machine.name).address}/24 ",
            "disk_free_kb=52428800",
            "memory_kb=8388608",
            f"clock={int(self.clock.now())}",
            "clock_synchronized=yes",
        ]
        lines += [f"listens=tcp {port} 0.0.0.0 {_program(port, machine)}" for port in sorted(self._ports(machine))]
        return "\n".join(lines) + "\n"

    def _listening(self, machine: Machine, _arguments: Sequence[str]) -> str:
        return "".join(f"{port}\n" for port in sorted(self._ports(machine)))

    def _tunnel(self, machine: Machine, _arguments: Sequence[str]) -> str:
        interface = self._interface(machine)
        if interface is None:
            return "interface=absent\n"
        lines = ["interface=up", f"now={int(self.clock.now())}", f"mtu={self.home.tunnel.mtu}"]
        for host in self.home.hosts:
            other = self._interface(self.machines[host.name])
            key = public_key(other.private) if other else ""
            if key in interface.peers:
                joined = self._joined_by_tunnel(machine.name, host.name)
                lines += [
                    f"allowed-ips\t{key}\t{interface.peers[key]['AllowedIPs']}",
                    f"endpoints\t{key}\t{host.address}:{self.home.tunnel.port}",
                    f"latest-handshakes\t{key}\t{int(self.clock.now()) - self._age(host.name) if joined else 0}",
                    f"transfer\t{key}\t4096\t8192",
                ]
        return "\n".join(lines) + "\n"

    def _age(self, peer: str) -> int:
        """Returns how long ago the last handshake was: renewed after two minutes, each peer at its own time."""
        turn = list(self.machines).index(peer)
        return (_LAST_SECONDS + 13 * turn + int(self.clock.now() - _EPOCH)) % _RENEWED_SECONDS

    def _ping(self, machine: Machine, arguments: Sequence[str]) -> str:
        for host in self.home.hosts:
            if self.home.tunnel_address(host.name) == arguments[0] and self._joined_by_tunnel(machine.name, host.name):
                return "1 packets transmitted, 1 received, 0% packet loss\n"
        raise Shortage("1 packets transmitted, 0 received, 100% packet loss")

    def _start_tunnel(self, machine: Machine) -> None:
        if "wireguard-tools" not in machine.packages:
            raise Shortage(f"Unit wg-quick@{self.home.tunnel.name}.service not found.")
        if f"/etc/wireguard/{self.home.tunnel.name}.conf" not in machine.files:
            raise Shortage(f"wg-quick: `/etc/wireguard/{self.home.tunnel.name}.conf' does not exist")

    def _start_k3s(self, machine: Machine) -> None:
        if not machine.active(f"wg-quick@{self.home.tunnel.name}"):
            raise Shortage(f'level=fatal msg="unable to find interface {self.home.tunnel.name}"')
        if machine.name == self.home.server.name and "/etc/rancher/k3s/k3s.yaml" not in machine.files:
            self._nodes_known = {machine.name}
            certificate = base64.b64encode(self.random(48)).decode()
            machine.write(
                "/etc/rancher/k3s/k3s.yaml", f"users:\n- user:\n    client-certificate-data: {certificate}\n", "600"
            )

    def _k3s(self, machine: Machine, _arguments: Sequence[str]) -> str:
        version = self.home.versions.k3s
        lines = [f"version={version if '/usr/local/bin/k3s' in machine.files else ''}"]
        lines += [f"{unit}={'active' if machine.active(unit) else 'inactive'}" for unit in ("k3s", "k3s-agent")]
        if machine.active("k3s"):
            for node in self.home.nodes:
                runs = self.machines[node.name].active("k3s" if node.role == "server" else "k3s-agent")
                if node.name in self._nodes_known:
                    ready = runs and (node.role == "server" or self._joined_by_tunnel(node.name, machine.name))
                    lines.append(f"node={node.name} {ready} {version} {self.home.tunnel_address(node.name)}")
        return "\n".join(lines) + "\n"

    def _ready(self, machine: Machine, _arguments: Sequence[str]) -> str:
        if not machine.active("k3s"):
            raise Shortage("The connection to the server 127.0.0.1:6443 was refused")
        return "ok"

    def _token(self, machine: Machine, arguments: Sequence[str]) -> str:
        self._ready(machine, arguments)
        machine.executed.append("k3s token create")
        return f"K10{hashlib.sha256(b'ca').hexdigest()}::{self.random(3).hex()}.{self.random(8).hex()}\n"

    def _join(self, machine: Machine, arguments: Sequence[str], secrets: Sequence[str]) -> str:
        server = self.home.server.name
        if not secrets or not secrets[0].startswith("K10"):
            raise Shortage("no token came")
        if not self.machines[server].active("k3s") or not self._joined_by_tunnel(machine.name, server):
            raise Shortage(f'level=error msg="failed to get CA certs: Get {arguments[1]}/cacerts: i/o timeout"')
        _installer(machine, "k3s-agent")
        machine.write("/var/lib/rancher/k3s/agent/client-kubelet.crt", "certificate", "600")
        machine.units["k3s-agent"] = UnitEntry(True, True, self.clock.now())
        self._nodes_known.add(machine.name)
        return "[INFO]  systemd: Starting k3s-agent\n"

    def _node_known(self, machine: Machine, arguments: Sequence[str]) -> tuple[str, str]:
        if "/usr/local/bin/k3s" not in machine.files:
            return "absent", ""
        if not machine.active("k3s"):
            return "unknown", ""
        return ("present" if arguments[0] in self._nodes_known else "absent"), ""

    def _forget(self, machine: Machine, arguments: Sequence[str], _secrets: Sequence[str]) -> str:
        self._ready(machine, arguments)
        self._nodes_known.discard(arguments[0])
        return ""


@dataclass
class RehearsalKubeconfig:
    """The operator's kubeconfig, in memory."""

    contexts: dict[str, str] = field(default_factory=dict)
    """States by context."""

    def state(self, path: str, context: str) -> str:
        """Returns the state of a context."""
        return self.contexts.get(context, "absent")

    def put(self, path: str, context: str, server: str, source: str) -> None:
        """Merges a context."""
        certificate = next(
            (line.split(":", 1)[1].strip() for line in source.splitlines() if "client-certificate-data:" in line), ""
        )
        self.contexts[context] = f"context {server} {hashlib.sha256(certificate.encode()).hexdigest()}"

    def remove(self, path: str, context: str) -> None:
        """Removes a context."""
        self.contexts.pop(context, None)


@dataclass(frozen=True, repr=False)
class _Interface:
    private: str
    peers: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, text: str) -> _Interface:
        sections: list[dict[str, str]] = []
        for line in text.splitlines():
            name, found, value = line.partition(" = ")
            if line.startswith("["):
                sections.append({})
            elif found and sections and not line.startswith("#"):
                sections[-1][name] = value
        return cls(
            sections[0].get("PrivateKey", ""), {section.get("PublicKey", ""): section for section in sections[1:]}
        )


def _program(port: int, machine: Machine) -> str:
    return "sshd" if port == 22 else "traefik" if machine.active("traefik") else "k3s-server"


def _packages(machine: Machine, arguments: Sequence[str], _secrets: Sequence[str]) -> str:
    action, *names = arguments
    if action == "install":
        machine.packages.update(names)
    else:
        machine.packages.difference_update(names)
    return "".join(f"Setting up {name} ...\n" for name in names)


def _download(machine: Machine, arguments: Sequence[str], _secrets: Sequence[str]) -> str:
    path, _, sha256, _, mode, undo = arguments
    machine.keep(path, undo)
    machine.write(path, sha256, mode)
    return ""


def _installer(machine: Machine, unit: str) -> None:
    if "/usr/local/bin/k3s" not in machine.files:
        raise Shortage("[ERROR]  Executable k3s binary not found at /usr/local/bin/k3s")
    machine.write(f"/etc/systemd/system/{unit}.service", "unit")
    machine.write(
        "/usr/local/bin/k3s-uninstall.sh" if unit == "k3s" else "/usr/local/bin/k3s-agent-uninstall.sh", "script", "755"
    )


def _install(machine: Machine, _arguments: Sequence[str], _secrets: Sequence[str]) -> str:
    _installer(machine, "k3s")
    return "[INFO]  systemd: Creating service file /etc/systemd/system/k3s.service\n"


def _uninstall(machine: Machine, _arguments: Sequence[str], _secrets: Sequence[str]) -> str:
    for unit in ("k3s", "k3s-agent"):
        machine.units.pop(unit, None)
    for path in [
        path
        for path in machine.files
        if path.startswith(
            (
                "/usr/local/bin/k3s",
                "/etc/rancher",
                "/var/lib/rancher",
                "/etc/systemd/system/k3s.service",
                "/etc/systemd/system/k3s-agent.service",
            )
        )
        and "homek8s" not in path
    ]:
        del machine.files[path]
    return ""


def _installed(machine: Machine, arguments: Sequence[str]) -> tuple[str, str]:
    unit = "k3s" if arguments[0] == "server" else "k3s-agent"
    return ("installed" if f"/etc/systemd/system/{unit}.service" in machine.files else "absent"), ""


def _joined(machine: Machine, arguments: Sequence[str]) -> tuple[str, str]:
    if "/usr/local/bin/k3s-agent-uninstall.sh" not in machine.files:
        return "absent", ""
    return ("joined" if machine.active(arguments[0]) else "installed"), ""


def _start_traefik(machine: Machine) -> None:
    for path in ("/usr/local/bin/traefik", "/etc/traefik/traefik.yml", "/etc/systemd/system/traefik.service"):
        if path not in machine.files:
            raise Shortage(f"traefik.service: {path} is missing")
