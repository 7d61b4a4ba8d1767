"""The kinds of panels, each with its unit, title and description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as style
from grafana_foundation_sdk.models import dashboard as grafana
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.links import runbook_link
from deploy.grafana.source.looks import (
    BLUE,
    GREEN,
    GREY,
    SOURCE,
    Query,
    mappings,
    overrides,
    steps_of,
    targets,
)

__all__ = ["bars", "figure", "graph", "heat", "listing", "states"]


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    height: int = 8,
    low: float | None = None,
    high: float | None = None,
    stacked: bool = False,
    gaps: bool = True,
    runbook: str = "",
) -> timeseries.Panel:
    """Draw lines over time.

    Parameters
    ----------
    low, high
        Of the axis; None: as the values are.
    gaps
        Show that there was no value; False for what is known only now and then.
    runbook
        The section to lead to; empty: none.
    """
    legend = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull"])
    legend.display_mode(style.LegendDisplayMode.TABLE).placement(style.LegendPlacement.BOTTOM)
    panel = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(style.TooltipDisplayMode.MULTI))
        .line_width(2)
        .fill_opacity(40 if stacked else 0)
        .span_nulls(not gaps)
        .color_scheme(dashboard.FieldColor().mode(grafana.FieldColorModeId.PALETTE_CLASSIC))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(style.StackingMode.NORMAL).group("A"))
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    for letter, properties in overrides(queries).items():
        panel.override_by_query(letter, properties)
    _describe(panel, title, description, unit, width, height, runbook)
    panel.targets(targets(queries))
    return panel


def figure(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    decimals: int | None = None,
    steps: Sequence[tuple[float, str]] = (),
    words: Mapping[str, str] | None = None,
    absent: str = "not known yet",
    whole_range: bool = False,
    runbook: str = "",
) -> stat.Panel:
    """Show the last value, large.

    Parameters
    ----------
    steps
        From which value on which colour holds; below the first it is green.
    words
        What is shown for some values.
    absent
        What is shown where there is no value.
    whole_range
        The expression is about the time range shown, and is asked for once.
    """
    panel = (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(style.BigValueGraphMode.NONE if whole_range else style.BigValueGraphMode.AREA)
        .color_mode(style.BigValueColorMode.VALUE)
        .text_mode(
            style.BigValueTextMode.VALUE_AND_NAME
            if len(queries) > 1
            else style.BigValueTextMode.VALUE
        )
        .no_value(absent)
        .mappings(mappings({value: (word, None) for value, word in (words or {}).items()}))
        .thresholds(steps_of([(None, GREEN if steps else BLUE), *steps]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    _describe(panel, title, description, unit, width, 4, runbook)
    panel.targets(targets(queries, instant=whole_range))
    return panel


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    height: int = 8,
    absent: str = "none in this time range",
    runbook: str = "",
) -> bargauge.Panel:
    """Show one bar for each series of figures about the time range shown."""
    panel = (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .orientation(style.VizOrientation.HORIZONTAL)
        .display_mode(style.BarGaugeDisplayMode.BASIC)
        .color_scheme(dashboard.FieldColor().mode(grafana.FieldColorModeId.FIXED).fixed_color(BLUE))
        .min(0)
        .decimals(0)
        .no_value(absent)
    )
    _describe(panel, title, description, unit, width, height, runbook)
    panel.targets(targets(queries, instant=True))
    return panel


def states(
    title: str,
    description: str,
    *queries: Query,
    words: Mapping[str, tuple[str, str]],
    width: int = 8,
    height: int = 8,
    runbook: str = "",
) -> statetimeline.Panel:
    """Show what held when.

    Parameters
    ----------
    words
        By value: what is said, and its colour.
    """
    panel = (
        statetimeline.Panel()
        .mappings(mappings(words))
        .color_scheme(dashboard.FieldColor().mode(grafana.FieldColorModeId.THRESHOLDS))
        .thresholds(steps_of([(None, GREY)]))
        .show_value(style.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .legend(common.VizLegendOptions().show_legend(False))
    )
    _describe(panel, title, description, "none", width, height, runbook)
    panel.targets(targets(queries))
    return panel


def heat(
    title: str, description: str, unit: str, query: Query, width: int = 8, height: int = 8
) -> heatmap.Panel:
    """Show how observations spread over a histogram's buckets, over time."""
    panel = (
        heatmap.Panel()
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Cividis").steps(32)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("short"))
        .show_legend()
    )
    _describe(panel, title, description, unit, width, height, "")
    panel.targets(targets([query], shape=PromQueryFormat.HEATMAP))
    return panel


def listing(
    title: str,
    description: str,
    columns: Mapping[str, tuple[str, str]],
    *queries: Query,
    width: int = 8,
    height: int = 8,
) -> table.Panel:
    """Show the last values in a table, one row for each combination of labels.

    Parameters
    ----------
    columns
        By name of the label, or ``Value #A`` for the first query: heading, and unit.
    """
    panel = table.Panel().transformations(
        [
            grafana.DataTransformerConfig(id_val="merge", options={}),
            grafana.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {name: at for at, name in enumerate(columns)},
                    "renameByName": {name: heading for name, (heading, _) in columns.items()},
                },
            ),
        ]
    )
    for heading, unit in columns.values():
        if unit:
            panel.override_by_name(heading, [grafana.DynamicConfigValue("unit", unit)])
    _describe(panel, title, description, "none", width, height, "")
    panel.targets(targets(queries, instant=True, shape=PromQueryFormat.TABLE))
    return panel


_Panel = (
    bargauge.Panel
    | heatmap.Panel
    | stat.Panel
    | statetimeline.Panel
    | table.Panel
    | timeseries.Panel
)


def _describe(
    panel: _Panel, title: str, description: str, unit: str, width: int, height: int, runbook: str
) -> None:
    panel.title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(width).height(height)
    if runbook:
        panel.links([runbook_link(runbook)])
