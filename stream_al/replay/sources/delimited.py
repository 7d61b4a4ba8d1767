"""Rows of CSV and TSV text."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter

from stream_al.counted import counted
from stream_al.errors import InputError
from stream_al.records import Event, Features
from stream_al.replay.sources.base import Fault, Reading, Row
from stream_al.replay.sources.columns import Columns, resolve
from stream_al.replay.sources.placement import Placement
from stream_al.replay.sources.values import Clock, Truths, identifier, is_number

__all__ = ["count_delimited", "read_delimited"]

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_EXPECTED = {",": "commas (or tabs in a .tsv)", "\t": "tabs (or commas in a .csv)"}
_SPELT_MISSING = frozenset({"nan", "na", "n/a", "null", "none"})
_AMBIGUOUS = _SPELT_MISSING - {"nan", "none"}


def _records(lines: Iterator[bytes], delimiter: str) -> Iterator[tuple[int, list[str] | Fault]]:
    """Split lines into records, each with the number of the line that it begins on.

    Blank lines are none. The parser starts afresh at the line after a fault.
    """
    reader = csv.reader(map(bytes.decode, lines), delimiter=delimiter, strict=True)
    undecoded = 0  # lines that never reached the parser, so that it has not counted them
    while True:
        begin = reader.line_num + undecoded + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            undecoded += 1
            what = f"byte {error.object[error.start]:#04x} is not UTF-8; expected UTF-8 text"
            yield reader.line_num + undecoded, Fault("not UTF-8", what)
        except csv.Error as error:
            yield begin, Fault("malformed row", f"malformed ({error}); expected quoted CSV")
        else:
            if cells:
                yield begin, cells


def count_delimited(lines: Iterator[bytes], delimiter: str, limit: int | None) -> int:
    r"""Count the data rows that `read_delimited` would see.

    Examples
    --------
    >>> count_delimited(iter([b"a,b\n", b"1,2\n", b"\n", b'"3\n', b'3",4\n']), ",", None)
    2
    """
    stop = None if limit is None else limit + 1
    count = 0
    for line in lines:
        # Without quotes a record is a line, and telling that takes a tenth of parsing it.
        if b'"' in line:
            rest = None if stop is None else stop - count
            count += sum(1 for _ in islice(_records(chain([line], lines), delimiter), rest))
            break
        if line.strip(b"\r\n"):
            count += 1
        if count == stop:
            break
    return max(count - 1, 0)


def _picker(indices: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Pick cells by index, by one slice if the indices follow one another."""
    if not indices:
        return itemgetter(slice(0, 0))
    first, last = indices[0], indices[-1]
    if last - first == len(indices) - 1:
        return itemgetter(slice(first, last + 1))
    return itemgetter(*indices)


class _Layout:
    """What each feature column holds, as the first row that can be used shows it.

    Parameters
    ----------
    header, columns
        The names, and their roles.
    cells
        The row that decides which columns are numeric.

    Raises
    ------
    Fault
        If a cell does not tell whether it is a missing number or a text.
    """

    def __init__(self, header: list[str], columns: Columns, cells: list[str]) -> None:
        at = [header.index(name) for name in columns.features]
        for i in at:
            if header[i] not in columns.categorical and cells[i].lower() in _AMBIGUOUS:
                what = (
                    f"{cells[i]!r} may be a missing number or a text; expected a number, or the "
                    "column among source.categorical if it holds text"
                )
                raise Fault("missing value", what, header[i])
        numeric = [i for i in at if header[i] not in columns.categorical and is_number(cells[i])]
        text = [i for i in at if i not in numeric]
        self._header = header
        self._at, self._numeric = at, frozenset(numeric)
        self._numbers, self._texts = _picker(numeric), _picker(text)
        self._number_names = [header[i] for i in numeric]
        self._text_names = [header[i] for i in text]
        self._in_order: Features = dict.fromkeys(columns.features, 0.0)

    def features(self, cells: list[str]) -> Features:
        """Convert the features of a row.

        Raises
        ------
        Fault
            At the first column that does not hold what it should.
        """
        numbers, texts = self._numbers(cells), self._texts(cells)
        try:
            values = list(map(float, numbers))
        except ValueError:
            values = [math.nan]
        # One test of all: a sum is finite unless a term is not, or huge terms overflow.
        if not math.isfinite(sum(values)) or "_" in "".join(numbers) or not all(texts):
            self._check(cells)
        if not texts:
            return dict(zip(self._number_names, values, strict=True))
        features = self._in_order.copy()
        features.update(zip(self._number_names, values, strict=True))
        features.update(zip(self._text_names, texts, strict=True))
        return features

    def _check(self, cells: list[str]) -> None:
        """Name the first cell that is wrong, if one is."""
        for i in self._at:
            cell, name = cells[i], self._header[i]
            expected = "a number" if i in self._numeric else "text"
            if not cell:
                raise Fault("missing value", f"empty; expected {expected}", name)
            if i in self._numeric:
                hint = ""
                if cell.lower() in _SPELT_MISSING:
                    hint = "; no value may be missing: fill it in, or skip such rows"
                if not is_number(cell):
                    raise Fault(
                        "text in a numeric column",
                        f"expected a number, not {cell!r:.60}{hint}",
                        name,
                    )
                if not math.isfinite(float(cell)):
                    what = f"expected a finite number, not {cell!r:.60}{hint}"
                    raise Fault("not finite", what, name)


