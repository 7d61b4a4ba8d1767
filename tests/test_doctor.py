"""The doctor: what is judged how, on the embedded log and on a real Kafka; what it mends."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from consumers.doctor import Finding, examine
from consumers.doctor.embedded import judge_disk, judge_lease
from consumers.doctor.facts import Group, Held, Topic
from consumers.doctor.groups import (
    judge_clock,
    judge_groups,
    judge_held,
    judge_lag,
    judge_version,
)
from consumers.doctor.topics import (
    extensions,
    judge_access,
    judge_settings,
    judge_topics,
    judge_training,
    missing,
)
from consumers.drivers import open_log
from consumers.kafka.clients import Clients
from consumers.log import Bounds, Out, Partition
from consumers.processes import Process
from consumers.testing.broker import Broker
from consumers.topics import Topics, specs
from stream_al.cli.app import application
from stream_al.config import Config, LogConfig, SecurityConfig, ServeConfig

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")
LOG = LogConfig(name="fraud", partitions=2)
NAMES = Topics.of(LOG)
WHOLE = {spec.name: Topic(spec.partitions, spec.settings) for spec in specs(LOG)}


def advice(topic: str, key: str, value: str) -> str:
    """Say how a setting is changed."""
    return f"set {key}={value} on {topic}"


def settled(topic: str, **settings: str) -> dict[str, Topic]:
    """Change settings of one topic; two underscores stand for a point."""
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    one = msgspec.structs.replace(WHOLE[topic], settings={**WHOLE[topic].settings, **changed})
    return {**WHOLE, topic: one}


def sized(**partitions: int) -> dict[str, Topic]:
    """Change the number of partitions of some topics, by their fields' names."""
    return WHOLE | {getattr(NAMES, name): Topic(n) for name, n in partitions.items()}


def worst(found: list[Finding]) -> str:
    """Return the worst level, and see that each finding that is not well says what to do."""
    assert all(finding.do for finding in found if finding.level != "ok")
    return max((finding.level for finding in found), key=["ok", "warn", "error"].index)


def one(found: list[Finding], level: str) -> Finding:
    """Return the only finding of a level."""
    (finding,) = [finding for finding in found if finding.level == level]
    return finding


def test_topics_as_specified_are_well() -> None:
    """What `specs` describes is judged to be as it must be, in every respect."""
    assert worst(judge_topics(LOG, WHOLE, 3)) == "ok"
    assert worst(judge_settings(LOG, WHOLE, advice)) == "ok"
    assert missing(LOG, WHOLE) == []
    assert extensions(LOG, WHOLE) == {}


def test_missing_topics_are_named_once_and_listed_for_creation() -> None:
    """Topics that are not there are one error, and are created beside the user's own events."""
    there = {"events": Topic(12)}
    found = judge_topics(LOG, there, 1)
    error = one(found, "error")
    assert "fraud.training" in error.what
    assert "fraud.dlq.events" in error.what
    assert "--fix" in error.do
    assert one(found, "warn").what == "missing, for `run annotator`: fraud.annotator-state"
    counts = {spec.name: spec.partitions for spec in missing(LOG, there)}
    assert "events" not in counts
    assert (counts[NAMES.predictions], counts[NAMES.gate_state]) == (12, 12)
    assert (counts[NAMES.label_requests], counts[NAMES.ledger_state]) == (2, 2)
    assert counts[NAMES.training] == 1


