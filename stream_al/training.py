"""The records of the training log, from which everything that is learned is folded.

As in `stream_al.records`, each is a frozen struct with a JSON form of the same names.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from stream_al.records import AnnotatorKind, Block, Features, Observed

__all__ = [
    "QUESTION",
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


QUESTION = Ended.__struct_fields__[: Ended.__struct_fields__.index("annotator")]
"""The fields of `Ended` that repeat the question."""


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
