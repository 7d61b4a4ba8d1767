"""Writing records one by one."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, Producer

from consumers.errors import LogError, RetryError, StopError
from consumers.librdkafka.admin import Target
from consumers.librdkafka.client import Clients
from consumers.librdkafka.errors import FAILURES, Reports, error_of, meaning
from consumers.librdkafka.outbox import Outbox
from consumers.log import Out, Writer
from stream_al.counted import counted

__all__ = ["LibrdkafkaWriter"]

_KEEP_MS = 120_000


class LibrdkafkaWriter(Writer):
    """Writes records, each stored once and in order, on librdkafka.

    While no broker answers, what was taken stays queued: a `RetryError` of `send` or `flush` loses
    nothing. After two minutes of that it is given up, with a `StopError`.

    Parameters
    ----------
    target
        Looks up a topic to write to.
    timeout_s
        How long to wait for room, and for all to be stored.
    """

    def __init__(self, clients: Clients, target: Callable[[str], Target], timeout_s: float) -> None:
        failures: list[KafkaError] = []
        self._failures = failures
        self._timeout_s = timeout_s
        self._reports = Reports()
        settings = {
            "enable.idempotence": True,
            "message.timeout.ms": _KEEP_MS,
            "linger.ms": 5,
            "on_delivery": lambda error, _: failures.append(error),
            "delivery.report.only.error": True,
        }
        self._producer = clients.producer(Producer, self._reports, settings)
        self._outbox = Outbox(self._producer, target, timeout_s)

    def send(self, out: Out) -> None:
        """Hand over to the producer, which sends in the background."""
        try:
            self._outbox.put((out,))
            self._producer.poll(0)
        except FAILURES as error:
            raise self._meaning(error_of(error)) from error
        self._check()

    def flush(self) -> None:
        """Wait until the queue is empty."""
        try:
            left = self._producer.flush(self._timeout_s)
        except FAILURES as error:
            raise self._meaning(error_of(error)) from error
        self._check()
        if left:
            why = self._reports.unreachable or "the brokers are slow"
            raise RetryError(
                f"not stored within {self._timeout_s:g} s: {counted(left, 'record')}: {why}"
            )

    def close(self) -> None:
        """Flush, and end the producer's threads in any case."""
        try:
            self.flush()
        finally:
            # Ends the client's threads.
            del self._outbox, self._producer

    def _check(self) -> None:
        if self._reports.refused:
            raise StopError(f"writing: brokers refuse access: {self._reports.refused}")
        if self._failures:
            raise self._meaning(self._failures[0])

    def _meaning(self, error: KafkaError) -> LogError:
        return meaning(error, "writing", StopError)