@pytest.mark.parametrize(
    ("topics", "level", "what"),
    [
        (sized(training=2), "error", "'fraud.training' has 2 partitions"),
        (sized(labels=3), "error", "a label does not meet its request"),
        (sized(events=3), "error", "'fraud.gate-state' has 2 partitions and needs 3"),
        (sized(events=3), "error", "'fraud.predictions' has 2 partitions and needs 3"),
        (sized(gate_state=1), "error", "'fraud.gate-state' has 1 partition and needs 2"),
        (sized(ledger_state=1), "error", "'fraud.ledger-state' has 1 partition and needs 2"),
        (sized(events=1), "warn", "'events' has 1 partition, not 2"),
        (sized(gate_state=5, predictions=5), "ok", "partitioned as they must be"),
        (
            WHOLE | {"events": Topic(2, leaderless=(1,))},
            "error",
            "'events': nobody serves partition 1",
        ),
        (WHOLE | {"events": Topic(2, replicas=1)}, "warn", "'events' has no copy"),
    ],
)
def test_partitions_are_judged(topics: dict[str, Topic], level: str, what: str) -> None:
    """Partitions that do not fit each other, are not served or not copied are found."""
    found = judge_topics(LOG, topics, brokers=3)
    assert worst(found) == level
    assert any(finding.level == level and what in finding.what for finding in found)


def test_one_broker_needs_no_copies() -> None:
    """Without a second broker nobody is told to copy topics to one."""
    single = {name: Topic(t.partitions, t.settings, replicas=1) for name, t in WHOLE.items()}
    assert worst(judge_topics(LOG, single, brokers=1)) == "ok"


def test_states_grow_before_predictions_and_keyed_topics_never() -> None:
    """Only topics whose partitions are chosen by number are extended, states first."""
    assert list(extensions(LOG, sized(events=5)).items()) == [
        (NAMES.gate_state, 5),
        (NAMES.predictions, 5),
    ]
    grown = LogConfig(name="fraud", partitions=7)
    assert list(extensions(grown, WHOLE)) == [NAMES.gate_state, NAMES.predictions]
    assert extensions(LOG, sized(labels=9, label_requests=9)) == {
        NAMES.ledger_state: 9,
        NAMES.annotator_state: 9,
    }


@pytest.mark.parametrize(
    ("topics", "level", "do"),
    [
        (settled(NAMES.training, retention__ms="604800000"), "error", "set retention.ms=-1"),
        (settled(NAMES.training, retention__bytes="1000"), "error", "set retention.bytes=-1"),
        (settled(NAMES.training, cleanup__policy="compact"), "error", "set cleanup.policy=delete"),
        (settled(NAMES.gate_state, cleanup__policy="delete"), "error", "=compact on fraud.gate"),
        (
            settled(NAMES.ledger_state, cleanup__policy="compact,delete"),
            "error",
            "set cleanup.policy=compact on fraud.ledger-state",
        ),
        (
            settled("fraud.dlq.events", max__message__bytes="1048588"),
            "error",
            f"set max.message.bytes={1_048_576 + 65_536 + 1024} on fraud.dlq.events",
        ),
        (settled(NAMES.predictions, max__message__bytes="9"), "error", "set max.message.bytes="),
        (settled("events", max__message__bytes="9"), "ok", ""),
        (
            settled("events", retention__ms=str(30 * 86_400_000)),
            "warn",
            "set min.compaction.lag.ms=2592000000 on fraud.gate-state",
        ),
        (settled("events", retention__ms="86400000"), "ok", ""),
        (settled("events", retention__ms="-1"), "ok", ""),
        (
            settled(NAMES.labels, unclean__leader__election__enable="true"),
            "warn",
            "set unclean.leader.election.enable=false on fraud.labels",
        ),
        (WHOLE | {NAMES.labels: Topic(2)}, "warn", "DESCRIBE_CONFIGS"),
    ],
)
def test_settings_are_judged(topics: dict[str, Topic], level: str, do: str) -> None:
    """Settings by which records are lost, refused or unverifiable are found, with the remedy."""
    found = judge_settings(LOG, topics, advice)
    assert worst(found) == level
    assert do in one(found, level).do


