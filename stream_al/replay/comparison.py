"""What a comparison is asked and what it answers."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.replay.bootstrap import Difference
from stream_al.replay.efficiency import Reach
from stream_al.replay.prequential import Scores
from stream_al.replay.runs import METRICS, Metric

__all__ = [
    "Arm",
    "Cell",
    "Comparison",
    "CurvePoint",
    "Efficiency",
    "Plan",
    "RandomRun",
    "SeedRun",
    "Target",
    "TargetReached",
    "rises",
]


def rises(metric: Metric) -> bool:
    """Tell whether more of a metric is better.

    Examples
    --------
    >>> rises("accuracy"), rises("log_loss")
    (True, False)
    """
    return metric not in ("log_loss", "brier", "ece")


class Arm(msgspec.Struct, frozen=True):
    """One of the configurations that are compared; its seeds and budget are not used."""

    name: str
    config: Config


class Target(msgspec.Struct, frozen=True):
    """A level of a metric that is to be reached."""

    metric: Metric
    value: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare.

    Attributes
    ----------
    source
        As for `stream_al.replay.sources.open_source`; not standard input, which cannot be read
        several times.
    arms
        At least one; the first is what the others are compared with.
    budgets
        Label requests per event, each in (0, 1]; every arm is played at each.
    seeds
        Every arm is played at each budget with seeds 0 to ``seeds - 1``; see `seeded`.
    metric
        What is compared; None: average precision where there are two classes of which the rarer
        has less than 20 % of the events, else weighted F1.
    second_half
        Compare the scores of the second half of the stream, not those of the whole.
    targets
        Levels to find the needed labels for.

    Raises
    ------
    ConfigError
        If any of these is not so.
    """

    source: str
    arms: tuple[Arm, ...]
    budgets: tuple[float, ...]
    seeds: int = 5
    metric: Metric | None = None
    second_half: bool = False
    targets: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if self.source == "-":
            what = "standard input can be read only once, and every run reads all; expected a file"
            raise ConfigError(what, "source")
        if not self.arms:
            raise ConfigError("expected at least one", "arms")
        names = [arm.name for arm in self.arms]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"two are called {twice[0]!r}; expected different names", "arms")
        if not self.budgets or not all(0 < budget <= 1 for budget in self.budgets):
            raise ConfigError(f"must be in (0, 1], not {_listed(self.budgets)}", "budgets")
        if len(set(self.budgets)) < len(self.budgets):
            raise ConfigError(f"must be different, not {_listed(self.budgets)}", "budgets")
        if self.seeds < 1:
            raise ConfigError(f"must be at least 1, not {self.seeds}", "seeds")
        for metric in filter(None, [self.metric, *(target.metric for target in self.targets)]):
            if metric not in METRICS:
                raise ConfigError(f"must be one of {', '.join(METRICS)}, not {metric!r}", "metric")
        for target in self.targets:
            if not math.isfinite(target.value):
                raise ConfigError(f"must be finite, not {target.value}", "targets")


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(map(str, values)) or "none"


class SeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an arm; the attributes are those of `stream_al.replay.runner.Report`."""

    seed: int
    asked: int
    labels: int
    max_overspend: float
    metrics: Scores
    metrics_second_half: Scores | None


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the learning curve.

    Attributes
    ----------
    events
        Events from the beginning of the stream.
    asked, labels
        Label requests and labels learnt from by then, means over seeds.
    mean, sd
        The metric of all predictions since the beginning; as in `Cell`.
    """

    events: int
    asked: float
    labels: float
    mean: float | None
    sd: float | None


class RandomRun(msgspec.Struct, frozen=True, kw_only=True):
    """Asking at random with an arm's learner: labels and metric, means over seeds."""

    budget: float
    seeds: int
    labels: float
    mean: float | None


class Efficiency(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that asking at random needs to reach the mean metric of an arm.

    Attributes
    ----------
    random_needs
        These labels.
    ratio
        The same over the labels of the arm; the bound is that of `random_needs`.
    seeds
        Seeds of each mean.
    random
        The runs at 1, 2, 4, 8 and 16 times the budget (at most 1), as far as they were needed.
    """

    random_needs: Reach
    ratio: float
    seeds: int
    random: list[RandomRun]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One arm at one budget.

    Attributes
    ----------
    seeds
        Number of runs that every mean here is taken over.
    asked, labels
        Label requests, and labels learnt from; means over seeds.
    mean, sd
        Of the metric; null where a run has none, and sd for a single seed (n - 1 in its
        denominator).
    difference
        Metric minus that of the first arm, paired by seed; null for the first arm.
    efficiency
        Null where a metric is, or where nothing was labelled.
    curve
        Learning curve.
    runs
        By seed.
    """

    arm: str
    budget: float
    seeds: int
    asked: float
    labels: float
    mean: float | None
    sd: float | None
    difference: Difference | None
    efficiency: Efficiency | None
    curve: list[CurvePoint]
    runs: list[SeedRun]


class TargetReached(msgspec.Struct, frozen=True, kw_only=True):
    """Labels with which the mean metric of an arm reaches a target.

    Attributes
    ----------
    needs
        Interpolated between the budgets; null where the metric is not defined at any.
    """

    arm: str
    metric: Metric
    value: float
    seeds: int
    needs: Reach | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a plan; its JSON is what ``stream-al compare --json`` prints.

    Attributes
    ----------
    source, events, skipped, skip_reasons
        What was played; rows that could not be used, by reason, in the first arm.
    metric, metric_reason, higher_is_better, second_half
        What is compared, and why this.
    seeds
        The seeds of every arm at every budget.
    arms
        By name the settings that are not the default's, as ``section.key``; budget and seeds,
        which are the comparison's, left out.
    cells
        By budget, then by arm, in the order given.
    targets
        By target, then by arm.
    notes
        What to keep in mind with these figures.
    version
        What ran.
    """

    source: str
    events: int
    skipped: int
    skip_reasons: dict[str, int]
    metric: Metric
    metric_reason: str
    higher_is_better: bool
    second_half: bool
    seeds: list[int]
    budgets: list[float]
    arms: dict[str, dict[str, Any]]
    cells: list[Cell]
    targets: list[TargetReached]
    notes: list[str]
    version: str
