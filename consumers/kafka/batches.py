"""Record batches for kafka-python, many records at a time.

What `KafkaProducer.send` does for each record (checks, locks, a future, headers byte by byte) takes
several times as long as the gate takes to decide. Here records are encoded in one go, and whole
batches are handed to kafka-python, which numbers, sends and retries them as its own.
"""

from __future__ import annotations

import time
from typing import Any

from kafka import KafkaProducer, TopicPartition, errors
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder

from consumers.log import Headers

__all__ = ["Batches", "encode_record"]

_HEADER_BYTES = 61
_NAMES_KEPT = 4096


def _encode_varint(value: int) -> bytes:
    """Encode a number that is not negative, as Kafka's format has it: zigzag, 7 bits a byte."""
    left = value << 1
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


class _Varints(dict[int, bytes]):
    """Encoded numbers, those that are common kept."""

    def __missing__(self, value: int) -> bytes:
        return _encode_varint(value)


class _Names(dict[str, bytes]):
    """Encoded names of headers, which recur."""

    def __missing__(self, name: str) -> bytes:
        text = name.encode()
        encoded = _encode_varint(len(text)) + text
        if len(self) < _NAMES_KEPT:
            self[name] = encoded
        return encoded


_varints = _Varints({value: _encode_varint(value) for value in range(8192)})
_names = _Names()


def encode_record(number: int, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Encode a record of a batch, whose time is the batch's.

    Parameters
    ----------
    number
        Its place in the batch, from 0.

    Examples
    --------
    >>> encode_record(3, b"k", None, (("a", b"b"),)).hex(" ")
    '16 00 00 06 02 6b 01 02 02 61 02 62'
    """
    parts = [b"\0\0", _varints[number]]
    for held in (key, value):
        if held is None:
            parts.append(b"\1")
        else:
            parts += _varints[len(held)], held
    parts.append(_varints[len(headers)])
    for name, held in headers:
        if held is None:
            parts += _names[name], b"\1"
        else:
            parts += _names[name], _varints[len(held)], held
    record = b"".join(parts)
    return _varints[len(record)] + record


class _Making:
    """The batch that is being made for a partition."""

    def __init__(self, place: tuple[str, int], limit: int) -> None:
        self.place = TopicPartition(*place)
        self.limit = limit
        self.begin()

    def begin(self) -> None:
        self.records: list[bytes] = []
        self.size = _HEADER_BYTES


class Batches:
    """Makes batches and hands them to a transactional producer, within its transaction.

    Parameters
    ----------
    most_bytes
        A batch has no more, unless a single record has.
    """

    def __init__(self, producer: KafkaProducer, most_bytes: int) -> None:
        self._producer: Any = producer
        self._most_bytes = most_bytes
        self._making: dict[tuple[str, int], _Making] = {}
        self._under_way: list[Any] = []

    def add(
        self,
        place: tuple[str, int],
        limit: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> None:
        """Put a record into its partition's batch; one that is full is handed over first.

        Parameters
        ----------
        place
            Topic and number of the partition.
        limit
            Bytes that a batch of this topic may have.
        """
        making = self._making.get(place)
        if making is None:
            making = self._making[place] = _Making(place, min(limit, self._most_bytes))
        record = encode_record(len(making.records), key, value, headers)
        if making.records and making.size + len(record) > making.limit:
            self._hand_over(making)
            record = encode_record(0, key, value, headers)
        making.records.append(record)
        making.size += len(record)

    def hand_over(self) -> None:
        """Hand over all that was added.

        Raises
        ------
        KafkaError
            If the producer takes no more.
        """
        for making in self._making.values():
            if making.records:
                self._hand_over(making)

    def forget(self) -> None:
        """Take what was added and handed over for given up."""
        for making in self._making.values():
            making.begin()
        self._under_way.clear()

    def see(self) -> None:
        """See that everything handed over was stored, after the producer was flushed.

        Raises
        ------
        KafkaError
            If something was not.
        """
        under_way, self._under_way = self._under_way, []
        for batch in under_way:
            if not batch.is_done:
                raise errors.MessageSizeTooLargeError(
                    f"max.message.bytes of {batch.topic_partition.topic!r} was lowered"
                )
            *_, why = batch.produce_future.value
            if why is not None:
                raise why(0)

    def _hand_over(self, making: _Making) -> None:
        producer, place, records = self._producer, making.place, making.records
        accumulator = producer._accumulator
        if producer._metadata.partitions_for_topic(place.topic) is None:
            producer._wait_on_metadata(place.topic, producer.config["max_block_ms"])
        producer._transaction_manager.maybe_add_partition_to_transaction(place)
        built = MemoryRecordsBuilder(
            accumulator.config["message_version"],
            accumulator.config["compression_attrs"],
            accumulator.config["batch_size"],
        )
        builder = built._builder
        builder._first_timestamp = builder._max_timestamp = int(time.time() * 1000)
        builder._num_records = built._next_offset = len(records)
        builder._last_offset = len(records) - 1
        builder._buffer += b"".join(records)
        batch = ProducerBatch(place, built)
        # kafka-python wakes a flush by it, should it split the batch.
        batch._record_futures.append(
            FutureRecordMetadata(batch.produce_future, 0, None, None, -1, -1, -1)
        )
        accumulator._appends_in_progress.increment()
        try:
            with accumulator._tp_lock(place):
                if accumulator._closed:
                    raise errors.IllegalStateError("the producer is closed")
                accumulator._batches[place].append(batch)
                accumulator._incomplete.add(batch)
        finally:
            accumulator._appends_in_progress.decrement()
        producer._sender.wakeup()
        self._under_way.append(batch)
        making.begin()
