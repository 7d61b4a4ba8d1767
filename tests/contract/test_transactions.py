"""What a transaction holds is seen together or never."""

from __future__ import annotations

import pytest

from consumers.errors import TooLargeError
from consumers.log import Out, Partition
from contract.sites import LIMIT, Site, poll_until, take


def feed(site: Site, topic: str, count: int, partition: int = 0) -> None:
    """Write numbered records."""
    writer = site.writer()
    for number in range(count):
        writer.send(Out(topic, b"%d" % number, partition=partition))
    writer.flush()


def values(site: Site, topic: str, partition: int = 0) -> list[bytes | None]:
    """Return the values that stand in a partition."""
    return [record.value for record in site.log().read(topic, partition)]


def test_outputs_offsets_and_changelog_appear_together(site: Site) -> None:
    """Before the commit nothing that was sent is seen and no offset stored; after it all is."""
    events, out, state = site.topic(), site.topic(), site.topic(cleanup_policy="compact")
    place = Partition(events, 0)
    feed(site, events, 3)
    member = site.joined(events)
    take(member, 3)
    member.send([Out(out, b"%d" % i) for i in range(50)])
    member.send([Out(state, b"state", key=b"0", partition=0)])
    tails = [site.tail(out), site.tail(state)]
    assert [tail.poll(0.3, 100) for tail in tails] == [[], []]
    member.commit({place: 3})
    assert [len(take(tail, count)) for tail, count in zip(tails, (50, 1), strict=True)] == [50, 1]
    assert values(site, out) == [b"%d" % i for i in range(50)]
    assert member.committed([place]) == {place: 3}


def test_aborted_records_are_never_seen(site: Site) -> None:
    """Neither a tail nor `read` nor `last` gives a record of an aborted transaction."""
    events, out = site.topic(), site.topic()
    feed(site, events, 2)
    member = site.joined(events)
    take(member, 2)
    for attempt in range(3):
        member.send([Out(out, b"aborted %d %d" % (attempt, i)) for i in range(20)])
        member.abort()
    assert site.log().last(out, 0) is None
    member.send([Out(out, b"committed")])
    member.commit({Partition(events, 0): 2})
    member.send([Out(out, b"aborted again %d" % i) for i in range(40)])
    member.abort()
    last = site.log().last(out, 0)
    assert last is not None
    assert last.value == b"committed"
    assert values(site, out) == [b"committed"]
    assert [record.value for record in take(site.tail(out), 1)] == [b"committed"]


def test_what_is_polled_during_a_commit_goes_into_the_next(site: Site) -> None:
    """A poll between beginning and end of a commit brings what comes after, and harms neither."""
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    feed(site, events, 2)
    member = site.joined(events)
    take(member, 2)
    member.send([Out(out, b"first")] * 500)
    member.begin_commit({place: 2})
    feed(site, events, 3)
    polled = take(member, 3)
    member.end_commit()
    member.end_commit()
    assert member.committed([place]) == {place: 2}
    member.send([Out(out, b"second")])
    member.commit({place: polled[-1].offset + 1})
    assert values(site, out) == [b"first"] * 500 + [b"second"]
    assert member.committed([place]) == {place: polled[-1].offset + 1}


def test_an_abort_waits_for_the_commit_that_was_begun(site: Site) -> None:
    """What is being committed cannot be given up any more, and what comes after it can."""
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    feed(site, events, 1)
    member = site.joined(events)
    take(member, 1)
    member.send([Out(out, b"kept")])
    member.begin_commit({place: 1})
    member.abort()
    member.send([Out(out, b"given up")])
    member.abort()
    assert values(site, out) == [b"kept"]
    assert member.committed([place]) == {place: 1}


def test_commit_without_offset_is_refused(site: Site) -> None:
    """Without an offset nothing would fence the commit: ValueError, and the transaction stands."""
    events, out = site.topic(), site.topic()
    feed(site, events, 1)
    member = site.joined(events)
    take(member, 1)
    member.send([Out(out, b"one")])
    with pytest.raises(ValueError, match="offset"):
        member.commit({})
    member.commit({Partition(events, 0): 1})
    assert values(site, out) == [b"one"]


