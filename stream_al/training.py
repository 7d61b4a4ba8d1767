"""The records of the training log, from which everything that is learned is folded.

As in `stream_al.records`, each is a frozen struct with a JSON form of the same names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from stream_al.records import AnnotatorKind, Block, Features, Observed

__all__ = [
    "CloseReason",
    "Closed",
    "Configured",
    "Control",
    "Ended",
    "Flagged",
    "Gold",
    "Labelled",
    "Opinion",
    "TrainingRecord",
    "Unsolicited",
    "Voided",
    "blank",
    "decode_training",
]

CloseReason: TypeAlias = Literal["expired", "skipped", "retracted", "refused", "voided"]


class Opinion(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one annotator answered, and when."""

    annotator: str
    label: str
    time: float | None = None


class Configured(msgspec.Struct, frozen=True, kw_only=True, tag="configured", tag_field="type"):
    """First record of every training log: how it is to be folded.

    Attributes
    ----------
    fold_id
        Hash of learner configuration, fold-code version and river version.
    config
        The whole configuration in force, as `stream_al.config.Config` encodes to JSON.
    fingerprint
        Versions and CPU class within which the fold is bit-identical.
    """

    fold_id: str
    config: dict[str, Any]
    fingerprint: dict[str, str]


class Ended(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What is kept of a request that ended: the question, as of its decision, and who ended it.

    Attributes
    ----------
    request_id, request_no, topic, partition, offset
        As in `LabelRequest`.
    asked
        Why it was asked: ``policy``, ``explore`` or ``both``.
    model_version
        Which model asked.
    prediction, probabilities, explored, propensity, block
        As of the decision.
    annotator, annotator_kind, answered_at
        Whose answer ended it, and that answer's time; empty, None where it is nobody's.
    was
        The class that it was labelled before, where this revises or retracts an answer.
    comment, correction
        The annotator's free text; the configured reason of a revision, retraction or skip.
    opinions
        All answers, where several annotators were asked.
    """

    request_id: str
    request_no: int
    topic: str
    partition: int
    offset: int
    asked: str
    model_version: int
    prediction: str | None
    probabilities: dict[str, float]
    explored: bool
    propensity: float
    block: Block | None = None
    annotator: str = ""
    annotator_kind: AnnotatorKind = "person"
    answered_at: float | None = None
    was: str | None = None
    correction: str = ""
    comment: str = ""
    opinions: tuple[Opinion, ...] = ()


_QUESTION = Ended.__struct_fields__[: Ended.__struct_fields__.index("annotator")]


class Labelled(
    Ended, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="labelled", tag_field="type"
):
    """A request and its answer, from which classifiers learn.

    Attributes
    ----------
    id, time, features
        The event's.
    label, weight
        The answer's.
    late
        Whether the request had been closed before.
    assumed
        Whether nobody answered, and silence was configured to mean this class.
    confidence
        As the annotator gave it.
    """

    id: str
    time: float | None
    features: Features
    label: str
    weight: float = 1.0
    late: bool = False
    assumed: bool = False
    confidence: float | None = None


class Closed(
    Ended, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="closed", tag_field="type"
):
    """A request that ended without a label.

    Attributes
    ----------
    reason
        ``expired``: nobody answered. ``skipped``: nobody could tell. ``retracted``: withdrawn.
        ``refused``: never opened, as its id was that of another open request. ``voided``: it had
        a label that is not to count any more.
    """

    reason: CloseReason


class Flagged(msgspec.Struct, frozen=True, kw_only=True, tag="flagged", tag_field="type"):
    """Somebody's remark on a request; nothing is learnt from it."""

    request_id: str
    annotator: str
    annotator_kind: AnnotatorKind
    answered_at: float | None
    correction: str
    comment: str


class Gold(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    omit_defaults=True,
    tag="gold",
    tag_field="type",
):
    """An answer to a request whose class was known, which tells of the annotator only.

    Attributes
    ----------
    request_id, topic, partition, offset, time
        As in `LabelRequest`: those of the request that it followed, but for its own `request_id`.
    id
        The case's.
    label
        The class that was answered; None: the annotator could not tell, or withdrew the request.
    known
        The right one.
    annotator, annotator_kind, answered_at, correction, comment
        As in `Ended`.
    """

    request_id: str
    topic: str
    partition: int
    offset: int
    id: str
    time: float | None
    label: str | None
    known: str
    annotator: str = ""
    annotator_kind: AnnotatorKind = "person"
    answered_at: float | None = None
    correction: str = ""
    comment: str = ""


class Unsolicited(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="unsolicited", tag_field="type"
):
    """A label that nobody asked for, with the features it came with (a chargeback, say).

    Attributes
    ----------
    topic, partition, offset
        Those of the label's own message.
    source
        Who sent it.
    request_id
        The request whose features it came to be learnt with, matched by the event's id; empty
        where it brought its own.
    """

    topic: str
    partition: int
    offset: int
    id: str
    time: float | None
    features: Features
    label: str
    source: str = ""
    request_id: str = ""


_NOT_GIVEN = Opinion("", "", None)
"""In place of an opinion that does not count; what comes after it keeps its place."""


class Voided(msgspec.Struct, frozen=True, kw_only=True, tag="voided", tag_field="type"):
    """Labels that are not to count: whoever meets this folds the log again without them.

    It concerns records before it in the log only.

    Attributes
    ----------
    annotator
        Whose answers; None: anybody's.
    since, until
        Answers from this time on, and before this time, epoch seconds; None: no limit. Answers
        without a time are within any limits.
    by, why
        For people.
    time
        When it was told, epoch seconds.
    """

    annotator: str | None = None
    since: float | None = None
    until: float | None = None
    by: str = ""
    why: str = ""
    time: float | None = None

    def left(self, record: TrainingRecord) -> TrainingRecord | None:
        """Return what is left of a record without the answers that are not to count.

        Where several have answered, the others' answers stay: a class stands that one of the last
        word, or all who are left, have given. Nothing left is None; a record that it does not
        concern is returned itself.
        """
        if isinstance(record, Gold):
            return None if self._is(record.annotator, record.answered_at) else record
        if isinstance(record, Unsolicited):
            return None if self._is(record.source, record.time) else record
        if not isinstance(record, Labelled | Closed):
            return record
        given = record.opinions
        opinions = tuple(_NOT_GIVEN if self._is(o.annotator, o.time) else o for o in given)
        gone = isinstance(record, Labelled) and not record.assumed
        if not gone or not self._is(record.annotator, record.answered_at):
            return record if opinions == given else replace(record, opinions=opinions)
        rest = [opinion for opinion in opinions if opinion.label]
        if isinstance(record, Labelled) and {each.label for each in rest} == {record.label}:
            return replace(
                record, annotator=rest[0].annotator, answered_at=rest[0].time, opinions=opinions
            )
        return blank(record)

    def _is(self, who: str, when: float | None) -> bool:
        return (
            self.annotator in (None, who)
            and (self.since is None or when is None or when >= self.since)
            and (self.until is None or when is None or when < self.until)
        )


def left_of(
    record: TrainingRecord, offset: int, voided: Iterable[tuple[int, Voided]]
) -> TrainingRecord | None:
    """Return what is left of a record by what was voided after it; itself if that is all.

    Parameters
    ----------
    record, offset
        Of the training log.
    voided
        With their offsets.
    """
    left: TrainingRecord | None = record
    for later, each in voided:
        if later > offset and left is not None:
            left = each.left(left)
    return left


def blank(record: TrainingRecord) -> Closed | None:
    """Return what is left of a record that is not to count: that its request ended, or nothing."""
    if not isinstance(record, Labelled) or record.late or record.was is not None:
        return None
    kept = {name: getattr(record, name) for name in _QUESTION}
    return Closed(**kept, reason="voided")


class Control(msgspec.Struct, frozen=True, kw_only=True, tag="control", tag_field="type"):
    """What an operator told all gates; the last one holds.

    Attributes
    ----------
    action
        ``pause``: the policy asks nothing, exploration goes on. ``boost``: the policy asks while
        it has tokens, whatever the scores. ``resume``: as configured.
    until
        When pause or boost ends by itself, epoch seconds; None: with the next control record.
    by, why
        For people.
    time
        When it was told, epoch seconds.
    """

    action: Literal["pause", "resume", "boost"]
    until: float | None = None
    by: str = ""
    why: str = ""
    time: float | None = None

    def at(self, now: float | None) -> Literal["pause", "boost"] | None:
        """Tell what holds at a time; None: as configured.

        Examples
        --------
        >>> Control(action="pause", until=100.0).at(99.0)
        'pause'
        >>> Control(action="pause", until=100.0).at(100.0)
        """
        if self.action == "resume" or (
            self.until is not None and now is not None and now >= self.until
        ):
            return None
        return self.action


TrainingRecord: TypeAlias = (
    Configured | Observed | Labelled | Closed | Gold | Flagged | Unsolicited | Voided | Control
)


decode_training = msgspec.json.Decoder(TrainingRecord).decode
"""Decode a training record; `msgspec.ValidationError` names the path of what does not fit."""
