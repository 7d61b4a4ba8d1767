"""Reading through kafka-python."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from consumers.errors import RebuildError
from consumers.kafka.clients import FAILURES, Clients, Reach, meaning
from consumers.log import Record, Tail

__all__ = ["READING", "KafkaTail", "records_of"]

READING: Mapping[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "metrics_enabled": False,
}
"""What all consumers have in common."""

_POSITION_MS = 1000


def records_of(polled: Mapping[Any, Iterable[Any]]) -> list[Record]:
    """Take over what kafka-python polled."""
    return [
        Record(
            found.topic,
            found.partition,
            found.offset,
            found.key,
            found.value,
            tuple(found.headers) if found.headers else (),
            found.timestamp / 1000,
        )
        for each in polled.values()
        for found in each
    ]


class KafkaTail(Tail):
    """See `Tail`: a consumer without a group."""

    def __init__(self, clients: Clients, topic: str, partition: int, start: int) -> None:
        self._place = TopicPartition(topic, partition)
        self._position = start
        self._consumer = clients.open(KafkaConsumer, **READING)
        self._consumer.assign([self._place])
        self._consumer.seek(self._place, start)
        # Private, as there is no other way to tell silence from brokers that are gone.
        connections = self._consumer._client._manager._conns
        self._reach = Reach(lambda: any(each.connected for each in list(connections.values())))

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Poll kafka-python."""
        try:
            polled = self._consumer.poll(int(timeout_s * 1000), max_records)
            position = self._consumer.position(self._place, _POSITION_MS)
        except FAILURES as error:
            raise meaning(error, f"reading {self._place.topic!r}", RebuildError) from error
        self._reach.check(bool(polled))
        self._position = self._position if position is None else position
        return records_of(polled)

    @property
    def position(self) -> int:
        """The consumer's own as it was after the last poll."""
        return self._position

    def close(self) -> None:
        """Close the consumer."""
        with contextlib.suppress(*FAILURES):
            self._consumer.close(autocommit=False, timeout_ms=1000)
