"""What is asked about topics, partitions and groups, through kafka-python's admin client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from kafka import IsolationLevel, KafkaAdminClient, OffsetSpec, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import NoError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from consumers.errors import RetryError, StopError
from consumers.kafka.clients import FAILURES, Clients, meaning
from consumers.log import Bounds, TopicInfo, TopicSpec
from consumers.sizes import ENVELOPE_BYTES

__all__ = ["KafkaAdmin", "Target"]

_T = TypeVar("_T")


class Target(NamedTuple):
    """A topic to write to: how many partitions, and how large a record may be."""

    partitions: int
    limit: int


class KafkaAdmin:
    """Asks brokers; connects when it is first used. Safe to use from several threads.

    All methods raise RetryError where no broker answers, and StopError where access is denied.
    """

    def __init__(self, clients: Clients, max_record_bytes: int) -> None:
        self._clients = clients
        self._most = max_record_bytes
        self._admin: Any = None
        self._lock = threading.Lock()

    def topics(self) -> dict[str, TopicInfo]:
        """Describe all topics, internal ones left out; settings where they may be read."""

        def look(admin: Any) -> dict[str, TopicInfo]:  # noqa: ANN401 - kafka-python has no types
            counts = _partitions(admin, None)
            settings = _settings(admin, counts)
            return {
                name: TopicInfo(count, {key: value for key, (value, _) in settings[name].items()})
                for name, count in counts.items()
            }

        return self._ask(look, "listing topics")

    def target(self, topic: str) -> Target:
        """Look a topic up that is to be written to; StopError where it is missing.

        What is configured is the limit, unless the topic has one of its own: dead letters may be
        larger than what they are about. What the broker allows is never exceeded.
        """

        def look(admin: Any) -> Target | None:  # noqa: ANN401 - kafka-python has no types
            counts = _partitions(admin, [topic])
            if topic not in counts:
                return None
            value, own = _settings(admin, counts)[topic].get("max.message.bytes", (None, False))
            if value is None:
                return Target(counts[topic], self._most)
            allowed = int(value) - ENVELOPE_BYTES
            return Target(counts[topic], allowed if own else min(allowed, self._most))

        found = self._ask(look, f"looking up topic {topic!r}")
        if found is None:
            raise StopError(f"there is no topic {topic!r}")
        return found

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create what is missing, with the broker's default replication."""
        wanted = {
            spec.name: {"num_partitions": spec.partitions, "configs": dict(spec.settings)}
            for spec in specs
        }

        def make(admin: Any) -> None:  # noqa: ANN401 - kafka-python has no types
            for topic in admin.create_topics(wanted, raise_errors=False)["topics"]:
                kind = for_code(topic["error_code"])
                if kind not in (NoError, TopicAlreadyExistsError):
                    raise kind(f"{topic['name']}: {topic['error_message']}")
            admin.wait_for_topics(list(wanted))

        if wanted:
            self._ask(make, "creating topics")

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Ask a partition's leader; StopError where there is no such partition."""
        place = TopicPartition(topic, partition)

        def at(admin: Any, spec: Any, isolation: Any) -> int:  # noqa: ANN401 - kafka-python has no types
            found = admin.list_partition_offsets({place: spec}, isolation_level=isolation)
            return int(found[place].offset)

        def look(admin: Any) -> Bounds:  # noqa: ANN401 - kafka-python has no types
            # In this order: whatever happens in between, none is beyond the next.
            return Bounds(
                at(admin, OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED),
                at(admin, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED),
                at(admin, OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED),
            )

        return self._ask(look, f"reading the bounds of {topic!r}, partition {partition}")

    def seat_owner(self, group: str, instance: str) -> str | None:
        """Return the member id that has a static member's seat; None: nobody has it."""

        def look(admin: Any) -> str | None:  # noqa: ANN401 - kafka-python has no types
            for member in admin.describe_groups([group])[group]["members"]:
                if member["group_instance_id"] == instance:
                    return str(member["member_id"])
            return None

        return self._ask(look, f"describing group {group!r}")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _ask(self, call: Callable[[Any], _T], doing: str) -> _T:
        with self._lock:
            if self._admin is None:
                self._admin = self._clients.open(KafkaAdminClient)
            admin = self._admin
        try:
            return call(admin)
        except FAILURES as error:
            raise meaning(error, doing, RetryError) from error


def _partitions(admin: Any, names: list[str] | None) -> dict[str, int]:  # noqa: ANN401 - kafka-python has no types
    counts = {}
    for topic in admin.describe_topics(names):
        kind = for_code(topic["error_code"])
        if kind is NoError and not topic["is_internal"]:
            counts[topic["name"]] = len(topic["partitions"])
        elif kind not in (NoError, UnknownTopicOrPartitionError):
            raise kind(topic["name"])
    return counts


def _settings(admin: Any, names: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:  # noqa: ANN401 - kafka-python has no types
    """Return each topic's settings: the value, and whether it is the topic's own."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = admin.describe_configs(resources, config_filter="all") if resources else {}
    return {
        name: {
            key: (entry["value"], entry["config_source"] == "DYNAMIC_TOPIC_CONFIG")
            for key, entry in settings.items()
            if entry["value"] is not None
        }
        for name, settings in described.get("topic", {}).items()
    }
