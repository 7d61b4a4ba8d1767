"""Files that a command writes, each of its own, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from stream_al.errors import ConfigError

__all__ = ["refuse_clashes", "whole_file"]


def refuse_clashes(source: str, outputs: Mapping[str, Path | None]) -> None:
    """See that no file is both read and written, or written twice.

    Parameters
    ----------
    source
        What is read, where it is a file.
    outputs
        By flag, what is written.

    Raises
    ------
    ConfigError
        If one is.
    """
    taken = {Path(source).resolve(): "SOURCE"} if Path(source).is_file() else {}
    for flag, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in taken and (path.is_file() or not path.exists()):
            raise ConfigError(f"{path} is {taken[place]} already; expected a file of its own", flag)
        taken[place] = flag


@contextlib.contextmanager
def whole_file(path: Path | None, flag: str) -> Iterator[BinaryIO | None]:
    """Open a file that appears whole when the block ends well, and not at all otherwise.

    Raises
    ------
    ConfigError
        If it cannot be written; `flag` is what names it.
    """
    if path is None:
        yield None
        return
    # A device or a pipe cannot be put in place afterwards.
    in_place = path.exists() and not path.is_file()
    part = path if in_place else path.with_name(f".{path.name}.part")
    try:
        file = part.open("wb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", flag) from error
    try:
        with file:
            yield file
        if not in_place:
            part.replace(path)
    finally:
        if not in_place:
            part.unlink(missing_ok=True)
