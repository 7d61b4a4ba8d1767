"""The gate as a machine: events in; predictions, label requests and observed events out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from consumers.errors import RebuildError, StopError
from consumers.introduction import configured
from consumers.log import Out, Partition, Record
from consumers.machine import Counts, Machine, Tick, Work
from consumers.messages import BadMessage, MessageReader
from consumers.messages.cloudevents import produced_headers
from consumers.messages.dead_letters import dead_letter
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.engine import Core
from stream_al.errors import InputError
from stream_al.gate.gate import GateState
from stream_al.learner.fold import Fold, Refold
from stream_al.learner.monitor import Insight
from stream_al.records import Decision, Event, encode
from stream_al.rolling import RollingAccuracy, RollingRatio
from stream_al.training import Labelled, decode_training

__all__ = ["RECENT", "GateMachine"]

RECENT = 10
"""Decisions of either kind that are kept for people to look at."""

_decode_state = msgspec.json.Decoder(GateState).decode


class GateMachine(Machine):
    """Decides about events; N of them share the partitions, each folds the whole training log.

    Parameters
    ----------
    config
        Validated.
    fold
        A fold to begin with, of the same learner configuration; an empty one where None.

    Attributes
    ----------
    recent
        The last committed decisions, `RECENT` that ask and as many that do not, oldest first. May
        be read from any thread.
    """

    role = "gate"
    whole_state = True
    slice_size = 250

    def __init__(self, config: Config, fold: Fold | None = None) -> None:
        self._config = config
        self._topics = topics = Topics.of(config.log)
        self.inputs = (topics.events,)
        self.changelog = topics.gate_state
        self.follows = topics.training
        self.core = Core(config)
        if fold is not None:
            self.core.fold = fold
        self._name = config.log.name
        self._reader = MessageReader(config.message)
        self.insight: Insight | None = None
        self.recent: tuple[tuple[Decision, ...], tuple[Decision, ...]] = (), ()
        self._asked = RollingRatio()
        self._right = RollingAccuracy()
        self._told = -1

    def restore(self, number: int, entries: Iterable[Record]) -> dict[Partition, int]:
        """Take over a partition; see `Machine.restore`.

        Raises
        ------
        StopError
            If the state is that of another topic's partition.
        """
        place = (self._topics.events, number)
        self.drop(number)
        for record in entries:
            if record.value is not None:
                if record.key != _state_key(*place):
                    was = (record.key or b"").decode(errors="replace")
                    raise StopError(
                        f"the state in {self.changelog!r}, partition {number}, is that of {was!r}, "
                        f"and the events are to come from {place[0]!r}: another topic of events "
                        "needs another log.name"
                    )
                self.core.states[place] = _decode_state(record.value)
        state = self.core.states.get(place)
        return {} if state is None else {Partition(*place): state.next_offset}

    def drop(self, number: int) -> None:
        """Forget a partition."""
        self.core.states.pop((self._topics.events, number), None)

    def process(self, records: Sequence[Record], tick: Tick) -> Work:
        """Decide about a batch with one model; see `Machine.process`."""
        outs: list[Out] = []
        counts: Counts = Counter()
        events: list[Event] = []
        messages: list[Record] = []
        reached: dict[int, int] = {}
        read = self._reader.read
        for record in records:
            reached[record.partition] = record.offset + 1
            try:
                events.append(read(record))
            except BadMessage as bad:
                self._refuse(record, "message", bad.kind, str(bad), outs, counts)
            else:
                messages.append(record)
        decisions = self._decide(events, messages, tick.now, outs, counts)
        for decision, event, message in zip(decisions, events, messages, strict=True):
            self._put_out(decision, event, message, outs)
        asked = self._count(decisions, counts)
        counts["events_total",] += len(records)
        topic = self._topics.events
        for number, offset in reached.items():
            state = self.core.state_of(topic, number)
            state.next_offset = offset
            key = _state_key(topic, number)
            outs.append(Out(self.changelog, encode(state), key, (), number))
        offsets = {Partition(topic, n): offset for n, offset in reached.items()}
        # From the end, so that a batch of thousands costs ten.
        autos = islice((each for each in reversed(decisions) if each.request is None), RECENT)
        shown = [*asked[-RECENT:], *reversed([*autos])]
        return Work(outs, offsets, counts, decisions=shown)

    def _decide(
        self,
        events: list[Event],
        messages: list[Record],
        now: float,
        outs: list[Out],
        counts: Counts,
    ) -> list[Decision]:
        """Decide about all; what cannot be decided leaves both lists, and is refused."""
        decisions: list[Decision] = []
        while True:
            begin = len(decisions)
            try:
                self.core.decide_into(decisions, events[begin:] if begin else events, now)
            except Exception as error:  # noqa: BLE001 - a user's model may raise anything at all
                # Without this, one event that the model cannot take would stop its partition.
                bad = len(decisions)
                del events[bad]
                kind = "features" if isinstance(error, InputError) else "model"
                told = f"{type(error).__name__}: {error}"
                self._refuse(messages.pop(bad), "decide", kind, told, outs, counts)
            else:
                return decisions

    def _put_out(self, decision: Decision, event: Event, message: Record, outs: list[Out]) -> None:
        request, observed = decision.request, decision.observed
        topics, number = self._topics, event.partition
        name = f"{event.topic}:{number}:{event.offset}"
        # A header costs more than a number of the record, and `batch_time` says the same.
        headers = produced_headers("prediction", name, None, message.headers, self._name)
        outs.append(
            Out(topics.predictions, encode(decision.prediction), event.key, headers, number)
        )
        if request is not None:
            headers = produced_headers(
                "label-request", name, decision.prediction.batch_time, message.headers, self._name
            )
            key = name.encode() if event.key is None else event.key
            outs.append(Out(topics.label_requests, encode(request), key, headers))
        if observed is not None:
            outs.append(Out(topics.training, encode(observed), name.encode(), (), 0))

    def _refuse(
        self, record: Record, stage: str, kind: str, told: str, outs: list[Out], counts: Counts
    ) -> None:
        outs.append(dead_letter(record, self._config.log, stage, kind, told))
        counts["dead_letters_total", stage, kind] += 1

    def _count(self, decisions: list[Decision], counts: Counts) -> list[Decision]:
        """Count decisions; returns those that ask."""
        asked = [decision for decision in decisions if decision.request is not None]
        for decision in asked:
            counts["label_requests_total", decision.prediction.reason] += 1
        counts["predictions_total", "ask"] += len(asked)
        counts["predictions_total", "auto"] += len(decisions) - len(asked)
        return asked

    def due(self, tick: Tick) -> bool:  # noqa: ARG002 - the gate does nothing without an event
        """Tell that nothing falls due by time."""
        return False

    def settled(self, counts: Counts, decisions: Sequence[Decision]) -> None:
        """Count what was asked, and keep the last decisions; see `Machine.settled`."""
        asked = counts["predictions_total", "ask"]
        self._asked.add(asked, asked + counts["predictions_total", "auto"])
        asks, autos = self.recent
        # A pair of new tuples, so that other threads read whole ones.
        self.recent = (
            (*asks, *(each for each in decisions if each.asked))[-RECENT:],
            (*autos, *(each for each in decisions if not each.asked))[-RECENT:],
        )

    def rolling(self) -> dict[str, float]:
        """Return the rolling gauges by name."""
        return {
            "query_ratio": self._asked.value,
            "rolling_accuracy_naive_ratio": self._right.value,
        }

    @property
    def positions(self) -> dict[Partition, int]:
        """The next offsets; see `Machine.positions`."""
        states = list(self.core.states.items())
        return {Partition(*place): state.next_offset for place, state in states}

    @property
    def introduction(self) -> Out | None:
        """The configuration, unless the log has recorded it."""
        if self.core.gate.config_hash in self.core.fold.configured:
            return None
        return configured(self._config)

    @property
    def next_followed(self) -> int:
        """The next training record to fold."""
        return self.core.fold.next_offset

    def follow(self, records: Sequence[Record]) -> None:
        """Fold training records.

        Raises
        ------
        StopError
            If one cannot be read: passing over it would be another model than other replicas'.
        ConfigError
            If the log is folded in another way than this configuration's.
        RebuildError
            If all is to be folded again, without labels that are not to count.
        """
        for record in records:
            raw = record.value or b""
            try:
                training = decode_training(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise StopError(
                    f"{record.topic}, offset {record.offset}: no training record that this version "
                    f"can read ({error}); only gate and ledger, of one version, may write there"
                ) from error
            try:
                self.core.fold.take(record.offset, raw, training)
            except Refold as asked:
                self.core.fold = asked.fold
                raise RebuildError(
                    f"{record.topic}, offset {record.offset}: labels are not to count any more; "
                    "folding from the start"
                ) from None
            if isinstance(training, Labelled):
                self._right.add(training.label, training.prediction)

    def reflect(self) -> None:
        """Take down what the fold tells about itself, for whoever reads it from another thread."""
        if self._told != self.core.model.version:
            self._told = self.core.model.version
            self.insight = self.core.fold.monitor.insight()

    @property
    def behind(self) -> bool:
        """Whether an owned partition was decided with a later model than is folded so far."""
        version = self.core.model.version
        return any(state.version > version for state in self.core.states.values())


def _state_key(topic: str, number: int) -> bytes:
    return f"{topic}:{number}".encode()
