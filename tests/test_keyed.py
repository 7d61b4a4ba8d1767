"""Draws that depend on a key alone."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from stream_al import keyed

KEYS = st.lists(st.one_of(st.integers(), st.text(max_size=8), st.floats()), max_size=4)


def test_uniform_draws_are_uniform() -> None:
    """Draws of successive keys cannot be told from uniform ones, in the last digits neither."""
    draws = [keyed.uniform("test", 1, i) for i in range(20_000)]
    assert kstest(draws, "uniform").pvalue > 1e-4
    assert kstest([draw * 1e6 % 1.0 for draw in draws], "uniform").pvalue > 1e-4


def test_draws_of_neighbouring_keys_are_independent() -> None:
    """Neighbours in any part of the key fall together no more often than chance has it."""
    for part in range(3):
        pairs = Counter(
            (keyed.below(4, "test", *key), keyed.below(4, "test", *_next(key, part)))
            for key in ((i % 7, i // 7, i * 31) for i in range(8_000))
        )
        assert chisquare([pairs[i, j] for i in range(4) for j in range(4)]).pvalue > 1e-4


def _next(key: tuple[int, ...], part: int) -> tuple[int, ...]:
    return tuple(value + (i == part) for i, value in enumerate(key))


@pytest.mark.parametrize("n", [2, 3, 7, 100])
def test_integers_are_uniform_below_n(n: int) -> None:
    """Each of n values comes as often as the others."""
    counts = Counter(keyed.below(n, "test", n, i) for i in range(200 * n))
    assert set(counts) == set(range(n))
    assert chisquare([counts[k] for k in range(n)]).pvalue > 1e-4


@given(st.integers(1, 2**40), KEYS)
def test_integers_stay_below_n(n: int, key: list[object]) -> None:
    """Whatever the key, an integer is in [0, n) and the same each time."""
    drawn = keyed.below(n, *key)
    assert 0 <= drawn < n
    assert drawn == keyed.below(n, *key)


@given(KEYS)
def test_uniform_draws_stay_below_one(key: list[object]) -> None:
    """Whatever the key, a draw is in [0, 1) and the same each time."""
    drawn = keyed.uniform(*key)
    assert 0.0 <= drawn < 1.0
    assert drawn == keyed.uniform(*key)


@pytest.mark.parametrize("n", [0, -1])
def test_nothing_is_drawn_below_one(n: int) -> None:
    """An empty range is an error."""
    with pytest.raises(ValueError, match=f"n must be at least 1, not {n}"):
        keyed.below(n, "test")


@given(st.integers(0, 30), st.integers(0, 30), KEYS)
def test_fewer_words_are_the_first_of_more(few: int, more: int, key: list[object]) -> None:
    """Asking for more words changes none of those before."""
    words = keyed.words(few + more, *key)
    assert len(words) == few + more
    assert words[:few] == keyed.words(few, *key)
    assert all(0 <= word < 2**32 for word in words)


def test_words_are_uniform_bit_by_bit() -> None:
    """Each of 32 bits is set in half of the words."""
    words = [word for i in range(1_000) for word in keyed.words(10, "test", i)]
    for bit in range(32):
        ones = sum(word >> bit & 1 for word in words)
        assert abs(ones - 5_000) < 5 * math.sqrt(10_000 / 4)


def test_parts_of_a_key_do_not_run_together() -> None:
    """Keys whose parts only spell alike draw differently."""
    assert keyed.uniform("a", 11) != keyed.uniform("a", 1, 1)
    assert keyed.uniform("ab") != keyed.uniform("a", "b")


def test_draws_consume_nothing() -> None:
    """Draws in another order, or with others between, are the same, and touch no generator."""
    random.seed(3)
    before = random.getstate()
    one = [keyed.uniform("test", i) for i in range(50)]
    other = [keyed.uniform("test", i) for i in reversed(range(50))]
    assert one == other[::-1]
    assert random.getstate() == before