def test_commit_of_an_offset_alone(site: Site) -> None:
    """A batch that puts nothing out moves the offset all the same."""
    events = site.topic()
    place = Partition(events, 0)
    feed(site, events, 1)
    member = site.joined(events)
    take(member, 1)
    member.commit({place: 1})
    assert member.committed([place]) == {place: 1}


def test_new_member_has_nothing_committed(site: Site) -> None:
    """Of a group that has committed nothing every offset is None."""
    events = site.topic(partitions=2)
    member = site.joined(events)
    places = [Partition(events, 0), Partition(events, 1)]
    assert member.committed(places) == dict.fromkeys(places)


def test_same_member_resumes_from_what_is_committed(site: Site) -> None:
    """A process that comes back reads on behind its last commit, and what it had not committed."""
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    feed(site, events, 10)
    first = site.joined(events)
    records = take(first, 10)
    first.send([Out(out, b"kept")])
    first.commit({place: records[3].offset + 1})
    first.send([Out(out, b"lost")])
    first.close()
    second = site.joined(events)
    assert second.committed([place]) == {place: 4}
    assert [record.value for record in take(second, 6)] == [b"%d" % i for i in range(4, 10)]
    assert values(site, out) == [b"kept"]


def test_abort_then_seek_brings_the_same_records_again(site: Site) -> None:
    """After an abort the committed offsets are sought and the same records processed once."""
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    feed(site, events, 20)
    member = site.joined(events)
    aborted = take(member, 20)
    member.send([Out(out, record.value) for record in aborted])
    member.abort()
    member.seek({place: 0})
    again = take(member, 20)
    assert again == aborted
    member.send([Out(out, record.value) for record in again])
    member.commit({place: again[-1].offset + 1})
    assert values(site, out) == [b"%d" % i for i in range(20)]


def test_gained_partitions_give_nothing_before_seek(site: Site) -> None:
    """Records of a partition that was gained wait until its state is restored and it is sought."""
    events = site.topic(partitions=2)
    for number in range(2):
        feed(site, events, 5, number)
    places = frozenset({Partition(events, 0), Partition(events, 1)})
    member = site.member(events)
    batch = poll_until(member, lambda batch: bool(batch.gained))
    assert (batch.gained, batch.assigned, batch.stable) == (places, places, True)
    assert not batch.records
    assert not member.poll(0.3, 100).records
    member.seek({Partition(events, 1): 0})
    assert {record.partition for record in take(member, 5)} == {1}
    member.seek({Partition(events, 0): 2})
    assert [(r.partition, r.offset) for r in take(member, 3)] == [(0, 2), (0, 3), (0, 4)]


def test_a_partition_that_is_not_ones_own_is_not_sought(site: Site) -> None:
    """What is sought before it is told as gained gives nothing until it is sought again."""
    events = site.topic()
    feed(site, events, 5)
    place = Partition(events, 0)
    member = site.member(events)
    member.seek({place: 3})
    batch = poll_until(member, lambda batch: bool(batch.gained))
    assert not batch.records
    assert not member.poll(0.3, 100).records
    member.seek({place: 1})
    assert [record.offset for record in take(member, 4)] == [1, 2, 3, 4]


def test_topics_that_are_read_together_have_one_owner(site: Site) -> None:
    """A member has the same partitions of both its topics, and commits both at once."""
    requests, labels = site.topic(partitions=2), site.topic(partitions=2)
    for topic in (requests, labels):
        for number in range(2):
            feed(site, topic, 4, number)
    places = frozenset(Partition(topic, n) for topic in (requests, labels) for n in range(2))
    member = site.joined(requests, labels)
    assert member.poll(0.0, 1).assigned == places
    member.seek(dict.fromkeys(places, 0))
    found = take(member, 16)
    for place in places:
        mine = [r.offset for r in found if (r.topic, r.partition) == place]
        assert mine == [0, 1, 2, 3]
    member.commit(dict.fromkeys(places, 4))
    assert member.committed(places) == dict.fromkeys(places, 4)