@pytest.mark.parametrize(
    ("bounds", "level", "what"),
    [
        (Bounds(0, 0, 0), "ok", "is empty"),
        (Bounds(0, 9, 9), "ok", "is whole, 9 offsets"),
        (Bounds(5, 9, 9), "error", "begins at offset 5"),
    ],
)
def test_training_log_has_to_be_whole(bounds: Bounds, level: str, what: str) -> None:
    """A training log whose beginning is gone is an error."""
    (finding,) = judge_training(LOG, WHOLE, bounds)
    assert finding.level == level
    assert what in finding.what


def test_access_that_lacks_is_named() -> None:
    """Each operation that a role needs and this user lacks is an error of its own."""
    every = frozenset({"READ", "WRITE", "DESCRIBE"})
    topics = {name: Topic(t.partitions, t.settings, every) for name, t in WHOLE.items()}
    groups = {"gate": Group("active", operations=every)}
    assert worst(judge_access(LOG, topics, groups, [])) == "ok"
    less = {
        **topics,
        "events": Topic(2, operations=frozenset({"DESCRIBE"})),
        NAMES.training: Topic(1, operations=frozenset({"READ"})),
        "fraud.dlq.events": Topic(1, operations=frozenset({"READ"})),
    }
    groups = {"gate": Group("hidden", operations=frozenset()), "annotator": groups["gate"]}
    found = judge_access(LOG, less, groups, [NAMES.labels, NAMES.annotator_state])
    assert found[0].what == "may not be described: fraud.labels"
    assert [finding.do for finding in found] == [
        "grant READ on 'events', READ and WRITE on all that begins with 'fraud.'",
        "grant READ on topic 'events'",
        "grant WRITE on topic 'fraud.training'",
        "grant WRITE on topic 'fraud.dlq.events'",
        "grant READ on group 'fraud.gate'",
    ]
    assert judge_topics(LOG, {}, 1, [spec.name for spec in specs(LOG)]) == []
    assert "do not tell" in judge_access(LOG, WHOLE, {}, [])[0].what


EVENTS = frozenset({Partition("events", 0), Partition("events", 1)})


@pytest.mark.parametrize(
    ("group", "level", "what"),
    [
        (Group("active", "a, b", 2, EVENTS), "ok", "2 members (a, b), 2 partitions"),
        (Group("active", "a", 1, EVENTS - {Partition("events", 1)}), "warn", "owns events:1"),
        (Group("rebalancing", "PreparingRebalance"), "warn", "PreparingRebalance"),
        (Group("empty", "Empty"), "warn", "nobody runs the gate (Empty)"),
        (Group("absent"), "warn", "nobody runs the gate"),
    ],
)
def test_groups_are_judged(group: Group, level: str, what: str) -> None:
    """A role that nobody runs, that rebalances, or that leaves partitions alone is found."""
    (finding,) = judge_groups(LOG, {"gate": group, "annotator": Group("empty")}, WHOLE)
    assert finding.level == level
    assert what in finding.what


@pytest.mark.parametrize(
    ("committed", "level", "what"),
    [
        ({0: 40, 1: 90}, "ok", "gate is 60 offsets behind: events:0 50, events:1 10"),
        ({0: 90, 1: 100}, "ok", "gate is 0 offsets behind"),
        ({0: 90}, "ok", "gate is 80 offsets behind: events:1 80"),
        ({0: 90, 1: 19}, "error", "what is before 20 is deleted"),
        ({0: 101, 1: 100}, "error", "it ends at 100"),
    ],
)
def test_lag_is_judged(committed: dict[int, int], level: str, what: str) -> None:
    """Lag counts what may be read; a position that is not in the log is an error."""
    bounds = {
        Partition("events", 0): Bounds(0, 90, 100),
        Partition("events", 1): Bounds(20, 100, 100),
    }
    offsets = {Partition("events", number): at for number, at in committed.items()}
    found = judge_lag(LOG, {"gate": Group("active", committed=offsets)}, bounds)
    assert worst(found) == level
    assert what in one(found, level).what


