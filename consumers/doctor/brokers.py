"""The doctor's look at Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec

from kafka import KafkaAdminClient

from consumers.doctor.facts import Finding, Group
from consumers.doctor.groups import (
    judge_clock,
    judge_groups,
    judge_held,
    judge_lag,
    judge_version,
)
from consumers.doctor.questions import Questions, Seen
from consumers.doctor.topics import (
    extensions,
    judge_access,
    judge_settings,
    judge_topics,
    judge_training,
    missing,
)
from consumers.errors import LogError
from consumers.kafka.clients import Clients
from consumers.log import Bounds, Partition
from consumers.security import kafka_python_security
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.errors import ConfigError

__all__ = ["examine"]


def examine(config: Config, fix: bool) -> list[Finding]:
    """Ask brokers about everything that a live run needs.

    Parameters
    ----------
    fix
        Create what is missing, and add partitions where these are chosen by number.
    """
    found = _before(config)
    if found.level == "error":
        return [found]
    try:
        admin = Clients(config.log, config.security).open(KafkaAdminClient)
    except LogError as error:
        do = "see that log.brokers names them as this host reaches them, and the security section"
        return [found, Finding("brokers", "error", str(error), do)]
    with closing(admin):
        return [found, *_Examination(config, Questions(config.log, admin)).run(fix)]


def _before(config: Config) -> Finding:
    """Look at what is needed before any broker is asked."""
    if config.log.driver == "librdkafka" and find_spec("confluent_kafka") is None:
        do = "pip install 'stream-al[librdkafka]', or use driver 'kafka'"
        return Finding("driver", "error", "confluent-kafka is not installed", do)
    try:
        kafka_python_security(config.security)
    except ConfigError as error:
        do = "mend the file, the variable or the key that names it"
        return Finding("secrets", "error", str(error), do)
    return Finding("secrets", "ok", f"{config.security.protocol}: all that is needed is there")


class _Examination:
    """One round of questions; what is not answered is a finding of its own."""

    def __init__(self, config: Config, questions: Questions) -> None:
        self._config = config
        self._log = config.log
        self._questions = questions
        self._found: list[Finding] = []

    def run(self, fix: bool) -> list[Finding]:
        brokers, skew_s = 1, 0.0
        with self._asking("brokers"):
            cluster = self._questions.cluster()
            brokers = cluster.brokers
            self._found += judge_version(cluster.version, brokers, cluster.name)
        with self._asking("clock"):
            skew = self._questions.skew()
            if skew is None:
                self._found.append(Finding("clock", "ok", "brokers do not tell the time"))
            else:
                skew_s = skew.seconds
                self._found += judge_clock(*skew)
        with self._asking("topics"):
            seen = self._questions.seen()
            if fix:
                self._mend(seen)
                seen = self._questions.seen()
            self._judge(seen, brokers, skew_s)
        return self._found

    @contextmanager
    def _asking(self, check: str) -> Iterator[None]:
        try:
            yield
        except LogError as error:
            do = "see the brokers' logs; grant DESCRIBE where access is denied"
            self._found.append(Finding(check, "warn", f"cannot be told: {error}", do))

    def _judge(self, seen: Seen, brokers: int, skew_s: float) -> None:
        log, topics = self._log, seen.topics
        self._found += judge_topics(log, topics, brokers, seen.denied)
        self._found += judge_settings(log, topics, self._advice)
        groups: dict[str, Group] = {}
        with self._asking("groups"):
            groups = self._questions.groups()
            self._found += judge_groups(log, groups, topics)
        self._found += judge_access(log, topics, groups, seen.denied)
        bounds: Mapping[Partition, Bounds] = {}
        with self._asking("offsets"):
            bounds = self._questions.bounds(topics)
            training = bounds.get(Partition(Topics.of(log).training, 0))
            self._found += judge_training(log, topics, training)
            self._found += judge_lag(log, groups, bounds)
        with self._asking("transactions"):
            held = list(self._questions.held(bounds, skew_s))
            timeout_s = self._config.loop.transaction_timeout_s
            self._found += judge_held(timeout_s, log.brokers, held)

    def _mend(self, seen: Seen) -> None:
        """Create and extend what `missing` and `extensions` name, one by one, states first.

        A state needs its partition before anything is decided with it.
        """
        for name, count in extensions(self._log, seen.topics).items():
            with self._mending(name, f"has {count} partitions now"):
                self._questions.extend(name, count)
        for spec in missing(self._log, seen.topics):
            if spec.name not in seen.denied:
                with self._mending(spec.name, "is created"):
                    self._questions.create(spec)

    @contextmanager
    def _mending(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except LogError as error:
            do = "grant CREATE and ALTER, or let somebody mend it who may"
            self._found.append(Finding("fix", "error", f"{name!r}: {error}", do))
        else:
            self._found.append(Finding("fixed", "ok", f"{name!r} {done}"))

    def _advice(self, topic: str, key: str, value: str) -> str:
        return (
            f"kafka-configs.sh --bootstrap-server {self._log.brokers} --alter --entity-type topics "
            f"--entity-name {topic} --add-config {key}={value}"
        )
