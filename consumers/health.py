"""Health and metrics over HTTP: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec
from prometheus_client.exposition import choose_encoder

from consumers.http_server import Answer, Request, bind
from consumers.telemetry import Telemetry
from stream_al.config import ServeConfig

__all__ = ["HealthServer", "RoleState"]

_JSON = "application/json"


class RoleState:
    """How a role is doing; its loop tells, `HealthServer` asks, from any thread.

    Parameters
    ----------
    clock
        Seconds that never go back.

    Examples
    --------
    >>> state = RoleState()
    >>> state.ready, state.why
    (False, 'starting')
    >>> state.stand_by("no partition is assigned")
    >>> state.ready, state.why
    (True, 'no partition is assigned')
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beaten = clock()
        # One reference, so that nobody reads one half of a change.
        self._told = (False, "starting")

    def beat(self) -> None:
        """Tell that a round has ended, or a step of something that takes longer than one."""
        self._beaten = self._clock()

    def wait(self, why: str) -> None:
        """Tell that the role is not ready."""
        self._told = (False, why)

    def stand_by(self, why: str) -> None:
        """Tell that the role is ready and has nothing to do."""
        self._told = (True, why)

    def get_ready(self) -> None:
        """Tell that the role is at work."""
        self._told = (True, "")

    @property
    def readiness(self) -> tuple[bool, str]:
        """`ready` and `why` of one moment."""
        return self._told

    @property
    def ready(self) -> bool:
        """Whether it works, or would if it had something to do."""
        return self._told[0]

    @property
    def why(self) -> str:
        """Why it is not ready or stands by; empty at work."""
        return self._told[1]

    @property
    def age(self) -> float:
        """Seconds since the last round ended, or since the start."""
        return max(0.0, self._clock() - self._beaten)


class HealthServer:
    """Serves health and metrics from threads of its own.

    ``/healthz`` answers 200 while every role's last round is younger than ``serve.stale_s``,
    ``/readyz`` while every role is ready, both with JSON that says more, and else 503.
    ``/metrics`` speaks Prometheus' text format, and OpenMetrics where that is asked for.
    All other paths are left to `pages`.

    Parameters
    ----------
    config
        Its port is not None.
    telemetry
        What ``/metrics`` renders.
    states
        Of all roles of the process.
    pages
        What answers all other paths; None for those that it does not know.

    Raises
    ------
    ConfigError
        If address or port cannot be had.
    """

    def __init__(
        self,
        config: ServeConfig,
        telemetry: Telemetry,
        states: Mapping[str, RoleState],
        pages: Callable[[Request], Answer | None] = lambda _: None,
    ) -> None:
        self._telemetry = telemetry
        self._states = dict(states)
        self._pages = pages
        self._stale_s = config.stale_s
        self._server = bind(config.host, config.port or 0, self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="health", daemon=True
        )

    @property
    def address(self) -> str:
        """Where it listens: ``host:port``, or ``[host]:port``."""
        host, port = self._server.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begin to answer; connections made before wait for it."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening; answers under way are cut."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _answer(self, asked: Request) -> Answer | None:
        match asked.path:
            case "/healthz":
                return self._healthz()
            case "/readyz":
                return self._readyz()
            case "/metrics":
                return self._metrics(asked.accept)
        return self._pages(asked)

    def _healthz(self) -> Answer:
        ages = {role: state.age for role, state in self._states.items()}
        stale = any(age > self._stale_s for age in ages.values())
        rounded = {role: round(age, 3) for role, age in ages.items()}
        told = {"status": "stale" if stale else "ok", "loop_age_seconds": rounded}
        return Answer(503 if stale else 200, _JSON, msgspec.json.encode(told) + b"\n")

    def _readyz(self) -> Answer:
        found = {role: state.readiness for role, state in self._states.items()}
        ready = all(each for each, _ in found.values())
        roles = {role: {"ready": each, "why": why} for role, (each, why) in found.items()}
        told = {"status": "ready" if ready else "waiting", "roles": roles}
        return Answer(200 if ready else 503, _JSON, msgspec.json.encode(told) + b"\n")

    def _metrics(self, accept: str) -> Answer:
        for role, state in self._states.items():
            # Here and not in the loop: a loop that hangs grows old all the same.
            self._telemetry.set("loop_age_seconds", state.age, role)
            self._telemetry.set("ready", float(state.ready), role)
        try:
            encoder, content_type = choose_encoder(accept)
        except TypeError:  # a version that is no number
            encoder, content_type = choose_encoder("")
        return Answer(200, content_type, encoder(self._telemetry.registry))
