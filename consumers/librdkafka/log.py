"""Kafka as a log through librdkafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumers.errors import StopError
from consumers.librdkafka.admin import Admin
from consumers.librdkafka.client import Clients
from consumers.librdkafka.group import Group
from consumers.librdkafka.member import LibrdkafkaMember
from consumers.librdkafka.tail import LibrdkafkaTail
from consumers.librdkafka.transactions import Transactions
from consumers.librdkafka.writer import LibrdkafkaWriter
from consumers.log import Bounds, Log, Member, Partition, Tail, TopicInfo, TopicSpec, Writer
from consumers.watch import Watch
from stream_al.config import LogConfig, LoopConfig, SecurityConfig
from stream_al.errors import ConfigError

__all__ = ["LibrdkafkaLog"]


class LibrdkafkaLog(Log):
    """Kafka through confluent-kafka.

    Parameters
    ----------
    log, security, loop
        Validated. Nothing is asked of a broker before it is needed.

    Raises
    ------
    ConfigError
        If a secret's file or variable is missing.
    """

    def __init__(self, log: LogConfig, security: SecurityConfig, loop: LoopConfig) -> None:
        self._config = log
        self._loop = loop
        self._clients = Clients(log, security)
        self._watch = Watch()
        self._admin = Admin(self._clients, log.max_record_bytes)

    def member(self, role: str, topics: Sequence[str], assignor: str = "range") -> Member:
        """Open a static member of ``<name>.<role>``, which joins in the background at once."""
        if self._config.instance is None:
            raise ConfigError("must name this process among those of its role", "log.instance")
        counts = self._admin.partitions(topics)
        if len(set(counts.values())) > 1:
            raise StopError(f"topics read together need equally many partitions: {counts}")
        group = f"{self._config.name}.{role}"
        identity = f"{group}.{self._config.instance}"
        # The group first: whoever has this identity is fenced there when its producer is.
        member = Group(
            self._clients,
            self._admin,
            group,
            identity,
            topics,
            assignor,
            self._loop,
        )
        try:
            transactions = Transactions(
                self._clients, identity, self._loop, self._admin.target, self._watch
            )
        except BaseException:
            member.close()
            raise
        return LibrdkafkaMember(member, transactions)

    def tail(self, topic: str, partition: int, start: int) -> Tail:
        """Open a consumer outside of any group."""
        if partition >= self._admin.partitions([topic])[topic]:
            raise StopError(f"topic {topic!r} has no partition {partition}")
        group = f"{self._config.name}.tail"
        return LibrdkafkaTail(self._clients, group, Partition(topic, partition), start)

    def writer(self) -> Writer:
        """Open an idempotent producer."""
        return LibrdkafkaWriter(self._clients, self._admin.target, self._loop.commit_timeout_s)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Ask the partition's leader."""
        return self._admin.bounds(Partition(topic, partition))

    def topics(self) -> dict[str, TopicInfo]:
        """Ask for all topics, and for all their settings in one request."""
        return self._admin.topics()

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics with the broker's default replication, and wait until they have leaders."""
        self._admin.create(specs)

    def close(self) -> None:
        """End the client that asks for all this."""
        self._admin.close()
