"""What a replay leaves behind: its training log, ended by a line that says that it is whole."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from stream_al.records import encode
from stream_al.replay.sources import Row
from stream_al.training import TrainingRecord

__all__ = ["End", "RecordedLine", "SourceDigest", "decode_line"]


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="type"):
    """Last line of a recorded training log: without it, the recording was cut.

    Attributes
    ----------
    events
        Events decided.
    records
        Training records before this line.
    digest
        Digest of the model after the last of them.
    source
        Digest of all rows that were played, truths included.
    """

    events: int
    records: int
    digest: str
    source: str


RecordedLine: TypeAlias = TrainingRecord | End

decode_line = msgspec.json.Decoder(RecordedLine).decode
"""Decode one line of a recorded training log."""


class SourceDigest:
    """Digest of the rows of a stream, one after another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, row: Row) -> None:
        """Take in the next row."""
        self._hash.update(encode((row.event, row.truth)))

    @property
    def text(self) -> str:
        """The digest, 16 hexadecimal digits."""
        return self._hash.hexdigest()
