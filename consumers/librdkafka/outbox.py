"""Handing records to a producer: checked before, bounded while under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Producer

from consumers.errors import RetryError, StopError
from consumers.librdkafka.admin import Target
from consumers.log import Out
from consumers.sizes import check_size, pieces
from stream_al.counted import counted

__all__ = ["Outbox"]

_ROOM_S = 0.1


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
        """Hand over records; whoever waits until they are stored hears of them then.

        Raises
        ------
        TooLargeError, RetryError, StopError
        KafkaException, KafkaError
            If the producer takes no more.
        """
        produce, targets = self._producer.produce, self._targets
        for piece, most in pieces(outs):
            for out in piece:
                topic, number = out.topic, out.partition
                partition = -1 if number is None else number
                target = targets.get(topic)
                if target is None or partition >= target.partitions:
                    target = self._look_up(topic, partition)
                if most > target.limit:
                    check_size(out, target.limit)
                headers: Any = list(out.headers)
                try:
                    produce(topic, out.value, out.key, partition, None, None, 0, headers)
                except BufferError:
                    self._insist((topic, out.value, out.key, partition, None, None, 0, headers))

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
                f"topic {topic!r} has {counted(target.partitions, 'partition')} and no {partition}"
            )
        return target
