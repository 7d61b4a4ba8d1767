"""Differences of paired values, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from stream_al.keyed import words

__all__ = ["FEWEST_PAIRS", "LEVEL", "RESAMPLES", "Difference", "paired_difference"]

FEWEST_PAIRS = 3
"""Pairs below which there is no interval: resampling two values says nothing."""

LEVEL = 0.95
RESAMPLES = 10_000


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of paired differences.

    Attributes
    ----------
    mean
        Of ``value - reference``.
    low, high
        Limits of the interval at `LEVEL`; null for fewer than `FEWEST_PAIRS` pairs.
    seeds
        Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Estimate the mean of paired differences, and how far it may be off.

    The interval is the percentile bootstrap (Efron 1979) over pairs: the middle 95 % of the means
    of `RESAMPLES` resamples. It is too narrow for few pairs. Of independent normal differences it
    covers the mean about 73 % of the time with 3 pairs, 84 % with 5, 90 % with 10, 93 % with 20.

    The resamples depend on the number of pairs alone, so the same values give the same interval
    everywhere.

    Parameters
    ----------
    values, reference
        Shape (n,), n >= 1, paired by position.

    Raises
    ------
    ValueError
        If there are no pairs, or the lengths differ.

    Examples
    --------
    >>> paired_difference([0.5, 0.75], [0.25, 0.25])
    Difference(mean=0.375, low=None, high=None, seeds=2)
    >>> paired_difference([0.5, 0.75, 1.0], [0.25, 0.5, 0.75])
    Difference(mean=0.25, low=0.25, high=0.25, seeds=3)
    """
    if not values or len(values) != len(reference):
        raise ValueError(f"{len(values)} values cannot be paired with {len(reference)}")
    differences = np.subtract(values, reference)
    pairs = len(differences)
    low = high = None
    if pairs >= FEWEST_PAIRS:
        rng = np.random.Generator(np.random.PCG64(words(4, "paired bootstrap", pairs)))
        means = differences[rng.integers(0, pairs, (RESAMPLES, pairs))].mean(axis=1)
        tail = (1 - LEVEL) / 2
        low, high = (float(limit) for limit in np.quantile(means, [tail, 1 - tail]))
    return Difference(mean=float(differences.mean()), low=low, high=high, seeds=pairs)
