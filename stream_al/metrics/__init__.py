"""Every Prometheus metric, declared once.

Names follow Prometheus' conventions: base units, ``_total`` for counters, bounded labels. A process
exports the metrics of the roles that it runs, and no others, so that a sum, a mean or a minimum
over processes is one over those that have something to say.
"""

from __future__ import annotations

from stream_al.metrics.deciding import DECIDING
from stream_al.metrics.declared import PREFIX, ROLES, Aggregate, Kind, Metric
from stream_al.metrics.insight import INSIGHT
from stream_al.metrics.running import RUNNING

__all__ = ["METRICS", "PREFIX", "ROLES", "Aggregate", "Kind", "Metric"]

METRICS: tuple[Metric, ...] = (*DECIDING, *INSIGHT, *RUNNING)
