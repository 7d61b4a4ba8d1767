"""What a stream is compared with: labels at random, and river's own pieces, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from river import linear_model, multiclass, preprocessing

from stream_al import keyed
from stream_al.errors import ConfigError
from stream_al.records import Features
from stream_al.replay.prequential import Scores, StreamScores
from stream_al.replay.sources import Source

__all__ = ["BaselineReport", "random_asking"]

_STEP = 500


class BaselineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a baseline came to.

    Attributes
    ----------
    events, asked
        Events predicted; labels asked for, all of which were learnt.
    metrics, metrics_second_half
        Scores of all predictions, asked or not.
    seconds
        Wall time, reading included.
    """

    events: int
    asked: int
    metrics: Scores
    metrics_second_half: Scores | None
    seconds: float


def random_asking(
    source: Source,
    classes: tuple[str, ...],
    ratio: float,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> BaselineReport:
    """Play a stream through a plain river loop that asks for labels at random.

    Numbers are standardised by river's scaler, which learns from every event; text and booleans
    are one-hot encoded. River's logistic regression, with river's defaults (one against the rest
    where there are more than two classes), learns each label once, right after its event was
    predicted.

    Parameters
    ----------
    source
        The recorded stream.
    classes
        All classes, at least two.
    ratio
        Probability of asking about an event, in [0, 1].
    seed
        Key of the draws.
    progress
        Told of numbers of further events that were played.

    Raises
    ------
    ConfigError
        If there are less than two classes.
    InputError
        At a row that cannot be used, unless such rows are skipped.

    Examples
    --------
    >>> from stream_al import SourceConfig
    >>> from stream_al.replay.sources import open_source
    >>> source = open_source("river:Phishing", SourceConfig(label="is_phishing"))
    >>> report = random_asking(source, ("false", "true"), ratio=0.1)
    >>> report.events, 90 < report.asked < 160, report.metrics.accuracy > 0.8
    (1250, True, True)
    """
    if len(classes) < 2:
        raise ConfigError(f"expected at least two, not {list(classes)}", "classes")
    started = time.perf_counter()
    model = _PlainModel(classes)
    scores = StreamScores(source.count())
    events = asked = 0
    for row in source.rows():
        x = model.encode(row.event.features)
        probabilities = model.predict_one(x)
        prediction = max(classes, key=probabilities.__getitem__)
        scores.update(row.truth, prediction, probabilities)
        if keyed.uniform("random asking", seed, events) < ratio:
            asked += 1
            model.learn_one(x, row.truth)
        events += 1
        if progress is not None and not events % _STEP:
            progress(_STEP)
    if progress is not None:
        progress(events % _STEP)
    return BaselineReport(
        events=events,
        asked=asked,
        metrics=scores.whole(),
        metrics_second_half=scores.second_half(),
        seconds=time.perf_counter() - started,
    )


class _PlainModel:
    """Scaler, one-hot encoding and logistic regression."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._scaler = preprocessing.StandardScaler()
        classifier: Any = linear_model.LogisticRegression()
        if len(classes) > 2:
            classifier = multiclass.OneVsRestClassifier(classifier)
        self._classifier = classifier

    def encode(self, x: Features) -> dict[str, Any]:
        """Encode an event, from which the scaler learns."""
        numbers = {name: value for name, value in x.items() if not isinstance(value, str | bool)}
        self._scaler.learn_one(numbers)
        encoded: dict[str, Any] = self._scaler.transform_one(numbers)
        for name, value in x.items():
            if isinstance(value, str | bool):
                encoded[f"{name}={value}"] = 1
        return encoded

    def predict_one(self, x: dict[str, Any]) -> dict[str, float]:
        """Return the probability of each class; uniform before the first label."""
        found = self._classifier.predict_proba_one(x)
        if len(self._classes) == 2:
            first, second = self._classes
            return {first: found[False], second: found[True]}
        if not any(found.values()):
            return dict.fromkeys(self._classes, 1.0 / len(self._classes))
        return {name: found.get(name, 0.0) for name in self._classes}

    def learn_one(self, x: dict[str, Any], label: str) -> None:
        """Learn a label."""
        known = len(self._classes) > 2
        self._classifier.learn_one(x, label if known else label == self._classes[1])
