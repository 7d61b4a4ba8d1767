"""The contracts of policies and scores, as checks to run on anyone's own."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from stream_al import keyed
from stream_al.config import GateConfig
from stream_al.gate.gate import Gate
from stream_al.gate.policies import Policy
from stream_al.gate.scores import Score
from stream_al.records import Event, ModelStamp

__all__ = ["check_policy", "check_score"]

_T = TypeVar("_T")

_STEPS = 20_000

_STAMP = ModelStamp("checked", 0, "")

_SEQUENCES: dict[str, Callable[[int], float]] = {
    "constant 0": lambda _: 0.0,
    "constant 1": lambda _: 1.0,
    "constant 0.5": lambda _: 0.5,
    "0 and 1 in turn": lambda i: float(i % 2),
    "uniform": lambda i: keyed.uniform("check", i),
    "tied at three values": lambda i: (0.25, 0.25, 0.5, 0.75)[keyed.below(4, "check", i)],
    "bursts of 1 among 0": lambda i: float(i % 500 >= 480),
    "all 0, then all 1": lambda i: float(i >= _STEPS // 2),
    "all 1, then all 0": lambda i: float(i < _STEPS // 2),
}
"""What has broken thresholds: nothing to tell events apart, saturation, spikes."""

_SCORES = (0.0, 5e-324, 1e-12, 0.25, 0.5, 0.75, 1.0 - 2.0**-53, 1.0)

_GATES = (
    GateConfig(budget=0.02),
    GateConfig(budget=0.3, explore=0.0, burst=2.0),
    GateConfig(budget=1.0, explore=0.3),
)


def check_policy(make: Callable[[], Policy]) -> None:
    """Check that a policy keeps the contract of `stream_al.gate.policies.Policy`.

    The policy is led by long sequences of scores (constant, tied, saturated, random, in bursts),
    alone and inside of gates. It must be pure, give probabilities in [0, 1] and thresholds and
    levels that are finite, survive pickling, and be held to the budget at every event.

    Parameters
    ----------
    make
        Makes the policy; called more than once, to tell whether a used policy still does as a
        fresh one.

    Raises
    ------
    AssertionError
        At the first duty that is broken, with the values that broke it.

    Examples
    --------
    >>> from stream_al.gate.policies import Fixed, Quantile
    >>> check_policy(lambda: Quantile(rate=0.02))

    >>> class Overeager(Fixed, frozen=True):
    ...     def propose(self, level, score):
    ...         return self.at, 2.0 * score
    >>> check_policy(lambda: Overeager(at=0.5))
    Traceback (most recent call last):
        ...
    AssertionError: Overeager.propose(0.0, 0.75) must give a probability in [0, 1], not 1.5
    """
    used = _Checked(make())
    met = [used.initial()]
    for name, score_of in _SEQUENCES.items():
        met.append(_lead(used, name, score_of))
    _check_same(used, _Checked(make()), met, "a fresh one: only the level may remember anything")
    copied = _Checked(_pickled(used.policy))
    _check_same(used, copied, met, "its pickled copy")
    for config in _GATES:
        for name, score_of in _SEQUENCES.items():
            _check_budget(config, make(), name, score_of)


class _Checked:
    """A policy whose every answer is checked."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._name = type(policy).__name__

    def initial(self) -> float:
        return self._level(self.policy.initial, ())

    def moved(self, level: float, score: float, asked: bool) -> float:
        return self._level(self.policy.moved, (level, score, asked))

    def propose(self, level: float, score: float) -> tuple[float, float]:
        arguments = (level, score)
        proposal = self._call(self.policy.propose, arguments)
        if not isinstance(proposal, tuple) or len(proposal) != 2:
            self._fail("propose", arguments, "a threshold and a probability", proposal)
        for value, what in zip(proposal, ("threshold", "probability"), strict=True):
            if not (_is_plain(value) and 0.0 <= value <= 1.0):
                self._fail("propose", arguments, f"a {what} in [0, 1]", value)
        return proposal

    def _level(self, method: Callable[..., float], arguments: tuple[object, ...]) -> float:
        level = self._call(method, arguments)
        if not (_is_plain(level) and math.isfinite(level)):
            self._fail(method.__name__, arguments, "a finite float", level)
        return level

    def _call(self, method: Callable[..., _T], arguments: tuple[object, ...]) -> _T:
        try:
            return method(*arguments)
        except Exception as error:
            raise AssertionError(
                f"{self._text(method.__name__, arguments)} must not raise: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _fail(
        self, method: str, arguments: tuple[object, ...], expected: str, value: object
    ) -> NoReturn:
        raise AssertionError(f"{self._text(method, arguments)} must give {expected}, not {value!r}")

    def _text(self, method: str, arguments: tuple[object, ...]) -> str:
        return f"{self._name}.{method}({', '.join(map(repr, arguments))})"


