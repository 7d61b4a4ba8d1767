"""The built-in stream of card payments."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any

import pytest
from river import compose, linear_model, preprocessing
from sklearn.metrics import average_precision_score

from stream_al.errors import ConfigError
from stream_al.replay.cards import cards

N = 60_000
WINDOW = 5_000


@pytest.fixture(scope="module")
def stream() -> list[Any]:
    """Return the beginning of the stream of seed 0."""
    return list(cards(N))


def test_same_seed_same_stream(stream: list[Any]) -> None:
    """Two streams of one seed are equal, and another seed makes another one."""
    assert list(cards(20_000)) == stream[:20_000]
    assert list(cards(1_000, seed=1)) != stream[:1_000]


@pytest.mark.parametrize("n", [0, 1, 8_191, 8_192, 8_193, 20_001])
def test_shorter_stream_is_a_prefix(stream: list[Any], n: int) -> None:
    """How many payments are asked for does not change those that come first."""
    assert list(cards(n)) == stream[:n]


def test_streams_share_no_state(stream: list[Any]) -> None:
    """Two streams read in turns do not disturb one another."""
    first, second = cards(3_000), cards(3_000)
    for n, (one, other) in enumerate(zip(first, second, strict=True)):
        assert one == other == stream[n]


def test_times_never_fall_and_names_are_unique(stream: list[Any]) -> None:
    """Event time runs forward from 2024-01-01 and no id is used twice."""
    times = [time for _, time, *_ in stream]
    assert times[0] >= 1_704_067_200.0
    assert all(a <= b for a, b in pairwise(times))
    assert len({payment for _, _, payment, _, _ in stream}) == N
    assert 2_000 < len({card for _, _, _, card, _ in stream}) <= 4_000


def test_features_are_finite_and_of_one_shape(stream: list[Any]) -> None:
    """Every payment has the same features of the same types, and numbers are finite."""
    shape = {name: type(value) for name, value in stream[0][0].items()}
    assert set(shape.values()) == {float, str, bool}
    for features, *_ in stream:
        assert {name: type(value) for name, value in features.items()} == shape
        assert all(math.isfinite(value) for value in features.values() if type(value) is float)
        assert features["amount"] > 0.0
        assert 0.0 <= features["hour"] < 24.0
        assert features["night"] == (features["hour"] < 6.0)


def test_calendar_features_tell_event_time(stream: list[Any]) -> None:
    """Hour and weekend are those of the payment's own time in UTC."""
    for features, time, *_ in stream[::100]:
        day = int(time // 86_400)
        assert abs(features["hour"] - time % 86_400 / 3_600) < 0.011
        assert features["weekend"] == ((day + 3) % 7 >= 5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fraud_is_rare_and_moves(seed: int) -> None:
    """Fraud is about 0.8 % of the payments, and its share differs between windows."""
    labels = [label for *_, label in cards(100_000, seed)]
    assert set(labels) == {0, 1}
    assert 0.004 < sum(labels) / len(labels) < 0.013
    shares = [sum(labels[at : at + WINDOW]) / WINDOW for at in range(0, len(labels), WINDOW)]
    assert max(shares) > 1.5 * min(shares)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_patterns_change_abruptly(seed: int) -> None:
    """The kinds of merchants that frauds hit change at least twice in 100,000 payments."""
    payments = cards(100_000, seed)
    anchor, changes = _fraud_categories(islice(payments, WINDOW)), 0
    for _ in range(100_000 // WINDOW - 1):
        window = _fraud_categories(islice(payments, WINDOW))
        if sum(abs(window[name] - anchor[name]) for name in {*window, *anchor}) / 2 > 0.4:
            anchor, changes = window, changes + 1
    assert changes >= 2


def _fraud_categories(payments: Iterable[Any]) -> Counter[str]:
    found = Counter(features["category"] for features, *_, label in payments if label)
    return Counter({name: count / found.total() for name, count in found.items()})


def test_online_learning_pays(stream: list[Any]) -> None:
    """Logistic regression learns the stream neither at once nor never, and needs its labels."""
    draws = random.Random(0)
    full, fifth, frozen = _classifier(), _classifier(), _classifier()
    found: dict[str, list[float]] = {"truth": [], "full": [], "fifth": [], "frozen": []}
    for n, (features, _, _, _, label) in enumerate(stream):
        found["truth"].append(label)
        for name, model in (("full", full), ("fifth", fifth), ("frozen", frozen)):
            found[name].append(model.predict_proba_one(features).get(True, 0.0))
        full.learn_one(features, bool(label))
        if draws.random() < 0.2:
            fifth.learn_one(features, bool(label))
        if n < N // 3:
            frozen.learn_one(features, bool(label))
    truth = found.pop("truth")
    whole = {name: average_precision_score(truth, scores) for name, scores in found.items()}
    assert 0.3 < whole["full"] < 0.7, whole
    assert whole["fifth"] < 0.7 * whole["full"], whole
    last = {
        name: average_precision_score(truth[-N // 3 :], scores[-N // 3 :])
        for name, scores in found.items()
    }
    assert last["frozen"] < 0.7 * last["full"], last


def _classifier() -> Any:
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    names = compose.SelectType((str, bool)) | preprocessing.OneHotEncoder()
    return (numbers + names) | linear_model.LogisticRegression()


@pytest.mark.parametrize(("n", "seed", "where"), [(-1, 0, "n"), (1, -1, "seed")])
def test_negative_arguments_are_refused(n: int, seed: int, where: str) -> None:
    """A negative length or seed is refused by name before anything is generated."""
    with pytest.raises(ConfigError, match=f"^{where}: must be at least 0, not -1$"):
        cards(n, seed)


def test_memory_does_not_grow() -> None:
    """A stream that runs on needs no more memory than it did at first."""
    payments = cards(40_000)
    tracemalloc.start()
    try:
        for _ in islice(payments, 10_000):
            pass
        early = tracemalloc.get_traced_memory()[0]
        for _ in payments:
            pass
        grown = tracemalloc.get_traced_memory()[0] - early
    finally:
        tracemalloc.stop()
    assert grown < 200_000