def test_much_lag_is_a_warning() -> None:
    """A gate that is far behind is a warning with what helps."""
    bounds = {Partition("events", 0): Bounds(0, 10**6, 10**6)}
    (finding,) = judge_lag(LOG, {"gate": Group("active")}, bounds)
    assert finding.level == "warn"


def test_only_transactions_past_their_time_hang() -> None:
    """An open transaction is an error once the log should have ended it, by its own timeout."""
    place = Partition("events", 1)
    young = Held(place, 7, 3, "fraud.gate.a", 5.0, 10.0)
    patient = Held(place, 7, 3, "theirs", 300.0, 600.0)
    assert judge_held(10.0, "b:9092", [])[0].what == "none is open"
    assert judge_held(10.0, "b:9092", [young, patient])[0].what == "2 under way"
    (finding,) = judge_held(10.0, "b:9092", [young, Held(place, 7, 3, "producer 4", 300.0)])
    assert finding.level == "error"
    assert finding.what.startswith("producer 4 has held events:1 at offset 7 for 300 s")
    assert finding.do.endswith("abort --topic events --partition 1 --start-offset 7")


@pytest.mark.parametrize(
    ("skew", "within", "level"),
    [(0.1, 0.01, "ok"), (-3.0, 0.01, "warn"), (3.0, 2.0, "ok"), (90.0, 1.0, "error")],
)
def test_clock_is_judged_beyond_what_is_uncertain(skew: float, within: float, level: str) -> None:
    """Only skew beyond the time that the answer took counts."""
    assert worst(judge_clock(skew, within)) == level


def test_old_brokers_are_refused() -> None:
    """Brokers that cannot fence a group's transactions are an error."""
    assert worst(judge_version((2, 4), 1, "c")) == "error"
    assert judge_version((3, 9), 2, "c")[0].what == "Kafka 3.9, 2 brokers, cluster c"


@pytest.mark.parametrize(("mebibytes", "level"), [(100, "error"), (1000, "warn"), (9000, "ok")])
def test_disk_is_judged(mebibytes: int, level: str) -> None:
    """Little room on the disk is found before it is none."""
    assert judge_disk(mebibytes * 1024**2, 0).level == level


def test_lease_tells_who_works() -> None:
    """A lease that runs is an active member, one that has run out is nobody."""
    assert judge_lease(("a", 10.0), 9.0, EVENTS, {}) == Group("active", "a", 1, EVENTS)
    assert judge_lease(("a", 10.0), 70.0, EVENTS, {}).state == "empty"
    assert judge_lease(None, 0.0, EVENTS, {}).state == "absent"


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments)


@contextmanager
def running(config: Config) -> Iterator[None]:
    """Run gate and ledger until the gate has committed something."""
    with closing(open_log(config)) as log:
        writer = log.writer()
        writer.send(Out(config.log.events, b'{"amount": 1.5}', b"k"))
        writer.close()
        process = Process(config, ["gate", "ledger"])
        process.start()
        try:
            end = time.monotonic() + 60
            while not log.bounds(Topics.of(config.log).predictions, 0).stable:
                assert not process.ended
                assert time.monotonic() < end
                time.sleep(0.05)
            yield
        finally:
            process.close()


@pytest.mark.parametrize("empty", [False, True])
def test_missing_file_is_an_error_and_fix_makes_it(tmp_path: Path, empty: bool) -> None:
    """Without a file, or with an empty one, the doctor changes nothing; with --fix it makes it."""
    path = tmp_path / "a.db"
    if empty:
        path.touch()
    done = run("doctor", "--path", str(path))
    assert done.exit_code == 1
    assert f"'{path}' is {'empty' if empty else 'not there yet'}" in done.stdout
    assert path.stat().st_size == 0 if empty else not path.exists()
    looked = run("tail", "events", "--path", str(path))
    assert looked.exit_code == 2
    assert f"{'the' if empty else 'no'} file '{path}'" in looked.stderr
    mended = run("doctor", "--fix", "--path", str(path))
    assert mended.exit_code == 0
    assert f"'{path}' is made" in mended.stdout
    assert "all 11 are there" in mended.stdout


