"""Recall, precision, F1 and average precision of each class against simulated streams."""

from __future__ import annotations

import math
import pickle
import random
import statistics
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from stream_al.learner.accuracy import Accuracy
from stream_al.learner.blocks import Counted
from stream_al.learner.rare import ClassQualities, ClassQuality
from stream_al.learner.weighted import Ranked, count_limits, unanswered_limits
from stream_al.records import Block, Tally
from stream_al.training import Closed, Labelled

LENGTH = 20
BLOCKS = 300


class Truth:
    """Counts over all events of a simulated stream, and its tally, as they grow."""

    def __init__(self) -> None:
        self.events = self.hits = self.positives = self.predicted = 0
        self.sums = {"rare": [0, 0.0, 0.0], "other": [0, 0.0, 0.0]}

    def add(self, p: float, positive: bool) -> None:
        predicted = p > 0.5
        self.events += 1
        self.positives += positive
        self.predicted += predicted
        self.hits += predicted and positive
        for name, q in (("rare", p), ("other", 1.0 - p)):
            self.sums[name][2] += q
        mine = self.sums["rare" if predicted else "other"]
        mine[0] += 1
        mine[1] += max(p, 1.0 - p)

    @property
    def tally(self) -> Tally:
        return Tally(0, {name: (int(n), c, m) for name, (n, c, m) in self.sums.items()})

    @property
    def figures(self) -> dict[str, float]:
        return {
            "prevalence": self.positives / self.events,
            "recall": self.hits / max(1, self.positives),
            "precision": self.hits / max(1, self.predicted),
            "f1": 2.0 * self.hits / max(1, self.positives + self.predicted),
        }


def ended(
    number: int, offset: int, p: float, positive: bool, propensity: float, explored: bool
) -> Labelled:
    """Make an answered request about an event with probability `p` of the rare class."""
    return Labelled(
        request_id=f"events:0:{offset}",
        request_no=offset,
        topic="events",
        partition=0,
        offset=offset,
        id="",
        time=None,
        features={},
        label="rare" if positive else "other",
        annotator="",
        answered_at=None,
        weight=1.0,
        asked="policy",
        model_version=1,
        prediction="rare" if p > 0.5 else "other",
        probabilities={"other": 1.0 - p, "rare": p},
        explored=explored,
        propensity=propensity,
        block=Block(number, LENGTH, number * LENGTH, Tally()),
    )


def closed(record: Labelled) -> Closed:
    """Take the answer away."""
    common = set(Closed.__struct_fields__) & set(Labelled.__struct_fields__)
    fields = {name: getattr(record, name) for name in common}
    return Closed(**{**fields, "reason": "expired"})


