"""Prequential metrics against scikit-learn's values and against brute force."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing
from sklearn import metrics

from stream_al.errors import ConfigError
from stream_al.replay.prequential import Scores, StreamScores
from stream_al.replay.ranking import Ranking, bin_of

Row: TypeAlias = tuple[str, str | None, dict[str, float]]

DATA = Path(os.environ.get("STREAM_AL_DATA", Path(__file__).parents[2] / "shared" / "data"))
NONE = "(none)"


def _scored(rows: list[Row], length: int | None = None) -> StreamScores:
    scores = StreamScores(length)
    for row in rows:
        scores.update(*row)
    return scores


def _predicted(rows: list[Row]) -> list[str]:
    return [NONE if prediction is None else prediction for _, prediction, _ in rows]


def _truths(rows: list[Row]) -> list[str]:
    return [truth for truth, _, _ in rows]


def _exact_f1(rows: list[Row]) -> float:
    return float(
        metrics.f1_score(_truths(rows), _predicted(rows), average="weighted", zero_division=0)
    )


def _plain_f1(rows: list[Row]) -> float:
    """Weighted F1 by its definition: fast enough for each of many short prefixes."""
    total = 0.0
    for name in {truth for truth, _, _ in rows}:
        right = sum(truth == guess == name for truth, guess, _ in rows)
        support = sum(truth == name for truth, _, _ in rows)
        claimed = sum(guess == name for _, guess, _ in rows)
        total += support * 2 * right / (support + claimed)
    return total / len(rows)


def _exact_ranking(rows: list[Row], name: str) -> tuple[float, float]:
    positive = [truth == name for truth, _, _ in rows]
    p = [0.5 if not ps or guess is None else ps.get(name, 0.0) for _, guess, ps in rows]
    return (
        float(metrics.average_precision_score(positive, p)),
        float(metrics.roc_auc_score(positive, p)),
    )


def _exact_ece(rows: list[Row]) -> float:
    confidence = np.array([ps.get(guess, 0.0) for _, guess, ps in rows if guess is not None])
    right = np.array([truth == guess for truth, guess, _ in rows], dtype=float)
    total = 0.0
    for low in range(15):
        within = (confidence >= low / 15) & ((confidence < (low + 1) / 15) | (low == 14))
        if within.any():
            total += within.mean() * abs(confidence[within].mean() - right[within].mean())
    return total


def _ranked(scores: Scores) -> tuple[float, float]:
    assert scores.average_precision is not None
    assert scores.roc_auc is not None
    return scores.average_precision, scores.roc_auc


def _binary_rows(
    seed: int, n: int, rate: float, log_odds: Callable[[random.Random, bool], float]
) -> list[Row]:
    draw = random.Random(seed)
    rows: list[Row] = []
    for _ in range(n):
        positive = draw.random() < rate
        z = log_odds(draw, positive)
        p = 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0
        rows.append(("1" if positive else "0", "1" if p > 0.5 else "0", {"0": 1.0 - p, "1": p}))
    return rows


def _multiclass_rows(seed: int, n: int, names: str) -> list[Row]:
    """Informative probabilities, some predictions that are not the likeliest class, some none."""
    draw = random.Random(seed)
    rows: list[Row] = []
    for _ in range(n):
        truth = draw.choices(names, range(1, len(names) + 1))[0]
        weights = [draw.expovariate(1.0) * (3.0 if name == truth else 1.0) for name in names]
        ps = {name: w / sum(weights) for name, w in zip(names, weights, strict=True)}
        guess = max(ps, key=lambda name: ps[name]) if draw.random() < 0.9 else draw.choice(names)
        rows.append((truth, guess, ps))
    return rows


@st.composite
def streams(draw: st.DrawFn, names: str = "abc") -> list[Row]:
    """Short streams with classes found late, ties, missing probabilities and predictions."""
    grid = st.sampled_from([0.0, 1e-6, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    row = st.tuples(
        st.sampled_from(names),
        st.none() | st.sampled_from([*names, "z"]),
        st.dictionaries(st.sampled_from([*names, "z"]), grid, max_size=4),
    )
    return draw(st.lists(row, min_size=1, max_size=40))


@settings(max_examples=50, deadline=None)
@given(streams())
def test_confusion_metrics_equal_scikit_learn(rows: list[Row]) -> None:
    """Accuracy, F1, kappa and per-class scores are scikit-learn's, with None as a wrong class."""
    scores = _scored(rows).whole()
    y, guess = _truths(rows), _predicted(rows)
    assert scores.events == len(rows)
    assert scores.unpredicted == guess.count(NONE)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(y, guess))
    assert scores.weighted_f1 == pytest.approx(_exact_f1(rows))
    if len({*y, *guess}) > 1:
        assert scores.kappa == pytest.approx(metrics.cohen_kappa_score(y, guess), abs=1e-12)
    else:
        assert scores.kappa is None
    names = sorted({*y, *guess} - {NONE})
    assert list(scores.per_class) == names
    columns = metrics.precision_recall_fscore_support(y, guess, labels=names, zero_division=0)
    for name, precision, recall, f1, support in zip(names, *columns, strict=True):
        found = scores.per_class[name]
        assert (found.precision, found.recall, found.f1) == pytest.approx((precision, recall, f1))
        assert (found.support, found.predicted) == (support, guess.count(name))


