"""Several annotators: who is asked twice, what follows, and limits that hold in small samples."""

from __future__ import annotations

import math
import pickle
import random
from itertools import combinations, permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from stream_al.labels.agreement import (
    Agreement,
    AgreementEstimate,
    Interval,
    Verdict,
    adjudicate,
    difference,
    gold_case,
    second_opinion,
)

Z = 1.959963984540054

NAMES = st.sampled_from(["ann", "bob", "cho"])
CLASSES = st.sampled_from(["a", "b", "c", "d"])
PAIRS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=40)
REQUESTS = st.lists(
    st.tuples(st.lists(st.tuples(NAMES, CLASSES), max_size=4), st.booleans()), max_size=20
)


def _of(pairs: list[tuple[str, str]], alpha: float = 0.05) -> AgreementEstimate:
    agreement = Agreement()
    for first, second in pairs:
        agreement.take([("ann", first), ("bob", second)], explored=True)
    return agreement.estimate(alpha)


def _kappa(pairs: list[tuple[str, str]]) -> Interval:
    return _of(pairs).random.kappa


def _width(interval: Interval) -> float:
    return interval.upper - interval.lower


def _known(interval: Interval) -> float:
    assert interval.value is not None
    return interval.value


def _counts(both: int, one: int, neither: int) -> list[tuple[str, str]]:
    return [("a", "a")] * both + [("a", "b")] * one + [("b", "b")] * neither


@settings(deadline=None)
@given(PAIRS)
def test_kappa_is_that_of_cohen_on_the_table_made_symmetric(pairs: list[tuple[str, str]]) -> None:
    """The value is Cohen's kappa where each pair stands once in either order."""
    assume(len({name for pair in pairs for name in pair}) > 1)
    first = [a for a, _ in pairs] + [b for _, b in pairs]
    second = [b for _, b in pairs] + [a for a, _ in pairs]
    assert _known(_kappa(pairs)) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.lists(CLASSES, min_size=3, max_size=3), min_size=1, max_size=15))
def test_three_answers_give_the_kappa_of_fleiss(answers: list[list[str]]) -> None:
    """With three answers to every request the value is what Fleiss' definition gives."""
    everything = [name for row in answers for name in row]
    assume(len(set(everything)) > 1)
    agreement = Agreement()
    for row in answers:
        agreement.take(list(zip(("ann", "bob", "cho"), row, strict=True)), explored=True)
    chance = sum((everything.count(name) / len(everything)) ** 2 for name in set(everything))
    seen = sum(sum(a == b for a, b in permutations(row, 2)) / 6 for row in answers) / len(answers)
    value = _known(agreement.estimate().random.kappa)
    assert value == pytest.approx((seen - chance) / (1 - chance), abs=1e-12)


@settings(deadline=None)
@given(REQUESTS, st.randoms(use_true_random=False))
def test_no_order_matters(
    requests: list[tuple[list[tuple[str, str]], bool]], shuffle: random.Random
) -> None:
    """Neither the order of the requests nor that of their answers changes any figure."""
    one, other = Agreement(), Agreement()
    for answers, explored in requests:
        one.take(answers, explored)
    for answers, explored in shuffle.sample(requests, len(requests)):
        other.take(shuffle.sample(answers, len(answers)), explored)
    assert one.estimate() == other.estimate()


@settings(deadline=None)
@given(PAIRS, st.permutations("abcd"))
def test_names_of_classes_do_not_matter(pairs: list[tuple[str, str]], names: list[str]) -> None:
    """Calling the classes otherwise leaves value and limits as they are."""
    renamed = dict(zip("abcd", names, strict=True))
    one, other = _kappa(pairs), _kappa([(renamed[a], renamed[b]) for a, b in pairs])
    assert one.value == other.value
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), abs=1e-9)


@settings(deadline=None)
@given(PAIRS)
def test_kappa_is_one_just_where_all_agree(pairs: list[tuple[str, str]]) -> None:
    """Kappa is 1 if and only if all pairs agree, and unknown while there is but one class."""
    value = _kappa(pairs).value
    if len({name for pair in pairs for name in pair}) == 1:
        assert value is None
    else:
        assert (value == 1.0) == all(a == b for a, b in pairs)


