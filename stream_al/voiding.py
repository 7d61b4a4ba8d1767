"""What is left of the training log where labels are voided."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from stream_al.training import (
    QUESTION,
    Closed,
    Gold,
    Labelled,
    Opinion,
    TrainingRecord,
    Unsolicited,
    Voided,
)

__all__ = ["blank", "left_of", "without"]

_NOT_GIVEN = Opinion("", "", None)
"""In place of an opinion that does not count; what comes after it keeps its place."""


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
            left = without(left, each)
    return left


def without(record: TrainingRecord, voided: Voided) -> TrainingRecord | None:
    """Return what is left of a record without the answers that are not to count.

    Where several have answered, the others' answers stay: a class stands that one of the last
    word, or all who are left, have given. Nothing left is None; a record that it does not
    concern is returned itself.
    """
    if isinstance(record, Gold):
        return None if _concerned(voided, record.annotator, record.answered_at) else record
    if isinstance(record, Unsolicited):
        return None if _concerned(voided, record.source, record.time) else record
    if not isinstance(record, Labelled | Closed):
        return record
    given = record.opinions
    opinions = tuple(_NOT_GIVEN if _concerned(voided, o.annotator, o.time) else o for o in given)
    gone = isinstance(record, Labelled) and not record.assumed
    if not gone or not _concerned(voided, record.annotator, record.answered_at):
        return record if opinions == given else replace(record, opinions=opinions)
    rest = [opinion for opinion in opinions if opinion.label]
    if isinstance(record, Labelled) and {each.label for each in rest} == {record.label}:
        return replace(
            record, annotator=rest[0].annotator, answered_at=rest[0].time, opinions=opinions
        )
    return blank(record)


def _concerned(voided: Voided, who: str, when: float | None) -> bool:
    return (
        voided.annotator in (None, who)
        and (voided.since is None or when is None or when >= voided.since)
        and (voided.until is None or when is None or when < voided.until)
    )


def blank(record: TrainingRecord) -> Closed | None:
    """Return what is left of a record that is not to count: that its request ended, or nothing."""
    if not isinstance(record, Labelled) or record.late or record.was is not None:
        return None
    kept = {name: getattr(record, name) for name in QUESTION}
    return Closed(**kept, reason="voided")
