"""Writing through kafka-python: checked before it is sent, bounded while under way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kafka import KafkaProducer, errors
from kafka.serializer import Serializer

from consumers.errors import RetryError, StopError
from consumers.kafka.admin import KafkaAdmin, Target
from consumers.kafka.batches import Batches
from consumers.kafka.clients import FAILURES, Clients, meaning
from consumers.log import Out, Writer
from consumers.sizes import check_size, pieces, size_of
from stream_al.counted import counted
from stream_al.partitioner import partition_for

__all__ = ["KafkaWriter", "Outbox"]

_LINGER_MS = 20
_BACKOFF_MS = 10
"""Short: a transaction right after another is told to try again."""

_BATCH_BYTES = 131_072
_UNDER_WAY_BYTES = 16 * 1024 * 1024
_RECORD_BYTES = 200
"""What a record takes besides, about."""


class _Whole(NamedTuple):
    """A value that kafka-python's own checks would refuse, with the places of null headers."""

    value: bytes | None
    nulls: tuple[int, ...]


class _Headers(list[tuple[str, bytes | None]]):
    # Taken for none by the code that would measure null values, and fail after the record was
    # half sent; what is written to the log comes from going over the list.
    def __bool__(self) -> bool:
        return False


class _Values(Serializer):  # type: ignore[misc]
    """Lets records pass that have neither key nor value, or headers that have no value."""

    def serialize(self, topic: str, headers: Any, data: Any) -> bytes | None:  # noqa: ANN401, ARG002
        if type(data) is not _Whole:
            return data  # type: ignore[no-any-return]
        for place in data.nulls:
            headers[place] = (headers[place][0], None)
        return data.value


