"""Apache Kafka through kafka-python, which needs nothing but Python.

Exactly once: transactions are fenced by the group's generation and by the transactional id, and
readers see what is committed.
"""

from __future__ import annotations

from consumers.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
