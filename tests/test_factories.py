"""Models of one's own: a function that returns a river classifier, or a pipeline."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from river import base, compose, feature_extraction, linear_model, preprocessing, stats, tree

from stream_al.config import Config, GateConfig, LearnerConfig
from stream_al.engine import Engine
from stream_al.errors import ConfigError, ModelError
from stream_al.learner.committee import Committee
from stream_al.records import Event, Features, Label


class Counting(base.Transformer):  # type: ignore[misc]
    """Passes events on, and counts what it learns from."""

    def __init__(self) -> None:
        self.learnt: list[Features] = []

    def learn_one(self, x: Features) -> None:
        """Count."""
        self.learnt.append(x)

    def transform_one(self, x: Features) -> Features:
        """Pass on."""
        return dict(x)


class SupervisedCounting(base.SupervisedTransformer):  # type: ignore[misc]
    """Passes events on, and counts the classes that it learns."""

    def __init__(self) -> None:
        self.learnt: list[tuple[Features, int]] = []

    def learn_one(self, x: Features, y: int) -> None:
        """Count."""
        self.learnt.append((x, y))

    def transform_one(self, x: Features) -> Features:
        """Pass on, with the number of classes met."""
        return {**x, "met": float(len({y for _, y in self.learnt}))}


class Recording(base.Classifier):  # type: ignore[misc]
    """Predicts nothing, and keeps what it learns."""

    def __init__(self) -> None:
        self.learnt: list[tuple[Features, Any, float]] = []

    @property
    def _multiclass(self) -> bool:
        return True

    def learn_one(self, x: Features, y: Any, w: float = 1.0) -> None:
        """Keep."""
        self.learnt.append((x, y, w))

    def predict_proba_one(self, x: Features) -> dict[Any, float]:  # noqa: ARG002
        """Return nothing."""
        return {}


def bare() -> Any:
    """Make a tree."""
    return tree.HoeffdingTreeClassifier(grace_period=20)


def scaled() -> Any:
    """Make the pipeline of river's first example."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def counted() -> Any:
    """Make a pipeline that keeps account of what each step learns."""
    return Counting() | SupervisedCounting() | Recording()


def joined() -> Any:
    """Make a pipeline with a union of pipelines in it."""
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    texts = compose.SelectType(str) | preprocessing.OneHotEncoder()
    return (numbers + texts) | linear_model.LogisticRegression()


def targets() -> Any:
    """Make a pipeline whose union holds a supervised step."""
    target = feature_extraction.TargetAgg(by=["kind"], how=stats.Mean())
    return (compose.Select("a") + target) | linear_model.LogisticRegression()


def raising() -> Any:
    """Raise."""
    raise RuntimeError("no such file")


def needing(depth: int) -> Any:
    """Take an argument."""
    return tree.HoeffdingTreeClassifier(max_depth=depth)


def number() -> Any:
    """Make no model."""
    return 5


def regressor() -> Any:
    """Make a regressor."""
    return linear_model.LinearRegression()


def regressing() -> Any:
    """Make a pipeline that ends in a regressor."""
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def unended() -> Any:
    """Make a pipeline that ends in a transformer."""
    return preprocessing.StandardScaler() | preprocessing.MinMaxScaler()


def here(factory: str) -> str:
    """Name a factory of this module."""
    return f"{__name__}:{factory}"


def event(offset: int) -> Features:
    """Return an event whose kind and number tell its class."""
    return {"a": float(offset * 37 % 11) - 5.0, "kind": "x" if offset * 37 % 11 > 5 else "y"}


def truth(offset: int) -> str:
    """Return the true class."""
    return "high" if offset * 37 % 11 > 5 else "low"


@pytest.mark.parametrize("committee", [False, True])
@pytest.mark.parametrize("factory", ["bare", "joined"])
def test_models_of_ones_own_learn(factory: str, committee: bool) -> None:
    """A bare classifier gets the standard encoding, a pipeline its own, and both learn."""
    learner = Committee(LearnerConfig(model=here(factory), committee=committee, draws=2))
    right = 0
    for offset in range(300):
        x = event(offset)
        learner.observe_one(x)
        if offset >= 200:
            right += learner.predict_one(x)[truth(offset)] > 0.5
        learner.learn_one(x, truth(offset), 1.0, offset)
    assert right >= 95


