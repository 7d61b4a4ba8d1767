"""What only the embedded log has: a file, leases, retention, full disks, processes on one host."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumers.errors import AbortError, RebuildError, RetryError, StopError
from consumers.log import Log, Member, Out, Partition, Record, TopicSpec
from consumers.sqlite import SqliteLog
from consumers.topics import specs
from stream_al.config import LogConfig, LoopConfig
from stream_al.errors import ConfigError

EVENTS = Partition("events", 0)
OUT = "stream-al.predictions"
STATE = "stream-al.ledger-state"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "log.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteLog]]:
    """Open logs on that file, closed with the test."""
    logs: list[SqliteLog] = []

    def open_log(session_s: float = 10.0, commit_s: float = 10.0, **log: Any) -> SqliteLog:
        loop = LoopConfig(session_timeout_s=session_s, commit_timeout_s=commit_s)
        logs.append(SqliteLog(LogConfig(**{"path": str(path), **log}), loop))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def feed(log: Log, count: int, size: int = 10, topic: str = "events") -> None:
    """Write numbered records."""
    with closing(log.writer()) as writer:
        for number in range(count):
            writer.send(Out(topic, (b"%d" % number).ljust(size), partition=0))


def active(log: Log, role: str = "gate") -> Member:
    """Open a member that becomes active at once, and reads from what is committed."""
    member = log.member(role, ["events"])
    assert member.poll(0.0, 1).gained
    member.seek({EVENTS: member.committed([EVENTS])[EVENTS] or 0})
    return member


def offsets(log: Log, topic: str, partition: int = 0) -> list[int]:
    """Return the offsets that records stand at."""
    return [record.offset for record in log.read(topic, partition)]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others from writing, as a process that was stopped inside a commit does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> float:
    """Wait until it holds, and tell how long that took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < timeout_s
        time.sleep(0.01)
    return time.monotonic() - begun


def test_transactions_burn_an_offset_and_writers_do_not(
    opened: Callable[..., SqliteLog],
) -> None:
    """A commit leaves one offset empty in each partition that it wrote to; a writer leaves none."""
    log = opened(partitions=2)
    feed(log, 3)
    with closing(active(log)) as member:
        for number in (1, 2):
            member.send([Out(OUT, b"x", partition=0) for _ in range(number)])
            member.commit({EVENTS: number})
    assert offsets(log, "events") == [0, 1, 2]
    assert offsets(log, OUT) == [0, 2, 3]
    assert (log.bounds(OUT, 0).end, log.bounds(OUT, 1).end) == (5, 0)


