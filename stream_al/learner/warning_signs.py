"""Five signs that asking goes wrong, each a state that comes and goes by confidence limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from stream_al.learner.helping import Comparison
from stream_al.learner.region import Region
from stream_al.limits import Limits, difference, wilson
from stream_al.records import Features
from stream_al.training import Labelled

__all__ = ["MEANINGS", "Sign", "SignName", "WarningSigns"]

SignName: TypeAlias = Literal["recall", "agreement", "calibration", "random-ahead", "concentrated"]

MEANINGS: Mapping[SignName, str] = {
    "recall": "the model finds one class less and less, and does not fall behind on the others",
    "agreement": "annotators agree less about what is picked than about what is random",
    "calibration": "probabilities are far from how often predictions are right",
    "random-ahead": "random labels teach more than selected ones",
    "concentrated": "the policy asks again and again about one region where labels teach nothing",
}
"""What each sign says when it is on, for people."""

_ALPHA = 0.0027
"""That limits which are looked at again with each label miss, three standard errors: each look is
one more chance of a false alarm."""

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
    again and again about one small region where labels teach nothing; see `Region`.

    Parameters
    ----------
    seed
        Key of all draws.

    Examples
    --------
    >>> bad = Limits(value=0.2, lower=0.12, upper=0.28, count=300)
    >>> signs = WarningSigns().review(1, calibration=bad)
    >>> [name for name, sign in signs.items() if sign.on]
    ['calibration']
    """

    def __init__(self, seed: int = 0) -> None:
        self._recalls: dict[str, _Recalls] = {}
        self._answers = self._right = 0
        self._region = Region(seed, _ALPHA)
        self._signs = {
            name: Sign(on=False, value=None, limit=on, since_version=0, why="too little is known")
            for name, (on, _) in _LIMITS.items()
        }

    @property
    def state(self) -> dict[SignName, Sign]:
        """All signs as of the last review."""
        return dict(self._signs)

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
            Kappa between annotators, of picked and of random requests.
        """
        self._review_recall(version)
        if agreement is not None:
            picked, random = agreement
            if picked.value is not None and random.value is not None:
                why = (
                    f"annotators agree on picked requests by kappa {picked.value:.2f} "
                    f"({picked.lower:.2f} to {picked.upper:.2f}), on random ones by "
                    f"{random.value:.2f} ({random.lower:.2f} to {random.upper:.2f})"
                )
                self._turn("agreement", difference(random, picked).lower, version, why)
        if calibration is not None and calibration.value is not None:
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
        return self.state

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
        self._past = self._past_right = self._mine = 0

    def add(self, right: bool, answers: int, rights: int) -> None:
        window = self._window
        window.append((right, answers, rights))
        self._mine += right
        if len(window) <= _RECENT:
            return
        left, _, _ = window.popleft()
        self._mine -= left
        self._past += 1
        self._past_right += left

    @property
    def recent(self) -> float:
        return self._mine / _RECENT

    @property
    def before(self) -> float:
        return self._past_right / self._past

    @property
    def lag(self) -> float | None:
        if self._past < _RECENT:
            return None
        window, mine = self._window, self._mine
        _, answers_then, rights_then = window[0]
        right, answers, rights = window[-1]
        others = answers + 1 - answers_then - _RECENT
        others_before = answers_then - self._past
        if min(others, others_before) < _RECENT:
            return None
        recent = wilson(mine, _RECENT, _ALPHA)
        before = wilson(self._past_right, self._past, _ALPHA)
        others_right = rights + right - rights_then - mine
        gap = difference(wilson(others_right, others, _ALPHA), recent)
        others_right_before = rights_then - self._past_right
        gap_before = difference(wilson(others_right_before, others_before, _ALPHA), before)
        return min(gap.lower, difference(gap, gap_before).lower)