@settings(deadline=None)
@given(PAIRS, st.sampled_from([0.01, 0.05, 0.3]))
def test_limits_contain_the_value(pairs: list[tuple[str, str]], alpha: float) -> None:
    """Limits lie around the value, within what is possible, and are never a single point."""
    both = _of(pairs, alpha).random
    for interval, least in ((both.kappa, -1.0), (both.agreement, 0.0)):
        assert interval.count == len(pairs)
        assert least <= interval.lower < interval.upper <= 1.0
        if interval.value is not None:
            assert interval.lower <= interval.value <= interval.upper


@settings(deadline=None)
@given(PAIRS, st.integers(2, 5))
def test_limits_shrink_with_more_of_the_same(pairs: list[tuple[str, str]], times: int) -> None:
    """The same answers several times over give the same values within narrower limits."""
    once, more = _of(pairs).random, _of(pairs * times).random
    assert (more.kappa.value, more.agreement.value) == (once.kappa.value, once.agreement.value)
    assert _width(more.agreement) < _width(once.agreement)
    if once.kappa.value is not None:
        assert once.kappa.lower - 1e-9 <= more.kappa.lower
        assert more.kappa.upper <= once.kappa.upper + 1e-9


@settings(deadline=None)
@given(PAIRS)
def test_limits_are_wider_for_more_confidence(pairs: list[tuple[str, str]]) -> None:
    """A smaller probability to miss never narrows the limits."""
    loose, strict = _of(pairs, 0.2).random, _of(pairs, 0.01).random
    assert strict.kappa.lower <= loose.kappa.lower <= loose.kappa.upper <= strict.kappa.upper
    assert _width(loose.agreement) < _width(strict.agreement)


def test_a_few_pairs_that_agree_prove_little() -> None:
    """Five pairs in perfect agreement leave kappa open from about .1 to 1."""
    interval = _kappa(_counts(2, 0, 3))
    assert (interval.value, interval.upper) == (1.0, 1.0)
    assert 0.0 < interval.lower < 0.2


def test_with_two_classes_limits_are_those_of_zou_and_donner() -> None:
    """At either limit the squared distance is z^2 times the variance of Bloch and Kraemer."""
    for both, one, neither in ((5, 6, 30), (20, 8, 20), (2, 9, 60)):
        pairs = both + one + neither
        p = (2 * both + one) / (2 * pairs)
        interval = _kappa(_counts(both, one, neither))
        for k in (interval.lower, interval.upper):
            skew = k * (2 - k) / (2 * p * (1 - p))
            variance = (1 - k) * ((1 - k) * (1 - 2 * k) + skew) / pairs
            assert (_known(interval) - k) ** 2 == pytest.approx(Z * Z * variance, rel=1e-6)


def test_in_large_samples_limits_are_those_of_the_jackknife() -> None:
    """With many pairs of four classes, unevenly confused, z standard errors part the limits."""
    table = {"aa": 900, "ab": 70, "bb": 300, "bc": 5, "cc": 60, "ac": 40, "cd": 30, "dd": 20}
    pairs = [(cell[0], cell[1]) for cell, count in table.items() for _ in range(count)]
    whole = _known(_kappa(pairs))
    squares = 0.0
    for cell, count in table.items():
        less = pairs.copy()
        less.remove((cell[0], cell[1]))
        squares += count * (_known(_kappa(less)) - whole) ** 2
    error = math.sqrt(squares * (len(pairs) - 1) / len(pairs))
    assert _width(_kappa(pairs)) == pytest.approx(2 * Z * error, rel=0.01)


def test_without_any_confusion_classes_are_confused_as_by_chance() -> None:
    """Perfect agreement on three classes is limited as where pairs differ by chance alone."""
    shares = {"a": 0.6, "b": 0.3, "c": 0.1}
    limit = _kappa([(name, name) for name, share in shares.items() for _ in range(int(20 * share))])
    k, many = limit.lower, 20_000
    chance = [(a, b, (1 - k) * shares[a] * shares[b]) for a in shares for b in shares]
    cells = [(a, b, part + k * shares[a] * (a == b)) for a, b, part in chance]
    large = _kappa([(a, b) for a, b, part in cells for _ in range(round(many * part))])
    assert _known(large) == pytest.approx(k, abs=1e-3)
    error = _width(large) / (2 * Z) * math.sqrt(many / 20)
    assert 1 - k == pytest.approx(Z * error, rel=0.01)


