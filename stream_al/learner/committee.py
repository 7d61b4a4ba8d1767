"""The learner: copies of one model with different memories, weighed by how well they do."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from stream_al.config import LearnerConfig
from stream_al.errors import ConfigError
from stream_al.keyed import uniform
from stream_al.learner.calibration import Calibrator, PoolCalibrator, log_odds
from stream_al.learner.encoder import StandardEncoder
from stream_al.learner.linear import LinearMember, LinearPlan
from stream_al.learner.memories import Balanced, Memory, Nothing, Past, Recent
from stream_al.learner.models import PRESETS, Encoded, Model, find_factory, make_encoder
from stream_al.records import Features

__all__ = ["Committee", "Member", "plain_member"]

_PLAIN = (0.01,)
_ONCE = (0.01, 0.03)
_REHEARSED = (0.003, 0.01, 0.03)
"""Learning rates: of the one plain model, of the members that learn each label once, and of those
that rehearse. Few labels want the high ones, many the low ones; the log loss tells."""

_SHARE = 0.002
"""Weight of an observed event in the classes' shares, once there are enough of them."""

_RECENT = 0.97
"""Share of the past log loss that a member's weight keeps from label to label."""


class Member:
    """One copy of the model, its calibration, and the log loss that its weight comes from."""

    def __init__(self, make: Callable[[], Model], *, calibrate: bool) -> None:
        self._make = make
        self.model = make()
        self.calibrator = Calibrator() if calibrate else None
        self.loss = 0.0

    def start_over(self, n_classes: int) -> None:
        """Forget everything but the loss: a model that diverged never comes back by learning."""
        self.model = self._make()
        self.model.grow(n_classes)
        self.calibrator = Calibrator() if self.calibrator else None

    def predict_one(self, x: Encoded, n_classes: int) -> list[float]:
        """Return the calibrated probabilities."""
        p = self.model.predict_one(x, n_classes)
        return self.calibrator.apply(p) if self.calibrator else p

    def judge(self, x: Encoded, k: int, n_classes: int) -> None:
        """Meet a label before learning it: move the calibration and the weight."""
        p = self.model.predict_one(x, n_classes)
        q = self.calibrator.learn_one(p, k) if self.calibrator else p[k]
        if not math.isfinite(q):
            self.start_over(n_classes)
            q = 0.0
        self.loss = _RECENT * self.loss - math.log(max(q, 1e-4))


def plain_member(config: LearnerConfig) -> Member:
    """Make a copy of the configured model, as it learns where there is no committee."""
    make = functools.partial(find_factory(config.model), _PLAIN[-1], config.seed)
    return Member(functools.partial(Model.over, make), calibrate=config.calibrate)


