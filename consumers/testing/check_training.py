"""Checks of the training log by itself, and what the other checks need of it."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import msgspec

from consumers.log import Record
from consumers.testing.findings import Context
from consumers.testing.lifecycle import Told, gold_question_of, question_of, told_by
from stream_al.learner.fold import RunningDigest, fold_id
from stream_al.records import Observed, encode
from stream_al.training import (
    Closed,
    Configured,
    Flagged,
    Gold,
    Labelled,
    Unsolicited,
    Voided,
    decode_training,
)
from stream_al.voiding import left_of

__all__ = ["TrainingLog", "check_training"]


class TrainingLog:
    """What the training log holds, as far as other topics must agree with it.

    Attributes
    ----------
    end
        The offset after the last data record.
    told
        By request id: what its endings and the remarks on it say, in order.
    abouts
        By request id: hashes of what each ending repeats of its request; whether with its event.
    ended
        Ids of the requests that ended, in the order in which they did first.
    observed
        Places of the observed events.
    unsolicited
        The labels that nobody asked for, by their places.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._digest = RunningDigest(fold_id(context.config.learner))
        self._start = self._digest.text
        self._offsets = array("q")
        self._digests: list[bytes] = []
        self.end = 0
        self.told: dict[str, list[Told]] = {}
        self.abouts: dict[str, list[tuple[int, bool]]] = {}
        self.ended: list[str] = []
        self.observed: set[tuple[str, int, int]] = set()
        self.unsolicited: dict[tuple[str, int, int], Unsolicited] = {}
        self.configured = 0
        self._labels: dict[str, str | None] = {}
        self._assumed: set[str] = set()

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
            self.unsolicited[place] = training
        elif isinstance(training, Labelled | Closed | Gold | Flagged):
            self.told.setdefault(training.request_id, []).append(told_by(training))
            if isinstance(training, Gold):
                follows = self._follow_gold(training)
                need(follows, f"{where} answers a gold request that is answered")
            elif not isinstance(training, Flagged):
                follows = self._follow(training)
                need(follows, f"{where} does not follow from how its request had ended")
        elif isinstance(training, Voided):
            self._fold_again(record.offset)

    def _follow(self, training: Labelled | Closed) -> bool:
        """Take note of an ending; tell whether it may come after those before it."""
        name, labelled = training.request_id, isinstance(training, Labelled)
        question = question_of(training, event=labelled), labelled
        self.abouts.setdefault(name, []).append(question)
        label = training.label if isinstance(training, Labelled) else None
        late = isinstance(training, Labelled) and training.late
        assumed = isinstance(training, Labelled) and training.assumed
        if name not in self._labels:
            self.ended.append(name)
            self._labels[name] = label
            if assumed:
                self._assumed.add(name)
            return training.was is None and not late
        was, self._labels[name] = self._labels[name], label
        unanswered = was is None or name in self._assumed
        self._assumed.discard(name)
        if label is not None:
            changed = unanswered or was != label
            return training.was == was and changed and late == unanswered and not assumed
        retracted = isinstance(training, Closed) and training.reason == "retracted"
        return retracted and training.was == was is not None

    def _follow_gold(self, training: Gold) -> bool:
        """Take note of an answer; tell whether it may come after those before it."""
        name = training.request_id
        self.abouts.setdefault(name, []).append((gold_question_of(training), False))
        was = self._labels.get(name)
        if name not in self._labels:
            self.ended.append(name)
        elif training.label is None:
            return False
        self._labels[name] = training.label
        return was is None

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
            left = left_of(record, offset, voided)
            said = raw if left is record else b"" if left is None else encode(left)
            self._digest.add(offset, said)
        self._digests[-1] = bytes.fromhex(self._digest.text)


def check_training(context: Context) -> TrainingLog:
    """Read the training log once: one configuration first, ends that follow from each other."""
    training = TrainingLog(context)
    for record in context.log.read(context.topics.training, 0):
        training.take(record)
    return training
