"""The ledger: which requests are open, and what becomes of each answer."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.records import Closed, Label, Labelled, LabelRequest, class_name

__all__ = ["OUTCOMES", "Ledger", "Open", "Outcome", "OutcomeKind", "labelled"]

OutcomeKind: TypeAlias = Literal["labelled", "skipped", "expired", "repeated", "unknown", "refused"]
OUTCOMES: tuple[OutcomeKind, ...] = get_args(OutcomeKind)

_HEAVIEST = 100.0
"""Weight of a label that may be learnt as often as that."""

_REMEMBERED = 10_000
"""Ended requests whose late doubles are told apart from answers to what was never asked."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an answer.

    Attributes
    ----------
    kind
        ``labelled`` (learnt from), ``skipped`` (closed without a label), ``expired`` (closed
        without an answer), ``repeated`` (its request had ended), ``unknown`` (no such request),
        ``refused`` (not usable; `why` says).
    why
        For people; empty where there is nothing to say.
    record
        What goes to the training log; None unless labelled, skipped or expired.
    """

    kind: OutcomeKind
    why: str = ""
    record: Labelled | Closed | None = None


class Open(msgspec.Struct, frozen=True, gc=False):
    """An open request, and since when; None where time plays no role."""

    request: LabelRequest
    since: float | None = None


class Ledger:
    """Matches labels to requests, each at most once.

    Parameters
    ----------
    classes
        The declared classes; empty: any class is accepted.

    Attributes
    ----------
    counts
        Answers so far, by what became of them.
    """

    def __init__(self, classes: tuple[str, ...] = ()) -> None:
        self._classes = frozenset(classes)
        self._open: dict[str, Open] = {}
        self._ids: set[str] = set()
        self._ended: dict[str, None] = {}
        self.counts: dict[OutcomeKind, int] = dict.fromkeys(OUTCOMES, 0)

    def __len__(self) -> int:
        """Count the open requests."""
        return len(self._open)

    def open(self, request: LabelRequest, since: float | None = None) -> bool:
        """Take note of a request.

        Parameters
        ----------
        request
            Of any partition.
        since
            Epoch seconds, no less than that of the request before; None where none expires.

        Returns
        -------
        bool
            False if nothing was opened: the request has ended before, or the user's id is that
            of another request still open, so that an answer by that id could be meant for either.
        """
        if request.request_id in self._ended or request.request_id in self._open:
            return False
        if request.id:
            if request.id in self._ids:
                return False
            self._ids.add(request.id)
        self._open[request.request_id] = Open(request, since)
        return True

    def remember(self, request_id: str) -> None:
        """Take note of a request that has ended, in the order of ending."""
        self._ended[request_id] = None

    def expired(self, before: float) -> list[Outcome]:
        """Find the requests open since that time or earlier, oldest first; change nothing yet."""
        found = []
        for entry in self._open.values():
            if entry.since is None or entry.since > before:
                break
            found.append(Outcome("expired", record=_closed(entry.request, "expired")))
        return found

    @property
    def open_since(self) -> float | None:
        """Since when the oldest request is open; None without any."""
        return next(iter(self._open.values())).since if self._open else None

    def is_open(self, request_id: str) -> bool:
        """Tell whether a request waits for its answer."""
        return request_id in self._open

    def answer(self, label: Label) -> Outcome:
        """Match an answer to its request; never raises for what an annotator may send."""
        outcome = self.judge(label)
        self.settle(outcome)
        return outcome

    def settle(self, outcome: Outcome) -> str | None:
        """Count what `judge` or `expired` found, and close the request if it ended.

        Returns
        -------
        str or None
            The ended request that is forgotten in its place, if any.
        """
        self.counts[outcome.kind] += 1
        if outcome.record is None:
            return None
        return self._end(self._open[outcome.record.request_id].request)

    def judge(self, label: Label) -> Outcome:
        """Tell what becomes of an answer, and change nothing yet."""
        if not isinstance(label.request_id, str):
            return Outcome("refused", f"request_id must be text, not {label.request_id!r}")
        entry = self._open.get(label.request_id)
        if entry is None:
            if label.request_id in self._ended:
                return Outcome("repeated", f"request {label.request_id!r} has ended already")
            return Outcome("unknown", f"request {label.request_id!r} was never made, or long ago")
        request = entry.request
        if label.kind not in ("label", "skip"):
            return Outcome("refused", f"kind must be label or skip, not {label.kind!r}")
        if label.kind == "skip":
            return Outcome("skipped", record=_closed(request, "skipped", label))
        try:
            name = class_name(label.label)
        except ValueError as error:
            return Outcome("refused", str(error))
        if self._classes and name not in self._classes:
            declared = ", ".join(sorted(self._classes))
            return Outcome("refused", f"class {name!r} is not declared; expected one of {declared}")
        if not isinstance(label.weight, float | int) or not 0.0 < label.weight <= _HEAVIEST:
            return Outcome("refused", f"weight must be in (0, {_HEAVIEST:g}], not {label.weight!r}")
        return Outcome("labelled", record=labelled(request, label, name))

    def _end(self, request: LabelRequest) -> str | None:
        del self._open[request.request_id]
        self._ids.discard(request.id)
        self._ended[request.request_id] = None
        if len(self._ended) <= _REMEMBERED:
            return None
        forgotten = next(iter(self._ended))
        del self._ended[forgotten]
        return forgotten


def labelled(request: LabelRequest, label: Label, name: str) -> Labelled:
    """Join a request and its answer of class `name`."""
    return Labelled(
        request_id=request.request_id,
        request_no=request.request_no,
        topic=request.topic,
        partition=request.partition,
        offset=request.offset,
        id=request.id,
        time=request.time,
        features=request.features,
        label=name,
        annotator=label.annotator,
        answered_at=label.time,
        weight=label.weight,
        prediction=request.prediction,
        probabilities=request.probabilities,
        explored=request.explored,
        propensity=request.propensity,
        block=request.block,
    )


def _closed(
    request: LabelRequest, reason: Literal["skipped", "expired"], label: Label | None = None
) -> Closed:
    return Closed(
        request_id=request.request_id,
        request_no=request.request_no,
        topic=request.topic,
        partition=request.partition,
        offset=request.offset,
        reason=reason,
        annotator=label.annotator if label else "",
        answered_at=label.time if label else None,
        explored=request.explored,
        prediction=request.prediction,
        probabilities=request.probabilities,
        block=request.block,
    )
