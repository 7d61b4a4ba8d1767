"""Drift: what raises an alarm, what does not, and what an alarm says."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterator

import pytest

from stream_al.learner.calibration import sigmoid
from stream_al.learner.drift import Alarm, Drift, DriftPlan
from stream_al.learner.drift_detectors import Chart
from stream_al.records import Features, Observed
from stream_al.training import Labelled


def labelled(
    offset: int,
    label: str,
    probabilities: dict[str, float],
    features: Features | None = None,
    *,
    explored: bool = False,
) -> Labelled:
    """Return the answer to the request for event ``2 * offset`` of partition 1."""
    return Labelled(
        request_id=f"events:1:{2 * offset}",
        request_no=offset,
        topic="events",
        partition=1,
        offset=2 * offset,
        id="",
        time=None,
        features=features or {},
        label=label,
        annotator="",
        answered_at=None,
        weight=1.0,
        asked="policy",
        model_version=1,
        prediction=max(probabilities, key=probabilities.__getitem__) if probabilities else None,
        probabilities=probabilities,
        explored=explored,
        propensity=1.0,
    )


def observed(offset: int, features: Features) -> Observed:
    """Return a sampled event of partition 1."""
    return Observed(topic="events", partition=1, offset=offset, time=None, features=features)


def numbers(drawn: random.Random) -> Features:
    """Return two standard normal features."""
    return {"a": drawn.gauss(0.0, 1.0), "b": drawn.gauss(0.0, 1.0)}


def taken(drift: Drift, seed: int, n: int, moved: float = 0.0, tilted: float = 0.0) -> list[Alarm]:
    """Feed n labels of classes ``no`` and ``yes``, explored every second one; return the alarms.

    The predicted log odds of ``yes`` are ``a``, the true ones lie `moved` higher, and `tilted`
    times ``b``.
    """
    print("seed", seed)
    drawn = random.Random(seed)
    start = drift.counts["residual"] + drift.counts["error"]
    for offset in range(n):
        x = numbers(drawn)
        drift.observe(observed(offset, numbers(drawn)), offset)
        assert isinstance(x["a"], float)
        assert isinstance(x["b"], float)
        p = sigmoid(x["a"])
        label = "yes" if drawn.random() < sigmoid(x["a"] + moved + tilted * x["b"]) else "no"
        record = labelled(offset, label, {"no": 1.0 - p, "yes": p}, x, explored=offset % 2 == 0)
        drift.take(record, offset)
    fresh = drift.counts["residual"] + drift.counts["error"] - start
    return [alarm for alarm in drift.alarms if alarm.calls][-fresh:] if fresh else []


def test_calibrated_labels_raise_few_alarms() -> None:
    """Labels drawn from the predicted probabilities raise under one alarm in 2,500 labels."""
    alarms = sum(len(taken(Drift(), seed, 2500)) for seed in range(8))
    assert alarms <= 8


@pytest.mark.parametrize(("moved", "word"), [(1.0, "more"), (-1.0, "less")])
def test_labels_beyond_their_probabilities_raise_an_alarm(moved: float, word: str) -> None:
    """A class that comes more, or less, often than predicted is found and named within 200."""
    for seed in range(5):
        drift = Drift()
        taken(drift, seed, 400)
        alarms = taken(drift, seed + 100, 200, moved=moved)
        assert [alarm.cause for alarm in alarms][:1] == ["residual"]
        assert alarms[0].detail == f"class 'yes' {word} often than predicted"


def test_a_turned_boundary_raises_an_alarm() -> None:
    """A residual that grows with a feature and cancels out over all labels is found."""
    for seed in range(5):
        drift = Drift()
        taken(drift, seed, 400)
        alarms = taken(drift, seed + 100, 250, tilted=1.0)
        assert alarms
        assert alarms[0].detail == (
            "class 'yes' more often than predicted where b is high, and the reverse where it is low"
        )


def test_what_is_wrong_from_the_start_is_hardly_drift() -> None:
    """A constant bias raises fewer than half the alarms that it does uncalibrated."""
    counts = []
    for trust in (32.0, 1e9):
        plan = DriftPlan(trust=trust)
        counts.append(sum(len(taken(Drift(plan), seed, 1500, moved=0.5)) for seed in range(4)))
    assert 2 * counts[0] < counts[1]


def test_nothing_is_charted_while_warming_up() -> None:
    """After the start and after an alarm, so many labels pass without another."""
    drift = Drift(DriftPlan(warm_up=60))
    at = [alarm.offset // 2 for alarm in taken(drift, 5, 600, moved=4.0)]
    assert len(at) > 1
    assert at[0] >= 60
    assert all(later - earlier > 60 for earlier, later in itertools.pairwise(at))


def test_errors_of_explored_events_raise_an_alarm() -> None:
    """Explored events that turn wrong are found by their errors where residuals tell nothing."""
    drift = Drift(DriftPlan(limit=1e9))
    drawn = random.Random(3)
    for offset in range(800):
        wrong = drawn.random() < (0.1 if offset < 400 else 0.6)
        drift.take(labelled(offset, "bc"[wrong], {"b": 0.9, "c": 0.1}, explored=True), offset)
    (alarm,) = drift.alarms
    assert alarm.cause == "error"
    assert alarm.detail == "wrong more often than before"
    assert 800 < alarm.offset < 1000


def test_fewer_errors_raise_no_alarm() -> None:
    """A model that has learnt to be right is no drift, and one that forgets again is."""
    drift = Drift(DriftPlan(limit=1e9))
    for offset in range(800):
        drift.take(
            labelled(offset, "bc"[offset < 400], {"b": 0.9, "c": 0.1}, explored=True), offset
        )
    assert not drift.alarms
    for offset in range(800, 900):
        drift.take(labelled(offset, "c", {"b": 0.9, "c": 0.1}, explored=True), offset)
    assert drift.counts["error"] == 1


def test_picked_events_do_not_count_as_errors() -> None:
    """Errors of policy-picked events, which are the hard ones, raise no alarm by errors."""
    drift = Drift(DriftPlan(limit=1e9))
    for offset in range(800):
        drift.take(labelled(offset, "bc"[offset >= 400], {"b": 0.9, "c": 0.1}), offset)
    assert not drift.alarms


def test_moved_features_are_told_and_call_for_nothing() -> None:
    """A feature that moves by a deviation is named; such an alarm calls for no response."""
    drift, drawn = Drift(), random.Random(4)
    print("seed", 4)
    for offset in range(400):
        far = 30.0 if offset >= 200 else 0.0
        x: Features = {"a": drawn.gauss(far, 20.0), "b": drawn.gauss(0.0, 1.0), "c": "text"}
        drift.observe(observed(7 * offset, x), offset)
    (alarm,) = drift.alarms
    assert (alarm.cause, alarm.detail) == ("features", "a higher than before")
    assert not alarm.calls
    assert drift.counts == {"residual": 0, "error": 0, "features": 1}


def test_an_alarm_says_where_it_was_raised() -> None:
    """Place, offset and version are those of the record that raised it."""
    drift = Drift(DriftPlan(warm_up=0))
    for offset in range(40):
        drift.take(labelled(offset, "x", {"x": 0.3, "y": 0.7}), 1000 + offset)
        if drift.alarms:
            break
    assert drift.alarms == (
        Alarm(
            cause="residual",
            detail="class 'y' less often than predicted",
            topic="events",
            partition=1,
            offset=2 * offset,
            version=1001 + offset,
        ),
    )
    assert drift.last == {"residual": drift.alarms[0]}


def test_every_class_of_several_is_watched() -> None:
    """Of four classes the one that takes another's place is found."""
    drift, drawn = Drift(), random.Random(6)
    print("seed", 6)
    p = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    for offset in range(600):
        label = drawn.choices(list(p), list(p.values()))[0]
        swapped = "d" if label == "b" and offset >= 300 else label
        drift.take(labelled(offset, swapped, p), offset)
    first = drift.alarms[0]
    assert 600 <= first.offset < 800
    assert first.detail in {
        "class 'd' more often than predicted",
        "class 'b' less often than predicted",
    }