def test_embedded_log_at_work_is_well(tmp_path: Path) -> None:
    """While gate and ledger run nothing is wrong, and the JSON says so for each check."""
    path = str(tmp_path / "a.db")
    with running(Config(log=LogConfig(path=path), serve=ServeConfig(port=None))):
        done = run("doctor", "--json", "--path", path)
    assert done.exit_code == 0, done.stdout
    found = json.loads(done.stdout)["findings"]
    assert {finding["level"] for finding in found} == {"ok"}
    told = {finding["check"]: finding["what"] for finding in found}
    assert told["gate group"].startswith("1 member (")
    assert told["training log"].startswith("'stream-al.training' is whole")
    assert {"configuration", "disk", "file", "topics", "retention", "ledger group", "lag"} < set(
        told
    )


def test_embedded_log_at_rest_says_what_to_start(tmp_path: Path) -> None:
    """When nobody runs, that is a warning with the command to start, and no error."""
    path = str(tmp_path / "a.db")
    with running(Config(log=LogConfig(path=path), serve=ServeConfig(port=None))):
        pass
    done = run("doctor", "--path", path)
    assert done.exit_code == 0
    assert "-> start `stream-al run gate`" in done.stdout
    assert "-> start `stream-al run ledger`" in done.stdout


def test_writer_that_stopped_in_a_commit_is_found(tmp_path: Path) -> None:
    """A file that another process keeps locked is an error that says so."""
    path = str(tmp_path / "a.db")
    open_log(Config(log=LogConfig(path=path))).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as stopped:
        stopped.execute("BEGIN IMMEDIATE")
        found = examine(Config(log=LogConfig(path=path)))
    (finding,) = [finding for finding in found if finding.level == "error"]
    assert finding.what == "cannot be written to: database is locked"


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file that is no log of ours is an error, and stays as it was."""
    path = tmp_path / "a.db"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    before = path.read_bytes()
    done = run("doctor", "--fix", "--path", str(path))
    assert done.exit_code == 1
    assert "cannot be used as a log" in done.stdout
    assert path.read_bytes() == before


def test_damaged_file_is_to_be_replaced(tmp_path: Path) -> None:
    """A log that was cut short is an error that leads to a copy, for whoever opens it."""
    path = tmp_path / "a.db"
    open_log(Config(log=LogConfig(path=str(path)))).close()
    path.write_bytes(path.read_bytes()[:20_000])
    done, looked = (run(*each, "--path", str(path)) for each in (["doctor"], ["verify"]))
    assert (done.exit_code, looked.exit_code) == (1, 2)
    for told in (done.stdout, looked.stderr):
        assert "if this was a log, put a copy in its place" in told


def test_file_with_other_partitions_is_noticed(tmp_path: Path) -> None:
    """A file made with fewer partitions than are configured is found."""
    path = str(tmp_path / "a.db")
    open_log(Config(log=LogConfig(path=path))).close()
    found = examine(Config(log=LogConfig(path=path, partitions=3)))
    assert any("'events' has 1 partition, not 3" in finding.what for finding in found)


@pytest.fixture
def on_kafka(kafka_brokers: str) -> Config:
    """Configure a name of its own on a real Kafka."""
    name = f"doctor-{uuid.uuid4().hex}"
    log = LogConfig(
        driver="kafka", brokers=kafka_brokers, name=name, events=name, instance="a", partitions=2
    )
    return Config(log=log, serve=ServeConfig(port=None))


def levels(found: list[Finding]) -> dict[str, str]:
    """Return the worst level of each check."""
    return {
        check: worst([f for f in found if f.check == check]) for check in {f.check for f in found}
    }


def test_kafka_is_mended_and_then_well(on_kafka: Config) -> None:
    """At first topics are missing; --fix creates them as specified, and then all is well."""
    assert levels(examine(on_kafka))["topics"] == "error"
    mended = examine(on_kafka, fix=True)
    assert sum(finding.check == "fixed" for finding in mended) == len(specs(on_kafka.log))
    found = examine(on_kafka)
    assert worst(found) == "warn"
    assert {f.check for f in found if f.level == "warn"} == {"gate group", "ledger group"}
    with closing(open_log(on_kafka)) as log:
        there = log.topics()
    for spec in specs(on_kafka.log):
        assert there[spec.name].partitions == spec.partitions
        assert spec.settings.items() <= there[spec.name].settings.items()


def test_kafka_tells_the_time_and_what_one_may_do(on_kafka: Config) -> None:
    """Version, clock and access are known from a real broker without writing anything."""
    found = {finding.check: finding for finding in examine(on_kafka, fix=True)}
    assert found["version"].what.startswith("Kafka 4.")
    assert found["clock"].what.startswith("the controller's is 0.")
    assert found["access"].what.startswith("this user may do what all roles need")


def test_kafka_groups_at_work_are_seen(on_kafka: Config) -> None:
    """Members, their partitions and their lag are seen while gate and ledger run."""
    examine(on_kafka, fix=True)
    with running(on_kafka):
        end = time.monotonic() + 30
        while "warn" in (found := levels(examine(on_kafka))).values() and time.monotonic() < end:
            time.sleep(0.3)
        assert set(found.values()) == {"ok"}, examine(on_kafka)
        told = [finding.what for finding in examine(on_kafka) if finding.check == "gate group"]
    assert told == [f"1 member ({on_kafka.log.name}.gate.a), 2 partitions"]


def test_kafka_events_that_grew_are_followed(on_kafka: Config) -> None:
    """When the events got more partitions, --fix gives them to states and predictions."""
    examine(on_kafka, fix=True)
    log = on_kafka.log
    with closing(KafkaAdminClient(bootstrap_servers=log.brokers)) as admin:
        admin.create_partitions({log.events: 4})
    end = time.monotonic() + 30
    while levels(found := examine(on_kafka)).get("partitions") != "error":
        assert time.monotonic() < end, found
        time.sleep(0.1)
    mended = examine(on_kafka, fix=True)
    assert [finding.what for finding in mended if finding.check == "fixed"] == [
        f"'{log.name}.gate-state' has 4 partitions now",
        f"'{log.name}.predictions' has 4 partitions now",
    ]
    assert "partitions" not in levels(mended)


def test_kafka_topics_made_by_others_are_judged(on_kafka: Config) -> None:
    """Topics that somebody created with the broker's defaults are found with their remedies."""
    log = on_kafka.log
    names = Topics.of(log)
    plain: dict[str, Any] = {spec.name: {"num_partitions": 2} for spec in specs(log)}
    with closing(KafkaAdminClient(bootstrap_servers=log.brokers)) as admin:
        admin.create_topics(plain, wait_for_metadata=True)
    found = examine(on_kafka)
    errors = " ".join(f"{f.what} {f.do}" for f in found if f.level == "error")
    assert f"{names.training!r} has 2 partitions" in errors
    assert f"{names.training} --add-config retention.ms=-1" in errors
    assert f"{names.gate_state} --add-config cleanup.policy=compact" in errors
    assert f"{names.ledger_state} --add-config cleanup.policy=compact" in errors
    assert f"{log.name}.dlq.{log.events} --add-config max.message.bytes=" in errors


