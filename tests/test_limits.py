"""Limits of shares and of their differences."""

from __future__ import annotations

import math

import pytest

from stream_al.limits import Limits, difference, wilson


def test_limits_of_a_share_hold_it() -> None:
    """The limits hold the share itself, also of none and of all, and are possible."""
    for count in (1, 7, 50):
        for hits in range(count + 1):
            for alpha in (0.0027, 0.05, 0.3):
                limits = wilson(hits, count, alpha)
                assert (limits.value, limits.count) == (hits / count, count)
                assert 0.0 <= limits.lower <= hits / count <= limits.upper <= 1.0


def test_limits_of_a_share_cover() -> None:
    """Limits hold in over 92 % of samples up to the very ends, summed exactly."""
    for n in (5, 20, 60):
        limits = [wilson(hits, n) for hits in range(n + 1)]
        for tenth in range(1, 10 * n):
            p = tenth / (10 * n)
            missed = sum(
                math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)
                for hits, each in enumerate(limits)
                if not each.lower <= p <= each.upper
            )
            assert missed < 0.08, (n, p)


def test_a_share_of_nothing_may_be_any() -> None:
    """Without anything counted there is no value, and the limits are those of what is possible."""
    assert wilson(0, 0) == Limits(value=None, lower=0.0, upper=1.0, count=0)


def test_dependent_things_are_worth_fewer() -> None:
    """Forty things worth ten have the limits of ten, and are told as forty."""
    some, few = wilson(32, 40, size=10.0), wilson(8, 10)
    assert (some.lower, some.upper) == pytest.approx((few.lower, few.upper))
    assert (some.count, few.count) == (40, 10)


def test_difference_is_that_of_newcombe() -> None:
    """For 56 of 70 less 48 of 80 the limits are those that Newcombe (1998) printed."""
    one, other = wilson(56, 70), wilson(48, 80)
    found = difference(one, other)
    assert found.value == pytest.approx(0.2)
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.count == 70
    back = difference(other, one)
    assert (back.lower, back.upper) == pytest.approx((-found.upper, -found.lower))


def test_a_difference_from_the_unknown_is_unknown() -> None:
    """Less something unknown no value is left, and the limits hold whatever it may be."""
    found = difference(wilson(8, 10), wilson(0, 0))
    assert found.value is None
    assert (found.lower, found.upper) == (wilson(8, 10).lower - 1.0, wilson(8, 10).upper)
