"""The simulated annotator as a machine: label requests in; labels out, from a recorded truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from consumers.log import Out, Partition, Record
from consumers.machine import Counts, Machine, Tick, Work
from consumers.messages.dead_letters import dead_letter
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.labels.gold import GoldCase, is_gold
from stream_al.records import Label, LabelRequest, encode
from stream_al.replay.annotator import SimulatedAnnotator
from stream_al.replay.durations import parse_delay
from stream_al.replay.sources import Source

__all__ = ["AnnotatorMachine", "Truths"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode


class Truths:
    """The recorded truth of each event, by the id that `feed` gives it.

    Memory grows with the stream.
    """

    def __init__(self, source: Source) -> None:
        self.by_id: dict[str, tuple[int, str]] = {}
        self.in_order: list[str] = []
        for index, row in enumerate(source.rows()):
            self.by_id[row.event.id or str(index)] = index, row.truth
            self.in_order.append(row.truth)


class _Pending(msgspec.Struct, frozen=True, tag="pending", tag_field="state"):
    """An answer that is not due yet."""

    due: float
    number: int
    key: bytes | None
    label: Label


class _Position(msgspec.Struct, frozen=True, tag="position", tag_field="state"):
    next: int
    number: int


_decode_entry = msgspec.json.Decoder(_Pending | _Position).decode


class _State:
    def __init__(self) -> None:
        self.next: int | None = None
        self.number = 0
        self.pending: dict[int, _Pending] = {}


class AnnotatorMachine(Machine):
    """Answers label requests as the simulated annotator of replays does, in real time.

    The configured delay is waited for by the clock; the other settings of the annotator hold as
    in replays. Requests about events that the stream does not hold become dead letters.

    Parameters
    ----------
    config
        Validated.
    truths
        The stream that `stream-al feed` plays.
    gold
        The cases that the ledger asks about among it.

    Raises
    ------
    ConfigError
        If the delay is a number of events, which passes differently for each partition.
    """

    role = "annotator"
    whole_state = False
    follows = None

    def __init__(self, config: Config, truths: Truths, gold: Sequence[GoldCase] = ()) -> None:
        if parse_delay(config.annotator.delay).events:
            raise ConfigError(
                f"must be time (30s, 36h) in a live run, not {config.annotator.delay!r} events",
                "annotator.delay",
            )
        self._config = config
        self._topics = topics = Topics.of(config.log)
        self.inputs = (topics.label_requests,)
        self.changelog = topics.annotator_state
        self._truths = truths.by_id
        # All classes that the stream will ever show are known by its last event.
        self._last = len(truths.in_order) - 1
        self._gold = {_about(case): case.label for case in gold}
        self._annotator = SimulatedAnnotator(config.annotator, config.learner.classes)
        for truth in truths.in_order:
            self._annotator.see(truth)
        self._states: dict[int, _State] = {}

    def restore(self, number: int, entries: Iterable[Record]) -> dict[Partition, int]:
        """Take over a partition; see `Machine.restore`."""
        state = self._states[number] = _State()
        last = {record.key: record.value for record in entries}
        for value in last.values():
            entry = None if value is None else _decode_entry(value)
            if isinstance(entry, _Pending):
                state.pending[entry.number] = entry
            elif entry is not None:
                state.next, state.number = entry.next, entry.number
        return {} if state.next is None else {Partition(self.inputs[0], number): state.next}

    def drop(self, number: int) -> None:
        """Forget a partition."""
        self._states.pop(number, None)

    @property
    def positions(self) -> dict[Partition, int]:
        """The next offsets; see `Machine.positions`."""
        return {
            Partition(self.inputs[0], number): state.next
            for number, state in list(self._states.items())
            if state.next is not None
        }

    @property
    def idle(self) -> bool:
        """Whether no answer is still to be given."""
        return not any(state.pending for state in list(self._states.values()))

    def due(self, tick: Tick) -> bool:
        """Tell whether an answer is due."""
        return any(
            entry.due <= tick.now
            for state in self._states.values()
            for entry in state.pending.values()
        )

    def process(self, records: Sequence[Record], tick: Tick) -> Work:
        """Answer what is due; see `Machine.process`."""
        outs: list[Out] = []
        counts: Counts = Counter()
        concerned: set[int] = set()
        for record in records:
            state = self._states[record.partition]
            state.next = record.offset + 1
            concerned.add(record.partition)
            self._take(state, record, tick.now, outs, counts)
        offsets: dict[Partition, int] = {}
        for number, state in self._states.items():
            due = sorted(
                (entry for entry in state.pending.values() if entry.due <= tick.now),
                key=lambda entry: (entry.due, entry.number),
            )
            for entry in due:
                del state.pending[entry.number]
                outs.append(Out(self.changelog, None, _key(entry.number), (), number))
                outs.append(Out(self._topics.labels, encode(entry.label), entry.key))
            if (due or number in concerned) and state.next is not None:
                position = encode(_Position(state.next, state.number))
                outs.append(Out(self.changelog, position, b"position", (), number))
                offsets[Partition(self.inputs[0], number)] = state.next
        return Work(outs, offsets, counts)

    def _known(self, request: LabelRequest) -> tuple[int, str] | None:
        if not is_gold(request.request_id):
            return self._truths.get(request.id)
        label = self._gold.get(_about(request))
        return None if label is None else (self._last, label)

    def _take(
        self, state: _State, record: Record, now: float, outs: list[Out], counts: Counts
    ) -> None:
        request = known = None
        try:
            request = _decode_request(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = str(error)
        else:
            told = f"the recorded stream has no event of id {request.id!r}"
            known = self._known(request)
        if request is None or known is None:
            outs.append(dead_letter(record, self._config.log, "annotate", "unknown", told))
            counts["dead_letters_total", "annotate", "unknown"] += 1
            return
        index, truth = known
        for answer in self._annotator.answers(request, truth, index, now):
            due = now if answer.due_time is None else answer.due_time
            label = msgspec.structs.replace(answer.label, time=due)
            state.number += 1
            entry = _Pending(due, state.number, record.key, label)
            state.pending[entry.number] = entry
            if due > now:
                out = Out(self.changelog, encode(entry), _key(entry.number), (), record.partition)
                outs.append(out)


def _about(asked: LabelRequest | GoldCase) -> bytes:
    return msgspec.json.encode([asked.id, asked.features], order="sorted")


def _key(number: int) -> bytes:
    return b"pending %d" % number
