"""Reading outside of groups: tails, `read`, `last`, bounds, and what a changelog restores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from consumers.errors import StopError
from consumers.log import Member, Out, Partition, Record
from contract.sites import PATIENCE_S, Site, take


def started(site: Site, events: str) -> Member:
    """Open a member that has polled its one event and can commit."""
    writer = site.writer()
    writer.send(Out(events, b"event"))
    writer.flush()
    member = site.joined(events)
    take(member, 1)
    return member


def commit(member: Member, events: str, *outs: Out) -> None:
    """Write in one transaction."""
    member.send(outs)
    member.commit({Partition(events, 0): 1})


def wait_for(holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    """Look until it holds, and tell whether it did in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def is_open(site: Site, topic: str) -> bool:
    """Tell whether a transaction is seen to be open."""
    bounds = site.log().bounds(topic, 0)
    return bounds.stable < bounds.end


def settle(site: Site, topic: str) -> None:
    """Wait until it shows that transactions are ended: Kafka marks them after the commit."""
    assert wait_for(lambda: not is_open(site, topic))


def test_read_goes_from_an_offset_to_the_present_end(site: Site) -> None:
    """`read` gives what is there from the offset on, nothing in an empty topic, and ends."""
    events, out = site.topic(), site.topic()
    log = site.log()
    assert list(log.read(out, 0)) == []
    member = started(site, events)
    for n in range(3):
        commit(member, events, *(Out(out, b"%d.%d" % (n, i)) for i in range(4)))
    whole = list(log.read(out, 0))
    assert [r.value for r in whole] == [b"%d.%d" % (n, i) for n in range(3) for i in range(4)]
    for at in (0, 3, 4, 11):
        assert list(log.read(out, 0, whole[at].offset)) == whole[at:]
    assert list(log.read(out, 0, log.bounds(out, 0).end)) == []


def test_read_misses_nothing_that_may_yet_be_committed(real_site: Site) -> None:
    """Begun while a transaction stands open in the log, `read` waits for its end."""
    site = real_site
    events, out = site.topic(), site.topic()
    member = started(site, events)
    commit(member, events, Out(out, b"before"))
    settle(site, out)
    member.send([Out(out, b"%d" % n + b"x" * 10_000) for n in range(300)])
    wait_for(lambda: is_open(site, out), 1.0)
    before = site.log().bounds(out, 0)
    found: list[Record] = []
    reader = threading.Thread(target=lambda: found.extend(site.log().read(out, 0)))
    reader.start()
    time.sleep(0.3)
    assert reader.is_alive() == (before.stable < before.end)
    member.commit({Partition(events, 0): 1})
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    whole = list(site.log().read(out, 0))
    assert len(whole) == 301
    assert found == whole[: len(found)]
    # Those that were in the log when it began, at least.
    assert len(found) >= len([r for r in whole if r.offset < before.end]) >= 1


def test_last_is_the_last_committed_record(site: Site) -> None:
    """`last` finds the record beneath burnt offsets and aborted records, however many they are."""
    events, out = site.topic(), site.topic()
    assert site.log().last(out, 0) is None
    member = started(site, events)
    for n in range(3):
        commit(member, events, Out(out, b"first of %d" % n), Out(out, b"last of %d" % n))
    for n in range(30):
        member.send([Out(out, b"aborted %d" % n)])
        member.abort()
    found = site.log().last(out, 0)
    assert found is not None
    assert found.value == b"last of 2"


def test_bounds_grow_and_stable_is_never_past_an_open_transaction(site: Site) -> None:
    """Beginning <= stable <= end; once nothing is open, all is stable."""
    events, out = site.topic(), site.topic()
    log = site.log()
    assert log.bounds(out, 0) == (0, 0, 0)
    member = started(site, events)
    commit(member, events, Out(out, b"one"))
    settle(site, out)
    before = log.bounds(out, 0)
    assert before.beginning == 0
    assert before.stable == before.end >= 1
    member.send([Out(out, b"open" * 1000) for _ in range(100)])
    during = log.bounds(out, 0)
    assert during.stable == before.end
    assert during.end >= during.stable
    member.commit({Partition(events, 0): 1})
    settle(site, out)
    after = log.bounds(out, 0)
    assert after.stable == after.end >= before.end + 100


