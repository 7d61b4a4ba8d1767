"""From an event's features to what classifiers take."""

from __future__ import annotations

import math
from typing import Any, Protocol

from river import compose, preprocessing

from stream_al.errors import ConfigError
from stream_al.records import Features

__all__ = ["Encoder", "PipelineEncoder", "StandardEncoder"]

_UNSEEN = (0.0, 0.0)

FARTHEST = 1000.0
"""Deviations from the mean beyond which a number counts as no farther. Heavy tails carry meaning
and are left alone; one absurd number must not undo what a model has learnt."""


class Encoder(Protocol):
    """What stands between events and classifiers; shared by all members of a committee."""

    def learn_one(self, x: Features) -> None:
        """Learn from one observed event, without its label."""

    def learn_labelled(self, x: Features, k: int) -> None:
        """Learn from one labelled event of class number `k`."""

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event; learns nothing."""


class StandardEncoder:
    """Standardise numbers and one-hot encode categories.

    Means and deviations are river's `preprocessing.StandardScaler`, learnt by `learn_one` from
    observed events only; what results is cut off at `FARTHEST`. Text and booleans become
    ``name=value`` with value 1. A number that was never observed, or never varied, becomes 0.

    Parameters
    ----------
    dense
        Whether categories that an event is not of are there as 0. Linear models need no zeros;
        trees and naive Bayes learn nothing from a column that only ever holds 1. Dense encoding
        knows the categories that were observed, and no others.

    Attributes
    ----------
    moments
        Mean and inverse deviation of each number; the inverse is 0 where it never varied.

    Examples
    --------
    >>> encoder = StandardEncoder(dense=True)
    >>> encoder.learn_one({"amount": 1.0, "country": "FR"})
    >>> encoder.learn_one({"amount": 3.0, "country": "DE"})
    >>> encoder.transform_one({"amount": 4.0, "country": "DE"})
    {'country=FR': 0.0, 'country=DE': 1.0, 'amount': 2.0}
    """

    def __init__(self, *, dense: bool) -> None:
        self._dense = dense
        self._scaler = preprocessing.StandardScaler()
        self.moments: dict[str, tuple[float, float]] = {}
        self._zeros: dict[str, float] = {}

    def learn_one(self, x: Features) -> None:
        """Learn means, deviations and categories from one observed event."""
        numbers = {}
        for name, value in x.items():
            if type(value) is float or type(value) is int:
                numbers[name] = value
            elif self._dense:
                self._zeros[f"{name}={value}"] = 0.0
        scaler = self._scaler
        scaler.learn_one(numbers)
        means, variances, moments = scaler.means, scaler.vars, self.moments
        for name in numbers:
            variance = variances[name]
            moments[name] = (means[name], variance**-0.5 if variance > 0.0 else 0.0)

    def learn_labelled(self, x: Features, k: int) -> None:
        """Learn nothing: there is no supervised step."""

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event as numbers; learns nothing."""
        moments = self.moments
        encoded = self._zeros.copy()
        for name, value in x.items():
            if type(value) is float or type(value) is int:
                mean, scale = moments.get(name, _UNSEEN)
                z = (value - mean) * scale
                encoded[name] = z if -FARTHEST < z < FARTHEST else math.copysign(FARTHEST, z)
            else:
                category = f"{name}={value}"
                if not self._dense or category in encoded:
                    encoded[category] = 1.0
        return encoded


class PipelineEncoder:
    """The transformers of a user's river pipeline, all steps but the last.

    Unsupervised steps learn from observed events, supervised ones from labelled events.

    Raises
    ------
    ConfigError
        If a union holds supervised transformers: river cannot teach its parts apart.
    """

    def __init__(self, pipeline: compose.Pipeline) -> None:
        self._steps = list(pipeline.steps.values())[:-1]
        for step in self._steps:
            if isinstance(step, compose.TransformerUnion) and step._supervised:
                raise ConfigError(
                    "a TransformerUnion in the pipeline holds supervised transformers; expected "
                    "each of these as a step of its own",
                    "learner.model",
                )

    def learn_one(self, x: Features) -> None:
        """Pass the event down the steps; unsupervised ones learn from it."""
        z: Any = x
        for step in self._steps:
            if not step._supervised:
                step.learn_one(z)
            z = step.transform_one(z)

    def learn_labelled(self, x: Features, k: int) -> None:
        """Pass the event down the steps; supervised ones learn from it."""
        z: Any = x
        for step in self._steps:
            if step._supervised:
                step.learn_one(z, k)
            z = step.transform_one(z)

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event; learns nothing."""
        z: Any = x
        for step in self._steps:
            z = step.transform_one(z)
        return dict(z)
