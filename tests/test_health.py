"""Health over real HTTP: what the probes see, and that no client blocks another."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import parser

from consumers import http_server
from consumers.health import HealthServer, RoleState
from consumers.telemetry import Telemetry
from stream_al.config import ServeConfig
from stream_al.errors import ConfigError

STALE_S = 60.0


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


class Served:
    """A server with two roles, and requests to it."""

    def __init__(self) -> None:
        self.clock = Hand()
        self.gate, self.ledger = RoleState(self.clock), RoleState(self.clock)
        self.telemetry = Telemetry(["gate", "ledger"])
        states = {"gate": self.gate, "ledger": self.ledger}
        self.server = HealthServer(ServeConfig(port=0, stale_s=STALE_S), self.telemetry, states)
        host, _, port = self.server.address.rpartition(":")
        self.place = (host, int(port))

    def ask(
        self, path: str, method: str = "GET", timeout: float = 5.0, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request; return the answer and its body."""
        connection = http.client.HTTPConnection(*self.place, timeout=timeout)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """Send bytes; return all that comes back until the connection ends."""
        with socket.create_connection(self.place, timeout=5.0) as client:
            client.sendall(sent)
            return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve on a free port until the test ends."""
    served = Served()
    served.server.start()
    yield served
    served.server.close()


def test_healthy_while_every_round_is_young(served: Served) -> None:
    """`/healthz` is 200 up to `stale_s` since the last round of each role, and 503 beyond."""
    served.clock.at += STALE_S
    served.gate.beat()
    response, body = served.ask("/healthz")
    assert (response.status, response.getheader("Content-Type")) == (200, "application/json")
    ages = {"gate": 0.0, "ledger": 60.0}
    assert json.loads(body) == {"status": "ok", "loop_age_seconds": ages}
    served.clock.at += 0.5
    response, body = served.ask("/healthz")
    ages = {"gate": 0.5, "ledger": 60.5}
    assert response.status == 503
    assert json.loads(body) == {"status": "stale", "loop_age_seconds": ages}
    served.ledger.beat()
    assert served.ask("/healthz")[0].status == 200


def test_ready_when_every_role_is(served: Served) -> None:
    """`/readyz` is 503 with the reasons until all roles are at work or stand by."""
    served.gate.get_ready()
    response, body = served.ask("/readyz")
    assert response.status == 503
    assert json.loads(body) == {
        "status": "waiting",
        "roles": {
            "gate": {"ready": True, "why": ""},
            "ledger": {"ready": False, "why": "starting"},
        },
    }
    served.ledger.stand_by("another member has all partitions")
    response, body = served.ask("/readyz")
    told = json.loads(body)
    assert (response.status, told["status"]) == (200, "ready")
    assert told["roles"]["ledger"]["why"] == "another member has all partitions"
    served.gate.wait("the group is rebalancing")
    assert served.ask("/readyz")[0].status == 503


def test_metrics_in_both_formats(served: Served) -> None:
    """`/metrics` is Prometheus' text, OpenMetrics for who accepts it, and never fails for that."""
    response, body = served.ask("/metrics")
    assert response.status == 200
    assert str(response.getheader("Content-Type")).startswith("text/plain; version=0.0.4")
    assert not body.endswith(b"# EOF\n")
    accepted = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
    response, body = served.ask("/metrics?x=1", Accept=accepted)
    assert str(response.getheader("Content-Type")).startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    for odd in ("", ";;;", "text/plain;version=x", "application/openmetrics-text;version=1.x"):
        response, body = served.ask("/metrics", Accept=odd)
        assert (response.status, len(body) > 1000) == (200, True)


def test_a_loop_that_hangs_grows_old_in_the_metrics(served: Served) -> None:
    """Age and readiness are those of the moment of the scrape, though no loop sets them."""
    served.ledger.get_ready()
    served.clock.at += 12.5
    served.gate.beat()
    found = {
        (sample.name, sample.labels.get("role")): sample.value
        for family in parser.text_string_to_metric_families(served.ask("/metrics")[1].decode())
        for sample in family.samples
    }
    assert found["stream_al_loop_age_seconds", "ledger"] == 12.5
    assert found["stream_al_loop_age_seconds", "gate"] == 0.0
    assert found["stream_al_ready", "ledger"] == 1.0
    assert found["stream_al_ready", "gate"] == 0.0


@pytest.mark.parametrize("path", ["/index.html", "/health", "/healthz/", "/metrics/x", "//healthz"])
def test_other_paths_are_not_found(served: Served, path: str) -> None:
    """Whatever else is asked for is 404, but for slashes at the start."""
    response, body = served.ask(path)
    expected = 200 if path == "//healthz" else 404
    assert (response.status, bool(body)) == (expected, True)


