"""Opening librdkafka's clients, and what goes to them and comes from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import TopicPartition

from consumers.errors import StopError
from consumers.librdkafka.errors import FAILURES, Lines, Reports
from consumers.log import Partition, Record
from consumers.security import librdkafka_security
from stream_al.config import LogConfig, SecurityConfig

__all__ = [
    "CONSUMER",
    "PRODUCER",
    "REACH_S",
    "SLICE_S",
    "SOCKET_MS",
    "Clients",
    "fetch",
    "places",
    "record_of",
]

REACH_S = 10.0
"""How long a request to the log may take."""

SLICE_S = 0.05
"""How long to wait at a time, so that what is no record is noticed soon."""

SOCKET_MS = 10_000
"""After this long without an answer a connection is given up."""

_QUEUE_BYTES = 64 * 1024 * 1024
_BATCH_BYTES = 1_000_000

_COMMON: dict[str, Any] = {
    "log_level": 4,
    "socket.keepalive.enable": True,
    # A broker that comes back is found soon; by default that and a silent connection's end take
    # a multiple of this.
    "socket.timeout.ms": SOCKET_MS,
    "reconnect.backoff.max.ms": 1_000,
    # By default partitions that were added would stay unseen for minutes.
    "topic.metadata.refresh.interval.ms": 30_000,
}

CONSUMER: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    # What is sought anew waits for the request before to come back; and once in a while a broker
    # answers no sooner although there is a record.
    "fetch.wait.max.ms": 50,
    "fetch.error.backoff.ms": 100,
    # Bounds memory; and a queue that was full is filled again at once.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 32_768,
    "fetch.queue.backoff.ms": 10,
}
"""How every consumer reads: committed records only, from where it is told to."""

PRODUCER: dict[str, Any] = {
    "partitioner": "murmur2_random",
    # What kafka-python can read without another library; the level makes it as fast as any.
    "compression.type": "zstd",
    "compression.level": 1,
    "queue.buffering.max.messages": 20_000,
    # Sizes are checked by whoever sends, topic by topic.
    "message.max.bytes": 1_000_000_000,
    # A transaction that follows another at once is told to try again; the default waits 100 ms.
    "retry.backoff.ms": 10,
}
"""How every producer writes: keys to partitions as Kafka's Java client does it, memory bounded."""


class Clients:
    """Opens clients of one configuration."""

    def __init__(self, log: LogConfig, security: SecurityConfig) -> None:
        self.brokers = log.brokers
        self._lines = Lines()
        # A record is to fit whole, with a dead letter's surplus, and several of them.
        self.queue_bytes = max(_QUEUE_BYTES, 4 * (log.max_record_bytes + 64 * 1024))
        self._common = {
            **_COMMON,
            "bootstrap.servers": log.brokers,
            "client.id": log.instance or log.name,
            **librdkafka_security(security),
        }
        self._producer = {
            **PRODUCER,
            "queue.buffering.max.kbytes": self.queue_bytes // 1024,
            # Topics may be limited to little more than one record, and the limit is on batches.
            "batch.size": min(_BATCH_BYTES, log.max_record_bytes),
        }

    def open(
        self,
        kind: Callable[..., Any],
        reports: Reports,
        settings: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - confluent-kafka has no types
        """Open a client.

        Raises
        ------
        StopError
            If librdkafka refuses the settings.
        """
        given = {**self._common, **(settings or {}), "error_cb": reports, "logger": self._lines}
        try:
            return kind(given)
        except (*FAILURES, ValueError) as error:
            raise StopError(f"librdkafka refuses its settings: {error}") from error

    def producer(
        self, kind: Callable[..., Any], reports: Reports, settings: Mapping[str, Any]
    ) -> Any:  # noqa: ANN401
        """Open a producer, with what is common to all.

        Raises
        ------
        StopError
            As `open`.
        """
        return self.open(kind, reports, {**self._producer, **settings})


def fetch(
    consume: Callable[[int, float], list[Any]],
    read: Callable[[list[Any]], list[Record]],
    ended: Callable[[], bool],
    timeout_s: float,
    max_records: int,
) -> list[Record]:
    """Return what is there, else wait for a record and return what came along.

    librdkafka itself waits until it has as many as it is asked for.

    Parameters
    ----------
    consume
        Waits for so many messages, so many seconds.
    read
        Turns messages into records.
    ended
        Whether something has come up that is not worth waiting further for.

    Raises
    ------
    KafkaException, KafkaError
    """
    end = time.monotonic() + timeout_s
    records = read(consume(max_records, 0))
    while not records and not ended():
        left = end - time.monotonic()
        if left <= 0:
            break
        found = consume(1, min(left, SLICE_S))
        if found and max_records > 1:
            found += consume(max_records - 1, 0)
        records = read(found)
    return records


def places(offsets: Mapping[Partition, int] | Iterable[Partition]) -> list[TopicPartition]:
    """Return partitions, with offsets where they have some, as confluent-kafka takes them."""
    if isinstance(offsets, Mapping):
        return [TopicPartition(topic, number, at) for (topic, number), at in offsets.items()]
    return [TopicPartition(topic, number) for topic, number in offsets]


def record_of(message: Any) -> Record:  # noqa: ANN401 - its fields may be None where it is an error
    """Return a message as the contract's record."""
    headers = message.headers()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        tuple(headers) if headers else (),
        message.timestamp()[1] / 1000,
    )