def _is_plain(value: object) -> bool:
    # What is decided is written as JSON, which other types of numbers are not.
    return type(value) in (float, int)


def _lead(policy: _Checked, name: str, score_of: Callable[[int], float]) -> float:
    """Lead a policy through a sequence of scores, as a gate with tokens would."""
    level = policy.initial()
    for i in range(_STEPS):
        score = score_of(i)
        _, p = policy.propose(level, score)
        asked = p >= 1.0 or (p > 0.0 and keyed.uniform("check", name, i) < p)
        if i % 1_000 == 0:
            _check_same(policy, policy, [level], "itself, called again")
        level = policy.moved(level, score, asked)
    return level


def _check_same(one: _Checked, other: _Checked, levels: Sequence[float], whom: str) -> None:
    name = type(one.policy).__name__
    if one.initial() != other.initial():
        raise AssertionError(f"{name}.initial() must be the same as of {whom}")
    for level in levels:
        for score in _SCORES:
            if one.propose(level, score) != other.propose(level, score):
                raise AssertionError(
                    f"{name}.propose({level!r}, {score!r}) must be the same as of {whom}"
                )
            for asked in (True, False):
                if one.moved(level, score, asked) != other.moved(level, score, asked):
                    raise AssertionError(
                        f"{name}.moved({level!r}, {score!r}, {asked}) must be the same as of {whom}"
                    )


def _pickled(policy: Policy) -> Policy:
    try:
        copied: Policy = pickle.loads(pickle.dumps(policy))  # noqa: S301 - of our own making
    except Exception as error:
        raise AssertionError(f"{type(policy).__name__} must survive pickling: {error}") from error
    return copied


def _check_budget(
    config: GateConfig, policy: Policy, name: str, score_of: Callable[[int], float]
) -> None:
    gate = Gate(config, score=lambda p, _: p["score"], policy=policy)
    state = gate.fresh_state()
    for i in range(1_000):
        event, p = Event(offset=i, features={}), {"score": score_of(i), "": 0.0}
        predicted = gate.decide(state, event, p, p, _STAMP, lambda _, __: {}, None).prediction
        if state.requests > config.budget * (i + 1) + config.burst + 1e-9:
            raise AssertionError(
                f"{type(policy).__name__} must be held to the budget: {state.requests} of {i + 1} "
                f"events asked at budget {config.budget}, burst {config.burst}, scores {name}"
            )
        if not 0.0 < predicted.propensity <= 1.0 and predicted.action == "ask":
            raise AssertionError(
                f"{type(policy).__name__} must ask with a propensity in (0, 1], "
                f"not {predicted.propensity!r}: scores {name}, event {i}"
            )


