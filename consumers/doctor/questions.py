"""What Kafka answers when the doctor asks, through kafka-python whichever driver is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from kafka import IsolationLevel, OffsetSpec, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    CoordinatorLoadInProgressError,
    GroupAuthorizationFailedError,
    NoError,
    RetriableError,
    UnknownTopicOrPartitionError,
    for_code,
)

from consumers.doctor.facts import Group, GroupState, Held, Topic, inputs
from consumers.errors import LogError, RetryError, StopError
from consumers.kafka.clients import FAILURES, meaning
from consumers.log import Bounds, Partition, TopicSpec
from consumers.topics import Topics, specs
from stream_al.config import LogConfig

__all__ = ["Cluster", "Questions", "Seen", "Skew"]

_T = TypeVar("_T")

_PATIENCE_S = 10.0
_STATES: Mapping[str, GroupState] = {"Stable": "active", "Empty": "empty", "Dead": "absent"}


class Cluster(NamedTuple):
    """The brokers that live, and the version of one of them."""

    name: str
    brokers: int
    version: tuple[int, ...]


class Skew(NamedTuple):
    """How far brokers' time is ahead of ours, within so many seconds."""

    seconds: float
    within_s: float


class Seen(NamedTuple):
    """The topics that are there, and those that may not be looked at."""

    topics: dict[str, Topic]
    denied: list[str]