@pytest.mark.parametrize("pairs", [5, 10, 20, 40])
def test_limits_of_kappa_cover(pairs: int) -> None:
    """Limits hold in nearly 95 % of samples, summed exactly, from few pairs and rare classes on."""
    cells = [(a, d, pairs - a - d) for a in range(pairs + 1) for d in range(pairs - a + 1)]
    limits = [_kappa(_counts(*cell)) for cell in cells]
    for p in (0.02, 0.05, 0.1, 0.3, 0.5):
        for true in (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99):
            q = p * (1 - p)
            chances = (p * p + true * q, 2 * q * (1 - true), (1 - p) ** 2 + true * q)
            missed = 0.0
            for cell, interval in zip(cells, limits, strict=True):
                if not interval.lower <= true <= interval.upper:
                    log = math.lgamma(pairs + 1)
                    for count, chance in zip(cell, chances, strict=True):
                        log += count * math.log(chance) - math.lgamma(count + 1)
                    missed += math.exp(log)
            assert missed < 0.064, (p, true)


def test_limits_cover_where_only_rare_classes_are_confused() -> None:
    """With confusion among two rare of three classes, 30 pairs give limits that hold."""
    seed = 20_260
    print("seed", seed)
    rng = random.Random(seed)
    cells = [("a", "a"), ("b", "b"), ("c", "c"), ("b", "c")]
    true = 1 - 0.08 / (1 - (0.76**2 + 0.12**2 + 0.12**2))
    missed = 0
    for _ in range(800):
        interval = _kappa(rng.choices(cells, [0.76, 0.08, 0.08, 0.08], k=30))
        missed += not interval.lower <= true <= interval.upper
    assert missed < 800 * 0.075


def test_independent_answers_have_no_kappa() -> None:
    """Answers given without looking come out at 0 on average, whatever the classes' shares."""
    seed = 20_261
    print("seed", seed)
    rng = random.Random(seed)
    for shares in ([0.5, 0.5], [0.8, 0.15, 0.05]):
        names = list("abc")[: len(shares)]
        values = []
        for _ in range(200):
            drawn = [rng.choices(names, shares, k=100) for _ in range(2)]
            values.append(_known(_kappa(list(zip(*drawn, strict=True)))))
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values)) / len(values)
        # The estimate of chance costs half an answer in a hundred pairs.
        assert abs(mean + 0.005) < 4 * spread


def test_limits_of_a_share_cover() -> None:
    """Limits of gold accuracy hold in over 92 % of samples up to the very ends, summed exactly."""
    for n in (5, 20, 60):
        limits = []
        for right in range(n + 1):
            agreement = Agreement()
            for i in range(n):
                agreement.gold("ann", "a", "a" if i < right else "b")
            limits.append(agreement.estimate().gold)
        for tenth in range(1, 10 * n):
            p = tenth / (10 * n)
            missed = sum(
                math.comb(n, right) * p**right * (1 - p) ** (n - right)
                for right, interval in enumerate(limits)
                if not interval.lower <= p <= interval.upper
            )
            assert missed < 0.08, (n, p)


def test_more_answers_to_a_request_are_no_more_requests() -> None:
    """Thirty requests with four answers each give the limits of thirty pairs, not of 180."""
    agreement = Agreement()
    for i in range(30):
        name = "ab"[i % 2]
        answers = [(f"annotator {k}", name) for k in range(4)]
        agreement.take(answers, explored=True)
    estimate, single = agreement.estimate().random, _of(_counts(15, 0, 15)).random
    assert (estimate.kappa.count, estimate.agreement.count) == (180, 180)
    assert _width(estimate.kappa) == pytest.approx(_width(single.kappa))
    assert _width(estimate.agreement) == pytest.approx(_width(single.agreement))


