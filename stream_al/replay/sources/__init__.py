"""Recorded streams, read row by row: files, standard input, datasets, a generator."""

from __future__ import annotations

from pathlib import Path

from stream_al.config import SourceConfig
from stream_al.errors import ConfigError, InputError
from stream_al.replay.sources.base import Reading, Row, Source
from stream_al.replay.sources.datasets import CardsSource, RiverSource
from stream_al.replay.sources.files import COMPRESSIONS
from stream_al.replay.sources.tables import ParquetSource
from stream_al.replay.sources.text import TEXT_FORMATS, StandardInput, TextFile

__all__ = ["Row", "Source", "open_source"]


def open_source(
    spec: str, config: SourceConfig, classes: tuple[str, ...] = (), limit: int | None = None
) -> Source:
    """Open a recorded stream.

    A CSV column is numeric where the first row that can be used holds a number in it, unless it
    is to be categorical; else it holds categories. Values in JSON and Parquet are what they are.
    All rows must have the features of the first, of the same types, none of them missing, and
    numbers must be finite. Labels are text, integers or booleans.

    Parameters
    ----------
    spec
        - A path that ends in ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson``, each plain or with
          ``.gz`` or ``.zst`` after it, or in ``.parquet`` (needs pyarrow). JSON Lines may be a
          dump made by ``kcat -J``.
        - ``-`` for standard input: JSON Lines if it begins with ``{``, else CSV.
        - ``river:NAME`` for a classification dataset that ships inside river.
        - ``cards``, ``cards:N`` or ``cards:N:SEED`` for generated card payments, 100,000 of them
          unless N is given.
    config
        Which columns play which role, partitions, and what to do at a bad row.
    classes
        The declared classes; none: any class.
    limit
        Read so many rows at most, skipped ones included; None: all.

    Returns
    -------
    Source
        Nothing is read yet, but a file was seen to be readable.

    Raises
    ------
    InputError
        If there is no such file, it cannot be opened, or its name tells no known format.
    ConfigError
        If a dataset or generator is named wrongly, or pyarrow is missing.

    Examples
    --------
    >>> source = open_source("river:Phishing", SourceConfig(label="is_phishing"), limit=100)
    >>> source.count()
    100
    >>> row = next(source.rows())
    >>> row.event.offset, row.event.features["age_of_domain"], row.truth
    (0, 1, 'true')
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"must be at least 1, not {limit}", "limit")
    reading = Reading(spec, config, classes, limit)
    if spec == "-":
        return StandardInput(Reading("standard input", config, classes, limit))
    kind, colon, name = spec.partition(":")
    if kind == "river" and colon:
        return RiverSource(name, reading)
    if kind == "cards":
        return CardsSource(spec, reading)
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ParquetSource(path, reading)
    if suffix in COMPRESSIONS:
        suffix = Path(path.stem).suffix.lower()
    if suffix in TEXT_FORMATS:
        return TextFile(path, suffix, reading)
    if path.is_dir():
        raise InputError("a directory; expected a file", spec)
    raise InputError(
        f"its name tells no known format; expected {', '.join(TEXT_FORMATS)} (perhaps with "
        f"{' or '.join(COMPRESSIONS)} after it), .parquet, -, river:NAME or cards:N",
        spec,
    )
