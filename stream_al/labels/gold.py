"""Gold cases: requests whose right answer is known, and hidden from who is asked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_al.keyed import below, uniform
from stream_al.labels.endings import gold
from stream_al.labels.outcomes import Open, Outcome, Past, refused, repeated
from stream_al.records import Features, Label, LabelRequest

__all__ = ["GoldCase", "draw_case", "gold_request", "is_gold", "judge_gold", "judge_gold_ended"]

_SUFFIX = ":1"


class GoldCase(msgspec.Struct, frozen=True):
    """A case whose class is known.

    Attributes
    ----------
    features
        As a request holds them.
    label
        The class, of the current label schema.
    id
        What a request shows as the event's id; empty: none.
    """

    features: Features
    label: str
    id: str = ""


def is_gold(request_id: str) -> bool:
    """Tell a gold request by the form of its id; the name of a log's topic holds no colon.

    Examples
    --------
    >>> is_gold("events:0:17"), is_gold("events:0:17:1")
    (False, True)
    """
    return request_id.count(":") > 2


def draw_case(
    request_id: str, cases: Sequence[GoldCase], share: float, salt: int
) -> GoldCase | None:
    """Draw the case that follows a request; None: none does.

    Parameters
    ----------
    request_id
        Of a regular request.
    cases
        To draw from, each with the same probability.
    share
        Probability in [0, 1] that one follows.
    salt
        Key of the draws.
    """
    if not cases or uniform("gold", salt, request_id) >= share:
        return None
    return cases[below(len(cases), "gold case", salt, request_id)]


def gold_request(after: LabelRequest, case: GoldCase) -> LabelRequest:
    """Ask about a case as if it came from the stream, right after another request.

    No model has predicted it, and the prediction for another event would mislead: it has none, as
    requests have none before a class is known. It belongs to no block.
    """
    return msgspec.structs.replace(
        after,
        request_id=after.request_id + _SUFFIX,
        id=case.id,
        features=case.features,
        prediction=None,
        probabilities={},
        weighed={},
        explored=False,
        block=None,
        opinions=1,
        disagreed=False,
    )


def judge_gold(entry: Open, known: str, label: Label, name: str | None) -> Outcome:
    """Tell what becomes of an answer of class `name` to an open gold request."""
    record = gold(entry.request, label, name, known)
    if name is not None:
        return Outcome("gold", record=record)
    return Outcome("skipped" if label.kind == "skip" else "retracted", record=record)


def judge_gold_ended(
    past: Past, request: LabelRequest, known: str, label: Label, name: str | None
) -> Outcome:
    """Tell what becomes of an answer to a gold request that has ended.

    The first class given is what is measured, however late; nothing changes it.
    """
    if past.label is None and name is not None:
        return Outcome("gold", record=gold(request, label, name, known))
    if label.kind == "skip" or past.label is None:
        return Outcome("repeated", f"request {label.request_id!r} has ended already")
    if name == past.label:
        return repeated(past.label, name, label)
    # Whoever shows this to the annotator is not to tell that it was no real question.
    why = f"request {label.request_id!r} is answered {past.label!r} already, and that stands"
    return Outcome("conflicting", why) if label.kind == "label" else refused(why)