def test_random_and_picked_requests_are_kept_apart() -> None:
    """Explored requests move `random` alone, others `picked` alone, and the gap is between."""
    agreement = Agreement()
    for a, b in _counts(20, 0, 20):
        agreement.take([("ann", a), ("bob", b)], explored=True)
    before = agreement.estimate()
    assert before.picked == Agreement().estimate().picked
    assert before.gap.value is None
    for a, b in _counts(10, 20, 10):
        agreement.take([("ann", a), ("bob", b)], explored=False)
    after = agreement.estimate()
    assert after.random == before.random
    assert after.picked.kappa.value == 0.0
    assert after.gap.value == 1.0
    assert 0.5 < after.gap.lower < 1.0 < after.gap.upper


def test_difference_is_that_of_newcombe() -> None:
    """For 56 of 70 less 48 of 80 the limits are those that Newcombe (1998) printed."""
    one, other = (_of(_counts(a, b, 0)).random.agreement for a, b in ((56, 14), (48, 32)))
    found = difference(one, other)
    assert found.value == pytest.approx(0.2)
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    back = difference(other, one)
    assert (back.lower, back.upper) == pytest.approx((-found.upper, -found.lower))


def test_an_annotator_does_not_agree_with_himself() -> None:
    """Two answers by one annotator are no pair, single ones neither."""
    agreement = Agreement()
    agreement.take([("ann", "a"), ("ann", "a")], explored=True)
    agreement.take([("ann", "a")], explored=True)
    agreement.take([], explored=True)
    assert agreement.estimate() == Agreement().estimate()


def test_annotators_are_told_apart() -> None:
    """The one who differs from two others who agree is the one with low agreement."""
    agreement = Agreement()
    for i in range(60):
        right, wrong = "ab"[i % 2], "ba"[i % 2]
        answers = {"ann": right, "bob": right, "cho": wrong}
        for one, two in combinations(answers, 2):
            agreement.take([(one, answers[one]), (two, answers[two])], explored=i % 3 == 0)
        for name, label in answers.items():
            agreement.gold(name, label, right)
    found = agreement.estimate().annotators
    assert list(found) == ["ann", "bob", "cho"]
    assert [entry.agreement.value for entry in found.values()] == [0.5, 0.5, 0.0]
    assert [entry.agreement.count for entry in found.values()] == [120, 120, 120]
    assert found["cho"].agreement.upper < found["ann"].agreement.lower
    assert [entry.gold.value for entry in found.values()] == [1.0, 1.0, 0.0]


def test_annotators_beyond_the_limit_are_pooled() -> None:
    """Nobody's answers are lost where annotators are too many to be told apart."""
    agreement = Agreement(annotators=2)
    for i in range(10):
        agreement.answered(f"annotator {i}")
        agreement.gold(f"annotator {i}", "a", "a" if i % 2 else "b")
    agreement.take([("annotator 0", "a"), ("annotator 5", "a"), ("annotator 6", "b")], True)
    estimate = agreement.estimate()
    assert list(estimate.annotators) == ["annotator 0", "annotator 1"]
    assert estimate.others is not None
    assert (estimate.others.answers, estimate.others.gold.count) == (8, 8)
    assert estimate.others.agreement.count == 4
    assert (estimate.gold.value, estimate.gold.count) == (0.5, 10)
    with pytest.raises(ValueError, match="annotators is at least 0, not -1"):
        Agreement(annotators=-1)


def test_pace_and_waiting_are_of_recent_answers() -> None:
    """Pace and median wait follow the last hundred answers, and all answers are counted."""
    agreement = Agreement()
    for i in range(200):
        agreement.answered("ann", 1000.0 + 3600.0 * i, 0.0)
    for i in range(100):
        now = 1e6 + 60.0 * i
        agreement.answered("ann", now, now - 10.0 - i)
    entry = agreement.estimate().annotators["ann"]
    assert entry.answers == 300
    assert entry.per_hour == pytest.approx(60.0)
    assert entry.median_wait_s == pytest.approx(59.5)


