"""Handing records to a producer: checked before, bounded while under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Producer

from consumers.errors import RetryError, StopError, TooLargeError
from consumers.librdkafka.admin import ENVELOPE_BYTES, Target
from consumers.log import Out, size_of

__all__ = ["Outbox"]

_ROOM_S = 0.1

_RECORD_BYTES = 100
_HEADER_BYTES = 10
"""What a record, and each of its headers, takes beyond names and values, at most."""


class Outbox:
    """Hands records to a producer, and waits while its queue is full.

    Parameters
    ----------
    target
        Looks up a topic to write to.
    timeout_s
        How long to wait for room.
    """

    def __init__(
        self, producer: Producer, target: Callable[[str], Target], timeout_s: float
    ) -> None:
        self._producer = producer
        self._find = target
        self._timeout_s = timeout_s
        self._targets: dict[str, Target] = {}

    def put(self, outs: Iterable[Out]) -> None:
        """Hand over records.

        Raises
        ------
        TooLargeError, RetryError, StopError
        KafkaException, KafkaError
            If the producer takes no more.
        """
        produce, targets = self._producer.produce, self._targets
        for out in outs:
            topic, value, key, headers = out.topic, out.value, out.key, out.headers
            partition = -1 if out.partition is None else out.partition
            target = targets.get(topic)
            if target is None or partition >= target.partitions:
                target = self._look_up(topic, partition)
            # Cheaper than exact: a character of a header's name takes four bytes at most.
            most = (len(value) if value else 0) + (len(key) if key else 0)
            for name, held in headers:
                most += 4 * len(name) + (len(held) if held else 0) + _HEADER_BYTES
            if most > target.limit:
                _check(out, target.limit)
            given: Any = (topic, value, key, partition, None, None, 0, list(headers))
            try:
                produce(*given)
            except BufferError:
                self._insist(given)
        self._producer.poll(0)

    def forget(self) -> None:
        """Look topics up anew: one of them may be what failed."""
        self._targets.clear()

    def _insist(self, given: tuple[Any, ...]) -> None:
        end = time.monotonic() + self._timeout_s
        while time.monotonic() < end:
            # Returns as soon as something was stored.
            self._producer.poll(_ROOM_S)
            try:
                self._producer.produce(*given)
            except BufferError:
                continue
            return
        raise RetryError(f"brokers have stored nothing for {self._timeout_s:g} s")

    def _look_up(self, topic: str, partition: int) -> Target:
        target = self._targets[topic] = self._find(topic)
        if partition >= target.partitions:
            raise StopError(
                f"topic {topic!r} has {target.partitions} partitions and no {partition}"
            )
        return target


def _check(out: Out, limit: int) -> None:
    size = size_of(out)
    overhead = _RECORD_BYTES + _HEADER_BYTES * len(out.headers)
    if size > limit or size + overhead > limit + ENVELOPE_BYTES:
        raise TooLargeError(out.topic, size, limit)
