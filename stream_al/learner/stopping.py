"""When to stop asking, or rather to ask less: maintenance, until drift reopens."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.keyed import below
from stream_al.limits import wilson
from stream_al.records import Features
from stream_al.training import Labelled

__all__ = ["Criterion", "CriterionState", "Stopping", "StoppingConfig", "StoppingState"]

Criterion: TypeAlias = Literal["budget", "performance", "uncertainty", "stability"]

Predict: TypeAlias = Callable[[Features], Mapping[str, float]]


class StoppingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When asking is to stop.

    Attributes
    ----------
    criteria
        Those that asking stops by; none: never, and the state tells what each of them says.
    need
        ``all`` of them have to hold, or ``any``.
    labels
        ``budget``: this many labels, at least 1, have been learnt from; None: no end of labels.
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

    criteria: tuple[Criterion, ...] = ()
    need: Literal["all", "any"] = "all"
    labels: int | None = None
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
    """Whether a criterion is met, and since which version of the model; 0: from the start."""

    met: bool
    since_version: int


class StoppingState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there is enough reason to ask less.

    Attributes
    ----------
    mode
        ``active``, or ``maintenance``: only as much is to be asked as finds drift.
    criteria
        Each criterion, whether asking stops by it or not.
    why
        What led to the mode, for people.
    since_version
        Version of the model since which the mode holds; 0: from the start.
    """

    mode: Literal["active", "maintenance"]
    criteria: dict[Criterion, CriterionState]
    why: str
    since_version: int


class Stopping:
    """Moves to maintenance when enough criteria hold, and stays there until it is reopened.

    All criteria compare confidence limits and never point estimates. These hold for one look
    each; that a criterion goes on holding for several looks is no further evidence.

    Parameters
    ----------
    config
        Which criteria, and how much of each; None: the defaults, which never stop.

    Examples
    --------
    >>> stopping = Stopping(StoppingConfig(criteria=("budget",), labels=500))
    >>> stopping.state.mode
    'active'
    """

    def __init__(self, config: StoppingConfig | None = None) -> None:
        self._config = config or StoppingConfig()
        self._labels = self._answers = self._right = self._observed = 0
        self._criteria: dict[Criterion, CriterionState] = dict.fromkeys(
            get_args(Criterion), CriterionState(False, 0)
        )
        self._mode: Literal["active", "maintenance"] = "active"
        self._why, self._since = "from the start", 0
        self._reset()

    @property
    def state(self) -> StoppingState:
        """The state after the last record."""
        criteria = dict(self._criteria)
        return StoppingState(
            mode=self._mode, criteria=criteria, why=self._why, since_version=self._since
        )

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
        config = self._config
        self._labels += 1
        if config.labels is not None:
            self._tell("budget", self._labels >= config.labels, offset)
        if record.explored and record.prediction is not None:
            self._answers += 1
            self._right += record.prediction == record.label
            if self._answers == config.period_answers:
                self._periods.append(self._right)
                self._answers = self._right = 0
                self._tell("performance", self._converged(), offset)
        if not self._labels % config.check_labels:
            self._look(predict, offset)
        self._decide(offset)

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
        config = self._config
        # With no class or one there is nothing yet to be certain about.
        n = len(probabilities)
        uncertain = (1.0 - max(probabilities.values())) * n / (n - 1) if n > 1 else 1.0
        self._uncertainty.append(uncertain)
        self._tell("uncertainty", self._certain(), offset)
        self._observed += 1
        if len(self._sample) < config.sample_events:
            self._sample.append(features)
        else:
            # A reservoir (Vitter 1985): each observed event is in it with the same probability.
            place = below(self._observed, "stopping", config.seed, offset)
            if place < config.sample_events:
                self._sample[place] = features
                self._before.pop(place, None)
        self._decide(offset)

    def reopen(self, cause: str, offset: int) -> None:
        """Ask as configured again, and stop next by what comes from now on only.

        Parameters
        ----------
        cause
            For people: the drift alarm, say.
        offset
            Of the record that raised it.
        """
        for name in self._criteria:
            # Labels that are spent do not come back.
            if name != "budget":
                self._tell(name, False, offset)
        self._reset()
        if self._mode == "maintenance":
            self._mode, self._why, self._since = "active", f"reopened: {cause}", offset + 1
        self._decide(offset)

    def _reset(self) -> None:
        config = self._config
        self._answers = self._right = 0
        self._periods: deque[int] = deque(maxlen=config.periods)
        self._uncertainty: deque[float] = deque(maxlen=config.window_events)
        self._observed = 0
        self._sample: list[Features] = []
        self._before: dict[int, str] = {}
        self._looks: deque[float] = deque(maxlen=config.checks)

    def _tell(self, name: Criterion, met: bool, offset: int) -> None:
        if met != self._criteria[name].met:
            self._criteria[name] = CriterionState(met, offset + 1)

    def _decide(self, offset: int) -> None:
        criteria = self._config.criteria
        if self._mode == "maintenance" or not criteria:
            return
        holding = [name for name in criteria if self._criteria[name].met]
        if len(holding) == len(criteria) or (holding and self._config.need == "any"):
            self._mode, self._since = "maintenance", offset + 1
            self._why = "; ".join([self._told(name) for name in holding])

    def _told(self, name: Criterion) -> str:
        config = self._config
        if name == "budget":
            return f"budget exhausted: {self._labels} labels"
        if name == "performance":
            return (
                f"performance converged: limits of accuracy over {config.periods} periods of "
                f"{config.period_answers} explored answers overlap"
            )
        if name == "uncertainty":
            return (
                f"uncertainty low: at most {max(self._uncertainty):.3f} in the last "
                f"{config.window_events} observed events"
            )
        return (
            f"model stable: {len(self._looks)} looks, {config.check_labels} labels apart, at "
            f"{config.sample_events} events agree"
        )

    def _converged(self) -> bool:
        config = self._config
        if len(self._periods) < config.periods:
            return False
        limits = [wilson(right, config.period_answers) for right in self._periods]
        overlap = max([each.lower for each in limits]) <= min([each.upper for each in limits])
        return overlap and all(each.upper - each.lower < config.period_width for each in limits)

    def _certain(self) -> bool:
        config, found = self._config, self._uncertainty
        n = len(found)
        if n < config.window_events or max(found) >= config.most_uncertainty:
            return False
        mean = math.fsum(found) / n
        variance = math.fsum([(each - mean) ** 2 for each in found]) / (n - 1)
        return mean + _reach(variance, n) < config.mean_uncertainty

    def _look(self, predict: Predict, offset: int) -> None:
        config = self._config
        if len(self._sample) < config.sample_events:
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
        if len(self._looks) == config.checks:
            self._tell("stability", min(self._looks) > config.kappa, offset)


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