def test_records_without_a_choice_of_classes_tell_nothing() -> None:
    """Events decided before two classes were known move nothing."""
    drift = Drift(DriftPlan(warm_up=0))
    for offset in range(300):
        drift.take(labelled(offset, "x", {}, explored=True), offset)
        drift.take(labelled(offset, "x", {"y": 1.0}, explored=True), offset)
    assert pickle.dumps(drift) == pickle.dumps(Drift(DriftPlan(warm_up=0)))


def test_a_new_class_starts_the_charts_afresh() -> None:
    """Charts of two classes say nothing of three."""
    drift = Drift(DriftPlan(warm_up=10))
    for offset in range(17):
        drift.take(labelled(offset, "x", {"x": 0.5, "y": 0.5}), offset)
    assert not drift.alarms
    for offset in range(17, 28):
        drift.take(labelled(offset, "x", {"x": 0.5, "y": 0.25, "z": 0.25}), offset)
    assert not drift.alarms


def test_probabilities_of_0_and_1_are_survived() -> None:
    """Wrong predictions that were certain move the charts by a bounded step."""
    chart = Chart(shift=0.6, trust=32.0)
    chart.add(True, -36.0, 3.0)
    assert 0.0 < chart.above <= 1.8
    drift = Drift(DriftPlan(warm_up=0))
    for offset in range(300):
        drift.take(labelled(offset, "xy"[offset % 2], {"x": 0.0, "y": 1.0}), offset)
    assert drift.counts["residual"] > 0