class Questions:
    """Asks brokers; all methods raise RetryError or StopError where they get no answer.

    Parameters
    ----------
    admin
        kafka-python's.
    """

    def __init__(self, log: LogConfig, admin: Any) -> None:  # noqa: ANN401 - kafka-python has no types
        self._log = log
        self._names = Topics.of(log)
        self._admin = admin

    def cluster(self) -> Cluster:
        """Ask who is there."""
        told = self._ask(self._admin.describe_cluster)
        living = [each for each in told["brokers"] if not each.get("is_fenced")]
        data = self._ask(self._admin.get_broker_version_data, living[0]["broker_id"])
        return Cluster(told["cluster_id"], len(living), tuple(data.broker_version))

    def skew(self) -> Skew | None:
        """Read the controller's clock, which it tells with the state of its own log.

        No other answer of Kafka's holds a broker's time, and a probe record would be a record.
        """
        before = time.time()
        quorum = self._ask(self._admin.describe_metadata_quorum)
        after = time.time()
        (partition,) = quorum["topics"][0]["partitions"]
        for voter in partition["current_voters"]:
            stamp = voter.get("last_fetch_timestamp") or -1
            if voter["replica_id"] == partition["leader_id"] and stamp > 0:
                return Skew(stamp / 1000 - (before + after) / 2, (after - before) / 2)
        return None

    def seen(self) -> Seen:
        """Describe the topics of this configuration."""
        described = self._ask(self._admin.describe_topics, [s.name for s in specs(self._log)])
        kinds = {topic["name"]: for_code(topic["error_code"]) for topic in described}
        settings = self._settings(name for name, kind in kinds.items() if kind is NoError)
        return Seen(
            {
                topic["name"]: _topic(topic, settings.get(topic["name"], {}))
                for topic in described
                if kinds[topic["name"]] is NoError
            },
            [n for n, kind in kinds.items() if kind not in (NoError, UnknownTopicOrPartitionError)],
        )

    def _settings(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        if not wanted:
            return {}
        described = self._ask(self._admin.describe_configs, wanted, False, "all")
        return {
            name: {
                key: entry["value"] for key, entry in found.items() if entry["value"] is not None
            }
            for name, found in described.get("topic", {}).items()
        }

    def create(self, spec: TopicSpec) -> None:
        """Create a topic, and wait until it is served."""
        wanted = {"num_partitions": spec.partitions, "configs": dict(spec.settings)}

        def create_topics() -> None:
            (told,) = self._admin.create_topics({spec.name: wanted}, raise_errors=False)["topics"]
            kind = for_code(told["error_code"])
            if kind is not NoError:
                raise kind(told["error_message"])

        self._ask(create_topics)
        self._ask(self._admin.wait_for_topics, [spec.name])

    def extend(self, name: str, count: int) -> None:
        """Add partitions to a topic, and wait until they can be seen."""
        self._ask(self._admin.create_partitions, {name: count})
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            (topic,) = self._ask(self._admin.describe_topics, [name])
            if len(topic["partitions"]) >= count:
                return
            time.sleep(0.1)

    def groups(self) -> dict[str, Group]:
        """Describe each role's group, with its offsets."""
        return {role: self._group(f"{self._log.name}.{role}") for role in inputs(self._names)}

    def _group(self, name: str) -> Group:
        def describe_group() -> dict[str, Any]:
            one: dict[str, Any] = self._admin.describe_groups([name])[name]
            if not one["group_state"]:
                # Only its name is left of the error.
                refused = GroupAuthorizationFailedError.__name__ in one["error"]
                kind = GroupAuthorizationFailedError if refused else CoordinatorLoadInProgressError
                raise kind(one["error"])
            return one

        try:
            described = self._ask(describe_group)
            # Of a group that is not there, there are no offsets to ask for.
            known = described["group_state"] != "Dead"
            offsets = self._ask(self._admin.list_group_offsets, {name: None}) if known else {}
        except StopError:
            return Group("hidden", operations=frozenset())
        return _group(described, offsets.get(name, {}))

    def bounds(self, topics: Mapping[str, Topic]) -> dict[Partition, Bounds]:
        """Ask for the offsets of all partitions but those of dead letters."""
        places = [
            TopicPartition(name, number)
            for name in msgspec.structs.asdict(self._names).values()
            if name in topics
            for number in range(topics[name].partitions)
        ]
        if not places:
            return {}

        def ask(spec: Any, isolation: Any) -> dict[Any, Any]:  # noqa: ANN401 - kafka-python has no types
            which = dict.fromkeys(places, spec)
            found: dict[Any, Any] = self._ask(self._admin.list_partition_offsets, which, isolation)
            return found

        # In this order: whatever happens in between, none is beyond the next.
        begins = ask(OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED)
        stables = ask(OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
        ends = ask(OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED)
        return {
            Partition(*p): Bounds(*(int(each[p].offset) for each in (begins, stables, ends)))
            for p in places
        }

    def held(self, bounds: Mapping[Partition, Bounds], skew_s: float) -> Iterator[Held]:
        """Find who holds back the partitions whose end is not stable."""
        behind = [place for place, at in bounds.items() if at.stable < at.end]
        if not behind:
            return
        writers = {
            each.producer_id: each.transactional_id
            for listed in self._ask(self._admin.list_transactions).values()
            for each in listed
        }
        now = time.time() + skew_s
        described = self._ask(self._admin.describe_producers, [TopicPartition(*p) for p in behind])
        for place, state in described.items():
            for producer in state.active_producers:
                offset = producer.current_transaction_start_offset
                if offset < 0:
                    continue
                name = writers.get(producer.producer_id)
                yield Held(
                    Partition(*place),
                    offset,
                    bounds[Partition(*place)].end - offset,
                    name or f"producer {producer.producer_id}",
                    max(0.0, now - producer.last_timestamp / 1000),
                    None if name is None else self._timeout_s(name),
                )

    def _timeout_s(self, transactional_id: str) -> float | None:
        try:
            described = self._ask(self._admin.describe_transactions, [transactional_id])
        except LogError:
            # It has ended in between, or is somebody else's: then ours is what it is judged by.
            return None
        return float(described[transactional_id].transaction_timeout_ms) / 1000

    def _ask(self, call: Callable[..., _T], *arguments: Any) -> _T:  # noqa: ANN401 - kafka-python has no types
        """Ask, again and again for a while where that may help: coordinators move."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return call(*arguments)
            except FAILURES as error:
                if not isinstance(error, RetriableError) or time.monotonic() > end:
                    raise meaning(error, call.__name__, RetryError) from error
                time.sleep(0.2)


def _topic(described: Mapping[str, Any], settings: Mapping[str, str]) -> Topic:
    partitions = described["partitions"]
    operations = described.get("authorized_operations")
    return Topic(
        partitions=len(partitions),
        settings=settings,
        operations=None if operations is None else frozenset(operations),
        replicas=min((len(each["replica_nodes"]) for each in partitions), default=None),
        leaderless=tuple(
            sorted(each["partition_index"] for each in partitions if each["leader_id"] < 0)
        ),
    )


def _group(described: Mapping[str, Any], offsets: Mapping[Any, Any]) -> Group:
    state, members = described["group_state"], described["members"]
    operations = described.get("authorized_operations")
    names = sorted(member["group_instance_id"] or member["client_id"] for member in members)
    assigned = frozenset(
        Partition(topic["topic"], number)
        for member in members
        # Bytes where some other client's format could not be read.
        if isinstance(member["member_assignment"], Mapping)
        for topic in member["member_assignment"]["assigned_partitions"]
        for number in topic["partitions"]
    )
    return Group(
        state=_STATES.get(state, "rebalancing"),
        told=", ".join(names) if state == "Stable" else state,
        members=len(members),
        assigned=assigned,
        committed={Partition(*p): int(at.offset) for p, at in offsets.items() if at.offset >= 0},
        operations=None if operations is None else frozenset(operations),
    )
