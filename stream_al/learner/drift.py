"""Drift: whether labels, errors or features are no longer what the model makes of them."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, TypeAlias

import msgspec

from stream_al.learner.calibration import log_odds
from stream_al.learner.drift_detectors import Chart, Scale, window
from stream_al.records import Features, Observed
from stream_al.training import Labelled

__all__ = ["Alarm", "Cause", "Drift", "DriftPlan"]

Cause: TypeAlias = Literal["residual", "error", "features"]

_KEPT = 50
_MOST_FEATURES = 100
"""Features that are watched at most, the first ones met: names may be as many as events."""

_MOST_CHARTS = 100
"""Charts of classes by features at most; where there would be more there are none of them."""


class DriftPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How drift is looked for.

    Attributes
    ----------
    shift
        Change of log odds that the charts of residuals find soonest.
    limit
        What a chart's sum must exceed, in nats; each further unit makes false alarms about
        e = 2.7 times as rare and delays about 1 / limit longer.
    warm_up
        Labels after the start, and after each alarm, that only calibrate the charts.
    trust
        As of `stream_al.learner.drift_detectors.Chart`.
    error_delta, feature_delta
        Significance of the windows over errors, and over each feature.
    reference
        Observed events that a feature's usual values are taken from.
    """

    shift: float = 0.6
    limit: float = 5.0
    warm_up: int = 100
    trust: float = 32.0
    error_delta: float = 0.01
    feature_delta: float = 0.002
    reference: int = 100


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A drift that was found.

    Attributes
    ----------
    cause
        ``residual``: labels differ from the calibrated probabilities, in one direction.
        ``error``: explored events are predicted wrong more often than before.
        ``features``: observed events are no longer what they were.
    detail
        For people.
    topic, partition, offset
        The event whose record raised it.
    version
        Offset in the training log of that record + 1.
    """

    cause: Cause
    detail: str
    topic: str
    partition: int
    offset: int
    version: int

    @property
    def calls(self) -> bool:
        """Whether it calls for a response: features move with every season, the model or not."""
        return self.cause != "features"


class Drift:
    """Finds drift from the training log alone, record by record.

    Three kinds of detectors look on. *Residuals*: two-sided charts (`Chart`) of y - p over all
    labels, y whether the label is a given class and p the calibrated probability that the
    decision gave it. Events are picked by their features, which p is conditional on, so without
    drift the mean is 0 among policy-picked labels as among explored ones. One chart looks for a
    class that comes more or less often than predicted everywhere; one for each class and numeric
    feature looks for a difference that grows with it, which a turn of the boundary makes and
    which cancels out over all labels. *Errors*: a window over the explored events (ADWIN),
    unbiased and slow. *Features*: a window over each numeric feature of the observed events, of
    which nothing follows for the model; see `Alarm.calls`.

    The charts of all features together are allowed as many false alarms as the one without: their
    limit is higher by the logarithm of their number.

    After an alarm by residual or error, charts and errors start over; after one by a feature,
    that feature does.

    Parameters
    ----------
    plan
        How drift is looked for; the defaults where None.

    Attributes
    ----------
    counts
        Alarms by cause.
    last
        The last alarm of each cause that raised one.
    called
        Version of the last alarm that calls for a response; 0: none has.
    """

    def __init__(self, plan: DriftPlan | None = None) -> None:
        self._plan = plan or DriftPlan()
        self._alarms: deque[Alarm] = deque(maxlen=_KEPT)
        self.counts: dict[Cause, int] = {"residual": 0, "error": 0, "features": 0}
        self.last: dict[Cause, Alarm] = {}
        self.called = 0
        self._classes: set[str] = set()
        self._charts: dict[tuple[str, str | None], Chart] = {}
        self._charted = 0
        self._errors = window(self._plan.error_delta)
        self._scales: dict[str, Scale] = {}

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The last 50 alarms, oldest first."""
        return tuple(self._alarms)

    def take(self, record: Labelled, offset: int) -> None:
        """Take in a labelled event, before anything is learnt from it.

        Parameters
        ----------
        record
            As it stands in the training log; one without a prediction tells nothing.
        offset
            Its place in the training log.
        """
        if record.prediction is None or len(record.probabilities) < 2:
            return
        found = self._chart(record)
        if found is not None:
            self._raise("residual", found, record, offset)
        elif record.explored:
            before = float(self._errors.estimation)
            self._errors.update(float(record.label != record.prediction))
            # Fewer errors are what learning is for; the window forgets the past by itself.
            if self._errors.drift_detected and self._errors.estimation > before:
                self._raise("error", "wrong more often than before", record, offset)

    def observe(self, record: Observed, offset: int) -> None:
        """Take in an observed event; see `take`."""
        for name, value in record.features.items():
            if isinstance(value, bool | str):
                continue
            scale = self._scales.get(name)
            if scale is None:
                if len(self._scales) == _MOST_FEATURES:
                    continue
                plan = self._plan
                scale = self._scales[name] = Scale(plan.reference, plan.feature_delta)
            moved = scale.observe(value)
            if moved is not None:
                detail = f"{name} {'higher' if moved > 0.0 else 'lower'} than before"
                self._raise("features", detail, record, offset)
                scale.restart()

    def _chart(self, record: Labelled) -> str | None:
        probabilities, plan = record.probabilities, self._plan
        if probabilities.keys() != self._classes:
            self._classes = set(probabilities)
            self._charts.clear()
            self._charted = 0
        self._charted += 1
        settled = self._charted > plan.warm_up
        # Of two classes one tells of both; by name, so that no order of theirs matters.
        names = [max(probabilities)] if len(probabilities) == 2 else list(probabilities)
        tilts = self._tilts(record.features)
        if len(names) * len(tilts) > _MOST_CHARTS:
            tilts = {}
        everywhere = plan.limit + math.log(len(names))
        somewhere = plan.limit + math.log(max(1, len(names) * len(tilts)))
        found, furthest = None, 0.0
        for name in names:
            outcome, odds = record.label == name, log_odds(probabilities[name])
            for feature, tilt, limit in (
                (None, 1.0, everywhere),
                *((feature, tilt, somewhere) for feature, tilt in tilts.items()),
            ):
                chart = self._charts.get((name, feature))
                if chart is None:
                    chart = self._charts[name, feature] = Chart(plan.shift, plan.trust)
                if not settled:
                    chart.settle(outcome, odds, tilt)
                    continue
                chart.add(outcome, odds, tilt)
                for sum_, word in ((chart.above, "more"), (chart.below, "less")):
                    if sum_ - limit > furthest:
                        furthest = sum_ - limit
                        found = f"class {name!r} {word} often than predicted"
                        if feature is not None:
                            found += f" where {feature} is high, and the reverse where it is low"
        return found

    def _tilts(self, features: Features) -> dict[str, float]:
        return {
            name: self._scales[name].standardise(value)
            for name, value in features.items()
            if name in self._scales and not isinstance(value, bool | str)
        }

    def _raise(self, cause: Cause, detail: str, record: Labelled | Observed, offset: int) -> None:
        alarm = Alarm(
            cause=cause,
            detail=detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            version=offset + 1,
        )
        self._alarms.append(alarm)
        self.counts[cause] += 1
        self.last[cause] = alarm
        if alarm.calls:
            self.called = alarm.version
            self._charted = 0
            for chart in self._charts.values():
                chart.restart()
            self._errors = window(self._plan.error_delta)
