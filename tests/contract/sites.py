"""The implementations under test, each with topics and processes of one test's own."""

from __future__ import annotations

import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from consumers.drivers import open_log
from consumers.log import Batch, Log, Member, Partition, Record, Tail, TopicSpec, Writer
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.simulated_storage import SimulatedClock
from stream_al.config import Config, LogConfig, LoopConfig

__all__ = ["FileSite", "KafkaSite", "MemorySite", "SimulatedSite", "Site"]

PATIENCE_S = 30.0
LIMIT = 20_000

Opened = TypeVar("Opened", Member, Tail, Writer)


class Site(ABC):
    """One implementation; what a test opens is closed with it.

    Attributes
    ----------
    name
        What groups and topics of this test begin with.
    """

    loop = LoopConfig()

    def __init__(self) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self._opened: list[Member | Tail | Writer] = []
        self._logs: dict[str, Log] = {}

    @abstractmethod
    def describe(self) -> LogConfig:
        """Say where the log is."""

    def config(self, instance: str | None = "one") -> Config:
        """Configure a process of that name."""
        log = msgspec.structs.replace(
            self.describe(),
            name=self.name,
            instance=instance,
            events=f"{self.name}.events",
            max_record_bytes=LIMIT,
        )
        return Config(log=log, loop=self.loop)

    def open(self, config: Config) -> Log:
        """Open the log as a process does."""
        return open_log(config)

    def log(self, instance: str = "one") -> Log:
        """Open the log as the process of that name, once."""
        if instance not in self._logs:
            self._logs[instance] = self.open(self.config(instance))
        return self._logs[instance]

    def topic(self, partitions: int = 1, **settings: str) -> str:
        """Create a topic."""
        name = f"{self.name}.{uuid.uuid4().hex[:8]}"
        terms = {"max.message.bytes": str(LIMIT + 1024)}
        terms |= {key.replace("_", "."): value for key, value in settings.items()}
        self.log().create([TopicSpec(name, partitions, terms)])
        return name

    def member(self, *topics: str, instance: str = "one") -> Member:
        """Open a member that has not polled yet."""
        return self.keep(self.log(instance).member("gate", topics))

    def joined(self, *topics: str, instance: str = "one") -> Member:
        """Open a member, and go on from what is committed, or from the beginning."""
        member = self.member(*topics, instance=instance)
        self.seek_committed(member, gained(member))
        return member

    def seek_committed(self, member: Member, places: frozenset[Partition]) -> None:
        """Read on from what is committed, or from the beginning."""
        found = member.committed(places)
        member.seek({place: offset or 0 for place, offset in found.items()})

    def rivals(self, *topics: str) -> tuple[Member, Member]:
        """Open two members of different identities in one group."""
        return self.member(*topics), self.member(*topics, instance="two")

    def tail(self, topic: str, partition: int = 0, start: int = 0) -> Tail:
        """Open a tail."""
        return self.keep(self.log().tail(topic, partition, start))

    def writer(self) -> Writer:
        """Open a writer."""
        return self.keep(self.log().writer())

    def keep(self, opened: Opened) -> Opened:
        """Close this with the site."""
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close what was opened, the last first."""
        for opened in reversed(self._opened):
            opened.close()
        for log in self._logs.values():
            log.close()


class FileSite(Site):
    """The embedded log in a file."""

    loop = LoopConfig(session_timeout_s=3.0)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "log.db"

    def describe(self) -> LogConfig:
        """Name the file."""
        return LogConfig(path=str(self._path))


class MemorySite(Site):
    """The embedded log in memory: one object, so one instance."""

    def describe(self) -> LogConfig:
        """Name no file."""
        return LogConfig(path=":memory:")

    def rivals(self, *topics: str) -> tuple[Member, Member]:
        """Open members without a name, which are all different."""
        names = {name: info.partitions for name, info in self.log().topics().items()}
        log = self._logs["nameless"] = self.open(self.config(None))
        log.create([TopicSpec(name, names[name]) for name in topics])
        first, second = (self.keep(log.member("gate", topics)) for _ in range(2))
        return first, second


class SimulatedSite(Site):
    """The simulated log without faults."""

    def __init__(self) -> None:
        super().__init__()
        self._broker = SimulatedBroker(SimulatedClock())

    def describe(self) -> LogConfig:
        """Say nothing: it is in memory."""
        return LogConfig()

    def open(self, config: Config) -> Log:
        """Open it on the site's broker."""
        return SimulatedLog(config, self._broker)


class KafkaSite(Site):
    """A real Kafka, through one of the drivers."""

    # Brokers of one's own take no session as short as the tests' broker does.
    loop = LoopConfig(
        session_timeout_s=6.0 if "STREAM_AL_KAFKA" in os.environ else 3.0,
        transaction_timeout_s=5.0,
    )

    def __init__(self, config: LogConfig) -> None:
        super().__init__()
        self._config = config

    def describe(self) -> LogConfig:
        """Name driver and brokers."""
        return self._config


def gained(member: Member) -> frozenset[Partition]:
    """Poll until a member is given its partitions."""
    return poll_until(member, lambda batch: bool(batch.gained)).gained


def poll_until(member: Member, enough: Callable[[Batch], bool]) -> Batch:
    """Poll until a batch is what is waited for."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        batch = member.poll(0.5, 2000)
        if enough(batch):
            return batch
    raise AssertionError(f"this has not come about in {PATIENCE_S} s")


def take(source: Member | Tail, count: int, most: int = 2000) -> list[Record]:
    """Poll until so many records have come, and see that there were no more."""
    found: list[Record] = []
    end = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < end:
        polled: Any = source.poll(0.5, most)
        found += polled if isinstance(polled, list) else polled.records
    assert len(found) == count
    return found
