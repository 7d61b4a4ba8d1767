"""The ledger: which requests are open, and what becomes of each answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_al.config import LedgerConfig
from stream_al.labels.endings import flagged
from stream_al.labels.gold import GoldCase, draw_case, gold_request
from stream_al.labels.judging import judge_ended, judge_expired, judge_open
from stream_al.labels.outcomes import OUTCOMES, Open, Outcome, OutcomeKind, Past, refused
from stream_al.labels.schema import current_class
from stream_al.records import ANSWER_KINDS, HEAVIEST, Label, LabelRequest, class_name, encode
from stream_al.training import Gold, Labelled

__all__ = ["Ledger"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode


class Ledger:
    """Matches answers to requests.

    Parameters
    ----------
    classes
        The declared classes; empty: any class is accepted.
    config
        What becomes of requests and answers.
    gold
        Cases whose class is known.
    salt
        Key of the draws of them.

    Attributes
    ----------
    counts
        Answers so far, by what became of them.
    """

    def __init__(
        self,
        classes: tuple[str, ...] = (),
        config: LedgerConfig | None = None,
        gold: Sequence[GoldCase] = (),
        salt: int = 0,
    ) -> None:
        self._classes = frozenset(classes)
        self._config = config or LedgerConfig()
        self._gold = gold
        self._salt = salt
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

    def open_gold(self, after: LabelRequest, since: float | None = None) -> LabelRequest | None:
        """Open the gold request that follows a request just opened; None: by the draw, none does.

        Its class is kept here, and stands nowhere in it.
        """
        case = draw_case(after.request_id, self._gold, self._config.gold_share, self._salt)
        if case is None:
            return None
        request = gold_request(after, case)
        return request if self.reopen(Open(request, since, known=case.label)) else None

    def reopen(self, entry: Open) -> bool:
        """Take up an open request as it was; see `open`."""
        request = entry.request
        if self.knows(request.request_id):
            return False
        # No event has the id of a gold case, and nothing is learnt with its features.
        if request.id and entry.known is None:
            if self._ids.get(request.id) in self._open:
                return False
            self._ids[request.id] = request.request_id
        self._open[request.request_id] = entry
        return True

    def remember(self, request_id: str, past: Past) -> None:
        """Take note of a request that has ended, in the order of ending."""
        request = _decode_request(past.request)
        if request.id and past.known is None:
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
            found.append(judge_expired(entry, self._config.silence))
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
        """Count what `judge` or `expired` found, and note what it changes.

        Returns
        -------
        str or None
            The ended request that is forgotten in its place, if any.
        """
        self.counts[outcome.kind] += 1
        if outcome.entry is not None:
            self._open[outcome.entry.request.request_id] = outcome.entry
        name, record = outcome.ends, outcome.record
        if not name:
            return None
        label = record.label if isinstance(record, Labelled | Gold) else None
        assumed = isinstance(record, Labelled) and record.assumed
        entry = self._open.pop(name, None)
        if entry is None:
            past = self._ended[name]
            self._ended[name] = Past(past.request, label, past.known, assumed)
            return None
        self._ended[name] = Past(msgspec.Raw(encode(entry.request)), label, entry.known, assumed)
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
            return refused(f"request_id must be text, not {label.request_id!r}")
        if not self.knows(label.request_id):
            return Outcome("unknown", f"request {label.request_id!r} was never made, or long ago")
        if label.kind not in ANSWER_KINDS:
            return refused(f"kind must be one of {', '.join(ANSWER_KINDS)}, not {label.kind!r}")
        reasons = self._config.reasons
        if label.reason and reasons and label.reason not in reasons:
            among = ", ".join(reasons)
            return refused(f"reason {label.reason!r} is not configured; expected one of {among}")
        if label.kind == "flag":
            return Outcome("flagged", record=flagged(label))
        name = None
        if label.kind in ("label", "revise"):
            try:
                name = self._class(label)
            except ValueError as error:
                return refused(str(error))
        entry = self._open.get(label.request_id)
        if entry is None:
            return judge_ended(self._ended[label.request_id], label, name)
        return judge_open(entry, label, name)

    def _class(self, label: Label) -> str:
        """Return the class that is meant, by the current label schema."""
        name = current_class(self._config, class_name(label.label), label.schema)
        if self._classes and name not in self._classes:
            declared = ", ".join(sorted(self._classes))
            raise ValueError(f"class {name!r} is not declared; expected one of {declared}")
        if not isinstance(label.weight, float | int) or not 0.0 < label.weight <= HEAVIEST:
            raise ValueError(f"weight must be in (0, {HEAVIEST:g}], not {label.weight!r}")
        return name
