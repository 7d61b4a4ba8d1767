"""What is asked of the cluster as a whole: topics, their settings, and offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from consumers.errors import RetryError, StopError
from consumers.librdkafka.client import REACH_S, Clients, places
from consumers.librdkafka.errors import FAILURES, Reports, error_of, meaning
from consumers.log import Bounds, Partition, TopicInfo, TopicSpec
from consumers.sizes import ENVELOPE_BYTES

__all__ = ["Admin", "Target"]

_T = TypeVar("_T")

_LOOK_S = 0.05
_LED_S = 5.0


class Target(NamedTuple):
    """A topic to write to: its partitions, and the bytes that a record may take."""

    partitions: int
    limit: int


class Admin:
    """Asks the cluster; safe to use from several threads.

    Parameters
    ----------
    max_record_bytes
        What a record may take wherever the topic does not allow more.
    """

    def __init__(self, clients: Clients, max_record_bytes: int) -> None:
        self._reports = Reports()
        self._client = clients.open(AdminClient, self._reports)
        self._brokers = clients.brokers
        self._limits = (max_record_bytes, clients.queue_bytes)

    def topics(self) -> dict[str, TopicInfo]:
        """Return all topics, internal ones left out.

        Raises
        ------
        RetryError, StopError
        """
        try:
            found = self._client.list_topics(timeout=REACH_S).topics
        except FAILURES as error:
            raise self._unanswered(error_of(error), "listing topics") from error
        counts = {name: len(topic.partitions) for name, topic in found.items()}
        names = [name for name, count in counts.items() if count and not name.startswith("__")]
        return {
            name: TopicInfo(counts[name], {key: each.value for key, each in settings.items()})
            for name, settings in self._settings(names).items()
        }

    def target(self, topic: str) -> Target:
        """Look up a topic to write to.

        Raises
        ------
        StopError
            If it is missing.
        RetryError
        """
        partitions = self.partitions([topic])[topic]
        least, most = self._limits
        setting = self._settings([topic])[topic].get("max.message.bytes")
        if setting is None:
            return Target(partitions, least)
        # Kafka's limit is on a batch as it is stored, with what surrounds the record.
        allowed = int(setting.value) - ENVELOPE_BYTES
        # A topic with a limit of its own has it for a reason, as those of dead letters.
        return Target(partitions, min(allowed, least if setting.is_default else most))

    def partitions(self, names: Iterable[str]) -> dict[str, int]:
        """Count the partitions of topics.

        Raises
        ------
        StopError
            If one is missing.
        RetryError
        """
        found = {}
        for name, topic in self._described(names).items():
            if topic is None:
                raise StopError(f"there is no topic {name!r} at {self._brokers}")
            found[name] = len(topic.partitions)
        return found

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics, and wait until they can be used.

        Raises
        ------
        RetryError, StopError
        """
        wanted = {
            spec.name: NewTopic(spec.name, spec.partitions, -1, config=spec.settings)
            for spec in specs
        }
        if not wanted:
            return
        made = self._client.create_topics(list(wanted.values()), request_timeout=REACH_S)
        for name, result in made.items():
            self._result(result, f"creating topic {name!r}", KafkaError.TOPIC_ALREADY_EXISTS)
        end = time.monotonic() + REACH_S
        while not all(map(_usable, self._described(wanted).values())):
            if time.monotonic() > end:
                raise RetryError(f"topics have been created and have no leader yet: {list(wanted)}")
            time.sleep(_LOOK_S)

    def bounds(self, place: Partition) -> Bounds:
        """Return a partition's offsets.

        Raises
        ------
        RetryError, StopError
        """
        least, most = OffsetSpec.earliest(), OffsetSpec.latest()

        def ask() -> Bounds:
            asked = [
                self._ask([place], least, IsolationLevel.READ_UNCOMMITTED),
                self._ask([place], most, IsolationLevel.READ_COMMITTED),
                self._ask([place], most, IsolationLevel.READ_UNCOMMITTED),
            ]
            beginning, stable, end = (self._answered(each)[place] for each in asked)
            return Bounds(beginning, min(stable, end), end)

        return self._led(ask, [place])

    def stable_ends(self, wanted: Collection[Partition]) -> dict[Partition, int]:
        """Return how far committed records can be read, as of now.

        Raises
        ------
        RetryError, StopError
        """
        spec, isolation = OffsetSpec.latest(), IsolationLevel.READ_COMMITTED
        return self._led(lambda: self._answered(self._ask(wanted, spec, isolation)), wanted)

    def holder(self, group: str, identity: str) -> str | None:
        """Tell which member of a group has a ``group.instance.id``; None: there is none.

        Raises
        ------
        RetryError, StopError
        """
        asked = self._client.describe_consumer_groups([group], request_timeout=REACH_S)
        members = self._result(asked[group], f"looking up group {group!r}").members
        return next((m.member_id for m in members if m.group_instance_id == identity), None)

    def close(self) -> None:
        """End the client's threads."""
        del self._client

    def _led(self, ask: Callable[[], _T], wanted: Iterable[Partition]) -> _T:
        """Ask leaders, and again while they change: an error makes them be looked up anew."""
        end = time.monotonic() + _LED_S
        while True:
            try:
                return ask()
            except RetryError:
                # A partition that does not exist is told no differently from one without leader.
                for topic, number in wanted:
                    if number >= self.partitions([topic])[topic]:
                        raise StopError(f"topic {topic!r} has no partition {number}") from None
                if time.monotonic() > end:
                    raise
            time.sleep(_LOOK_S)

    def _ask(
        self, wanted: Iterable[Partition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[Any, Future[Any]]:
        asked = dict.fromkeys(places(wanted), spec)
        if not asked:
            return {}
        return self._client.list_offsets(  # type: ignore[no-any-return]
            asked, isolation_level=isolation, request_timeout=REACH_S
        )

    def _answered(self, asked: Mapping[Any, Future[Any]]) -> dict[Partition, int]:
        found = {}
        for place, result in asked.items():
            where = Partition(place.topic, place.partition)
            answer = self._result(result, f"asking for offsets of {where.topic}, {where.number}")
            found[where] = answer.offset
        return found

    def _described(self, names: Iterable[str]) -> dict[str, Any]:
        """Describe topics, None where there is none; unlike metadata this never creates them."""
        asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=REACH_S)
        return {
            name: self._result(
                result, f"looking up topic {name!r}", KafkaError.UNKNOWN_TOPIC_OR_PART
            )
            for name, result in asked.items()
        }

    def _settings(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Ask for settings, all in one request; none where this user may not see them."""
        if not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        asked = self._client.describe_configs(resources, request_timeout=REACH_S)
        found = {}
        for resource, result in asked.items():
            doing = f"asking for settings of topic {resource.name!r}"
            entries = self._result(result, doing, KafkaError.TOPIC_AUTHORIZATION_FAILED) or {}
            found[resource.name] = {k: e for k, e in entries.items() if e.value is not None}
        return found

    def _result(self, result: Future[Any], doing: str, expected: int | None = None) -> Any:  # noqa: ANN401
        """Wait for an answer; None in place of the error that is expected."""
        try:
            return result.result(2 * REACH_S)
        except FAILURES as raised:
            error = error_of(raised)
            if error.code() == expected:
                return None
            raise self._unanswered(error, doing) from raised
        except TimeoutError as raised:
            raise RetryError(f"{doing}: no answer") from raised

    def _unanswered(self, error: KafkaError, doing: str) -> Exception:
        if self._reports.refused:
            return StopError(f"{self._brokers} refuse this client: {self._reports.refused}")
        return meaning(error, f"{doing} at {self._brokers}")


def _usable(topic: Any) -> bool:  # noqa: ANN401
    return topic is not None and all(partition.leader is not None for partition in topic.partitions)
