"""Five signs that asking goes wrong, each a state that comes and goes by confidence limits."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_al.keyed import below, uniform
from stream_al.learner.helping import Comparison
from stream_al.records import Features, Labelled

__all__ = ["Limits", "Sign", "SignName", "WarningSigns", "wilson"]

SignName: TypeAlias = Literal["recall", "agreement", "calibration", "random-ahead", "concentrated"]

_Floats: TypeAlias = NDArray[np.float64]

_Answer: TypeAlias = tuple[str, dict[str, float]]
"""A label, and the probabilities given at its decision."""

_Z = 3.0
"""Standard errors of the limits that are looked at again with each label: each look is one more
chance of a false alarm."""

_LIMITS: dict[SignName, tuple[float, float]] = {
    "recall": (0.10, 0.0),
    "agreement": (0.0, -0.05),
    "calibration": (0.10, 0.05),
    "random-ahead": (0.0, -0.01),
    "concentrated": (0.50, 0.35),
}
"""A sign comes on above the first value and goes off below the second; between, it stays."""

_RECENT = 50
"""Explored events of a class that are recent; the past has at least as many."""

_REFERENCE, _PICKS, _COLUMNS = 500, 200, 64
"""Of traffic and of picks, how many of the last are kept; the first so many features of them."""

_EVERY, _CENTRES = 40, 8
"""Picks between two looks for a region; picks it is looked for around. Of a region that has half
of the picks, eight draws miss one in 256."""

_SMALL, _LEAST_INSIDE = 0.05, 3
"""Share of traffic of a small region; events of traffic that make one."""

_LITTLE, _LITTLE_WHEN_ON, _CLOSE = 0.3, 0.5, 1.0 - 1e-9
"""Upper limit of the correlation below which labels teach nothing."""


class Limits(msgspec.Struct, frozen=True):
    """An estimate with its confidence limits."""

    value: float
    lower: float
    upper: float


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one warning sign.

    Attributes
    ----------
    on
        Whether it warns.
    value
        The confidence limit that is looked at, larger for worse; None while too little is known.
    limit
        What `value` has to pass for the sign to change.
    since_version
        Version of the model since which the state holds; 0: from the start.
    why
        For people.
    """

    on: bool
    value: float | None
    limit: float
    since_version: int
    why: str


class WarningSigns:
    """Tells which of five signs warn.

    ``recall``: the model falls behind on one class while it does not on the others; see
    `_Recalls`. ``agreement``: annotators agree less about picked requests than about random ones:
    the lower limit of the difference of the kappas is above 0. ``calibration``: the lower limit
    of the expected calibration error is above .10. ``random-ahead``: random labels teach more
    than selected ones, by the upper limit of `Comparison`. ``concentrated``: the policy asks
    again and again about one small region where labels teach nothing; see `_Region`.

    Parameters
    ----------
    seed
        Key of all draws.

    Examples
    --------
    >>> signs = WarningSigns().review(1, calibration=Limits(0.2, 0.12, 0.28))
    >>> [name for name, sign in signs.items() if sign.on]
    ['calibration']
    """

    def __init__(self, seed: int = 0) -> None:
        self._recalls: dict[str, _Recalls] = {}
        self._answers = self._right = 0
        self._region = _Region(seed)
        self._signs = {
            name: Sign(on=False, value=None, limit=on, since_version=0, why="too little is known")
            for name, (on, _) in _LIMITS.items()
        }

    def observe(self, features: Features) -> None:
        """Take in an event of the thin sample of all traffic."""
        self._region.see(features)

    def take(self, record: Labelled) -> None:
        """Take in a label, before it is learnt; call it in the order of the log."""
        if not record.explored:
            self._region.pick(record, self._signs["concentrated"].on)
            return
        self._region.see(record.features, record.label)
        if record.prediction is None:
            return
        right = record.prediction == record.label
        recalls = self._recalls.get(record.label)
        if recalls is None:
            recalls = self._recalls[record.label] = _Recalls()
        recalls.add(right, self._answers, self._right)
        self._answers += 1
        self._right += right

    def review(
        self,
        version: int,
        *,
        comparison: Comparison | None = None,
        calibration: Limits | None = None,
        agreement: tuple[Limits, Limits] | None = None,
    ) -> dict[SignName, Sign]:
        """Bring all signs up to now; call it after `take`, at the same records in every replica.

        Parameters
        ----------
        version
            Of the model.
        comparison
            What `Helping.estimate` returns.
        calibration
            The expected calibration error on the random slice.
        agreement
            Cohen's kappa between annotators, of picked and of random requests.
        """
        self._review_recall(version)
        if agreement is not None:
            picked, random = agreement
            lag = _difference(random, picked)
            why = (
                f"annotators agree on picked requests by kappa {picked.value:.2f} "
                f"({picked.lower:.2f} to {picked.upper:.2f}), on random ones by "
                f"{random.value:.2f} ({random.lower:.2f} to {random.upper:.2f})"
            )
            self._turn("agreement", lag.lower, version, why)
        if calibration is not None:
            why = (
                f"probabilities are off by {calibration.value:.3f} on average "
                f"({calibration.lower:.3f} to {calibration.upper:.3f})"
            )
            self._turn("calibration", calibration.lower, version, why)
        if comparison is not None and comparison.difference is not None:
            why = (
                f"a learner of selected labels has {comparison.difference:+.3f} of the accuracy of "
                f"one of random labels ({comparison.lower:+.3f} to {comparison.upper:+.3f})"
            )
            self._turn("random-ahead", -comparison.upper, version, why)
        if (found := self._region.found) is not None:
            self._turn("concentrated", found[0], version, found[1])
        return dict(self._signs)

    def _review_recall(self, version: int) -> None:
        known = [
            (lag, name) for name, found in self._recalls.items() if (lag := found.lag) is not None
        ]
        if not known:
            return
        lag, name = max(known)
        recalls = self._recalls[name]
        why = (
            f"of the last {_RECENT} explored events of class {name!r} the model had "
            f"{recalls.recent:.0%} right, of those before {recalls.before:.0%}"
        )
        self._turn("recall", lag, version, why)

    def _turn(self, name: SignName, value: float, version: int, why: str) -> None:
        sign, (above, below_) = self._signs[name], _LIMITS[name]
        on = value >= below_ if sign.on else value > above
        self._signs[name] = Sign(
            on=on,
            value=value,
            limit=below_ if on else above,
            since_version=version if on != sign.on else sign.since_version,
            why=why,
        )


