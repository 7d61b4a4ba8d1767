"""How figures look: queries, colours, thresholds and words for values.

Colours are those of Okabe and Ito, which colour-blind people tell apart; none means anything that
is not also said in words or by a line's style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as grafana
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "SOURCE",
    "Query",
    "limits",
    "mappings",
    "overrides",
    "steps_of",
    "targets",
]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#888888"

SOURCE = grafana.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""What the variable of that name chooses."""

_IN_TURN = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY)


class Query(msgspec.Struct, frozen=True):
    """One expression of a panel.

    Attributes
    ----------
    expression
        PromQL.
    legend
        The name of its series, or a pattern of label names.
    colour
        Of its only series; empty: the next in turn.
    dashed
        Drawn as a broken line: what something is held against, or is not to be taken for it.
    down_to
        The legend of the series down to which the area is filled; empty: none.
    """

    expression: str
    legend: str = ""
    colour: str = ""
    dashed: bool = False
    down_to: str = ""


def limits(lower: str, upper: str, colour: str = SKY) -> tuple[Query, Query]:
    """Draw a band between two expressions."""
    return (
        Query(lower, "lower limit", colour),
        Query(upper, "upper limit", colour, down_to="lower limit"),
    )


def targets(
    queries: Sequence[Query],
    *,
    instant: bool = False,
    shape: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> list[Builder[Dataquery]]:
    """Ask for queries, over the time range or, `instant`, at its end."""
    found: list[Builder[Dataquery]] = []
    for number, query in enumerate(queries):
        target = prometheus.Dataquery().ref_id(_letter(number)).datasource(SOURCE)
        target.expr(query.expression).legend_format(query.legend).format(shape)
        found.append(target.instant() if instant else target.range())
    return found


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def overrides(queries: Sequence[Query]) -> dict[str, list[grafana.DynamicConfigValue]]:
    """Give the queries their colours and styles, by the letter that they go by."""
    found = {_letter(at): _properties(query, at) for at, query in enumerate(queries)}
    return {letter: properties for letter, properties in found.items() if properties}


def _properties(query: Query, number: int) -> list[grafana.DynamicConfigValue]:
    found: list[grafana.DynamicConfigValue] = []

    def put(name: str, value: object) -> None:
        found.append(grafana.DynamicConfigValue(name, value))

    if "{{" not in query.legend:
        colour = query.colour or _IN_TURN[number % len(_IN_TURN)]
        put("color", {"mode": "fixed", "fixedColor": colour})
    if query.dashed:
        put("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})
    if query.down_to:
        put("custom.fillBelowTo", query.down_to)
        put("custom.fillOpacity", 25)
    if query.legend in ("lower limit", "upper limit"):
        put("custom.lineWidth", 1)
    return found


def steps_of(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    """Colour values from each of some on; None: from the least."""
    return (
        dashboard.ThresholdsConfig()
        .mode(grafana.ThresholdsMode.ABSOLUTE)
        .steps([grafana.Threshold(value, colour) for value, colour in steps])
    )


def mappings(words: Mapping[str, tuple[str, str | None]]) -> list[grafana.ValueMapping]:
    """Say words in place of values, in a colour if one is given."""
    if not words:
        return []
    return [
        grafana.ValueMap(
            options={
                value: grafana.ValueMappingResult(text=word, color=colour, index=at)
                for at, (value, (word, colour)) in enumerate(words.items())
            }
        )
    ]