def stream(
    seed: int, p_policy: float = 1.0, missing: float = 0.0, blocks: int = BLOCKS
) -> Iterator[tuple[list[Labelled | Closed], Truth]]:
    """Play a stream whose model is overconfident and whose rare class comes in waves.

    What scores between .3 and .6 is picked by the policy with probability `p_policy`.
    """
    events, asks = random.Random(1), random.Random(seed)
    truth = Truth()
    for number in range(blocks):
        picked = asks.randrange(LENGTH)
        requests: list[Labelled | Closed] = []
        wave = 0.5 + (number // 50) % 2
        for i in range(LENGTH):
            p = events.random() ** 8
            positive = events.random() < (0.02 + 0.7 * p) * wave
            truth.add(p, positive)
            wanted = p_policy if 0.3 < p < 0.6 else 0.0
            if i == picked or asks.random() < wanted:
                propensity = 1.0 - (1.0 - 1.0 / LENGTH) * (1.0 - wanted)
                record = ended(number, number * LENGTH + i, p, positive, propensity, i == picked)
                requests.append(closed(record) if asks.random() < missing else record)
        yield requests, truth


def played(
    seed: int, p_policy: float = 1.0, missing: float = 0.0, blocks: int = BLOCKS
) -> tuple[ClassQualities, Truth, list[Labelled | Closed]]:
    """Play a whole stream into the estimate; its truth and requests beside it."""
    qualities, taken = ClassQualities(), []
    for so_far in stream(seed, p_policy, missing, blocks):
        requests, truth = so_far
        for record in requests:
            qualities.take(Counted.of(record))
        taken += requests
    return qualities, truth, taken


def rare(qualities: ClassQualities, truth: Truth) -> ClassQuality:
    """Estimate for the rare class."""
    return qualities.estimate([truth.tally])["rare"]


@pytest.mark.parametrize(("p_policy", "missing"), [(1.0, 0.0), (0.4, 0.0), (1.0, 0.2)])
def test_unbiased(p_policy: float, missing: float) -> None:
    """Estimates lie around the truth, whatever the policy picks, where the naive recall is off."""
    found: dict[str, list[float]] = {"prevalence": [], "recall": [], "precision": [], "f1": []}
    naive = []
    for seed in range(40):
        qualities, truth, taken = played(seed, p_policy, missing)
        quality = rare(qualities, truth)
        for name, values in found.items():
            values.append(getattr(quality, name).value - truth.figures[name])
        answers = [one for one in taken if isinstance(one, Labelled) and one.label == "rare"]
        hits = sum(one.prediction == "rare" for one in answers)
        naive.append(hits / len(answers) - truth.figures["recall"])
    for name, errors in found.items():
        off = statistics.fmean(errors)
        error = statistics.stdev(errors) / math.sqrt(len(errors))
        print("seeds 0-39", name, off, error)
        # A ratio of unbiased totals is itself off by what shrinks with the number of positives.
        assert abs(off) < 4.0 * error + 0.01
        assert error < 0.02
    assert abs(statistics.fmean(naive)) > 0.05


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_limits_hold_at_all_times(missing: float) -> None:
    """The limits of all figures hold after every block, in at least 95 % of runs."""
    held = 0
    for seed in range(20):
        qualities, fine = ClassQualities(), True
        for requests, truth in stream(seed, missing=missing, blocks=100):
            for record in requests:
                qualities.take(Counted.of(record))
            quality = rare(qualities, truth)
            for name, at in truth.figures.items():
                figure = getattr(quality, name)
                if figure is not None and (name == "prevalence" or truth.positives):
                    fine &= figure.lower - 1e-9 <= at <= figure.upper + 1e-9
        held += fine
    print("seeds 0-19", held)
    assert held >= 19


def test_limits_say_something() -> None:
    """Limits close in on the truth as answers come."""
    widths = []
    for blocks in (30, 300):
        qualities, truth, _ = played(3, blocks=blocks)
        quality = rare(qualities, truth)
        assert quality.recall is not None
        assert quality.precision is not None
        widths.append(
            (
                quality.recall.upper - quality.recall.lower,
                quality.precision.upper - quality.precision.lower,
            )
        )
    print(widths)
    assert all(late < 0.75 * early for early, late in zip(*widths, strict=True))


def test_everything_asked_for_is_exact() -> None:
    """With every event asked for, the figures are the truth and the limits as narrow as it."""
    qualities, truth = ClassQualities(), Truth()
    rng = random.Random(5)
    for offset in range(400):
        p = rng.random()
        positive = rng.random() < p
        truth.add(p, positive)
        qualities.take(Counted.of(ended(offset // LENGTH, offset, p, positive, 1.0, False)))
    quality = rare(qualities, truth)
    for name, at in truth.figures.items():
        figure = getattr(quality, name)
        assert [figure.value, figure.lower, figure.upper] == pytest.approx([at] * 3)
    assert quality.events == 400
    assert quality.predicted == truth.predicted
    assert quality.positives == truth.positives
    assert quality.drawn_positives == 0


def test_picks_beyond_doubt_leave_precision_beyond_doubt() -> None:
    """Where all events predicted as the class were picked, precision has no error."""
    qualities, truth = ClassQualities(), Truth()
    for number in range(50):
        for i in range(LENGTH):
            p, positive = (0.9, number % 3 == 0) if i == 0 else (0.01, False)
            truth.add(p, positive)
            if i in (0, 7):
                propensity = 1.0 if i == 0 else 1.0 / LENGTH
                record = ended(number, number * LENGTH + i, p, positive, propensity, i == 7)
                qualities.take(Counted.of(record))
    precision = rare(qualities, truth).precision
    assert precision is not None
    assert precision.lower == pytest.approx(precision.upper) == pytest.approx(17 / 50)


def test_missed_positives_stand_for_a_block_each() -> None:
    """What was drawn beside the picks counts a block's length, in the estimate and its limits."""
    qualities, truth = ClassQualities(), Truth()
    for number in range(60):
        for i in range(LENGTH):
            positive = number < 6 and i == 7
            truth.add(0.01, positive)
            if i == 7:
                record = ended(number, number * LENGTH + i, 0.01, positive, 1.0 / LENGTH, True)
                qualities.take(Counted.of(record))
    prevalence = rare(qualities, truth).prevalence
    low, high = count_limits(6.0, 0.05 / 2.0 * 0.8)
    assert prevalence.value == pytest.approx(6 / 60)
    assert prevalence.lower == pytest.approx(low / 60)
    assert prevalence.upper == pytest.approx(high / 60)


def test_answers_stand_for_picks_without_one() -> None:
    """Where half of the picks were not answered, each answer counts twice."""
    qualities, truth = ClassQualities(), Truth()
    for offset in range(200):
        p = 0.9 if offset % 4 < 2 else 0.1
        positive = offset % 4 == 0 and offset < 80
        truth.add(p, positive)
        record = ended(offset // LENGTH, offset, p, positive, 1.0, False)
        qualities.take(Counted.of(closed(record) if offset % 8 < 4 else record))
    precision = rare(qualities, truth).precision
    assert precision is not None
    assert precision.value == pytest.approx(20 / 100)
    assert 10 / 100 <= precision.lower < 20 / 100
    assert 20 / 100 < precision.upper <= 60 / 100


def test_a_class_met_late_has_its_past() -> None:
    """A class that becomes known late is as if it had been known with probability 0 before."""
    declared, learnt = ClassQualities(), ClassQualities()
    for qualities, early in ((declared, {"other": 1.0, "rare": 0.0}), (learnt, {"other": 1.0})):
        for so_far in stream(2, blocks=200):
            requests, truth = so_far
            for record in requests:
                number = record.offset // LENGTH
                if number < 60:
                    record = msgspec.structs.replace(
                        record, prediction="other", probabilities=early, label="other"
                    )
                qualities.take(Counted.of(record))
        # Stands among all that came before the class was known.
        qualities.take(Counted.of(ended(200, 200 * LENGTH, 0.0, True, 1.0 / LENGTH, True)))
    found = [q.estimate([truth.tally])["rare"] for q in (declared, learnt)]
    assert found[0] == found[1]
    assert found[0].average_precision is not None


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_change_count_as_if_they_had_come_at_once(seed: int) -> None:
    """Revised, withdrawn and late answers leave the figures that the last answers give alone."""
    rng = random.Random(seed)
    at_once, restated, accuracy = ClassQualities(), ClassQualities(), Accuracy()
    first: list[Labelled | Closed] = []
    last: list[Labelled | Closed] = []
    for requests, _ in stream(seed, missing=0.1, blocks=120):
        for record in requests:
            record = msgspec.structs.replace(record, request_no=len(first))
            first.append(record)
            other: Labelled | Closed = record
            if isinstance(record, Labelled) and rng.random() < 0.3:
                name = "other" if record.label == "rare" else "rare"
                other = msgspec.structs.replace(record, label=name, was=record.label)
                other = closed(record) if rng.random() < 0.5 else other
            last.append(other)
    for record in first:
        for counted in accuracy.take(record):
            restated.take(counted)
    changed = [two for one, two in zip(first, last, strict=True) if one is not two]
    rng.shuffle(changed)
    for record in changed:
        for counted in accuracy.take(record):
            restated.take(counted)
    whole = max(record.block.number for record in last if record.block is not None)
    for record in last:
        if record.block is not None and record.block.number < whole:
            at_once.take(Counted.of(record))
    assert len(changed) > 20
    tallies = [Tally(0, {"other": (2000, 1500.0, 1500.0), "rare": (400, 300.0, 300.0)})]
    one, two = (quality.estimate(tallies)["rare"] for quality in (at_once, restated))
    assert (one.positives, one.drawn_positives) == (two.positives, two.drawn_positives)
    for name in ("prevalence", "recall", "precision", "f1", "average_precision"):
        want, got = getattr(one, name), getattr(two, name)
        assert [got.value, got.lower, got.upper] == pytest.approx(
            [want.value, want.lower, want.upper]
        )


def test_what_says_nothing_is_left_out() -> None:
    """Requests without a block or before the first prediction, and no events, change nothing."""
    qualities = ClassQualities()
    record = ended(0, 0, 0.9, True, 1.0, False)
    qualities.take(Counted.of(msgspec.structs.replace(record, block=None)))
    qualities.take(Counted.of(msgspec.structs.replace(record, prediction=None, probabilities={})))
    assert qualities.estimate([Tally(3)]) == {}
    qualities.take(Counted.of(record))
    assert qualities.estimate([]) == {}


def test_classes_are_bounded() -> None:
    """No more than 32 classes are kept, the first that were met."""
    qualities, sums = ClassQualities(), {}
    for i in range(40):
        record = ended(i, i * LENGTH, 0.9, True, 0.05, True)
        name = f"class {i}"
        record = msgspec.structs.replace(
            record, label=name, prediction=name, probabilities={name: 1.0}
        )
        qualities.take(Counted.of(record))
        sums[name] = (LENGTH, float(LENGTH), float(LENGTH))
    assert list(qualities.estimate([Tally(0, sums)])) == [f"class {i}" for i in range(32)]


def test_state_travels() -> None:
    """A pickled copy goes on like the original."""
    qualities, truth, taken = played(4)
    copy = pickle.loads(pickle.dumps(qualities))  # noqa: S301 - made two words ago
    for one in (qualities, copy):
        for record in taken[:50]:
            one.take(Counted.of(record))
    assert copy.estimate([truth.tally]) == qualities.estimate([truth.tally])


@pytest.mark.parametrize("found", [0.0, 0.4, 3.0, 250.0])
def test_count_limits_are_where_the_mixture_says(found: float) -> None:
    """Just inside the limits the mixed supermartingale is below 1 / alpha, just outside above."""
    # A gamma variable of shape and rate 1/2 is the square of a normal one.
    normal = np.linspace(1e-6, 4.0, 200_001)
    rates = normal**2
    density = np.exp(-0.5 * rates)
    density /= density.sum()

    def mixed(mean: float) -> float:
        return float(density @ np.exp(found * np.log(rates) - mean * (rates - 1.0)))

    for limit, outwards in zip(count_limits(found, 0.05), (-1.0, 1.0), strict=True):
        if limit:
            assert mixed(limit - 0.05 * outwards) < 20.0 < mixed(limit + 0.05 * outwards)


def test_unanswered_limits_hold() -> None:
    """How many positives went unanswered, at random, is within the limits in 95 % of runs."""
    inside = 0
    for seed in range(200):
        rng = random.Random(seed)
        answered = sum(rng.random() < 0.7 for _ in range(80))
        others = sum(rng.random() < 0.7 for _ in range(900))
        low, high = unanswered_limits(answered, answered + others, 980 - answered - others, 0.05)
        inside += low <= 80 - answered <= high
        assert high < 80
    print("seeds 0-199", inside)
    assert inside >= 190


def exact_average_precision(scored: list[tuple[float, bool]]) -> float:
    """Average the precision at the rank of each positive."""
    scored = sorted(scored, key=lambda pair: -pair[0])
    hits, total = 0, 0.0
    for i, (_, positive) in enumerate(scored, 1):
        if positive:
            hits += 1
            total += hits / i
    return total / hits


def test_binning_costs_little_average_precision() -> None:
    """Over bins of log odds, average precision is within .01 of that of the ranks."""
    for seed in range(20):
        rng = random.Random(seed)
        ranked, scored = Ranked(), []
        for _ in range(4000):
            z = rng.gauss(-4.0, 2.5)
            p = 1.0 / (1.0 + math.exp(-z))
            positive = rng.random() < p
            scored.append((p, positive))
            ranked.add(p, p > 0.5, positive, 1.0, certain=True)
        found = ranked.average_precision((1.0, 1.0), (1.0, 1.0), 0.0)
        assert found is not None
        print("seed", seed, found.value - exact_average_precision(scored))
        assert found.value == pytest.approx(exact_average_precision(scored), abs=0.01)


def test_average_precision_of_a_sample() -> None:
    """From one event in ten beside the picks, average precision is unbiased, its error known."""
    events = random.Random(9)
    scored = []
    for _ in range(20_000):
        p = 1.0 / (1.0 + math.exp(-events.gauss(-4.0, 2.5)))
        scored.append((p, events.random() < p))
    truth = exact_average_precision(scored)
    values, errors = [], []
    for seed in range(60):
        rng, ranked = random.Random(seed), Ranked()
        for p, positive in scored:
            certain = 0.3 < p < 0.6
            if certain or rng.random() < 0.1:
                ranked.add(p, p > 0.5, positive, 1.0 if certain else 10.0, certain=certain)
        found = ranked.average_precision((1.0, 1.0), (1.0, 1.0), 10.0)
        assert found is not None
        values.append(found.value)
        errors.append(found.spread * found.value * (1.0 - found.value))
    spread = statistics.stdev(values)
    print("seeds 0-59", truth, statistics.fmean(values), spread, statistics.fmean(errors))
    assert statistics.fmean(values) == pytest.approx(truth, abs=4.0 * spread / math.sqrt(60) + 0.01)
    assert 0.75 < statistics.fmean(errors) / spread < 1.35
