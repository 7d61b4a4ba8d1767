"""Which criteria for stopping are met, and what reopens."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator

import pytest

from stream_al import Config, Engine, Event, GateConfig, Label, LearnerConfig
from stream_al.config import StopName
from stream_al.learner.stopping import Criterion, Stopping, StoppingPlan
from stream_al.records import Features, Observed
from stream_al.training import Labelled, TrainingRecord, decode_training

SMALL = StoppingPlan(
    period_answers=100,
    period_width=0.2,
    window_events=150,
    sample_events=150,
    check_labels=50,
    kappa=0.9,
)


class Replayed:
    """A replay, with the stopping rules folded from its training log as it goes."""

    def __init__(self, config: StoppingPlan) -> None:
        self.stopping = Stopping(config)
        self.ever: set[Criterion] = set()
        self._engine = Engine(
            Config(
                learner=LearnerConfig(memory=200, on_drift="report"),
                gate=GateConfig(budget=0.2, observe_every=20),
            ),
            write=self._fold,
        )
        self._next = 0

    def play(self, stream: Iterator[tuple[Features, str]]) -> None:
        """Decide about all events, and answer what is asked."""
        for features, truth in stream:
            request = self._engine.decide_one(Event(offset=self._next, features=features)).request
            self._next += 1
            if request is not None:
                self._engine.learn_one(Label(request_id=request.request_id, label=truth))

    def _fold(self, offset: int, raw: bytes) -> None:
        # The engine hands a record over before it learns it.
        record: TrainingRecord = decode_training(raw)
        if isinstance(record, Labelled):
            self.stopping.take(record, offset, self._engine.fold.learner.predict_one)
        elif isinstance(record, Observed):
            p = self._engine.fold.learner.predict_one(record.features)
            self.stopping.observe(record.features, p, offset)
        state = self.stopping.state
        self.ever |= {name for name, found in state.criteria.items() if found.met}


def separable(events: int, seed: int) -> Iterator[tuple[Features, str]]:
    """Two classes far apart."""
    draws = random.Random(seed)
    for _ in range(events):
        label = draws.choice("ab")
        yield {"x": draws.gauss(3.0 if label == "b" else -3.0, 0.5)}, label


def restless(events: int, seed: int) -> Iterator[tuple[Features, str]]:
    """Two classes that overlap, and change places now and then."""
    draws = random.Random(seed)
    for i in range(events):
        label = draws.choice("ab")
        side = 1.0 if (label == "b") == (i // 1500 % 2 == 0) else -1.0
        yield {"x": draws.gauss(side, 0.7)}, label


@pytest.fixture(scope="module")
def easy() -> Replayed:
    """Replay a stream that is soon learnt."""
    replayed = Replayed(SMALL)
    replayed.play(separable(5000, seed=1))
    return replayed


@pytest.fixture(scope="module")
def hard() -> Replayed:
    """Replay a stream that is never learnt."""
    replayed = Replayed(SMALL)
    replayed.play(restless(6000, seed=1))
    return replayed


@pytest.mark.parametrize("criterion", ["performance", "uncertainty", "stability"])
def test_a_stream_that_is_learnt_meets_a_criterion(easy: Replayed, criterion: Criterion) -> None:
    """Where two classes lie far apart, each criterion about the model comes to hold."""
    assert easy.stopping.state.criteria[criterion].met


@pytest.mark.parametrize("criterion", ["performance", "uncertainty", "stability"])
def test_a_stream_that_changes_meets_no_criterion(hard: Replayed, criterion: Criterion) -> None:
    """Where classes overlap and change places, no criterion about the model ever holds."""
    assert criterion not in hard.ever


def test_without_criteria_asking_never_stops(easy: Replayed) -> None:
    """What holds is told, but nothing is done about it where nothing is configured."""
    assert not easy.stopping.stops(())
    assert not easy.stopping.stops((), "any", labels=1)


def test_the_budget_is_exhausted_by_labels(easy: Replayed) -> None:
    """With an end of labels asking stops at the last of them; without: never."""
    labels = easy.stopping.state.labels
    assert labels > 500
    assert easy.stopping.stops(("budget",), labels=labels)
    assert not easy.stopping.stops(("budget",), labels=labels + 1)
    assert not easy.stopping.stops(("budget",))


def test_all_criteria_have_to_hold_or_any(easy: Replayed, hard: Replayed) -> None:
    """With `all` the last criterion decides when to stop, with `any` the first."""
    three: tuple[StopName, ...] = ("performance", "uncertainty", "stability")
    assert easy.stopping.stops(three)
    assert not easy.stopping.stops((*three, "budget"))
    assert easy.stopping.stops((*three, "budget"), "any")
    assert not hard.stopping.stops(three, "any")
    assert hard.stopping.stops((*three, "budget"), "any", labels=10)


def test_drift_reopens_and_new_evidence_is_needed_to_stop_again() -> None:
    """Reopened, asking goes on, and stops again by what came since only."""
    replayed = Replayed(StoppingPlan(window_events=150))
    replayed.play(separable(4000, seed=4))
    stopping = replayed.stopping
    assert stopping.stops(("uncertainty",))
    stopping.reopen(5000)
    assert stopping.state.reopened == 5001
    assert not any(found.met or found.held for found in stopping.state.criteria.values())
    for i in range(149):
        stopping.observe({"x": 3.0}, {"a": 0.001, "b": 0.999}, 5001 + i)
    assert not stopping.stops(("uncertainty",))
    stopping.observe({"x": 3.0}, {"a": 0.001, "b": 0.999}, 5150)
    assert stopping.stops(("uncertainty",))


def test_asking_stays_stopped_when_a_criterion_lapses() -> None:
    """Only drift reopens: what was met once has shown what it was to show."""
    stopping = Stopping()
    for i in range(200):
        stopping.observe({"x": 0.0}, {"a": 0.001, "b": 0.999}, i)
    stopping.observe({"x": 0.0}, {"a": 0.5, "b": 0.5}, 200)
    state = stopping.state.criteria["uncertainty"]
    assert (state.met, state.held, state.since_version) == (False, True, 201)
    assert stopping.stops(("uncertainty",))


def test_drift_cannot_bring_back_labels_that_are_spent() -> None:
    """An exhausted budget stays exhausted when drift reopens."""
    stopping = Stopping()
    for i in range(20):
        stopping.take(labelled(), i, lambda _: {})
    stopping.reopen(900)
    assert stopping.stops(("budget",), labels=20)


def test_each_criterion_tells_since_when() -> None:
    """A criterion's version is that of its last change, whether asking stops by it or not."""
    stopping = Stopping(StoppingPlan(window_events=150))
    told = stopping.state.criteria
    assert (told["uncertainty"].met, told["uncertainty"].since_version) == (False, 0)
    for i in range(160):
        stopping.observe({"x": 3.0}, {"a": 0.001, "b": 0.999}, 20 + i)
    told = stopping.state.criteria
    assert (told["uncertainty"].met, told["uncertainty"].since_version) == (True, 170)
    stopping.reopen(500)
    told = stopping.state.criteria
    assert (told["uncertainty"].met, told["uncertainty"].since_version) == (False, 501)
    assert (told["stability"].met, told["stability"].since_version) == (False, 0)
    assert set(told) == {"performance", "uncertainty", "stability"}


