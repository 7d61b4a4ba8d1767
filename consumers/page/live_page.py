"""The page's files, and the figures that it draws."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from importlib import resources
from typing import Any

import msgspec

from consumers.clock import Clock
from consumers.gate import RECENT, GateMachine
from consumers.health import RoleState
from consumers.http_server import Answer, Request
from consumers.machine import Machine
from consumers.messages.errors import one_line
from consumers.page.access import refusal
from consumers.page.history import History, Point
from consumers.telemetry import Telemetry
from stream_al.config import Config
from stream_al.gate.why import why
from stream_al.learner.warning_signs import MEANINGS
from stream_al.metrics import PREFIX
from stream_al.records import Decision, request_id

__all__ = ["LivePage"]

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
}
_JSON = "application/json"

_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

_SHOWN = frozenset(
    {
        "accuracy_watermark_lag_events",
        "budget_burst_requests",
        "assigned_partitions",
        "budget_ratio",
        "consumer_lag_records",
        "control",
        "dead_letters_total",
        "early_labels",
        "labels_total",
        "log_bytes",
        "log_disk_free_bytes",
        "oldest_open_request_age_seconds",
        "open_requests",
        "predictions_total",
        "query_ratio",
        "restores_total",
        "rolling_accuracy_limit_ratio",
        "rolling_accuracy_naive_ratio",
        "rolling_accuracy_ratio",
        "warning",
    }
)
_FRESH_S = 0.5

_LONGEST = 120
"""Characters of a text from the stream; nobody reads more, and names may be as long as messages."""


class LivePage:
    """Answers for the page, its files, and the figures that it asks for every two seconds.

    Figures are those of ``/metrics``. Texts from the stream are cut, and escaped where they do not
    print; the page puts them in as text.

    Parameters
    ----------
    config
        Validated.
    telemetry, states, machines
        Those of the process.
    history
        What the charts show of the past.
    clock
        The time.
    """

    def __init__(
        self,
        config: Config,
        telemetry: Telemetry,
        states: Mapping[str, RoleState],
        machines: Mapping[str, Machine],
        history: History,
        clock: Clock,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._states = states
        gates = (each for each in machines.values() if isinstance(each, GateMachine))
        self._gate = next(gates, None)
        self._history = history
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[str | None, tuple[float, bytes]] = {}
        folder = resources.files(__package__)
        self._files = {
            path: Answer(200, kind, folder.joinpath(name).read_bytes(), _HEADERS)
            for path, (name, kind) in _FILES.items()
        }

    def __call__(self, asked: Request) -> Answer | None:
        """Answer a request; None: there is no such path."""
        if asked.path == "/page.json":
            return Answer(200, _JSON, self._figures(refusal(self._config.serve, asked)), _HEADERS)
        return self._files.get(asked.path)

    def _figures(self, refused: str | None) -> bytes:
        """Write the figures, or give them as they were a moment ago: many may look at once."""
        now = self._clock.monotonic()
        with self._lock:
            written, body = self._written.get(refused, (-math.inf, b""))
            if now - written > _FRESH_S:
                body = msgspec.json.encode(self._told(refused))
                self._written[refused] = now, body
        return body

    def _told(self, refused: str | None) -> dict[str, Any]:
        serve, now = self._config.serve, self._clock.now()
        return {
            "name": self._config.log.name,
            "instance": self._config.log.instance,
            "now": now,
            "roles": {role: _role(state, serve.stale_s) for role, state in self._states.items()},
            "samples": self._samples(),
            "warnings": self._warnings(),
            "columns": Point.__struct_fields__,
            "points": [*self._history.points, Point.of(now, self._telemetry)],
            "decisions": None if refused else self._decisions(),
            "refusal": refused,
            "each": RECENT,
        }

    def _samples(self) -> list[tuple[str, dict[str, str], float]]:
        """List figures as (name without prefix, labels, value), all of one moment."""
        return [
            (name, sample.labels, sample.value)
            for family in self._telemetry.collect()
            for sample in family.samples
            if (name := sample.name.removeprefix(PREFIX)) in _SHOWN
        ]

    def _warnings(self) -> dict[str, dict[str, str]]:
        """Tell what each warning sign means, and what it goes by."""
        insight = None if self._gate is None else self._gate.insight
        signs = {} if insight is None else insight.warnings
        return {
            name: {"meaning": MEANINGS[name], "why": one_line(sign.why, 2 * _LONGEST)}
            for name, sign in signs.items()
        }

    def _decisions(self) -> list[dict[str, Any]]:
        """List the last that ask, then the last that do not, both from the newest on."""
        kinds = () if self._gate is None else self._gate.recent
        return [_decision(each) for kind in kinds for each in reversed(kind)]


def _role(state: RoleState, stale_s: float) -> dict[str, Any]:
    ready, reason = state.readiness
    age = state.age
    return {
        "ready": ready,
        "why": one_line(reason, 2 * _LONGEST),
        "age": age,
        "hangs": age > stale_s,
    }


def _decision(decision: Decision) -> dict[str, Any]:
    row = decision.prediction
    features = {} if decision.request is None else decision.request.features
    return {
        "event": request_id(row.topic, row.partition, row.offset),
        "id": one_line(row.id, _LONGEST),
        "time": row.batch_time,
        "action": row.action,
        "reason": row.reason,
        "why": why(row),
        "prediction": None if row.prediction is None else one_line(row.prediction, _LONGEST),
        "probability": row.probabilities.get(row.prediction or ""),
        "score": row.score,
        "threshold": row.threshold,
        "weighed": [
            (one_line(name, _LONGEST), one_line(str(features.get(name, "")), _LONGEST), share)
            for name, share in (row.weighed or {}).items()
        ],
    }