class Outbox:
    """A producer, and what was given to it and is not stored yet.

    Parameters
    ----------
    max_record_bytes
        As is configured.
    timeout_s
        How long storing may take.
    settings
        Of the producer, besides those that all have in common.
    """

    def __init__(
        self,
        clients: Clients,
        admin: KafkaAdmin,
        max_record_bytes: int,
        timeout_s: float,
        **settings: Any,  # noqa: ANN401 - kafka-python has no types
    ) -> None:
        self._admin = admin
        self._timeout_s = timeout_s
        self._targets: dict[str, Target] = {}
        self._futures: list[Any] = []
        self._bytes = 0
        self.producer = clients.open(
            KafkaProducer,
            value_serializer=_Values(),
            linger_ms=_LINGER_MS,
            retry_backoff_ms=_BACKOFF_MS,
            batch_size=min(_BATCH_BYTES, max_record_bytes),
            # Dead letters are larger than what they are about.
            max_request_size=max_record_bytes + 256 * 1024,
            max_block_ms=timeout_s * 1000,
            delivery_timeout_ms=timeout_s * 1000 + 10_000,
            metrics_enabled=False,
            **settings,
        )
        self._batches = Batches(self.producer, min(_BATCH_BYTES, max_record_bytes))
        self._turn = 0

    def put_all(self, outs: Iterable[Out]) -> None:
        """Send records in the open transaction; waits while too much is under way.

        Raises
        ------
        TooLargeError
            At the first record over the limit; those before are sent.
        RetryError, StopError
        KafkaError
            If one, or one before, cannot be stored.
        """
        targets, add = self._targets, self._batches.add
        try:
            for piece, most in pieces(outs):
                for out in piece:
                    topic, key, number = out.topic, out.key, out.partition
                    target = targets.get(topic)
                    if target is None or (number or 0) >= target.partitions:
                        target = targets[topic] = self._look_up(out)
                    if most > target.limit:
                        check_size(out, target.limit)
                    if number is None:
                        number = self._number(key, target.partitions)
                    add((topic, number), target.limit, key, out.value, out.headers)
                self._bytes += most
                if self._bytes > _UNDER_WAY_BYTES:
                    self._batches.hand_over()
                    self.settle()
        finally:
            self._batches.hand_over()

    def _number(self, key: bytes | None, partitions: int) -> int:
        if key is not None:
            return partition_for(key, partitions)
        self._turn += 1
        return self._turn % partitions

    def put(self, out: Out) -> None:
        """Send a record; waits while too much is under way.

        Raises
        ------
        TooLargeError, RetryError, StopError
        KafkaError
            If this one, or one before, cannot be stored.
        """
        target = self._targets.get(out.topic)
        if target is None or (out.partition or 0) >= target.partitions:
            target = self._targets[out.topic] = self._look_up(out)
        check_size(out, target.limit)
        value: Any = out.value
        headers: Any = list(out.headers)
        nulls = tuple(i for i, (_, held) in enumerate(headers) if held is None) if headers else ()
        if nulls or (value is None and out.key is None):
            value = _Whole(value, nulls)
            headers = _Headers((name, held or b"") for name, held in headers)
        future = self.producer.send(out.topic, value, out.key, headers, out.partition)
        self._futures.append(future)
        self._bytes += size_of(out) + _RECORD_BYTES
        if self._bytes > _UNDER_WAY_BYTES:
            self.settle()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way: all that was given is stored."""
        return not self._futures

    def settle(self) -> None:
        """Wait until all is stored.

        Raises
        ------
        KafkaError
            If something was not: kafka-python itself may commit without it.
        """
        end = time.monotonic() + self._timeout_s
        while True:
            try:
                self.producer.flush(max(end - time.monotonic(), 0.0))
                break
            except errors.UnknownError:
                # A batch over the topic's limit was split: its parts are waited for anew.
                continue
        futures, self._futures, self._bytes = self._futures, [], 0
        for future in futures:
            if future.exception is not None:
                raise future.exception
        self._batches.see()

    def forget(self) -> None:
        """Take what was sent for given up."""
        self._futures, self._bytes = [], 0
        self._batches.forget()

    def close(self, timeout_s: float) -> None:
        """Close the producer, whatever is still under way.

        Raises
        ------
        KafkaError
            If something was not stored.
        """
        try:
            self.producer.close(timeout_s)
        finally:
            # A close that fails while flushing leaves the thread running.
            self.producer._sender.force_close()

    def _look_up(self, out: Out) -> Target:
        target = self._admin.target(out.topic)
        if (out.partition or 0) >= target.partitions:
            raise StopError(
                f"topic {out.topic!r} has {counted(target.partitions, 'partition')}, "
                f"none is {out.partition}"
            )
        return target


class KafkaWriter(Writer):
    """See `Writer`: an idempotent producer, and what it has not confirmed.

    After an outage that outlasts kafka-python's patience its producer is of no more use: a new one
    is opened, and what was not confirmed is sent again. So such a record may be there twice, and
    none is lost.

    Parameters
    ----------
    open_outbox
        Opens a producer.
    """

    def __init__(self, open_outbox: Callable[[], Outbox]) -> None:
        self._open = open_outbox
        self._outbox: Outbox | None = open_outbox()
        self._unconfirmed: list[Out] = []

    def send(self, out: Out) -> None:
        """Send; waits while too much is under way."""
        with self._telling(f"writing to {out.topic!r}"):
            outbox = self._usable()
            outbox.put(out)
            if outbox.is_settled:
                self._unconfirmed.clear()
            else:
                self._unconfirmed.append(out)

    def flush(self) -> None:
        """Wait for the brokers."""
        with self._telling("writing"):
            self._usable().settle()
            self._unconfirmed.clear()

    def close(self) -> None:
        """Flush, and close the producer."""
        try:
            self.flush()
        finally:
            self._give_up()

    @contextlib.contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self._give_up()
            raise meaning(error, doing, RetryError) from error

    def _usable(self) -> Outbox:
        if self._outbox is None:
            outbox = self._open()
            # Not before all of it was taken: else the next call would begin in its middle.
            for out in self._unconfirmed:
                outbox.put(out)
            self._outbox = outbox
        return self._outbox

    def _give_up(self) -> None:
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            with contextlib.suppress(*FAILURES):
                outbox.close(1.0)
