"""What all dashboards share: variables, annotations, links, and rows of panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as grafana

from deploy.grafana.source.expressions import over, process
from deploy.grafana.source.links import TAG, dashboard_links
from deploy.grafana.source.looks import ORANGE, PURPLE, SOURCE

__all__ = ["Panels", "Row", "framed"]

Panels: TypeAlias = Sequence[Builder[grafana.Panel]]
"""In the order of reading; widths fill lines of 24."""

Row: TypeAlias = tuple[str, Panels]
"""A title, empty for none, and what stands under it."""


def framed(name: str, title: str, description: str, rows: Sequence[Row]) -> grafana.Dashboard:
    """Put a dashboard together; panels are numbered as they stand."""
    frame = (
        build.Dashboard(f"stream_al / {title}")
        .uid(f"stream-al-{name}")
        .description(description)
        .tags([TAG])
        .tooltip(grafana.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .readonly()
        .variables(_variables())
        .links(list(dashboard_links()))
    )
    for row_title, panels in rows:
        if row_title:
            frame = frame.with_row(build.Row(row_title))
        for panel in panels:
            frame = frame.with_panel(panel)
    made = frame.build()
    made.annotations = grafana.AnnotationContainer(list_val=_annotations())
    for number, panel_or_row in enumerate(made.panels or (), 1):
        panel_or_row.id_val = number
    return made


def _variables() -> list[Builder[grafana.VariableModel]]:
    return [
        build.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("job", "Job", "label_values(stream_al_build_info, job)"),
        _choice("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
    ]


def _choice(name: str, label: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .query({"query": query, "refId": name})
        .datasource(SOURCE)
        .refresh(grafana.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(grafana.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .current(grafana.VariableOption(text="All", value="$__all", selected=True))
    )


def _annotations() -> list[grafana.AnnotationQuery]:
    alarms = f"{over('drift_alarms', 'cause')} > {over('drift_alarms', 'cause', ago='$__interval')}"
    started = f"max by (instance) ({process('process_start_time_seconds')})"
    # However long it was away, and whether or not a sample falls into the first step.
    restarts = f"1000 * (time() - {started}) < 2 * $__interval_ms + 30000"
    return [
        _Annotation("Drift alarms", alarms, "Drift: {{cause}}", ORANGE),
        _Annotation("Restarts", restarts, "Started: {{instance}}", PURPLE),
    ]


class _Annotation(grafana.AnnotationQuery):
    """Marks when an expression has a value; the library leaves out how it is titled."""

    def __init__(self, name: str, expression: str, title: str, colour: str) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=colour, expr=expression)
        self._title = title

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self._title}
