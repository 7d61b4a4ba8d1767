"""How long it takes from an event to its committed prediction, at a steady pace.

From the time that the log gave to the event (for Kafka its producer, CreateTime; for SQLite's log
when the writer took it) until a reader of committed records, in this process, has the prediction.
Events are written and flushed every 5 ms, as many as are due by then, so no writer's lingering is
in it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from _events import Message
from _processes import GATE, BenchmarkError, running

from consumers.log import Log, Out, Tail
from consumers.topics import Topics
from stream_al import Config

__all__ = ["RATE", "latency"]

RATE = 1_000
_TICK_S = 0.005
_WARM_UP_S = 2.0
_LAST_S = 30.0


class _Seen(msgspec.Struct):
    """The part of a prediction that tells when its event was stored."""

    offset: int
    time: float


_decode = msgspec.json.Decoder(_Seen).decode


class _Reader(threading.Thread):
    """Notes when predictions are seen, until there are so many."""

    def __init__(self, tail: Tail, expected: int) -> None:
        super().__init__(daemon=True)
        self._tail = tail
        self._expected = expected
        self._stopped = threading.Event()
        self.events: list[float] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        while len(self.seconds) < self._expected and not self._stopped.is_set():
            records = self._tail.poll(0.1, 1000)
            now = time.time()
            for record in records:
                at = _decode(record.value or b"").time
                self.events.append(at)
                self.seconds.append(now - at)

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self._tail.close()


def latency(log: Log, config: Config, folder: Path, messages: list[Message]) -> dict[str, Any]:
    """Play events at `RATE` a second through a gate; `log` is prepared, and has no events yet.

    Returns
    -------
    dict
        Milliseconds: ``p50_ms``, ``p99_ms``, ``max_ms``, without the first 2 s (half of shorter
        runs); and the ``rate`` that the events were written at.
    """
    topics = Topics.of(config.log)
    with running(folder, {"gate": GATE}, {"gate": config}) as processes:
        processes.await_gates()
        reader = _Reader(log.tail(topics.predictions, 0, 0), len(messages))
        reader.start()
        try:
            rate = _pace(log, topics.events, messages)
            deadline = time.monotonic() + _LAST_S
            while reader.is_alive():
                processes.check()
                if time.monotonic() > deadline:
                    missing = len(messages) - len(reader.seconds)
                    raise BenchmarkError(f"{missing} predictions are not there {_LAST_S:.0f} s on")
                reader.join(0.1)
        finally:
            reader.stop()
    skipped = min(_WARM_UP_S, len(messages) / RATE / 2)
    begin = min(reader.events) + skipped
    times = zip(reader.events, reader.seconds, strict=True)
    counted = 1000 * np.array([seconds for at, seconds in times if at >= begin])
    p50, p99, longest = np.percentile(counted, [50, 99, 100]).tolist()
    return {"p50_ms": p50, "p99_ms": p99, "max_ms": longest, "rate": rate}


def _pace(log: Log, topic: str, messages: list[Message]) -> float:
    writer = log.writer()
    begun, sent = time.monotonic(), 0
    while sent < len(messages):
        due = min(len(messages), 1 + int((time.monotonic() - begun) * RATE))
        for key, value in messages[sent:due]:
            writer.send(Out(topic, value, key, (), 0))
        writer.flush()
        sent = due
        time.sleep(_TICK_S)
    seconds = time.monotonic() - begun
    writer.close()
    return sent / seconds