def test_kafka_open_transactions_are_seen(on_kafka: Config) -> None:
    """A transaction that is open on one of our topics is counted, and gone once it has ended."""
    examine(on_kafka, fix=True)
    log = on_kafka.log
    producer = KafkaProducer(
        bootstrap_servers=log.brokers, transactional_id=f"{log.name}.gate.z", metrics_enabled=False
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(log.events, b"{}", partition=0).get(10)
    told = {f.check: f.what for f in examine(on_kafka)}
    producer.abort_transaction()
    producer.close()
    after = {f.check: f.what for f in examine(on_kafka)}
    assert (told["transactions"], after["transactions"]) == ("1 under way", "none is open")


@pytest.fixture(scope="module")
def guarded(kafka_brokers: str) -> Iterator[LogConfig]:  # noqa: ARG001 - skips where there is none
    """Configure a broker with access control, where `boss` may do all, and `eve` nothing."""
    users = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_boss="b" user_eve="e";'
    )
    settings = {
        "listener.name.clients.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": users,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The broker itself talks to itself without a name.
        "super.users": "User:ANONYMOUS;User:boss",
    }
    with Broker(protocol="SASL_PLAINTEXT", settings=settings) as broker:
        yield LogConfig(driver="kafka", brokers=broker.address, instance="a")


