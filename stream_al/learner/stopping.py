"""Whether there is still something to learn: criteria for asking less, until drift reopens."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.config import StopName
from stream_al.keyed import below
from stream_al.limits import wilson
from stream_al.records import Features
from stream_al.training import Labelled

__all__ = ["Criterion", "CriterionState", "Stopping", "StoppingPlan", "StoppingState"]

Criterion: TypeAlias = Literal["performance", "uncertainty", "stability"]

Predict: TypeAlias = Callable[[Features], Mapping[str, float]]


class StoppingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the criteria are.

    Attributes
    ----------
    period_answers, periods, period_width
        ``performance``: the limits (95 %) of the accuracy on the explored answers of so many
        successive periods all overlap, each of them narrower than the width.
    window_events, mean_uncertainty, most_uncertainty
        ``uncertainty``: of the last observed events, uncertainty being the least-confidence score
        in [0, 1], the mean's upper limit (95 %) is below the one and the maximum below the other.
        Of n events, a maximum tells that (at 95 %) at most 3 / n of traffic lies above it.
    sample_events, check_labels, checks, kappa
        ``stability`` (stabilising predictions; Bloodgood and Vijay-Shanker 2009): the predictions
        for a kept sample of observed events are looked at each time that so many labels have
        come; at each of the last so many looks the lower limit (95 %) of Cohen's kappa with the
        look before is above this. With 300 events and two classes as frequent, .95 lets two
        predictions change: a kappa of .987.
    seed
        Key of all draws.
    """

    period_answers: int = 200
    periods: int = 4
    period_width: float = 0.15
    window_events: int = 200
    mean_uncertainty: float = 0.1
    most_uncertainty: float = 0.9
    sample_events: int = 300
    check_labels: int = 100
    checks: int = 3
    kappa: float = 0.95
    seed: int = 0


class CriterionState(msgspec.Struct, frozen=True):
    """Whether a criterion is met.

    Attributes
    ----------
    met, since_version
        Now, and since which version of the model that is so; 0: from the start.
    held
        Whether it has been met at any time since the last drift.
    """

    met: bool
    since_version: int
    held: bool = False


class StoppingState(msgspec.Struct, frozen=True, kw_only=True):
    """How much reason there is to ask less.

    Attributes
    ----------
    labels
        Labels learnt from since the start.
    criteria
        Each criterion, whether asking stops by it or not.
    reopened
        Version of the model as of the last drift, which ended all that had been met; 0: none.
    """

    labels: int
    criteria: dict[Criterion, CriterionState]
    reopened: int


