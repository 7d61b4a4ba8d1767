"""Checks of the training log by itself, and what the other checks need of it."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import msgspec

from consumers.log import Record
from consumers.testing.findings import Context
from stream_al.learner.fold import RunningDigest, fold_id
from stream_al.records import (
    Closed,
    Configured,
    Labelled,
    Observed,
    Unsolicited,
    decode_training,
)

__all__ = ["Ending", "TrainingLog", "check_training", "fingerprint_of"]


class Ending(msgspec.Struct, frozen=True):
    """How a request ended.

    Attributes
    ----------
    kind
        ``labelled``, ``skipped`` or ``expired``.
    label
        The class, where labelled.
    about
        Hash of what the record repeats of its request.
    """

    kind: str
    label: str | None
    annotator: str
    about: int


class TrainingLog:
    """What the training log holds, as far as other topics must agree with it.

    Attributes
    ----------
    end
        The offset after the last data record.
    endings
        By request id.
    observed
        Places of the observed events.
    unsolicited
        Places of the labels that nobody asked for, to their offsets here.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._digest = RunningDigest(fold_id(context.config.learner))
        self._start = self._digest.text
        self._offsets = array("q")
        self._digests: list[bytes] = []
        self.end = 0
        self.endings: dict[str, Ending] = {}
        self.observed: set[tuple[str, int, int]] = set()
        self.unsolicited: dict[tuple[str, int, int], int] = {}
        self.configured = 0

    def digest_at(self, version: int) -> str | None:
        """Return the digest at a model version; None where no record ends there."""
        if version == 0:
            return self._start
        at = bisect_left(self._offsets, version - 1)
        if at == len(self._offsets) or self._offsets[at] != version - 1:
            return None
        return self._digests[at].hex()

    def take(self, record: Record) -> None:
        """Check a record and remember what matters of it."""
        need, raw = self._context.need, record.value or b""
        where = f"training record {record.offset}"
        try:
            training = decode_training(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            need(False, f"{where} cannot be read: {error}")
            return
        if isinstance(training, Configured):
            expected = fold_id(self._context.config.learner)
            need(training.fold_id == expected, f"{where} is configured as {training.fold_id}")
            self.configured += 1
            return
        need(self.configured > 0, f"{where} comes before any configuration")
        self._digest.add(record.offset, raw)
        self._offsets.append(record.offset)
        self._digests.append(bytes.fromhex(self._digest.text))
        self.end = record.offset + 1
        if isinstance(training, Observed):
            place = (training.topic, training.partition, training.offset)
            need(place not in self.observed, f"{where} observes {place} again")
            self.observed.add(place)
        elif isinstance(training, Unsolicited):
            place = (training.topic, training.partition, training.offset)
            need(place not in self.unsolicited, f"{where} takes the label at {place} again")
            self.unsolicited[place] = record.offset
        elif isinstance(training, Labelled | Closed):
            name = training.request_id
            need(name not in self.endings, f"{where} ends {name}, which had ended")
            self.endings[name] = _ending(training)


def fingerprint_of(request: msgspec.Struct, fields: tuple[str, ...]) -> int:
    """Hash what a request and its ending have in common."""
    return hash(msgspec.json.encode([getattr(request, name) for name in fields], order="sorted"))


ENDING_FIELDS = ("request_id", "request_no", "topic", "partition", "offset", "explored")
LABELLED_FIELDS = (
    *ENDING_FIELDS,
    "id",
    "time",
    "features",
    "prediction",
    "probabilities",
    "propensity",
)


def _ending(training: Labelled | Closed) -> Ending:
    if isinstance(training, Labelled):
        about = fingerprint_of(training, LABELLED_FIELDS)
        return Ending("labelled", training.label, training.annotator, about)
    return Ending(
        training.reason, None, training.annotator, fingerprint_of(training, ENDING_FIELDS)
    )


def check_training(context: Context) -> TrainingLog:
    """Read the training log once: one configuration first, one end of each request."""
    training = TrainingLog(context)
    for record in context.log.read(context.topics.training, 0):
        training.take(record)
    return training
