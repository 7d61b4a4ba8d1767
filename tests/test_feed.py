"""Feeding a recorded stream: what goes out, when, exactly once, and how it is interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumers.annotator import Truths
from consumers.clock import Clock
from consumers.drivers import open_log
from consumers.errors import StopError
from consumers.feed import Feed, Pace, Schedule, message
from consumers.log import Log, Record
from consumers.messages import MessageReader
from consumers.sqlite import SqliteLog
from consumers.topics import specs
from stream_al.cli.app import application
from stream_al.config import Config, LogConfig, LoopConfig, MessageConfig, SourceConfig
from stream_al.errors import ConfigError, InputError
from stream_al.partitioner import partition_for
from stream_al.records import Event
from stream_al.replay.sources import Row, Source, open_source

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")
CSV = "id,at,card,amount,fraud\n" + "".join(
    f"e{n},{n * 10},{n % 3},{n}.5,{n % 2}\n" for n in range(20)
)


class Stepping(Clock):
    """A clock that moves when somebody sleeps."""

    def __init__(self, slept: Callable[[], object] = lambda: None) -> None:
        self.time = 0.0
        self.slept = slept

    def now(self) -> float:
        """Return this clock's time."""
        return self.time

    def monotonic(self) -> float:
        """Return this clock's time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move."""
        self.time += seconds
        self.slept()


@pytest.fixture
def log() -> Iterator[SqliteLog]:
    """Give an embedded log in memory, with 3 partitions."""
    with closing(SqliteLog(LogConfig(path=":memory:", partitions=3), LoopConfig())) as opened:
        yield opened


def cards(count: int) -> Source:
    """Generate card payments."""
    return open_source(f"cards:{count}", SourceConfig())


def rows(count: int, key: bytes | None = b"k") -> list[Row]:
    """Make rows that are told apart by their one feature."""
    return [
        Row(Event(offset=n, features={"n": n}, key=key, time=float(n)), "1", n + 1)
        for n in range(count)
    ]


def stored(log: Log, topic: str = "events") -> list[Record]:
    """Read all of a topic, partition by partition."""
    partitions = log.topics()[topic].partitions
    return [record for number in range(partitions) for record in log.read(topic, number)]


def numbers(log: Log) -> list[int]:
    """Read the feature of all events."""
    return [json.loads(record.value or b"")["n"] for record in stored(log)]


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments)


def test_messages_read_back_as_the_events_without_their_labels(log: SqliteLog) -> None:
    """A gate reads each message as the recorded event: features, id, key, time, and no label."""
    source = cards(200)
    writer = log.writer()
    Feed(writer, "events", 3, source.name, Pace(), Clock()).run(source.rows())
    writer.close()
    reader = MessageReader(MessageConfig())
    found = {event.id: event for event in map(reader.read, stored(log))}
    assert len(found) == 200
    for row in source.rows():
        event = found[row.event.id]
        assert event.features == row.event.features
        assert "label" not in event.features
        assert event.key == row.event.key
        assert event.time == pytest.approx(row.event.time, abs=1e-6)
        assert event.partition == partition_for(row.event.key or b"", 3)


def test_headers_are_those_of_a_cloud_event() -> None:
    """Id, time, type and source of a message stand in headers, in binary mode."""
    row = Row(Event(offset=3, features={"a": "b"}, id="x", time=1.5, key=b"k"), "1", 1)
    out = message(row, 9, "events", 4, "dir/a b.csv")
    assert dict(out.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_type": b"io.stream-al.event",
        "ce_source": b"/feed/dir/a%20b.csv/event",
        "ce_id": b"x",
        "ce_time": b"1970-01-01T00:00:01.500000Z",
    }
    assert (out.key, out.partition) == (b"k", None)
    timeless = Row(Event(offset=0, features={}), "1", 1)
    assert "ce_time" not in dict(message(timeless, 0, "events", 1, "s").headers)


