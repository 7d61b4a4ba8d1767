"""The ledger as a machine: label requests and labels in; the training log out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from consumers.introduction import configured
from consumers.ledger_state import LedgerState
from consumers.log import Out, Partition, Record
from consumers.machine import Counts, Machine, Tick, Work
from consumers.messages import BadMessage, LabelReader, UnsolicitedLabel
from consumers.messages.dead_letters import dead_letter
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.labels.endings import closed
from stream_al.labels.gold import GoldCase, is_gold
from stream_al.labels.outcomes import UNUSABLE, Outcome
from stream_al.learner.fold import require_same_fold
from stream_al.records import LabelRequest, class_name, encode
from stream_al.training import (
    Closed,
    Configured,
    Flagged,
    Gold,
    Labelled,
    Unsolicited,
    decode_training,
)

__all__ = ["LedgerMachine"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode


class LedgerMachine(Machine):
    """Matches labels to requests, closes what nobody answers, refuses what cannot be used.

    Requests and labels have the same keys and partition counts, so a label and its request meet in
    one partition.

    Parameters
    ----------
    config
        Validated.
    gold
        Cases whose class is known.

    Attributes
    ----------
    open_since
        Since when the oldest request of all partitions is open; None without any. May be read from
        any thread.
    """

    role = "ledger"
    whole_state = False
    follows = None

    def __init__(self, config: Config, gold: Sequence[GoldCase] = ()) -> None:
        self._config = config
        self._gold = gold
        self._topics = topics = Topics.of(config.log)
        self.inputs = (topics.label_requests, topics.labels)
        self.changelog = topics.ledger_state
        self._labels = LabelReader(config.message)
        self._states: dict[int, LedgerState] = {}
        self._delays: list[float] = []
        self.open_since: float | None = None

    def restore(self, number: int, entries: Iterable[Record]) -> dict[Partition, int]:
        """Take over a partition; see `Machine.restore`."""
        state = self._states[number] = LedgerState(self._config, self._gold)
        state.restore(entries)
        self._find_oldest()
        return {Partition(topic, number): offset for topic, offset in state.next.items()}

    def drop(self, number: int) -> None:
        """Forget a partition."""
        self._states.pop(number, None)
        self._find_oldest()

    @property
    def positions(self) -> dict[Partition, int]:
        """The next offsets; see `Machine.positions`."""
        return {
            Partition(topic, number): offset
            for number, state in list(self._states.items())
            for topic, offset in list(state.next.items())
        }

    @property
    def idle(self) -> bool:
        """Whether no request is open and no label waits for one."""
        return not any(self.open_requests.values()) and not any(self.early_labels.values())

    @property
    def open_requests(self) -> Mapping[int, int]:
        """Open requests, by partition."""
        return {number: len(state.ledger) for number, state in list(self._states.items())}

    @property
    def expiry(self) -> float | None:
        """How long a request may be open, seconds; None: it never expires."""
        return self._config.ledger.expire_after_s

    @property
    def early_labels(self) -> Mapping[int, int]:
        """Labels that wait for their request, by partition."""
        return {number: state.waiting for number, state in list(self._states.items())}

    @property
    def introduction(self) -> Out | None:
        """The configuration, with which every training log begins."""
        return configured(self._config)

    def meet(self, first: Record) -> None:
        """See that the log is folded as this configuration folds; see `Machine.meet`.

        A class that gates do not know would end all of them, for good.
        """
        try:
            training = decode_training(first.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"offset {first.offset}: {error}", first.topic) from error
        if isinstance(training, Configured):
            require_same_fold(training, self._config.learner)

    def due(self, tick: Tick) -> bool:
        """Tell whether a request or a waiting label has run out of time."""
        return any(self._due(number, state, tick) for number, state in self._states.items())

    def _find_oldest(self) -> None:
        # Here and not where it is read: another thread would look into what this one changes.
        found = [state.ledger.open_since for state in self._states.values()]
        self.open_since = min((since for since in found if since is not None), default=None)

    def _due(self, number: int, state: LedgerState, tick: Tick) -> bool:
        open_since, waiting_since = state.ledger.open_since, state.waiting_since
        return (open_since is not None and open_since <= self._expiry(number, tick)) or (
            waiting_since is not None and waiting_since <= self._patience(number, tick)
        )

    def _expiry(self, number: int, tick: Tick) -> float:
        """Return the time of opening up to which requests expire.

        Only what was stored before the labels were last read to their end is known to be
        unanswered.
        """
        after = self._config.ledger.expire_after_s
        drained = tick.drained.get(Partition(self._topics.labels, number))
        return float("-inf") if after is None or drained is None else drained - after

    def _patience(self, number: int, tick: Tick) -> float:
        drained = tick.drained.get(Partition(self._topics.label_requests, number))
        return float("-inf") if drained is None else drained - self._config.ledger.early_wait_s

    def process(self, records: Sequence[Record], tick: Tick) -> Work:
        """Match a batch; see `Machine.process`."""
        outs: list[Out] = []
        counts: Counts = Counter()
        self._delays = []
        offsets: dict[Partition, int] = {}
        concerned = {record.partition for record in records}
        concerned |= {n for n, state in self._states.items() if self._due(n, state, tick)}
        for number in sorted(concerned):
            state = self._states[number]
            state.now = max(state.now, tick.now)
            mine = [record for record in records if record.partition == number]
            for record in mine:
                state.next[record.topic] = record.offset + 1
            # Requests first: a label in the same batch may answer one.
            for record in mine:
                if record.topic == self._topics.label_requests:
                    self._take_request(state, record, outs, counts)
            for record in mine:
                if record.topic == self._topics.labels:
                    self._take_label(state, record, outs, counts)
            self._expire(number, state, tick, outs, counts)
            outs += state.changes(self.changelog, number)
            offsets |= {Partition(topic, number): offset for topic, offset in state.next.items()}
        self._find_oldest()
        return Work(outs, offsets, counts, {"label_delay_seconds": self._delays})

    def _take_request(
        self, state: LedgerState, record: Record, outs: list[Out], counts: Counts
    ) -> None:
        try:
            request = _decode_request(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(record, "request", "unreadable", str(error), outs, counts)
            return
        if request.disagreed or is_gold(request.request_id):
            # It comes from this ledger, which has kept it open, and may have forgotten its end.
            return
        if not state.open(request):
            told = f"id {request.id!r} is that of a request still open, or the request has ended"
            self._refuse(record, "request", "not-opened", told, outs, counts)
            if not state.ledger.knows(request.request_id):
                # Whoever counts requests by their numbers would wait for this one for ever.
                self._put_out(closed(request, "refused"), outs)
            return
        opened = [request]
        if (gold := state.open_gold(request)) is not None:
            self._ask(gold, record, outs)
            opened.append(gold)
        for each in opened:
            for waiting in state.take_waiting(each.request_id):
                self._take_label(state, waiting, outs, counts)

    def _take_label(
        self, state: LedgerState, record: Record, outs: list[Out], counts: Counts
    ) -> None:
        try:
            label = self._labels.read(record)
        except BadMessage as bad:
            self._refuse(record, "label", bad.kind, str(bad), outs, counts)
            return
        if isinstance(label, UnsolicitedLabel):
            self._take_unsolicited(state, label, record, outs, counts)
            return
        outcome = state.ledger.judge(label)
        if outcome.kind == "unknown":
            state.wait(label.request_id, record)
            counts["labels_total", "early"] += 1
            return
        self._settle(state, outcome, outs, counts)
        if outcome.kind in UNUSABLE:
            self._refuse(record, "label", outcome.kind, outcome.why, outs, counts)
        if outcome.ask is not None:
            self._ask(outcome.ask, record, outs)

    def _ask(self, request: LabelRequest, record: Record, outs: list[Out]) -> None:
        """Ask in the partition, and by the key, of a request or a label."""
        topic = self._topics.label_requests
        outs.append(Out(topic, encode(request), record.key, (), record.partition))

    def _take_unsolicited(
        self,
        state: LedgerState,
        label: UnsolicitedLabel,
        record: Record,
        outs: list[Out],
        counts: Counts,
    ) -> None:
        declared = self._config.learner.classes
        try:
            name = class_name(label.label)
        except ValueError as error:
            self._refuse(record, "label", "refused", str(error), outs, counts)
            return
        if declared and name not in declared:
            told = f"class {name!r} is not declared; expected one of {', '.join(declared)}"
            self._refuse(record, "label", "refused", told, outs, counts)
            return
        known = None if label.features else state.ledger.find(label.id)
        if known is None and not label.features:
            told = (
                "nobody asked for this label, and it has neither features of its own to learn "
                "from nor the id of an event that was asked about"
            )
            self._refuse(record, "label", "no-features", told, outs, counts)
        else:
            training = Unsolicited(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                id=label.id,
                time=label.time,
                features=label.features if known is None else known.features,
                label=name,
                source=label.source,
                request_id="" if known is None else known.request_id,
            )
            outs.append(Out(self._topics.training, encode(training), record.key, (), 0))
            counts["labels_total", "unsolicited"] += 1

    def _settle(
        self, state: LedgerState, outcome: Outcome, outs: list[Out], counts: Counts
    ) -> None:
        if outcome.kind == "labelled":
            since = state.ledger.entry(outcome.ends).since
            self._delays.append(0.0 if since is None else state.now - since)
        state.settle(outcome)
        counts["labels_total", outcome.kind] += 1
        if outcome.record is not None:
            self._put_out(outcome.record, outs)

    def _put_out(self, record: Labelled | Closed | Gold | Flagged, outs: list[Out]) -> None:
        key = record.request_id.encode()
        outs.append(Out(self._topics.training, encode(record), key, (), 0))

    def _expire(
        self, number: int, state: LedgerState, tick: Tick, outs: list[Out], counts: Counts
    ) -> None:
        for outcome in state.ledger.expired(self._expiry(number, tick)):
            self._settle(state, outcome, outs, counts)
        limit = self._config.ledger.early_limit
        for request_id, record in state.give_up(self._patience(number, tick), limit):
            counts["labels_total", "unknown"] += 1
            told = (
                f"request {request_id!r} is not known here: it was never made, ended long ago, or "
                "the answer came with another message key than its request"
            )
            self._refuse(record, "label", "unknown", told, outs, counts)

    def _refuse(
        self, record: Record, stage: str, kind: str, told: str, outs: list[Out], counts: Counts
    ) -> None:
        outs.append(dead_letter(record, self._config.log, stage, kind, told))
        counts["dead_letters_total", stage, kind] += 1
