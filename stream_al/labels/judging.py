"""What becomes of an answer to one request, whatever becomes of others."""

from __future__ import annotations

import msgspec

from stream_al.labels.endings import assumed, closed, labelled
from stream_al.labels.gold import judge_gold, judge_gold_ended
from stream_al.labels.outcomes import Open, Outcome, Past, repeated
from stream_al.records import Label, LabelRequest
from stream_al.training import Opinion

__all__ = ["judge_ended", "judge_expired", "judge_open"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode


def judge_open(entry: Open, label: Label, name: str | None) -> Outcome:
    """Tell what becomes of an answer of class `name` to an open request; None: it has none."""
    if entry.known is not None:
        return judge_gold(entry, entry.known, label, name)
    if label.kind == "retract":
        return _take_back(entry, label)
    return _skip(entry, label) if name is None else _speak(entry, label, name)


def judge_expired(entry: Open, silence: str | None) -> Outcome:
    """Tell what becomes of a request whose time is over; `silence`: the class that it means."""
    request = entry.request
    if entry.known is not None:
        return Outcome("expired", silent=request.request_id)
    if entry.given and not request.disagreed:
        return _labelled(entry, entry.given)
    if silence is not None and not entry.given:
        return Outcome("assumed", record=assumed(request, silence))
    record = closed(request, "expired", opinions=_opinions(entry.given))
    return Outcome("expired", record=record)


def _speak(entry: Open, label: Label, name: str) -> Outcome:
    """Take a class: of several annotators, the last to come decides whether they agree."""
    label = msgspec.structs.replace(label, label=name)
    before = [each for each in entry.given if each.annotator == label.annotator]
    if before and label.kind == "label":
        return repeated(str(before[0].label), name, label)
    if entry.request.disagreed:
        # Whoever has the last word, the two who disagreed stand beside it.
        return _labelled(entry, (*entry.given, label), label)
    kept = tuple(each for each in entry.given if each.annotator != label.annotator)
    given = (*kept, label)
    passed = _without(entry.passed, label.annotator)
    missing = entry.missing - (not before and passed == entry.passed)
    changed = msgspec.structs.replace(
        entry,
        given=given,
        missing=missing,
        passed=passed,
        withdrew=_without(entry.withdrew, label.annotator),
    )
    if missing > 0:
        return Outcome("noted", entry=changed)
    if len({each.label for each in given}) == 1:
        return _labelled(entry, given)
    request = msgspec.structs.replace(entry.request, disagreed=True)
    changed = msgspec.structs.replace(changed, request=request, missing=1)
    return Outcome("disagreed", entry=changed, ask=request)


def _labelled(entry: Open, given: tuple[Label, ...], last: Label | None = None) -> Outcome:
    """End a request by its answers; `last` has the last word, else they agree."""
    label = last or given[0]
    opinions = _opinions(given) if entry.request.opinions > 1 else ()
    return Outcome(
        "labelled",
        record=labelled(entry.request, label, str(label.label), opinions=opinions),
    )


def _skip(entry: Open, label: Label) -> Outcome:
    """Note that an annotator cannot tell: those who can decide without."""
    if any(each.annotator == label.annotator for each in entry.given):
        return repeated(str(entry.given[0].label), None, label)
    if label.annotator in entry.passed:
        return Outcome("repeated", f"request {label.request_id!r} is passed so already")
    if entry.missing > 1:
        changed = msgspec.structs.replace(
            entry,
            missing=entry.missing - 1,
            passed=(*entry.passed, label.annotator),
            withdrew=_without(entry.withdrew, label.annotator),
        )
        return Outcome("noted", entry=changed)
    if entry.given and not entry.request.disagreed:
        return _labelled(entry, entry.given)
    record = closed(entry.request, "skipped", label, opinions=_opinions(entry.given))
    return Outcome("skipped", record=record)


def _take_back(entry: Open, label: Label) -> Outcome:
    """Withdraw one's answer where another is still to come, else the request."""
    who = label.annotator
    if who in entry.withdrew:
        return Outcome("repeated", f"{who!r} took back the answer to {label.request_id!r}")
    kept = tuple(each for each in entry.given if each.annotator != who)
    passed = _without(entry.passed, who)
    if (kept, passed) != (entry.given, entry.passed) and not entry.request.disagreed:
        changed = msgspec.structs.replace(
            entry,
            given=kept,
            missing=entry.missing + 1,
            passed=passed,
            withdrew=(*entry.withdrew, who),
        )
        return Outcome("retracted", entry=changed)
    return Outcome("retracted", record=closed(entry.request, "retracted", label))


def judge_ended(past: Past, label: Label, name: str | None) -> Outcome:
    """Tell what becomes of an answer of class `name` to a request that has ended."""
    if past.known is not None:
        return judge_gold_ended(past, _decode_request(past.request), past.known, label, name)
    if label.kind == "skip" or (label.kind == "retract" and past.label is None):
        return Outcome("repeated", f"request {label.request_id!r} has ended already")
    late = past.label is None or past.assumed
    if not late and (label.kind == "label" or past.label == name):
        return repeated(past.label, name, label)
    request = _decode_request(past.request)
    if name is None:
        record = closed(request, "retracted", label, was=past.label)
        return Outcome("retracted", record=record)
    found = labelled(request, label, name, was=past.label, late=late)
    return Outcome("late" if late else "revised", record=found)


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)


def _opinions(given: tuple[Label, ...]) -> tuple[Opinion, ...]:
    return tuple(Opinion(each.annotator, str(each.label), each.time) for each in given)
