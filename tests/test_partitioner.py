"""Kafka's default partitioner."""

from __future__ import annotations

from collections import Counter

import pytest

from stream_al.partitioner import partition_for

# What Kafka's Java client computes, murmur2 as a signed 32-bit integer.
JAVA = {
    b"": 275646681,
    b"21": -973932308,
    b"abc": 479470107,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}


@pytest.mark.parametrize(("key", "signed"), JAVA.items())
def test_partitions_are_those_of_the_java_client(key: bytes, signed: int) -> None:
    """The hash, its sign bit cleared, is the Java client's for every length of the last word."""
    positive = signed & 0x7FFFFFFF
    assert partition_for(key, 2**31) == positive
    assert [partition_for(key, n) for n in (1, 2, 12, 1000)] == [
        positive % n for n in (1, 2, 12, 1000)
    ]


def test_keys_spread_evenly() -> None:
    """Ten thousand keys fill eight partitions to within five standard deviations."""
    counts = Counter(partition_for(f"card-{i}".encode(), 8) for i in range(10_000))
    assert set(counts) == set(range(8))
    assert all(abs(count - 1250) < 5 * 33 for count in counts.values())


def test_no_partition_is_refused() -> None:
    """Zero partitions are an error, not a division by zero."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        partition_for(b"card-1", 0)