class _Parser:
    """Turns records into rows, in order."""

    def __init__(self, header: list[str], columns: Columns, reading: Reading) -> None:
        self._header = header
        self._columns = columns
        self._layout: _Layout | None = None
        self._label = header.index(columns.label)
        self._time = None if columns.time is None else header.index(columns.time)
        self._id = None if columns.id is None else header.index(columns.id)
        self._key = None if columns.key is None else header.index(columns.key)
        self._place = Placement(reading.config.partitions)
        self._truth = Truths(columns.label, reading.classes)
        self._clock = Clock(columns.time or "")

    def row(self, line: int, cells: list[str] | Fault) -> Row:
        """Turn one record into a row.

        Raises
        ------
        Fault
            If it cannot be used; its place is used up all the same.
        """
        if isinstance(cells, Fault):
            self._place(None)
            raise cells
        if len(cells) != len(self._header):
            self._place(None)
            values = counted(len(self._header), "value")
            expected = f"expected {values} as in the header, not {len(cells)}"
            raise Fault("ragged row", expected)
        key = None if self._key is None else cells[self._key].encode()
        partition, offset = self._place(key or None)
        if key == b"":
            raise Fault("missing value", "empty; expected text", self._columns.key)
        name = "" if self._id is None else identifier(cells[self._id], self._columns.id or "")
        layout = self._layout or _Layout(self._header, self._columns, cells)
        features = layout.features(cells)
        truth = self._truth(cells[self._label])
        # Last, for the clock moves on at rows that can be used only.
        time = None if self._time is None else self._clock(cells[self._time])
        self._layout = layout
        event = Event(
            offset=offset, features=features, id=name, partition=partition, key=key, time=time
        )
        return Row(event, truth, line)


def _check_separator(header: list[str], delimiter: str, label: str) -> None:
    """See that a header of one name, which is not the label's, is not several.

    Raises
    ------
    Fault
        If another separator stands in it.
    """
    if len(header) > 1 or label in header:
        return
    for other, called in _SEPARATORS.items():
        if other != delimiter and other in header[0]:
            what = f"names look separated by {called}; expected {_EXPECTED[delimiter]}"
            raise Fault("malformed row", what)


def read_delimited(lines: Iterator[bytes], delimiter: str, reading: Reading) -> Iterator[Row]:
    """Read rows below a header line.

    Parameters
    ----------
    lines
        Lines of UTF-8 text, newlines kept.
    delimiter
        What separates cells.
    reading
        How rows become events; bad ones are rejected to it.

    Yields
    ------
    Row
        Those that can be used.

    Raises
    ------
    InputError
        At a bad row that is not to be skipped, and where header or data are missing.
    ConfigError
        If a configured column or pattern matches no column.
    """
    records = _records(lines, delimiter)
    first = next(records, None)
    if first is None:
        raise InputError("empty; expected a header line", reading.name)
    line, header = first
    try:
        if isinstance(header, Fault):
            raise header
        _check_separator(header, delimiter, reading.config.label)
    except Fault as fault:
        raise InputError(f"in the header: {fault.what}", reading.name, line) from fault
    parser = _Parser(header, resolve(header, reading.config, reading.name, line), reading)
    number = 0
    for number, (line, cells) in enumerate(records, 1):
        try:
            row = parser.row(line, cells)
        except Fault as fault:
            reading.reject(fault, line)
        else:
            yield row
        if number == reading.limit:
            break
    if not number:
        raise InputError("no rows; expected data below the header line", reading.name)