def test_times_that_say_nothing_are_left_out() -> None:
    """No time, a single time, and an answer before its request give neither pace nor wait."""
    agreement = Agreement()
    agreement.answered("ann")
    agreement.answered("ann", None, 5.0)
    agreement.answered("ann", 100.0, 200.0)
    entry = agreement.estimate().annotators["ann"]
    assert (entry.answers, entry.per_hour, entry.median_wait_s) == (3, None, None)


@settings(deadline=None)
@given(REQUESTS, REQUESTS)
def test_a_pickled_state_goes_on_alike(
    before: list[tuple[list[tuple[str, str]], bool]],
    after: list[tuple[list[tuple[str, str]], bool]],
) -> None:
    """A state that was stored and read comes to the same estimate as one that was not."""
    one = Agreement()
    for answers, explored in before:
        one.take(answers, explored)
        for name, label in answers:
            one.answered(name, 10.0 * len(label), 5.0)
            one.gold(name, label, "a")
    other = pickle.loads(pickle.dumps(one))  # noqa: S301
    for answers, explored in after:
        one.take(answers, explored)
        other.take(answers, explored)
    assert one.estimate() == other.estimate()


def test_memory_is_bounded() -> None:
    """Ten times the annotators and answers take no more memory."""
    sizes = []
    for n in (3_000, 30_000):
        agreement = Agreement(annotators=20)
        for i in range(n):
            agreement.answered(f"annotator {i:6d}", 1e9 + i, 1e9)
            agreement.take([(f"annotator {i:6d}", "a"), ("ann", "b")], explored=True)
            agreement.answered("ann", 1e9 + i, 1e9)
        sizes.append(len(pickle.dumps(agreement)))
    assert sizes[1] < sizes[0] + 100


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_takes_in_the_smaller(number: int, one: float, other: float) -> None:
    """Who is picked at a share is picked at any larger one, everybody at 1, nobody at 0."""
    least, most = sorted((one, other))
    request = f"events:0:{number}"
    assert second_opinion("salt", request, least) <= second_opinion("salt", request, most)
    assert gold_case("salt", number, least) <= gold_case("salt", number, most)
    assert second_opinion("salt", request, 1.0) > second_opinion("salt", request, 0.0)
    assert gold_case("salt", number, 1.0) > gold_case("salt", number, 0.0)


def test_picks_come_to_their_share_and_apart() -> None:
    """Second opinions and gold cases come to their shares, and neither draw tells of the other."""
    n = 20_000
    twice = [second_opinion("salt", str(i), 0.2) for i in range(n)]
    gold = [gold_case("salt", i, 0.2) for i in range(n)]
    other = [second_opinion("pepper", str(i), 0.2) for i in range(n)]
    both = [a and b for a, b in zip(twice, gold, strict=True)]
    salted = [a and b for a, b in zip(twice, other, strict=True)]
    for drawn, share in ((twice, 0.2), (gold, 0.2), (both, 0.04), (salted, 0.04)):
        assert abs(sum(drawn) - n * share) < 4 * math.sqrt(n * share * (1 - share))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("pqrs"), CLASSES, max_size=4), st.data())
def test_the_verdict_follows_from_the_answers(answers: dict[str, str], data: st.DataObject) -> None:
    """One class of enough annotators is agreed, two classes are disagreed, in any order."""
    order = data.draw(st.permutations(list(answers.items())))
    wanted = data.draw(st.integers(1, 4))
    found = adjudicate(order, wanted)
    classes = set(answers.values())
    if len(classes) > 1:
        assert found == Verdict("disagreed")
    elif len(answers) < wanted:
        assert found == Verdict("waiting")
    else:
        assert found == Verdict("agreed", classes.pop())
    assert adjudicate(order, wanted, final="z") == Verdict("final", "z")


def test_an_annotator_may_change_the_answer() -> None:
    """A second answer by one annotator replaces the first, and is no second opinion."""
    assert adjudicate([("ann", "a"), ("ann", "b")]).kind == "waiting"
    assert adjudicate([("ann", "a"), ("bob", "b"), ("ann", "b")]) == Verdict("agreed", "b")
    assert adjudicate([("ann", "a"), ("bob", "a"), ("ann", "b")]).kind == "disagreed"