def test_alarms_are_bounded_and_counted() -> None:
    """The last 50 alarms are kept, all are counted."""
    drift = Drift(DriftPlan(warm_up=0))
    for offset in range(3000):
        drift.take(labelled(offset, "xy"[offset // 40 % 2], {"x": 0.5, "y": 0.5}), offset)
    assert len(drift.alarms) == 50
    assert drift.counts["residual"] > 50
    assert drift.last["residual"] == drift.alarms[-1]


def test_memory_does_not_grow_with_names() -> None:
    """However many feature names turn up, a hundred are watched."""
    drift = Drift()
    for offset in range(150):
        drift.observe(observed(offset, {f"x{offset}": 1.0, "steady": 2.0}), offset)
    size = len(pickle.dumps(drift))
    for offset in range(150, 2000):
        drift.observe(observed(offset, {f"x{offset}": 1.0}), offset)
    assert len(pickle.dumps(drift)) == size


def mixed(seed: int) -> Iterator[Labelled | Observed]:
    """Yield records that raise alarms of every kind."""
    drawn = random.Random(seed)
    for offset in range(900):
        moved = 2.0 if offset > 500 else 0.0
        yield observed(offset, {"a": drawn.gauss(moved, 1.0)})
        x: Features = {"a": drawn.gauss(0.0, 1.0)}
        label = "yes" if drawn.random() < sigmoid(moved) else "no"
        yield labelled(offset, label, {"no": 0.5, "yes": 0.5}, x, explored=offset % 2 == 0)


def test_a_copy_goes_on_as_the_original() -> None:
    """Pickled at any point and read again, detectors raise the very same alarms."""
    print("seed", 8)
    one, two = Drift(), Drift()
    for offset, record in enumerate(mixed(8)):
        if offset % 97 == 0:
            two = pickle.loads(pickle.dumps(two))  # noqa: S301
        for drift in (one, two):
            if isinstance(record, Labelled):
                drift.take(record, offset)
            else:
                drift.observe(record, offset)
    assert one.alarms == two.alarms
    assert {alarm.cause for alarm in one.alarms} >= {"residual", "features"}
