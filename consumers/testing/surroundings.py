"""The world around simulated processes: who sends events, who answers, who gives orders."""

from __future__ import annotations

import heapq
import json
from random import Random

from consumers.annotator import Truths
from consumers.log import Out, Record, Tail
from consumers.testing.actors import Retrying, World
from stream_al import keyed
from stream_al.config import Config
from stream_al.records import Label, encode
from stream_al.training import Control

__all__ = ["Answerer", "Feeder", "KnownTruths", "Operator"]

_BAD_EVENTS: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{",
    b"[1]",
    b"\xff\xfe",
    b'{"amount": NaN}',
    b'{"amount": {"deep": [1]}}',
    b'{"amount": "12"}',
    b"[" * 500,
)

_BAD_LABELS: tuple[bytes | None, ...] = (
    None,
    b"{}",
    b"no json",
    b'{"request_id": 7}',
    b'{"request_id": "events:0:1", "label": 1.5}',
    b'{"request_id": "events:0:2", "kind": "shrug"}',
)


class KnownTruths(Truths):
    """The truths of what a `Feeder` feeds, for the annotator."""

    def __init__(self, seed: int, events: int) -> None:
        self.in_order = [_truth(_amount(seed, number)) for number in range(events + 1)]
        self.by_id = {f"e{n}": (n, truth) for n, truth in enumerate(self.in_order)}


class Feeder(Retrying):
    """Writes events, some of them malformed, some with ids that were there before."""

    def __init__(self, world: World, config: Config, seed: int, events: int) -> None:
        super().__init__("feeder", world, config)
        self._seed = seed
        self._left = events

    def start(self) -> None:
        """Go on where it was: what it has fed it need not remember."""

    def work(self) -> bool:
        """Feed a few events."""
        if not self._left:
            return False
        rng, writer = self.world.rng, self.log.writer()
        for _ in range(min(self._left, rng.randrange(1, 12))):
            writer.send(self._event(rng))
            self._left -= 1
        writer.flush()
        return True

    def _event(self, rng: Random) -> Out:
        key = None if rng.random() < 0.2 else b"card-%d" % rng.randrange(9)
        if rng.random() < 0.08:
            return Out(self.topics.events, rng.choice(_BAD_EVENTS), key)
        number = self._left if rng.random() < 0.97 else self._left + 1
        amount = _amount(self._seed, number)
        message = {
            "id": f"e{number}",
            "amount": amount,
            "country": rng.choice(["FR", "DE", "US"]),
            "note": "what nobody looks at",
        }
        headers = () if rng.random() < 0.7 else (("traceparent", b"00-1-2-01"), ("x", None))
        return Out(self.topics.events, json.dumps(message).encode(), key, headers)

    @property
    def at_rest(self) -> bool:
        """Whether all is fed."""
        return not self._left


class Answerer(Retrying):
    """Answers label requests: late, twice, early, out of order, wrongly, or never.

    It remembers nothing beyond its death, and then answers everything anew.
    """

    def __init__(self, world: World, config: Config) -> None:
        super().__init__("answerer", world, config)
        self._waiting: list[tuple[float, int, Out]] = []
        self._tails: list[Tail] = []
        self._count = 0

    def start(self) -> None:
        """Read requests and events from the beginning."""
        self._waiting = []
        self._tails = [
            self.log.tail(topic, number, 0)
            for topic in (self.topics.label_requests, self.topics.events)
            for number in range(self.config.log.partitions)
        ]

    def work(self) -> bool:
        """Read what is new, and send what is due."""
        worked = False
        for tail in self._tails:
            for record in tail.poll(0.0, 20):
                worked = True
                if record.topic == self.topics.events:
                    self._foresee(record)
                else:
                    self._answer(record)
        writer, now = self.log.writer(), self.world.broker.clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            writer.send(self._waiting[0][2])
            heapq.heappop(self._waiting)
            worked = True
        return worked

    def _foresee(self, event: Record) -> None:
        """Label an event before anybody asks."""
        if self.world.rng.random() < 0.05:
            name = f"{event.topic}:{event.partition}:{event.offset}"
            self._say(name, event.key, "ok", 0.0)

    def _answer(self, record: Record) -> None:
        rng = self.world.rng
        request = json.loads(record.value or b"")
        name = request["request_id"]
        truth = _truth(request["features"].get("amount", 0.0))
        draw = rng.random()
        delay = rng.expovariate(0.2)
        if draw < 0.08:
            return
        if draw < 0.12:
            self._say(name, record.key, None, delay, kind="skip")
        elif draw < 0.16:
            self._put(Out(self.topics.labels, rng.choice(_BAD_LABELS), record.key), delay)
        elif draw < 0.20:
            self._say("events:0:999999", record.key, truth, delay)
        elif draw < 0.23:
            self._say(name, record.key, "neither", delay)
        else:
            self._say(name, record.key, truth, delay)
        if rng.random() < 0.1:
            self._say(name, record.key, rng.choice(["ok", "fraud"]), rng.expovariate(0.1))

    def _say(
        self, name: str, key: bytes | None, label: str | None, delay: float, kind: str = "label"
    ) -> None:
        said = Label(
            request_id=name,
            label=label,
            kind="skip" if kind == "skip" else "label",
            annotator=self.world.rng.choice(["ann", "bob"]),
            time=self.world.broker.clock.now() + delay,
        )
        key = name.encode() if key is None else key
        self._put(Out(self.topics.labels, encode(said), key), delay)

    def _put(self, out: Out, delay: float) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (self.world.broker.clock.now() + delay, self._count, out))

    @property
    def at_rest(self) -> bool:
        """Whether everything is answered that will be."""
        return not self._waiting


class Operator(Retrying):
    """Tells the gates to pause, to boost, to resume."""

    def __init__(self, world: World, config: Config) -> None:
        super().__init__("operator", world, config)

    def start(self) -> None:
        """Nothing is remembered."""

    def work(self) -> bool:
        """Say something, seldom, once the log is configured."""
        rng, training = self.world.rng, self.topics.training
        if rng.random() > 0.02 or not self.log.bounds(training, 0).stable:
            return False
        now = self.world.broker.clock.now()
        control = Control(
            action=rng.choice(["pause", "boost", "resume"]),
            until=rng.choice([None, now + 10.0]),
            by="operator",
            time=now,
        )
        writer = self.log.writer()
        writer.send(Out(training, encode(control), None, (), 0))
        writer.close()
        return True


def _amount(seed: int, number: int) -> float:
    return round(keyed.uniform("amount", seed, number), 3)


def _truth(amount: float) -> str:
    return "fraud" if amount > 0.8 else "ok"
