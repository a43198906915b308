"""K3s on the tunnel: one server, its agents, and this console's way to the API."""

from __future__ import annotations

from collections.abc import Mapping

from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.tunnels.model import unit as tunnel_unit
from homek8s_tui.home.artefacts import Download, k3s_binary, k3s_installer
from homek8s_tui.home.inventory import Home, Node
from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.checks import CONSOLE, Asked, Check, Http, Port, Tls
from homek8s_tui.plan.facts import Facts
from homek8s_tui.plan.model import Risk
from homek8s_tui.plan.operations import CONSOLE_HOST, Artefact, Command, File, LocalFile, Secret, Unit
from homek8s_tui.plan.values import HostCommand, HostSecret

BINARY = "/usr/local/bin/k3s"
INSTALLER = "/usr/local/lib/homek8s/k3s-install.sh"
CONFIGURATION = "/etc/rancher/k3s/config.yaml"
KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
_API = 6443


def downloads(home: Home, facts: Facts) -> tuple[Download, ...]:
    """Returns what the nodes need from the internet, each once."""
    wanted = [k3s_installer(home)]
    for node in home.nodes:
        room = facts.of(node.name, nodes.NAME)
        if room and isinstance(room.settled, nodes.Settled):
            wanted.append(k3s_binary(home, room.settled.architecture))
    return tuple(dict.fromkeys(wanted))


def plan_k3s(home: Home, facts: Facts, checksums: Mapping[str, str], b: PlanBuilder) -> None:
    """Plans the server and its agents.

    Args:
        home: The inventory.
        facts: What was observed.
        checksums: The digests of the downloads by their keys.
        b: Takes the plan.
    """
    server = home.server
    installer = k3s_installer(home)
    with b.stage("k3s/program", "Put K3s on the nodes"):
        for node in home.nodes:
            room = facts.of(node.name, nodes.NAME)
            if room is None or not isinstance(room.settled, nodes.Settled):
                continue
            b.premise(node.name, "nodes.architecture", room.settled.architecture)
            b.premise(node.name, "nodes.curl", room.settled.curl)
            binary = k3s_binary(home, room.settled.architecture)
            b.ensure(
                Artefact(
                    host=node.name,
                    path=BINARY,
                    url=binary.url,
                    sha256=checksums.get(binary.key, ""),
                    by_host=room.settled.curl,
                ),
                f"K3s {home.versions.k3s}, pinned",
            )
            b.ensure(
                Artefact(
                    host=node.name,
                    path=INSTALLER,
                    url=installer.url,
                    sha256=checksums.get(installer.key, ""),
                    by_host=room.settled.curl,
                ),
                "K3s's own installer makes its unit and its uninstall script",
            )
    with b.stage("k3s/configuration", "Configure K3s"):
        for node in home.nodes:
            b.ensure(
                File(host=node.name, path=CONFIGURATION, content=(configuration(home, node),), mode="600"),
                "everything of K3s goes through the tunnel",
            )
            b.ensure(
                File(host=node.name, path=_drop_in(node), content=(drop_in(home),)),
                "K3s needs the tunnel's interface when it starts",
            )
    with b.stage("k3s/server", "Install and start the server"):
        b.ensure(
            Command(
                host=server.name,
                title="install K3s as a server",
                script="k3s-install",
                arguments=(INSTALLER,),
                shows=(
                    f"INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=server sh {INSTALLER}",
                ),
                proof=("k3s-installed", "server"),
                ends="installed",
                undo_script="k3s-uninstall",
                undo_ends="absent",
                destroys=(
                    "K3s with its whole datastore: every object of the cluster, and all data of local-path volumes.",
                ),
            ),
            "its unit and the way to take it back",
            Risk.SAFE,
        )
        b.ensure(
            Unit(host=server.name, unit="k3s", watch=(CONFIGURATION, _drop_in(server), BINARY)),
            "the API answers, now and after a reboot",
            Risk.DISRUPTIVE,
        )
        b.wait_for(
            server.name,
            Check(
                id="server-ready",
                title="the API server is ready",
                probes=(Asked(server.name, "k3s-ready"),),
                judge="succeeds",
                within=120,
                explain="'journalctl -u k3s' on the server says why it is not.",
            ),
            "agents join a server that is ready",
        )
    with b.stage("k3s/reach", "See that the agents reach the server"):
        for agent in home.agents:
            b.wait_for(
                agent.name,
                Check(
                    id=f"reach-api-{agent.name}",
                    title=f"{agent.name} reaches the API server through the tunnel",
                    within=30,
                    probes=(Port(agent.name, home.tunnel_address(server.name), _API),),
                    judge="is-open",
                    explain=f"Look at the tunnel between {agent.name} and {server.name}.",
                ),
                "an agent that can't reach the server can't join",
            )
    with b.stage("k3s/join", "Join the agents"):
        for agent in home.agents:
            url = f"https://{home.tunnel_address(server.name)}:{_API}"
            b.ensure(
                Command(
                    host=agent.name,
                    title=f"join {agent.name} to the cluster",
                    script="k3s-join",
                    arguments=(INSTALLER, url),
                    shows=(
                        f"K3S_URL={url} K3S_TOKEN=... INSTALL_K3S_SKIP_DOWNLOAD=true sh {INSTALLER}",
                        "systemctl enable --now k3s-agent",
                    ),
                    secrets=(HostCommand(server.name, "k3s-token", (), "join token that lives for an hour"),),
                    proof=("k3s-joined", "k3s-agent"),
                    ends="joined",
                    undo_script="k3s-uninstall",
                    undo_ends="absent",
                    destroys=("the K3s agent and all data of local-path volumes on it.",),
                    undo_then=(_forget(home, agent),),
                ),
                "its token is made only then and lives for an hour",
            )
    with b.stage("k3s/agents", "Keep the agents running"):
        for agent in home.agents:
            b.ensure(
                Unit(host=agent.name, unit="k3s-agent", watch=(CONFIGURATION, _drop_in(agent), BINARY)),
                "now and after a reboot",
                Risk.DISRUPTIVE,
            )
    with b.stage("k3s/ready", "See that every node is Ready"):
        b.wait_for(server.name, ready(home, 120), "a node that is not Ready runs nothing")


