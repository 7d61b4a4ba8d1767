"""Kappa, against its definitions, and limits that hold in small samples."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from stream_al.labels.kappa import Pairs, PairsEstimate
from stream_al.limits import Limits

Z = 1.959963984540054

CLASSES = st.sampled_from(["a", "b", "c", "d"])
PAIRS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=40)


def _of(pairs: list[tuple[str, str]], alpha: float = 0.05) -> PairsEstimate:
    found = Pairs()
    for pair in pairs:
        found.add([pair])
    return found.estimate(alpha)


def _kappa(pairs: list[tuple[str, str]]) -> Limits:
    return _of(pairs).kappa


def _width(limits: Limits) -> float:
    return limits.upper - limits.lower


def _known(limits: Limits) -> float:
    assert limits.value is not None
    return limits.value


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
    both = _of(pairs, alpha)
    for limits, least in ((both.kappa, -1.0), (both.agreement, 0.0)):
        assert limits.count == len(pairs)
        assert least <= limits.lower < limits.upper <= 1.0
        if limits.value is not None:
            assert limits.lower <= limits.value <= limits.upper


@settings(deadline=None)
@given(PAIRS, st.integers(2, 5))
def test_limits_shrink_with_more_of_the_same(pairs: list[tuple[str, str]], times: int) -> None:
    """The same answers several times over give the same values within narrower limits."""
    once, more = _of(pairs), _of(pairs * times)
    assert (more.kappa.value, more.agreement.value) == (once.kappa.value, once.agreement.value)
    assert _width(more.agreement) < _width(once.agreement)
    if once.kappa.value is not None:
        assert once.kappa.lower - 1e-9 <= more.kappa.lower
        assert more.kappa.upper <= once.kappa.upper + 1e-9


@settings(deadline=None)
@given(PAIRS)
def test_limits_are_wider_for_more_confidence(pairs: list[tuple[str, str]]) -> None:
    """A smaller probability to miss never narrows the limits."""
    loose, strict = _of(pairs, 0.2), _of(pairs, 0.01)
    assert strict.kappa.lower <= loose.kappa.lower <= loose.kappa.upper <= strict.kappa.upper
    assert _width(loose.agreement) < _width(strict.agreement)


def test_a_few_pairs_that_agree_prove_little() -> None:
    """Five pairs in perfect agreement leave kappa open from about .1 to 1."""
    limits = _kappa(_counts(2, 0, 3))
    assert (limits.value, limits.upper) == (1.0, 1.0)
    assert 0.0 < limits.lower < 0.2


def test_with_two_classes_limits_are_those_of_zou_and_donner() -> None:
    """At either limit the squared distance is z^2 times the variance of Bloch and Kraemer."""
    for both, one, neither in ((5, 6, 30), (20, 8, 20), (2, 9, 60)):
        pairs = both + one + neither
        p = (2 * both + one) / (2 * pairs)
        limits = _kappa(_counts(both, one, neither))
        for k in (limits.lower, limits.upper):
            skew = k * (2 - k) / (2 * p * (1 - p))
            variance = (1 - k) * ((1 - k) * (1 - 2 * k) + skew) / pairs
            assert (_known(limits) - k) ** 2 == pytest.approx(Z * Z * variance, rel=1e-6)


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
    found = [_kappa(_counts(*cell)) for cell in cells]
    for p in (0.02, 0.05, 0.1, 0.3, 0.5):
        for true in (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99):
            q = p * (1 - p)
            chances = (p * p + true * q, 2 * q * (1 - true), (1 - p) ** 2 + true * q)
            missed = 0.0
            for cell, limits in zip(cells, found, strict=True):
                if not limits.lower <= true <= limits.upper:
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
        limits = _kappa(rng.choices(cells, [0.76, 0.08, 0.08, 0.08], k=30))
        missed += not limits.lower <= true <= limits.upper
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
