"""Finding machines on the local network: who answers SSH there, and what made them."""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.engine.service import Found

_PORT = 22
_PATIENCE = 0.7
_LOOKERS = 64
_MOST_ADDRESSES = 1024
# the prefixes registered for Raspberry Pi in the IEEE's MA-L list (standards-oui.ieee.org)
_RASPBERRY_PI = (
    "28:cd:c1",
    "2c:cf:67",
    "3a:35:41",
    "88:a2:9e",
    "8c:1f:64",
    "b8:27:eb",
    "d8:3a:dd",
    "dc:a6:32",
    "e4:5f:01",
)
_NEIGHBOURS = Path("/proc/net/arp")


def own_subnet() -> str:
    """Returns the /24 that this console is in, or empty; nothing is sent for it."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # connecting a datagram socket only chooses the route (RFC 5737's address is nobody's)
            probe.connect(("192.0.2.1", 9))
            address = str(probe.getsockname()[0])
    except OSError:
        return ""
    network = ipaddress.ip_network(f"{address}/24", strict=False)
    return str(network) if network.is_private and not network.is_loopback else ""


def find_machines(subnet: str) -> Iterator[Found]:
    """Yields the machines of a subnet that answer SSH, as they answer.

    Args:
        subnet: An IPv4 subnet such as ``192.168.1.0/24``; of a larger one the first 1,024 addresses are tried.

    Raises:
        ValueError: If that is no subnet.
    """
    network = ipaddress.IPv4Network(subnet, strict=False)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for address, _ in zip(network.hosts(), range(_MOST_ADDRESSES), strict=False):
        waiting.put(str(address))
    found: queue.SimpleQueue[Found | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            while True:
                machine = _greeting(waiting.get_nowait())
                if machine is not None:
                    found.put(machine)
        except queue.Empty:
            pass
        finally:
            # whoever waits for all of us must not wait for ever
            found.put(None)

    for number in range(_LOOKERS):
        threading.Thread(target=look, name=f"find-{number}", daemon=True).start()
    ended = 0
    while ended < _LOOKERS:
        machine = found.get()
        if machine is None:
            ended += 1
        else:
            yield machine


def _greeting(address: str) -> Found | None:
    try:
        with socket.create_connection((address, _PORT), timeout=_PATIENCE) as connection:
            said = connection.recv(256).decode("utf-8", "replace")
    except OSError:
        return None
    # lines of other words may come before it (RFC 4253, 4.2), and the key exchange behind it
    greeting = next((line for line in re.split("\r?\n", said) if line.startswith("SSH-")), "")
    if not greeting:
        return None
    name = ""
    with contextlib.suppress(OSError, UnicodeError):  # a name may be anything, and then is none
        name = socket.gethostbyaddr(address)[0]
    return Found(address, one_line(greeting, 80), _maker(address), one_line(name, 63))


def _maker(address: str) -> str:
    try:
        table = _NEIGHBOURS.read_text()
    except OSError:
        return ""
    match = re.search(rf"^{re.escape(address)}\s+\S+\s+\S+\s+([0-9a-fA-F:]{{17}})", table, re.MULTILINE)
    return "Raspberry Pi" if match and match[1].lower().startswith(_RASPBERRY_PI) else ""
