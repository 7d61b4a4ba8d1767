"""The five warning signs: for each what brings it on, what does not, and what ends it."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator

import pytest

from stream_al import Config, Engine, Event, GateConfig, Label, LearnerConfig
from stream_al.learner.committee import Committee
from stream_al.learner.helping import Comparison, Helping
from stream_al.learner.warning_signs import Sign, SignName, WarningSigns
from stream_al.limits import Limits
from stream_al.records import Features, Observed
from stream_al.training import Labelled, TrainingRecord, decode_training

Log = list[tuple[int, TrainingRecord]]
Stream = Iterator[tuple[Features, str]]

PLAIN = LearnerConfig(committee=False)
SWAPPED = {"a": "b", "b": "a"}


def replayed(
    stream: Iterable[tuple[Features, str]],
    budget: float,
    *,
    learner: LearnerConfig = PLAIN,
    picked_wrong: bool = False,
) -> Log:
    """Play a stream, and keep the training log."""
    log: Log = []
    engine = Engine(
        Config(learner=learner, gate=GateConfig(budget=budget)),
        write=lambda offset, raw: log.append((offset, decode_training(raw))),
    )
    for i, (features, truth) in enumerate(stream):
        request = engine.decide_one(Event(offset=i, features=features)).request
        if request is not None:
            wrong = picked_wrong and not request.explored
            label = SWAPPED[truth] if wrong else truth
            engine.learn_one(Label(request_id=request.request_id, label=label))
    return log


def reviewed(log: Log) -> list[dict[SignName, Sign]]:
    """Fold a log as the training log's fold does; the signs after each label."""
    helping, signs, learner = Helping(PLAIN), WarningSigns(), Committee(PLAIN)
    found = []
    for offset, record in log:
        if isinstance(record, Observed):
            learner.observe_one(record.features)
            signs.observe(record.features)
        elif isinstance(record, Labelled):
            helping.take(record, offset, learner.encode_one(record.features))
            signs.take(record)
            found.append(signs.review(offset + 1, comparison=helping.estimate()))
    return found


def ever_on(log: Log) -> set[SignName]:
    """Tell the signs that were on at any time."""
    return {name for signs in reviewed(log) for name, sign in signs.items() if sign.on}


def moving(events: int, seed: int, move: Callable[[str], float]) -> Stream:
    """Two classes that one number tells apart; from half-way, `move` says where each lies."""
    draws = random.Random(seed)
    for i in range(events):
        label = "b" if draws.random() < 0.4 else "a"
        middle = move(label) if 2 * i >= events else 1.0 if label == "b" else -1.0
        yield {"x": draws.gauss(middle, 0.5), "y": draws.gauss(0, 1)}, label


def cluster(events: int, seed: int, *, teaches: bool) -> Stream:
    """Two classes far apart, and between them one event in forty from a tight cluster.

    There the label is a coin's, or what a third number says.
    """
    draws = random.Random(seed)
    for _ in range(events):
        label = draws.choice("ab")
        side = 1.0 if label == "b" else -1.0
        if draws.random() < 0.025:
            tight = {"x": draws.gauss(0, 0.05), "y": draws.gauss(5, 0.05)}
            yield {**tight, "w": draws.gauss(0.5 * side * teaches, 0.1)}, label
        else:
            far = {"x": draws.gauss(3.0 * side, 0.7), "y": draws.gauss(0, 1)}
            yield {**far, "w": draws.gauss(0, 0.5)}, label


