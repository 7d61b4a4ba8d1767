"""What all of librdkafka's clients share: settings, log lines, errors, records."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumers.errors import LogError, RetryError, StopError
from consumers.kafka_security import librdkafka_security
from consumers.log import Partition, Record
from stream_al.config import LogConfig, SecurityConfig

__all__ = [
    "CONSUMER",
    "FAILURES",
    "PRODUCER",
    "REACH_S",
    "SOCKET_MS",
    "Clients",
    "Watch",
    "error_of",
    "is_fatal",
    "meaning",
    "places",
    "record_of",
]

_logger = logging.getLogger("consumers.librdkafka")

FAILURES: Any = (KafkaException, KafkaError)
"""What confluent-kafka raises; a fatal error comes bare out of whatever is called next."""

REACH_S = 10.0
"""How long a request to the log may take."""

SOCKET_MS = 10_000
"""After this long without an answer a connection is given up."""

_EVERY_S = 30.0
_PROBE_S = 2.0
_QUEUE_BYTES = 64 * 1024 * 1024
_BATCH_BYTES = 1_000_000

_ADVICE: dict[int, str] = {
    KafkaError._AUTO_OFFSET_RESET: (
        "the position is not in the log any more, or not yet: its records were deleted by "
        "retention, or the topic was replaced. See the topic's retention.ms, then set the group's "
        "offset to one that is there"
    ),
    KafkaError.FENCED_INSTANCE_ID: "another process has joined with the same log.instance",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "members of the group use another driver or another log.assignor: stop them, and wait for "
        "loop.session_timeout_s"
    ),
    KafkaError.INVALID_SESSION_TIMEOUT: (
        "loop.session_timeout_s is outside of the broker's group.min.session.timeout.ms and "
        "group.max.session.timeout.ms"
    ),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "loop.transaction_timeout_s is above the broker's transaction.max.timeout.ms"
    ),
    KafkaError.MSG_SIZE_TOO_LARGE: (
        "the topic's max.message.bytes is below log.max_record_bytes + 1024; raise the one or "
        "lower the other"
    ),
}

_STOP = frozenset(
    {
        *_ADVICE,
        KafkaError._AUTHENTICATION,
        KafkaError._LOG_TRUNCATION,
        KafkaError._NO_OFFSET,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.UNSUPPORTED_VERSION,
    }
)

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
    "compression.type": "lz4",
    "queue.buffering.max.messages": 20_000,
    # Sizes are checked by whoever sends, topic by topic.
    "message.max.bytes": 1_000_000_000,
    # A transaction that follows another at once is told to try again; the default waits 100 ms.
    "retry.backoff.ms": 10,
}
"""How every producer writes: keys to partitions as Kafka's Java client does it, memory bounded."""


class _Lines:
    """Passes librdkafka's log lines on, each kind of each thread once in a while.

    It logs every failed attempt to connect, and as an error; callers hear of what matters anyway.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        now, kind = time.monotonic(), (facility, text.partition("]")[0])
        if now - self._last.get(kind, -math.inf) >= _EVERY_S:
            self._last[kind] = now
            _logger.log(min(level, logging.WARNING), form, facility, client, text)


class Watch:
    """Takes what a client reports beside its calls, and in its log lines.

    Attributes
    ----------
    refused
        Why brokers refuse this client; empty: they do not.
    unreachable
        What was last heard of before no broker was left; empty: some are.
    """

    def __init__(self) -> None:
        self.refused = ""
        self.unreachable = ""
        self._last = ""

    def __call__(self, error: KafkaError) -> None:
        """Take an error."""
        if error.code() == KafkaError._AUTHENTICATION:
            self.refused = error.str()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.unreachable = self._last or error.str()
        else:
            self._last = error.str()

    def reach(self, consumer: Consumer, topic: str, doing: str) -> None:
        """See whether a broker answers again: librdkafka tells only when none is left.

        Raises
        ------
        RetryError
            If none does.
        """
        try:
            consumer.list_topics(topic, timeout=_PROBE_S)
        except FAILURES as error:
            raise RetryError(f"{doing}: no broker answers: {self.unreachable}") from error
        self.unreachable = ""


class Clients:
    """Opens clients of one configuration."""

    def __init__(self, log: LogConfig, security: SecurityConfig) -> None:
        self.brokers = log.brokers
        self._lines = _Lines()
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
        watch: Watch,
        settings: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - confluent-kafka has no types
        """Open a client.

        Raises
        ------
        StopError
            If librdkafka refuses the settings.
        """
        given = {**self._common, **(settings or {}), "error_cb": watch, "logger": self._lines}
        try:
            return kind(given)
        except (*FAILURES, ValueError) as error:
            raise StopError(f"librdkafka refuses its settings: {error}") from error

    def producer(self, kind: Callable[..., Any], watch: Watch, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Open a producer, with what is common to all.

        Raises
        ------
        StopError
            As `open`.
        """
        return self.open(kind, watch, {**self._producer, **settings})


def error_of(raised: Any) -> KafkaError:  # noqa: ANN401 - what type checkers take for none
    """Return the `KafkaError` in what was raised."""
    held: Any = raised.args if isinstance(raised, KafkaException) else (raised,)
    error: KafkaError = held[0]
    return error


def is_fatal(error: KafkaError) -> bool:
    """Tell whether the client that has the error can do nothing any more."""
    return error.fatal() or error.code() == KafkaError._FATAL


def meaning(error: KafkaError, doing: str, otherwise: type[LogError] = RetryError) -> LogError:
    """Say what an error means for the caller.

    Parameters
    ----------
    error
        A `KafkaError`.
    doing
        What was tried, for the message.
    otherwise
        Where the error itself does not tell.

    Examples
    --------
    >>> meaning(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "reading 'payments'")
    StopError("reading 'payments': TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed")
    >>> meaning(KafkaError(KafkaError._TRANSPORT), "reading 'payments'")
    RetryError("reading 'payments': _TRANSPORT: Local: Broker transport failure")
    """
    said = f"{doing}: {error.name()}: {error.str()}"
    if advice := _ADVICE.get(error.code()):
        said = f"{said}: {advice}"
    return (StopError if error.code() in _STOP else otherwise)(said)


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
