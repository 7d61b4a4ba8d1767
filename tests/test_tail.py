"""Showing topics: each kind of record in words, anything at all as JSON, live and as it is kept."""

from __future__ import annotations

import base64
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.annotator import Truths
from consumers.clock import Clock
from consumers.drivers import open_log
from consumers.feed import Feed, Pace
from consumers.log import Headers, Log, Out, Record
from consumers.messages.dead_letters import dead_letter
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.topics import Topics, specs
from stream_al.cli.app import application
from stream_al.cli.tail_text import json_line, text_line
from stream_al.config import (
    AnnotatorConfig,
    Config,
    LogConfig,
    LoopConfig,
    ServeConfig,
    SourceConfig,
)
from stream_al.records import AnswerKind, Label, Prediction, encode
from stream_al.replay.sources import open_source
from stream_al.training import Closed, Control, Flagged, Unsolicited, Voided

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")
TOPICS = Topics.of(LogConfig())
EVENTS = 600
REMARKS: list[tuple[AnswerKind, str | None, str]] = [
    ("flag", None, "is flagged"),
    ("retract", None, "is withdrawn"),
    ("revise", "fraud", "is fraud after all"),
]


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments)


def record(
    topic: str, value: bytes | None, headers: Headers = (), key: bytes | None = None
) -> Record:
    """Make a record that stands at offset 7 of partition 1."""
    return Record(topic, 1, 7, key, value, headers, 0.25)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give an embedded log on which gate, ledger and annotator have worked."""
    path = str(tmp_path_factory.mktemp("tail") / "a.db")
    config = Config(
        log=LogConfig(path=path),
        annotator=AnnotatorConfig(abstain=0.2),
        serve=ServeConfig(port=None),
    )
    source = open_source(f"cards:{EVENTS}", SourceConfig())
    with closing(open_log(config)) as log:
        writer = log.writer()
        Feed(writer, "events", 1, source.name, Pace(), Clock()).run(source.rows())
        writer.send(Out("events", b"no \x1b[2J JSON", b"k"))
        writer.close()
    process = Process(config, ["gate", "ledger", "annotator"], Truths(source))
    process.start()
    with closing(open_log(config)) as log:
        end = time.monotonic() + 30
        while time.monotonic() < end and not _done(log):
            time.sleep(0.05)
        assert _done(log)
    process.close()
    return path


def _done(log: Log) -> bool:
    kinds = [json.loads(r.value or b"")["type"] for r in log.read(TOPICS.training, 0)]
    asked = sum(1 for _ in log.read(TOPICS.label_requests, 0))
    answered = kinds.count("labelled") + kinds.count("closed")
    return log.bounds(TOPICS.predictions, 0).end >= EVENTS and answered == asked


def shown(path: str, topic: str, *flags: str) -> list[str]:
    """Show what is kept of a topic."""
    done = run("tail", topic, "--no-follow", "--path", path, *flags)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.splitlines()


def objects(path: str, topic: str, *flags: str) -> list[dict[str, Any]]:
    """Show what is kept of a topic as JSON."""
    return [json.loads(line) for line in shown(path, topic, "--json", *flags)]


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("events", ["card-", '"amount":']),
        ("predictions", ["events:0:", "id=payment-", "score ", "threshold ", "model "]),
        ("label-requests", ["events:0:", "no. ", "propensity "]),
        ("labels", ["events:0:", ", by simulated"]),
        ("gate-state", ["next offset 601", "600 events", "tokens "]),
    ],
)
def test_each_topic_is_told_in_words(path: str, topic: str, words: list[str]) -> None:
    """The last record of each topic is a line with what matters of its kind."""
    line = shown(path, topic)[-1 if topic != "events" else 0]
    for word in words:
        assert word in line
    assert "{" not in line or topic == "events"


def test_training_records_are_told_by_type(path: str) -> None:
    """Every type of training record that a run writes has its own words."""
    lines = shown(path, "training")
    types = [line.split("  ")[1] for line in lines]
    assert types[0] == "configured"
    assert set(types) == {"configured", "observed", "labelled", "closed"}
    labelled = next(line for line in lines if "labelled  " in line)
    assert " is 0, by simulated  predicted " in labelled or " is 1, by simulated" in labelled


def test_dead_letters_tell_reason_place_and_bytes(path: str) -> None:
    """A dead letter is told with where it stood, why, and its own bytes, escaped."""
    (line,) = shown(path, "dlq.events")
    assert "  events:0:600  message/not-json: " in line
    assert line.endswith("  no \\x1b[2J JSON")
    (found,) = objects(path, "dlq.events")
    assert base64.b64decode(found["value_base64"]) == b"no \x1b[2J JSON"


def test_json_has_every_record_whole(path: str) -> None:
    """As JSON, each record stands with place, key, headers and value as they are in the log."""
    found = objects(path, "predictions")
    with closing(open_log(Config(log=LogConfig(path=path)))) as log:
        records = list(log.read(TOPICS.predictions, 0))
    assert len(found) == len(records) == EVENTS
    for row, kept in zip(found, records, strict=True):
        assert (row["topic"], row["partition"], row["offset"]) == (kept.topic, 0, kept.offset)
        assert row["time"] == kept.time
        assert row["key"].encode() == kept.key
        assert row["headers"] == [
            {"name": name, "value": (value or b"").decode()} for name, value in kept.headers
        ]
        assert row["value"] == json.loads(kept.value or b"")


def test_limit_and_partition_choose(path: str, tmp_path: Path) -> None:
    """A limit ends it, a partition narrows it, the last are those of all; nonsense is refused."""
    assert [row["offset"] for row in objects(path, "events", "--limit", "3")] == [0, 1, 2]
    assert len(objects(path, "events", "--partition", "0")) == EVENTS + 1
    done = run("tail", "events", "--partition", "1", "--path", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: --partition: events has partitions 0 to 0, not 1\n"
    many = str(tmp_path / "many.db")
    with closing(SqliteLog(LogConfig(path=many, partitions=3), LoopConfig())) as log:
        writer = log.writer()
        for number in range(30):
            writer.send(Out("events", b"%d" % number, None, (), number % 3))
            writer.flush()
        writer.close()
    flags = ("--log-partitions", "3")
    assert [row["value"] for row in objects(many, "events", *flags)] == list(range(30))
    mine = objects(many, "events", "--partition", "2", *flags)
    assert [row["value"] for row in mine] == list(range(2, 30, 3))
    for count, narrow in ((4, ()), (2, ("--partition", "2")), (99, ())):
        kept = run("tail", "events", "--no-follow", "--path", many, *flags, *narrow)
        last = run("tail", "events", "--last", str(count), "--path", many, *flags, *narrow)
        assert last.stdout.splitlines() == kept.stdout.splitlines()[-count:] != []
    refused = run("tail", "events", "--last", "4", "--limit", "2", "--path", many)
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_full_names_do_as_well_and_unknown_ones_list_all(path: str) -> None:
    """A topic is found by its full name too; one that is not there is answered with all."""
    assert shown(path, "stream-al.labels") == shown(path, "labels")
    assert shown(path, "stream-al.dlq.events") == shown(path, "dlq.events")
    done = run("tail", "lables", "--path", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: lables: no such topic; there are events, stream-al.")


def test_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    """Looking at an embedded log that is not there makes none."""
    missing = tmp_path / "none.db"
    done = run("tail", "events", "--path", str(missing))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: --path: no file '{missing}' yet")
    assert not missing.exists()


def test_live_shows_what_comes_and_only_that(tmp_path: Path) -> None:
    """From the end, a tail shows later records at once, and ends at SIGINT without complaint."""
    path, enough = str(tmp_path / "a.db"), threading.Event()
    with closing(SqliteLog(LogConfig(path=path, partitions=2), LoopConfig())) as log:
        writer = log.writer()
        for number in range(4):
            writer.send(Out("events", b"%d" % number, None, (), number % 2))
        writer.flush()

        def write() -> None:
            for number in itertools.count(4):
                writer.send(Out("events", b"%d" % number, None, (), number % 2))
                if enough.wait(0.005):
                    return

        writing = threading.Thread(target=write)
        command = ("tail", "events", "--json", "--path", path, "--log-partitions", "2")
        with subprocess.Popen(
            [*PROCESS, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            writing.start()
            seen = [json.loads(process.stdout.readline())["value"] for _ in range(60)]
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
        enough.set()
        writing.join()
        writer.close()
    assert (process.returncode, told) == (130, "")
    assert min(seen) >= 4
    for parity in (0, 1):
        mine = [number for number in seen if number % 2 == parity]
        assert mine == list(range(mine[0], mine[-1] + 1, 2))


def test_from_the_beginning_goes_on_live(path: str) -> None:
    """From the beginning, what is kept comes first, and a limit ends what would go on."""
    done = run(*("tail", "events", "--from-beginning", "--limit", "5", "--json", "--path", path))
    assert done.exit_code == 0
    assert [json.loads(line)["offset"] for line in done.stdout.splitlines()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            record(TOPICS.labels, encode(Label(request_id="events:0:1", kind="skip"))),
            "events:0:1 cannot be told",
        ),
        *[
            (
                record(
                    TOPICS.labels,
                    encode(Label(request_id="e:0:1", label=label, kind=kind, comment="why")),
                ),
                f"e:0:1 {words}: why",
            )
            for kind, label, words in REMARKS
        ],
        (
            record(
                TOPICS.training,
                encode(
                    Flagged(
                        request_id="e:0:1",
                        annotator="eve",
                        annotator_kind="person",
                        answered_at=None,
                        correction="",
                        comment="cut off",
                    )
                ),
            ),
            "flagged  e:0:1, by eve: cut off",
        ),
        (
            record(TOPICS.training, encode(Voided(annotator="mallory", since=0.0, why="paid"))),
            "voided  answers of mallory since 1970-01-01T00:00:00.000Z: paid",
        ),
        (record(TOPICS.training, encode(Voided(by="eve"))), "voided  answers of everybody, by eve"),
        (
            record(
                TOPICS.labels,
                encode(Label(request_id="events:0:1", label=1, annotator="eve", weight=2)),
            ),
            "events:0:1 is 1, by eve, weight 2",
        ),
        (
            record(
                TOPICS.training,
                encode(Control(action="pause", until=3600.0, by="eve", why="lunch\n")),
            ),
            "control  pause until 1970-01-01T01:00:00.000Z, by eve: lunch\\n",
        ),
        (
            record(
                TOPICS.training,
                encode(
                    Closed(
                        request_id="e:0:1",
                        request_no=0,
                        topic="e",
                        partition=0,
                        offset=1,
                        reason="expired",
                        asked="policy",
                        model_version=1,
                        prediction=None,
                        probabilities={},
                        explored=False,
                        propensity=0.1,
                    )
                ),
            ),
            "closed  e:0:1  expired",
        ),
        (
            record(
                TOPICS.training,
                encode(
                    Unsolicited(
                        topic="l",
                        partition=0,
                        offset=1,
                        id="p1",
                        time=None,
                        features={"a": 1},
                        label="fraud",
                    )
                ),
            ),
            "unsolicited  l:0:1 id=p1 is fraud  1 feature",
        ),
        (record(TOPICS.ledger_state, None, (), b"events:0:1"), "events:0:1  deleted"),
        (record(TOPICS.predictions, b'{"topic": "e"}'), '{"topic": "e"}'),
        (record("other", b"\xff\x00" * 400, (), b"\x9b"), "\\x9b  \\xff\\x00"),
    ],
)
def test_words_of_what_a_short_run_does_not_write(made: Record, words: str) -> None:
    """Every kind of answer and of training record has words, and so have strangers."""
    line = text_line(made, TOPICS)
    assert line.startswith("1970-01-01T00:00:00.250Z 1@7  " + words)


def test_letters_about_anything_are_told() -> None:
    """A dead letter of a label tells its stage, and a cut one how large it is."""
    cause = Record("stream-al.labels", 2, 9, None, b"\x00" * 3_000_000, (), 1.0)
    out = dead_letter(cause, LogConfig(), "label", "too-large", "3000000 bytes")
    line = text_line(record(out.topic, out.value, out.headers), TOPICS)
    assert "  stream-al.labels:2:9  label/too-large: 3000000 bytes  \\x00" in line
    assert line.endswith("… (65536 bytes)")


HEADERS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=12)), max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    JSON.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode()),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    topic=st.sampled_from([*(TOPICS.__struct_fields__), "any"]),
    key=st.none() | st.binary(max_size=20),
    value=VALUES,
    headers=HEADERS,
    moment=st.floats(-1e18, 1e18),
)
def test_whatever_a_record_holds_is_one_line_that_prints(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers, moment: float
) -> None:
    """No bytes in key, value or headers reach a terminal raw, and all come back out of the JSON."""
    name = getattr(TOPICS, topic, topic)
    made = Record(name, 0, 1, key, value, tuple(headers), moment)
    assert text_line(made, TOPICS).isprintable()
    line = json_line(made)
    assert line.isprintable()
    found = json.loads(line)
    assert _bytes(found, "key") == key
    assert [(h["name"], _bytes(h, "value")) for h in found["headers"]] == list(headers)
    if found.get("value") is None:
        assert _bytes(found, "value") == value
    else:
        assert found["value"] == json.loads(value or b"")


def _bytes(found: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_base64" in found:
        return base64.b64decode(found[f"{name}_base64"])
    return None if found[name] is None else str(found[name]).encode()


def test_deep_and_broken_json_is_shown_as_bytes() -> None:
    """A value that no reader of JSON takes is base64, however it is broken."""
    for value in (b"[" * 100_000, b'{"a": 1} 2', b'"\xff"', b"null", b""):
        found = json.loads(json_line(record("any", value)))
        assert base64.b64decode(found["value_base64"]) == value
        assert "value" not in found


def test_numbers_are_shown_as_they_are_written() -> None:
    """No digit of a number in a value is lost on the way to the JSON line."""
    value = b'{"a": 12345678901234567890123, "b": 0.1000, "c": 1e400}'
    assert '"value":{"a":12345678901234567890123,"b":0.1000,"c":1e400}' in json_line(
        record("any", value)
    )


def test_prediction_without_a_class_is_told() -> None:
    """Before any class is known a prediction says so."""
    empty: dict[str, Any] = dict.fromkeys(Prediction.__struct_fields__, 0)
    empty |= {"topic": "e", "id": "", "prediction": None, "probabilities": {}, "action": "ask"}
    empty |= {"reason": "explore", "explored": True, "fold_id": "", "digest": ""}
    empty |= {"config_hash": "", "time": None, "batch_time": None, "weighed": None}
    line = text_line(record(TOPICS.predictions, encode(empty)), TOPICS)
    assert "  e:0:0  no class known  ask (explore)  score 0.000" in line


@pytest.fixture
def kafka_log(kafka_brokers: str) -> Iterator[tuple[Log, LogConfig]]:
    """Give a log on a real Kafka, with topics of its own."""
    name = f"tail-{uuid.uuid4().hex}"
    config = LogConfig(
        driver="kafka", brokers=kafka_brokers, name=name, events=name, instance="a", partitions=2
    )
    with closing(open_log(Config(log=config))) as log:
        log.create(specs(config))
        yield log, config


def test_kafka_is_shown_kept_and_live(kafka_log: tuple[Log, LogConfig]) -> None:
    """On Kafka both ways of reading show every record of all partitions once."""
    log, config = kafka_log
    writer = log.writer()
    for number in range(40):
        writer.send(Out(config.events, b"%d" % number, None, (), number % 2))
    writer.flush()
    flags = (
        *("--driver", "kafka", "--brokers", config.brokers, "--name", config.name),
        *("--events-topic", config.events, "--instance", "a", "--json"),
    )
    kept = run("tail", "events", "--no-follow", *flags)
    live = run("tail", "events", "--from-beginning", "--limit", "40", *flags)
    writer.close()
    for done in (kept, live):
        assert done.exit_code == 0, done.stderr
        found = [json.loads(line)["value"] for line in done.stdout.splitlines()]
        assert sorted(found) == list(range(40))
    last = run("tail", "events", "--last", "5", *flags)
    assert last.stdout.splitlines() == kept.stdout.splitlines()[-5:]
