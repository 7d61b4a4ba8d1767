"""On which line a TOML file sets what."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping

__all__ = ["key_lines"]


def key_lines(text: str) -> dict[str, int]:
    r"""Find the first line of every table and key, dotted paths, in valid TOML.

    tomllib tells no lines, but it tells where a statement ends: at the first line with which it
    can be read. So it finds the keys itself, in whatever way they are written.

    Examples
    --------
    >>> key_lines("# mine\n[gate]\nbudget = 0.02")
    {'gate': 2, 'gate.budget': 3}
    """
    found: dict[str, int] = {}
    header: tuple[str, ...] = ()
    statement: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement.append(line)
        try:
            tables = tomllib.loads("\n".join(statement))
        except tomllib.TOMLDecodeError:
            continue
        paths = list(_paths(tables))
        start = number - len(statement) + 1
        if statement[0].lstrip().startswith("["):
            header = paths[-1]
            paths = [header[:size] for size in range(1, len(header) + 1)]
        else:
            paths = [(*header, *path) for path in paths]
        for path in paths:
            found.setdefault(".".join(path), start)
        statement = []
    return found


def _paths(table: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    """Every path in nested tables, outer ones first."""
    for name, value in table.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *path) for path in _paths(value))
