"""A file server of the lab, a stand-alone script: `mirror_server.py SERVER.json`.

Serves one directory below one path, over HTTPS when it is given a certificate, and logs who asked for what.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO


class Handler(SimpleHTTPRequestHandler):
    """Files below a path, with a log in JSON lines."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    below = "/"
    log: TextIO
    lock = threading.Lock()

    def translate_path(self, path: str) -> str:
        """Where a request's file lies; outside the served path there is none."""
        if not path.startswith(self.below):
            return f"{self.directory}/no such file"
        return super().translate_path("/" + path[len(self.below) :])

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """One line a request, as soon as its status is known."""
        entry = {
            "time": time.time(),
            "client": self.client_address[0],
            "method": self.command,
            "path": self.path,
            "status": int(code),
        }
        with self.lock:
            self.log.write(json.dumps(entry) + "\n")

    def log_message(self, *args: Any) -> None:
        """Failures show in the status already."""


class Server(ThreadingHTTPServer):
    """A server that makes the TLS handshake in the thread of the request, so a slow client holds up nobody."""

    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        if self.context is not None:
            try:
                request.settimeout(20)
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return  # a client that does not trust us hangs up here
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server."""


def main() -> None:
    """Serve until killed."""
    config = json.loads(Path(sys.argv[1]).read_text())
    Handler.below = config["below"]
    Handler.log = Path(config["log"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the server runs
    handler = functools.partial(Handler, directory=config["directory"])
    server = Server((config["address"], config["port"]), handler)
    if config["certificate"]:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(config["certificate"], config["key"])
    Path(config["pid"]).write_text(json.dumps({"pid": os.getpid()}))
    server.serve_forever()


if __name__ == "__main__":
    main()
