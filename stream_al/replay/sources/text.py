"""Sources that are lines of text: files, and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from stream_al.errors import InputError
from stream_al.replay.sources.base import Reading, Row, Source
from stream_al.replay.sources.delimited import count_delimited, read_delimited
from stream_al.replay.sources.files import check_file, failures, lines_of, without_mark
from stream_al.replay.sources.jsonlines import count_jsonlines, read_jsonlines

__all__ = ["TEXT_FORMATS", "StandardInput", "TextFile"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}

TEXT_FORMATS = (*_DELIMITERS, ".jsonl", ".ndjson")


class TextFile(Source):
    """A file of CSV, TSV or JSON Lines, perhaps compressed.

    Parameters
    ----------
    path
        The file.
    format
        One of `TEXT_FORMATS`.
    reading
        How rows become events.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, format: str, reading: Reading) -> None:
        super().__init__(reading)
        self._path = path
        self._delimiter = _DELIMITERS.get(format)
        check_file(path, reading.name)

    def rows(self) -> Iterator[Row]:
        """Begin a pass; see `Source.rows`."""
        self._reading.restart()
        with lines_of(self._path, self.name) as lines:
            if self._delimiter is None:
                yield from read_jsonlines(lines, self._reading)
            else:
                yield from read_delimited(lines, self._delimiter, self._reading)

    def count(self) -> int:
        """Count the rows in advance; see `Source.count`."""
        limit = self._reading.limit
        with lines_of(self._path, self.name) as lines:
            if self._delimiter is None:
                return count_jsonlines(lines, limit)
            return count_delimited(lines, self._delimiter, limit)


class StandardInput(Source):
    """Standard input: JSON Lines if its first character but blanks is ``{``, else CSV.

    It can be read once, and nothing can count it in advance.

    Parameters
    ----------
    reading
        How rows become events.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._read = False

    def rows(self) -> Iterator[Row]:
        """Begin a pass; see `Source.rows`."""
        if self._read:
            raise InputError("can be read only once; expected a file for a second pass", self.name)
        self._read = True
        with failures(self.name):
            lines = without_mark(sys.stdin.buffer)
            begin = []  # blank lines too, so that lines are numbered as they came
            for line in lines:
                begin.append(line)
                if line.strip():
                    break
            is_json = bool(begin) and begin[-1].lstrip().startswith(b"{")
            lines = chain(begin, lines)
            if is_json:
                yield from read_jsonlines(lines, self._reading)
            else:
                yield from read_delimited(lines, ",", self._reading)

    def count(self) -> None:
        """Nothing: no pass is left after counting."""
