"""Passes over the same events, each of which tells how many of them a second went through.

Only passes that put out one record for every event count: all are read again afterwards. The rate
is that of the last nine tenths of these records, by the times that the log gave them: Kafka's
brokers as they append (LogAppendTime), SQLite's log as it takes them into a transaction. So
neither the start of processes nor joining a group is in it. Processor time, of the processes that
are measured and not of the broker, is taken from about the same moment on.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from _events import Message, feed, learnt
from _processes import GATE, BenchmarkError, Processes, running, wait_until
from kafka import KafkaAdminClient, KafkaProducer

from consumers.drivers import open_log
from consumers.log import Log, Out, Partition, TopicSpec
from consumers.topics import Topics, specs
from stream_al import Config, LearnerConfig
from stream_al.config import LogConfig, LoopConfig, ServeConfig

__all__ = ["BATCH", "Pass", "Site", "gate_config", "prepare"]

BATCH = LoopConfig().batch_size
"""Events in a transaction, of the bare loop and of Quix Streams as of the gate."""

_HERE = Path(__file__).parent
_STAMPED = {"message.timestamp.type": "LogAppendTime"}
_SKIPPED = 10


@dataclass(frozen=True)
class Pass:
    """How fast events went through, on the clock and in processor time of each."""

    events_per_second: float
    cpu_us_per_event: float


def gate_config(log: LogConfig, *, committee: bool = True) -> Config:
    """Return the configuration of a gate: the defaults, with health on a free port."""
    learner = LearnerConfig(committee=committee)
    return Config(learner=learner, log=log, serve=ServeConfig(port=0))


def prepare(log: Log, config: Config) -> None:
    """Create the topics of a gate, with a training log that a model has learnt from."""
    topics = Topics.of(config.log)
    log.create(
        msgspec.structs.replace(spec, settings={**spec.settings, **_STAMPED})
        if spec.name == topics.predictions
        else spec
        for spec in specs(config.log)
    )
    writer = log.writer()
    for raw in learnt(config.learner):
        writer.send(Out(topics.training, raw, None, (), 0))
    writer.close()


class Site:
    """Where passes happen: a broker, a folder, and the events.

    Parameters
    ----------
    brokers
        host:port; empty where only the embedded log is measured.
    folder
        For files; emptied by whoever made it.
    """

    def __init__(self, brokers: str, folder: Path, messages: list[Message]) -> None:
        self.brokers = brokers
        self.folder = folder
        self.messages = messages
        self._numbers = itertools.count()
        self._logs: dict[str, Log] = {}
        self._events = ""

    def log(self, driver: Any) -> Log:  # noqa: ANN401 - a Literal
        """Return the brokers' log by one of the drivers."""
        if driver not in self._logs:
            config = LogConfig(driver=driver, brokers=self.brokers)
            self._logs[driver] = open_log(Config(log=config))
        return self._logs[driver]

    def close(self) -> None:
        """Close what is open."""
        for log in self._logs.values():
            log.close()

    def name(self) -> str:
        """Return a name that no other pass has."""
        return f"bench-{self.folder.name}-{next(self._numbers)}"

    def place(self, name: str) -> Path:
        """Make a folder for a pass."""
        place = self.folder / name
        place.mkdir()
        return place

    def remove(self, name: str) -> None:
        """Delete the topics of a pass."""
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        admin.delete_topics([topic for topic in admin.list_topics() if topic.startswith(name)])
        admin.close()

    def gate(self, driver: Any, *, committee: bool = True) -> Pass:  # noqa: ANN401 - a Literal
        """Run one gate on Kafka, on one partition of events that are there already."""
        name, events = self.name(), self._stored_events()
        log = LogConfig(driver=driver, brokers=self.brokers, name=name, events=events, instance="a")
        config = gate_config(log, committee=committee)
        prepare(self.log(driver), config)
        with running(self.place(name), {"gate": GATE}, {"gate": config}) as processes:
            found = self._timed(self.log(driver), Topics.of(log).predictions, 1, processes)
        self.remove(name)
        return found

    def gates(self, driver: Any, count: int) -> Pass:  # noqa: ANN401 - a Literal
        """Run gates on two partitions, all of whose events become visible once they have joined."""
        name = self.name()
        configs = {
            f"gate-{n}": gate_config(
                LogConfig(
                    driver=driver,
                    brokers=self.brokers,
                    name=name,
                    events=f"{name}.events",
                    instance=str(n),
                    partitions=2,
                )
            )
            for n in range(count)
        }
        config, place = configs["gate-0"], self.place(name)
        prepare(self.log(driver), config)
        release = self._hold_back(config.log.events, config.log.partitions)
        with running(place, dict.fromkeys(configs, GATE), configs) as processes:
            processes.await_gates()
            release()
            found = self._timed(self.log(driver), Topics.of(config.log).predictions, 2, processes)
        self.remove(name)
        return found

    def sqlite(self, *, committee: bool = True) -> Pass:
        """Run one gate on the embedded log, in a copy of a file that holds the events."""
        stored = self.folder / "events.db"
        if not stored.exists():
            config = Config(log=LogConfig(path=str(stored)))
            log = open_log(config)
            log.create([TopicSpec(config.log.events, 1)])
            feed(log, config.log.events, 1, self.messages)
            log.close()
        place = self.place(self.name())
        config = gate_config(LogConfig(path=str(place / "log.db")), committee=committee)
        shutil.copy(stored, config.log.path)
        log = open_log(config)
        prepare(log, config)
        with running(place, {"gate": GATE}, {"gate": config}) as processes:
            found = self._timed(log, Topics.of(config.log).predictions, 1, processes)
        log.close()
        shutil.rmtree(place)
        return found

    def bare(self) -> Pass:
        """Run `kafka_bare`."""
        return self._passed_through(sys.executable, "kafka_bare.py", BATCH)

    def quix(self, python: Path, *, commit_every: int) -> Pass:
        """Run `kafka_quix` in its own environment."""
        return self._passed_through(str(python), "kafka_quix.py", commit_every)

    def _passed_through(self, python: str, program: str, batch: int) -> Pass:
        name, events = self.name(), self._stored_events()
        out = f"{name}.out"
        self.log("kafka").create([TopicSpec(out, 1, _STAMPED)])
        # -P: in this folder `kafka` would not be kafka-python.
        command = [python, "-P", str(_HERE / program), self.brokers, events, out, str(batch)]
        with running(self.place(name), {"loop": command}, {}) as processes:
            found = self._timed(self.log("kafka"), out, 1, processes)
        self.remove(name)
        return found

    def _stored_events(self) -> str:
        if not self._events:
            topic = f"{self.name()}.events"
            self.log("kafka").create([TopicSpec(topic, 1)])
            feed(self.log("kafka"), topic, 1, self.messages)
            self._events = topic
        return self._events

    def _hold_back(self, topic: str, partitions: int) -> Callable[[], None]:
        """Write all events in a transaction, and return what commits it."""
        producer = KafkaProducer(
            bootstrap_servers=self.brokers,
            transactional_id=topic,
            transaction_timeout_ms=600_000,
            linger_ms=20,
            batch_size=131_072,
        )
        producer.init_transactions()
        producer.begin_transaction()
        for number, (key, value) in enumerate(self.messages):
            producer.send(topic, value, key, None, number % partitions)
        producer.flush()

        def release() -> None:
            producer.commit_transaction()
            producer.close()

        return release

    def _timed(self, log: Log, topic: str, partitions: int, processes: Processes) -> Pass:
        """Wait until an output holds a record for each event, and tell how fast they came."""
        total = len(self.messages)
        skipped = total // _SKIPPED
        places = [Partition(topic, number) for number in range(partitions)]
        lasts = [self.messages[number::partitions][-1].key for number in range(partitions)]

        def written() -> int:
            return sum(log.bounds(*place).end for place in places)

        def complete() -> bool:
            if sum(log.bounds(*place).stable for place in places) < total:
                return False
            found = [log.last(*place) for place in places]
            return [record and record.key for record in found] == lasts

        wait_until(lambda: written() >= skipped, processes.check, f"records in {topic!r}")
        begun, busy = written(), processes.processor_s
        wait_until(complete, processes.check, f"{total:,} records in {topic!r}")
        busy = processes.processor_s - busy
        times = sorted(record.time for place in places for record in log.read(*place))
        if len(times) != total:
            raise BenchmarkError(f"{topic!r} holds {len(times):,} records for {total:,} events")
        seconds = times[-1] - times[skipped - 1]
        if seconds <= 0 or begun >= total:
            raise BenchmarkError(f"{total:,} events are too few to be timed")
        return Pass((total - skipped) / seconds, 1e6 * busy / (total - begun))
