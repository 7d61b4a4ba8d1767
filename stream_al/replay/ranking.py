"""How well probabilities rank events, in constant memory: average precision and ROC AUC.

Exact values need every probability of the stream, sorted. Here each probability is counted in a
bin of its log odds instead, and all of a bin is one threshold, as tied scores are. Bins begin
very narrow and double in width whenever a histogram would occupy more than 8,192 of them, so
that probabilities are told apart as well as memory allows, wherever they lie: spread over all
floats or crowded around the base rate. Exact 0 and 1 keep bins of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import log
from typing import TypeAlias

import msgspec
import numpy as np

__all__ = ["Ranking", "RankingScores", "bin_of", "merged"]

Histogram: TypeAlias = defaultdict[int, int]
"""Events by bin; a bin without events is absent."""

_CAPACITY = 8192

_LEAST = -745.0  # below the log odds of the smallest float, 5e-324
_KNEE = -37.0
# Down to the knee both sides of 0.5 have floats; the tail below is long, and its ranks matter
# less: with bins 16 times as wide it cannot crowd out the rest.
_COARSE = 2.0**16
_FINE = 2.0**20
_COARSE_BASE = -_LEAST * _COARSE
_FINE_START = int(_KNEE * _COARSE + _COARSE_BASE) + 1
_FINE_BASE = _FINE_START - _KNEE * _FINE
_ZERO = -1  # stays -1 however far it is shifted
# The largest float below 1 has log odds of 36.74: the gap outlasts all doublings of the width.
_ONE = int(-_KNEE * _FINE + _FINE_BASE)


def bin_of(probability: float) -> int:
    """Find the bin of a probability, at the narrowest; a larger one never has a smaller bin.

    Bins that are ``2**n`` times as wide are ``bin_of(probability) >> n``.

    Parameters
    ----------
    probability
        Finite; what rounding left outside [0, 1] counts as 0 or 1.

    Examples
    --------
    >>> bin_of(0.0), bin_of(0.0) >> 10, bin_of(1e-7) < bin_of(1.00001e-7)
    (-1, -1, True)
    """
    if probability <= 0.0:
        return _ZERO
    if probability >= 1.0:
        return _ONE
    log_odds = log(probability / (1.0 - probability))
    if log_odds > _KNEE:
        return int(log_odds * _FINE + _FINE_BASE)
    return int(log_odds * _COARSE + _COARSE_BASE)


_HALF = bin_of(0.5)


class RankingScores(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How well the probability of one class tells its events from the other class's.

    Attributes
    ----------
    ranked_class
        The rarer of the two true classes; of two equally rare, the later in text order.
    average_precision
        In (0, 1]: precision at each threshold, weighted by the recall gained there.
    roc_auc
        In [0, 1]: how often an event of the class stands above one of the other; ties count half.
    """

    ranked_class: str
    average_precision: float
    roc_auc: float


class _Row:
    """Events of one true class: their histogram of the probability of each class named."""

    __slots__ = ("histograms", "ranked", "tied")

    def __init__(self) -> None:
        self.histograms: dict[str, Histogram] = {}
        self.ranked = 0
        self.tied = 0

    @property
    def events(self) -> int:
        return self.ranked + self.tied

    def add_all(self, other: _Row, shift: int) -> None:
        self.ranked += other.ranked
        self.tied += other.tied
        for name, histogram in other.histograms.items():
            mine = self.histograms.setdefault(name, defaultdict(int))
            for position, events in histogram.items():
                mine[position >> shift] += events

    def counts(self, name: str, shift: int) -> Histogram:
        counts = defaultdict(int, self.histograms.get(name, {}))
        # Only what was named is counted as it comes, so that classes may turn up at any time.
        counts[_ZERO] += self.ranked - sum(counts.values())
        counts[_HALF >> shift] += self.tied
        return counts


