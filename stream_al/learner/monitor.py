"""What the training log tells about itself: how right, whether it drifts, whether asking helps."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stream_al.config import LearnerConfig
from stream_al.labels.agreement import Agreement, AgreementEstimate
from stream_al.learner.accuracy import Accuracy, Estimate, Rolling
from stream_al.learner.committee import Committee
from stream_al.learner.drift import Alarm, Cause, Drift
from stream_al.learner.helping import Comparison, Helping
from stream_al.learner.rare import ClassQualities, ClassQuality
from stream_al.learner.reliability import Calibration, Reliability
from stream_al.learner.stopping import Stopping, StoppingState
from stream_al.learner.warning_signs import Sign, SignName, WarningSigns
from stream_al.limits import Limits
from stream_al.records import Observed
from stream_al.training import Ended, Gold, Labelled

__all__ = ["DriftReport", "Insight", "Monitor"]

_LOOK_EVERY = 20
"""Explored labels between two looks at the warning signs: looking costs more than counting."""


class DriftReport(msgspec.Struct, frozen=True):
    """Alarms by cause since the start, and the last 50."""

    counts: dict[Cause, int]
    alarms: tuple[Alarm, ...]


class Insight(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the training log tells about itself.

    Attributes
    ----------
    estimate, epoch, rolling
        Accuracy of all predictions up to the watermark; of those since the last drift that called
        for a response; and of the last blocks before the watermark.
    classes
        How well each class is found.
    calibration
        How far the probabilities are off, on the last explored events.
    drift
        Alarms.
    stopping
        Whether there is still something to learn.
    helping
        Whether asking by the policy teaches more than asking at random.
    warnings
        The warning signs, by name.
    agreement
        How far annotators agree.
    """

    estimate: Estimate
    epoch: Estimate
    rolling: Rolling
    classes: dict[str, ClassQuality]
    calibration: Calibration
    drift: DriftReport
    stopping: StoppingState
    helping: Comparison
    warnings: dict[SignName, Sign]
    agreement: AgreementEstimate


class Monitor:
    """Watches the training log, as a part of the fold: live, replay and verification agree.

    Parameters
    ----------
    config
        That of the learner.

    Attributes
    ----------
    accuracy, stopping
        As of `stream_al.learner.accuracy` and `stream_al.learner.stopping`.
    """

    def __init__(self, config: LearnerConfig) -> None:
        self.accuracy = Accuracy()
        self._classes = ClassQualities()
        self._reliability = Reliability()
        self._drift = Drift()
        self._helping = Helping(config)
        self._signs = WarningSigns(config.seed)
        self.stopping = Stopping()
        self._agreement = Agreement()
        self._kappas: tuple[Limits, Limits] | None = None
        self._compared = self._version = self._looked = 0

    def observe(self, record: Observed, offset: int, probabilities: Mapping[str, float]) -> None:
        """Take in an observed event, with what the model says of it."""
        self._drift.observe(record, offset)
        self._signs.observe(record.features)
        self.stopping.observe(record.features, probabilities, offset)

    def take(self, record: Ended, offset: int, learner: Committee) -> bool:
        """Take in a request that ended, before anything is learnt from it.

        Parameters
        ----------
        record
            As it counts.
        offset
            Its place in the training log.
        learner
            As of before this record; it is only asked.

        Returns
        -------
        bool
            Whether drift was found that calls for a response.
        """
        self._version = offset + 1
        for counted in self.accuracy.take(record):
            self._classes.take(counted)
            if counted.sign > 0:
                self._agreement.take_pair(counted.ended)
        self._agreement.take_ended(record)
        if record.block is None:
            # Nothing is explored, so that there is no other order than that of ending.
            self._agreement.take_pair(record)
        if not isinstance(record, Labelled) or record.was is not None or record.late:
            # What changes an answer says nothing new of the stream.
            return False
        called = self._drift.called
        self._reliability.take(record)
        self._drift.take(record, offset)
        self._helping.take(record, offset, learner.encode_one(record.features))
        self._signs.take(record)
        self.stopping.take(record, offset, learner.predict_one)
        drifted = self._drift.called > called
        if drifted:
            self.accuracy.begin_epoch()
            self.stopping.reopen(offset)
        if record.explored:
            self._review()
        return drifted

    def take_gold(self, record: Gold) -> None:
        """Take in an answer to a gold case, which tells of its annotator and nothing else."""
        self._agreement.take_gold(record)

    def _review(self) -> None:
        pairs = self._agreement.pairs
        if pairs != self._compared:
            self._compared, agreement = pairs, self._agreement.estimate()
            self._kappas = agreement.picked.kappa, agreement.random.kappa
        self._looked += 1
        if self._looked % _LOOK_EVERY:
            return
        found = self._reliability.calibration()
        self._signs.review(
            self._version,
            comparison=self._helping.estimate(),
            calibration=Limits(
                value=found.ece, lower=found.lower, upper=found.upper, count=found.labels
            ),
            agreement=self._kappas,
        )

    @property
    def drift(self) -> DriftReport:
        """Tell what drift was found."""
        return DriftReport(dict(self._drift.counts), self._drift.alarms)

    @property
    def drifted(self) -> int:
        """Version of the model as of the last drift that calls for a response; 0: none has."""
        return self._drift.called

    @property
    def warns(self) -> bool:
        """Whether any warning sign is on."""
        return any(sign.on for sign in self._signs.state.values())

    def insight(self) -> Insight:
        """Tell everything."""
        return Insight(
            estimate=self.accuracy.estimate(),
            epoch=self.accuracy.epoch(),
            rolling=self.accuracy.rolling(),
            classes=self._classes.estimate(self.accuracy.tallies),
            calibration=self._reliability.calibration(),
            drift=self.drift,
            stopping=self.stopping.state,
            helping=self._helping.estimate(),
            warnings=self._signs.state,
            agreement=self._agreement.estimate(),
        )
