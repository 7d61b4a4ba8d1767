"""Several annotators on one request: who is asked twice, what follows, how far they agree."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from statistics import NormalDist, median
from typing import Literal, TypeAlias

import msgspec

from stream_al.keyed import uniform

__all__ = [
    "Agreement",
    "AgreementEstimate",
    "AnnotatorEstimate",
    "Interval",
    "PairsEstimate",
    "Verdict",
    "adjudicate",
    "difference",
    "gold_case",
    "second_opinion",
]

Answer: TypeAlias = tuple[str, str]
"""The annotator and the class."""

_RECENT = 100
"""Answers of each annotator from which pace and waiting are taken."""

_FEW = 3
"""Up to so many misses, their count is far from normal and its limit is taken from Poisson's."""

_HALVINGS = 60
_HOUR_S = 3600.0


def second_opinion(salt: str, request_id: str, share: float) -> bool:
    """Tell whether a request goes to two annotators; the same at every retry and replay.

    Parameters
    ----------
    salt
        Makes the draws of one stream differ from another's.
    request_id
        The request; nothing else decides, so those asked twice are a fair sample of all.
    share
        Probability, in [0, 1].

    Examples
    --------
    >>> sum(second_opinion("salt", f"events:0:{i}", 0.1) for i in range(1000))
    110
    """
    return uniform("second opinion", salt, request_id) < share


def gold_case(salt: str, request_no: int, share: float) -> bool:
    """Tell whether a case with a known answer is hidden behind a request.

    Parameters
    ----------
    salt
        As in `second_opinion`; with the partition in it, where there are several.
    request_no
        Count of the request within its partition.
    share
        Gold cases for each request, in [0, 1].

    Examples
    --------
    >>> [n for n in range(60) if gold_case("salt", n, 0.05)]
    [14, 27, 37, 55]
    """
    return uniform("gold case", salt, request_no) < share


class Verdict(msgspec.Struct, frozen=True):
    """What follows from the answers to one request.

    Attributes
    ----------
    kind
        ``waiting`` for more answers, ``agreed``, ``disagreed`` (to be adjudicated), or ``final``
        by the adjudicator's word.
    label
        The class where agreed or final, otherwise None.
    """

    kind: Literal["waiting", "agreed", "disagreed", "final"]
    label: str | None = None


def adjudicate(answers: Iterable[Answer], wanted: int = 2, final: str | None = None) -> Verdict:
    """Tell what follows from the answers to one request.

    There is no majority: two annotators who differ are enough for the adjudicator.

    Parameters
    ----------
    answers
        In the order given: an annotator who answers again takes the former answer back.
    wanted
        Annotators that must have answered before their agreement counts.
    final
        The adjudicator's class, if it is known; it overrules all others.

    Examples
    --------
    >>> adjudicate([("ann", "fraud")]).kind
    'waiting'
    >>> adjudicate([("ann", "fraud"), ("bob", "fraud")])
    Verdict(kind='agreed', label='fraud')
    >>> adjudicate([("ann", "fraud"), ("bob", "legit")])
    Verdict(kind='disagreed', label=None)
    >>> adjudicate([("ann", "fraud"), ("bob", "legit")], final="legit")
    Verdict(kind='final', label='legit')
    """
    if final is not None:
        return Verdict("final", final)
    last = dict(answers)
    classes = set(last.values())
    if len(classes) > 1:
        return Verdict("disagreed")
    if not classes or len(last) < wanted:
        return Verdict("waiting")
    return Verdict("agreed", classes.pop())


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A value with limits for one look at it, not for all looks at once.

    Attributes
    ----------
    value
        None where nothing is known; the limits are then those of what is possible.
    lower, upper
        Confidence limits.
    count
        Answers or pairs of answers that it rests on.
    """

    value: float | None
    lower: float
    upper: float
    count: int


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

    kappa: Interval
    agreement: Interval


class AnnotatorEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one annotator.

    Attributes
    ----------
    answers
        All answers, single ones included.
    agreement
        Share of the others' answers to the same requests that agree.
    gold
        Share of gold cases answered right.
    per_hour
        Pace of the recent answers, pauses included; None with fewer than two that have a time.
    median_wait_s
        Median seconds from request to recent answer; None where times are not known.
    """

    answers: int
    agreement: Interval
    gold: Interval
    per_hour: float | None
    median_wait_s: float | None


class AgreementEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How far annotators agree, with each other and with what is known.

    Attributes
    ----------
    random, picked
        On explored requests, which stand for all traffic, and on those that the policy picked.
    gap
        Kappa of `random` less that of `picked`.
    gold
        Share of gold cases answered right, by anybody.
    annotators
        By name, in the order of names.
    others
        All annotators beyond the limit together; None if there are none.
    """

    random: PairsEstimate
    picked: PairsEstimate
    gap: Interval
    gold: Interval
    annotators: dict[str, AnnotatorEstimate]
    others: AnnotatorEstimate | None


def difference(first: Interval, second: Interval) -> Interval:
    """Subtract a value from another of an independent sample.

    The limits recover each value's variance from its own limits (Zou and Donner 2008; for
    two shares, method 10 of Newcombe 1998).

    Examples
    --------
    >>> high = Interval(value=0.8, lower=0.5, upper=0.9, count=20)
    >>> difference(high, Interval(value=0.3, lower=0.2, upper=0.7, count=10))
    Interval(value=0.5, lower=0.0, upper=0.64..., count=10)
    """
    count = min(first.count, second.count)
    if first.value is None or second.value is None:
        lower, upper = first.lower - second.upper, first.upper - second.lower
        return Interval(value=None, lower=lower, upper=upper, count=count)
    value = first.value - second.value
    below = math.hypot(first.value - first.lower, second.upper - second.value)
    above = math.hypot(first.upper - first.value, second.value - second.lower)
    return Interval(value=value, lower=value - below, upper=value + above, count=count)


class _Share:
    """Hits among things that come in clusters, one cluster to a request."""

    def __init__(self) -> None:
        self.hits = self.total = self.squares = 0

    def add(self, hits: int, total: int) -> None:
        self.hits += hits
        self.total += total
        self.squares += total * total

    @property
    def size(self) -> float:
        """Count the independent things that are worth as much, or more (Kish 1965)."""
        return self.total * self.total / self.squares if self.total else 0.0

    def estimate(self, alpha: float) -> Interval:
        """Give the share with Wilson's limits, widened near 0 and 1.

        Wilson's limit is too close to the value after one to three hits, or misses; Poisson's
        takes its place (modified Wilson interval of Brown, Cai and DasGupta 2001).
        """
        if not self.total:
            return Interval(value=None, lower=0.0, upper=1.0, count=0)
        p, n = self.hits / self.total, self.size
        z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
        middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
        reach = z * math.sqrt(p * (1.0 - p) / n + (z / (2.0 * n)) ** 2) / (1.0 + z * z / n)
        lower = max(0.0, min(p, middle - reach, _least(p * n, alpha) / n))
        upper = min(1.0, max(p, middle + reach, 1.0 - _least((1.0 - p) * n, alpha) / n))
        return Interval(value=p, lower=lower, upper=upper, count=self.total)


class _Pairs:
    """The pairs of answers to one kind of request."""

    def __init__(self) -> None:
        self.agreement = _Share()
        self.table: dict[tuple[str, str], int] = {}

    def add(self, pairs: list[tuple[str, str]]) -> None:
        for first, second in pairs:
            cell = (first, second) if first <= second else (second, first)
            self.table[cell] = self.table.get(cell, 0) + 1
        self.agreement.add(sum(first == second for first, second in pairs), len(pairs))

    def estimate(self, alpha: float) -> PairsEstimate:
        kappa = _kappa(self.table, self.agreement.size, alpha)
        return PairsEstimate(kappa=kappa, agreement=self.agreement.estimate(alpha))


class _Annotator:
    def __init__(self) -> None:
        self.answers = 0
        self.agreement = _Share()
        self.gold = _Share()
        self.times: deque[float] = deque(maxlen=_RECENT)
        self.waits: deque[float] = deque(maxlen=_RECENT)

    def estimate(self, alpha: float) -> AnnotatorEstimate:
        span = max(self.times) - min(self.times) if self.times else 0.0
        return AnnotatorEstimate(
            answers=self.answers,
            agreement=self.agreement.estimate(alpha),
            gold=self.gold.estimate(alpha),
            per_hour=(len(self.times) - 1) / span * _HOUR_S if span > 0.0 else None,
            median_wait_s=median(self.waits) if self.waits else None,
        )


class Agreement:
    """Compares the answers of several annotators, from whole numbers that only grow.

    Which annotators meet on a request is chance, and who came first means nothing, so both
    answers of a pair count for one distribution of classes: kappa is Cohen's (1960) of the table
    of pairs made symmetric, which is Scott's (1955) pi and, for two answers each, Fleiss' (1971)
    kappa. With Cohen's own two distributions it would depend on the order of the answers.

    Where more than two have answered, all pairs count, and the limits are for as many requests
    as are worth the same. Two answers by one annotator (or by the unnamed ones) are no pair. The
    limits take requests as drawn independently, and answers as given without sight of each other;
    an adjudicator's word is none of them.

    Parameters
    ----------
    annotators
        Those told apart, at least 0: the first to be met. All others are pooled.

    Raises
    ------
    ValueError
        If `annotators` is negative.

    Examples
    --------
    >>> agreement = Agreement()
    >>> for i in range(20):
    ...     mine = "fraud" if i % 2 else "legit"
    ...     theirs = "legit" if i == 7 else mine
    ...     agreement.take([("ann", mine), ("bob", theirs)], explored=True)
    >>> kappa = agreement.estimate().random.kappa
    >>> round(kappa.value, 3), round(kappa.lower, 2), round(kappa.upper, 2)
    (0.9, 0.53, 0.99)
    """

    def __init__(self, annotators: int = 100) -> None:
        if annotators < 0:
            raise ValueError(f"annotators is at least 0, not {annotators}")
        self._limit = annotators
        self._random = _Pairs()
        self._picked = _Pairs()
        self._gold = _Share()
        self._annotators: dict[str, _Annotator] = {}
        self._others: _Annotator | None = None

    def _of(self, name: str) -> _Annotator:
        annotator = self._annotators.get(name)
        if annotator is not None:
            return annotator
        if len(self._annotators) < self._limit:
            annotator = self._annotators[name] = _Annotator()
            return annotator
        if self._others is None:
            self._others = _Annotator()
        return self._others

    def answered(
        self, annotator: str, answered_at: float | None = None, asked_at: float | None = None
    ) -> None:
        """Count an answer of any kind.

        Parameters
        ----------
        annotator
            Who answered.
        answered_at, asked_at
            Times of answer and request, epoch seconds, if known. An answer before its request
            (by another clock) says nothing of the wait.
        """
        entry = self._of(annotator)
        entry.answers += 1
        if answered_at is None:
            return
        entry.times.append(answered_at)
        if asked_at is not None and asked_at <= answered_at:
            entry.waits.append(answered_at - asked_at)

    def take(self, answers: Iterable[Answer], explored: bool) -> None:
        """Compare the answers to one request, each as first given; fewer than two say nothing.

        Parameters
        ----------
        answers
            Annotator and class, of all who answered.
        explored
            Whether the request was a uniform draw, whatever the policy said.
        """
        pairs = [pair for pair in combinations(answers, 2) if pair[0][0] != pair[1][0]]
        if not pairs:
            return
        (self._random if explored else self._picked).add([(a[1], b[1]) for a, b in pairs])
        met: dict[str, list[bool]] = {}
        for (one, first), (two, second) in pairs:
            met.setdefault(one, []).append(first == second)
            met.setdefault(two, []).append(first == second)
        for name, agreed in met.items():
            self._of(name).agreement.add(sum(agreed), len(agreed))

    def gold(self, annotator: str, answered: str, known: str) -> None:
        """Compare an answer to a gold case with the class that is known."""
        self._of(annotator).gold.add(answered == known, 1)
        self._gold.add(answered == known, 1)

    def estimate(self, alpha: float = 0.05) -> AgreementEstimate:
        """Estimate from all that was taken in.

        Parameters
        ----------
        alpha
            Probability, in (0, 1), that the limits of one value miss.
        """
        random, picked = self._random.estimate(alpha), self._picked.estimate(alpha)
        known = sorted(self._annotators.items())
        return AgreementEstimate(
            random=random,
            picked=picked,
            gap=difference(random.kappa, picked.kappa),
            gold=self._gold.estimate(alpha),
            annotators={name: annotator.estimate(alpha) for name, annotator in known},
            others=None if self._others is None else self._others.estimate(alpha),
        )


def _kappa(table: Mapping[tuple[str, str], int], size: float, alpha: float) -> Interval:
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
    """
    pairs = sum(table.values())
    counts: dict[str, int] = {}
    for (first, second), count in table.items():
        counts[first] = counts.get(first, 0) + count
        counts[second] = counts.get(second, 0) + count
    chance = 4 * pairs * pairs - sum(count * count for count in counts.values())
    if not chance:
        return Interval(value=None, lower=-1.0, upper=1.0, count=pairs)
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

    few = _least(t * expected * size, alpha) / (expected * size)
    return Interval(
        value=1.0 - t,
        lower=1.0 - _last(refuted, t, 2.0),
        upper=1.0 - min(few, _last(refuted, t, 0.0)),
        count=pairs,
    )


def _last(refuted: Callable[[float], bool], near: float, far: float) -> float:
    """Find how far one can go from `near` towards `far` without being refuted."""
    if not refuted(far):
        return far
    for _ in range(_HALVINGS):
        middle = (near + far) / 2.0
        if refuted(middle):
            far = middle
        else:
            near = middle
    return near


def _least(count: float, alpha: float) -> float:
    """Find the Poisson mean that reaches a count with probability `alpha`; of a few only."""
    whole = math.ceil(count - 1e-9)
    if not 1 <= whole <= _FEW:
        return count

    def refuted(mean: float) -> bool:
        fewer = sum(mean**i / math.factorial(i) for i in range(whole))
        return 1.0 - math.exp(-mean) * fewer < alpha

    return _last(refuted, float(whole), 0.0)