class Ranking:
    """Histograms of probabilities for as long as at most two true classes have been seen.

    Either class may turn out to be the rarer one, so the probabilities of both are kept. Which
    the second class will be shows only when it occurs: until then every class that is named has
    a histogram.

    Examples
    --------
    >>> ranking = Ranking()
    >>> for truth, p in [("good", 0.1), ("bad", 0.9), ("good", 0.2), ("good", 0.9)]:
    ...     ranking.add(truth, {"bad": p, "good": 1 - p})
    >>> ranking.scores()
    RankingScores(ranked_class='bad', average_precision=0.5, roc_auc=0.8333333333333334)
    """

    __slots__ = ("_over", "_rows", "_shift")

    def __init__(self) -> None:
        self._shift = 0
        self._rows: dict[str, _Row] = {}
        self._over = False

    def add(self, truth: str, probabilities: Mapping[str, float]) -> None:
        """Count an event; a class without a probability has 0.

        Parameters
        ----------
        truth
            The event's true class.
        probabilities
            Finite, by class.
        """
        row = self._rows.get(truth)
        if row is None:
            row = self._discovered(truth)
            if row is None:
                return
        row.ranked += 1
        histograms = row.histograms
        for name, probability in probabilities.items():
            histogram = histograms.get(name)
            if histogram is None:
                if len(self._rows) == 2 and name not in self._rows:
                    continue
                histogram = histograms[name] = defaultdict(int)
            histogram[bin_of(probability) >> self._shift] += 1
            if len(histogram) > _CAPACITY:
                self._widen()

    def add_tied(self, truth: str) -> None:
        """Count an event that has no probabilities: 0.5 for either class."""
        row = self._rows.get(truth) or self._discovered(truth)
        if row is not None:
            row.tied += 1

    def _discovered(self, truth: str) -> _Row | None:
        if self._over:
            return None
        if len(self._rows) == 2:
            self._over = True
            self._rows.clear()
            return None
        found = self._rows[truth] = _Row()
        if len(self._rows) == 2:
            for row in self._rows.values():
                for name in row.histograms.keys() - self._rows.keys():
                    del row.histograms[name]
        return found

    def _widen(self) -> None:
        self._shift += 1
        for row in self._rows.values():
            for name, histogram in row.histograms.items():
                wider = row.histograms[name] = defaultdict(int)
                for position, events in histogram.items():
                    wider[position >> 1] += events

    def scores(self) -> RankingScores | None:
        """Score the ranking; None for fewer or more than two true classes.

        Average precision is the step function of `sklearn.metrics.average_precision_score`, and
        the area that of `sklearn.metrics.roc_auc_score`, with each bin as one threshold.
        """
        if len(self._rows) != 2:
            return None
        other, rarer = sorted(self._rows, key=lambda name: (-self._rows[name].events, name))
        counts = [self._rows[name].counts(rarer, self._shift) for name in (rarer, other)]
        thresholds = sorted(counts[0].keys() | counts[1].keys(), reverse=True)
        positives, negatives = (np.array([part[at] for at in thresholds]) for part in counts)
        found = np.cumsum(positives)
        # The bin of 0.5 is a threshold even where nothing stands in it, or above.
        precision = found / np.maximum(found + np.cumsum(negatives), 1)
        above = found - positives / 2.0
        n_positives, n_negatives = int(positives.sum()), int(negatives.sum())
        return RankingScores(
            ranked_class=rarer,
            average_precision=float(positives @ precision) / n_positives,
            roc_auc=float(negatives @ above) / n_positives / n_negatives,
        )


def merged(first: Ranking, second: Ranking) -> Ranking:
    """Rank the events of two stretches of a stream as one; both stay as they are."""
    whole = Ranking()
    names = first._rows.keys() | second._rows.keys()
    if first._over or second._over or len(names) > 2:
        whole._over = True
        return whole
    whole._shift = max(first._shift, second._shift)
    for part in (first, second):
        for name, row in part._rows.items():
            whole._rows.setdefault(name, _Row()).add_all(row, whole._shift - part._shift)
    return whole