def test_tail_passes_whatever_is_no_record(site: Site) -> None:
    """A tail's position reaches the end over burnt offsets and aborted records."""
    events, out = site.topic(), site.topic()
    member = started(site, events)
    commit(member, events, Out(out, b"one"), Out(out, b"two"))
    member.send([Out(out, b"aborted")])
    member.abort()
    commit(member, events, Out(out, b"three"))
    tail = site.tail(out)
    records = take(tail, 3, most=1)
    assert [r.value for r in records] == [b"one", b"two", b"three"]
    settle(site, out)
    end = site.log().bounds(out, 0).end
    assert wait_for(lambda: not tail.poll(0.1, 10) and tail.position == end)


def test_tail_from_the_middle_and_in_small_polls(site: Site) -> None:
    """A tail begins at its offset and gives at most as many records as were asked for."""
    out = site.topic()
    writer = site.writer()
    for n in range(20):
        writer.send(Out(out, b"%d" % n))
    writer.flush()
    tail = site.tail(out, start=5)
    assert tail.position == 5
    found: list[bytes | None] = []
    while len(found) < 15:
        polled = tail.poll(0.5, 4)
        assert len(polled) <= 4
        found += [r.value for r in polled]
        assert tail.position >= 5 + len(found)
    assert found == [b"%d" % n for n in range(5, 20)]


def test_tail_out_of_range_stops(site: Site) -> None:
    """A position past the end is another log's: an error, and no silent start elsewhere."""
    out = site.topic()
    writer = site.writer()
    writer.send(Out(out, b"one"))
    writer.flush()
    tail = site.tail(out, start=100)
    with pytest.raises(StopError, match=r"100|range"):
        wait_for(lambda: bool(tail.poll(0.5, 10)))


def test_waiting_readers_are_woken_by_a_record(real_site: Site) -> None:
    """A tail and a member that wait are given a record soon after it was written."""
    site = real_site
    events = site.topic()
    member, tail, writer = site.joined(events), site.tail(events), site.writer()
    for poll in (member.poll, tail.poll):
        poll(0.1, 10)
        timer = threading.Timer(0.3, lambda: (writer.send(Out(events, b"new")), writer.flush()))
        timer.start()
        begun = time.monotonic()
        assert poll(PATIENCE_S, 10)
        timer.join()
        assert 0.2 < time.monotonic() - begun < 5.0


def test_changelog_restores_the_last_value_of_each_key(site: Site) -> None:
    """Read to its end, a compacted topic gives each key's last value; tombstones delete."""
    events, state = site.topic(), site.topic(cleanup_policy="compact")
    member = started(site, events)
    expected: dict[bytes, bytes] = {}
    for turn in range(5):
        outs = []
        for n in range(turn, 40, turn + 1):
            key, value = b"%d" % n, None if (n + turn) % 4 == 0 else b"%d of %d" % (n, turn)
            outs.append(Out(state, value, key, partition=0))
            if value is None:
                expected.pop(key, None)
            else:
                expected[key] = value
        # A key twice in one transaction: the last counts.
        outs += [Out(state, b"early", b"twice", partition=0)]
        outs += [Out(state, b"late", b"twice", partition=0)]
        expected[b"twice"] = b"late"
        commit(member, events, *outs)
    restored: dict[bytes | None, bytes] = {}
    for record in site.log().read(state, 0):
        if record.value is None:
            restored.pop(record.key, None)
        else:
            restored[record.key] = record.value
    assert restored == expected
    last = site.log().last(state, 0)
    assert last is not None
    assert (last.key, last.value) == (b"twice", b"late")