def test_one_uncertain_event_keeps_uncertainty_from_being_low() -> None:
    """The maximum counts beside the mean."""
    stopping = Stopping(StoppingPlan())
    for i in range(200):
        stopping.observe({"x": 0.0}, {"a": 0.001, "b": 0.999}, i)
    assert stopping.state.criteria["uncertainty"].met
    stopping.observe({"x": 0.0}, {"a": 0.5, "b": 0.5}, 200)
    assert not stopping.state.criteria["uncertainty"].met


def test_a_low_mean_of_few_events_is_not_enough() -> None:
    """The mean's upper limit is compared, which with varied events is far above the mean."""
    stopping = Stopping(StoppingPlan(mean_uncertainty=0.1))
    for i in range(200):
        certain = 0.6 if i % 12 == 0 else 0.999
        stopping.observe({"x": 0.0}, {"a": 1.0 - certain, "b": certain}, i)
    found = stopping._uncertainty
    assert sum(found) / len(found) < 0.1
    assert not stopping.state.criteria["uncertainty"].met


def test_a_model_that_predicts_one_class_only_is_not_stable() -> None:
    """Agreement on the only class ever predicted is no agreement beyond chance."""
    config = StoppingPlan(sample_events=50, check_labels=1, checks=2, kappa=0.5)
    for names, stable in ((("a",), False), (("a", "b"), True)):
        stopping = Stopping(config)
        for i in range(50):
            stopping.observe({"x": i}, {"a": 0.5, "b": 0.5}, i)
        for i in range(3):
            stopping.take(
                labelled(),
                50 + i,
                lambda x, names=names: {names[x["x"] % len(names)]: 1.0},  # type: ignore[misc]
            )
        assert stopping.state.criteria["stability"].met == stable


def test_accuracy_that_still_climbs_has_not_converged() -> None:
    """Periods of 60, 70, 80 and 90 % do not overlap; four of 80 % do."""
    for shares, converged in (((60, 70, 80, 90), False), ((80, 80, 80, 80), True)):
        stopping = Stopping(StoppingPlan(period_answers=200, periods=4))
        for share in shares:
            for i in range(200):
                stopping.take(labelled(right=i < 2 * share), 0, lambda _: {})
        assert stopping.state.criteria["performance"].met == converged


def test_the_state_goes_through_a_pickle() -> None:
    """A fold that goes on from a pickle comes to the same state as one that was never stopped."""
    one = Stopping(SMALL)
    for i in range(400):
        one.observe({"x": float(i)}, {"a": 0.5, "b": 0.5}, i)
    other = pickle.loads(pickle.dumps(one))  # noqa: S301
    for i in range(400, 500):
        for each in (one, other):
            each.observe({"x": float(i)}, {"a": 0.001, "b": 0.999}, i)
    assert one.state == other.state
    assert one._sample == other._sample
    assert len(one._sample) == 150


def labelled(*, right: bool = True) -> Labelled:
    """Make an explored answer."""
    return Labelled(
        request_id="events:0:0",
        request_no=0,
        topic="events",
        partition=0,
        offset=0,
        id="",
        time=None,
        features={},
        label="a" if right else "b",
        annotator="",
        answered_at=None,
        weight=1.0,
        prediction="a",
        probabilities={"a": 0.8, "b": 0.2},
        explored=True,
        propensity=0.1,
        asked="explore",
        model_version=0,
    )
