"""River classifiers behind one interface, in terms of class numbers."""

from __future__ import annotations

import abc
import collections
import copy
import importlib
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from river import base, compose, forest, linear_model, naive_bayes, optim, proba, tree

from stream_al.errors import ConfigError
from stream_al.learner.encoder import Categories, Encoder, PipelineEncoder, StandardEncoder

__all__ = ["PRESETS", "Classifier", "Factory", "Model", "find_factory", "make_encoder"]

Encoded: TypeAlias = dict[str, float]
Classifier: TypeAlias = Any
"""A river classifier; river ships no type information that a checker could use."""

Factory: TypeAlias = Callable[[float, int], Classifier]
"""Makes a fresh river classifier from a learning rate and a seed."""


def _logistic(rate: float, seed: int) -> Classifier:  # noqa: ARG001
    return linear_model.LogisticRegression(optimizer=optim.SGD(rate), intercept_lr=rate)


def _naive_bayes(rate: float, seed: int) -> Classifier:  # noqa: ARG001
    classifier = naive_bayes.GaussianNB()
    classifier.gaussians = collections.defaultdict(_gaussians)
    return classifier


def _gaussians() -> dict[str, proba.Gaussian]:
    return collections.defaultdict(_gaussian)


def _gaussian() -> proba.Gaussian:
    """Begin with a tenth of a standardised event: river's has no density where nothing varies.

    That is so wherever one category decides the class: there the column is all 1, or all 0.
    """
    gaussian = proba.Gaussian()
    gaussian.update(-1.0, 0.05)
    gaussian.update(1.0, 0.05)
    return gaussian


def _hoeffding_tree(rate: float, seed: int) -> Classifier:  # noqa: ARG001
    # Labels are few: river's 200 between attempts to split would let hundreds go by unused.
    return tree.HoeffdingTreeClassifier(grace_period=50)


def _adaptive_forest(rate: float, seed: int) -> Classifier:  # noqa: ARG001
    return forest.ARFClassifier(seed=seed)


def _mondrian_forest(rate: float, seed: int) -> Classifier:  # noqa: ARG001
    return forest.AMFClassifier(seed=seed)


PRESETS: dict[str, Factory] = {
    "logistic": _logistic,
    "naive-bayes": _naive_bayes,
    "hoeffding-tree": _hoeffding_tree,
    "adaptive-forest": _adaptive_forest,
    "mondrian-forest": _mondrian_forest,
}
"""The models that can be named; ``logistic`` alone has a learning rate."""

_CATEGORIES: dict[str, Categories] = {"logistic": "sparse", "hoeffding-tree": "nominal"}
"""How presets take categories, where not ``dense``."""


def find_factory(model: str) -> Factory:
    """Find the preset or the user's own factory ``package.module:factory``.

    A user's factory takes no arguments and returns a river classifier or a pipeline that ends in
    one. It is called once here, so that a wrong one is refused before anything starts.

    Raises
    ------
    ConfigError
        If there is no such preset, module or factory, or it returns no classifier.

    Examples
    --------
    >>> type(find_factory("river.tree:HoeffdingTreeClassifier")(0.01, 0)).__name__
    'HoeffdingTreeClassifier'
    """
    where = "learner.model"
    if model in PRESETS:
        return PRESETS[model]
    if ":" not in model:
        known = ", ".join(PRESETS)
        raise ConfigError(
            f"unknown model {model!r}; expected one of {known}, or package.module:factory", where
        )
    try:
        factory = _import_factory(model)
    # Importing runs the user's code, so anything may come of it.
    except Exception as error:
        raise ConfigError(
            f"cannot load {model!r}: {type(error).__name__}: {error}", where
        ) from error
    try:
        made = factory()
    # Whatever the user's code raises is theirs to mend.
    except Exception as error:
        raise ConfigError(
            f"{model!r} failed without arguments: {type(error).__name__}: {error}", where
        ) from error
    if not isinstance(_last_step(made), base.Classifier):
        raise ConfigError(
            f"{model!r} returned {type(made).__name__}, expected a river classifier "
            "or a pipeline that ends in one",
            where,
        )
    return _UserFactory(model)


