"""Room on the disk: what is deleted, what a full disk and a locked file do."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumers.errors import AbortError, RetryError, StopError
from consumers.log import Out, TopicSpec
from consumers.sqlite import SqliteLog
from sqlite_log.steps import EVENTS, OUT, STATE, active, feed, locked, offsets


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
    """While another process holds the file, commits abort and writers ask to be called again."""
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
