"""The sections that deciding, learning and replaying need. Units are in the names."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "AnnotatorConfig",
    "GateConfig",
    "LearnerConfig",
    "PolicyName",
    "ReplayConfig",
    "ScoreName",
    "Section",
    "SourceConfig",
    "StopName",
]

ScoreName: TypeAlias = Literal["least-confidence", "margin", "entropy", "rarity", "risk"]
PolicyName: TypeAlias = Literal[
    "fixed", "variable", "randomized-variable", "quantile", "selective-sampling", "random"
]
StopName: TypeAlias = Literal["budget", "performance", "uncertainty", "stability"]
DelayDistribution: TypeAlias = Literal["fixed", "exponential", "uniform"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: frozen, no unknown keys."""


class LearnerConfig(Section, frozen=True, kw_only=True):
    """How the training log is folded; part of the fold's identity.

    Attributes
    ----------
    model
        A preset (``logistic``, ``naive-bayes``, ``hoeffding-tree``, ``adaptive-forest``,
        ``mondrian-forest``) or ``package.module:factory`` of a river classifier.
    committee
        Copies of the model with different memories, weighed by recent log loss; false for one
        plain model that learns each label once.
    classes
        The declared classes; empty: learnt from the labels.
    memory
        Past labels kept for rehearsal, per memory (and class, where balanced).
    draws
        Past labels rehearsed after each new one.
    balance
        Share of a balanced memory's draws that the rarer of two classes gets, at most 0.5.
    calibrate
        Calibrate each member online on its own labelled predictions.
    on_drift
        What follows when labels or errors say that the stream has changed: ``forget`` what is
        rehearsed, or only ``report`` it.
    seed
        Seed of models and of rehearsal.
    """

    model: str = "logistic"
    committee: bool = True
    classes: tuple[str, ...] = ()
    memory: int = 2000
    draws: int = 10
    balance: float = 0.3
    calibrate: bool = True
    on_drift: Literal["forget", "report"] = "forget"
    seed: int = 0


class GateConfig(Section, frozen=True, kw_only=True):
    """What decides whether to ask; one gate for each input partition.

    Attributes
    ----------
    score
        Informativeness of a prediction: ``least-confidence``, ``margin``, ``entropy``, ``rarity``
        (margin with a bonus for classes that are rare in traffic) or ``risk``.
    risk_class
        With ``score = "risk"``: the class whose probability is the score.
    policy
        What compares the score with a threshold that it adapts: ``fixed``, ``variable``,
        ``randomized-variable``, ``quantile``, ``selective-sampling`` or ``random``.
    budget
        Label requests per event, in (0, 1]. What exploration and policy both ask for is paid for
        twice, so a budget of 1 asks for all only with ``explore`` 0 or 1.
    explore
        Share of the budget that is spent on events picked uniformly, in [0, 1].
    burst
        Requests that may be outstanding over ``budget * t`` at any t, per partition.
    threshold
        With ``policy = "fixed"``: ask at this score and above.
    step
        Speed at which a policy adapts its threshold, above 0; null: the policy's own default.
    observe_every
        One event in so many is published for unsupervised learning (denser at the start).
    stop_when
        Criteria of `stream_al.learner.stopping` upon which the policy goes down to maintenance:
        ``budget``, ``performance``, ``uncertainty``, ``stability``; empty: never. Drift ends it.
    stop_need
        ``all`` of them have to have been met since the last drift, or ``any``.
    stop_labels
        ``budget`` is met once so many labels have been learnt from, at least 1; null: never.
    floor
        Share of what the policy would ask that it asks in maintenance, in [0, 1].
    on_warning
        While a warning sign is on: only ``report`` it, or let the policy ask at ``random``.
    on_drift
        For `drift_events` events after an alarm by residuals or errors: only ``report`` it (what
        the learner does is `learner.on_drift`); ``burst``: ask while there are tokens, whatever
        the scores; ``explore``: from the next block on spend `drift_explore` of the budget on
        exploration. Neither raises the budget.
    drift_events
        Events of each partition, at least 1.
    drift_explore
        Share of the budget in (0, 1].
    second_opinion
        Share of requests that two annotators are to answer, drawn by key.
    salt
        Key of all draws.
    """

    score: ScoreName = "rarity"
    risk_class: str | None = None
    policy: PolicyName = "quantile"
    budget: float = 0.05
    explore: float = 0.5
    burst: float = 20.0
    threshold: float = 0.5
    step: float | None = None
    observe_every: int = 100
    stop_when: tuple[StopName, ...] = ()
    stop_need: Literal["all", "any"] = "all"
    stop_labels: int | None = None
    floor: float = 0.2
    on_warning: Literal["report", "random"] = "report"
    on_drift: Literal["report", "burst", "explore"] = "report"
    drift_events: int = 2000
    drift_explore: float = 0.9
    second_opinion: float = 0.0
    salt: int = 0


class SourceConfig(Section, frozen=True, kw_only=True):
    """How rows of a recorded stream become events.

    Attributes
    ----------
    label
        Column or key that holds the true class.
    time, id, key
        Column or key of event time, of the user's id, of the partitioning key; null: none.
    ignore
        Columns that are no features; `*` matches any run of characters.
    categorical
        Columns to be read as categories even though they look like numbers; `*` as above.
    partitions
        Number of partitions that events are split into by key.
    on_error
        ``stop`` at a bad row, or ``skip`` it, counted; its offset stays used.
    """

    label: str = "label"
    time: str | None = None
    id: str | None = None
    key: str | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    partitions: int = 1
    on_error: Literal["stop", "skip"] = "stop"


class AnnotatorConfig(Section, frozen=True, kw_only=True):
    """The simulated annotator of replays.

    Attributes
    ----------
    delay
        Mean time to answer: events (``1000``) or event time (``30s``, ``15m``, ``36h``, ``2d``).
    delay_distribution
        ``fixed``, ``exponential``, or ``uniform`` on [0, 2 * delay].
    noise
        Probability of a wrong class, or for each true class the probability of each answer.
    abstain
        Probability of an answer "cannot tell".
    capacity_per_day
        Answers in one day of event time; null: no limit.
    seed
        Key of all of the annotator's draws.
    """

    delay: str = "0"
    delay_distribution: DelayDistribution = "fixed"
    noise: float | dict[str, dict[str, float]] = 0.0
    abstain: float = 0.0
    capacity_per_day: int | None = None
    seed: int = 0


class ReplayConfig(Section, frozen=True, kw_only=True):
    """How a recorded stream is played.

    Attributes
    ----------
    limit
        Stop after so many rows; null: all.
    batch_size
        Events decided at a time, at most; decisions do not depend on it.
    """

    limit: int | None = None
    batch_size: int = 500
