"""The lab's name server, a stand-alone script: `dns_server.py SERVER.json`.

Answers A questions from a zone file that is read again for each one, so that tests can change it at any
moment. A line is an address followed by names; a name `*.x` stands for all below x that have no own entry.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

A = 1
NXDOMAIN = 3
AUTHORITATIVE_ANSWER = 0x8580


def zone(path: Path) -> dict[str, str]:
    """Names and their addresses."""
    names = {}
    for line in path.read_text().splitlines():
        address, *rest = line.split() or [""]
        names.update({name.lower(): address for name in rest})
    return names


def find(names: dict[str, str], name: str) -> str | None:
    """The address of a name, by its own entry or by the nearest wildcard above it."""
    if name in names:
        return names[name]
    labels = name.split(".")
    for depth in range(1, len(labels)):
        address = names.get(".".join(["*", *labels[depth:]]))
        if address:
            return address
    return None


def parse(packet: bytes) -> tuple[str, int, bytes]:
    """Name, type and raw bytes of the question in a packet."""
    position, labels = 12, []
    while packet[position]:
        length = packet[position]
        labels.append(packet[position + 1 : position + 1 + length].decode("ascii"))
        position += length + 1
    kind = int(struct.unpack("!H", packet[position + 1 : position + 3])[0])
    return ".".join(labels).lower(), kind, packet[12 : position + 5]


def answer(names: dict[str, str], packet: bytes) -> tuple[bytes, str, str | None]:
    """The reply to a packet, the name it asks for and the address it gets."""
    name, kind, question = parse(packet)
    address = find(names, name)
    record = b""
    if address and kind == A:
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 1, 4) + socket.inet_aton(address)
    flags = AUTHORITATIVE_ANSWER | (0 if address else NXDOMAIN)
    head = struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0)
    return packet[:2] + head + question + record, name, address


def main() -> None:
    """Serve until killed."""
    config = json.loads(Path(sys.argv[1]).read_text())
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((config["address"], 53))
    Path(config["pid"]).write_text(json.dumps({"pid": os.getpid()}))
    with Path(config["log"]).open("a", buffering=1) as log:
        while True:
            packet, client = listener.recvfrom(512)
            try:
                reply, name, address = answer(zone(Path(config["zone"])), packet)
            except (IndexError, UnicodeDecodeError, struct.error):
                continue  # not a question; a name server that dies of one would be no use
            listener.sendto(reply, client)
            entry = {"time": time.time(), "client": client[0], "name": name, "address": address}
            log.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
