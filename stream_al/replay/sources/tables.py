"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stream_al.errors import ConfigError, InputError
from stream_al.replay.sources.base import Fault, Reading, Row, Source
from stream_al.replay.sources.columns import matches
from stream_al.replay.sources.files import check_file, failures
from stream_al.replay.sources.objects import Item, flatten, read_items

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

__all__ = ["ParquetSource"]

_BATCH = 2048
"""Rows held at once."""


def _pyarrow(spec: str) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'stream-al[data]'", spec) from error
    return pyarrow, pyarrow.parquet


class ParquetSource(Source):
    """Rows of a Parquet file, a batch at a time.

    Numbers, text, booleans and dictionaries of these are features; structs become names with
    dots. The time column may hold timestamps that know their time zone.

    Parameters
    ----------
    path
        The file.
    reading
        How rows become events.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.
    InputError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        super().__init__(reading)
        self._path = path
        self._arrow, self._parquet = _pyarrow(reading.name)
        check_file(path, reading.name)

    def rows(self) -> Iterator[Row]:
        """Begin a pass; see `Source.rows`."""
        self._reading.restart()
        with self._open() as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):  # before rows become dictionaries and lose one
                raise InputError("expected different names of columns", self.name)
            yield from read_items(self._items(file), self._reading)

    def count(self) -> int:
        """Count the rows in advance; see `Source.count`."""
        with self._open() as file:
            return self._reading.within(file.metadata.num_rows)

    @contextmanager
    def _open(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        with failures(self.name):
            try:
                with self._parquet.ParquetFile(self._path, pre_buffer=False) as file:
                    yield file
            except self._arrow.ArrowException as error:
                what = " ".join(str(error).split())
                raise InputError(f"not a whole Parquet file ({what})", self.name) from error

    def _items(self, file: pyarrow.parquet.ParquetFile) -> Iterator[Item]:
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
            names = batch.schema.names
            columns = [self._values(batch, i, name) for i, name in enumerate(names)]
            for cells in zip(*columns, strict=True):
                number += 1
                values: dict[str, Any] | Fault
                try:
                    values = flatten(dict(zip(names, cells, strict=True)))
                except Fault as fault:
                    values = fault
                yield Item(number, values)

    def _values(self, batch: pyarrow.RecordBatch, i: int, name: str) -> list[Any]:
        """Take a column's values; of what is ignored, whatever its type, none."""
        column = batch.column(i)
        if matches(name, self._reading.config.ignore) and name not in self._roles():
            return [None] * len(column)
        kind = column.type
        if self._arrow.types.is_timestamp(kind) and kind.unit == "ns":
            # Date-times hold microseconds, and pyarrow refuses to drop the rest unasked.
            column = column.cast(self._arrow.timestamp("us", kind.tz), safe=False)
        try:
            values: list[Any] = column.to_pylist()
        except (ValueError, OverflowError) as error:  # text that is not UTF-8, the year 300,000
            raise InputError(f"cannot be read ({error})", self.name, None, name) from error
        return values

    def _roles(self) -> set[str | None]:
        config = self._reading.config
        return {config.label, config.time, config.id, config.key}
