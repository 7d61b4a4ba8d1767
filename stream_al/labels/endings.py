"""How a request ends: the records that the training log gets."""

from __future__ import annotations

from typing import Any

from stream_al.records import Label, LabelRequest
from stream_al.training import Closed, CloseReason, Ended, Flagged, Gold, Labelled, Opinion

__all__ = ["assumed", "closed", "flagged", "gold", "labelled"]

_KEPT = (set(Ended.__struct_fields__) & set(LabelRequest.__struct_fields__)) - {"opinions"}


def labelled(
    request: LabelRequest,
    label: Label,
    name: str,
    *,
    was: str | None = None,
    late: bool = False,
    opinions: tuple[Opinion, ...] = (),
) -> Labelled:
    """Join a request and its answer of class `name`; the rest as in `Labelled`."""
    return Labelled(
        **_question(request),
        **_answer(label),
        id=request.id,
        time=request.time,
        features=request.features,
        label=name,
        weight=label.weight,
        confidence=label.confidence,
        was=was,
        late=late,
        opinions=opinions,
    )


def assumed(request: LabelRequest, name: str) -> Labelled:
    """Take silence as an answer of class `name`."""
    return Labelled(
        **_question(request),
        id=request.id,
        time=request.time,
        features=request.features,
        label=name,
        assumed=True,
    )


def closed(
    request: LabelRequest,
    reason: CloseReason,
    label: Label | None = None,
    *,
    was: str | None = None,
    opinions: tuple[Opinion, ...] = (),
) -> Closed:
    """End a request without a label; `label` is the answer that did, if one did."""
    answer = {} if label is None else _answer(label)
    return Closed(**_question(request), **answer, reason=reason, was=was, opinions=opinions)


def gold(request: LabelRequest, label: Label, name: str | None, known: str) -> Gold:
    """Join a gold request of class `known` and its answer of class `name`; None: no class."""
    return Gold(
        request_id=request.request_id,
        topic=request.topic,
        partition=request.partition,
        offset=request.offset,
        id=request.id,
        time=request.time,
        **_answer(label),
        label=name,
        known=known,
    )


def flagged(label: Label) -> Flagged:
    """Note what somebody says of a request."""
    return Flagged(request_id=label.request_id, **_answer(label))


def _question(request: LabelRequest) -> dict[str, Any]:
    kept = {name: getattr(request, name) for name in _KEPT}
    return {**kept, "asked": request.reason}


def _answer(label: Label) -> dict[str, Any]:
    return {
        "annotator": label.annotator,
        "annotator_kind": label.annotator_kind,
        "answered_at": label.time,
        "correction": label.reason,
        "comment": label.comment,
    }