class _Recalls:
    """Right and wrong about the explored events of one class, lately and before.

    Lately is the last 50 events of the class, so that a rare class has a past as well; the other
    classes are looked at over the same stretch of time. The lag is by how much the class surely
    is behind the others now, or by how much more than before, whichever is less: a class that was
    always hard does not lag, nor does one that falls together with all others.
    """

    def __init__(self) -> None:
        # Each with how many explored answers, and right ones, all classes had before.
        self._window: deque[tuple[bool, int, int]] = deque()
        self._past = self._past_right = 0
        self.lag: float | None = None
        self.recent = self.before = 0.0

    def add(self, right: bool, answers: int, rights: int) -> None:
        window = self._window
        window.append((right, answers, rights))
        if len(window) <= _RECENT:
            return
        left, _, _ = window.popleft()
        self._past += 1
        self._past_right += left
        _, answers_then, rights_then = window[0]
        mine = sum([each for each, _, _ in window])
        others = answers + 1 - answers_then - _RECENT
        others_before = answers_then - self._past
        if min(self._past, others, others_before) < _RECENT:
            return
        recent = wilson(mine, _RECENT, _Z)
        before = wilson(self._past_right, self._past, _Z)
        gap = _difference(wilson(rights + right - rights_then - mine, others, _Z), recent)
        gap_before = _difference(wilson(rights_then - self._past_right, others_before, _Z), before)
        self.lag = min(gap.lower, _difference(gap, gap_before).lower)
        self.recent, self.before = recent.value, before.value


