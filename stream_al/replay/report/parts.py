"""What both kinds of pages are made of: the shell, figures in front, configuration, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stream_al._version import __version__
from stream_al.config import Config
from stream_al.learner.fold import fingerprint
from stream_al.replay.report.elements import Child, Markup, element, foreign, table, visible
from stream_al.replay.report.style import CSS

__all__ = ["bar", "differing", "legible", "page", "section", "tiles", "versions", "whole"]

_PLAYED = ("source", "learner", "gate", "annotator", "replay")
"""Sections that a replay heeds; the others are about live runs."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(kind: str, name: str, command: str, body: Iterable[Child]) -> bytes:
    """Make the whole document; it runs nothing and asks nobody for anything.

    Parameters
    ----------
    kind, name
        What it reports, and of which stream.
    command
        The command line that made it.
    body
        Its sections.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{kind}: {name} · stream_al"),
        element("style", Markup(CSS)),
    )
    top = element(
        "header",
        element("h1", f"{kind}: ", foreign(name)),
        element("pre", element("code", visible(command))),
    )
    whole_page = element("html", head, element("body", top, element("main", body)), lang="en")
    # A file's name may hold what is no text; it is shown escaped.
    return f"<!doctype html>\n{whole_page}\n".encode(errors="backslashreplace")


def section(title: str, *content: Child, name: str) -> Markup:
    """Make a section that can be linked to."""
    return element("section", element("h2", title), *content, id=name)


def tiles(told: Iterable[tuple[str, Child, Child]]) -> Markup:
    """Show the figures that matter most: what, the figure, what belongs to it."""
    return element(
        "dl",
        [
            element("div", element("dt", what), element("dd", figure, element("small", beside)))
            for what, figure, beside in told
        ],
        class_="tiles",
    )


def bar(share: float, number: int = 1) -> Markup:
    """Draw a share in [0, 1] as a bar; drawn as an image, it is printed as well."""
    width = f"{100 * share:.4g}"
    edge = element("rect", width="100", height="10", style="fill:var(--grid)")
    inside = element("rect", width=width, height="10", style=f"fill:var(--s{number})")
    return element(
        "svg",
        edge,
        inside,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def legible(value: object) -> str:
    """Write a value of the configuration as a configuration file would.

    Examples
    --------
    >>> legible(0.05), legible(("a", "b")), legible(None)
    ('0.05', '["a","b"]', 'null')
    """
    return msgspec.json.encode(value).decode()


def _values(config: Config) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name in _PLAYED
        for key, value in msgspec.structs.asdict(getattr(config, name)).items()
    }


def differing(configs: Mapping[str, Config]) -> Markup:
    """Lay out the settings that are not the default's in one configuration or another.

    Parameters
    ----------
    configs
        By name, at least one.
    """
    defaults = _values(Config())
    found = {name: _values(config) for name, config in configs.items()}
    keys = [
        key for key, usual in defaults.items() if any(one[key] != usual for one in found.values())
    ]
    if not keys:
        return element("p", "Every setting is the default's.")
    header = ["setting", *map(foreign, found), "where nothing is set"]
    rows = [
        [
            element("code", key),
            *(element("code", foreign(legible(one[key]))) for one in found.values()),
            element("code", legible(defaults[key])),
        ]
        for key in keys
    ]
    return element("div", table(header, rows), class_="words")


def whole(config: Config, title: Child) -> Markup:
    """Fold away all settings that a replay heeds."""
    rows = [
        [element("code", key), element("code", foreign(legible(value)))]
        for key, value in _values(config).items()
    ]
    inside = element("div", table(["setting", "value"], rows), class_="words")
    return element("details", element("summary", title), inside)


def versions(more: Mapping[str, str]) -> Markup:
    """Lay out what ran: figures can be had again, bit by bit, with the same of all of these."""
    told = {"stream_al": __version__, **fingerprint(), **more}
    rows = [[name, element("code", value)] for name, value in told.items()]
    return element("div", table(["what", "which"], rows), class_="words")