def test_a_pipeline_is_the_one_that_river_runs() -> None:
    """Without a committee and calibration, predictions are those of river's own pipeline."""
    learner = Committee(LearnerConfig(model=here("scaled"), committee=False, calibrate=False))
    pipeline = scaled()
    for offset in range(100):
        x: Features = {"a": float(offset * 37 % 11), "b": float(offset % 7)}
        learner.observe_one(x)
        learner.learn_one(x, truth(offset), 1.0, offset)
        pipeline.learn_one(x, learner.classes.index(truth(offset)) == 1)
        if offset > 20:
            p = pipeline.predict_proba_one(x)[True]
            assert learner.predict_one(x)[learner.classes[1]] == pytest.approx(p)


def test_each_step_learns_from_its_own_records() -> None:
    """Unsupervised steps learn from observed events, supervised ones and classifiers from labels.

    Predicting teaches none of them.
    """
    learner = Committee(LearnerConfig(model=here("counted"), committee=False))
    unsupervised, supervised = learner._encoder._steps  # type: ignore[attr-defined]
    classifier = learner._members[0].model._classifier  # type: ignore[attr-defined]
    for offset in range(6):
        learner.observe_one({"observed": float(offset)})
        learner.predict_one({"predicted": float(offset)})
    learner.learn_one({"labelled": 1.0}, "x", 2.5, 6)
    learner.learn_one({"labelled": 2.0}, "y", 1.0, 7)
    learner.predict_one({"predicted": 9.0})
    learner.weigh_one({"predicted": 9.0}, "x")
    assert unsupervised.learnt == [{"observed": float(offset)} for offset in range(6)]
    assert supervised.learnt == [({"labelled": 1.0}, 0), ({"labelled": 2.0}, 1)]
    assert [(x["labelled"], y, w) for x, y, w in classifier.learnt] == [
        (1.0, 0, 2.5),
        (2.0, 1, 1.0),
    ]


def test_members_of_a_committee_share_one_encoder() -> None:
    """Each observed event teaches the steps once, however many members there are."""
    learner = Committee(LearnerConfig(model=here("counted"), draws=3))
    unsupervised, supervised = learner._encoder._steps  # type: ignore[attr-defined]
    for offset in range(5):
        learner.observe_one({"a": 1.0})
        learner.learn_one({"a": 1.0}, "xy"[offset % 2], 1.0, offset)
    assert (len(unsupervised.learnt), len(supervised.learnt)) == (5, 5)
    counts = [
        len(member.model._classifier.learnt)  # type: ignore[attr-defined]
        for member in learner._members
    ]
    # Without rehearsal one lesson a label; with it three more each, but none before the first.
    assert counts == [5, 5 + 4 * 3, 5 + 4 * 3]


class Leaking(base.SupervisedTransformer):  # type: ignore[misc]
    """Tells the class that it learnt last."""

    def __init__(self) -> None:
        self.last = 0

    def learn_one(self, x: Features, y: int) -> None:  # noqa: ARG002
        """Take the class."""
        self.last = y

    def transform_one(self, x: Features) -> Features:
        """Give it away."""
        return {**x, "last": float(self.last)}


def leaking() -> Any:
    """Make a pipeline that gives away the last class."""
    return Leaking() | linear_model.LogisticRegression()