def test_kafka_rights_that_lack_are_probed(
    guarded: LogConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With access control on, what a user lacks is named, and --fix says what it may not create."""
    monkeypatch.setenv("BOSS", "b")
    monkeypatch.setenv("EVE", "e")

    def known(name: str) -> Config:
        security = SecurityConfig(
            protocol="SASL_PLAINTEXT",
            mechanism="PLAIN",
            username=name,
            password_env=name.upper(),
        )
        return Config(log=guarded, security=security)

    boss, eve = known("boss"), known("eve")
    mended = examine(boss, fix=True)
    assert [finding for finding in mended if finding.level == "error"] == []
    access = [f for f in examine(eve, fix=True) if f.check == "access"]
    assert access[0].what.startswith("may not be described: events, stream-al.")
    assert {f.do for f in access[1:]} == {
        "grant READ on group 'stream-al.gate'",
        "grant READ on group 'stream-al.ledger'",
    }
    with closing(Clients(guarded, boss.security).open(KafkaAdminClient)) as admin:
        admin.create_acls(
            [
                ACL(
                    "User:eve",
                    "*",
                    ACLOperation.READ,
                    ACLPermissionType.ALLOW,
                    ResourcePattern(kind, name),
                )
                for kind, name in (
                    (ResourceType.TOPIC, "events"),
                    (ResourceType.TOPIC, "stream-al.training"),
                    (ResourceType.GROUP, "stream-al.gate"),
                )
            ]
        )
    told = " ".join(f.do for f in examine(eve) if f.check == "access")
    assert "on topic 'stream-al.training'" in told
    assert "grant WRITE on topic 'stream-al.training'" in told
    assert "group 'stream-al.gate'" not in told
    assert "topic 'events'" not in told


def test_unreachable_brokers_are_one_error() -> None:
    """Where nobody answers the doctor says so, and nothing else on either stream."""
    # In a process of its own: the client's sockets that found nobody stay open in it.
    flags = ("--driver", "kafka", "--brokers", "127.0.0.1:9", "--instance", "a")
    done = subprocess.run(
        [*PROCESS, "doctor", "--json", *flags], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    checks = [finding["check"] for finding in json.loads(done.stdout)["findings"]]
    assert checks == ["configuration", "secrets", "brokers"]


def test_missing_secret_is_one_error_without_the_secret(tmp_path: Path) -> None:
    """A password's file that cannot be read is found before any broker is asked."""
    security = SecurityConfig(
        protocol="SASL_PLAINTEXT", username="eve", password_file=str(tmp_path / "none")
    )
    config = Config(
        log=LogConfig(driver="kafka", brokers="127.0.0.1:9", instance="a"), security=security
    )
    (finding,) = examine(config)
    assert (finding.check, finding.level) == ("secrets", "error")
    assert str(tmp_path / "none") in finding.what
