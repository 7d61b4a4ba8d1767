"""Steps that tests of the embedded log have in common."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from consumers.log import Log, Member, Out, Partition

EVENTS = Partition("events", 0)
OUT = "stream-al.predictions"
STATE = "stream-al.ledger-state"


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