class Stopping:
    """Tells which criteria for stopping are met. What follows is configured at the gate.

    All criteria compare confidence limits and never point estimates. These hold for one look
    each; that a criterion goes on holding for several looks is no further evidence.

    Parameters
    ----------
    plan
        What the criteria are; None: the defaults.

    Examples
    --------
    >>> stopping = Stopping()
    >>> stopping.stops(("performance", "stability"))
    False
    """

    def __init__(self, plan: StoppingPlan | None = None) -> None:
        self._plan = plan or StoppingPlan()
        self._labels = self._answers = self._right = self._observed = self._reopened = 0
        self._criteria: dict[Criterion, CriterionState] = dict.fromkeys(
            get_args(Criterion), CriterionState(False, 0)
        )
        self._reset()

    @property
    def state(self) -> StoppingState:
        """The state after the last record."""
        criteria = dict(self._criteria)
        return StoppingState(labels=self._labels, criteria=criteria, reopened=self._reopened)

    def stops(
        self,
        when: tuple[StopName, ...],
        need: Literal["all", "any"] = "all",
        labels: int | None = None,
    ) -> bool:
        """Tell whether asking is to stop, or rather to go down to what finds drift.

        Parameters
        ----------
        when
            Criteria, each of which is to have been met since the last drift; ``budget`` is met
            once `labels` have been learnt from, and no drift brings these back. Empty: never.
        need
            All of them, or any.
        labels
            None: no end of labels.
        """
        if not when:
            return False
        held = [
            labels is not None and self._labels >= labels
            if name == "budget"
            else self._criteria[name].held
            for name in when
        ]
        return all(held) if need == "all" else any(held)

    def take(self, record: Labelled, offset: int, predict: Predict) -> None:
        """Take in a label; call it in the order of the log.

        Parameters
        ----------
        record
            Explored or not.
        offset
            Its place in the training log.
        predict
            The main learner's, as of before this label; called at each look at the sample only.
        """
        plan = self._plan
        self._labels += 1
        if record.explored and record.prediction is not None:
            self._answers += 1
            self._right += record.prediction == record.label
            if self._answers == plan.period_answers:
                self._periods.append(self._right)
                self._answers = self._right = 0
                self._tell("performance", self._converged(), offset)
        if not self._labels % plan.check_labels:
            self._look(predict, offset)

    def observe(self, features: Features, probabilities: Mapping[str, float], offset: int) -> None:
        """Take in an event of the thin sample of all traffic.

        Parameters
        ----------
        features
            Of the event.
        probabilities
            What the main learner says of it before it learns anything from it.
        offset
            Of the record in the training log.
        """
        plan = self._plan
        # With no class or one there is nothing yet to be certain about.
        n = len(probabilities)
        uncertain = (1.0 - max(probabilities.values())) * n / (n - 1) if n > 1 else 1.0
        self._uncertainty.append(uncertain)
        self._tell("uncertainty", self._certain(), offset)
        self._observed += 1
        if len(self._sample) < plan.sample_events:
            self._sample.append(features)
        else:
            # A reservoir (Vitter 1985): each observed event is in it with the same probability.
            place = below(self._observed, "stopping", plan.seed, offset)
            if place < plan.sample_events:
                self._sample[place] = features
                self._before.pop(place, None)

    def reopen(self, offset: int) -> None:
        """Begin anew after a drift: what comes from now on has to meet the criteria.

        Parameters
        ----------
        offset
            Of the record that raised the alarm.
        """
        for name, state in self._criteria.items():
            since = offset + 1 if state.met else state.since_version
            self._criteria[name] = CriterionState(False, since)
        self._reopened = offset + 1
        self._reset()

    def _reset(self) -> None:
        plan = self._plan
        self._answers = self._right = 0
        self._periods: deque[int] = deque(maxlen=plan.periods)
        self._uncertainty: deque[float] = deque(maxlen=plan.window_events)
        self._observed = 0
        self._sample: list[Features] = []
        self._before: dict[int, str] = {}
        self._looks: deque[float] = deque(maxlen=plan.checks)

    def _tell(self, name: Criterion, met: bool, offset: int) -> None:
        before = self._criteria[name]
        if met != before.met:
            self._criteria[name] = CriterionState(met, offset + 1, met or before.held)

    def _converged(self) -> bool:
        plan = self._plan
        if len(self._periods) < plan.periods:
            return False
        limits = [wilson(right, plan.period_answers) for right in self._periods]
        overlap = max([each.lower for each in limits]) <= min([each.upper for each in limits])
        return overlap and all(each.upper - each.lower < plan.period_width for each in limits)

    def _certain(self) -> bool:
        plan, found = self._plan, self._uncertainty
        n = len(found)
        if n < plan.window_events or max(found) >= plan.most_uncertainty:
            return False
        mean = math.fsum(found) / n
        variance = math.fsum([(each - mean) ** 2 for each in found]) / (n - 1)
        return mean + _reach(variance, n) < plan.mean_uncertainty

    def _look(self, predict: Predict, offset: int) -> None:
        plan = self._plan
        if len(self._sample) < plan.sample_events:
            return
        now: dict[int, str] = {}
        for place, features in enumerate(self._sample):
            probabilities = predict(features)
            if not probabilities:
                return
            now[place] = max(probabilities, key=probabilities.__getitem__)
        if self._before:
            pairs = [(name, now[place]) for place, name in self._before.items()]
            self._looks.append(_kappa_lower(pairs))
        self._before = now
        if len(self._looks) == plan.checks:
            self._tell("stability", min(self._looks) > plan.kappa, offset)


def _reach(variance: float, n: int) -> float:
    """Bound by how much the mean of n values in [0, 1] exceeds theirs; 5 %.

    Maurer and Pontil 2009, theorem 4.
    """
    log = math.log(2.0 / 0.05)
    return math.sqrt(2.0 * variance * log / n) + 7.0 * log / (3.0 * (n - 1))


def _kappa_lower(pairs: list[tuple[str, str]]) -> float:
    """Return the lower limit of Cohen's kappa between two predictions of each event.

    The limit is that of the share of disagreements (Wilson), the margins taken as they are: the
    usual standard error is 0 where all agree. Where all predictions are the same there is no
    agreement beyond chance: -1.
    """
    n = len(pairs)
    before, now = (Counter(names) for names in zip(*pairs, strict=True))
    by_chance = sum(count * now[name] for name, count in before.items()) / (n * n)
    if by_chance == 1.0:
        return -1.0
    apart = sum(one != other for one, other in pairs)
    return max(-1.0, 1.0 - wilson(apart, n).upper / (1.0 - by_chance))
