"""Holding the ends of requests against what was asked and what was answered."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream_al.config import Config
from stream_al.labels.endings import assumed, closed, flagged, gold, labelled
from stream_al.labels.schema import current_class
from stream_al.records import Label, LabelRequest, class_name
from stream_al.replay.differences import what_field_differs
from stream_al.training import Closed, Flagged, Gold, Labelled, Opinion

__all__ = ["AnswersGiven"]


class _Ended(msgspec.Struct, frozen=True, gc=False):
    request: LabelRequest
    label: str | None
    assumed: bool = False


class AnswersGiven:
    """Tells whether a training record is what some answer makes of its request.

    Parameters
    ----------
    config
        The run's.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._open: dict[str, LabelRequest] = {}
        self._ended: dict[str, _Ended] = {}
        self._labels: dict[str, list[Label]] = {}

    def ask(self, request: LabelRequest) -> None:
        """Take note of a request."""
        self._open[request.request_id] = request

    def add(self, label: Label) -> None:
        """Take note of an answer, whenever it was given."""
        self._labels.setdefault(label.request_id, []).append(label)

    def difference(self, record: Labelled | Closed | Flagged) -> str | None:
        """Say what is wrong with a record, in the order of the log; None: nothing."""
        name = record.request_id
        labels = self._labels.get(name, [])
        if isinstance(record, Flagged):
            found = any(label.kind == "flag" and flagged(label) == record for label in labels)
            return None if found else f"says that {name} was flagged so, and nobody did"
        request, before = self._open.pop(name, None), self._ended.get(name)
        if request is None and before is None:
            return f"ends {name}, which was not open"
        again = before is not None
        now = _Ended(request, None) if request is not None else before
        if now is None:
            return None
        if labels:
            # Only what was answered may end anew.
            label = record.label if isinstance(record, Labelled) else None
            silence = isinstance(record, Labelled) and record.assumed
            self._ended[name] = _Ended(now.request, label, silence)
        for opinion in record.opinions:
            if not any(self._is(label, opinion) for label in labels):
                return f"has {opinion.annotator!r} say {opinion.label!r} of {name}, who did not"
        if any(made == record for made in self._endings(now, again, labels, record)):
            return None
        endings = self._endings(now, again, labels, record)
        nearest = max(endings, key=lambda made: _alike(made, record), default=None)
        told = what_field_differs(record, nearest)
        return f"is not what was answered about {name}: {told}"

    def gold_difference(self, record: Gold, request: LabelRequest) -> str | None:
        """Say what is wrong with the answer to a gold request; None: nothing.

        Which class was known is not to be found in the topics: the record has the word.
        """
        for label in self._labels.get(record.request_id, []):
            name = self._class(label) if label.kind in ("label", "revise") else None
            ends = name is not None or label.kind in ("skip", "retract")
            if ends and gold(request, label, name, record.known) == record:
                return None
        return f"is not what was answered about {record.request_id}"

    def _is(self, label: Label, opinion: Opinion) -> bool:
        return opinion == Opinion(label.annotator, self._class(label) or "", label.time)

    def _class(self, label: Label) -> str | None:
        try:
            return current_class(self._config.ledger, class_name(label.label), label.schema)
        except ValueError:
            return None

    def _endings(
        self, now: _Ended, again: bool, labels: list[Label], record: Labelled | Closed
    ) -> Iterator[Labelled | Closed]:
        """Make every record that a request, as it stands, may end in."""
        request, was, opinions = now.request, now.label, record.opinions
        if not again:
            yield closed(request, "expired", opinions=opinions)
            yield closed(request, "refused")
            silence = self._config.ledger.silence
            if silence is not None:
                yield assumed(request, silence)
        for label in labels:
            if label.kind == "skip" and not again:
                yield closed(request, "skipped", label, opinions=opinions)
            elif label.kind == "retract":
                yield closed(request, "retracted", label, was=was)
            elif label.kind in ("label", "revise") and (name := self._class(label)) is not None:
                late = again and (was is None or now.assumed)
                yield labelled(request, label, name, was=was, late=late, opinions=opinions)


def _alike(made: Labelled | Closed, record: Labelled | Closed) -> int:
    """Count the fields that two records have in common; none where their kinds differ."""
    if type(made) is not type(record):
        return 0
    return sum(getattr(made, name) == getattr(record, name) for name in record.__struct_fields__)