def test_ids_are_those_by_which_the_annotator_knows_the_truth(tmp_path: Path) -> None:
    """Without a column of ids, messages carry the number by which truths are looked up."""
    file = tmp_path / "a.csv"
    file.write_text("a,label\n1,x\nbad,y\n3,z\n")
    source = open_source(str(file), SourceConfig(on_error="skip"))
    ids = [
        dict(message(row, number, "events", 1, "s").headers)["ce_id"].decode()  # type: ignore[union-attr]
        for number, row in enumerate(source.rows())
    ]
    truths = Truths(source).by_id
    assert [truths[name][1] for name in ids] == ["x", "z"]


def test_events_without_a_key_go_round_robin() -> None:
    """Where there is no key the row's number chooses the partition, whatever was fed before."""
    keyless = rows(7, key=None)
    chosen = [message(row, n, "events", 3, "s").partition for n, row in enumerate(keyless)]
    assert chosen == [0, 1, 2, 0, 1, 2, 0]


def test_time_beyond_the_calendar_names_the_line() -> None:
    """Milliseconds taken for seconds are refused with source and line."""
    row = Row(Event(offset=0, features={}, time=1.7e12), "1", 5)
    with pytest.raises(InputError, match=r"^a\.csv, line 5: time 17000.*expected epoch seconds"):
        message(row, 0, "events", 1, "a.csv")


def test_rate_is_kept_and_long_pauses_are_not_caught_up_with() -> None:
    """Events go out evenly, small delays are made up for, and no burst follows a long one."""
    schedule, now, sent = Schedule(Pace(rate=10)), 0.0, []
    for number in range(40):
        now += {10: 0.35, 20: 60.0}.get(number, 0.0)
        now += schedule.wait_s(None, now)
        sent.append(now)
    assert sent[9] == pytest.approx(0.9)
    assert sent[15] == pytest.approx(1.5)
    assert sent[39] - sent[20] == pytest.approx(1.9)


def test_own_timing_is_played_faster_and_backward_steps_wait_for_nothing(log: SqliteLog) -> None:
    """With a speed of 10 a stream of 19 seconds takes 1.9, measured by the clock that sleeps."""
    clock, writer = Stepping(), log.writer()
    stream = rows(20)
    stream[7], stream[12] = stream[12], stream[7]
    Feed(writer, "events", 3, "s", Pace(speed=10), clock).run(stream)
    writer.close()
    assert clock.time == pytest.approx(1.9)
    assert sorted(numbers(log)) == list(range(20))


def test_own_timing_needs_times(log: SqliteLog) -> None:
    """A stream without times cannot be played with its own timing, and the error says the flag."""
    writer = log.writer()
    feed = Feed(writer, "events", 3, "s", Pace(speed=1), Stepping())
    with pytest.raises(ConfigError, match="--time"):
        feed.run([Row(Event(offset=0, features={}), "1", 1)])
    writer.close()


@pytest.mark.parametrize("seed", range(5))
def test_interrupted_feeds_go_on_without_loss_or_double(log: SqliteLog, seed: int) -> None:
    """However often a feed is stopped, going on with what it said gives each event once."""
    rng = random.Random(seed)
    stream, skip, rounds = rows(500), 0, 0
    while skip < 500:
        left = rng.randrange(1, 200)
        clock = Stepping()

        def stopped(most: int = left, clock: Stepping = clock) -> bool:
            return clock.time >= most

        writer = log.writer()
        feed = Feed(writer, "events", 3, "s", Pace(rate=1), clock, stopped)
        feed.run(iter(stream), skip)
        writer.close()
        assert feed.next == skip + feed.sent
        skip, rounds = feed.next, rounds + 1
    assert rounds > 1, f"seed {seed}"
    assert numbers(log) == list(range(500))


def test_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    """While the log refuses to store, the feed says so and tries again until it can."""
    with closing(SqliteLog(LogConfig(path=str(tmp_path / "a.db")), LoopConfig())) as log:
        log.limit_pages(60)
        told: list[str] = []

        def make_room() -> None:
            if len(told) == 2:
                log.limit_pages(None)

        writer = log.writer()
        feed = Feed(writer, "events", 1, "s", Pace(), Stepping(make_room), notify=told.append)
        feed.run(rows(6000))
        writer.close()
        assert numbers(log) == list(range(6000))
    assert len(told) == 2
    assert told[0].endswith("full; trying again in 0.1 s")