def test_opening_makes_the_topics(opened: Callable[..., SqliteLog]) -> None:
    """A new file has every topic of the configuration, and one opened again keeps them."""
    log = opened(partitions=3, name="fraud")
    expected = {spec.name: (spec.partitions, spec.settings) for spec in specs(log._config)}
    for each in (log, opened(partitions=1, name="fraud")):
        found = each.topics()
        assert {name: (i.partitions, i.settings) for name, i in found.items()} == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(random.Random(1).randbytes(20_000)),
        lambda path: path.write_text("events\n" * 1000),
        lambda path: path.mkdir(),
        lambda path: _run(path, "CREATE TABLE users (id INTEGER)"),
        lambda path: _run(path, "PRAGMA application_id = 77"),
        lambda path: _run(path, "PRAGMA user_version = 3"),
    ],
    ids=["random", "text", "folder", "another program's", "another's id", "another's version"],
)
def test_foreign_file_is_refused_and_left_alone(
    path: Path, opened: Callable[..., SqliteLog], damage: Callable[[Path], None]
) -> None:
    """What is no log is a configuration error that names the file, and is not written to."""
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigError, match="log.path: .*log.db"):
        opened()
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_newer_schema_is_refused(path: Path, opened: Callable[..., SqliteLog]) -> None:
    """A file of a later version of the schema is named as such, not guessed at."""
    opened().close()
    _run(path, "PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        opened()


def test_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    """A path in a folder that is not there says so at the start."""
    config = LogConfig(path=str(tmp_path / "nowhere" / "log.db"))
    with pytest.raises(ConfigError, match="nowhere"):
        SqliteLog(config, LoopConfig())


def test_locked_file_may_be_tried_again(path: Path, opened: Callable[..., SqliteLog]) -> None:
    """A file that another process has locked is no configuration error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryError, match="locked"):
            opened(commit_s=0.2)
    opened()


def test_second_instance_waits_until_the_first_is_silent(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Another instance gets nothing while the first lives, and everything once it was killed."""
    session_s = 1.0
    with _process(path, "hold", "one", str(session_s)) as holder:
        assert _line(holder) == "active"
        second = opened(session_s, instance="two").member("gate", ["events"])
        # Longer than a session: signs of life are what counts, not polls.
        end = time.monotonic() + 1.5 * session_s
        while time.monotonic() < end:
            batch = second.poll(0.2, 10)
            assert (list(batch.records), batch.assigned, batch.stable) == ([], frozenset(), True)
        holder.kill()
        took_s = until(lambda: bool(second.poll(0.05, 10).gained))
        assert took_s < session_s + 0.5
    second.close()


def test_lease_that_was_taken_by_another_instance(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Whoever slept past its lease finds it taken: rebuild, wait, and commit nothing."""
    session_s = 0.5
    with _process(path, "commit", "one", str(session_s)) as holder:
        assert _line(holder) == "active"
        os.kill(holder.pid, signal.SIGSTOP)
        log = opened(session_s, instance="two")
        second = log.member("gate", ["events"])
        until(lambda: bool(second.poll(0.05, 10).gained))
        os.kill(holder.pid, signal.SIGCONT)
        assert _line(holder) == "RebuildError"
        assert _line(holder) == "assigned 0"
    assert second.committed([EVENTS]) == {EVENTS: None}
    assert offsets(log, OUT) == []
    second.close()


def test_lease_that_ran_out_and_that_nobody_took(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Without a rival a member that could show no sign of life for long goes on."""
    log = opened(session_s=0.2, instance="one")
    member = active(log)
    with locked(path):
        time.sleep(0.5)
    member.commit({EVENTS: 1})
    assert member.committed([EVENTS]) == {EVENTS: 1}
    member.close()


def test_same_instance_takes_over_at_once(opened: Callable[..., SqliteLog]) -> None:
    """Opened again, an instance is active at once; the older one must stop, and says why."""
    older = active(opened(instance="one"))
    newer = active(opened(instance="one"))
    older.send([Out(OUT, b"older")])
    for call in (lambda: older.commit({EVENTS: 1}), lambda: older.poll(0.0, 1)):
        with pytest.raises(StopError, match=r"another process has taken .* instance 'one'"):
            call()
    newer.commit({EVENTS: 1})
    older.close()
    assert newer.poll(0.0, 1).assigned == {EVENTS}
    newer.close()


def test_member_without_a_name_gives_its_seat_up(opened: Callable[..., SqliteLog]) -> None:
    """Two processes without names do not fence each other; the second follows a close at once."""
    first = active(opened())
    second = opened().member("gate", ["events"])
    assert not second.poll(0.2, 10).assigned
    first.commit({EVENTS: 1})
    first.close()
    assert until(lambda: bool(second.poll(0.05, 10).gained)) < 1.0
    second.close()


def test_commit_before_any_poll_is_refused(opened: Callable[..., SqliteLog]) -> None:
    """A member that was given nothing has nothing to commit."""
    with closing(opened().member("gate", ["events"])) as member:
        with pytest.raises(RebuildError, match="active"):
            member.commit({EVENTS: 1})
        assert member.poll(0.0, 1).gained
        assert member.committed([EVENTS]) == {EVENTS: None}


def test_full_disk_aborts_and_the_member_goes_on(opened: Callable[..., SqliteLog]) -> None:
    """On a full disk nothing of a commit is stored; with room again the same member commits."""
    log = opened()
    feed(log, 5)
    member = active(log)
    assert len(member.poll(1.0, 10).records) == 5
    log.limit_pages(1)
    for _ in range(3):
        member.send([Out(OUT, bytes(100_000)) for _ in range(3)])
        with pytest.raises(AbortError, match="full"):
            member.commit({EVENTS: 5})
        member.abort()
        assert member.committed([EVENTS]) == {EVENTS: None}
        assert log.bounds(OUT, 0) == (0, 0, 0)
    log.limit_pages(None)
    member.seek({EVENTS: 0})
    assert len(member.poll(1.0, 10).records) == 5
    member.send([Out(OUT, bytes(100_000))])
    member.commit({EVENTS: 5})
    assert offsets(log, OUT) == [0]
    member.close()


def test_full_disk_keeps_what_a_writer_holds(opened: Callable[..., SqliteLog]) -> None:
    """What a writer could not store it stores later, in order and once."""
    log = opened()
    log.limit_pages(1)
    writer = log.writer()
    for number in range(100):
        writer.send(Out("events", b"%d" % number + bytes(10_000)))
    with pytest.raises(RetryError, match="full"):
        writer.flush()
    writer.send(Out("events", b"100"))
    log.limit_pages(None)
    writer.close()
    found = [int((record.value or b"").rstrip(b"\0")) for record in log.read("events", 0)]
    assert found == list(range(101))


def test_retention_makes_room_on_a_full_disk(opened: Callable[..., SqliteLog]) -> None:
    """What retention frees is written to again, so that a file at its limit lives on."""
    log = opened(retain_bytes=200_000)
    feed(log, 400, size=1000)
    log.limit_pages(1)
    for _ in range(10):
        feed(log, 50, size=1000)
    assert log.bounds("events", 0).end == 900


def test_locked_file_is_waited_for_within_bounds(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """While another process holds the file, a commit aborts and a writer asks to be called again."""
    log = opened(commit_s=0.4)
    feed(log, 1)
    member, writer = active(log), log.writer()
    with locked(path):
        begun = time.monotonic()
        member.send([Out(OUT, b"one")])
        with pytest.raises(AbortError, match="locked"):
            member.commit({EVENTS: 1})
        assert 0.1 < time.monotonic() - begun < 2.0
        # Readers are not in a writer's way, nor it in theirs.
        assert len(member.poll(1.0, 10).records) == 1
        writer.send(Out("events", b"two"))
        with pytest.raises(RetryError):
            writer.flush()
    member.commit({EVENTS: 1})
    writer.close()
    assert offsets(log, OUT) == [0]
    assert len(offsets(log, "events")) == 2
    member.close()


def test_retention_by_bytes(path: Path, opened: Callable[..., SqliteLog]) -> None:
    """A partition keeps about so many bytes, the newest; training and states keep everything."""
    log = opened(retain_bytes=100_000, partitions=2)
    with closing(log.writer()) as writer:
        for number in range(6000):
            writer.send(Out("events", bytes(500), partition=number % 2))
            writer.send(Out("stream-al.training", bytes(50), partition=0))
            writer.send(Out(STATE, bytes(50), key=b"%d" % number, partition=0))
            if not number % 100:
                writer.flush()
    for number in range(2):
        bounds, kept = log.bounds("events", number), offsets(log, "events", number)
        assert bounds.end == 3000
        assert kept == list(range(bounds.beginning, 3000))
        assert 100_000 - 500 <= 500 * len(kept) <= 112_500 + 50 * 500
    assert len(offsets(log, "stream-al.training")) == 6000
    assert len(offsets(log, STATE)) == 6000
    assert path.stat().st_size < 4_000_000


def test_readers_that_retention_overtook_stop(opened: Callable[..., SqliteLog]) -> None:
    """A member or tail whose next record was deleted stops and names the setting."""
    log = opened(retain_bytes=10_000)
    feed(log, 10, size=1000)
    member, tail = active(log), log.tail("events", 0, 0)
    feed(log, 100, size=1000)
    for poll in (member.poll, tail.poll):
        with pytest.raises(StopError, match=r"next offset to be read is 0.*log\.retain_bytes"):
            poll(0.0, 10)
    beginning = log.bounds("events", 0).beginning
    member.seek({EVENTS: beginning})
    assert member.poll(0.0, 1).records[0].offset == beginning
    member.close()
    tail.close()


def test_compacted_topics_hold_one_record_a_key(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Replaced records are deleted at once, and tombstones once their time has passed."""
    log = opened()
    terms = {"cleanup.policy": "compact"}
    log.create(
        [
            TopicSpec("kept", 1, terms),
            TopicSpec("gone", 1, {**terms, "delete.retention.ms": "0"}),
        ]
    )
    member = active(log)
    for turn in range(50):
        for topic in ("kept", "gone"):
            member.send([Out(topic, b"%d" % turn, b"%d" % (n % 10)) for n in range(30)])
            member.send([Out(topic, b"open", b"r%d" % turn), Out(topic, None, b"r%d" % (turn - 1))])
        member.commit({EVENTS: turn + 1})
    for topic, tombstones in (("kept", 49), ("gone", 2)):
        found = list(log.read(topic, 0))
        live = {r.key: r.value for r in found if r.value is not None}
        assert live == {**{b"%d" % n: b"49" for n in range(10)}, b"r49": b"open"}
        assert len([r for r in found if r.value is not None]) == len(live)
        assert sum(r.value is None for r in found) <= tombstones + 1
    member.close()
    with closing(sqlite3.connect(path)) as connection:
        (keys,) = connection.execute("SELECT count(*) FROM newest").fetchone()
    assert keys <= 11 + 50 + 11 + 3


def test_position_of_another_log_stops(opened: Callable[..., SqliteLog]) -> None:
    """A position past the end means that the file was replaced: no silent wait for it to grow."""
    log = opened()
    feed(log, 3)
    with closing(active(log)) as member:
        member.seek({EVENTS: 4})
        with pytest.raises(StopError, match="ends at 3"):
            member.poll(0.0, 10)


def test_large_records_are_polled_in_small_portions(opened: Callable[..., SqliteLog]) -> None:
    """A poll stops at 16 MiB, whatever number of records it may take."""
    log = opened()
    feed(log, 40, size=1_000_000)
    with closing(active(log)) as member:
        found = [len(member.poll(1.0, 2000).records) for _ in range(3)]
    assert found == [17, 17, 6]


def test_records_of_a_writer_are_seen_without_a_flush(opened: Callable[..., SqliteLog]) -> None:
    """What a writer was given is stored soon, though nobody calls it again."""
    log = opened()
    with closing(log.writer()) as writer, closing(log.tail("events", 0, 0)) as tail:
        for number in range(3):
            writer.send(Out("events", b"%d" % number))
            assert [record.value for record in tail.poll(5.0, 10)] == [b"%d" % number]


def test_closing_a_writer_always_ends(opened: Callable[..., SqliteLog]) -> None:
    """Closed at any moment around its thread's store, a writer stores everything and ends."""
    log = opened(path=":memory:")
    rng = random.Random(7)
    for _ in range(150):
        writer = log.writer()
        writer.send(Out("events", b"one"))
        time.sleep(rng.choice([0.0, 0.004, 0.005, 0.006]))
        writer.close()
    assert len(offsets(log, "events")) == 150


def test_threads_share_a_log_in_memory(opened: Callable[..., SqliteLog]) -> None:
    """Writers, members and tails in threads of one process lose and double nothing."""
    log = opened(path=":memory:", instance="one")
    total = 3000
    copied: list[Record] = []

    def copy() -> None:
        with closing(active(log)) as member:
            position = 0
            while position < total:
                records = member.poll(1.0, 200).records
                if records:
                    position = records[-1].offset + 1
                    member.send([Out(OUT, record.value) for record in records])
                    member.commit({EVENTS: position})

    def follow() -> None:
        with closing(log.tail(OUT, 0, 0)) as tail:
            while len(copied) < total:
                copied.extend(tail.poll(1.0, 500))

    threads = [threading.Thread(target=each, daemon=True) for each in (copy, follow)]
    for thread in threads:
        thread.start()
    feed(log, total, size=1)
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive()
    assert [record.value for record in copied] == [b"%d" % n for n in range(total)]


def test_processes_that_open_a_new_file_together(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Whoever comes first makes the file; all of them find it whole."""
    processes = [_start(path, "open", f"p{n}", "5") for n in range(4)]
    try:
        assert [_line(process) for process in processes] == ["11 topics"] * 4
    finally:
        for process in processes:
            _end(process)
    assert len(opened().topics()) == 11


def test_records_of_another_process_are_noticed_soon(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """A tail that waits is given another process's record within some tens of milliseconds."""
    log = opened()
    late: list[float] = []
    with _process(path, "feed", "feeder", "5"), closing(log.tail("events", 0, 0)) as tail:
        while len(late) < 20:
            records = tail.poll(5.0, 100)
            late += [time.time() - float(record.value or b"nan") for record in records]
    assert sorted(late)[10] < 0.1


def test_waiting_costs_next_to_nothing(opened: Callable[..., SqliteLog]) -> None:
    """A member that waits for records takes a few percent of one core at most."""
    with closing(active(opened())) as member:
        begun = time.process_time()
        assert not member.poll(1.0, 10).records
        assert time.process_time() - begun < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_all_or_nothing_is_there(
    path: Path, opened: Callable[..., SqliteLog], seed: int
) -> None:
    """Killed at any moment, a process leaves whole transactions: outputs, state and offset agree."""
    rng = random.Random(seed)
    log = opened(instance="checker")
    feed(log, 5000)
    for _ in range(3):
        with _process(path, "churn", "one", "5") as process:
            assert _line(process) == "active"
            time.sleep(rng.uniform(0.0, 0.25))
            process.kill()
        with closing(opened(instance="one").member("gate", ["events"])) as member:
            committed = member.committed([EVENTS])[EVENTS] or 0
        values = [int(record.value or b"nan") for record in log.read(OUT, 0)]
        assert values == list(range(committed)), f"seed {seed}"
        last = log.last(STATE, 0)
        assert int(last.value or b"nan") == committed if last else committed == 0
    assert committed > 0


def _run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


_CHILD = """
import sys, time
from consumers.errors import LogError
from consumers.log import Out, Partition
from consumers.sqlite import SqliteLog
from stream_al.config import LogConfig, LoopConfig

path, what, instance, session_s = sys.argv[1:]
log = SqliteLog(LogConfig(path=path, instance=instance), LoopConfig(session_timeout_s=float(session_s)))
say = lambda text: print(text, flush=True)
if what == "open":
    say(f"{len(log.topics())} topics")
    sys.exit()
if what == "feed":
    writer = log.writer()
    while True:
        writer.send(Out("events", repr(time.time()).encode()))
        time.sleep(0.02)
place = Partition("events", 0)
member = log.member("gate", ["events"])
assert member.poll(0.0, 1).gained
position = member.committed([place])[place] or 0
member.seek({place: position})
member.send([Out("stream-al.predictions", b"stale")] if what == "commit" else [])
say("active")
if what == "hold":
    time.sleep(60)
if what == "commit":
    time.sleep(2 * float(session_s))
    try:
        member.commit({place: 1})
    except LogError as error:
        say(type(error).__name__)
    say(f"assigned {len(member.poll(0.0, 1).assigned)}")
while what == "churn":
    for record in member.poll(1.0, 7).records:
        position = record.offset + 1
        member.send([Out("stream-al.predictions", record.value.strip())])
    member.send([Out("stream-al.ledger-state", b"%d" % position, b"state", partition=0)])
    member.commit({place: position})
"""


def _start(path: Path, what: str, instance: str, session_s: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), what, instance, session_s],
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@contextmanager
def _process(path: Path, *what: str) -> Iterator[subprocess.Popen[str]]:
    process = _start(path, *what)
    try:
        yield process
    finally:
        _end(process)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
