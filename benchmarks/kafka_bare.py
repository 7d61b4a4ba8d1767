"""The least that kafka-python has to do: consume, produce, commit, in transactions.

Sends each event's key and bytes on as they are, unread, with the settings that stream_al's own
driver gives to kafka-python.
"""

from __future__ import annotations

import sys

from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata


def main(brokers: str, events: str, out: str, batch: int) -> None:
    """Pass events through until killed."""
    consumer = KafkaConsumer(
        events,
        bootstrap_servers=brokers,
        group_id=out,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        metrics_enabled=False,
    )
    producer = KafkaProducer(
        bootstrap_servers=brokers,
        transactional_id=out,
        linger_ms=20,
        batch_size=131_072,
        metrics_enabled=False,
    )
    producer.init_transactions()
    while True:
        polled = consumer.poll(100, max_records=batch)
        if not polled:
            continue
        group = consumer.group_metadata()
        producer.begin_transaction()
        offsets = {}
        for place, records in polled.items():
            for record in records:
                producer.send(out, record.value, record.key, partition=record.partition)
            offsets[place] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        producer.send_offsets_to_transaction(offsets, group)
        producer.commit_transaction()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
