"""Apache Kafka through librdkafka: several times the throughput of the other driver.

Exactly once: transactions are fenced by the group's generation and by the transactional id, and
readers see what is committed.
"""

from __future__ import annotations

from stream_al.errors import ConfigError

try:
    import confluent_kafka  # noqa: F401
except ImportError as error:
    raise ConfigError(
        "librdkafka needs an extra: pip install 'stream-al[librdkafka]'", "log.driver"
    ) from error

from consumers.librdkafka.log import LibrdkafkaLog

__all__ = ["LibrdkafkaLog"]
