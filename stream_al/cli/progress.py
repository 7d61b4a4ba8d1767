"""Progress of long work: on a terminal's standard error, and nowhere else."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(length: int | None, label: str) -> Iterator[Callable[[int], object] | None]:
    """Show a bar while the block runs; gives what is to be called with each step's size.

    Where the length is not known beforehand it shows how far the work has come.

    Gives None where standard error is no terminal, so that nothing is written into a pipe.
    """
    if not sys.stderr.isatty():
        yield None
        return
    bar: Any
    # Without a length click wants something to iterate over, of which it cannot know the end.
    steps = itertools.count() if length is None else None
    with click.progressbar(
        steps, length=length, label=label, show_pos=length is None, file=sys.stderr
    ) as bar:
        yield bar.update