def test_stop_is_heard_while_the_log_refuses(tmp_path: Path) -> None:
    """A feed that waits for a full disk can be ended, and claims no more than is stored."""
    with closing(SqliteLog(LogConfig(path=str(tmp_path / "a.db")), LoopConfig())) as log:
        log.limit_pages(60)
        clock = Stepping()
        writer = log.writer()
        feed = Feed(writer, "events", 1, "s", Pace(), clock, lambda: clock.time > 3)
        feed.run(rows(6000))
        log.limit_pages(None)
        kept = numbers(log)
        writer.close()
    assert feed.next <= len(kept) < 6000
    assert kept == list(range(len(kept)))


def test_too_large_an_event_names_its_line_and_keeps_those_before(log: SqliteLog) -> None:
    """What the log does not take is refused with its line; the feed knows what it has stored."""
    stream = rows(3)
    stream[2] = Row(Event(offset=2, features={"text": "x" * 2_000_000}), "1", 3)
    writer = log.writer()
    feed = Feed(writer, "events", 3, "a.csv", Pace(), Clock())
    with pytest.raises(InputError, match=r"^a\.csv, line 3: a record of 2\d{6} bytes"):
        feed.run(stream)
    assert (feed.next, numbers(log)) == (2, [0, 1])
    writer.close()


def test_bad_row_leaves_those_before_stored(log: SqliteLog) -> None:
    """Where the stream itself breaks off, what was fed before is stored and counted."""

    def broken() -> Iterator[Row]:
        yield from rows(5)
        raise InputError("no number", "a.csv", 6)

    writer = log.writer()
    feed = Feed(writer, "events", 3, "a.csv", Pace(), Clock())
    with pytest.raises(InputError, match="line 6"):
        feed.run(broken())
    assert (feed.next, numbers(log)) == (5, [0, 1, 2, 3, 4])
    writer.close()


def test_leaving_out_more_than_there_is_is_a_mistake(log: SqliteLog) -> None:
    """Skipping beyond the end is refused; skipping to the end is not."""
    writer = log.writer()
    feed = Feed(writer, "events", 3, "a.csv", Pace(), Clock())
    feed.run(rows(5), skip=5)
    with pytest.raises(ConfigError, match=r"a\.csv has 5 events, not 6"):
        feed.run(rows(5), skip=6)
    writer.close()


def test_progress_adds_up(log: SqliteLog) -> None:
    """What is told of progress adds up to all rows, and is told about once a second."""
    steps: list[int] = []
    writer = log.writer()
    Feed(writer, "events", 3, "s", Pace(rate=4), Stepping()).run(rows(40), 0, steps.append)
    writer.close()
    assert sum(steps) == 40
    assert len(steps) in (10, 11)


def test_command_feeds_a_file(tmp_path: Path) -> None:
    """The command plays a file by its columns and reports as JSON on standard output."""
    file, path = tmp_path / "a.csv", tmp_path / "a.db"
    file.write_text(CSV)
    columns = ("--label", "fraud", "--id", "id", "--time", "at", "--key", "card")
    done = run(
        *("feed", str(file), "--path", str(path), *columns, "--skip", "4", "--limit", "15"),
        *("--log-partitions", "2", "--json"),
    )
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("seconds") >= 0
    assert told == {
        "source": str(file),
        "topic": "events",
        "events": 11,
        "next": 15,
        "complete": True,
        "skipped": {},
    }
    assert done.stderr.startswith("fed 11 events into 'events' in ")
    with closing(open_log(Config(log=LogConfig(path=str(path), partitions=2)))) as log:
        found = stored(log)
        assert {dict(record.headers)["ce_id"] for record in found} == {
            f"e{n}".encode() for n in range(4, 15)
        }
        assert all(set(json.loads(record.value or b"")) == {"amount"} for record in found)
        assert {record.key for record in found} == {b"0", b"1", b"2"}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "line"),
    [
        (["--rate", "5", "--speed", "1x"], 2, "error: --speed: expected one of --rate and --speed"),
        (["--rate", "0"], 2, "error: Invalid value for '--rate'"),
        (["--speed", "fast"], 2, "error: Invalid value for '--speed': 'fast' is no speed"),
        (["--speed", "-1x"], 2, "error: Invalid value for '--speed': '-1x' is no speed"),
        (["--topic", "none"], 5, "error: no topic 'none': `stream-al doctor --fix`"),
        (["--skip", "30"], 2, "error: --skip: cards:20 has 20 events, not 30"),
    ],
)
def test_wrong_flags_are_one_line(
    tmp_path: Path, arguments: list[str], exit_code: int, line: str
) -> None:
    """What is wrong with a feed's flags is one line with its exit code."""
    done = run("feed", "cards:20", "--path", str(tmp_path / "a.db"), *arguments)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    (told,) = done.stderr.splitlines()
    assert told.startswith(line)


