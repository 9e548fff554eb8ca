"""A door before an MLflow server, which can be shut in several ways."""

import http.client
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WAYS = ("refuses", "hangs", "is late", "answers 500")
"""How a server can be away; one that is late does in the end what nobody waits for any longer."""


class Gate:
    """Passes requests on to a server, while it is open.

    Attributes:
        way: how it is shut; None while it is open.
        only: the status that is answered to requests about a run, by its id.
        passed: method and path of what was passed on.

    Args:
        upstream: the server's address.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.way: str | None = None
        self.only: dict[str, int] = {}
        self.passed: list[tuple[str, str]] = []
        self._open = threading.Event()
        self._open.set()
        self._connections: set[socket.socket] = set()
        self._server = self._listen(0)
        self.port = self._server.server_port

    @property
    def uri(self) -> str:
        """The address that it answers at."""
        return f"http://127.0.0.1:{self.port}"

    def shut(self, way: str = "refuses") -> None:
        """Shut it: new connections and those that there are, see `WAYS`."""
        self.way = way
        self._open.clear()
        if way == "refuses":
            self._stop()

    def open(self) -> None:
        """Let requests pass again."""
        refused, self.way = self.way == "refuses", None
        if refused:
            self._server = self._listen(self.port)
        self._open.set()

    def close(self) -> None:
        """End it."""
        self._open.set()
        if self.way != "refuses":
            self._stop()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        gate = self

        class Handler(_Handler):
            of = gate

        server = _Server(("127.0.0.1", port), Handler)
        serve = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serve.start()
        return server

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were shut while they were answered."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    of: Gate
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Any:
        """Answer to every method alike."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def setup(self) -> None:
        super().setup()
        self.of._connections.add(self.connection)

    def finish(self) -> None:
        self.of._connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _pass(self) -> None:
        gate, body = self.of, self._body()
        if gate.way == "hangs":
            gate._open.wait()
            self.close_connection = True
            return
        if gate.way == "is late":
            gate._open.wait()
        elif gate.way is not None:
            self._answer(500, b"{}")
            return
        asked = self.path.encode() + body
        for run_id, status in gate.only.items():
            if run_id.encode() in asked:
                said = b'{"error_code": "%s", "message": "no"}'
                self._answer(status, said % _CODES.get(status, b"INTERNAL_ERROR"))
                return
        gate.passed.append((self.command, self.path))
        try:
            connection = http.client.HTTPConnection(
                str(gate.upstream.hostname), gate.upstream.port, timeout=60
            )
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _OF_A_HOP}
            connection.request(self.command, self.path, body or None, kept)
            response = connection.getresponse()
            self._answer(response.status, response.read(), response.getheader("Content-Type"))
            connection.close()
        except OSError:
            self._answer(502, b"no server")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, body: bytes, kind: str | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # it is not waited for any longer
            self.close_connection = True


_OF_A_HOP = ("host", "connection", "transfer-encoding", "content-length", "accept-encoding")
_CODES = {
    401: b"UNAUTHENTICATED",
    403: b"PERMISSION_DENIED",
    404: b"RESOURCE_DOES_NOT_EXIST",
}


@contextmanager
def gate_before(upstream: str) -> Iterator[Gate]:
    """Put a gate before a server."""
    gate = Gate(upstream)
    try:
        yield gate
    finally:
        gate.close()
