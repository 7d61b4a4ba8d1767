"""What annotators and upstream systems do wrong while a run goes on."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable

import msgspec

from consumers.errors import LogError
from consumers.log import Log, Out, Record, Tail, Writer
from consumers.testing.malformed import malformed, malformed_labels
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.records import AnswerKind, Label, LabelRequest, encode
from stream_al.training import Closed, Labelled, decode_training

__all__ = ["Mischief"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode

_KINDS: tuple[AnswerKind, ...] = ("label", "label", "label", "skip", "flag", "revise", "retract")
_PEOPLE = ("mischief", "spite", "simulated")
_KEPT = 10_000


class Mischief:
    """Answers some requests twice, late, early, out of order, wrongly; sends what is malformed.

    What is answered it contradicts, revises, retracts and remarks on; what has expired it answers.
    It does little by itself, and much where it is told to; from a thread of its own.
    """

    def __init__(self, open_log: Callable[[], Log], config: Config, seed: int) -> None:
        self._open_log = open_log
        self._config = config
        self._topics = Topics.of(config.log)
        self._rng = random.Random(f"mischief {seed}")
        self._bad = malformed(seed, 1_000_000, config.message)
        self._bad_labels = malformed_labels(seed, 1_000_000, config.message)
        self._stop = threading.Event()
        self._share = 0.03
        self._to_poison = 0
        self._waiting: list[tuple[float, int, Out]] = []
        self._count = 0
        self._positions: dict[tuple[str, int], int] = {}
        self._keys: dict[str, bytes | None] = {}
        self._thread = threading.Thread(target=self._run, name="mischief", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not sent yet is not sent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30.0)

    def trouble_labels(self, share: float) -> None:
        """Do wrong with this share of requests from now on."""
        self._share = share

    def poison(self, count: int) -> None:
        """Send so many malformed events, and half as many malformed labels."""
        self._to_poison += count

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                log = self._open_log()
            except LogError:
                self._stop.wait(0.5)
                continue
            try:
                self._work(log)
            except LogError:
                # As any client: open everything again, and go on.
                self._stop.wait(0.5)
            finally:
                log.close()

    def _work(self, log: Log) -> None:
        tails: list[Tail] = []
        for topic in (self._topics.label_requests, self._topics.events):
            for number in range(self._config.log.partitions):
                start = self._positions.get((topic, number), 0)
                tails.append(log.tail(topic, number, start))
        training = self._topics.training
        tails.append(log.tail(training, 0, self._positions.get((training, 0), 0)))
        writer = log.writer()
        while not self._stop.wait(0.1):
            for tail in tails:
                for record in tail.poll(0.0, 100):
                    self._positions[record.topic, record.partition] = record.offset + 1
                    self._see(record)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                writer.send(heapq.heappop(self._waiting)[2])
            self._send_poison(writer)
            writer.flush()
        for tail in tails:
            tail.close()

    def _send_poison(self, writer: Writer) -> None:
        while self._to_poison > 0:
            self._to_poison -= 1
            key = b"poison-%d" % self._rng.randrange(9)
            writer.send(Out(self._topics.events, next(self._bad), key))
            if self._to_poison % 2:
                writer.send(Out(self._topics.labels, next(self._bad_labels), key))

    def _see(self, record: Record) -> None:
        rng = self._rng
        if record.topic == self._topics.training:
            self._look_back(record)
            return
        name = f"{record.topic}:{record.partition}:{record.offset}"
        if record.topic == self._topics.label_requests:
            name = _decode_request(record.value or b"").request_id
            self._keys[name] = record.key
            if len(self._keys) > _KEPT:
                del self._keys[next(iter(self._keys))]
        if rng.random() >= self._share:
            return
        if record.topic == self._topics.events:
            # An answer before anybody asks; many such events are never asked about.
            self._say(name, record.key, 0.0, "label")
            return
        for _ in range(rng.randrange(1, 4)):
            self._say(name, record.key, 3.0 * rng.random(), rng.choice(_KINDS))
        if rng.random() < 0.2:
            self._say("events:0:99999999", record.key, 0.0, "label")

    def _look_back(self, record: Record) -> None:
        """Say otherwise what has been said, and answer what has expired."""
        rng, training = self._rng, decode_training(record.value or b"")
        if not isinstance(training, Labelled | Closed) or rng.random() >= self._share:
            return
        if training.request_id in self._keys:
            kind = "label" if isinstance(training, Closed) else rng.choice(_KINDS)
            self._say(training.request_id, self._keys[training.request_id], rng.random(), kind)

    def _say(self, name: str, key: bytes | None, delay: float, kind: AnswerKind) -> None:
        rng = self._rng
        label = Label(
            request_id=name,
            label=rng.choice(["0", "1"]) if kind in ("label", "revise") else None,
            kind=kind,
            annotator=rng.choice(_PEOPLE),
            time=time.time() + delay,
            reason=rng.choice(["", "", "slip", "whim"]),
        )
        out = Out(self._topics.labels, encode(label), name.encode() if key is None else key)
        for again in (0.0, rng.random()) if rng.random() < 0.1 else (0.0,):
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + delay + again, self._count, out))
