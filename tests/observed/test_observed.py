"""Two live gates, a ledger and an annotator, scraped by a real Prometheus for two minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from .charts import Drawn, page
from .pipeline import EMBEDDED, LIVE, Pipeline, free_addresses
from .prometheus import Prometheus, Series, fetched, needed, problems
from .shown import RULES, Expression, Panel, filled, marks, panels, rules

pytestmark = pytest.mark.observed

SCRAPE_S = 2
RANGE_S = 120

EMPTY: dict[str, str] = {}
"""Panels' and annotations' expressions and rules that give nothing here, and why that is right."""


class Observed(msgspec.Struct, frozen=True):
    """What was seen: the two minutes, and the pages of metrics of each process at their end."""

    prometheus: Prometheus
    start: float
    end: float
    metrics: dict[str, bytes]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, kafka_brokers: str) -> Iterator[Observed]:
    """Let a pipeline run for two minutes; everything is evaluated after it has ended."""
    for program in ("prometheus", "promtool"):
        needed(program)
    folder = tmp_path_factory.mktemp("observed")
    pipeline = Pipeline(folder, kafka_brokers)
    (address,) = free_addresses(1)
    prometheus = Prometheus(folder, address, pipeline.targets, RULES, SCRAPE_S)
    try:
        with pipeline:
            prometheus.await_ready()
            await_scrapes(prometheus, pipeline)
            start = time.time()
            for part in range(4):
                pipeline.poison(40)
                if part == 2:
                    pipeline.restart("gate-2")
                pipeline.go_on(start + (part + 1) * RANGE_S / 4 - time.time())
            end = time.time()
            metrics = {
                name: fetched(place, "/metrics")[1] for name, place in pipeline.addresses.items()
            }
        yield Observed(prometheus, start, end, metrics)
    finally:
        prometheus.close()


def await_scrapes(prometheus: Prometheus, pipeline: Pipeline) -> None:
    """Wait until all targets are scraped and events are predicted, live and embedded."""
    end = time.monotonic() + 60.0
    wanted = sum(map(len, pipeline.targets.values()))
    predicted = "sum by (job) (stream_al_predictions_total) > 0"
    while True:
        now = time.time()
        up = sum(each.values[-1][1] for each in prometheus.at_once("sum(up)", now))
        if up == wanted and len(prometheus.at_once(predicted, now)) == len(pipeline.targets):
            return
        pipeline.look_after()
        assert time.monotonic() < end, f"{up} of {wanted} are scraped"
        time.sleep(0.5)


def ask(observed: Observed, text: str, job: str, *, instant: bool) -> list[Series]:
    """Evaluate an expression as Grafana would for the two minutes."""
    whole = filled(text, job=job, step_s=SCRAPE_S, scrape_s=SCRAPE_S, range_s=RANGE_S)
    if instant:
        return observed.prometheus.at_once(whole, observed.end)
    return observed.prometheus.over(whole, observed.start, observed.end, SCRAPE_S)


def job_of(panel: Panel) -> str:
    """Choose the job that a panel is about: what an embedded log takes up, Kafka has not."""
    return EMBEDDED if panel.row == "Embedded log" else LIVE


def asked(observed: Observed, panel: Panel) -> list[tuple[Expression, list[Series]]]:
    """Evaluate all expressions of a panel."""
    return [
        (each, ask(observed, each.text, job_of(panel), instant=each.instant))
        for each in panel.expressions
    ]


def test_metrics_follow_the_conventions(observed: Observed) -> None:
    """`promtool check metrics` finds nothing to say about any process's metrics."""
    for name, metrics in observed.metrics.items():
        assert problems(metrics) == "", name


def test_every_expression_has_a_result(observed: Observed) -> None:
    """Panels, annotations and rules give something, but for those that rightly do not."""
    found = {
        f"{panel.name}, {expression.legend}": bool(series)
        for panel in panels()
        for expression, series in asked(observed, panel)
    }
    for name, text in marks().items():
        found[name] = bool(ask(observed, text, LIVE, instant=False))
    for rule in rules():
        found[rule.name] = bool(observed.prometheus.at_once(rule.text, observed.end))
    empty = {name for name, there in found.items() if not there}
    assert empty == set(EMPTY), {
        "unexpectedly empty": empty - set(EMPTY),
        "not empty": set(EMPTY) - empty,
    }


def test_panels_can_be_looked_at(observed: Observed, tmp_path: Path) -> None:
    """Each panel is drawn from what it gives, on one page, beside what it says of itself."""
    path = Path(os.environ.get("STREAM_AL_PANELS", tmp_path / "panels.html"))
    drawn = [Drawn(panel, asked(observed, panel)) for panel in panels()]
    path.write_text(page(drawn, observed.start))
    assert path.read_text().count("<figure>") == len(drawn)