@pytest.mark.parametrize("label", ["x", "y"])
def test_members_are_judged_by_what_was_known_before_the_label(label: str) -> None:
    """A supervised step that has learnt a label is not used to judge the prediction of it."""
    learner = Committee(LearnerConfig(model=here("leaking"), committee=False, calibrate=False))
    for offset in range(11):
        learner.learn_one({"a": 1.0}, "xy"[offset % 2], 1.0, offset)
    (member,) = learner._members
    loss, p = member.loss, learner.predict_one({"a": 1.0})
    learner.learn_one({"a": 1.0}, label, 1.0, 11)
    assert member.loss == pytest.approx(0.97 * loss - math.log(p[label]))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("logistics", "unknown model 'logistics'; expected one of logistic, naive-bayes"),
        ("no_such_module:factory", "cannot load 'no_such_module:factory': ModuleNotFoundError"),
        (here("no_such_factory"), "cannot load .*no_such_factory"),
        (here("raising"), "failed without arguments: RuntimeError: no such file"),
        (here("needing"), "failed without arguments: TypeError: needing"),
        (here("number"), "returned int, expected a river classifier"),
        (here("regressor"), "returned LinearRegression, expected a river classifier"),
        (here("regressing"), "expected a river classifier or a pipeline that ends in one"),
        (here("unended"), "expected a river classifier or a pipeline that ends in one"),
        (here("__doc__"), "failed without arguments: TypeError: 'str' object is not callable"),
        ("a.b:", "cannot load 'a.b:'"),
        (":factory", "cannot load ':factory'"),
        (here("targets"), "expected each of these as a step of its own"),
    ],
)
def test_wrong_factories_are_refused_before_anything_starts(model: str, said: str) -> None:
    """What is no classifier is refused in one line that names the key and what was expected."""
    with pytest.raises(ConfigError, match=rf"learner\.model: .*{said}") as caught:
        Committee(LearnerConfig(model=model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["import no_such_module", "1 +", "raise OSError('gone')"])
def test_modules_that_cannot_be_imported_are_refused(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factory's module that fails to load is a wrong configuration, whatever it raises."""
    name = f"broken_{len(content)}"
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"cannot load '{name}:factory'"):
        Committee(LearnerConfig(model=f"{name}:factory"))


class Fussy(base.Classifier):  # type: ignore[misc]
    """Predicts no number from ten on, and learns none from five on."""

    def learn_one(self, x: Features, y: Any) -> None:  # noqa: ARG002
        """Learn nothing."""
        if float(x["a"]) >= 5:
            raise KeyError("too large to learn")

    def predict_proba_one(self, x: Features) -> dict[Any, float]:
        """Know nothing."""
        if float(x["a"]) >= 10:
            raise TypeError("too large to predict")
        return {True: 0.5, False: 0.5}


def fussy() -> Any:
    """Make a pipeline whose classifier sees numbers as they are."""
    return compose.Select("a") | Fussy()


def test_what_a_model_of_ones_own_cannot_do_is_said_of_it_and_of_the_event() -> None:
    """What a user's model raises is told as its own failure, with the event or the record."""
    config = LearnerConfig(model=here("fussy"), classes=("x", "y"))
    engine = Engine(Config(gate=GateConfig(budget=1.0, burst=9.0), learner=config))
    request = engine.decide_one(Event(offset=0, features={"a": 1.0})).request
    assert request is not None
    engine.learn_one(Label(request_id=request.request_id, label="x"))
    with pytest.raises(ModelError, match=r"fussy' cannot predict event 1 in .*: TypeError: too la"):
        engine.decide_one(Event(offset=1, features={"a": 10.0}))
    request = engine.decide_one(Event(offset=2, features={"a": 5.0})).request
    assert request is not None
    with pytest.raises(ModelError, match=r"cannot learn from .* record \d+: KeyError: 'too large"):
        engine.learn_one(Label(request_id=request.request_id, label="x"))


def test_an_engine_runs_on_a_model_of_ones_own() -> None:
    """Asking, answering and learning work with a pipeline as with a preset."""
    engine = Engine(
        Config(gate=GateConfig(budget=0.5), learner=LearnerConfig(model=here("joined")))
    )
    right = 0
    for offset in range(400):
        decision = engine.decide_one(Event(offset=offset, features=event(offset)))
        right += offset >= 200 and decision.prediction.prediction == truth(offset)
        if decision.request is not None:
            engine.learn_one(Label(request_id=decision.request.request_id, label=truth(offset)))
    assert right >= 190


@pytest.mark.parametrize("factory", ["bare", "scaled", "joined"])
def test_models_of_ones_own_survive_pickling(factory: str) -> None:
    """A copy made by pickling predicts and goes on learning as the original."""
    learner = Committee(LearnerConfig(model=here(factory), draws=2))
    rows: list[Features] = [
        {"a": float(offset * 37 % 11), "b": 1.0 * offset} for offset in range(80)
    ]
    for offset, x in enumerate(rows[:40]):
        learner.observe_one(x)
        learner.learn_one(x, truth(offset), 1.0, offset)
    copied = pickle.loads(pickle.dumps(learner))  # noqa: S301
    for offset, x in enumerate(rows[40:], 40):
        assert copied.predict_one(x) == learner.predict_one(x)
        for each in (copied, learner):
            each.observe_one(x)
            each.learn_one(copy.copy(x), truth(offset), 1.0, offset)


def test_a_factory_is_looked_up_by_name() -> None:
    """The module of a factory is imported where it was not before."""
    sys.modules.pop("river.naive_bayes.bernoulli", None)
    learner = Committee(LearnerConfig(model="river.naive_bayes.bernoulli:BernoulliNB"))
    learner.learn_one({"a": "x"}, "low", 1.0, 0)
    assert learner.predict_one({"a": "x"}) == {"low": 1.0}