def test_sparse_offsets_resume_right(site: Site) -> None:
    """Behind every transaction offsets are left out; a commit of last + 1 resumes with no gap."""
    events, out, later = site.topic(), site.topic(), site.topic()
    place = Partition(out, 0)
    feed(site, events, 6)
    member = site.joined(events)
    for offset in range(1, 6):
        member.send([Out(out, b"%d.%d" % (offset, i)) for i in range(3)])
        if offset == 3:
            member.abort()
        else:
            member.commit({Partition(events, 0): offset})
    member.close()
    expected = [b"%d.%d" % (n, i) for n in (1, 2, 4, 5) for i in range(3)]
    offsets = [record.offset for record in site.log().read(out, 0)]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] > len(offsets) - 1
    found: list[bytes | None] = []
    for most in (2, 4, 6):
        reader = site.log().member("reader", [out])
        poll_until(reader, lambda batch: bool(batch.gained))
        reader.seek({place: reader.committed([place])[place] or 0})
        records = list(poll_until(reader, lambda batch: bool(batch.records)).records)[:most]
        found += [record.value for record in records]
        reader.send([Out(later, record.value) for record in records])
        reader.commit({place: records[-1].offset + 1})
        reader.close()
    assert found == expected
    assert values(site, later) == expected


def test_drained_means_that_no_record_is_left(site: Site) -> None:
    """What follows the last record (burnt offsets, an open transaction) is not waited for."""
    events, out = site.topic(), site.topic()
    source, place = Partition(events, 0), Partition(out, 0)
    feed(site, events, 2)
    member = site.joined(events)
    assert member.drained([source]) == frozenset()
    take(member, 2)
    assert member.drained([source]) == {source}
    member.send([Out(out, b"a"), Out(out, b"b")])
    member.commit({source: 2})
    reader = site.keep(site.log().member("reader", [out]))
    poll_until(reader, lambda batch: bool(batch.gained))
    reader.seek({place: 0})
    assert reader.drained([place]) == frozenset()
    take(reader, 2)
    member.send([Out(out, b"c")])
    poll_until(reader, lambda _: reader.drained([place]) == {place})
    member.commit({source: 2})
    poll_until(reader, lambda batch: bool(batch.records))


@pytest.mark.parametrize("with_headers", [False, True])
def test_record_of_exactly_the_limit_and_one_byte_over(site: Site, with_headers: bool) -> None:
    """Exactly the limit passes; one byte more is refused, and the transaction goes on without."""
    events, out = site.topic(), site.topic()
    feed(site, events, 1)
    member = site.joined(events)
    take(member, 1)
    headers = (("é", b"x" * 100), ("n", None)) if with_headers else ()
    used = 3 + sum(len(name.encode()) + len(value or b"") for name, value in headers)
    fits = Out(out, b"v" * (LIMIT - used), b"key", headers)
    over = Out(out, b"v" * (LIMIT - used + 1), b"key", headers)
    with pytest.raises(TooLargeError) as caught:
        member.send([fits, over, Out(out, b"never")])
    assert (caught.value.topic, caught.value.size, caught.value.limit) == (out, LIMIT + 1, LIMIT)
    member.send([Out(out, b"after")])
    member.commit({Partition(events, 0): 1})
    writer = site.writer()
    writer.send(fits)
    with pytest.raises(TooLargeError, match=str(LIMIT)):
        writer.send(over)
    writer.flush()
    assert values(site, out) == [fits.value, b"after", fits.value]


def test_topic_with_a_limit_of_its_own(site: Site) -> None:
    """A topic for dead letters takes what is larger than a record may be elsewhere."""
    events, letters = site.topic(), site.topic(max_message_bytes=str(2 * LIMIT + 1024))
    feed(site, events, 1)
    member = site.joined(events)
    take(member, 1)
    member.send([Out(letters, b"v" * (2 * LIMIT))])
    with pytest.raises(TooLargeError):
        member.send([Out(letters, b"v" * (2 * LIMIT + 1))])
    member.commit({Partition(events, 0): 1})
    assert [len(value or b"") for value in values(site, letters)] == [2 * LIMIT]
