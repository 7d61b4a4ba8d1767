"""One HTML page on which each panel is drawn from what Prometheus answered, to be looked at."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .prometheus import Series
from .shown import Expression, Panel

__all__ = ["Drawn", "page"]

_STYLE = """
body { font: 14px sans-serif; margin: 2em; max-width: 110em }
section { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1em }
h2 { margin-top: 2em } h3 { grid-column: 1 / -1; border-bottom: 1px solid #888; margin: .5em 0 0 }
figure { margin: 0; border: 1px solid #ccc; padding: .6em } img { width: 100% }
b.title { font-size: 110% } p { margin: .3em 0; color: #444 }
td, th { padding: .1em .8em; text-align: left }
.value { font-size: 250%; margin: .3em 0 }
"""
_IN_TURN = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#888888")


class Drawn(msgspec.Struct, frozen=True):
    """A panel, and what each of its expressions gave."""

    panel: Panel
    found: list[tuple[Expression, list[Series]]]


class _Line(msgspec.Struct, frozen=True):
    name: str
    series: Series
    colour: str | None
    dashed: bool
    fill: str | None


def page(drawn: Sequence[Drawn], start: float) -> str:
    """Draw all panels, by dashboard and row; `start` is zero on the axes of time."""
    parts = [f"<!doctype html><meta charset=utf-8><title>Panels</title><style>{_STYLE}</style>"]
    dashboard = row = None
    for each in drawn:
        if each.panel.dashboard != dashboard:
            dashboard, row = each.panel.dashboard, ""
            parts.append("</section>" if len(parts) > 1 else "")
            parts.append(f"<h2>{html.escape(dashboard)}</h2><section>")
        if each.panel.row != row:
            row = each.panel.row
            parts.append(f"<h3>{html.escape(row)}</h3>")
        parts.append(_figure(each, start))
    return "".join([*parts, "</section>"])


def _figure(drawn: Drawn, start: float) -> str:
    given, defaults = drawn.panel.given, drawn.panel.defaults
    said = f"{given['description']} [{drawn.panel.kind}; unit: {defaults['unit']}]"
    return (
        f"<figure><b class=title>{html.escape(given['title'])}</b>"
        f"{_body(drawn, start)}<p>{html.escape(said)}</p></figure>"
    )


def _body(drawn: Drawn, start: float) -> str:
    lines = _lines(drawn)
    if not lines:
        return f"<p class=value>{html.escape(drawn.panel.defaults.get('noValue', 'No data'))}</p>"
    kind = drawn.panel.kind
    if kind == "table":
        return _table(drawn)
    if kind == "stat":
        return _stat(drawn, lines)
    figure = Figure(figsize=(5.2, 3.4))
    axes = figure.subplots()
    left = {"bargauge": 0.45, "state-timeline": 0.35}.get(kind, 0.14)
    bottom = 0.3 if kind == "timeseries" else 0.1
    figure.subplots_adjust(left=left, right=0.98, top=0.98, bottom=bottom)
    draw = {
        "timeseries": _graph,
        "bargauge": _bars,
        "state-timeline": _states,
        "heatmap": _heat,
    }[kind]
    draw(axes, lines, drawn.panel, start)
    return _image(figure)


def _image(figure: Figure) -> str:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=90)
    return f'<img src="data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}">'


def _lines(drawn: Drawn) -> list[_Line]:
    overrides = {
        each["matcher"]["options"]: {p["id"]: p["value"] for p in each["properties"]}
        for each in drawn.panel.given["fieldConfig"]["overrides"]
        if each["matcher"]["id"] == "byFrameRefID"
    }
    lines = []
    for number, (expression, found) in enumerate(drawn.found):
        style = overrides.get(chr(ord("A") + number), {})
        for series in found:
            name = _named(expression.legend, series.labels)
            lines.append(
                _Line(
                    name,
                    series,
                    style.get("color", {}).get("fixedColor"),
                    "custom.lineStyle" in style,
                    style.get("custom.fillBelowTo"),
                )
            )
    return lines


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)


def _graph(axes: Axes, lines: list[_Line], panel: Panel, start: float) -> None:
    unit, defaults = panel.defaults["unit"], panel.defaults
    by_name = {line.name: line for line in lines}
    turns = iter(_IN_TURN * 9)
    below: dict[float, float] = {}
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    for line in lines:
        colour = line.colour or next(turns)
        times = [time - start for time, _ in line.series.values]
        values = [value for _, value in line.series.values]
        label = f"{line.name}: {_said(values[-1], unit)}"
        if stacked:
            bottom = [below.get(time, 0.0) for time in times]
            values = [low + value for low, value in zip(bottom, values, strict=True)]
            below.update(zip(times, values, strict=True))
            axes.fill_between(times, bottom, values, color=colour, alpha=0.4)
        if line.fill and line.fill in by_name:
            lower = {time - start: value for time, value in by_name[line.fill].series.values}
            shared = [time for time in times if time in lower]
            upper = dict(zip(times, values, strict=True))
            axes.fill_between(
                shared,
                [lower[time] for time in shared],
                [upper[time] for time in shared],
                color=colour,
                alpha=0.25,
            )
        style = "--" if line.dashed else "-"
        if not defaults["custom"]["spanNulls"]:
            times, values = _with_gaps(times, values)
        axes.plot(times, values, style, color=colour, label=label, marker=".", markersize=2)
    low, high = axes.get_ylim()
    axes.set_ylim(defaults.get("min", low), defaults.get("max", high))
    axes.yaxis.set_major_formatter(lambda value, _: _said(value, unit))
    axes.legend(
        fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False
    )
    axes.tick_params(labelsize=7)


def _with_gaps(times: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Break a line where a step has no value."""
    step = min((b - a for a, b in pairwise(times)), default=0.0)
    shown: list[tuple[float, float]] = []
    for time, value in zip(times, values, strict=True):
        if shown and time - shown[-1][0] > 1.5 * step:
            shown.append((shown[-1][0] + step, math.nan))
        shown.append((time, value))
    return [time for time, _ in shown], [value for _, value in shown]


def _bars(axes: Axes, lines: list[_Line], panel: Panel, start: float) -> None:  # noqa: ARG001
    lines = lines[::-1]
    values = [line.series.values[-1][1] for line in lines]
    axes.barh([line.name for line in lines], values, color=_IN_TURN[0])
    for at, value in enumerate(values):
        axes.text(value, at, f" {_said(value, panel.defaults['unit'])}", va="center", fontsize=7)
    axes.tick_params(labelsize=7)


def _states(axes: Axes, lines: list[_Line], panel: Panel, start: float) -> None:
    words = panel.defaults["mappings"][0]["options"]
    for at, line in enumerate(lines):
        points = line.series.values
        for (time, value), following in zip(points, [*points[1:], None], strict=True):
            until = time + 2.0 if following is None else min(following[0], time + 2.0)
            word = words[f"{value:g}"]
            axes.barh(at, until - time, left=time - start, color=word["color"], height=0.8)
        axes.text(
            0, at, words[f"{points[-1][1]:g}"]["text"], va="center", fontsize=7, color="white"
        )
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    axes.invert_yaxis()
    axes.tick_params(labelsize=7)


def _heat(axes: Axes, lines: list[_Line], panel: Panel, start: float) -> None:
    lines = sorted(lines, key=lambda line: float(line.name))
    times = sorted({time for line in lines for time, _ in line.series.values})
    rows, below = [], dict.fromkeys(times, 0.0)
    for line in lines:
        here = dict(line.series.values)
        rows.append([max(0.0, here.get(time, 0.0) - below[time]) for time in times])
        below.update(here)
    edges = [time - start for time in times]
    axes.pcolormesh(edges, range(len(lines)), rows, cmap="cividis", shading="nearest")
    unit = panel.given["options"]["yAxis"]["unit"]
    names = [_said(float(line.name), unit) for line in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=7)


def _stat(drawn: Drawn, lines: list[_Line]) -> str:
    defaults = drawn.panel.defaults
    words = defaults["mappings"][0]["options"] if defaults["mappings"] else {}
    shown = []
    for line in lines:
        value = line.series.values[-1][1]
        colour = [
            step["color"]
            for step in defaults["thresholds"]["steps"]
            if step["value"] is None or value >= step["value"]
        ][-1]
        word = words.get(f"{value:g}", {}).get("text") or _said(
            value, defaults["unit"], defaults.get("decimals")
        )
        shown.append(f'<div class=value style="color: {colour}">{html.escape(word)}</div>')
    return "".join(shown)


def _table(drawn: Drawn) -> str:
    organized = drawn.panel.given["transformations"][1]["options"]
    cells: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    several = len(drawn.found) > 1
    for number, (_, found) in enumerate(drawn.found):
        column = f"Value #{chr(ord('A') + number)}" if several else "Value"
        for series in found:
            row = cells.setdefault(tuple(sorted(series.labels.items())), dict(series.labels))
            row[column] = f"{series.values[-1][1]:.4g}"
    columns = sorted(organized["indexByName"], key=organized["indexByName"].__getitem__)
    head = "".join(f"<th>{html.escape(organized['renameByName'][name])}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row.get(name, ''))}</td>" for name in columns) + "</tr>"
        for row in cells.values()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _said(value: float, unit: str, decimals: Any = None) -> str:
    if unit == "percentunit":
        return f"{100 * value:.{1 if decimals is None else decimals}f} %"
    if unit == "s":
        return _scaled(
            value, (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)), "µs", 1e-6
        )
    if unit == "bytes":
        return _scaled(value, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)), "B", 1)
    ends = {"eps": " /s", "cpm": " /min"}.get(unit, "")
    if decimals is None:
        decimals = 0 if abs(value) >= 1000 or value == int(value) else 2
    number = f"{value:,.{decimals}f}"
    return f"{number}{ends}"


def _scaled(value: float, steps: tuple[tuple[str, float], ...], least: str, size: float) -> str:
    for name, amount in steps:
        if abs(value) >= amount:
            return f"{value / amount:.3g} {name}"
    return f"{value / size:.3g} {least}"
