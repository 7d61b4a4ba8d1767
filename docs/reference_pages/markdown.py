"""Pieces of Markdown that several pages are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

__all__ = ["cell", "summary", "table"]


def cell(text: str) -> str:
    r"""Write text so that it stands in one cell of a table.

    Examples
    --------
    >>> cell("``a`` | `b`\nand <c>")
    '`a` \\| `b` and &lt;c&gt;'
    """
    line = " ".join(text.split()).replace("``", "`")
    parts = line.split("`")
    # Within code nothing needs to be escaped but what ends a cell.
    parts[::2] = [
        part.replace("<", "&lt;").replace(">", "&gt;").replace("*", "\\*") for part in parts[::2]
    ]
    return "`".join(parts).replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose cells are Markdown already.

    Examples
    --------
    >>> print(table(("a", "b"), [("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(documented: object) -> str:
    """Return what a docstring says before its first section, paragraphs kept.

    Examples
    --------
    >>> summary(summary)
    'Return what a docstring says before its first section, paragraphs kept.'
    """
    text = inspect.getdoc(documented) or ""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if "\n---" in paragraph:
            break
        paragraphs.append(paragraph.replace("``", "`"))
    return "\n\n".join(paragraphs)