class _Region:
    """Looks for one small region that takes most of what the policy picks, and teaches nothing.

    A region is the ball around a pick that surely holds at most 5 % of traffic, by the last 500
    observed and explored events; distances are Euclidean between ranks among these, so that no
    unit and no tail counts. Uncertain events lie together as well, but their labels are
    what a boundary is learnt from. So a region counts only if its labels teach nothing: the
    probabilities given at the decisions do not correlate with them (as where labels are noise),
    or they are all the same, of a class that is no rarer than the region.

    Attributes
    ----------
    found
        Lower limit of the share of the last 200 picks in the worst region, and words for people;
        None while too little is known.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._columns: dict[str, int] = {}
        self._seen: deque[list[float]] = deque(maxlen=_REFERENCE)
        self._picks: deque[tuple[list[float], _Answer]] = deque(maxlen=_PICKS)
        self._picked = 0
        self._explored: dict[str, int] = {}
        self.found: tuple[float, str] | None = None

    def see(self, features: Features, label: str | None = None) -> None:
        self._seen.append(self._place(features))
        if label is not None:
            self._explored[label] = self._explored.get(label, 0) + 1

    def pick(self, record: Labelled, on: bool) -> None:
        answer = record.label, record.probabilities
        self._picks.append((self._place(record.features), answer))
        self._picked += 1
        if self._picked % _EVERY or len(self._picks) < _PICKS:
            return
        inside = _most_within(len(self._seen))
        if inside < _LEAST_INSIDE:
            return
        seen, picks = _ranks(self._matrix(self._seen), self._matrix([v for v, _ in self._picks]))
        answers = [answer for _, answer in self._picks]
        worst, why = 0.0, "picked requests are spread, or their labels teach"
        for i in range(_CENTRES):
            centre = picks[below(_PICKS, "region", self._seed, self._picked, i)]
            near = _ball(centre, seen, picks, inside)
            if near.any():
                # From the edge of a cluster to its middle (mean shift).
                near = _ball(picks[near].mean(axis=0), seen, picks, inside)
            share = wilson(int(near.sum()), _PICKS, _Z).lower
            if share > worst:
                there = [answer for answer, is_near in zip(answers, near, strict=True) if is_near]
                if self._teaches(there) < (_LITTLE_WHEN_ON if on else _LITTLE):
                    worst = share
                    why = (
                        f"{len(there)} of the last {_PICKS} picked requests lie in a region with "
                        f"at most {_SMALL:.0%} of traffic, where labels teach nothing"
                    )
        self.found = worst, why

    def _teaches(self, there: list[_Answer]) -> float:
        """Return the upper limit of how the probabilities correlate with the labels."""
        labels = [label for label, _ in there]
        counts = {label: labels.count(label) for label in sorted(set(labels))}
        most = max(counts, key=counts.__getitem__)
        if self._explored.get(most, 0) < _SMALL * sum(self._explored.values()):
            return 1.0
        y = np.array([label == most for label in labels], dtype=float)
        p = np.array([probabilities.get(most, 0.0) for _, probabilities in there])
        spread = float(y.std() * p.std())
        if len(counts) == 1:
            return 0.0
        r = float(((y - y.mean()) * (p - p.mean())).mean()) / spread if spread else 0.0
        # Fisher's transformation.
        z = math.atanh(min(max(r, -_CLOSE), _CLOSE))
        return math.tanh(z + 1.96 / math.sqrt(max(1, len(there) - 3)))

    def _place(self, features: Features) -> list[float]:
        columns = self._columns
        place = [math.nan] * len(columns)
        for name, value in features.items():
            i = columns.get(name)
            if i is None:
                if len(columns) >= _COLUMNS:
                    continue
                i = columns[name] = len(columns)
                place.append(math.nan)
            # A category stands at a place of its own.
            place[i] = uniform("category", name, value) if isinstance(value, str) else float(value)
        return place

    def _matrix(self, places: deque[list[float]] | list[list[float]]) -> _Floats:
        found = np.full((len(places), len(self._columns)), math.nan)
        for row, place in zip(found, places, strict=True):
            row[: len(place)] = place
        return found


def wilson(successes: int, n: int, z: float = 1.96) -> Limits:
    """Limit a share (Wilson 1927).

    Parameters
    ----------
    successes, n
        Out of n, at least 1.
    z
        Standard errors.

    Examples
    --------
    >>> limits = wilson(8, 10)
    >>> round(limits.lower, 3), round(limits.upper, 3)
    (0.49, 0.943)
    """
    share = successes / n
    spread = z * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    scale = 1.0 + z * z / n
    centre = share + z * z / (2.0 * n)
    # Rounding must not put the share outside.
    lower = min(share, max(0.0, (centre - spread) / scale))
    return Limits(share, lower, max(share, min(1.0, (centre + spread) / scale)))


def _difference(one: Limits, other: Limits) -> Limits:
    """Limit a difference from the limits of its terms (Newcombe 1998; Zou and Donner 2008)."""
    value = one.value - other.value
    down = math.hypot(one.value - one.lower, other.upper - other.value)
    up = math.hypot(one.upper - one.value, other.value - other.lower)
    return Limits(value, value - down, value + up)


def _most_within(n: int) -> int:
    """Return how many of n events a region may hold that surely has at most 5 % of traffic."""
    inside = -1
    while inside + 1 < n and wilson(inside + 1, n).upper <= _SMALL:
        inside += 1
    return inside


def _ball(centre: _Floats, seen: _Floats, picks: _Floats, inside: int) -> NDArray[np.bool_]:
    """Tell which picks are nearer to the centre than all but so many events of traffic."""
    reach = np.partition(((seen - centre) ** 2).sum(axis=1), inside)[inside]
    near: NDArray[np.bool_] = ((picks - centre) ** 2).sum(axis=1) < reach
    return near


def _ranks(seen: _Floats, others: _Floats) -> tuple[_Floats, _Floats]:
    """Put each column of both at its rank among the first, in [-1/2, 1/2]; unknown: at 0."""
    ranked = np.zeros_like(seen), np.zeros_like(others)
    for j in range(seen.shape[1]):
        column = np.sort(seen[:, j])
        column = column[~np.isnan(column)]
        if not len(column):
            continue
        for rank, values in zip(ranked, (seen[:, j], others[:, j]), strict=True):
            middle = column.searchsorted(values) + column.searchsorted(values, side="right")
            rank[:, j] = np.where(np.isnan(values), 0.0, middle / (2.0 * len(column)) - 0.5)
    return ranked
