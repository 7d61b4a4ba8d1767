"""Kafka's default partitioner: the partition that a producer sends a message key to."""

from __future__ import annotations

import struct

__all__ = ["partition_for"]

_SEED = 0x9747B28C
_M = 0x5BD1E995
_WORD = 0xFFFFFFFF


def _murmur2(data: bytes) -> int:
    length = len(data)
    words = length >> 2
    h = _SEED ^ length
    for k in struct.unpack_from(f"<{words}I", data):
        k = k * _M & _WORD
        k = (k ^ k >> 24) * _M & _WORD
        h = h * _M & _WORD ^ k
    if tail := data[words << 2 :]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _WORD
    h = (h ^ h >> 13) * _M & _WORD
    return h ^ h >> 15


def partition_for(key: bytes, partitions: int) -> int:
    """Choose the partition of a key as Kafka's Java producer does.

    The 32-bit MurmurHash2 of the key (A. Appleby, 2008; seed 0x9747b28c, words little-endian),
    its sign bit cleared, modulo the number of partitions.

    Parameters
    ----------
    key
        The message key as it is on the wire.
    partitions
        Number of partitions of the topic, at least 1.

    Returns
    -------
    int
        The partition, in [0, partitions).

    Raises
    ------
    ValueError
        If there is no partition.

    Examples
    --------
    >>> [partition_for(key, 8) for key in (b"card-1", b"card-2", b"card-3")]
    [7, 0, 5]
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, not {partitions}")
    return (_murmur2(key) & 0x7FFFFFFF) % partitions
