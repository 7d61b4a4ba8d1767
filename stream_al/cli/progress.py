"""Progress of long work: on a terminal's standard error, and nowhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(length: int | None, label: str) -> Iterator[Callable[[int], object] | None]:
    """Show a bar while the block runs; gives what is to be called with each step's size.

    Gives None where standard error is no terminal, so that nothing is written into a pipe.
    """
    if not sys.stderr.isatty():
        yield None
        return
    bar: Any
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update
