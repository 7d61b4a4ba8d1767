"""What every source of a replay is, and what it keeps while it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import msgspec

from stream_al.config import SourceConfig
from stream_al.errors import InputError
from stream_al.records import Event

__all__ = ["Fault", "Reading", "Row", "Source"]


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of a recorded stream.

    Attributes
    ----------
    event
        What the engine may see.
    truth
        The class that the row names; only annotators and metrics may look at it.
    line
        1-based line where the row begins (text), or 1-based row number (tables, generators).
    """

    event: Event
    truth: str
    line: int


class Fault(Exception):  # noqa: N818 - becomes an InputError where its line is known
    """One row cannot be used, while the stream around it can.

    Attributes
    ----------
    kind
        What rows that are skipped for the same reason are counted under.
    what
        What is wrong and what was expected.
    column
        The column or key; None where the whole row is meant.
    """

    def __init__(self, kind: str, what: str, column: str | None = None) -> None:
        self.kind = kind
        self.what = what
        self.column = column
        super().__init__(what)


class Reading:
    """What is to be read and how, and what has been skipped so far.

    Attributes
    ----------
    name
        The source's name in messages.
    config, classes, limit
        How rows become events; the declared classes (none: any); rows to be read at most.
    skipped, reasons
        Rows skipped so far, in total and by reason.
    """

    def __init__(
        self, name: str, config: SourceConfig, classes: tuple[str, ...], limit: int | None
    ) -> None:
        self.name = name
        self.config = config
        self.classes = classes
        self.limit = limit
        self.skipped = 0
        self.reasons: dict[str, int] = {}

    def restart(self) -> None:
        """Forget what an earlier pass skipped."""
        self.skipped = 0
        self.reasons = {}

    def reject(self, fault: Fault, line: int) -> None:
        """Skip a row, counted, or stop there, as is configured.

        Raises
        ------
        InputError
            With ``on_error = "stop"``.
        """
        if self.config.on_error == "stop":
            raise InputError(fault.what, self.name, line, fault.column) from fault
        self.skipped += 1
        self.reasons[fault.kind] = self.reasons.get(fault.kind, 0) + 1

    def within(self, rows: int) -> int:
        """Cut a number of rows at the limit."""
        return rows if self.limit is None else min(rows, self.limit)


class Source(ABC):
    """A recorded stream, read row by row.

    Duties of an implementation:

    - Memory does not grow with the length of the stream.
    - Every row uses one offset, those that are skipped as well, so an event's identity does not
      depend on whether another row could be read.
    - Two passes give the same rows. Standard input allows one pass only.
    - Reading blocks where the input does (a pipe); nothing else blocks.

    With several partitions, a row's partition is Kafka's for its key; without a key column, rows
    go round robin. A row whose key cannot be read has none, and uses an offset of the partition
    that round robin would give it. Offsets are dense from 0 within each partition. Dumps of Kafka
    topics keep the topics, partitions, offsets and keys that they recorded.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @property
    def name(self) -> str:
        """What messages call the source."""
        return self._reading.name

    @property
    def skipped(self) -> int:
        """Rows that the present pass has skipped so far; 0 with ``on_error = "stop"``."""
        return self._reading.skipped

    @property
    def skip_reasons(self) -> dict[str, int]:
        """Number of rows skipped so far for each reason."""
        return dict(self._reading.reasons)

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Begin a pass over the rows that can be used, in order.

        Yields
        ------
        Row
            At most as many as the limit, which counts skipped rows as well.

        Raises
        ------
        InputError
            At a bad row with ``on_error = "stop"``; always where the stream itself is broken:
            it cannot be opened or decompressed, is empty, or has no column for the label.
        ConfigError
            If a configured column or pattern matches no column.
        """

    @abstractmethod
    def count(self) -> int | None:
        """Count the rows of a whole pass in advance, skipped ones included.

        Returns
        -------
        int or None
            Never above the limit; None where a pass would be the only one.

        Raises
        ------
        InputError
            If the source cannot be opened or decompressed.
        """
