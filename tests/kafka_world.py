"""What tests of both Kafka drivers stand on: topics of one test, and processes that use them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove

from consumers.drivers import open_log
from consumers.errors import RetryError
from consumers.log import Batch, Log, Member, Out, Partition, Record, TopicSpec
from stream_al.config import Config, LogConfig, LoopConfig

__all__ = [
    "LIMIT",
    "LOOP",
    "PATIENCE_S",
    "Driver",
    "World",
    "join",
    "patiently",
    "poll_until",
    "read",
]

T = TypeVar("T")
Driver: TypeAlias = Literal["kafka", "librdkafka"]

LIMIT = 20_000
LOOP = LoopConfig(session_timeout_s=6.0, commit_timeout_s=5.0, transaction_timeout_s=5.0)
PATIENCE_S = 30.0


class World:
    """Topics of one test, and the processes that would use them."""

    def __init__(
        self, brokers: str, driver: Driver, partitions: int = 1, loop: LoopConfig = LOOP
    ) -> None:
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.brokers, self.driver = brokers, driver
        self.loop = loop
        self.events, self.out = f"{self.name}.events", f"{self.name}.out"
        self.group = f"{self.name}.gate"
        self._members: list[Member] = []
        self._logs: list[Log] = []
        self.log = self.process("host")
        self.log.create([TopicSpec(self.events, partitions), TopicSpec(self.out, partitions)])

    @property
    def first(self) -> Partition:
        """The first partition of the events."""
        return Partition(self.events, 0)

    def process(self, instance: str | None) -> Log:
        """Open the log as a process of that name does."""
        config = LogConfig(
            driver=self.driver,
            brokers=self.brokers,
            name=self.name,
            instance=instance,
            events=self.events,
            max_record_bytes=LIMIT,
        )
        self._logs.append(open_log(Config(log=config, loop=self.loop)))
        return self._logs[-1]

    def member(self, instance: str = "a", assignor: str = "range") -> Member:
        """Open a member that is closed with the world."""
        member = self.process(instance).member("gate", [self.events], assignor)
        self._members.append(member)
        return member

    def reader(self, count: int = 1) -> Member:
        """Open a member that has read so many events."""
        self.feed(count)
        member = self.member()
        join(member)
        read(member, count)
        return member

    def evict(self, instance: str) -> None:
        """Remove a member from the group, as the end of its session would."""
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        who = MemberToRemove(group_instance_id=f"{self.group}.{instance}")
        admin.remove_group_members(self.group, [who])
        admin.close()

    def feed(self, count: int, partitions: int = 1) -> None:
        """Write numbered events, to each partition in its turn."""
        writer = self.log.writer()
        for number in range(count):
            writer.send(Out(self.events, b"%d" % number, partition=number % partitions))
        writer.close()

    def values(self, partition: int = 0) -> list[bytes | None]:
        """Return what was put out and committed."""
        return [record.value for record in self.log.read(self.out, partition)]

    def committed(self, member: Member) -> int | None:
        """Return the committed offset of the first partition of the events."""
        return member.committed([self.first])[self.first]

    def close(self) -> None:
        """Close all."""
        for member in self._members:
            member.close()
        for log in self._logs:
            log.close()


def poll_until(
    member: Member, enough: Callable[[Batch], bool], timeout_s: float = PATIENCE_S
) -> Batch:
    """Poll until a batch is what was waited for."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        batch = member.poll(0.5, 1000)
        if enough(batch):
            return batch
    raise AssertionError("this has not come about in time")


def join(member: Member) -> frozenset[Partition]:
    """Poll until there are partitions, and read them from their beginnings."""
    gained = poll_until(member, lambda batch: bool(batch.gained)).gained
    member.seek(dict.fromkeys(gained, 0))
    return gained


def read(member: Member, count: int) -> list[Record]:
    """Poll until so many records have come."""
    found: list[Record] = []

    def enough(batch: Batch) -> bool:
        found.extend(batch.records)
        return len(found) >= count

    poll_until(member, enough)
    return found


def patiently(call: Callable[[], T]) -> T:
    """Call until it is not told to try again."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except RetryError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
