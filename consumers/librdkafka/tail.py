"""Reading one partition outside of any group."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import Consumer, KafkaError

from consumers.errors import RebuildError, StopError
from consumers.librdkafka.client import CONSUMER, Clients, fetch, places, record_of
from consumers.librdkafka.errors import FAILURES, Reports, error_of, meaning
from consumers.log import Partition, Record, Tail

__all__ = ["LibrdkafkaTail"]

_logger = logging.getLogger("consumers.librdkafka")


class LibrdkafkaTail(Tail):
    """Reads one partition, on librdkafka.

    Parameters
    ----------
    group
        A group's name, which librdkafka asks for and nothing is ever done with.
    """

    def __init__(self, clients: Clients, group: str, place: Partition, start: int) -> None:
        self._place = place
        self._position = start
        self._reports = Reports()
        self._consumer = clients.open(Consumer, self._reports, {**CONSUMER, "group.id": group})
        self._consumer.assign(places({place: start}))

    @property
    def position(self) -> int:
        """What was polled, or the end that was passed."""
        return self._position

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Return what is there, else what comes first."""
        began = self._position

        def ended() -> bool:
            return self._position != began or bool(self._reports.unreachable)

        try:
            records = fetch(self._consumer.consume, self._records, ended, timeout_s, max_records)
        except FAILURES as error:
            raise meaning(error_of(error), self._doing, RebuildError) from error
        if self._reports.refused:
            raise StopError(f"{self._doing}: brokers refuse access: {self._reports.refused}")
        if self._reports.unreachable and not records:
            self._reports.reach(self._consumer.list_topics, self._place.topic, self._doing)
        return records

    def close(self) -> None:
        """End the consumer."""
        try:
            self._consumer.close()
        except (*FAILURES, RuntimeError) as error:
            _logger.warning("%s: closing: %s", self._doing, error)

    @property
    def _doing(self) -> str:
        return f"reading {self._place.topic!r}, partition {self._place.number}"

    def _records(self, messages: list[Any]) -> list[Record]:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(record_of(message))
                self._position = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # It stands behind whatever is no record.
                self._position = max(self._position, message.offset())
            else:
                told = meaning(error, self._doing)
                if isinstance(told, StopError):
                    raise told
                _logger.warning("%s", told)
        return records
