"""Reliability of confidence: bins, an error without chance's part, and limits that hold."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable

import pytest

from stream_al.learner.reliability import BINS, Calibration, Reliability
from stream_al.training import Labelled

Truth = Callable[[float], float]


def answered(
    confidence: float, right: bool, *, explored: bool = True, predicted: str | None = "yes"
) -> Labelled:
    """Return an answer to an event that was predicted with this confidence."""
    return Labelled(
        asked="explore",
        model_version=1,
        request_id="events:0:0",
        request_no=0,
        topic="events",
        partition=0,
        offset=0,
        id="",
        time=None,
        features={},
        label="yes" if right == (predicted == "yes") else "no",
        annotator="",
        answered_at=None,
        weight=1.0,
        prediction=predicted,
        probabilities={} if predicted is None else {predicted: confidence},
        explored=explored,
        propensity=0.05,
    )


def judged(drawn: random.Random, n: int, truth: Truth) -> Calibration:
    """Return what n explored labels tell, right with probability `truth(confidence)`."""
    reliability = Reliability()
    for _ in range(n):
        confidence = 0.5 + 0.5 * drawn.betavariate(2.0, 1.5)
        reliability.take(answered(confidence, drawn.random() < truth(confidence)))
    return reliability.calibration()


def calibrated(confidence: float) -> float:
    """Return what confidence says."""
    return confidence


def overconfident(confidence: float) -> float:
    """Be right a tenth less often than said."""
    return confidence - 0.1


def by_turns(confidence: float) -> float:
    """Be over- and underconfident in one bin after the other, .05 each."""
    return confidence + (0.05 if int(confidence * BINS) % 2 else -0.05) * (confidence < 0.95)


def true_error(truth: Truth) -> float:
    """Return the binned error over very many events."""
    drawn, excess = random.Random(0), [0.0] * (BINS + 1)
    for _ in range(100_000):
        confidence = 0.5 + 0.5 * drawn.betavariate(2.0, 1.5)
        excess[int(confidence * BINS)] += confidence - truth(confidence)
    return sum(map(abs, excess)) / 100_000


@pytest.mark.parametrize(("n", "chance"), [(50, 0.11), (226, 0.055), (1000, 0.026)])
def test_a_calibrated_model_is_said_to_be_so(n: int, chance: float) -> None:
    """Chance makes the plain binned error as large as known, and less than a third of it stays."""
    print("seed", n)
    drawn = random.Random(n)
    found = [judged(drawn, n, calibrated) for _ in range(60)]
    binned = [one.binned for one in found if one.binned is not None]
    ece = [one.ece for one in found if one.ece is not None]
    assert sum(binned) / 60 == pytest.approx(chance, rel=0.15)
    assert sum(ece) / 60 < chance / 3


@pytest.mark.parametrize("truth", [overconfident, by_turns])
@pytest.mark.parametrize("n", [226, 1000])
def test_the_error_is_never_made_larger_than_it_is(truth: Truth, n: int) -> None:
    """In the mean the estimate is below the true error, with many labels by little."""
    print("seed", n)
    drawn, error = random.Random(n), true_error(truth)
    found = [judged(drawn, n, truth).ece or 0.0 for _ in range(60)]
    mean = sum(found) / 60
    # .004: three standard errors of the mean of 60.
    assert error - (0.045 if n < 1000 else 0.02) < mean < error + 0.004


@pytest.mark.parametrize("truth", [calibrated, overconfident, by_turns])
@pytest.mark.parametrize("n", [50, 226, 1000])
def test_the_limits_hold(truth: Truth, n: int) -> None:
    """In at least 57 of 60 runs the true error lies between the limits."""
    print("seed", n)
    drawn, error = random.Random(f"{truth.__name__} {n}"), true_error(truth)
    found = [judged(drawn, n, truth) for _ in range(60)]
    assert sum(one.lower <= error <= one.upper for one in found) >= 57


def test_limits_close_in_on_a_large_error() -> None:
    """With 1,000 labels of a model that is .2 overconfident the lower limit is above .10."""
    found = judged(random.Random(3), 1000, lambda confidence: confidence - 0.2)
    assert found.ece is not None
    assert 0.1 < found.lower < found.ece < found.upper < 0.3


def test_what_was_not_seen_yet_is_not_ruled_out() -> None:
    """Twenty certain and right predictions leave an upper limit well above 0."""
    reliability = Reliability()
    for _ in range(20):
        reliability.take(answered(1.0, True))
    found = reliability.calibration()
    assert found.ece == found.lower == 0.0
    assert 0.1 < found.upper < 0.2


def test_only_explored_and_predicted_events_count() -> None:
    """What the policy picked, and what came before any prediction, changes nothing."""
    reliability = Reliability()
    reliability.take(answered(0.9, False, explored=False))
    reliability.take(answered(0.9, False, predicted=None))
    assert reliability.calibration() == Reliability().calibration()


def test_bins_hold_what_fell_into_them() -> None:
    """Bins and classes hold number, mean confidence and share right of their labels."""
    reliability = Reliability()
    for confidence, right, predicted in (
        (0.62, True, "yes"),
        (0.64, False, "yes"),
        (0.99, True, "no"),
        (1.0 + 1e-12, True, "no"),
    ):
        reliability.take(answered(confidence, right, predicted=predicted))
    found = reliability.calibration()
    middle, last = found.bins
    assert (middle.lower, middle.upper) == (9 / 15, 10 / 15)
    assert (middle.labels, middle.right) == (2, 0.5)
    assert middle.confidence == pytest.approx(0.63)
    assert (last.lower, last.upper, last.labels, last.right) == (14 / 15, 1.0, 2, 1.0)
    assert last.confidence == pytest.approx(0.995)
    assert found.binned == pytest.approx((0.26 + 0.01) / 4)
    assert list(found.classes) == ["no", "yes"]
    assert (found.classes["yes"].labels, found.classes["yes"].right) == (2, 0.5)
    assert (found.classes["no"].lower, found.classes["no"].upper) == (0.0, 1.0)


def test_the_last_thousand_count() -> None:
    """After 1,000 more labels nothing is left of those before, a class of theirs included."""
    drawn, late, both = random.Random(5), Reliability(), Reliability()
    print("seed", 5)
    for _ in range(500):
        both.take(answered(drawn.uniform(0.5, 1.0), False, predicted="other"))
    for _ in range(1000):
        record = answered(drawn.uniform(0.5, 1.0), drawn.random() < 0.8)
        late.take(record)
        both.take(record)
    one, other = late.calibration(), both.calibration()
    assert one.labels == other.labels == 1000
    assert list(other.classes) == ["yes"]
    assert [row.labels for row in one.bins] == [row.labels for row in other.bins]
    assert other.ece == pytest.approx(one.ece)
    assert other.upper == pytest.approx(one.upper)


def test_a_copy_goes_on_alike() -> None:
    """Pickled and restored, it tells the same after the same labels."""
    drawn, reliability = random.Random(6), Reliability()
    for _ in range(30):
        reliability.take(answered(drawn.uniform(0.5, 1.0), True))
    copy = pickle.loads(pickle.dumps(reliability))  # noqa: S301 - its own bytes
    for one in (reliability, copy):
        one.take(answered(0.7, False))
    assert copy.calibration() == reliability.calibration()