class Committee:
    """Everything that is learnt, but for how it is logged.

    Parameters
    ----------
    config
        Validated configuration. With ``committee = false`` there is one member, which learns
        each label once.

    Attributes
    ----------
    classes
        The known classes, declared ones first, others in order of becoming known.
    prior
        Their shares of all traffic: mean probability over the observed events, uniform at first.
    weights
        The members' shares of the prediction.
    labels
        Labels learnt from so far.
    own
        The user's own model, as it is named; empty for a preset.
    """

    def __init__(self, config: LearnerConfig) -> None:
        self._config = config
        self.own = "" if config.model in PRESETS else config.model
        self.classes: list[str] = list(config.classes)
        factory = find_factory(config.model)
        self._encoder = make_encoder(config.model)
        memories: list[tuple[Memory, tuple[float, ...]]] = [(Nothing(), _PLAIN)]
        if config.committee:
            memories = [
                (Nothing(), _ONCE),
                (Recent(config.memory), _REHEARSED),
                (Balanced(config.memory, config.balance), _REHEARSED),
            ]
        self._memories: list[tuple[Memory, list[Member]]] = []
        self._members: list[Member] = []
        for memory, rates in memories:
            members = []
            # A model without a learning rate would be the same at each: one does.
            for rate in rates if config.model == "logistic" else rates[-1:]:
                seed = config.seed + len(self._members)
                make = functools.partial(Model.over, functools.partial(factory, rate, seed))
                member = Member(make, calibrate=config.calibrate)
                member.model.grow(len(self.classes))
                members.append(member)
                self._members.append(member)
            self._memories.append((memory, members))
        self.weights = [1.0 / len(self._members)] * len(self._members)
        pooled = config.calibrate and len(self._members) > 1
        self._pool = PoolCalibrator() if pooled else None
        self.labels = 0
        self.prior = dict.fromkeys(self.classes, 1.0 / max(len(self.classes), 1))
        self._observed = 0
        self._plan: LinearPlan | None = None
        self._moved = True

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is made anew from the rest."""
        return {**self.__dict__, "_plan": None, "_moved": True}

    @property
    def shares(self) -> dict[str, float]:
        """Return the members' shares of the prediction, by memory and learning rate."""
        names = []
        for memory, members in self._memories:
            kind = type(memory).__name__.lower()
            rates = _ONCE if isinstance(memory, Nothing) else _REHEARSED
            # Where one does, the rate tells nothing apart.
            alone = len(members) == 1
            names += [kind] if alone else [f"{kind}-{rate:g}" for rate in rates]
        return dict(zip(names, self.weights, strict=True))

    def observe_one(self, x: Features) -> None:
        """Learn from an event without its label: its encoding, and the classes' shares."""
        p = self.predict_one(x)
        self._encoder.learn_one(x)
        if self.labels and len(p) > 1:
            self._observed += 1
            share = max(1.0 / (1 + self._observed), _SHARE)
            prior = self.prior
            self.prior = {name: (1.0 - share) * prior[name] + share * q for name, q in p.items()}
        self._moved = True

    def forget_one(self, request_id: str) -> None:
        """Rehearse the label of a request no more; what was learnt from it stays learnt."""
        for memory, _ in self._memories:
            memory.forget(request_id)

    def encode_one(self, x: Features) -> Encoded:
        """Return an event as the models learn it."""
        return self._encoder.lesson_one(x)

    def forget(self) -> None:
        """Rehearse nothing of what has been learnt so far; the models stay as they are."""
        for memory, _ in self._memories:
            memory.clear()

    def learn_one(
        self,
        x: Features,
        label: str,
        weight: float,
        offset: int,
        request_id: str = "",
        *,
        explored: bool = False,
    ) -> None:
        """Learn from a label, that of a request where it has one.

        Parameters
        ----------
        explored
            Whether the event was picked uniformly, whatever its features: the committee's
            calibration learns from no other.

        Raises
        ------
        ConfigError
            If classes are declared and the label is none of them.
        """
        if label not in self.classes:
            if self._config.classes:
                raise ConfigError(f"class {label!r} is not declared", "learner.classes")
            self.classes.append(label)
            self._observed = 0
            self.prior = dict.fromkeys(self.classes, 1.0 / len(self.classes))
            for member in self._members:
                member.model.grow(len(self.classes))
        k = self.classes.index(label)
        n = len(self.classes)
        z = self._encoder.lesson_one(x)
        if n > 1:
            if explored and self._pool and self.labels:
                self._pool.learn_one(self._pooled(z, n), k)
            for member in self._members:
                member.judge(z, k, n)
            if len(self._members) > 1:
                self._weigh()
        if self._encoder.learn_labelled(x, k):
            z = self._encoder.lesson_one(x)
        whole = int(weight)
        seed = self._config.seed
        times = whole + (uniform("weight", seed, offset) < weight - whole)
        past = Past(x, k, weight, times, request_id)
        for i, (memory, members) in enumerate(self._memories):
            drawn = memory.draw(self._config.draws, "rehearse", seed, i, offset)
            lessons = [(self._encoder.lesson_one(d.x), d.k, d.weight, d.times) for d in drawn]
            for member in members:
                learn_one = member.model.learn_one
                for lesson in lessons:
                    learn_one(*lesson)
                learn_one(z, k, weight, past.times)
            memory.add(past)
        self.labels += 1
        self._moved = True

    def predict_one(self, x: Features) -> dict[str, float]:
        """Return the probability of each known class, in order of becoming known.

        Uniform before the first label and wherever a model diverged; empty before any class is
        known.
        """
        if self._moved:
            self._renew_plan()
        if self._plan is not None:
            q = self._plan.predict_one(x)
            if q is not None:
                first, second = self.classes
                return {first: 1.0 - q, second: q} if q == q else {first: 0.5, second: 0.5}
        n = len(self.classes)
        if not self.labels or n < 2:
            return dict.fromkeys(self.classes, 1.0 / n) if n else {}
        z = self._encoder.transform_one(x)
        if any(value != value for value in z.values()):
            return dict.fromkeys(self.classes, 1.0 / n)
        return dict(zip(self.classes, self._mix(z, n), strict=True))

    def predict_many(self, xs: Sequence[Features]) -> list[dict[str, float]] | None:
        """Return what `predict_one` does of each; None where that has to be done one by one."""
        if self._moved:
            self._renew_plan()
        found = None if self._plan is None else self._plan.predict_many(xs)
        if found is None:
            return None
        first, second = self.classes
        return [{first: 1.0 - q, second: q} if q == q else {first: 0.5, second: 0.5} for q in found]

    def weigh_one(self, x: Features, towards: str, most: int = 5) -> dict[str, float]:
        """Return what the features that count most contribute to the prediction of a class.

        A contribution is a part of that class's log odds: for linear models slope times distance
        from the feature's mean; for others the change when the encoded feature is set to 0, that
        is to its mean, or to "not of this category" (occlusion; Zeiler and Fergus 2014). Empty
        before two classes are known.
        """
        n = len(self.classes)
        if not self.labels or n < 2:
            return {}
        k = self.classes.index(towards)
        if self._moved:
            self._renew_plan()
        parts = None if self._plan is None else self._plan.weigh_one(x)
        if parts is None:
            parts = self._occlude(self._encoder.transform_one(x), k, n)
        elif k == 0:
            parts = {name: -part for name, part in parts.items()}
        strongest = sorted([(-abs(part), name) for name, part in parts.items() if part])[:most]
        return {name: parts[name] for _, name in strongest}

    def _occlude(self, z: Encoded, k: int, n: int) -> dict[str, float]:
        whole = log_odds(self._mix(z, n)[k])
        found = {}
        for name in z:
            without = {other: value for other, value in z.items() if other != name}
            if not isinstance(z[name], str):
                without[name] = 0.0
            found[name] = whole - log_odds(self._mix(without, n)[k])
        return found

    def _mix(self, z: Encoded, n: int) -> list[float]:
        p = self._pooled(z, n)
        return self._pool.apply(p) if self._pool else p

    def _pooled(self, z: Encoded, n: int) -> list[float]:
        members = self._members
        if len(members) == 1:
            p = members[0].predict_one(z, n)
        else:
            p = [0.0] * n
            for member, weight in zip(members, self.weights, strict=True):
                for k, q in enumerate(member.predict_one(z, n)):
                    p[k] += weight * q
        # Not a number is not equal to itself; it spreads to every class, so one tells.
        return p if p[0] == p[0] else [1.0 / n] * n

    def _weigh(self) -> None:
        best = min(member.loss for member in self._members)
        raw = [math.exp(best - member.loss) for member in self._members]
        total = sum(raw)
        self.weights = [r / total for r in raw]

    def _renew_plan(self) -> None:
        self._plan = self._linear_plan()
        self._moved = False

    def _linear_plan(self) -> LinearPlan | None:
        if not isinstance(self._encoder, StandardEncoder):
            return None
        if not self.labels or len(self.classes) != 2:
            return None
        found = []
        for member, share in zip(self._members, self.weights, strict=True):
            linear = member.model.linear()
            if linear is None:
                return None
            found.append(LinearMember(*linear, member.calibrator, share))
        return LinearPlan(self._encoder.moments, found, self._pool)