def plan_access(home: Home, kubeconfig: str, b: PlanBuilder) -> None:
    """Plans this console's way to the API: a context of its own in the operator's kubeconfig."""
    server = home.server.name
    with b.stage("access/credentials", "See which credentials the cluster made"):
        made = b.ensure(Secret(host=server, path=KUBECONFIG, make="kubeconfig"), "the cluster's own administrator")
    with b.stage("access/kubeconfig", "Give this console its access"):
        b.ensure(
            LocalFile(
                host=CONSOLE_HOST,
                path=kubeconfig,
                context=home.name,
                server=f"https://{home.domain}:{_API}",
                source=HostSecret(server, KUBECONFIG),
                certificate=(made.output("sha256", "digest of the cluster's client certificate"),),
            ),
            "kubectl works from here, through the proxy",
        )


def prove_access(home: Home, b: PlanBuilder) -> None:
    """Adds the proofs of the cluster and of the way to it."""
    b.prove(ready(home, 30))
    for what, address in (("domain", home.proxy.address), ("LAN address", home.server.address)):
        name = home.domain if what == "domain" else address
        b.prove(
            Check(
                id=f"tls-{what.split()[0].lower()}",
                title=f"the API's certificate is good for the {what} {name}",
                judge="verified",
                within=10,
                probes=(Tls(CONSOLE, address, _API, name, authority=home.name),),
                explain="If another certificate came, look at tls-san in the server's config.yaml; K3s takes it over at a "
                "restart. If nothing came, 'homek8s doctor' says what is wrong.",
            )
        )
    b.prove(
        Check(
            id="api-from-outside",
            title=f"the API answers at https://{home.domain}:{_API} from the internet side",
            judge="answers-status",
            expect=("200",),
            probes=(Http(CONSOLE, home.proxy.address, _API, home.domain, "/readyz", home.name),),
            within=20,
            explain="'homek8s doctor' says which hop is broken.",
        )
    )


def _forget(home: Home, agent: Node) -> Command:
    """Returns what removes a node from the cluster: an agent that is uninstalled leaves it there, not ready for ever."""
    return Command(
        host=home.server.name,
        title=f"delete the node {agent.name} from the cluster",
        script="k3s-forget-node",
        arguments=(agent.name,),
        shows=(f"k3s kubectl delete node {agent.name}",),
        proof=("k3s-node", agent.name),
        ends="absent",
        destroys=(f"the node {agent.name} of the cluster, with its labels and taints, and the pods that run on it.",),
    )


def ready(home: Home, within: int) -> Check:
    """Returns the check that every node is Ready."""
    return Check(
        id="nodes-ready",
        title="every node is Ready",
        probes=(Asked(home.server.name, "k3s"),),
        judge="nodes-ready",
        expect=tuple(node.name for node in home.nodes),
        within=within,
        explain="'journalctl -u k3s-agent' on that node says why it is not, 'journalctl -u k3s' on the server.",
    )


def configuration(home: Home, node: Node) -> str:
    """Returns K3s's config.yaml. Logs of 50 MiB a container: `kubectl logs` shows the newest file only."""
    lines = [
        "# Managed by homek8s.",
        f"node-name: {node.name}",
        f"node-ip: {home.tunnel_address(node.name)}",
        f"flannel-iface: {home.tunnel.name}",
        "kubelet-arg:",
        "  - container-log-max-size=50Mi",
    ]
    if node.role == "server":
        lines += [
            "tls-san:",
            f"  - {home.domain}",
            f"  - {node.address}",
            "disable:",
            "  - traefik",
            "secrets-encryption: true",
            'write-kubeconfig-mode: "0600"',
        ]
    return "\n".join(lines) + "\n"


def drop_in(home: Home) -> str:
    """Returns what orders K3s after the tunnel: both are only ordered after the network otherwise."""
    return f"# Managed by homek8s.\n[Unit]\nAfter={tunnel_unit(home)}.service\nWants={tunnel_unit(home)}.service\n"


def _drop_in(node: Node) -> str:
    return f"/etc/systemd/system/{'k3s' if node.role == 'server' else 'k3s-agent'}.service.d/homek8s.conf"
