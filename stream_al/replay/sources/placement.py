"""Where rows stand that no broker has given a place: partition and offset."""

from __future__ import annotations

from functools import lru_cache

from stream_al.partitioner import partition_for

__all__ = ["Placement"]

_KEYS_KEPT = 16_384


class Placement:
    """Gives rows, in order, a partition and the next offset in it.

    Parameters
    ----------
    partitions
        How many there are, at least 1.

    Examples
    --------
    >>> place = Placement(2)
    >>> [place(None), place(None), place(None), place(b"card-1")]
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._next = [0] * partitions
        self._row = 0
        # Keys recur, and hashing one costs as much as reading a few columns.
        self._partition_for = lru_cache(maxsize=_KEYS_KEPT)(partition_for)

    def __call__(self, key: bytes | None) -> tuple[int, int]:
        """Place the next row by its key; without one, by its number."""
        partitions = self._partitions
        if partitions == 1:
            partition = 0
        elif key is None:
            partition = self._row % partitions
        else:
            partition = self._partition_for(key, partitions)
        self._row += 1
        offset = self._next[partition]
        self._next[partition] = offset + 1
        return partition, offset
