"""Two live gates, a ledger and an annotator, scraped by a real Prometheus for two minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from .charts import Drawn, page
from .pipeline import EMBEDDED, LIVE, Pipeline, free_addresses
from .prometheus import Prometheus, Series, fetched, needed, problems
from .quiet import QUIET, UNDECIDED
from .shown import RULES, Expression, Panel, filled, marks, panels, rules

pytestmark = pytest.mark.observed

SCRAPE_S = 2
RANGE_S = 120


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
                pipeline.poison(20)
                if part == 2:
                    pipeline.restart("gate-2")
                pipeline.go_on(start + (part + 1) * RANGE_S / 4 - time.time())
            await_all_ready(prometheus, pipeline)
            end = time.time()
            metrics = {
                name: fetched(place, "/metrics")[1] for name, place in pipeline.addresses.items()
            }
        yield Observed(prometheus, start, end, metrics)
    finally:
        prometheus.close()


def await_scrapes(prometheus: Prometheus, pipeline: Pipeline) -> None:
    """Wait until all targets are scraped and events are predicted, live and embedded."""
    wanted = sum(map(len, pipeline.targets.values()))
    predicting = "count(sum by (job) (stream_al_predictions_total) > 0)"
    patiently(pipeline, lambda: prometheus.figure("sum(up)") == wanted)
    patiently(pipeline, lambda: prometheus.figure(predicting) == len(pipeline.targets))


def await_all_ready(prometheus: Prometheus, pipeline: Pipeline) -> None:
    """Wait until what was restarted, and what gave up partitions to it, was seen to be ready."""
    patiently(pipeline, lambda: prometheus.figure("min(stream_al_ready)") == 1)


def patiently(pipeline: Pipeline, condition: Callable[[], bool]) -> None:
    """Wait for what has to come."""
    end = time.monotonic() + 60.0
    while not condition():
        pipeline.look_after()
        assert time.monotonic() < end, "this has not come about in time"
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


def test_every_panel_has_a_result(observed: Observed) -> None:
    """Each expression of each panel gives something, and so do all annotations."""
    found = {
        f"{panel.name}, {expression.legend}": series
        for panel in panels()
        for expression, series in asked(observed, panel)
    }
    for name, text in marks().items():
        found[name] = ask(observed, text, LIVE, instant=False)
    assert [name for name, series in found.items() if not series] == []


def test_every_rule_has_a_result(observed: Observed) -> None:
    """Recorded series are there, and of the alerts' conditions all but those that are quiet."""
    found = {rule.name: observed.prometheus.at_once(rule.text, observed.end) for rule in rules()}
    empty = {name for name, series in found.items() if not series}
    assert not (set(QUIET) | set(UNDECIDED)) - set(found)
    assert empty - set(UNDECIDED) - set(QUIET) == set()
    assert {name: found[name] for name in QUIET if name not in empty} == {}


def test_quiet_alerts_look_at_what_is_there(observed: Observed) -> None:
    """No alert is quiet because nothing has the names and labels that its condition asks for."""
    absent = {
        (rule.name, selector)
        for rule in rules()
        for selector in rule.selectors
        if not observed.prometheus.at_once(f"last_over_time({selector}[5m])", observed.end)
    }
    assert absent == set()


def test_panels_can_be_looked_at(observed: Observed, tmp_path: Path) -> None:
    """Each panel is drawn from what it gives, on one page, beside what it says of itself."""
    path = Path(os.environ.get("STREAM_AL_PANELS", tmp_path / "panels.html"))
    drawn = [Drawn(panel, asked(observed, panel)) for panel in panels()]
    path.write_text(page(drawn, observed.start))
    assert path.read_text().count("<figure>") == len(drawn)
