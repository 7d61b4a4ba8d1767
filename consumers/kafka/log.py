"""Apache Kafka through kafka-python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumers.errors import StopError
from consumers.kafka.admin import KafkaAdmin
from consumers.kafka.clients import Clients
from consumers.kafka.member import KafkaMember
from consumers.kafka.reading import KafkaTail
from consumers.kafka.writing import KafkaWriter, Outbox
from consumers.log import Bounds, Log, Member, Tail, TopicInfo, TopicSpec, Writer
from consumers.watch import Watch
from stream_al.config import LogConfig, LoopConfig, SecurityConfig
from stream_al.errors import ConfigError

__all__ = ["KafkaLog"]


class KafkaLog(Log):
    """See `Log`. Members are static and exactly once, from what they poll to what they commit.

    Parameters
    ----------
    log, security, loop
        Validated sections of the configuration.
    """

    def __init__(self, log: LogConfig, security: SecurityConfig, loop: LoopConfig) -> None:
        self._config = log
        self._loop = loop
        self._clients = Clients(log, security)
        self._admin = KafkaAdmin(self._clients, log.max_record_bytes)
        self._watch = Watch()

    def member(self, role: str, topics: Sequence[str], assignor: str = "range") -> Member:
        """Open a static member; it joins the group with its first poll."""
        config = self._config
        if config.instance is None:
            raise ConfigError("must name this process among those of its role", "log.instance")
        counts = {topic: self._admin.target(topic).partitions for topic in topics}
        if len(set(counts.values())) > 1:
            raise StopError(f"topics that are read together have unequal partitions: {counts}")
        group = f"{config.name}.{role}"
        identity = f"{group}.{config.instance}"
        return KafkaMember(
            group=group,
            identity=identity,
            topics=list(topics),
            assignor=assignor,
            clients=self._clients,
            admin=self._admin,
            watch=self._watch,
            loop=self._loop,
            outbox=self._outbox(
                client_id=identity,
                transactional_id=identity,
                transaction_timeout_ms=int(self._loop.transaction_timeout_s * 1000),
            ),
        )

    def tail(self, topic: str, partition: int, start: int) -> Tail:
        """Open a consumer outside of any group."""
        if partition >= self._admin.target(topic).partitions:
            raise StopError(f"topic {topic!r} has no partition {partition}")
        return KafkaTail(self._clients, topic, partition, start)

    def writer(self) -> Writer:
        """Open an idempotent producer."""
        return KafkaWriter(lambda: self._outbox(client_id=f"{self._config.name}.writer"))

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Ask the partition's leader."""
        return self._admin.bounds(topic, partition)

    def topics(self) -> dict[str, TopicInfo]:
        """Describe topics, with their settings where those may be read."""
        return self._admin.topics()

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create what is missing, with the broker's default replication."""
        self._admin.create(specs)

    def close(self) -> None:
        """Close the connection that questions are asked on."""
        self._admin.close()

    def _outbox(self, **settings: object) -> Outbox:
        return Outbox(
            self._clients,
            self._admin,
            self._config.max_record_bytes,
            self._loop.commit_timeout_s,
            **settings,
        )
