"""Records come out byte for byte as they went in, in order, in the partition of their key."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict

import pytest

from consumers.log import Out, Partition, Record
from contract.sites import Site, take
from stream_al.partitioner import partition_for

BYTES = bytes(range(256))

OUTS = [
    (None, None, ()),
    (b"", b"", ()),
    (BYTES, BYTES, (("h", BYTES),)),
    (None, b"no key", (("again", b"1"), ("other", b"2"), ("again", b"3"), ("again", b"1"))),
    (b"no value", None, (("ce_id", b"e-1"), ("empty", b""), ("none", None))),
    ("clé".encode(), "été \U0001f600".encode(), (("naïve \U0001f600", b"\xff\xfe"),)),
    (b"\x00", b"\x00" * 300, tuple((f"h{i}", b"%d" % i) for i in range(40))),
]

# What Kafka's Java client computes: murmur2 as a signed 32-bit integer.
JAVA = {
    b"": 275646681,
    b"21": -973932308,
    b"abc": 479470107,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}


def write(site: Site, outs: list[Out], how: str) -> None:
    """Write by a writer, or by a member in one transaction."""
    if how == "writer":
        writer = site.writer()
        for out in outs:
            writer.send(out)
        writer.flush()
        return
    events = site.topic()
    seed = site.writer()
    seed.send(Out(events, b"seed"))
    seed.flush()
    member = site.joined(events)
    take(member, 1)
    member.send(outs)
    member.commit({Partition(events, 0): 1})


@pytest.mark.parametrize("how", ["writer", "member"])
def test_keys_values_and_headers_byte_for_byte(site: Site, how: str) -> None:
    """Binary, empty and missing are kept apart; headers keep their order and their repetitions."""
    topic = site.topic()
    before = time.time()
    write(site, [Out(topic, value, key, headers, 0) for key, value, headers in OUTS], how)
    through_tail = take(site.tail(topic), len(OUTS))
    reader = site.keep(site.log().member("reader", [topic]))
    while not reader.poll(0.5, 10).gained:
        pass
    reader.seek({Partition(topic, 0): 0})
    through_member = take(reader, len(OUTS))
    for found in (through_tail, through_member):
        assert [(r.key, r.value, r.headers) for r in found] == OUTS
        assert {(r.topic, r.partition) for r in found} == {(topic, 0)}
        assert all(type(r) is Record and type(r.headers) is tuple for r in found)
    assert through_tail == through_member
    if type(site).__name__ != "SimulatedSite":
        # Kafka counts milliseconds.
        assert all(before - 0.002 < r.time < time.time() + 0.002 for r in through_tail)


@pytest.mark.parametrize("how", ["writer", "member"])
def test_keys_choose_the_partitions_of_the_java_client(site: Site, how: str) -> None:
    """A key goes where Kafka's Java client sends it, the empty key as well."""
    partitions = 7
    topic = site.topic(partitions=partitions)
    rng = random.Random(5)
    keys = [*JAVA, *(rng.randbytes(rng.randrange(1, 40)) for _ in range(300))]
    write(site, [Out(topic, key, key) for key in keys], how)
    where = {
        record.value: number
        for number in range(partitions)
        for record in site.log().read(topic, number)
    }
    assert {key: where[key] for key in JAVA} == {
        key: (signed & 0x7FFFFFFF) % partitions for key, signed in JAVA.items()
    }
    assert where == {key: partition_for(key, partitions) for key in keys}


@pytest.mark.parametrize("how", ["writer", "member"])
def test_named_partition_wins_over_the_key(site: Site, how: str) -> None:
    """State records stand in the partition that they are about, whatever their key is."""
    topic = site.topic(partitions=3)
    write(site, [Out(topic, b"%d" % n, b"same", partition=n) for n in (2, 0, 1, 2)], how)
    found = [[r.value for r in site.log().read(topic, n)] for n in range(3)]
    assert found == [[b"0"], [b"1"], [b"2", b"2"]]


def test_records_without_key_go_anywhere_and_are_all_there(site: Site) -> None:
    """Without key and partition a record is in exactly one partition."""
    topic = site.topic(partitions=3)
    write(site, [Out(topic, b"%d" % n) for n in range(100)], "writer")
    found = Counter(r.value for n in range(3) for r in site.log().read(topic, n))
    assert found == Counter(b"%d" % n for n in range(100))


@pytest.mark.parametrize("how", ["writer", "member"])
def test_order_within_each_partition(site: Site, how: str) -> None:
    """Three thousand records keep their order in each partition, and their offsets grow."""
    topic = site.topic(partitions=2)
    write(site, [Out(topic, b"%d" % n, partition=n % 2) for n in range(3000)], how)
    for number in range(2):
        found = list(site.log().read(topic, number))
        assert [r.value for r in found] == [b"%d" % n for n in range(number, 3000, 2)]
        offsets = [r.offset for r in found]
        assert offsets == sorted(set(offsets))


def test_a_member_reads_each_partition_in_order(site: Site) -> None:
    """Small polls over several partitions give each record once, in order, and none over `most`."""
    topic = site.topic(partitions=3)
    write(site, [Out(topic, b"%d" % n, partition=n % 3) for n in range(90)], "writer")
    member = site.joined(topic)
    found: dict[int, list[bytes | None]] = defaultdict(list)
    total = 0
    while total < 90:
        records = member.poll(0.5, 7).records
        assert len(records) <= 7
        total += len(records)
        for record in records:
            found[record.partition].append(record.value)
    assert found == {n: [b"%d" % i for i in range(n, 90, 3)] for n in range(3)}
