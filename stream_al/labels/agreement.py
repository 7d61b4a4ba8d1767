"""How far several annotators agree, with each other and with what is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import combinations
from statistics import median
from typing import TypeAlias

import msgspec

from stream_al.labels.kappa import Pairs, PairsEstimate, Share
from stream_al.limits import Limits, difference
from stream_al.training import Closed, Ended, Gold, Labelled

__all__ = ["Agreement", "AgreementEstimate", "AnnotatorEstimate"]

Answer: TypeAlias = tuple[str, str]
"""The annotator and the class."""

_RECENT = 100
"""Answers of each annotator from which pace and waiting are taken."""

_HOUR_S = 3600.0


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
    agreement: Limits
    gold: Limits
    per_hour: float | None
    median_wait_s: float | None


class AgreementEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How far annotators agree, with each other and with what is known.

    Attributes
    ----------
    answers
        All that were counted, those of unnamed annotators included.
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

    answers: int
    random: PairsEstimate
    picked: PairsEstimate
    gap: Limits
    gold: Limits
    annotators: dict[str, AnnotatorEstimate]
    others: AnnotatorEstimate | None


class _Annotator:
    def __init__(self) -> None:
        self.answers = 0
        self.agreement = Share()
        self.gold = Share()
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
    as are worth the same. Two answers by one annotator (or by unnamed ones, whose name is empty
    and who count in the totals only) are no pair. The limits take requests as drawn
    independently, and answers as given without sight of each other; an adjudicator's word is
    none of them.

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
        self._answers = 0
        self._random = Pairs()
        self._picked = Pairs()
        self._gold = Share()
        self._annotators: dict[str, _Annotator] = {}
        self._others: _Annotator | None = None

    @property
    def pairs(self) -> int:
        """Count the pairs of answers that were compared."""
        return self._random.agreement.total + self._picked.agreement.total

    def _of(self, name: str) -> _Annotator | None:
        if not name:
            return None
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
        self._answers += 1
        entry = self._of(annotator)
        if entry is None:
            return
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
            if (entry := self._of(name)) is not None:
                entry.agreement.add(sum(agreed), len(agreed))

    def take_ended(self, record: Ended) -> None:
        """Count the answers by which a request ended.

        Silence that was taken as a class is nobody's answer, nor is what was voided.

        Parameters
        ----------
        record
            Of the training log. Waiting is from the event's time, where it has one.
        """
        first, asked_at = record.was is None, None
        given = [(opinion.annotator, opinion.time) for opinion in record.opinions if opinion.label]
        last = record.annotator, record.answered_at
        if isinstance(record, Labelled):
            if record.assumed:
                return
            # How long it took until a revision is no waiting.
            asked_at = record.time if first else None
            given = given or [last]
        elif isinstance(record, Closed) and record.reason in ("skipped", "retracted"):
            given.append(last)
        for annotator, answered_at in given:
            self.answered(annotator, answered_at, asked_at)

    def take_pair(self, record: Ended) -> None:
        """Compare the answers of the first two asked.

        Requests are to come in the order of the stream: where two disagree the request waits for
        the last word, so that in the order of ending those who agree would come first. Late
        answers and revisions are compared with none: they may have been given in sight of others.

        Parameters
        ----------
        record
            Of the training log.
        """
        if record.was is not None or (isinstance(record, Labelled) and record.late):
            return
        # A third opinion is that of the adjudicator, for whom these two differed.
        pair = [(opinion.annotator, opinion.label) for opinion in record.opinions[:2]]
        if all(label for _, label in pair):
            self.take(pair, record.explored)

    def take_gold(self, record: Gold) -> None:
        """Count an answer to a gold case, and compare its class, if it has one.

        Parameters
        ----------
        record
            Of the training log. Waiting is from the time of the event before it, where that has
            one.
        """
        if record.label is None:
            self.answered(record.annotator, record.answered_at)
            return
        self.answered(record.annotator, record.answered_at, record.time)
        self.gold(record.annotator, record.label, record.known)

    def gold(self, annotator: str, answered: str, known: str) -> None:
        """Compare an answer to a gold case with the class that is known."""
        if (entry := self._of(annotator)) is not None:
            entry.gold.add(answered == known, 1)
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
            answers=self._answers,
            random=random,
            picked=picked,
            gap=difference(random.kappa, picked.kappa),
            gold=self._gold.estimate(alpha),
            annotators={name: annotator.estimate(alpha) for name, annotator in known},
            others=None if self._others is None else self._others.estimate(alpha),
        )
