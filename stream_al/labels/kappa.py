"""Pairs of answers and their agreement beyond chance, with limits that hold in small samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import NormalDist

import msgspec

from stream_al.limits import Limits, farthest, least_mean, wilson

__all__ = ["Pairs", "PairsEstimate", "Share", "kappa"]


class PairsEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How far annotators agree on a kind of request.

    Attributes
    ----------
    kappa
        Agreement beyond chance in [-1, 1]: 0 as by chance, 1 always; None while all answers are
        of one class.
    agreement
        Share of pairs of answers that agree, in [0, 1].
    """

    kappa: Limits
    agreement: Limits


class Share:
    """Hits among things that come in clusters, one cluster to a request."""

    def __init__(self) -> None:
        self.hits = self.total = self.squares = 0

    def add(self, hits: int, total: int) -> None:
        """Take in a cluster."""
        self.hits += hits
        self.total += total
        self.squares += total * total

    @property
    def size(self) -> float:
        """Count the independent things that are worth as much, or more (Kish 1965)."""
        return self.total * self.total / self.squares if self.total else 0.0

    def estimate(self, alpha: float) -> Limits:
        """Estimate the share; its limits miss with probability `alpha`."""
        return wilson(self.hits, self.total, alpha, self.size)


class Pairs:
    """The pairs of answers to one kind of request."""

    def __init__(self) -> None:
        self.agreement = Share()
        self.table: dict[tuple[str, str], int] = {}

    def add(self, pairs: list[tuple[str, str]]) -> None:
        """Take in the pairs of one request."""
        for first, second in pairs:
            cell = (first, second) if first <= second else (second, first)
            self.table[cell] = self.table.get(cell, 0) + 1
        self.agreement.add(sum(first == second for first, second in pairs), len(pairs))

    def estimate(self, alpha: float) -> PairsEstimate:
        """Estimate from all pairs; each value's limits miss with probability `alpha`."""
        return PairsEstimate(
            kappa=kappa(self.table, self.agreement.size, alpha),
            agreement=self.agreement.estimate(alpha),
        )


def kappa(table: Mapping[tuple[str, str], int], size: float, alpha: float = 0.05) -> Limits:
    """Estimate Scott's pi from the counts of unordered pairs, with limits of the score type.

    With p the distribution of classes over all answers, D the share of pairs that differ and
    E = 1 - sum p^2 the share that would by chance, kappa = 1 - t with t = D / E. The limits are
    the t that the data do not refute: size (t' - t)^2 <= z^2 V(t), with t' the estimate and V its
    large-sample variance *if t were true*, given p and which classes are confused:

        E^2 V = t E (1 - t E) + 4 t^2 (E (m - sum p^2) + sum p^3 - (sum p^2)^2 - t E s)

    where m is the mean of (p_j + p_k) / 2 and s that of (p_j - p_k)^2 / 4 over the pairs that
    differ, of classes j and k (delta method). V is 0 at t = 0 and its leading term is not
    positive, so there is one solution on each side of t'. For two classes V is that of Bloch and
    Kraemer (1989) and the limits are those of Zou and Donner (2004); here the upper one gives way
    to Poisson's after one to three pairs that differ. Limits from the variance at the estimate
    (Fleiss, Cohen and Everitt 1969) would be a single point at perfect agreement.

    Parameters
    ----------
    table
        Count of each pair of classes, the lesser name first.
    size
        Independent pairs that are worth as much as those counted.
    alpha
        Probability, in (0, 1), that the limits miss.

    Returns
    -------
    Limits
        In [-1, 1]; the value is None while all answers are of one class.

    Examples
    --------
    >>> found = kappa({("fraud", "fraud"): 9, ("fraud", "legit"): 1, ("legit", "legit"): 10}, 20)
    >>> round(found.value, 3), round(found.lower, 2), round(found.upper, 2)
    (0.9, 0.53, 0.99)
    """
    pairs = sum(table.values())
    counts: dict[str, int] = {}
    for (first, second), count in table.items():
        counts[first] = counts.get(first, 0) + count
        counts[second] = counts.get(second, 0) + count
    chance = 4 * pairs * pairs - sum(count * count for count in counts.values())
    if not chance:
        return Limits(value=None, lower=-1.0, upper=1.0, count=pairs)
    p = {name: count / (2 * pairs) for name, count in sorted(counts.items())}
    differ = {cell: float(count) for cell, count in sorted(table.items()) if cell[0] != cell[1]}
    t = 4.0 * pairs * sum(differ.values()) / chance
    if not differ:
        # Nothing tells which classes are confused: as by chance.
        differ = {(j, k): p[j] * p[k] for j, k in combinations(p, 2)}
    whole = sum(differ.values())
    m = sum(n * (p[j] + p[k]) / 2.0 for (j, k), n in differ.items()) / whole
    s = sum(n * (p[j] - p[k]) ** 2 / 4.0 for (j, k), n in differ.items()) / whole
    expected = chance / (4 * pairs * pairs)
    same = 1.0 - expected
    curve = expected * (m - same) + sum(q**3 for q in p.values()) - same * same
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)

    def refuted(x: float) -> bool:
        d = x * expected
        variance = (d * (1.0 - d) + 4.0 * x * x * (curve - d * s)) / (expected * expected)
        return size * (t - x) ** 2 > z * z * variance

    few = least_mean(t * expected * size, alpha) / (expected * size)
    return Limits(
        value=1.0 - t,
        lower=1.0 - farthest(refuted, t, 2.0),
        upper=1.0 - min(few, farthest(refuted, t, 0.0)),
        count=pairs,
    )
