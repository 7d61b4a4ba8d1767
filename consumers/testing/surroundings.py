"""The world around simulated processes: who sends events, who gives orders."""

from __future__ import annotations

import json
from random import Random

from consumers.annotator import Truths
from consumers.log import Out
from consumers.testing.actors import Retrying, World
from stream_al import keyed
from stream_al.config import Config
from stream_al.records import encode
from stream_al.training import Control

__all__ = ["Feeder", "KnownTruths", "Operator", "truth_of"]

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


class KnownTruths(Truths):
    """The truths of what a `Feeder` feeds, for the annotator."""

    def __init__(self, seed: int, events: int) -> None:
        self.in_order = [truth_of(_amount(seed, number)) for number in range(events + 1)]
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
        number = self._left if rng.random() < 0.9 else self._left + 1
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


def truth_of(amount: float) -> str:
    """Return the class of an event of some amount."""
    return "fraud" if amount > 0.8 else "ok"
