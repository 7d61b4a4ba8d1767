"""The ledger: which requests are open, and what becomes of each answer."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.config import LedgerConfig
from stream_al.labels.endings import assumed, closed, flagged, labelled
from stream_al.labels.schema import current_class
from stream_al.records import AnswerKind, Label, LabelRequest, class_name, encode
from stream_al.training import Closed, Flagged, Labelled, Opinion

__all__ = ["OUTCOMES", "UNUSABLE", "Ledger", "Open", "Outcome", "OutcomeKind", "Past"]

OutcomeKind: TypeAlias = Literal[
    "labelled",
    "late",
    "revised",
    "retracted",
    "skipped",
    "flagged",
    "noted",
    "disagreed",
    "expired",
    "assumed",
    "repeated",
    "conflicting",
    "unknown",
    "refused",
]
OUTCOMES: tuple[OutcomeKind, ...] = get_args(OutcomeKind)

UNUSABLE: tuple[OutcomeKind, ...] = ("conflicting", "refused")
"""What somebody has to look at: the answer changes nothing, and is no double."""

_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)

_HEAVIEST = 100.0
"""Weight of a label that may be learnt as often as that."""

_decode_request = msgspec.json.Decoder(LabelRequest).decode


class Open(msgspec.Struct, frozen=True, gc=False):
    """An open request.

    Attributes
    ----------
    since
        Since when; None where time plays no role.
    given
        The answers so far, where several annotators are asked.
    missing
        How many are to come.
    passed, withdrew
        Who could not tell, and who took an answer back, where several annotators are asked.
    """

    request: LabelRequest
    since: float | None = None
    given: tuple[Label, ...] = ()
    missing: int = 1
    passed: tuple[str, ...] = ()
    withdrew: tuple[str, ...] = ()


class Past(msgspec.Struct, frozen=True, gc=False):
    """A request that has ended: as JSON, which is small, and the class that it has; None: none."""

    request: msgspec.Raw
    label: str | None


class Outcome(msgspec.Struct, frozen=True):
    """What became of an answer.

    Attributes
    ----------
    kind
        Learnt from: ``labelled``; ``late`` (the request had been closed); ``revised``. Without a
        label: ``skipped``; ``retracted``; ``expired`` (nobody answered in time, or ``assumed``
        where silence means a class). Nothing has ended: ``flagged``; ``noted`` (another's answer
        is to come); ``disagreed`` (the last word is asked for); ``repeated`` (said before).
        Not usable, `why` says: ``conflicting`` (the request is answered otherwise); ``unknown``
        (no such request); ``refused``.
    why
        For people; empty where there is nothing to say.
    record
        What goes to the training log, if anything does.
    entry
        What the request becomes, where it stays open and has changed.
    ask
        What is to be asked now.
    """

    kind: OutcomeKind
    why: str = ""
    record: Labelled | Closed | Flagged | None = None
    entry: Open | None = None
    ask: LabelRequest | None = None


class Ledger:
    """Matches answers to requests.

    Parameters
    ----------
    classes
        The declared classes; empty: any class is accepted.
    config
        What becomes of requests and answers.

    Attributes
    ----------
    counts
        Answers so far, by what became of them.
    """

    def __init__(self, classes: tuple[str, ...] = (), config: LedgerConfig | None = None) -> None:
        self._classes = frozenset(classes)
        self._config = config or LedgerConfig()
        self._open: dict[str, Open] = {}
        self._ended: dict[str, Past] = {}
        self._ids: dict[str, str] = {}
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
            False if nothing was opened: the request is open or has ended, or the user's id is
            that of another request still open, so that an answer by that id could be meant for
            either.
        """
        return self.reopen(Open(request, since, (), request.opinions))

    def reopen(self, entry: Open) -> bool:
        """Take up an open request as it was; see `open`."""
        request = entry.request
        if self.knows(request.request_id) or self._ids.get(request.id) in self._open:
            return False
        if request.id:
            self._ids[request.id] = request.request_id
        self._open[request.request_id] = entry
        return True

    def remember(self, request_id: str, past: Past) -> None:
        """Take note of a request that has ended, in the order of ending."""
        request = _decode_request(past.request)
        if request.id:
            self._ids[request.id] = request_id
        self._ended[request_id] = past

    def knows(self, request_id: str) -> bool:
        """Tell whether a request is open or has ended not long ago."""
        return request_id in self._open or request_id in self._ended

    def entry(self, request_id: str) -> Open:
        """Return an open request."""
        return self._open[request_id]

    def past(self, request_id: str) -> Past:
        """Return a request that has ended."""
        return self._ended[request_id]

    def find(self, event_id: str) -> LabelRequest | None:
        """Return the request, open or ended, for the event of a user's id."""
        request_id = self._ids.get(event_id) if event_id else None
        if request_id is None:
            return None
        if request_id in self._open:
            return self._open[request_id].request
        return _decode_request(self._ended[request_id].request)

    def expired(self, before: float) -> list[Outcome]:
        """Find the requests open since that time or earlier, oldest first; change nothing yet."""
        found = []
        for entry in self._open.values():
            if entry.since is None or entry.since > before:
                break
            found.append(self._expire(entry))
        return found

    def _expire(self, entry: Open) -> Outcome:
        request, silence = entry.request, self._config.on_expiry
        if entry.given and not request.disagreed:
            return self._labelled(entry, entry.given)
        if silence != "missing" and not entry.given:
            return Outcome("assumed", record=assumed(request, silence.removeprefix("class:")))
        record = closed(request, "expired", opinions=_opinions(entry.given))
        return Outcome("expired", record=record)

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
        """Count what `judge` or `expired` found, and note what it changes.

        Returns
        -------
        str or None
            The ended request that is forgotten in its place, if any.
        """
        self.counts[outcome.kind] += 1
        if outcome.entry is not None:
            self._open[outcome.entry.request.request_id] = outcome.entry
        record = outcome.record
        if record is None or isinstance(record, Flagged):
            return None
        label = record.label if isinstance(record, Labelled) else None
        entry = self._open.pop(record.request_id, None)
        if entry is None:
            past = self._ended[record.request_id]
            self._ended[record.request_id] = Past(past.request, label)
            return None
        self._ended[record.request_id] = Past(msgspec.Raw(encode(entry.request)), label)
        if len(self._ended) <= self._config.remember:
            return None
        forgotten = next(iter(self._ended))
        past = self._ended.pop(forgotten)
        event_id = _decode_request(past.request).id
        if self._ids.get(event_id) == forgotten:
            del self._ids[event_id]
        return forgotten

    def judge(self, label: Label) -> Outcome:
        """Tell what becomes of an answer, and change nothing yet."""
        if not isinstance(label.request_id, str):
            return _refused(f"request_id must be text, not {label.request_id!r}")
        if not self.knows(label.request_id):
            return Outcome("unknown", f"request {label.request_id!r} was never made, or long ago")
        if label.kind not in _KINDS:
            return _refused(f"kind must be one of {', '.join(_KINDS)}, not {label.kind!r}")
        reasons = self._config.reasons
        if label.reason and reasons and label.reason not in reasons:
            among = ", ".join(reasons)
            return _refused(f"reason {label.reason!r} is not configured; expected one of {among}")
        if label.kind == "flag":
            return Outcome("flagged", record=flagged(label))
        name = None
        if label.kind in ("label", "revise"):
            try:
                name = self._class(label)
            except ValueError as error:
                return _refused(str(error))
        entry = self._open.get(label.request_id)
        if entry is None:
            return self._judge_ended(self._ended[label.request_id], label, name)
        if label.kind == "retract":
            return self._take_back(entry, label)
        return self._skip(entry, label) if name is None else self._judge_open(entry, label, name)

    def _class(self, label: Label) -> str:
        """Return the class that is meant, by the current label schema."""
        name = current_class(self._config, class_name(label.label), label.schema)
        if self._classes and name not in self._classes:
            declared = ", ".join(sorted(self._classes))
            raise ValueError(f"class {name!r} is not declared; expected one of {declared}")
        if not isinstance(label.weight, float | int) or not 0.0 < label.weight <= _HEAVIEST:
            raise ValueError(f"weight must be in (0, {_HEAVIEST:g}], not {label.weight!r}")
        return name

    def _judge_open(self, entry: Open, label: Label, name: str) -> Outcome:
        label = msgspec.structs.replace(label, label=name)
        before = [each for each in entry.given if each.annotator == label.annotator]
        if before and label.kind == "label":
            return _said_before(str(before[0].label), name, label)
        if entry.request.disagreed:
            # Whoever has the last word, the two who disagreed stand beside it.
            return self._labelled(entry, (*entry.given, label), label)
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
            return self._labelled(entry, given)
        request = msgspec.structs.replace(entry.request, disagreed=True)
        changed = msgspec.structs.replace(changed, request=request, missing=1)
        return Outcome("disagreed", entry=changed, ask=request)

    def _labelled(
        self, entry: Open, given: tuple[Label, ...], last: Label | None = None
    ) -> Outcome:
        """End a request by its answers; `last` has the last word, else they agree."""
        label = last or given[0]
        opinions = _opinions(given) if entry.request.opinions > 1 else ()
        return Outcome(
            "labelled",
            record=labelled(entry.request, label, str(label.label), opinions=opinions),
        )

    def _skip(self, entry: Open, label: Label) -> Outcome:
        """Note that an annotator cannot tell: those who can decide without."""
        if any(each.annotator == label.annotator for each in entry.given):
            return _said_before(str(entry.given[0].label), None, label)
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
            return self._labelled(entry, entry.given)
        record = closed(entry.request, "skipped", label, opinions=_opinions(entry.given))
        return Outcome("skipped", record=record)

    def _take_back(self, entry: Open, label: Label) -> Outcome:
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

    def _judge_ended(self, past: Past, label: Label, name: str | None) -> Outcome:
        if label.kind == "skip" or (label.kind == "retract" and past.label is None):
            return Outcome("repeated", f"request {label.request_id!r} has ended already")
        if (past.label is not None and label.kind == "label") or past.label == name is not None:
            return _said_before(past.label, name, label)
        request = _decode_request(past.request)
        if name is None:
            record = closed(request, "retracted", label, was=past.label)
            return Outcome("retracted", record=record)
        late = past.label is None
        found = labelled(request, label, name, was=past.label, late=late)
        return Outcome("late" if late else "revised", record=found)


def _said_before(was: str | None, name: str | None, label: Label) -> Outcome:
    if was == name:
        return Outcome("repeated", f"request {label.request_id!r} is answered so already")
    return Outcome(
        "conflicting",
        f"request {label.request_id!r} is answered {was!r} already; kind 'revise' changes that",
    )


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)


def _refused(why: str) -> Outcome:
    return Outcome("refused", why)


def _opinions(given: tuple[Label, ...]) -> tuple[Opinion, ...]:
    return tuple(Opinion(each.annotator, str(each.label), each.time) for each in given)