class _UserFactory:
    """A user's factory, named and not held, so that a snapshot can be taken of what it made."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, rate: float, seed: int) -> Classifier:  # noqa: ARG002
        return _last_step(_import_factory(self._model)())


def _import_factory(model: str) -> Callable[[], Classifier]:
    """Import what ``package.module:factory`` names; whatever the import raises comes through."""
    module_name, _, name = model.partition(":")
    factory: Callable[[], Classifier] = getattr(importlib.import_module(module_name), name)
    return factory


def _last_step(made: Classifier) -> Classifier:
    return list(made.steps.values())[-1] if isinstance(made, compose.Pipeline) else made


def make_encoder(model: str) -> Encoder:
    """Make the encoder for a model: a pipeline's own steps, else the standard one."""
    if model in PRESETS:
        return StandardEncoder(_CATEGORIES.get(model, "dense"))
    made = _import_factory(model)()
    if isinstance(made, compose.Pipeline):
        return PipelineEncoder(made)
    return StandardEncoder("dense")


class Model(abc.ABC):
    """A classifier over class numbers 0, 1, … that may grow in number."""

    @staticmethod
    def over(make: Callable[[], Classifier]) -> Model:
        """Wrap what `make` makes, by whether it takes more than two classes itself."""
        made = make()
        return _Native(made) if made._multiclass else _OneVersusRest(make)

    @abc.abstractmethod
    def grow(self, n_classes: int) -> None:
        """Make room for so many classes."""

    @abc.abstractmethod
    def learn_one(self, x: Encoded, k: int, weight: float, times: int) -> None:
        """Learn that `x` is of class `k`.

        A classifier that takes weights learns once, with `weight`; another learns `times` times,
        which is the weight drawn to a whole number.
        """

    @abc.abstractmethod
    def predict_one(self, x: Encoded, n_classes: int) -> list[float]:
        """Return the probabilities of classes 0 to n_classes - 1 (at least 2), adding up to 1."""

    def linear(self) -> tuple[dict[str, float], float] | None:
        """Return weights and intercept where the second class's log odds are linear, else None."""
        return None


def _teach(
    classifier: Classifier, weighted: bool, x: Encoded, y: int, weight: float, times: int
) -> None:
    if weighted:
        classifier.learn_one(x, y, w=weight)
    else:
        for _ in range(times):
            classifier.learn_one(x, y)


def _takes_weight(classifier: Classifier) -> bool:
    return "w" in inspect.signature(classifier.learn_one).parameters


class _Native(Model):
    """A classifier that takes any number of classes."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._weighted = _takes_weight(classifier)

    def grow(self, n_classes: int) -> None:
        """Nothing to do: the classifier grows as it learns."""

    def learn_one(self, x: Encoded, k: int, weight: float, times: int) -> None:
        _teach(self._classifier, self._weighted, x, k, weight, times)

    def predict_one(self, x: Encoded, n_classes: int) -> list[float]:
        known = self._classifier.predict_proba_one(x)
        p = [known.get(k, 0.0) for k in range(n_classes)]
        return _normalised(p)


class _OneVersusRest(Model):
    """A binary classifier for two classes; one for each class when there are more.

    The classifier of two classes serves on as that of the second, and its mirror image as that
    of the first, so that a third class that turns up late costs nothing that was learnt.
    """

    def __init__(self, make: Callable[[], Classifier]) -> None:
        self._make = make
        self._pair = make()
        self._weighted = _takes_weight(self._pair)
        self._each: list[tuple[Classifier, bool]] = []

    def grow(self, n_classes: int) -> None:
        if n_classes <= 2:
            return
        if not self._each:
            self._each = [(copy.deepcopy(self._pair), True), (self._pair, False)]
        while len(self._each) < n_classes:
            self._each.append((self._make(), False))

    def learn_one(self, x: Encoded, k: int, weight: float, times: int) -> None:
        if not self._each:
            _teach(self._pair, self._weighted, x, k == 1, weight, times)
            return
        for j, (classifier, mirrored) in enumerate(self._each):
            _teach(classifier, self._weighted, x, (j == k) != mirrored, weight, times)

    def predict_one(self, x: Encoded, n_classes: int) -> list[float]:  # noqa: ARG002 - see grow
        if not self._each:
            p = self._pair.predict_proba_one(x).get(True, 0.5)
            return [1.0 - p, p]
        return _normalised(
            [
                classifier.predict_proba_one(x).get(not mirrored, 0.0)
                for classifier, mirrored in self._each
            ]
        )

    def linear(self) -> tuple[dict[str, float], float] | None:
        pair = self._pair
        if self._each or type(pair) is not linear_model.LogisticRegression:
            return None
        if type(pair.loss) is not optim.losses.Log:
            return None
        return pair.weights, pair.intercept


def _normalised(p: list[float]) -> list[float]:
    total = sum(p)
    if total > 0.0:
        return [q / total for q in p]
    return [1.0 / len(p)] * len(p)
