"""Threads and processes on one log."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from consumers.log import Out, Record
from consumers.sqlite import SqliteLog
from sqlite_log.processes import Child
from sqlite_log.steps import EVENTS, OUT, STATE, active, feed, offsets


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
    with ExitStack() as stack:
        children = [
            stack.enter_context(closing(Child("count", path, f"p{n}", 5.0))) for n in range(4)
        ]
        assert [child.line() for child in children] == ["11 topics"] * 4
    assert len(opened().topics()) == 11


def test_records_of_another_process_are_noticed_soon(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """A tail that waits is given another process's record within some tens of milliseconds."""
    log = opened()
    late: list[float] = []
    with closing(Child("feed", path, "feeder", 5.0)), closing(log.tail("events", 0, 0)) as tail:
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
    """Killed at any moment, a process leaves whole transactions: output, state and offset agree."""
    rng = random.Random(seed)
    log = opened(instance="checker")
    feed(log, 5000)
    for _ in range(3):
        with closing(Child("churn", path, "one", 5.0)) as child:
            assert child.line() == "active"
            time.sleep(rng.uniform(0.0, 0.25))
            child.kill()
        with closing(opened(instance="one").member("gate", ["events"])) as member:
            committed = member.committed([EVENTS])[EVENTS] or 0
        values = [int(record.value or b"nan") for record in log.read(OUT, 0)]
        assert values == list(range(committed)), f"seed {seed}"
        last = log.last(STATE, 0)
        assert int(last.value or b"nan") == committed if last else committed == 0
    assert committed > 0
