"""PromQL, from what the metrics' declarations say: replicas make one figure as declared.

``$job`` and ``$instance`` are in every selector, so that each dashboard can be narrowed down.
"""

from __future__ import annotations

from stream_al.metrics import METRICS, PREFIX

__all__ = [
    "any_of",
    "increase",
    "mean",
    "of",
    "over",
    "per_minute",
    "process",
    "process_rate",
    "quantile",
    "rate",
    "values",
]

_DECLARED = {metric.name: metric for metric in METRICS}
_CHOSEN = 'job=~"$job", instance=~"$instance"'


def of(name: str, suffix: str = "", **where: str) -> str:
    """Select the series of a declared metric.

    Parameters
    ----------
    name
        Without the prefix; KeyError where it is not declared.
    suffix
        ``_bucket``, ``_sum`` or ``_count`` of a histogram.
    **where
        Values of labels; several are divided by ``|``.

    Examples
    --------
    >>> of("predictions_total", action="ask")
    'stream_al_predictions_total{job=~"$job", instance=~"$instance", action="ask"}'
    """
    return process(PREFIX + _DECLARED[name].name + suffix, **where)


def process(name: str, **where: str) -> str:
    """Select the series of a metric that the Prometheus client or Prometheus itself adds."""
    matchers = [
        f'{label}{"=~" if "|" in value else "="}"{value}"' for label, value in where.items()
    ]
    return f"{name}{{{', '.join([_CHOSEN, *matchers])}}}"


def values(name: str, label: str) -> tuple[str, ...]:
    """List all that a label may be, for one query each.

    Examples
    --------
    >>> values("drift_alarms", "cause")
    ('residual', 'error', 'features')
    """
    return _DECLARED[name].values[label]


def over(name: str, *by: str, ago: str = "", **where: str) -> str:
    """Make one figure of all replicas', as the metric declares, or one for each of `by`.

    Parameters
    ----------
    name, **where
        As of `of`.
    ago
        How long ago; empty: now.

    Examples
    --------
    >>> over("fold_lag_records", "instance")
    'max by (instance) (stream_al_fold_lag_records{job=~"$job", instance=~"$instance"})'
    """
    then = f" offset {ago}" if ago else ""
    return _grouped(_DECLARED[name].aggregate, by, of(name, **where) + then)


def rate(name: str, *by: str, suffix: str = "", **where: str) -> str:
    """Give what a counter rises by in a second, summed over replicas."""
    return _grouped("sum", by, f"rate({of(name, suffix, **where)}[$__rate_interval])")


def per_minute(name: str, *by: str, **where: str) -> str:
    """Give what a counter rises by in a minute, summed over replicas."""
    return f"60 * {rate(name, *by, **where)}"


def process_rate(name: str) -> str:
    """Give what a counter of the Prometheus client rises by in a second, by process."""
    return _grouped("sum", ("instance",), f"rate({process(name)}[$__rate_interval])")


def increase(name: str, *by: str, suffix: str = "", **where: str) -> str:
    """Give what a counter rose by in the time range shown, summed over replicas."""
    return _grouped("sum", by, f"increase({of(name, suffix, **where)}[$__range])")


def quantile(share: float, name: str, *by: str, whole_range: bool = False, **where: str) -> str:
    """Give a quantile of a histogram, of all replicas' observations together.

    Parameters
    ----------
    whole_range
        Over the time range shown, for what is rare.
    """
    rise = increase if whole_range else rate
    return f"histogram_quantile({share:g}, {rise(name, 'le', *by, suffix='_bucket', **where)})"


def mean(name: str, *by: str) -> str:
    """Give the mean of a histogram's observations."""
    return f"{rate(name, *by, suffix='_sum')} / {rate(name, *by, suffix='_count')}"


def any_of(condition: str) -> str:
    """Count the series for which a condition holds; 0 where there are none."""
    return f"(count({condition}) or vector(0))"


def _grouped(operator: str, by: tuple[str, ...], inner: str) -> str:
    grouping = f" by ({', '.join(by)}) " if by else ""
    return f"{operator}{grouping}({inner})"
