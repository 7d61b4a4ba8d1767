"""What librdkafka reports: errors, and what they mean here, and log lines."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from consumers.errors import LogError, RetryError, StopError

__all__ = ["FAILURES", "Lines", "Reports", "error_of", "is_fatal", "meaning"]

_logger = logging.getLogger("consumers.librdkafka")

FAILURES: Any = (KafkaException, KafkaError)
"""What confluent-kafka raises; a fatal error comes bare out of whatever is called next."""

_EVERY_S = 30.0
_PROBE_S = 2.0

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


class Lines:
    """Passes librdkafka's log lines on, each kind of each thread once in a while.

    It logs every failed attempt to connect, and as an error; callers hear of what matters anyway.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        """Take a line, as librdkafka's client gives it to a logger."""
        now, kind = time.monotonic(), (facility, text.partition("]")[0])
        if now - self._last.get(kind, -math.inf) >= _EVERY_S:
            self._last[kind] = now
            _logger.log(min(level, logging.WARNING), form, facility, client, text)


class Reports:
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

    def reach(self, list_topics: Callable[..., Any], topic: str, doing: str) -> None:
        """See whether a broker answers again: librdkafka tells only when none is left.

        Raises
        ------
        RetryError
            If none does.
        """
        try:
            list_topics(topic, timeout=_PROBE_S)
        except FAILURES as error:
            raise RetryError(f"{doing}: no broker answers: {self.unreachable}") from error
        self.unreachable = ""


def error_of(raised: Any) -> KafkaError:  # noqa: ANN401 - what type checkers take for none
    """Return the `KafkaError` in what was raised."""
    held: Any = raised.args if isinstance(raised, KafkaException) else (raised,)
    error: KafkaError = held[0]
    return error


def is_fatal(error: KafkaError) -> bool:
    """Tell whether the client that has the error can do nothing any more."""
    fatal: bool = error.fatal() or error.code() == KafkaError._FATAL
    return fatal


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
