"""What the training log tells about itself: in replay, folded again, and in what the gate does."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from stream_al import (
    AnnotatorConfig,
    Config,
    Engine,
    Event,
    GateConfig,
    Label,
    LearnerConfig,
    SourceConfig,
)
from stream_al.gate.gate import Gate, Told
from stream_al.learner.fold import Fold
from stream_al.learner.monitor import Insight
from stream_al.records import Features, ModelStamp
from stream_al.replay.runner import Replay, Report
from stream_al.replay.sources.base import Reading, Row, Source
from stream_al.training import decode_training

STAMP = ModelStamp("fold", 1, "digest")


class Turning(Source):
    """A boundary in ten features that turns round half way."""

    def __init__(self, n: int, seed: int, turn: bool = True) -> None:
        super().__init__(Reading("turning", SourceConfig(), (), None))
        self._n, self._seed, self._turn = n, seed, turn

    def count(self) -> int:
        return self._n

    def rows(self) -> Iterator[Row]:
        draws = random.Random(self._seed)
        for offset in range(self._n):
            x = [draws.gauss(0, 1) for _ in range(10)]
            sign = -1.0 if self._turn and offset >= self._n // 2 else 1.0
            total = sum(x[:5]) * sign + sum(x[5:]) + draws.gauss(0, 0.5)
            features: Features = {f"x{i}": value for i, value in enumerate(x)}
            event = Event(offset=offset, features=features)
            yield Row(line=offset + 1, event=event, truth="a" if total > 0 else "b")


def played(source: Source, **changed: Any) -> tuple[Report, list[bytes]]:
    """Replay a source; the report and the training log."""
    training = io.BytesIO()
    config = Config(**({"gate": GateConfig(budget=0.1)} | changed))
    report = Replay(config, training=training).run(source)
    return report, training.getvalue().splitlines()[:-1]


def insight_of(log: list[bytes], learner: LearnerConfig) -> Insight:
    """Fold a training log, and ask what it tells."""
    fold = Fold(learner)
    for offset, raw in enumerate(log):
        fold.take(offset, raw, decode_training(raw))
    return fold.monitor.insight()


def test_a_replica_tells_what_the_replay_told() -> None:
    """Everything that a replay reports of itself follows from its training log alone."""
    report, log = played(
        Turning(4_000, seed=1),
        gate=GateConfig(budget=0.1, second_opinion=0.3),
        annotator=AnnotatorConfig(delay="50", noise=0.2, abstain=0.1),
    )
    insight = insight_of(log, LearnerConfig())
    for name in Insight.__struct_fields__:
        assert getattr(report, name) == getattr(insight, name), name
    assert insight.estimate.value is not None
    assert insight.estimate.unanswered > 0
    kappas = insight.agreement.random.kappa, insight.agreement.picked.kappa
    assert min(kappa.count for kappa in kappas) > 10
    assert set(insight.classes) == {"a", "b"}
    assert msgspec.json.decode(msgspec.json.encode(report))["warnings"].keys() == (
        insight.warnings.keys()
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_estimate_holds_where_the_naive_figure_does_not(seed: int) -> None:
    """The limits hold the share of right predictions; that of labelled events is far below."""
    report, _ = played(Turning(6_000, seed, turn=False), gate=GateConfig(budget=0.1, salt=seed))
    found, naive, truth = report.estimate, report.rolling.naive, report.metrics.accuracy
    assert truth is not None
    assert found.lower <= truth <= found.upper
    assert naive is not None
    assert naive < truth - 0.05


def test_what_is_rehearsed_is_forgotten_upon_drift() -> None:
    """After a turn of the boundary a learner that forgets is right more often."""
    turning = Turning(12_000, seed=3)
    forgets, _ = played(turning, learner=LearnerConfig(on_drift="forget"))
    reports, _ = played(turning, learner=LearnerConfig(on_drift="report"))
    assert forgets.drift.counts["residual"] > 0 < reports.drift.counts["residual"]
    assert later(forgets) > later(reports)


def later(report: Report) -> float:
    """Return the accuracy of the second half."""
    assert report.metrics_second_half is not None
    assert report.metrics_second_half.accuracy is not None
    return report.metrics_second_half.accuracy


def test_a_calm_stream_raises_no_alarm() -> None:
    """Where nothing changes, whether memories are forgotten makes no difference."""
    calm = Turning(6_000, seed=3, turn=False)
    forgets, one = played(calm, learner=LearnerConfig(on_drift="forget"))
    reports, other = played(calm, learner=LearnerConfig(on_drift="report"))
    assert forgets.drift.counts == {"residual": 0, "error": 0, "features": 0}
    assert forgets.metrics == reports.metrics
    assert len(one) == len(other)


def asked(config: GateConfig, told: Told | None, n: int = 4_000) -> int:
    """Count how often the policy asks."""
    gate = Gate(config)
    state = gate.fresh_state()
    draws = random.Random(5)
    count = 0
    for offset in range(n):
        q = draws.random()
        row = gate.decide(
            state,
            Event(offset=offset, features={"a": q}),
            {"a": q, "b": 1.0 - q},
            {"a": 0.5, "b": 0.5},
            STAMP,
            lambda _, __: {},
            None,
            told,
        ).prediction
        count += row.reason in ("policy", "both")
    return count


def test_maintenance_asks_a_share_of_what_the_policy_would() -> None:
    """In maintenance the policy asks about the configured share of what it asks otherwise."""
    config = GateConfig(budget=0.1, policy="fixed", threshold=0.95, floor=0.2)
    whole, floor = asked(config, None), asked(config, "maintain")
    assert 0.1 * whole < floor < 0.35 * whole
    assert asked(msgspec.structs.replace(config, floor=0.0), "maintain") == 0


def test_random_asks_at_the_rate_whatever_the_scores() -> None:
    """A policy that is told to ask at random asks at its rate, by a draw."""
    config = GateConfig(budget=0.1, policy="fixed", threshold=1.0)
    assert asked(config, None) == 0
    assert 120 < asked(config, "random") < 260


def test_criteria_that_are_met_reach_the_gate() -> None:
    """Where it is configured, the policy asks no more once its criterion is met."""

    def policy_asked(**changed: Any) -> int:
        engine = Engine(Config(gate=GateConfig(budget=0.2, **changed)))
        count = 0
        for row in Turning(3_000, seed=2, turn=False).rows():
            decision = engine.decide_one(row.event)
            count += decision.prediction.reason in ("policy", "both")
            if decision.request is not None:
                engine.learn_one(Label(request_id=decision.request.request_id, label=row.truth))
        return count

    assert policy_asked(floor=0.0) > 200
    assert 20 < policy_asked(stop_when=("budget",), stop_labels=100, floor=0.0) <= 100
    both: dict[str, Any] = {"stop_when": ("budget", "stability"), "stop_labels": 100}
    assert policy_asked(**both, floor=0.0) == policy_asked()
    assert 20 < policy_asked(**both, stop_need="any", floor=0.0) <= 100


def test_those_who_agree_do_not_count_before_those_who_do_not() -> None:
    """While disagreements wait for the last word, later agreements do not make annotators perfect.

    Afterwards the share of pairs that agree is that of all pairs.
    """
    engine = Engine(Config(gate=GateConfig(budget=0.2, second_opinion=1.0)))
    draws, waiting, pairs, agreed = random.Random(9), [], 0, 0
    for row in Turning(2_000, seed=4, turn=False).rows():
        request = engine.decide_one(row.event).request
        if request is None:
            continue
        name, other = request.request_id, {"a": "b", "b": "a"}[row.truth]
        second = other if draws.random() < 0.3 else row.truth
        pairs += 1
        agreed += second == row.truth
        engine.learn_one(Label(request_id=name, label=row.truth, annotator="ann"))
        asked = engine.learn_one(Label(request_id=name, label=second, annotator="bob")).ask
        if asked is not None:
            waiting.append(Label(request_id=name, label=row.truth, annotator="cat"))

    def compared() -> tuple[int, float | None]:
        found = engine.fold.monitor.insight().agreement
        random_, picked = found.random.agreement, found.picked.agreement
        return random_.count + picked.count, found.annotators["bob"].agreement.value

    assert len(waiting) > 50
    assert compared()[0] <= 5
    for label in waiting:
        engine.learn_one(label)
    count, share = compared()
    # The last block is not known to be complete.
    assert pairs - 15 <= count <= pairs
    assert share == pytest.approx(agreed / pairs, abs=0.01)
