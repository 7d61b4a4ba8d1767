"""Those who answer in a simulated run, with everything that annotators do."""

from __future__ import annotations

import heapq
import json

import msgspec

from consumers.log import Out, Record, Tail
from consumers.testing.actors import Retrying, World
from consumers.testing.surroundings import truth_of
from stream_al.config import Config
from stream_al.records import AnswerKind, Label, encode
from stream_al.training import Closed, Gold, Labelled, decode_training

__all__ = ["Answerer"]

_BAD_LABELS: tuple[bytes | None, ...] = (
    None,
    b"{}",
    b"no json",
    b'{"request_id": 7}',
    b'{"request_id": "events:0:1", "label": 1.5}',
    b'{"request_id": "events:0:2", "kind": "shrug"}',
)

_PEOPLE = ("ann", "bob", "eve")
_KINDS: tuple[AnswerKind, ...] = ("label", "label", "skip", "flag", "revise", "retract")


class Answerer(Retrying):
    """Answers label requests: late, twice, early, out of order, wrongly, or never.

    Of two who are asked each answers; who is asked for the last word gives it. What was answered
    is contradicted, revised, retracted and remarked on, and what has expired is answered after
    all. Labels that nobody asked for come in between.

    It remembers nothing beyond its death, and then answers everything anew.
    """

    def __init__(self, world: World, config: Config) -> None:
        super().__init__("answerer", world, config)
        self._waiting: list[tuple[float, int, Out]] = []
        self._tails: list[Tail] = []
        self._keys: dict[str, bytes | None] = {}
        self._count = 0

    def start(self) -> None:
        """Read requests, events and what came of answers from the beginning."""
        self._waiting = []
        self._tails = [
            self.log.tail(topic, number, 0)
            for topic in (self.topics.label_requests, self.topics.events)
            for number in range(self.config.log.partitions)
        ]
        self._tails.append(self.log.tail(self.topics.training, 0, 0))

    def work(self) -> bool:
        """Read what is new, and send what is due."""
        worked = False
        take = {
            self.topics.events: self._foresee,
            self.topics.label_requests: self._answer,
            self.topics.training: self._look_back,
        }
        for tail in self._tails:
            for record in tail.poll(0.0, 20):
                worked = True
                take[record.topic](record)
        writer, now = self.log.writer(), self.world.broker.clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            writer.send(self._waiting[0][2])
            heapq.heappop(self._waiting)
            worked = True
        return worked

    def _foresee(self, event: Record) -> None:
        """Label an event before anybody asks, or without being asked."""
        rng = self.world.rng
        if rng.random() < 0.05:
            name = f"{event.topic}:{event.partition}:{event.offset}"
            self._keys[name] = event.key
            self._say(name, "ok", 0.0)
        if rng.random() < 0.05:
            known = {} if rng.random() < 0.5 else {"amount": rng.random()}
            self._report(f"e{rng.randrange(200)}", known, event.key)

    def _answer(self, record: Record) -> None:
        rng = self.world.rng
        request = json.loads(record.value or b"")
        name = request["request_id"]
        self._keys[name] = record.key
        truth = truth_of(request["features"].get("amount", 0.0))
        draw = rng.random()
        delay = rng.expovariate(0.2)
        people = rng.sample(_PEOPLE, 1 if request["disagreed"] else request["opinions"])
        if draw < 0.08:
            people = people[1:]
        elif draw < 0.12:
            self._put(Out(self.topics.labels, rng.choice(_BAD_LABELS), record.key), delay)
        elif draw < 0.16:
            self._say("events:0:999999", truth, delay)
        for who in people:
            draw = rng.random()
            delay = rng.expovariate(0.2)
            if draw < 0.1:
                self._say(name, None, delay, "skip", who)
            elif draw < 0.13:
                self._say(name, "neither", delay, who=who)
            else:
                wrong = "ok" if truth == "fraud" else "fraud"
                self._say(name, wrong if draw < 0.3 else truth, delay, who=who)
        while request["id"] and rng.random() < 0.25:
            self._report(request["id"], {}, record.key)
        while rng.random() < 0.25:
            self._say_anything(name, rng.expovariate(0.1))

    def _look_back(self, record: Record) -> None:
        """Think again about what has ended; the longer ago, the less."""
        rng = self.world.rng
        training = decode_training(record.value or b"")
        if not isinstance(training, Labelled | Closed | Gold) or rng.random() > 0.4:
            return
        name, delay = training.request_id, rng.expovariate(0.2)
        if isinstance(training, Closed) or training.label is None:
            self._say(name, rng.choice(["ok", "fraud"]), delay)
        elif rng.random() < 0.4:
            self._say(name, None, delay, "retract")
        else:
            other = "ok" if training.label == "fraud" else "fraud"
            self._say(name, other, delay, rng.choice(["label", "revise"]))
        if rng.random() < 0.2:
            self._say_anything(name, rng.expovariate(0.1))

    def _report(self, event_id: str, features: dict[str, float], key: bytes | None) -> None:
        """Label what nobody asked about."""
        if self.config.message.label is None:
            return
        rng = self.world.rng
        told = {"id": event_id, "class": rng.choice(["ok", "fraud", "neither"]), "source": "bank"}
        value = json.dumps({**told, **features}).encode()
        self._put(Out(self.topics.labels, value, key), rng.expovariate(0.03))

    def _say_anything(self, name: str, delay: float) -> None:
        rng = self.world.rng
        kind = rng.choice(_KINDS)
        label = rng.choice(["ok", "fraud", "stolen"]) if kind in ("label", "revise") else None
        self._say(name, label, delay, kind)

    def _say(
        self,
        name: str,
        label: str | None,
        delay: float,
        kind: AnswerKind = "label",
        who: str | None = None,
    ) -> None:
        rng = self.world.rng
        said = Label(
            request_id=name,
            label=label,
            kind=kind,
            annotator=rng.choice(_PEOPLE) if who is None else who,
            annotator_kind=rng.choice(["person", "model"]),
            time=self.world.broker.clock.now() + delay,
            weight=rng.choice([1.0, 1.0, 0.5]),
            confidence=rng.choice([None, 0.75]),
            schema=rng.choice([None, None, None, 1, 2]),
            reason=rng.choice(["slip", "whim"]) if rng.random() < 0.1 else "",
            comment=rng.choice(["", "", "look again"]),
        )
        if label == "stolen" and rng.random() < 0.8:
            said = msgspec.structs.replace(said, schema=1)
        key = self._keys.get(name)
        out = Out(self.topics.labels, encode(said), name.encode() if key is None else key)
        self._put(out, delay)
        if rng.random() < 0.1:
            self._put(out, delay + rng.expovariate(0.1))

    def _put(self, out: Out, delay: float) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (self.world.broker.clock.now() + delay, self._count, out))

    @property
    def at_rest(self) -> bool:
        """Whether everything is answered that will be."""
        return not self._waiting
