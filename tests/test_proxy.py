"""The proxy forwards, can be cut and silenced, and comes back on the same port."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from consumers.testing.proxy import Proxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Give a proxy to an echo server."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with Proxy() as proxy:
                proxy.connect_to(f"127.0.0.1:{server.server_address[1]}")
                yield proxy
        finally:
            server.shutdown()
            thread.join()


def connect(proxy: Proxy) -> socket.socket:
    """Connect through the proxy."""
    return socket.create_connection(("127.0.0.1", proxy.port), 5.0)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send bytes, and receive as many."""
    connection.sendall(data)
    found = b""
    while len(found) < len(data) and (part := connection.recv(1 << 16)):
        found += part
    return found


def test_bytes_go_both_ways_unchanged(proxy: Proxy) -> None:
    """What is sent comes back from behind the proxy, however large."""
    with connect(proxy) as one, connect(proxy) as other:
        assert exchange(one, b"x" * 300_000) == b"x" * 300_000
        assert exchange(other, b"hello") == b"hello"


def test_a_cut_ends_connections_and_refuses_new_ones_until_restored(proxy: Proxy) -> None:
    """After a cut nobody gets through; after restoring everybody does, on the same port."""
    port = proxy.port
    with connect(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.cut()
        try:
            ended = connection.recv(10) == b""
        except ConnectionError:
            ended = True
        assert ended
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.restore()
    assert proxy.port == port
    with connect(proxy) as connection:
        assert exchange(connection, b"after") == b"after"


def test_silence_keeps_connections_open_and_what_was_sent(proxy: Proxy) -> None:
    """While silent the proxy accepts and answers nothing; restored, it hands on what it kept."""
    with connect(proxy) as old:
        assert exchange(old, b"one") == b"one"
        proxy.silence()
        with connect(proxy) as new:
            for connection in (old, new):
                connection.sendall(b"two")
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    connection.recv(10)
            proxy.restore()
            for connection in (old, new):
                connection.settimeout(5.0)
                assert connection.recv(10) == b"two"


def test_a_cut_ends_what_is_silent(proxy: Proxy) -> None:
    """A connection that is silenced is closed by a cut, and what it held is dropped."""
    with connect(proxy) as connection:
        proxy.silence()
        connection.sendall(b"lost")
        proxy.cut()
        try:
            received = connection.recv(10)
        except ConnectionError:
            received = b""
        assert received == b""


def test_who_is_not_there_behind_it_is_nobody(proxy: Proxy) -> None:
    """Where nothing listens behind the proxy, connections are closed at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy.connect_to(f"127.0.0.1:{free.getsockname()[1]}")
    with connect(proxy) as connection:
        assert connection.recv(10) == b""
