"""What all live benchmarks feed on: events of 175 bytes, and what a model has learnt of them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from consumers.log import Log, Out
from stream_al import Config, Engine, Event, Label, LearnerConfig
from stream_al.records import Features

__all__ = ["EVENT_BYTES", "Message", "feed", "learnt", "make_messages"]

EVENT_BYTES = 175
FEATURES = 10
LESSONS = 10_000
"""Events that the model has seen before, and learnt from as far as they were asked about."""

_features = msgspec.json.Decoder(Features).decode


class Message(NamedTuple):
    """A key of 8 bytes, and a value of `EVENT_BYTES`."""

    key: bytes
    value: bytes


def make_messages(events: int, seed: int = 0) -> list[Message]:
    """Draw events of 10 numeric features: JSON that is padded with digits to the right size."""
    names = [f'"x{i}":' for i in range(FEATURES)]
    around = len("{}") + sum(map(len, names)) + FEATURES - 1
    size, longer = divmod(EVENT_BYTES - around, FEATURES)
    widths = [size + (i < longer) for i in range(FEATURES)]
    table = np.random.default_rng(seed).normal(size=(events, FEATURES)).tolist()
    messages = []
    for number, row in enumerate(table):
        fields = zip(names, row, widths, strict=True)
        text = ",".join(f"{name}{value:.12f}"[: len(name) + width] for name, value, width in fields)
        messages.append(Message(b"%08d" % number, b"{%s}" % text.encode()))
    return messages


@lru_cache
def learnt(learner: LearnerConfig) -> tuple[bytes, ...]:
    """Return the training log of an engine that was answered at once, about a tenth wrongly."""
    records: list[bytes] = []
    engine = Engine(Config(learner=learner), write=lambda _, raw: records.append(raw))
    weights = np.random.default_rng(1).normal(size=FEATURES)
    luck = np.random.default_rng(2).random(LESSONS).tolist()
    for offset, (_, value) in enumerate(make_messages(LESSONS, seed=3)):
        features = _features(value)
        request = engine.decide_one(Event(offset=offset, features=features)).request
        if request is not None:
            odds = np.exp(3.0 * weights @ np.array(list(features.values())) / FEATURES**0.5)
            label = "yes" if luck[offset] < odds / (1.0 + odds) else "no"
            engine.learn_one(Label(request_id=request.request_id, label=label))
    return tuple(records)


def feed(log: Log, topic: str, partitions: int, messages: list[Message]) -> None:
    """Write messages, partition by partition in turn."""
    writer = log.writer()
    for number, (key, value) in enumerate(messages):
        writer.send(Out(topic, value, key, (), number % partitions))
    writer.close()
