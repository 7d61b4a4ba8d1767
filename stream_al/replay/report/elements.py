"""HTML built from elements, so that nothing gets into a page unescaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Child", "Markup", "element", "figure_of", "foreign", "markup", "table", "visible"]

_LONGEST = 200
_VOID = frozenset({"meta", "br"})
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "Markup | str | Iterable[Child]"


def markup(child: Child) -> Markup:
    """Escape plain text; leave what is HTML as it is.

    Examples
    --------
    >>> markup("a < b"), markup(element("b", "a < b"))
    ('a &lt; b', '<b>a &lt; b</b>')
    """
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return Markup(html.escape(child))
    return Markup("".join(map(markup, child)))


def element(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Make an element.

    Parameters
    ----------
    name
        Of the element.
    children
        Plain text, which is escaped, or elements.
    attributes
        Values are escaped; an underscore in a name is a hyphen, one at its end is dropped; True
        stands for an attribute without a value; None and False leave it out.

    Examples
    --------
    >>> element("p", "1 < 2", class_="note", data_figure='"', hidden=False)
    '<p class="note" data-figure="&quot;">1 &lt; 2</p>'
    """
    told = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        told.append(f" {shown}" if value is True else f' {shown}="{html.escape(str(value))}"')
    opened = f"<{name}{''.join(told)}>"
    if name in _VOID:
        return Markup(opened)
    return Markup(f"{opened}{''.join(map(markup, children))}</{name}>")


def foreign(text: str) -> Markup:
    r"""Show text that somebody else chose: a class, a feature, an arm, a file.

    It keeps its own direction of writing, control characters are made visible, and very long
    ones are cut.

    Examples
    --------
    >>> print(foreign("<fraud>\x07"))
    <bdi>&lt;fraud&gt;\x07</bdi>
    """
    return visible(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def visible(text: str) -> Markup:
    """Show the whole of such a text, as `foreign` does with its beginning."""
    return element("bdi", text.translate(_VISIBLE))


def figure_of(name: str, value: float | None, shown: str) -> Markup:
    """Show a figure, which keeps its exact value and its name in ``--json``.

    Examples
    --------
    >>> figure_of("metrics.accuracy", 0.98765, "98.8 %")
    '<data data-figure="metrics.accuracy" value="0.98765">98.8 %</data>'
    """
    told = "null" if value is None else repr(value)
    return element("data", shown, data_figure=name, value=told)


def table(
    header: Iterable[Child], rows: Iterable[Iterable[Child]], *, caption: Child = ""
) -> Markup:
    """Lay out a table; the first cell of each row is its heading."""
    head = element("tr", [element("th", cell, scope="col") for cell in header])
    body = []
    for row in rows:
        first, *others = row
        body.append(
            element(
                "tr",
                element("th", first, scope="row"),
                [element("td", cell) for cell in others],
            )
        )
    inside = element("table", element("thead", head), element("tbody", body))
    # Focusable, so that a keyboard can scroll what is wider than the screen.
    scrolled = element("div", inside, class_="scroll", tabindex=0, role="group")
    # Beside the table and not in it: a phone shows the whole of it, whatever the table's width.
    return markup([element("p", caption, class_="muted"), scrolled]) if caption else scrolled
