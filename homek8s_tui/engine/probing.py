"""Looking at ports, certificates and answers from any vantage; nothing is installed on a machine for it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.engine.kubeconfig import Credentials, credentials
from homek8s_tui.engine.observe import ask_all
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.host import Asker, ByteStream
from homek8s_tui.hosts.model import Question
from homek8s_tui.plan.checks import CONSOLE, Asked, Http, Port, Probe, Scan, Seen, Tls

_PATIENCE = 5.0
_SCAN_PATIENCE = 1.5
_SCANNERS = 48
_BLOCK = 16384


class _Socket:
    """A plain connection from this console, as a `ByteStream`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def receive(self, limit: int) -> bytes:
        return self._connection.recv(limit)

    def close(self) -> None:
        self._connection.close()


class NetworkProber:
    """Looks from this console by sockets and from the machines through SSH channels.

    Args:
        askers: The machines.
        kubeconfig: Where the contexts' credentials are.
    """

    def __init__(self, askers: Mapping[str, Asker], kubeconfig: str) -> None:
        self._askers = askers
        self._kubeconfig = kubeconfig

    def look(self, probe: Probe, home: Home) -> Seen:
        """Returns what was seen; a vantage that can't be asked gives its ``trouble``."""
        try:
            if isinstance(probe, Asked):
                answer = self._askers[probe.vantage].ask([Question("probe", probe.script, probe.arguments)])["probe"]
                return {"status": str(answer.status), "output": answer.output, "errors": one_line(answer.errors)}
            if isinstance(probe, Scan):
                return self._scan(probe, home)
            if isinstance(probe, Port):
                return {"state": self._port(probe.vantage, probe.address, probe.port, _PATIENCE)}
            return self._tls(probe) if isinstance(probe, Tls) else self._http(probe)
        except Trouble as trouble:
            return {"trouble": str(trouble)}

    def _dial(self, vantage: str, address: str, port: int, seconds: float) -> ByteStream:
        if vantage == CONSOLE:
            connection = socket.create_connection((address, port), timeout=seconds)
            return _Socket(connection)
        return self._askers[vantage].dial(address, port, seconds)

    def _port(self, vantage: str, address: str, port: int, seconds: float) -> str:
        try:
            self._dial(vantage, address, port, seconds).close()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return one_line(str(error))
        return "open"

    def _scan(self, probe: Scan, home: Home) -> Seen:
        ports = set(probe.suspects)
        for name, answers in ask_all(
            self._askers, {host.name: [Question("listening", "listening")] for host in home.hosts}
        ).items():
            if isinstance(answers, Trouble):
                return {"trouble": f"{name} could not tell which ports it listens on: {answers}"}
            ports.update(
                int(word) for word in answers["listening"].output.split() if word.isdigit() and 0 < int(word) < 65536
            )
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for port in sorted(ports):
            waiting.put(port)
        found: list[int] = []

        def scan() -> None:
            while True:
                try:
                    port = waiting.get_nowait()
                except queue.Empty:
                    return
                if self._port(probe.vantage, probe.address, port, _SCAN_PATIENCE) == "open":
                    found.append(port)

        threads = [threading.Thread(target=scan, name="scan", daemon=True) for _ in range(min(_SCANNERS, len(ports)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"open": " ".join(map(str, sorted(found))), "asked": str(len(ports))}

    def _tls(self, probe: Tls) -> Seen:
        if probe.authority:
            found = credentials(self._kubeconfig, probe.authority)
            if found is None:
                return {"state": f"the kubeconfig has no context {probe.authority}"}
            context = ssl.create_default_context(cadata=found.authority)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # the certificate itself is what is looked at; whether it is trusted is the judge's business
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        header = _proxy_header(probe.address, probe.port) if probe.proxy_protocol else b""
        return self._over_tls(probe, context, header, lambda _stream: {})

    def _http(self, probe: Http) -> Seen:
        found = credentials(self._kubeconfig, probe.context)
        if found is None:
            return {"state": f"the kubeconfig has no context {probe.context}"}
        context = ssl.create_default_context(cadata=found.authority)
        _load_client(context, found)

        def get(stream: _TlsStream) -> dict[str, str]:
            stream.send(f"GET {probe.path} HTTP/1.1\r\nHost: {probe.server_name}\r\nConnection: close\r\n\r\n".encode())
            words = stream.receive(_BLOCK).split(b" ", 2)
            return (
                {"status": words[1].decode("ascii", "replace")}
                if len(words) > 2 and words[0].startswith(b"HTTP/")
                else {}
            )

        return self._over_tls(probe, context, b"", get)

    def _over_tls(self, probe: Tls | Http, context: ssl.SSLContext, header: bytes, use: _Use) -> Seen:
        try:
            with contextlib.closing(self._dial(probe.vantage, probe.address, probe.port, _PATIENCE)) as stream:
                if header:
                    stream.send(header)
                tls = _TlsStream(stream, context, probe.server_name)
                certificate = tls.certificate()
                return {"certificate": hashlib.sha256(certificate).hexdigest(), **use(tls)}
        except ConnectionRefusedError:
            return {"state": "refused"}
        except TimeoutError:
            return {"state": "timeout"}
        except ssl.SSLError as error:
            return {"state": one_line(getattr(error, "verify_message", "") or error.reason or str(error))}
        except OSError as error:
            return {"state": one_line(str(error))}


class _TlsStream:
    """TLS over any byte stream, in memory."""

    def __init__(self, stream: ByteStream, context: ssl.SSLContext, name: str) -> None:
        self._stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._pump(self._tls.do_handshake)

    def certificate(self) -> bytes:
        """Returns the served certificate, DER."""
        return self._tls.getpeercert(binary_form=True) or b""

    def send(self, data: bytes) -> None:
        self._pump(lambda: self._tls.write(data))

    def receive(self, limit: int) -> bytes:
        result: list[bytes] = []
        self._pump(lambda: result.append(self._tls.read(limit)))
        return result[0]

    def _pump(self, work: _Work) -> None:
        while True:
            try:
                work()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._stream.receive(_BLOCK)
                if not data:
                    raise ConnectionResetError("the connection was closed in the middle of TLS") from None
                self._in.write(data)
            else:
                self._flush()
                return

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self._stream.send(data)


_Work = Callable[[], object]
_Use = Callable[[_TlsStream], dict[str, str]]


def _proxy_header(address: str, port: int) -> bytes:
    """Returns a PROXY protocol v2 header for a TCP connection over IPv4 (haproxy's proxy-protocol.txt, 2.2)."""
    body = socket.inet_aton("192.0.2.1") + socket.inet_aton(address) + struct.pack("!HH", 40000, port)
    return b"\r\n\r\n\x00\r\nQUIT\n" + b"\x21\x11" + struct.pack("!H", len(body)) + body


def _load_client(context: ssl.SSLContext, found: Credentials) -> None:
    # the ssl module takes a client key from a file only; mkstemp makes it 0600, and it is gone at once
    with _private_file(found.certificate + "\n" + found.key) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _private_file(text: str) -> Iterator[Path]:
    number, name = tempfile.mkstemp()
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        yield Path(name)
    finally:
        Path(name).unlink()
