"""A TCP proxy that can be cut, silenced and restored.

For Kafka, the listener that clients use must be advertised at the proxy's address
(``advertised.listeners=...,CLIENTS://127.0.0.1:<the proxy's port>``), for a client goes on with the
addresses that the broker tells it, not with the one that it began with.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]

_CHUNK = 1 << 16


class Proxy:
    """Forwards connections on a loopback port of its own to a host and port.

    A context manager; leaving it closes everything.

    Parameters
    ----------
    port
        0: a free one.

    Attributes
    ----------
    port
        Where it listens, also after a cut.

    Examples
    --------
    >>> with Proxy() as proxy:
    ...     proxy.address.startswith("127.0.0.1:")
    True
    """

    def __init__(self, port: int = 0) -> None:
        self._target: tuple[str, int] | None = None
        self._changed = threading.Condition()
        self._silent = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener: socket.socket | None = None
        self.port = port
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``."""
        return f"127.0.0.1:{self.port}"

    def connect_to(self, address: str) -> None:
        """Forward what is accepted from now on to ``host:port``."""
        host, _, port = address.rpartition(":")
        self._target = host, int(port)

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with self._changed:
            listener, self._listener = self._listener, None
            pairs, self._pairs = self._pairs, set()
            self._changed.notify_all()
        if listener is not None:
            # Closing alone would leave the port open while a thread waits in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for pair in pairs:
            _close(*pair)

    def silence(self) -> None:
        """Go on accepting, and forward nothing; what is sent meanwhile is kept."""
        with self._changed:
            self._silent = True

    def restore(self) -> None:
        """Forward again, what was kept first, and accept again after a cut."""
        with self._changed:
            self._silent = False
            self._changed.notify_all()
            cut = self._listener is None
        if cut:
            self._listen()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        with self._changed:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._target is None:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, 5.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = client, server
            with self._changed:
                cut = self._listener is not listener
                if not cut:
                    self._pairs.add(pair)
            if cut:
                _close(*pair)
                return
            for source, sink in (pair, pair[::-1]):
                threading.Thread(
                    target=self._forward, args=(source, sink, pair), daemon=True
                ).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                with self._changed:
                    self._changed.wait_for(lambda: not self._silent or pair not in self._pairs)
                sink.sendall(data)
        with self._changed:
            self._pairs.discard(pair)
        _close(*pair)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        # A thread that waits in recv is woken by this, and not by close.
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
