"""Opening kafka-python's clients, and what their errors mean here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from kafka import errors
from kafka.net.compat import KafkaNetClient

from consumers.errors import LogError, RebuildError, RetryError, StopError
from consumers.security import kafka_python_security
from stream_al.config import LogConfig, SecurityConfig

__all__ = ["FAILURES", "Clients", "Reach", "meaning"]

FAILURES = (errors.KafkaError, OSError, RuntimeError, ValueError, TypeError)
"""What kafka-python raises: its loop passes on whatever went wrong within."""

_BOOTSTRAP_MS = 5_000
_REQUEST_MS = 10_000
_BACKOFF_MS = 30
"""Short: a consumer that was just opened sleeps so long until it may ask who leads."""

_UNREACHABLE_S = 3.0

_STOP = (
    errors.AuthorizationError,
    errors.FencedInstanceIdError,
    errors.GroupMaxSizeReachedError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidConfigurationError,
    errors.InvalidGroupIdError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidSessionTimeoutError,
    errors.InvalidTopicError,
    errors.KafkaConfigurationError,
    errors.LogTruncationError,
    errors.NoOffsetForPartitionError,
    errors.OffsetOutOfRangeError,
    errors.PolicyViolationError,
    errors.SaslAuthenticationFailedError,
    errors.UnknownTopicOrPartitionError,
    errors.UnsupportedCodecError,
    errors.UnsupportedSaslMechanismError,
    errors.UnsupportedVersionError,
)
_ADVICE: dict[type[Exception], str] = {
    errors.FencedInstanceIdError: "another process has joined with the same log.instance",
    errors.InconsistentGroupProtocolError: (
        "members of the group use another driver or another log.assignor; stop them first"
    ),
    errors.InvalidSessionTimeoutError: (
        "loop.session_timeout_s is outside of the broker's group.min.session.timeout.ms and "
        "group.max.session.timeout.ms"
    ),
    errors.LogTruncationError: "the log lost records that had been read, as a broker did",
    errors.NoOffsetForPartitionError: "the partition has neither a position nor a committed offset",
    errors.OffsetOutOfRangeError: (
        "the position (partition: offset above) is not in the log any more, or not yet: its "
        "records were deleted by retention, or the topic was replaced. See the topic's "
        "retention.ms, then set the group's offset to one that is there"
    ),
    errors.UnsupportedCodecError: (
        "records there are compressed in a way that needs another library: install lz4 or "
        "python-snappy, or set log.driver = 'librdkafka', which reads all of them"
    ),
}


def meaning(error: BaseException, doing: str, otherwise: type[LogError]) -> LogError:
    """Say what a client's error means for the caller.

    Parameters
    ----------
    doing
        What was tried, for the message.
    otherwise
        Where the error itself does not tell.
    """
    name = type(error).__name__
    said = f"{name}: {error}" if str(error) else name
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            said = f"{said}: {advice}"
    text = f"{doing}: {' '.join(said.split())[:500]}"
    if isinstance(error, _STOP):
        return StopError(text)
    if isinstance(error, (errors.RetriableError, errors.KafkaConnectionError, OSError)):
        return otherwise(text) if otherwise is RebuildError else RetryError(text)
    return otherwise(text)


class Clients:
    """Opens clients of one configuration."""

    def __init__(self, log: LogConfig, security: SecurityConfig) -> None:
        self._brokers = [each.strip() for each in log.brokers.split(",")]
        self._security = security

    def open(self, kind: Callable[..., Any], **settings: Any) -> Any:  # noqa: ANN401 - kafka-python has no types
        """Open a client.

        Raises
        ------
        ConfigError
            As `kafka_python_security`.
        RetryError, StopError
        """
        nets: list[Any] = []

        def net(**given: Any) -> Any:  # noqa: ANN401 - kafka-python has no types
            made = KafkaNetClient(**given)
            nets.append(made)
            # kafka-python does not pass these on: each client would wait for its first metadata,
            # and create topics by asking for them.
            made.cluster.config["retry_backoff_ms"] = _BACKOFF_MS
            made.cluster.config["allow_auto_create_topics"] = False
            return made

        common = {
            "bootstrap_servers": self._brokers,
            "bootstrap_timeout_ms": _BOOTSTRAP_MS,
            "request_timeout_ms": _REQUEST_MS,
            "reconnect_backoff_max_ms": 1000,
            "retry_backoff_ms": _BACKOFF_MS,
            # The default would leave partitions that were added unseen for minutes.
            "metadata_max_age_ms": 30_000,
            "kafka_client": net,
            **kafka_python_security(self._security),
        }

        try:
            return kind(**{**common, **settings})
        except FAILURES as error:
            # A client that fails to open leaves its thread and its sockets behind.
            for each in nets:
                with contextlib.suppress(*FAILURES):
                    each.close()
            doing = f"connecting to {','.join(self._brokers)}"
            if self._security.protocol != "PLAINTEXT":
                # kafka-python does not see why it was hung up on.
                doing += f" ({self._security.protocol}: refused credentials look the same)"
            raise meaning(error, doing, RetryError) from error


class Reach:
    """Notices that polls bring nothing because nobody answers, which kafka-python keeps quiet."""

    def __init__(self, reached: Callable[[], bool]) -> None:
        self._reached = reached
        self._since: float | None = None

    def check(self, brought: bool) -> None:
        """Take note of a poll.

        Raises
        ------
        RetryError
            If nobody has answered for a few seconds.
        """
        if brought or self._reached():
            self._since = None
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > _UNREACHABLE_S:
            raise RetryError("no broker has answered for a few seconds")
