"""``--report``: a page for people beside what a command prints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from stream_al.cli.whole_file import whole_file
from stream_al.errors import ConfigError
from stream_al.replay.report.charts import require_matplotlib

__all__ = ["report_file", "report_option"]

report_option = click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.html",
    help="Write a page for people: charts, tables, configuration; replaces what is there. Needs "
    "the extra `report`.",
)
"""The flag; the command receives ``page: Path | None``."""


@contextlib.contextmanager
def report_file(path: Path | None) -> Iterator[BinaryIO | None]:
    """Open the page's file before the work begins; it appears when the block ends well.

    Raises
    ------
    ConfigError
        If it is standard output, cannot be written, or matplotlib is missing.
    """
    if path is None:
        yield None
        return
    if str(path) == "-":
        raise ConfigError("expected a file: standard output has the results", "--report")
    require_matplotlib()
    with whole_file(path, "--report") as file:
        yield file
