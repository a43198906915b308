"""The tunnel: keys made on each machine, the proxy joined with each node and the nodes among themselves."""

from __future__ import annotations

from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.tunnels.findings import FRESH_SECONDS
from homek8s_tui.features.tunnels.model import (
    Edge,
    configuration_path,
    edges_of,
    mesh,
    preshared_key_path,
    private_key_path,
    unit,
)
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.builder import PlanBuilder, text
from homek8s_tui.plan.checks import Asked, Check
from homek8s_tui.plan.facts import Facts
from homek8s_tui.plan.model import Risk
from homek8s_tui.plan.operations import File, Packages, Secret, Unit
from homek8s_tui.plan.values import HostSecret, Output, Template

_KEEPALIVE = 25


def plan_tunnels(home: Home, facts: Facts, b: PlanBuilder) -> None:
    """Plans the tunnel between all machines."""
    with b.stage("tunnel/packages", "Install WireGuard"):
        for host in home.hosts:
            b.ensure(Packages(host=host.name, names=_packages(facts, host.name, b)), "the tunnel is WireGuard")
    public: dict[str, str | Output] = {}
    with b.stage("tunnel/keys", "Make the tunnel's keys on each machine"):
        for host in home.hosts:
            made = b.ensure(
                Secret(host=host.name, path=private_key_path(home), make="wg-private-key"),
                "each machine makes its own key, and it never leaves it",
            )
            public[host.name] = made.output("public", f"public key of {host.name}")
        shared = {
            edge: b.ensure(
                Secret(host=edge.a, path=preshared_key_path(home, edge.a, edge), make="wg-preshared-key"),
                f"a preshared key for {edge.title}",
            ).output("sha256", f"digest of the preshared key of {edge.title}")
            for edge in mesh(home)
        }
    with b.stage("tunnel/shared", "Share the preshared keys"):
        for edge in mesh(home):
            b.ensure(
                Secret(
                    host=edge.b,
                    path=preshared_key_path(home, edge.b, edge),
                    make="wg-preshared-key",
                    digest=(shared[edge],),
                    copy_of=HostSecret(edge.a, preshared_key_path(home, edge.a, edge)),
                ),
                f"{edge.title} need the same one",
            )
    with b.stage("tunnel/configuration", "Write the tunnel's configuration"):
        for host in home.hosts:
            b.ensure(
                File(
                    host=host.name,
                    path=configuration_path(home),
                    content=wg_quick(home, host.name, public),
                    mode="600",
                    mask=("PrivateKey", "PresharedKey"),
                ),
                "who is joined with whom",
            )
    with b.stage("tunnel/up", "Start the tunnel"):
        for host in home.hosts:
            b.ensure(
                Unit(host=host.name, unit=unit(home), watch=(configuration_path(home),), reload=True),
                "the tunnel is up, now and after a reboot",
                Risk.DISRUPTIVE,
            )
    with b.stage("tunnel/proof", "See that every pair of machines reaches each other"):
        for edge in mesh(home):
            b.wait_for(edge.b, reaches(home, edge, 30), "everything after this goes through the tunnel")
    for edge in mesh(home):
        b.prove(reaches(home, edge, 10))
        b.prove(shook_hands(home, edge))


def reaches(home: Home, edge: Edge, within: int) -> Check:
    """Returns the check that full packets cross an edge in both directions, unfragmented."""
    size = str(home.tunnel.mtu)
    return Check(
        id=f"reach-{edge.a}-{edge.b}",
        title=f"{edge.title} reach each other with full packets ({size} bytes)",
        probes=(
            Asked(edge.b, "tunnel-ping", (home.tunnel_address(edge.a), size)),
            Asked(edge.a, "tunnel-ping", (home.tunnel_address(edge.b), size)),
        ),
        judge="succeeds",
        within=within,
        explain=f"See whether UDP {home.tunnel.port} gets through between them (provider's firewall, router); "
        "if small packets pass and full ones do not, lower tunnel.mtu.",
    )


def shook_hands(home: Home, edge: Edge) -> Check:
    """Returns the check that an edge's session is fresh."""
    return Check(
        id=f"handshake-{edge.a}-{edge.b}",
        title=f"{edge.title} shook hands",
        judge="handshake",
        probes=(Asked(edge.a, "tunnel", (home.tunnel.name,)),),
        expect=(home.tunnel_address(edge.b), str(FRESH_SECONDS)),
        within=10,
        explain=f"See whether UDP {home.tunnel.port} gets through between them.",
    )


def wg_quick(home: Home, host: str, public: dict[str, str | Output]) -> Template:
    """Returns a machine's wg-quick configuration (wg-quick(8)).

    The address has the whole subnet's prefix: a reload is `wg syncconf`, which adds no routes. Endpoints are literal
    addresses, so that the tunnel comes up before DNS does. The side behind NAT keeps its mapping alive.
    """
    prefix = home.tunnel.subnet.split("/")[1]
    parts: list[str | Output | HostSecret] = [
        f"[Interface]\nAddress = {home.tunnel_address(host)}/{prefix}\nListenPort = {home.tunnel.port}\nMTU = {home.tunnel.mtu}\nPrivateKey = ",
        HostSecret(host, private_key_path(home)),
        "\n",
    ]
    for edge in edges_of(home, host):
        other = edge.other(host)
        parts += [
            f"\n# {other}\n[Peer]\nPublicKey = ",
            public[other],
            "\nPresharedKey = ",
            HostSecret(host, preshared_key_path(home, host, edge)),
            f"\nAllowedIPs = {home.tunnel_address(other)}/32\n",
        ]
        if host != home.proxy.name:
            parts.append(f"Endpoint = {home.host(other).address}:{home.tunnel.port}\n")
        if host != home.proxy.name and other == home.proxy.name:
            parts.append(f"PersistentKeepalive = {_KEEPALIVE}\n")
    return text(*parts)


def _packages(facts: Facts, host: str, b: PlanBuilder) -> tuple[str, ...]:
    room = facts.of(host, nodes.NAME)
    settled = room.settled if room else None
    wireguard = settled.wireguard if isinstance(settled, nodes.Settled) else "kernel"
    b.premise(host, "nodes.wireguard", wireguard)
    return ("wireguard-tools", "wireguard-go") if wireguard == "user" else ("wireguard-tools",)
