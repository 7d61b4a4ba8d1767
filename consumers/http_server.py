"""A small HTTP server that slow and silent clients cannot block."""

from __future__ import annotations

import contextlib
import errno
import http
import http.server
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from stream_al.errors import ConfigError

__all__ = ["Answer", "Request", "Server", "bind"]

_log = structlog.get_logger()

_CONNECTIONS = 32
"""Open at once; the oldest is cut for another, so whoever says nothing blocks nobody."""

_REQUEST_S = 5.0
"""From the connection to the end of the answer."""

_HEAD_BYTES = 16 * 1024
"""Request line and headers."""

_TEXT = "text/plain; charset=utf-8"

_METHODS = ("GET", "HEAD")


class Request(NamedTuple):
    """What is asked for, and by whom.

    Attributes
    ----------
    path
        Without the query.
    accept, host
        The headers of these names; empty where there are none.
    peer
        The other end's address.
    """

    path: str
    accept: str = ""
    host: str = ""
    peer: str = ""


class Answer(NamedTuple):
    """What is answered to a request."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def bind(host: str, port: int, answer: Callable[[Request], Answer | None]) -> Server:
    """Listen on an address and port; 0: any free one.

    Parameters
    ----------
    answer
        Called from several threads; None: there is no such path.

    Raises
    ------
    ConfigError
        If address or port cannot be had; names ``serve.host`` or ``serve.port``.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{host!r} is no address: {error}", "serve.host") from error
    family, _, _, _, address = found[0]
    try:
        return Server(family, address, answer)
    except OSError as error:
        where = "serve.host" if error.errno == errno.EADDRNOTAVAIL else "serve.port"
        told = f"cannot listen on {host}, port {port}: {error.strerror}; 0 takes any free port"
        raise ConfigError(told, where) from error


class Server(socketserver.ThreadingTCPServer):
    """Answers GET over HTTP/1.0; bounded in connections and in what each may take.

    Not http.server's own, which asks the name service for its name at start.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4 * _CONNECTIONS

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[str | int | bytes, ...],
        answer: Callable[[Request], Answer | None],
    ) -> None:
        self.address_family = family
        self.answer = answer
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)  # type: ignore[arg-type]

    def process_request(  # type: ignore[override]
        self, request: socket.socket, client_address: tuple[str, int]
    ) -> None:
        """Answer in a thread of its own."""
        with self._lock:
            if len(self._open) >= _CONNECTIONS:
                self._cut(next(iter(self._open)))
            self._open[request] = time.monotonic() + _REQUEST_S
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut the connections whose time is up."""
        now = time.monotonic()
        with self._lock:
            for request in [each for each, deadline in self._open.items() if deadline < now]:
                self._cut(request)

    def server_close(self) -> None:
        """Stop listening, and cut all connections."""
        super().server_close()
        with self._lock:
            for request in list(self._open):
                self._cut(request)

    def close_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close a connection after its answer."""
        with self._lock:
            self._open.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Tell of what is our fault; a client that goes away is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            _log.exception("health_request_failed")

    def _cut(self, request: socket.socket) -> None:
        """Wake the thread that waits for this client, which then ends."""
        del self._open[request]
        with contextlib.suppress(OSError):  # the client was faster
            request.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request, one answer; HTTP/1.0, so each connection ends with its answer."""

    server: Server
    timeout = _REQUEST_S
    server_version = "stream-al"
    sys_version = ""
    default_request_version = "HTTP/1.0"
    error_content_type = _TEXT
    error_message_format = "%(code)d %(message)s\n"

    def handle(self) -> None:
        with self.rfile as stream:
            head = _read_head(stream)
        self.rfile = io.BytesIO(head)
        if len(head) > _HEAD_BYTES:
            self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
            self.send_error(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            super().handle()

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command not in _METHODS:
            self._reply(Answer(405, _TEXT, b"405 expected GET or HEAD\n"))
            return False
        return True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = Request(
            path=self.path.partition("?")[0],
            accept=self.headers.get("Accept", ""),
            host=self.headers.get("Host", ""),
            peer=str(self.client_address[0]),
        )
        answer = self.server.answer(asked)
        self._reply(answer or Answer(404, _TEXT, b"404 expected another path\n"))

    def _reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(_METHODS))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a probe every second is no news."""


def _read_head(stream: io.BufferedIOBase) -> bytes:
    """Read up to the empty line; more than `_HEAD_BYTES` where it is too long."""
    head = b""
    while len(head) <= _HEAD_BYTES:
        line = stream.readline(_HEAD_BYTES + 1 - len(head))
        head += line
        if line in (b"\r\n", b"\n", b""):
            break
    return head
