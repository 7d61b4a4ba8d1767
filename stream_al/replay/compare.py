"""Several configurations on one recorded stream, so that their difference can be believed.

All arms are played with the same seeds, and one seed means the same answers to all of them, so
differences are paired. The labels that an arm saves are told by playing the same learner with
labels asked at random, at more and more of them, until it is as good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

import msgspec

from stream_al._version import __version__
from stream_al.config import Config, GateConfig
from stream_al.errors import ConfigError
from stream_al.replay.bootstrap import paired_difference
from stream_al.replay.comparison import (
    Arm,
    Cell,
    Comparison,
    Efficiency,
    Plan,
    RandomRun,
    SeedRun,
    TargetReached,
    rises,
)
from stream_al.replay.comparison_notes import notes
from stream_al.replay.efficiency import labels_to_reach
from stream_al.replay.player import Bar, Player, no_bar
from stream_al.replay.run_store import RunStore
from stream_al.replay.runner import Replay
from stream_al.replay.runs import Metric, Run
from stream_al.replay.seed_means import headline, known, mean_curve, mean_of, sd_of
from stream_al.replay.sources import open_source

__all__ = ["compare", "random_reference", "seeded"]

_MULTIPLES = (2, 4, 8, 16)
_SETTLED = {"gate.budget", "gate.salt", "learner.seed", "annotator.seed"}


def seeded(config: Config, budget: float, seed: int) -> Config:
    """Return a configuration as it is played: learner, gate and annotator share the seed.

    Examples
    --------
    >>> config = seeded(Config(), 0.02, 7)
    >>> config.gate.budget, config.gate.salt, config.learner.seed, config.annotator.seed
    (0.02, 7, 7, 7)
    """
    replace = msgspec.structs.replace
    return replace(
        config,
        learner=replace(config.learner, seed=seed),
        gate=replace(config.gate, budget=budget, salt=seed),
        annotator=replace(config.annotator, seed=seed),
    )


def random_reference(config: Config) -> Config:
    """Return the same learner, stream and annotator, with labels asked at random.

    Examples
    --------
    >>> random_reference(Config()).gate.policy
    'random'
    """
    gate = config.gate
    plain = GateConfig(policy="random", burst=gate.burst, observe_every=gate.observe_every)
    return msgspec.structs.replace(config, gate=plain)


def compare(
    plan: Plan, jobs: int | None = None, store: RunStore | None = None, bar: Bar = no_bar
) -> Comparison:
    """Play all arms at all budgets with all seeds, and compare them.

    Parameters
    ----------
    plan
        What to compare.
    jobs, store, bar
        As for `stream_al.replay.player.Player`; none of them changes the result.

    Raises
    ------
    ConfigError
        If an arm's configuration is wrong, or the metric is not defined for the stream.
    InputError
        At a row that cannot be used, unless such rows are skipped.

    Examples
    --------
    >>> from stream_al.config import ReplayConfig, SourceConfig
    >>> base = Config(
    ...     source=SourceConfig(label="is_phishing"), replay=ReplayConfig(limit=300)
    ... )
    >>> plan = Plan(
    ...     source="river:Phishing",
    ...     arms=(Arm("margin", base), Arm("random", random_reference(base))),
    ...     budgets=(0.2,),
    ...     seeds=3,
    ... )
    >>> result = compare(plan)
    >>> result.metric, [cell.arm for cell in result.cells], result.cells[1].difference.seeds
    ('weighted_f1', ['margin', 'random'], 3)
    """
    for arm in plan.arms:
        _check(plan, arm)
    return _Comparing(plan, Player(plan.source, jobs, store, bar)).result()


def _check(plan: Plan, arm: Arm) -> None:
    """See that an arm can be played, before hours are spent on those before it."""
    config = seeded(arm.config, plan.budgets[0], 0)
    try:
        Replay(config)
        open_source(plan.source, config.source, config.learner.classes, config.replay.limit)
    except ConfigError as error:
        raise ConfigError(str(error), f"arm {arm.name!r}") from error


class _Comparing:
    """One comparison on its way."""

    def __init__(self, plan: Plan, player: Player) -> None:
        self._plan = plan
        self._player = player
        self._places = [(arm, budget) for budget in plan.budgets for arm in plan.arms]

    def result(self) -> Comparison:
        plan = self._plan
        arms = [(arm.config, budget) for arm, budget in self._places]
        plain = [(random_reference(config), budget) for config, budget in arms]
        self._play([*arms, *plain], "arms")
        first = self._runs(*arms[0])[0]
        metric, reason = headline(first.metrics)
        if plan.metric is not None:
            metric, reason = plan.metric, "chosen"
        cells = [self._cell(arm, budget, metric) for arm, budget in self._places]
        if all(cell.mean is None for cell in cells):
            raise ConfigError(f"{metric} is not defined for {plan.source}", "metric")
        return Comparison(
            source=plan.source,
            events=first.events,
            skipped=first.skipped,
            skip_reasons=first.skip_reasons,
            metric=metric,
            metric_reason=reason,
            higher_is_better=rises(metric),
            second_half=plan.second_half,
            seeds=list(range(plan.seeds)),
            budgets=list(plan.budgets),
            arms={arm.name: _settings(arm.config) for arm in plan.arms},
            cells=self._with_efficiency(cells, metric),
            targets=list(self._targets()),
            notes=list(notes(plan, cells, self._events())),
            version=__version__,
        )

    def _seeded(self, config: Config, budget: float) -> list[Config]:
        return [seeded(config, budget, seed) for seed in range(self._plan.seeds)]

    def _play(self, wanted: Iterable[tuple[Config, float]], label: str) -> None:
        played = [one for config, budget in wanted for one in self._seeded(config, budget)]
        self._player.play(played, label)

    def _runs(self, config: Config, budget: float) -> list[Run]:
        return [self._player[one] for one in self._seeded(config, budget)]

    def _values(self, config: Config, budget: float, metric: Metric) -> list[float | None]:
        runs = self._runs(config, budget)
        parts = [run.metrics_second_half if self._plan.second_half else run.metrics for run in runs]
        return [getattr(part, metric) for part in parts]

    def _labels(self, config: Config, budget: float) -> float:
        return fmean(run.labels for run in self._runs(config, budget))

    def _events(self) -> dict[str, int]:
        budget = self._plan.budgets[0]
        return {arm.name: self._runs(arm.config, budget)[0].events for arm in self._plan.arms}

    def _cell(self, arm: Arm, budget: float, metric: Metric) -> Cell:
        runs = self._runs(arm.config, budget)
        values = self._values(arm.config, budget, metric)
        difference = None
        if arm.name != self._plan.arms[0].name:
            reference = known(self._values(self._plan.arms[0].config, budget, metric))
            numbers = known(values)
            difference = paired_difference(numbers, reference) if numbers and reference else None
        return Cell(
            arm=arm.name,
            budget=budget,
            seeds=len(runs),
            asked=fmean(run.asked for run in runs),
            labels=self._labels(arm.config, budget),
            mean=mean_of(values),
            sd=sd_of(values),
            difference=difference,
            efficiency=None,
            curve=mean_curve(runs, metric),
            runs=[
                SeedRun(
                    seed=seed,
                    asked=run.asked,
                    labels=run.labels,
                    max_overspend=run.max_overspend,
                    metrics=run.metrics,
                    metrics_second_half=run.metrics_second_half,
                )
                for seed, run in enumerate(runs)
            ],
        )

    def _with_efficiency(self, cells: Sequence[Cell], metric: Metric) -> list[Cell]:
        """Let random asking climb from each arm's budget until it is as good."""
        ladders = [[cell.budget] for cell in cells]
        plain = [random_reference(arm.config) for arm, _ in self._places]

        def efficiency(cell: Cell, config: Config, ladder: list[float]) -> Efficiency | None:
            return self._efficiency(cell, config, ladder, metric)

        for multiple in _MULTIPLES:
            climbing = []
            for cell, config, ladder in zip(cells, plain, ladders, strict=True):
                found = efficiency(cell, config, ladder)
                short = found is not None and found.random_needs.bound == "more_than"
                if short and ladder[-1] < 1:
                    ladder.append(min(1.0, cell.budget * multiple))
                    climbing.append((config, ladder[-1]))
            self._play(climbing, f"random at {multiple} times the budget")
        return [
            msgspec.structs.replace(cell, efficiency=efficiency(cell, config, ladder))
            for cell, config, ladder in zip(cells, plain, ladders, strict=True)
        ]

    def _efficiency(
        self, cell: Cell, config: Config, ladder: list[float], metric: Metric
    ) -> Efficiency | None:
        if cell.mean is None or not cell.labels:
            return None
        random = [
            RandomRun(
                budget=budget,
                seeds=cell.seeds,
                labels=self._labels(config, budget),
                mean=mean_of(self._values(config, budget, metric)),
            )
            for budget in ladder
        ]
        points = [(run.labels, run.mean) for run in random if run.mean is not None]
        needs = labels_to_reach(points, cell.mean, rising=rises(metric))
        if needs is None:
            return None
        ratio = needs.labels / cell.labels
        return Efficiency(random_needs=needs, ratio=ratio, seeds=cell.seeds, random=random)

    def _targets(self) -> Iterator[TargetReached]:
        plan = self._plan
        for target in plan.targets:
            for arm in plan.arms:
                means = [
                    (
                        self._labels(arm.config, budget),
                        mean_of(self._values(arm.config, budget, target.metric)),
                    )
                    for budget in plan.budgets
                ]
                points = [(labels, mean) for labels, mean in means if mean is not None]
                yield TargetReached(
                    arm=arm.name,
                    metric=target.metric,
                    value=target.value,
                    seeds=plan.seeds,
                    needs=labels_to_reach(points, target.value, rising=rises(target.metric)),
                )


def _settings(config: Config) -> dict[str, Any]:
    """List what differs from the defaults, by ``section.key``."""
    sections = msgspec.structs.asdict(config)
    defaults = Config()
    return {
        f"{name}.{key}": value
        for name, section in sections.items()
        for key, value in msgspec.structs.asdict(section).items()
        if value != getattr(getattr(defaults, name), key) and f"{name}.{key}" not in _SETTLED
    }