@settings(deadline=None)
@given(streams("ab"))
def test_ranking_of_distinct_probabilities_is_exact(rows: list[Row]) -> None:
    """On a grid of probabilities, one bin each, AP and AUC equal scikit-learn's, ties included."""
    scores = _scored(rows).whole()
    y = _truths(rows)
    if len(set(y)) < 2:
        assert (scores.ranked_class, scores.average_precision, scores.roc_auc) == (None,) * 3
        return
    rarer = "a" if y.count("a") < y.count("b") else "b"
    assert scores.ranked_class == rarer
    assert _ranked(scores) == pytest.approx(_exact_ranking(rows, rarer), abs=1e-12)


@settings(deadline=None)
@given(streams(), st.integers(0, 40))
def test_halves_are_scored_alone_and_merge_to_the_whole(rows: list[Row], extra: int) -> None:
    """Splitting at the half changes nothing in the whole, and each half is a stream by itself."""
    length = len(rows) + extra
    halved = _scored(rows, length)
    alone = _scored(rows).whole()
    whole, half = halved.whole(), halved.second_half()
    tail = _scored(rows[length // 2 :]).whole()
    assert half is not None
    for merged, single in ((whole, alone), (half, tail)):
        for field in set(Scores.__struct_fields__) - {"mean_cycle_f1", "per_class"}:
            expected = getattr(single, field)
            assert getattr(merged, field) == (
                pytest.approx(expected, abs=1e-12) if isinstance(expected, float) else expected
            )
        assert merged.per_class == single.per_class


@settings(max_examples=50, deadline=None)
@given(streams())
def test_mean_cycle_f1_equals_brute_force(rows: list[Row]) -> None:
    """The running F1 is averaged over the marks ceil(n k / 100), restarting at the half."""
    n = len(rows)
    half_at = n // 2
    marks = [math.ceil(n * k / 100) for k in range(1, 101)]
    whole = [_plain_f1(rows[:mark]) for mark in marks]
    half = [_plain_f1(rows[half_at:mark]) for mark in marks[50:]]
    scores = _scored(rows, n)
    second = scores.second_half()
    assert second is not None
    assert scores.whole().mean_cycle_f1 == pytest.approx(sum(whole) / 100)
    assert second.mean_cycle_f1 == pytest.approx(sum(half) / 50)


@pytest.mark.parametrize("n", [1000, 1037])
def test_mean_cycle_f1_equals_brute_force_on_longer_streams(n: int) -> None:
    """Marks that fall between events, one by one, are taken where they belong (seed 3)."""
    rows = _multiclass_rows(3, n, "abc")
    marks = [-(-n * k // 100) for k in range(1, 101)]
    scores = _scored(rows, n)
    second = scores.second_half()
    assert second is not None
    assert scores.whole().mean_cycle_f1 == pytest.approx(
        np.mean([_exact_f1(rows[:mark]) for mark in marks])
    )
    assert second.mean_cycle_f1 == pytest.approx(
        np.mean([_exact_f1(rows[n // 2 : mark]) for mark in marks[50:]])
    )


def test_unreached_marks_do_not_count() -> None:
    """Part-way through the stream the mean is over the marks reached, and null before any."""
    rows = _multiclass_rows(4, 250, "ab")
    scores = _scored(rows[:130], 250)
    reached = [-(-250 * k // 100) for k in range(1, 53)]
    assert scores.whole().mean_cycle_f1 == pytest.approx(
        np.mean([_exact_f1(rows[:mark]) for mark in reached])
    )
    assert _scored(rows[:2], 250).whole().mean_cycle_f1 is None


def test_events_beyond_the_length_belong_to_the_second_half() -> None:
    """A stream longer than announced is scored to its end, without further marks."""
    rows = _multiclass_rows(5, 60, "ab")
    longer, announced = _scored(rows, 40), _scored(rows[:40], 40)
    second = longer.second_half()
    assert second is not None
    assert (longer.whole().events, second.events) == (60, 40)
    assert longer.whole().mean_cycle_f1 == announced.whole().mean_cycle_f1


def test_unknown_length_has_no_halves_and_no_cycles() -> None:
    """Without a length the whole is scored, and what needs the length is null."""
    scores = _scored(_multiclass_rows(6, 50, "ab"))
    assert scores.second_half() is None
    assert scores.whole().mean_cycle_f1 is None
    assert scores.whole().weighted_f1 is not None


@pytest.mark.parametrize("length", [None, 0, 10])
def test_no_events_have_no_scores(length: int | None) -> None:
    """Before the first event every score is null instead of a division by zero."""
    scores = StreamScores(length)
    for found in (scores.whole(), scores.second_half()):
        if found is None:
            assert length is None
            continue
        assert found.events == 0
        assert found.per_class == {}
        assert found.accuracy is found.weighted_f1 is found.kappa is found.log_loss is None
        assert found.brier is found.ece is found.average_precision is found.mean_cycle_f1 is None


def test_negative_length_is_refused() -> None:
    """A length below 0 is a usage error that names the argument."""
    with pytest.raises(ConfigError, match=r"length: .*not -1"):
        StreamScores(-1)


@pytest.mark.parametrize("names", ["ab", "abcd"])
@pytest.mark.parametrize("seed", range(3))
def test_probability_metrics_equal_scikit_learn(names: str, seed: int) -> None:
    """Log loss, Brier score and calibration error are the exact values over the whole stream."""
    rows = _multiclass_rows(seed, 2000, names)
    scores = _scored(rows, len(rows)).whole()
    y = _truths(rows)
    table = np.array([[ps[name] for name in names] for _, _, ps in rows])
    outcome = np.array([[name == truth for name in names] for truth in y], dtype=float)
    assert scores.log_loss == pytest.approx(metrics.log_loss(y, table, labels=list(names)))
    assert scores.brier == pytest.approx(((table - outcome) ** 2).sum(axis=1).mean() / 2)
    assert scores.ece == pytest.approx(_exact_ece(rows))
    if names == "ab":
        binary = metrics.brier_score_loss(y, table[:, 1], pos_label="b")
        assert scores.brier == pytest.approx(binary)
    else:
        assert (scores.ranked_class, scores.average_precision, scores.roc_auc) == (None,) * 3


def test_saturated_and_missing_probabilities_have_bounded_loss() -> None:
    """Log loss is clipped at 1e-15, and a class without a probability has 0."""
    rows: list[Row] = [
        ("a", "b", {"a": 0.0, "b": 1.0}),
        ("a", "b", {"b": 1.0}),
        ("a", "a", {"a": 1.0, "b": 0.0}),
        ("c", "a", {"a": 0.5, "b": 0.5}),
    ]
    scores = _scored(rows).whole()
    assert scores.log_loss == pytest.approx(3 * -math.log(1e-15) / 4)
    assert scores.brier == pytest.approx((1.0 + 1.0 + 0.0 + 0.75) / 4)
    # Two sure ones wrong and one right share the last bin; the fourth is alone at 0.5.
    assert scores.ece == pytest.approx(3 / 4 * (1 - 1 / 3) + 1 / 4 * 0.5)


def test_unpredicted_events_count_as_wrong_and_have_no_probability() -> None:
    """Events before any class is known lower accuracy and recall, not the probability metrics."""
    judged: list[Row] = [("a", "a", {"a": 0.9, "b": 0.1}), ("b", "b", {"a": 0.2, "b": 0.8})]
    scores = _scored([("a", None, {}), ("a", None, {"a": 0.3}), *judged]).whole()
    alone = _scored(judged).whole()
    assert (scores.events, scores.unpredicted, scores.without_probabilities) == (4, 2, 0)
    assert scores.accuracy == 0.5
    assert scores.per_class["a"].recall == pytest.approx(1 / 3)
    assert scores.per_class["a"].precision == 1.0
    assert scores.log_loss == pytest.approx(alone.log_loss)
    assert scores.brier == pytest.approx(alone.brier)
    assert scores.ece == pytest.approx(alone.ece)


@pytest.mark.parametrize(
    "probabilities",
    [
        {"a": math.nan, "b": 0.5},
        {"a": 0.5, "b": math.inf},
        {"a": -math.inf, "b": 0.5},
        {"a": 1.5, "b": -0.5},
        {},
    ],
    ids=["nan", "infinity", "minus infinity", "outside", "none"],
)
def test_unusable_probabilities_are_counted_and_poison_nothing(
    probabilities: dict[str, float],
) -> None:
    """An event without usable probabilities counts with its prediction and is tied at 0.5."""
    rows = _multiclass_rows(7, 100, "ab")
    bad: Row = ("a", "a", probabilities)
    scores, clean = _scored([*rows, bad], 101).whole(), _scored(rows).whole()
    assert (scores.without_probabilities, scores.unpredicted) == (1, 0)
    assert scores.accuracy == pytest.approx(np.mean([t == p for t, p, _ in [*rows, bad]]))
    assert scores.log_loss == pytest.approx(clean.log_loss)
    assert scores.brier == pytest.approx(clean.brier)
    assert scores.ece == pytest.approx(clean.ece)
    tied = [*rows, ("a", "a", {"a": 0.5, "b": 0.5})]
    assert _ranked(scores) == pytest.approx(_exact_ranking(tied, "a"), abs=0.002)


def test_rounding_beyond_one_is_a_probability() -> None:
    """What normalising leaves just outside [0, 1] is scored as 0 and 1."""
    rows: list[Row] = [
        ("a", "a", {"a": 1.0 + 2e-16, "b": -1e-17}),
        ("b", "b", {"a": -1e-17, "b": 1.0 + 2e-16}),
    ]
    scores = _scored(rows).whole()
    assert scores.without_probabilities == 0
    assert _ranked(scores) == (1.0, 1.0)
    assert scores.log_loss == pytest.approx(0.0, abs=1e-12)


def test_probabilities_of_numpy_type_reach_the_json() -> None:
    """Sums over NumPy floats are plain numbers, which the JSON encoder takes."""
    p = np.float64(0.25)
    scores = _scored([("a", "b", {"a": p, "b": 1.0 - p}), ("b", "b", {"a": p, "b": 1.0 - p})])
    assert msgspec.json.decode(msgspec.json.encode(scores.whole()))["brier"] == 0.3125


def test_json_is_one_object_with_null_for_what_is_undefined() -> None:
    """The JSON names every score, has the classes nested, and null where nothing is defined."""
    scores = _scored([("a", "a", {"a": 1.0})]).whole()
    found = msgspec.json.decode(msgspec.json.encode(scores))
    assert set(found) == set(Scores.__struct_fields__)
    assert found["accuracy"] == 1.0
    for name in ("kappa", "average_precision", "roc_auc", "ranked_class", "mean_cycle_f1"):
        assert found[name] is None
    assert found["per_class"] == {
        "a": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1, "predicted": 1}
    }


def test_rarer_class_is_decided_for_each_stretch() -> None:
    """The ranked class is the rarer one of the whole, and of the second half, by themselves."""
    rows = [*_multiclass_rows(8, 400, "ab"), *_multiclass_rows(9, 400, "ba")]
    rows += _multiclass_rows(10, 90, "ab")
    scores = _scored(rows, 800)
    second = scores.second_half()
    assert second is not None
    for found, part in ((scores.whole(), rows), (second, rows[400:])):
        y = _truths(part)
        rarer = min("ab", key=y.count)
        assert found.ranked_class == rarer
        assert _ranked(found) == pytest.approx(_exact_ranking(part, rarer), abs=0.002)
    assert scores.whole().ranked_class != second.ranked_class


def test_third_class_ends_the_ranking_for_good() -> None:
    """Once a third true class occurs AP and AUC are null, in the half and in the whole."""
    rows = _multiclass_rows(11, 100, "ab")
    third: Row = ("c", "c", {"a": 0.1, "b": 0.1, "c": 0.8})
    for at, second_is_null in ((10, False), (90, True)):
        scores = _scored([*rows[:at], third, *rows[at:]], 101)
        second = scores.second_half()
        assert second is not None
        assert scores.whole().average_precision is None
        assert (second.average_precision is None) is second_is_null


def _sparse(draw: random.Random, positive: bool) -> float:
    return draw.gauss(-11.0 if positive else -14.0, 1.5)


def _saturated(draw: random.Random, positive: bool) -> float:
    return draw.gauss(25.0 if positive else -60.0, 60.0)


def _narrow(draw: random.Random, positive: bool) -> float:
    return draw.gauss(-2.02 if positive else -2.05, 0.02)


def _tied(draw: random.Random, positive: bool) -> float:
    return float(round(draw.gauss(1.0 if positive else -1.0, 1.0)))


@pytest.mark.parametrize("log_odds", [_sparse, _saturated, _narrow, _tied])
@pytest.mark.parametrize("rate", [0.005, 0.4])
@pytest.mark.parametrize("seed", range(2))
def test_binned_ranking_is_within_two_thousandths(
    log_odds: Callable[[random.Random, bool], float], rate: float, seed: int
) -> None:
    """Tiny, saturated, narrow and tied probabilities rank as exactly as promised."""
    rows = _binary_rows(seed, 20_000, rate, log_odds)
    scores = _scored(rows, len(rows))
    second = scores.second_half()
    assert second is not None
    for found, part in ((scores.whole(), rows), (second, rows[10_000:])):
        assert found.ranked_class == "1"
        assert _ranked(found) == pytest.approx(_exact_ranking(part, "1"), abs=0.002)


def _recorded(name: str, n: int) -> Iterator[tuple[dict[str, float], bool]]:
    with gzip.open(DATA / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        for row in itertools.islice(csv.DictReader(file), n):
            label = row.pop("label")
            row.pop("ts", None)
            yield {key: float(value) for key, value in row.items()}, label == "1"


@pytest.mark.parametrize("name", ["elec", "fraud_handbook_a"])
def test_ranking_of_recorded_streams_is_within_two_thousandths(name: str) -> None:
    """A logistic regression on recorded streams has scikit-learn's AP and AUC within .002."""
    if not (DATA / f"{name}.csv.gz").exists():
        pytest.skip(f"{name}.csv.gz is not in the data folder (STREAM_AL_DATA)")
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    rows: list[Row] = []
    for features, label in _recorded(name, 20_000):
        ps = model.predict_proba_one(features)
        guess = str(int(ps[True] > ps[False]))
        rows.append((str(int(label)), guess, {"0": ps[False], "1": ps[True]}))
        model.learn_one(features, label)
    scores = _scored(rows, len(rows))
    second = scores.second_half()
    assert second is not None
    for found, part in ((scores.whole(), rows), (second, rows[10_000:])):
        assert found.ranked_class is not None
        assert _ranked(found) == pytest.approx(_exact_ranking(part, found.ranked_class), abs=0.002)


@settings(max_examples=300, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(0, 14))
def test_bins_keep_the_order_of_probabilities(p: float, q: float, doublings: int) -> None:
    """However wide the bins, no larger probability has a smaller one; 0 and 1 have their own."""
    low, high = sorted([p, q])
    zero, below, above, one = (bin_of(value) >> doublings for value in (0.0, low, high, 1.0))
    assert zero <= below <= above <= one
    assert (below == zero) == (low == 0.0)
    assert (above == one) == (high == 1.0)


def test_tail_beyond_the_knee_is_still_ranked() -> None:
    """Probabilities down to the smallest float are told apart, as overconfident models need."""
    rows: list[Row] = [
        ("bad", "good", {"good": 1.0, "bad": 1e-200}),
        ("good", "good", {"good": 1.0, "bad": 1e-201}),
        ("good", "good", {"good": 1.0, "bad": 5e-324}),
        ("good", "good", {"good": 1.0, "bad": 0.0}),
    ]
    assert _ranked(_scored(rows).whole()) == (1.0, 1.0)


def test_ranking_memory_is_bounded_for_any_probabilities() -> None:
    """Two classes keep histograms of at most 8,192 bins, whatever is spread or named (seed 12)."""
    draw = random.Random(12)
    ranking = Ranking()
    for _ in range(60_000):
        p = 1.0 / (1.0 + math.exp(draw.uniform(-37.0, 700.0)))
        ranking.add(draw.choice("ab"), {"a": p, "b": 1.0 - p, "never": 0.0})
    kept = [len(bins) for row in ranking._rows.values() for bins in row.histograms.values()]
    assert len(kept) == 4
    assert 2_000 < max(kept) <= 8_192
