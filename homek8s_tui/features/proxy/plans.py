"""Traefik on the proxy: TCP passed through, the clients' addresses kept, nothing decrypted."""

from __future__ import annotations

from homek8s_tui.features.nodes import facts as nodes
from homek8s_tui.features.tunnels.model import unit as tunnel_unit
from homek8s_tui.home.artefacts import Download, traefik_archive
from homek8s_tui.home.inventory import Home
from homek8s_tui.plan.builder import PlanBuilder
from homek8s_tui.plan.checks import CONSOLE, Check, Port, Scan, Tls
from homek8s_tui.plan.facts import Facts
from homek8s_tui.plan.model import Risk
from homek8s_tui.plan.operations import Artefact, File, Unit, User

BINARY = "/usr/local/bin/traefik"
STATIC = "/etc/traefik/traefik.yml"
DYNAMIC = "/etc/traefik/dynamic/homek8s.yml"
SERVICE = "/etc/systemd/system/traefik.service"
_SUSPECTS = (
    21,
    22,
    23,
    25,
    53,
    80,
    110,
    111,
    139,
    143,
    443,
    445,
    1433,
    2375,
    2376,
    2379,
    2380,
    3000,
    3306,
    3389,
    5000,
    5432,
    5900,
    6379,
    6443,
    8000,
    8080,
    8443,
    8888,
    9000,
    9090,
    9100,
    9443,
    10248,
    10249,
    10250,
    10255,
    10256,
    11211,
    27017,
    51820,
)


def downloads(home: Home, facts: Facts) -> tuple[Download, ...]:
    """Returns what the proxy needs from the internet."""
    room = facts.of(home.proxy.name, nodes.NAME)
    return (
        (traefik_archive(home, room.settled.architecture),) if room and isinstance(room.settled, nodes.Settled) else ()
    )


def plan_proxy(home: Home, facts: Facts, sha256: str, b: PlanBuilder) -> None:
    """Plans Traefik.

    Args:
        home: The inventory.
        facts: What was observed.
        sha256: The digest of Traefik's archive.
        b: Takes the plan.
    """
    host = home.proxy.name
    room = facts.of(host, nodes.NAME)
    settled = room.settled if room and isinstance(room.settled, nodes.Settled) else None
    curl = settled.curl if settled else False
    b.premise(host, "nodes.curl", curl)
    if settled:
        b.premise(host, "nodes.architecture", settled.architecture)
    with b.stage("proxy/program", "Put Traefik on the proxy"):
        b.ensure(User(host=host, user="traefik"), "Traefik runs as nobody else")
        for download in downloads(home, facts):
            b.ensure(
                Artefact(host=host, path=BINARY, url=download.url, sha256=sha256, member="traefik", by_host=curl),
                f"Traefik {home.versions.traefik}, pinned",
            )
    with b.stage("proxy/configuration", "Configure Traefik"):
        b.ensure(File(host=host, path=STATIC, content=(static(),)), "three doors: 80, 443 and 6443")
        b.ensure(
            File(host=host, path=DYNAMIC, content=(dynamic(home),)),
            "where each door leads: through the tunnel, TLS untouched",
        )
        b.ensure(File(host=host, path=SERVICE, content=(service(home),)), "its own user and no way to anything else")
    with b.stage("proxy/up", "Start Traefik"):
        b.ensure(
            Unit(host=host, unit="traefik", watch=(BINARY, STATIC, SERVICE)),
            "the proxy answers, now and after a reboot",
            Risk.DISRUPTIVE,
        )
    with b.stage("proxy/proof", "See that the proxy answers"):
        b.wait_for(
            host,
            Check(
                id="proxy-doors",
                title="the proxy accepts connections on 80, 443 and 6443 from the internet side",
                probes=tuple(Port(CONSOLE, home.proxy.address, port) for port in (80, 443, 6443)),
                judge="is-open",
                within=20,
                explain="Open these ports in the provider's firewall (the panel of the VPS).",
            ),
            "the internet side must get in",
        )


def prove_proxy(home: Home, b: PlanBuilder) -> None:
    """Adds what the internet side must see, and must not."""
    address = home.proxy.address
    b.prove(
        Check(
            id="same-certificate",
            title=f"the certificate at {home.domain}:443 is the one that a node serves",
            judge="same-certificate",
            probes=(
                Tls(CONSOLE, address, 443, home.domain),
                *(
                    Tls(node.name, home.tunnel_address(node.name), 443, home.domain, proxy_protocol=True)
                    for node in home.nodes
                ),
            ),
            # Traefik looks every 10 s whether a node listens, and sends nobody to one before
            within=25,
            explain="Look at what listens on 443 of the proxy: only Traefik's TCP passthrough should.",
        )
    )
    b.prove(
        Check(
            id="only-these-ports",
            title=f"nothing on {home.proxy.name} accepts TCP but {home.proxy.port or 22} (SSH), 80, 443 and 6443",
            probes=(Scan(CONSOLE, address, _SUSPECTS),),
            judge="only-these-ports",
            expect=(str(home.proxy.port or 22), "80", "443", "6443"),
            explain="Stop what listens there, bind it to the tunnel's address, or close the port in the provider's firewall.",
        )
    )


def static() -> str:
    """Returns Traefik's static configuration."""
    return """\
# Managed by homek8s.
entryPoints:
  web:
    address: ":80"
  websecure:
    address: ":443"
  k8s:
    address: ":6443"
providers:
  file:
    directory: /etc/traefik/dynamic
    watch: true
global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: INFO
"""


def dynamic(home: Home) -> str:
    """Returns Traefik's routes.

    The PROXY protocol belongs to `tcp.serversTransports` since Traefik 3.5.2. Health checks send a header of their
    own: without one, nginx on the nodes logs a broken header at each check.
    """

    def servers(port: int) -> str:
        return "\n".join(f'          - address: "{home.tunnel_address(node.name)}:{port}"' for node in home.nodes)

    def balanced(name: str, port: int) -> str:
        return (
            f"    {name}:\n      loadBalancer:\n        serversTransport: proxy-v2\n        healthCheck:\n"
            '          send: "PROXY UNKNOWN\\r\\n"\n          interval: 10s\n          timeout: 3s\n'
            f"        servers:\n{servers(port)}\n"
        )

    def router(name: str, door: str, through: bool) -> str:
        tls = "      tls:\n        passthrough: true\n" if through else ""
        return f'    {name}:\n      entryPoints: [{door}]\n      rule: "HostSNI(`*`)"\n      service: {name}\n{tls}'

    server = home.tunnel_address(home.server.name)
    return (
        "# Managed by homek8s.\ntcp:\n  serversTransports:\n    proxy-v2:\n      dialTimeout: 5s\n      proxyProtocol:\n        version: 2\n"
        "  routers:\n"
        + router("http", "web", False)
        + router("https", "websecure", True)
        + router("k8s", "k8s", True)
        + "  services:\n"
        + balanced("http", 80)
        + balanced("https", 443)
        + f'    k8s:\n      loadBalancer:\n        servers:\n          - address: "{server}:6443"\n'
    )


def service(home: Home) -> str:
    """Returns Traefik's unit: its own user, one capability, nothing writable."""
    tunnel = f"{tunnel_unit(home)}.service"
    return f"""\
# Managed by homek8s.
[Unit]
Description=Traefik, the way into the home
After=network-online.target {tunnel}
Wants=network-online.target {tunnel}

[Service]
Type=notify
User=traefik
Group=traefik
ExecStart={BINARY} --configFile={STATIC}
Restart=always
RestartSec=2
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