def test_bad_row_says_how_to_go_on(tmp_path: Path) -> None:
    """A command that ends at a bad row says how many events are stored, and exits with 3."""
    file = tmp_path / "a.csv"
    file.write_text("a,label\n1,x\n2,x\noops,x\n")
    done = run("feed", str(file), "--path", str(tmp_path / "a.db"))
    assert done.exit_code == 3
    assert done.stderr.splitlines()[0] == "stored for sure: 2 events; go on with --skip 2"
    assert done.stderr.splitlines()[1].startswith(f"error: {file}, line 4, column 'a'")


def started(*arguments: str) -> subprocess.Popen[str]:
    """Start a command line as a process of its own."""
    return subprocess.Popen(
        [*PROCESS, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_events(path: Path, least: int) -> None:
    """Wait until an embedded log holds so many events."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if path.exists():
            with closing(open_log(Config(log=LogConfig(path=str(path))))) as log:
                if log.bounds("events", 0).end >= least:
                    return
        time.sleep(0.05)
    raise AssertionError(f"no {least} events in time")


def test_interrupt_ends_between_events_and_the_rest_follows(tmp_path: Path) -> None:
    """SIGINT ends with 130 and says how to go on; going on completes the stream exactly."""
    path = tmp_path / "a.db"
    with started("feed", "cards:1000", "--rate", "400", "--path", str(path)) as process:
        await_events(path, 20)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    skip = told.splitlines()[-1].removeprefix("interrupted; go on with --skip ")
    assert 20 <= int(skip) < 1000
    done = run("feed", "cards:1000", "--skip", skip, "--path", str(path))
    assert done.exit_code == 0, done.stderr
    with closing(open_log(Config(log=LogConfig(path=str(path))))) as log:
        ids = [dict(record.headers)["ce_id"] for record in stored(log)]
    assert ids == [row.event.id.encode() for row in cards(1000).rows()]


def test_interrupt_is_heard_while_standard_input_is_silent(tmp_path: Path) -> None:
    """A feed that waits for a pipe ends at the first SIGINT, with what came before stored."""
    path = tmp_path / "a.db"
    with started("feed", "-", "--path", str(path)) as process:
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"a,label\n" + b"1,x\n" * 5)
        await_events(path, 5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "interrupted; go on with --skip 5"


def test_kafka_places_events_as_keys_say(kafka_brokers: str) -> None:
    """Fed into Kafka, events stand where Java's partitioner puts them, in order, each once."""
    name = f"feed-{uuid.uuid4().hex}"
    config = LogConfig(
        driver="kafka", brokers=kafka_brokers, name=name, events=name, instance="a", partitions=3
    )
    with closing(open_log(Config(log=config))) as log:
        with pytest.raises(StopError, match=name):
            log.bounds(name, 0)
        log.create(specs(config))
        flags = ("--driver", "kafka", "--brokers", kafka_brokers, "--instance", "a")
        done = run("feed", "cards:500", *flags, "--name", name, "--events-topic", name)
        assert done.exit_code == 0, done.stderr
        found = stored(log, name)
    assert len(found) == 500
    for number in range(3):
        mine = [record for record in found if record.partition == number]
        expected = [
            row.event.id.encode()
            for row in islice(cards(500).rows(), 500)
            if partition_for(row.event.key or b"", 3) == number
        ]
        assert [dict(record.headers)["ce_id"] for record in mine] == expected
