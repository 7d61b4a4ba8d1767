"""What both Kafka drivers have to hold alike, beyond what the contract says of all logs."""

from __future__ import annotations

import threading
import time

import pytest
from kafka_world import PATIENCE_S, World, join, read

from consumers.errors import AbortError, StopError
from consumers.log import Out, Partition

pytestmark = pytest.mark.parametrize("driver", ["kafka", "librdkafka"])


def test_offsets_that_were_refused_are_not_committed_with_the_next(wide: World) -> None:
    """What one transaction failed with is not in the one after it."""
    one, other = (Partition(wide.events, number) for number in range(2))
    member = wide.member("a")
    join(member)
    wide.evict("a")
    with pytest.raises(AbortError):
        member.commit({one: 7})
    member.abort()
    join(member)
    member.commit({other: 3})
    assert member.committed([one, other]) == {one: None, other: 3}


def test_a_namesake_is_told_of_where_a_transaction_is_given_up(world: World) -> None:
    """Giving up what it had sent, the older of two with one identity learns that it must end."""
    older = world.reader()
    older.send([Out(world.out, b"older")])
    newer = world.reader()
    newer.commit({world.first: 1})
    with pytest.raises(StopError, match="another process"):
        older.abort()
    newer.commit({world.first: 1})


def test_what_moved_meanwhile_is_not_sought(wide: World) -> None:
    """A member that starts over while partitions move seeks what it had, and does no harm."""
    first = wide.member("a")
    had = join(first)
    wide.feed(8, partitions=4)
    second, stop = wide.member("b"), threading.Event()

    def take_part() -> None:
        while not stop.is_set():
            second.poll(0.5, 10)

    other = threading.Thread(target=take_part)
    other.start()
    gained: frozenset[Partition] = frozenset()
    try:
        end = time.monotonic() + PATIENCE_S
        while len(gained) != 2 and time.monotonic() < end:
            # So short that the rebalance is seen from within.
            batch = first.poll(0.001, 10)
            gained = batch.gained
            if not gained:
                first.seek(dict.fromkeys(had, 1))
    finally:
        stop.set()
        other.join()
    first.seek(dict.fromkeys(gained, 0))
    found = read(first, 4)
    places = sorted((Partition(record.topic, record.partition), record.offset) for record in found)
    assert places == sorted((place, offset) for place in gained for offset in (0, 1))
