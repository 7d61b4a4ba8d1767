"""The reference of all metrics, as text."""

from __future__ import annotations

from stream_al.metrics import METRICS, PREFIX, ROLES, Metric

__all__ = ["reference"]

_INTRODUCTION = f"""# Metrics

Written by `stream-al metrics`; what is said here is declared in `stream_al/metrics/`.

Served at `/metrics` of `serve.host` and `serve.port`. A process exports the metrics of the roles
that it runs, and the `process_*` and `python_info` metrics of the Prometheus client. `role` is one
of {", ".join(ROLES)}. Where values of a label are listed, all are there from the start, at zero;
the series of a partition end when it moves to another replica. *Replicas* is the operator that
makes one figure of several processes'; a histogram's buckets are summed before
`histogram_quantile`.

```
# label requests per event, exactly
sum(rate({PREFIX}label_requests_total[1h])) / sum(rate({PREFIX}events_total[1h]))
# 99 of 100 decisions take less, seconds
histogram_quantile(
  0.99, sum by (le) (rate({PREFIX}decision_seconds_bucket{{role="gate"}}[5m]))
)
# records that wait, by input
sum by (role, topic) ({PREFIX}consumer_lag_records)
```
"""

_HEADING = """| Metric | Kind | Unit | Labels | Replicas | Meaning |
| --- | --- | --- | --- | --- | --- |
"""


def reference() -> str:
    """Write the reference of all metrics, in Markdown."""
    sections = {"Gate": ("gate",), "Ledger": ("ledger",), "Every role": ROLES}
    parts = [_INTRODUCTION]
    for title, roles in sections.items():
        rows = "".join(_row(metric) for metric in METRICS if metric.roles == roles)
        parts.append(f"## {title}\n\n{_HEADING}{rows}")
    return "\n".join(parts)


def _values(metric: Metric, label: str) -> list[str]:
    """List what stands for a label in the series that there are; `role` is told elsewhere."""
    at = metric.labels.index(label)
    return list(dict.fromkeys(labels[at] for labels in metric.series if label != "role"))


def _row(metric: Metric) -> str:
    labels = []
    for label in metric.labels:
        values = metric.values.get(label) or _values(metric, label)
        labels.append(f"`{label}`: {', '.join(values)}" if values else f"`{label}`")
    meaning = metric.meaning
    if metric.buckets:
        meaning += f" Buckets up to {', '.join(f'{bound:g}' for bound in metric.buckets)}."
    cells = (
        f"`{metric.full_name}`",
        metric.kind,
        metric.unit,
        "; ".join(labels),
        metric.aggregate,
        meaning,
    )
    return f"| {' | '.join(cells)} |\n"