def test_a_class_that_falls_behind_alone_brings_recall_on() -> None:
    """One class moves to where the other lies: its recall falls, the other's does not."""
    signs = reviewed(replayed(moving(6000, 1, lambda _: -1.0), budget=0.2))
    assert not signs[len(signs) // 2]["recall"].on
    last = signs[-1]["recall"]
    assert last.on
    assert last.value is not None
    assert last.value > 0.1
    assert "of class 'b'" in last.why
    assert 600 < last.since_version < 1800


def test_classes_that_fall_together_do_not_bring_recall_on() -> None:
    """Both classes move towards each other: that is harder, but none falls behind."""
    log = replayed(moving(6000, 1, lambda label: 0.3 if label == "b" else -0.3), budget=0.2)
    assert "recall" not in ever_on(log)


def test_a_class_that_was_always_hard_does_not_bring_recall_on() -> None:
    """A rare class that is never found lags by no more than it ever did."""
    draws = random.Random(3)
    stream: list[tuple[Features, str]] = [
        ({"x": draws.gauss(0, 1)}, "b" if draws.random() < 0.2 else "a") for _ in range(6000)
    ]
    signs = reviewed(replayed(stream, budget=0.2))
    assert signs[-1]["recall"].value is not None
    assert not any(each["recall"].on for each in signs)


def test_picked_requests_that_are_answered_wrong_bring_random_ahead_on() -> None:
    """Selected labels that are wrong teach less than random ones, and the sign says so."""
    stream = list(moving(2000, 4, lambda label: 1.0 if label == "b" else -1.0))
    on = reviewed(replayed(stream, budget=0.3, picked_wrong=True))[-1]["random-ahead"]
    assert on.on
    assert "has -0." in on.why
    assert "random-ahead" not in ever_on(replayed(stream, budget=0.3))


@pytest.mark.parametrize("teaches", [False, True])
def test_asking_about_one_cluster_is_a_sign_where_labels_teach_nothing(teaches: bool) -> None:
    """A cluster where labels are a coin's brings the sign on; one where they are learnt does not.

    The gate asks about hardly anything but the cluster in the first case.
    """
    learner = LearnerConfig(memory=300)
    log = replayed(cluster(14_000, 0, teaches=teaches), budget=0.04, learner=learner)
    picked = [r for _, r in log if isinstance(r, Labelled) and not r.explored]
    signs = reviewed(log)
    assert signs[-1]["concentrated"].value is not None
    if not teaches:
        inside = [r for r in picked[-200:] if float(r.features["y"]) > 4.0]
        assert len(inside) > 150
    assert signs[-1]["concentrated"].on == (not teaches)


def test_asking_along_a_boundary_is_not_concentrated() -> None:
    """Uncertain events lie on both sides of a line through all of traffic."""
    draws = random.Random(6)
    stream: list[tuple[Features, str]] = []
    for _ in range(8000):
        x, y = draws.random(), draws.random()
        stream.append(({"x": x, "y": y}, "b" if (x + y > 1.0) != (draws.random() < 0.1) else "a"))
    signs = reviewed(replayed(stream, budget=0.1))
    assert signs[-1]["concentrated"].value is not None
    assert not any(each["concentrated"].on for each in signs)


@pytest.mark.parametrize(("label", "on"), [("common", True), ("rare", False)])
def test_certain_labels_of_a_rare_class_are_worth_asking_for(label: str, on: bool) -> None:
    """Asking for what is known already is a sign, unless the class is no larger than the region."""
    draws, signs = random.Random(7), WarningSigns()
    for i in range(600):
        truth = "rare" if i % 50 == 0 else "common"
        signs.take(labelled({"x": draws.random(), "y": draws.random()}, truth, explored=True))
    for _ in range(240):
        near: Features = {"x": 0.5 + draws.gauss(0, 0.001), "y": 0.5 + draws.gauss(0, 0.001)}
        signs.take(labelled(near, label, explored=False))
    assert signs.review(1)["concentrated"].on == on


def test_agreement_is_a_sign_by_the_limits_of_the_difference() -> None:
    """The same two kappas are a sign with narrow limits and none with wide ones."""
    narrow = limits(0.5, 0.4, 0.6), limits(0.8, 0.7, 0.9)
    wide = limits(0.5, 0.1, 0.9), limits(0.8, 0.5, 1.0)
    assert WarningSigns().review(1, agreement=narrow)["agreement"].on
    assert not WarningSigns().review(1, agreement=wide)["agreement"].on
    assert not WarningSigns().review(1, agreement=narrow[::-1])["agreement"].on


def test_a_kappa_that_is_not_known_is_no_sign() -> None:
    """While all answers of a kind are of one class, agreement is left as it was."""
    signs, known = WarningSigns(), limits(0.8, 0.7, 0.9)
    unknown = limits(None, -1.0, 1.0)
    assert signs.review(1, agreement=(unknown, known))["agreement"].value is None
    assert signs.review(2, agreement=(limits(0.5, 0.4, 0.6), known))["agreement"].on
    assert signs.review(3, agreement=(known, unknown))["agreement"].on
    assert signs.state["agreement"].since_version == 2


def test_calibration_is_a_sign_by_the_lower_limit() -> None:
    """An error of .2 is no sign while it may be below .10."""
    assert WarningSigns().review(1, calibration=limits(0.2, 0.11, 0.29))["calibration"].on
    assert not WarningSigns().review(1, calibration=limits(0.2, 0.09, 0.31))["calibration"].on


def test_a_sign_stays_until_its_lower_limit_and_tells_since_when() -> None:
    """Between the two limits a sign stays as it was; its version is that of its last change."""
    signs = WarningSigns()
    lowers = (0.04, 0.08, 0.11, 0.12, 0.08, 0.06, 0.04, 0.08, 0.11)
    states = [
        signs.review(10 + i, calibration=limits(0.3, lower, 0.5))["calibration"]
        for i, lower in enumerate(lowers)
    ]
    assert [state.on for state in states] == [False] * 2 + [True] * 4 + [False] * 2 + [True]
    assert [state.since_version for state in states] == [0, 0, 12, 12, 12, 12, 16, 16, 18]
    assert [state.limit for state in states] == [0.1] * 2 + [0.05] * 4 + [0.1] * 2 + [0.05]


def test_random_ahead_ends_only_when_selected_labels_are_clearly_level() -> None:
    """Once on, an upper limit a little above 0 does not turn it off."""
    signs = WarningSigns()
    states = []
    for upper in (0.001, -0.001, 0.005, 0.02):
        found = Comparison(
            difference=-0.05,
            lower=-0.1,
            upper=upper,
            pairs=500,
            disagreements=50,
            verdict="too-early",
        )
        states.append(signs.review(1, comparison=found)["random-ahead"].on)
    assert states == [False, True, True, False]


def test_nothing_warns_before_anything_is_known() -> None:
    """All five signs are off at the start, and say that too little is known."""
    signs = WarningSigns().review(1)
    assert set(signs) == {"recall", "agreement", "calibration", "random-ahead", "concentrated"}
    for sign in signs.values():
        assert (sign.on, sign.value, sign.since_version) == (False, None, 0)
        assert sign.why == "too little is known"


def test_signs_are_a_function_of_the_log() -> None:
    """A fold that goes on from a pickle comes to the same signs, and features may come and go."""
    draws = random.Random(8)
    records = [
        labelled(
            {"x": draws.random(), "c": draws.choice("pqr"), **({"z": True} if i % 3 else {})},
            draws.choice("ab"),
            explored=i % 2 == 0,
        )
        for i in range(1200)
    ]
    one, other = WarningSigns(), WarningSigns()
    for i, record in enumerate(records):
        one.take(record)
        other.take(record)
        assert one.review(i) == other.review(i)
        if i == 700:
            other = pickle.loads(pickle.dumps(other))  # noqa: S301
    assert one.review(1200)["concentrated"].value is not None


def test_memory_stays_bounded() -> None:
    """What is kept of three times as many labels takes no more."""
    draws, signs, sizes = random.Random(9), WarningSigns(), []
    for i in range(6000):
        record = labelled({"x": draws.random()}, draws.choice("ab"), explored=i % 2 == 0)
        signs.take(record)
        if i in (1999, 5999):
            sizes.append(len(pickle.dumps(signs)))
    assert sizes[1] < 1.02 * sizes[0]


def labelled(features: Features, label: str, *, explored: bool) -> Labelled:
    """Make an answer to a request that was predicted as class a."""
    return Labelled(
        request_id="events:0:0",
        request_no=0,
        topic="events",
        partition=0,
        offset=0,
        id="",
        time=None,
        features=features,
        label=label,
        annotator="",
        answered_at=None,
        weight=1.0,
        prediction="a",
        probabilities={"a": 0.6, "b": 0.4},
        explored=explored,
        propensity=0.1,
        asked="explore" if explored else "policy",
        model_version=0,
    )


def limits(value: float | None, lower: float, upper: float) -> Limits:
    """Make limits of as many as do not matter here."""
    return Limits(value=value, lower=lower, upper=upper, count=300)
