"""The configuration: one frozen object, checked as a whole before anything starts.

Defaults live here and nowhere else. Units are in the names. Where values come from (file,
environment, flags) is the command line's business; see `stream_al.cli.settings`.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, TypeAlias

import msgspec

from stream_al.errors import ConfigError

__all__ = [
    "AnnotatorConfig",
    "Config",
    "GateConfig",
    "LearnerConfig",
    "ReplayConfig",
    "SourceConfig",
    "content_hash",
    "problems",
    "validate",
]

ScoreName: TypeAlias = Literal["least-confidence", "margin", "entropy", "rarity", "risk"]
PolicyName: TypeAlias = Literal[
    "fixed", "variable", "randomized-variable", "quantile", "selective-sampling", "random"
]
DelayDistribution: TypeAlias = Literal["fixed", "exponential", "uniform"]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: frozen, no unknown keys."""


class LearnerConfig(_Section, frozen=True, kw_only=True):
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
    seed: int = 0


class GateConfig(_Section, frozen=True, kw_only=True):
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
    salt: int = 0


class SourceConfig(_Section, frozen=True, kw_only=True):
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


class AnnotatorConfig(_Section, frozen=True, kw_only=True):
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


class ReplayConfig(_Section, frozen=True, kw_only=True):
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


class Config(_Section, frozen=True, kw_only=True):
    """Everything that can be configured.

    Examples
    --------
    >>> config = Config(gate=GateConfig(budget=0.02))
    >>> config.gate.budget, config.learner.model
    (0.02, 'logistic')
    """

    learner: LearnerConfig = LearnerConfig()
    gate: GateConfig = GateConfig()
    source: SourceConfig = SourceConfig()
    annotator: AnnotatorConfig = AnnotatorConfig()
    replay: ReplayConfig = ReplayConfig()


def content_hash(section: msgspec.Struct) -> str:
    """Hash a section's values: 16 hexadecimal digits that name the configuration.

    Examples
    --------
    >>> content_hash(GateConfig()) == content_hash(GateConfig(budget=0.05))
    True
    """
    return hashlib.blake2b(msgspec.json.encode(section, order="sorted"), digest_size=8).hexdigest()


def problems(config: Config) -> list[tuple[str, str]]:
    """List what is wrong with the values, as (``section.key``, what was expected).

    Examples
    --------
    >>> problems(Config(gate=GateConfig(budget=0.0)))
    [('gate.budget', 'must be in (0, 1], not 0.0')]
    """
    learner, gate, source = config.learner, config.gate, config.source
    annotator, replay = config.annotator, config.replay
    found: list[tuple[str, str]] = []

    def need(key: str, holds: bool, expected: str, value: object) -> None:
        if not holds:
            found.append((key, f"must be {expected}, not {value!r}"))

    need("learner.model", bool(learner.model), "a preset or package.module:factory", learner.model)
    need(
        "learner.classes",
        len(set(learner.classes)) == len(learner.classes) != 1 and all(learner.classes),
        "at least two different names, none empty, or none at all",
        list(learner.classes),
    )
    need("learner.memory", learner.memory >= 1, "at least 1", learner.memory)
    need("learner.draws", learner.draws >= 0, "at least 0", learner.draws)
    need("learner.balance", 0 <= learner.balance <= 0.5, "in [0, 0.5]", learner.balance)
    need("gate.budget", 0 < gate.budget <= 1, "in (0, 1]", gate.budget)
    need("gate.explore", 0 <= gate.explore <= 1, "in [0, 1]", gate.explore)
    need("gate.burst", 2 <= gate.burst < math.inf, "at least 2 and finite", gate.burst)
    need("gate.threshold", 0 <= gate.threshold <= 1, "in [0, 1]", gate.threshold)
    step = gate.step
    need("gate.step", step is None or 0 < step < math.inf, "above 0 and finite", step)
    need("gate.observe_every", gate.observe_every >= 1, "at least 1", gate.observe_every)
    if gate.score == "risk":
        named = "a class, because score is 'risk'"
        need("gate.risk_class", bool(gate.risk_class), named, gate.risk_class)
        if gate.risk_class and learner.classes:
            among = f"one of the declared classes {', '.join(learner.classes)}"
            need("gate.risk_class", gate.risk_class in learner.classes, among, gate.risk_class)
    need("source.label", bool(source.label), "the name of a column", source.label)
    need("source.partitions", source.partitions >= 1, "at least 1", source.partitions)
    need("annotator.abstain", 0 <= annotator.abstain <= 1, "in [0, 1]", annotator.abstain)
    found += _noise_problems(annotator.noise, learner.classes)
    capacity = annotator.capacity_per_day
    need("annotator.capacity_per_day", capacity is None or capacity >= 1, "at least 1", capacity)
    need("replay.limit", replay.limit is None or replay.limit >= 1, "at least 1", replay.limit)
    need("replay.batch_size", replay.batch_size >= 1, "at least 1", replay.batch_size)
    return found


def _noise_problems(
    noise: float | dict[str, dict[str, float]], classes: tuple[str, ...]
) -> list[tuple[str, str]]:
    if not isinstance(noise, dict):
        return [] if 0 <= noise <= 1 else [("annotator.noise", f"must be in [0, 1], not {noise!r}")]
    found = []
    for truth, answers in noise.items():
        key = f"annotator.noise.{truth}"
        if classes and not {truth, *answers} <= set(classes):
            found.append((key, f"must name declared classes only: {', '.join(classes)}"))
        total = sum(answers.values())
        if any(not 0 <= p <= 1 for p in answers.values()) or abs(total - 1) > 1e-9:
            found.append((key, f"must hold probabilities that add up to 1, not {answers!r}"))
    return found


def validate(config: Config) -> Config:
    """Return the configuration unchanged, or say what is wrong with it.

    Raises
    ------
    ConfigError
        With every mistake in one line, keys named.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"expected a Config, not {type(config).__name__}")
    try:
        msgspec.convert(msgspec.to_builtins(config), Config)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(str(error)) from error
    if found := problems(config):
        raise ConfigError("; ".join(f"{key} {what}" for key, what in found))
    return config
