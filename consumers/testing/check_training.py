"""Checks of the training log by itself, and what the other checks need of it."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import msgspec

from consumers.log import Record
from consumers.testing.findings import Context
from stream_al.learner.fold import RunningDigest, fold_id
from stream_al.records import Observed, encode
from stream_al.training import (
    Closed,
    Configured,
    Labelled,
    Unsolicited,
    Voided,
    blank,
    decode_training,
)

__all__ = ["Ending", "TrainingLog", "check_training", "fingerprint_of"]


class Ending(msgspec.Struct, frozen=True):
    """How a request ended, or ended anew.

    Attributes
    ----------
    kind
        ``labelled``, ``assumed``, ``revised``, ``late``, or why it was closed.
    label
        The class, where it has one.
    said
        Annotator and class of what was answered: one of each opinion, or the one answer.
    about
        Hash of what the record repeats of its request.
    """

    kind: str
    label: str | None
    annotator: str
    said: tuple[tuple[str, str], ...]
    about: int


class TrainingLog:
    """What the training log holds, as far as other topics must agree with it.

    Attributes
    ----------
    end
        The offset after the last data record.
    endings
        By request id, in order.
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
        self.endings: dict[str, list[Ending]] = {}
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
            before = self.endings.setdefault(training.request_id, [])
            need(_follows(before, training), f"{where} does not follow from how it had ended")
            before.append(_ending(training))
        elif isinstance(training, Voided):
            self._fold_again(record.offset)

    def _fold_again(self, end: int) -> None:
        """Compute the digest as whoever folds the log again does, up to a record that says so."""
        records = [
            (each.offset, each.value or b"", decode_training(each.value or b""))
            for each in self._context.log.read(self._context.topics.training, 0)
            if each.offset <= end
        ]
        voided = [(at, record) for at, _, record in records if isinstance(record, Voided)]
        self._digest = RunningDigest(fold_id(self._context.config.learner))
        for offset, raw, record in records:
            if isinstance(record, Configured):
                continue
            said = raw
            if any(at > offset and each.concerns(record) for at, each in voided):
                left = blank(record)
                said = b"" if left is None else encode(left)
            self._digest.add(offset, said)
        self._digests[-1] = bytes.fromhex(self._digest.text)


def fingerprint_of(request: msgspec.Struct, fields: tuple[str, ...]) -> int:
    """Hash what a request and its ending have in common."""
    return hash(msgspec.json.encode([getattr(request, name) for name in fields], order="sorted"))


ENDING_FIELDS = (
    "request_id",
    "request_no",
    "topic",
    "partition",
    "offset",
    "model_version",
    "prediction",
    "probabilities",
    "explored",
    "propensity",
    "block",
)
LABELLED_FIELDS = (*ENDING_FIELDS, "id", "time", "features")


def _follows(before: list[Ending], training: Labelled | Closed) -> bool:
    """Tell whether a request may end so after it has ended as it has."""
    if not before:
        return training.was is None and not (isinstance(training, Labelled) and training.late)
    last = before[-1].label
    if isinstance(training, Labelled):
        return training.was == last != training.label and training.late == (last is None)
    return training.reason == "retracted" and training.was == last is not None


def _ending(training: Labelled | Closed) -> Ending:
    said = tuple((each.annotator, each.label) for each in training.opinions)
    if isinstance(training, Labelled):
        about = fingerprint_of(training, LABELLED_FIELDS)
        kind = "assumed" if training.assumed else "late" if training.late else "labelled"
        if training.was is not None:
            kind = "revised"
        if kind != "assumed" and not said:
            said = ((training.annotator, training.label),)
        return Ending(kind, training.label, training.annotator, said, about)
    about = fingerprint_of(training, ENDING_FIELDS)
    return Ending(training.reason, None, training.annotator, said, about)


def check_training(context: Context) -> TrainingLog:
    """Read the training log once: one configuration first, one end of each request."""
    training = TrainingLog(context)
    for record in context.log.read(context.topics.training, 0):
        training.take(record)
    return training
