"""The metrics of one process: what `stream_al.metrics` declares, with its figures.

The figures are kept here and handed to the Prometheus client as it collects them: one lock makes
a batch's counts appear together, and there are no series but the declared ones.
"""

from __future__ import annotations

import math
import platform
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import accumulate, product

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from consumers.machine import Counts
from stream_al.metrics import METRICS, ROLES, Kind, Metric

__all__ = ["Telemetry"]


class Telemetry(Collector):
    """Keeps the metrics of a process; safe to use from several threads.

    Names are without the prefix. Label values come in the order in which they are declared.
    Whatever is not declared, or not for these roles, is a KeyError: a name, a value of a label
    whose values are all known, a number of labels.

    Parameters
    ----------
    roles
        What the process runs.

    Attributes
    ----------
    registry
        What the Prometheus client renders: these metrics, and those of process and platform.

    Examples
    --------
    >>> telemetry = Telemetry(["gate"])
    >>> telemetry.add(Counter({("predictions_total", "ask"): 2}), "gate")
    >>> telemetry.set("model_version", 17)
    >>> lines = telemetry.render().decode().splitlines()
    >>> [line for line in lines if line.startswith("stream_al_predictions")]
    ['stream_al_predictions_total{action="ask"} 2.0',
     'stream_al_predictions_total{action="auto"} 0.0']
    """

    def __init__(self, roles: Iterable[str]) -> None:
        self._roles = tuple(dict.fromkeys(roles))
        if unknown := set(self._roles) - set(ROLES):
            raise KeyError(f"no such roles: {', '.join(sorted(unknown))}")
        self._lock = threading.Lock()
        self._metrics = {m.name: m for m in METRICS if set(m.roles) & set(self._roles)}
        self._series: dict[str, dict[tuple[str, ...], float]] = {}
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {}
        for metric in self._metrics.values():
            at_first = self._at_first(metric)
            if metric.kind == "histogram":
                self._histograms[metric.name] = {
                    labels: _Histogram(metric.buckets) for labels in at_first
                }
            else:
                self._series[metric.name] = dict.fromkeys(at_first, metric.initial)
        self.info("build_info", version("stream-al"), version("river"), platform.python_version())
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def add(self, counts: Counts, role: str) -> None:
        """Add to counters; the label ``role`` is put in where a counter has it."""
        with self._lock:
            for (name, *labels), amount in counts.items():
                metric = self._declared(name, "counter")
                at = (role, *labels) if metric.labels[:1] == ("role",) else tuple(labels)
                series = self._series[name]
                if at not in series:
                    self._check(metric, at)
                series[at] = series.get(at, 0.0) + amount

    def add_one(self, name: str, role: str) -> None:
        """Add one to a counter that has no label but ``role``, or none."""
        self.add(Counter({(name,): 1}), role)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge; NaN ends its series."""
        with self._lock:
            metric = self._declared(name, "gauge")
            self._check(metric, labels)
            self._series[name][labels] = value

    def get(self, name: str, *labels: str) -> float:
        """Return the figure of a gauge or counter; NaN where it has none."""
        with self._lock:
            return self._series.get(name, {}).get(labels, math.nan)

    def info(self, name: str, *labels: str) -> None:
        """Set an info metric, in place of what it said before."""
        with self._lock:
            metric = self._declared(name, "info")
            self._check(metric, labels)
            self._series[name] = {labels: 1.0}

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Observe a value in a histogram."""
        with self._lock:
            metric = self._declared(name, "histogram")
            self._check(metric, labels)
            self._histograms[name][labels].observe(value)

    def forget(self, role: str, partition: int) -> None:
        """End the series of a partition that is this role's no more."""
        number = str(partition)
        with self._lock:
            for metric in self._metrics.values():
                if "partition" not in metric.labels or role not in metric.roles:
                    continue
                at, shared = metric.labels.index("partition"), "role" in metric.labels
                series = self._series[metric.name]
                for labels in [labels for labels in series if labels[at] == number]:
                    if not shared or labels[0] == role:
                        del series[labels]

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Family]:
        """Hand all figures to the client, as they were at one moment."""
        with self._lock:
            series = {name: dict(found) for name, found in self._series.items()}
            histograms = {
                name: {labels: histogram.copy() for labels, histogram in found.items()}
                for name, found in self._histograms.items()
            }
        for name, metric in self._metrics.items():
            if metric.kind == "histogram":
                yield _histogram_family(metric, histograms[name])
            else:
                yield _family(metric, series[name])

    def _at_first(self, metric: Metric) -> Iterable[tuple[str, ...]]:
        """List the series that are there from the start."""
        if metric.series:
            return [labels for labels in metric.series if labels[0] in self._roles]
        known = [self._known(metric, label) for label in metric.labels]
        # What has a label whose values are not known starts with no series.
        return [] if None in known else product(*(values or () for values in known))

    def _known(self, metric: Metric, label: str) -> tuple[str, ...] | None:
        return self._roles if label == "role" else metric.values.get(label)

    def _declared(self, name: str, kind: Kind) -> Metric:
        metric = self._metrics.get(name)
        if metric is None or metric.kind != kind:
            raise KeyError(f"no {kind} {name!r} is declared for {', '.join(self._roles)}")
        return metric

    def _check(self, metric: Metric, labels: tuple[str, ...]) -> None:
        if len(labels) != len(metric.labels):
            raise KeyError(f"{metric.name} has the labels {metric.labels}, not {labels}")
        for label, value in zip(metric.labels, labels, strict=True):
            known = self._known(metric, label)
            if known is not None and value not in known:
                raise KeyError(f"{metric.name}: {label} is one of {', '.join(known)}, not {value}")
        if metric.series and labels not in metric.series:
            raise KeyError(f"{metric.name} has no series {labels}")


class _Histogram:
    """Counts by bucket, the last of them beyond all bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def copy(self) -> _Histogram:
        copied = _Histogram(self._bounds)
        copied._counts, copied.sum = list(self._counts), self.sum
        return copied

    def cumulative(self) -> list[tuple[str, float]]:
        bounds = map(floatToGoString, (*self._bounds, math.inf))
        return list(zip(bounds, accumulate(self._counts), strict=True))


def _family(metric: Metric, series: dict[tuple[str, ...], float]) -> Family:
    name, names = metric.full_name, metric.labels
    if metric.kind == "info":
        info = InfoMetricFamily(name.removesuffix("_info"), metric.help)
        for labels in series:
            info.add_metric((), dict(zip(names, labels, strict=True)))
        return info
    family_of = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = family_of(name, metric.help, labels=names, unit=_unit_in_name(metric))
    for labels, value in series.items():
        if not math.isnan(value):
            family.add_metric(labels, value)
    return family


def _histogram_family(metric: Metric, found: dict[tuple[str, ...], _Histogram]) -> Family:
    family = HistogramMetricFamily(
        metric.full_name, metric.help, labels=metric.labels, unit=_unit_in_name(metric)
    )
    for labels, histogram in found.items():
        family.add_metric(labels, histogram.cumulative(), histogram.sum)
    return family


def _unit_in_name(metric: Metric) -> str:
    """Return the unit where the name ends in it, or the client would append it to the name."""
    named = metric.full_name.removesuffix("_total").endswith(f"_{metric.unit}")
    return metric.unit if named else ""
