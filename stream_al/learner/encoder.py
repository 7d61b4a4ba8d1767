"""From an event's features to what classifiers take."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any, Literal, Protocol, TypeAlias

from river import compose, preprocessing

from stream_al.errors import ConfigError, InputError
from stream_al.records import Features

__all__ = ["Categories", "Encoder", "PipelineEncoder", "StandardEncoder"]

_UNSEEN = (0.0, 0.0)

FARTHEST = 1000.0
"""Deviations from the mean beyond which a number counts as no farther. Heavy tails carry meaning
and are left alone; one absurd number must not undo what a model has learnt."""


Categories: TypeAlias = Literal["sparse", "dense", "nominal"]
"""How categories are encoded; see `StandardEncoder`."""


class Encoder(Protocol):
    """What stands between events and classifiers; shared by all members of a committee."""

    def learn_one(self, x: Features) -> None:
        """Learn from one observed event, without its label."""

    def learn_labelled(self, x: Features, k: int) -> bool:
        """Learn from one labelled event of class number `k`; tell whether anything moved."""

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event that is to be predicted; learns nothing."""

    def lesson_one(self, x: Features) -> dict[str, Any]:
        """Encode one event that classifiers are to learn from; learns nothing itself."""


class StandardEncoder:
    """Standardise numbers and encode categories.

    Means and deviations are river's `preprocessing.StandardScaler`, learnt by `learn_one` from
    observed events only; in lessons, what results is cut off at `FARTHEST`. A number that was
    never observed, or never varied, becomes 0. A boolean in a column of numbers is a number.

    Parameters
    ----------
    categories
        What becomes of text and booleans. ``sparse``: ``name=value`` is 1, for linear models, which
        need no zeros. ``dense``: the other categories that were observed are 0 besides, for models
        that learn nothing from a column that only ever holds 1; an unobserved category is left
        out. ``nominal``: they stay text, as ``name=``, for trees that split on it.

    Attributes
    ----------
    moments
        Mean and inverse deviation of each number; the inverse is 0 where it never varied.

    Examples
    --------
    >>> encoder = StandardEncoder("dense")
    >>> encoder.learn_one({"amount": 1.0, "country": "FR"})
    >>> encoder.learn_one({"amount": 3.0, "country": "DE"})
    >>> encoder.transform_one({"amount": 4.0, "country": "DE"})
    {'country=FR': 0.0, 'country=DE': 1.0, 'amount': 2.0}
    """

    def __init__(self, categories: Categories) -> None:
        self._categories = categories
        self._scaler = preprocessing.StandardScaler()
        self.moments: dict[str, tuple[float, float]] = {}
        self._zeros: dict[str, float] = {}

    def learn_one(self, x: Features) -> None:
        """Learn means, deviations and categories from one observed event."""
        moments = self.moments
        numbers = {}
        for name, value in x.items():
            if type(value) is float or type(value) is int or _is_number(name, value, moments):
                numbers[name] = value
            elif self._categories == "dense":
                self._zeros[f"{name}={value}"] = 0.0
        scaler = self._scaler
        scaler.learn_one(numbers)
        means, variances = scaler.means, scaler.vars
        for name in numbers:
            variance = variances[name]
            moments[name] = (means[name], variance**-0.5 if variance > 0.0 else 0.0)

    def learn_labelled(self, x: Features, k: int) -> bool:  # noqa: ARG002
        """Learn nothing: there is no supervised step."""
        return False

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event; learns nothing.

        Raises
        ------
        InputError
            If a value is no number, text or boolean.
        """
        moments = self.moments
        encoded: dict[str, Any] = self._zeros.copy()
        value: Any
        for name, value in x.items():
            if type(value) is float or type(value) is int or _is_number(name, value, moments):
                mean, scale = moments.get(name, _UNSEEN)
                encoded[name] = (value - mean) * scale
            elif self._categories == "nominal":
                # Named apart from a number of the same name: a tree takes one kind a column.
                encoded[f"{name}="] = str(value)
            else:
                category = f"{name}={value}"
                if self._categories == "sparse" or category in encoded:
                    encoded[category] = 1.0
        return encoded

    def lesson_one(self, x: Features) -> dict[str, Any]:
        """Encode one event, its numbers cut off; learns nothing."""
        encoded = self.transform_one(x)
        for name, value in encoded.items():
            if not isinstance(value, str) and not -FARTHEST < value < FARTHEST:
                encoded[name] = math.copysign(FARTHEST, value)
        return encoded


def _is_number(name: str, value: object, numbers: Container[str]) -> bool:
    """Tell numbers of rarer types from categories."""
    if isinstance(value, bool):
        return name in numbers
    if isinstance(value, str):
        return False
    if isinstance(value, float | int):
        return True
    raise InputError(
        f"feature {name!r} is of type {type(value).__name__}; expected a number, text or boolean"
    )


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

    def learn_labelled(self, x: Features, k: int) -> bool:
        """Pass the event down the steps; supervised ones learn from it."""
        z: Any = x
        for step in self._steps:
            if step._supervised:
                step.learn_one(z, k)
            z = step.transform_one(z)
        return any(step._supervised for step in self._steps)

    def transform_one(self, x: Features) -> dict[str, Any]:
        """Encode one event; learns nothing."""
        z: Any = x
        for step in self._steps:
            z = step.transform_one(z)
        return dict(z)

    def lesson_one(self, x: Features) -> dict[str, Any]:
        """Encode one event; learns nothing."""
        return self.transform_one(x)
