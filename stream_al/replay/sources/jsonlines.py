"""Rows of JSON Lines: one object a line, or one Kafka message a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from stream_al.replay.sources.base import Fault, Reading, Row
from stream_al.replay.sources.dumps import Dump, is_dump
from stream_al.replay.sources.json_text import decode_object, utf8_only
from stream_al.replay.sources.objects import Item, flatten, read_items

__all__ = ["count_jsonlines", "read_jsonlines"]


def count_jsonlines(lines: Iterator[bytes], limit: int | None) -> int:
    """Count the rows that `read_jsonlines` would see.

    Examples
    --------
    >>> count_jsonlines(iter([b"{}", b" ", b"{}"]), None)
    2
    """
    return sum(1 for _ in islice(filter(bytes.strip, lines), limit))


def _items(lines: Iterator[bytes], reading: Reading) -> Iterator[Item]:
    dump: Dump | None = None
    decided = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            values, clean = decode_object(text)
            if not decided:
                dump = Dump(reading) if is_dump(values) else None
                decided = True
            if dump is not None:
                item = dump.item(number, values)
            else:
                flat = flatten(values)
                item = Item(number, flat if clean else utf8_only(flat))
        except Fault as fault:
            item = Item(number, fault)
        yield item


def read_jsonlines(lines: Iterator[bytes], reading: Reading) -> Iterator[Row]:
    """Read rows from JSON objects, one a line, blank lines apart.

    The first object shows whether they are messages of a ``kcat -J`` dump.

    Parameters
    ----------
    lines
        Lines of UTF-8 text.
    reading
        How rows become events; bad ones are rejected to it.

    Yields
    ------
    Row
        Those that can be used.

    Raises
    ------
    InputError
        At a bad row that is not to be skipped, and where there is none at all.
    ConfigError
        If a configured column or pattern matches nothing, or places what a dump has placed.
    """
    return read_items(_items(lines, reading), reading)