def check_score(
    score: Score,
    *,
    classes: Sequence[str] = tuple("abcdefgh"),
    symmetric: bool = True,
    highest_when_uniform: bool = True,
) -> None:
    """Check that a score keeps the contract of `stream_al.gate.scores.Score`.

    Probabilities of two classes and more are tried (uniform, certain, nearly certain, tied and
    random), each with priors where all classes are as frequent, where they are not, and where one
    is not there. The score must be a plain float in [0, 1] (to within 1e-9), be pure, leave what
    it is given as it is, and not depend on the order that classes come in.

    Parameters
    ----------
    score
        The function to check.
    classes
        Names to try it with: the first two, the first three, and so on to all of them. For a score
        that knows a class by name, name it among them.
    symmetric
        Whether renaming the classes must change nothing; false for `stream_al.gate.scores.risk`
        and its like.
    highest_when_uniform
        Whether, with classes that are as frequent, no probabilities may score higher than equal
        ones.

    Raises
    ------
    AssertionError
        At the first duty that is broken, with the values that broke it.

    Examples
    --------
    >>> import functools
    >>> from stream_al.gate.scores import margin, risk
    >>> check_score(margin)
    >>> check_score(
    ...     functools.partial(risk, named="b"), symmetric=False, highest_when_uniform=False
    ... )
    >>> check_score(lambda p, prior: 1.0 + max(p.values()))
    Traceback (most recent call last):
        ...
    AssertionError: score({'a': 0.5, 'b': 0.5}, {'a': 0.5, 'b': 0.5}) must be in [0, 1], not 1.5
    """
    for n in range(2, len(classes) + 1):
        names = list(classes[:n])
        equal = [1.0 / n] * n
        highest = _scored(score, names, equal, equal)
        for shares in _distributions(n):
            if (
                highest_when_uniform
                and (found := _scored(score, names, shares, equal)) > highest + 1e-9
            ):
                raise AssertionError(
                    f"score of {shares} must not be above {highest!r}, which is that of equal "
                    f"probabilities, but is {found!r}"
                )
            for prior in (equal, _geometric(n), [0.0] * (n - 1) + [1.0]):
                value = _scored(score, names, shares, prior)
                turned = _scored(score, names[::-1], shares[::-1], prior[::-1])
                _need_close(value, turned, shares, prior, "another order of classes")
                if symmetric:
                    renamed = _scored(score, names[1:] + names[:1], shares, prior)
                    _need_close(value, renamed, shares, prior, "other names of classes")


def _geometric(n: int) -> list[float]:
    """Share each class a tenth of the one before."""
    total = sum(0.1**k for k in range(n))
    return [0.1**k / total for k in range(n)]


def _distributions(n: int) -> list[list[float]]:
    found = [[1.0 / n] * n, _geometric(n)]
    for k in range(n):
        for own in (0.0, 0.5, 0.999, 1.0 - 1e-12, 1.0):
            rest = (1.0 - own) / (n - 1)
            found.append([own if j == k else rest for j in range(n)])
    for i in range(20):
        # Exponential draws, made to add up to 1, are uniform over all distributions.
        draws = [-math.log(1.0 - keyed.uniform("check", n, i, k)) for k in range(n)]
        found.append([draw / sum(draws) for draw in draws])
    return found


def _scored(
    score: Score, names: list[str], shares: list[float], prior_shares: list[float]
) -> float:
    p = dict(zip(names, shares, strict=True))
    prior = dict(zip(names, prior_shares, strict=True))
    text = f"score({p!r}, {prior!r})"
    try:
        value, again = score(p, prior), score(p, prior)
    except Exception as error:
        raise AssertionError(f"{text} must not raise: {type(error).__name__}: {error}") from error
    if text != f"score({p!r}, {prior!r})":
        raise AssertionError(f"{text} must leave what it is given, not make it {p!r}, {prior!r}")
    if not _is_plain(value):
        raise AssertionError(f"{text} must be a plain float, not {value!r}")
    if not -1e-9 <= value <= 1.0 + 1e-9:
        raise AssertionError(f"{text} must be in [0, 1], not {value!r}")
    if value != again:
        raise AssertionError(f"{text} must be the same each time, not {value!r}, then {again!r}")
    return value


def _need_close(
    value: float, other: float, shares: list[float], prior: list[float], whose: str
) -> None:
    if abs(value - other) > 1e-9:
        raise AssertionError(
            f"score of {shares}, prior {prior}, is {value!r}, and must be the same with {whose}, "
            f"not {other!r}"
        )
