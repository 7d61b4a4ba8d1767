"""What the declaration of a metric says."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["GATE", "LEDGER", "PREFIX", "ROLES", "Aggregate", "Kind", "Metric"]

PREFIX = "stream_al_"

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]
Aggregate: TypeAlias = Literal["sum", "min", "max", "avg", "count"]

GATE = ("gate",)
LEDGER = ("ledger",)
ROLES = (*GATE, *LEDGER, "annotator")


class Metric(msgspec.Struct, frozen=True):
    """A metric, as it is declared.

    Attributes
    ----------
    name
        Without the prefix.
    kind, unit, meaning
        What it is; the unit is empty where there is none.
    roles
        Those that it tells of. Where they are several, the first label is ``role``, but for what
        is the process's own and no role's.
    labels
        Their names.
    values
        All values of a label, for those where they are known beforehand. A metric whose labels
        are all known, ``role`` being one of the process's own, shows them from the start.
    series
        All combinations of label values, where not every product of `values` occurs.
    buckets
        Upper bounds of a histogram's buckets, without infinity.
    aggregate
        What makes one figure of those of several replicas.
    initial
        What it shows before it is set; NaN: nothing, so that no mean over replicas becomes NaN.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    aggregate: Aggregate = "sum"
    roles: tuple[str, ...] = ROLES
    labels: tuple[str, ...] = ()
    values: dict[str, tuple[str, ...]] = {}
    series: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()
    initial: float = 0.0

    @property
    def full_name(self) -> str:
        """The name that Prometheus sees."""
        return PREFIX + self.name

    @property
    def help(self) -> str:
        """What Prometheus is told: the meaning, and how replicas make one figure."""
        how = "each replica by itself" if self.kind == "info" else self.aggregate
        return f"{self.meaning} Over replicas: {how}."