def test_a_head_is_that_of_the_answer(served: Served) -> None:
    """HEAD gives status and length as GET does, and no body."""
    whole, body = served.ask("/healthz")
    response, nothing = served.ask("/healthz", "HEAD")
    assert (response.status, nothing) == (whole.status, b"")
    assert response.getheader("Content-Length") == str(len(body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_only_reading_is_allowed(served: Served, method: str) -> None:
    """Every other method is 405 and says which ones are allowed."""
    response, _ = served.ask("/healthz", method)
    assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * http_server._HEAD_BYTES, 431),
        ((b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)[: http_server._HEAD_BYTES + 1], 431),
        (b"\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 505),
        (b"GET /healthz HTTP/x\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 200),
    ],
    ids=["line too long", "head too long", "not HTTP", "another HTTP", "bad version", "old"],
)
def test_bad_requests_are_refused(served: Served, sent: bytes, status: int) -> None:
    """What is too long or no HTTP is told so, and the server goes on."""
    answer = served.raw(sent)
    assert answer.startswith(f"HTTP/1.0 {status} ".encode())
    assert served.ask("/healthz")[0].status == 200


def test_silent_clients_block_nobody(served: Served) -> None:
    """With three times as many silent clients as may be open, a probe is answered at once."""
    clients = [socket.create_connection(served.place) for _ in range(3 * http_server._CONNECTIONS)]
    try:
        for client in clients[::2]:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        started = time.monotonic()
        assert served.ask("/healthz")[0].status == 200
        assert time.monotonic() - started < 2.0
        handlers = [t for t in threading.enumerate() if "process_request_thread" in t.name]
        assert len(handlers) <= 2 * http_server._CONNECTIONS
    finally:
        for client in clients:
            client.close()


def test_a_client_that_trickles_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on the whole request, so a byte now and then does not extend it."""
    monkeypatch.setattr(http_server, "_REQUEST_S", 0.5)
    with socket.create_connection(served.place, timeout=5.0) as client:
        client.settimeout(0.05)
        started = time.monotonic()
        cut = False
        while not cut and time.monotonic() - started < 5.0:
            try:
                client.sendall(b"G")
                cut = client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                cut = True
    assert cut
    assert 0.4 < time.monotonic() - started < 3.0


def test_a_taken_port_is_a_configuration_error(served: Served) -> None:
    """The error names the key and the port, and exits with 2."""
    config = ServeConfig(port=served.place[1])
    with pytest.raises(ConfigError, match=rf"^serve.port: .*port {served.place[1]}: ") as caught:
        HealthServer(config, served.telemetry, {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_an_address_that_is_not_ours_is_a_configuration_error(host: str) -> None:
    """The error names the key that holds the address."""
    with pytest.raises(ConfigError, match=r"^serve\.host: "):
        HealthServer(ServeConfig(host=host, port=0), Telemetry(["gate"]), {})


def test_the_default_is_loopback_only(served: Served) -> None:
    """Without configuration nobody but this machine is served."""
    assert served.server.address.startswith("127.0.0.1:")
    assert ServeConfig().host == "127.0.0.1"


def test_ipv6_is_served_where_there_is_any() -> None:
    """An IPv6 address is bound and named in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = HealthServer(ServeConfig(host="::1", port=0), Telemetry(["gate"]), {})
    server.start()
    try:
        connection = http.client.HTTPConnection("::1", int(server.address.rpartition(":")[2]))
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        assert server.address.startswith("[::1]:")
    finally:
        server.close()


def test_closing_frees_the_port() -> None:
    """After `close`, started or not and however often, the port can be had again."""
    never = HealthServer(ServeConfig(port=0), Telemetry(["gate"]), {})
    never.close()
    served = Served()
    served.server.start()
    silent = socket.create_connection(served.place, timeout=5.0)
    assert served.ask("/healthz")[0].status == 200
    served.server.close()
    served.server.close()
    assert silent.recv(1) == b""
    silent.close()
    again = HealthServer(ServeConfig(port=served.place[1]), Telemetry(["gate"]), {})
    again.close()


def test_readiness_is_read_whole() -> None:
    """Ready and why are of one moment, whatever another thread tells meanwhile."""
    state, stop = RoleState(), threading.Event()

    def tell() -> None:
        while not stop.is_set():
            state.wait("restoring")
            state.get_ready()

    thread = threading.Thread(target=tell)
    state.get_ready()
    thread.start()
    try:
        seen = {state.readiness for _ in range(20_000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {(True, ""), (False, "restoring")}
