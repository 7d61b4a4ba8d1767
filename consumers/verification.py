"""Recomputing a live run from its topics: every decision, every training record."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import msgspec

from consumers.answers_given import AnswersGiven
from consumers.gold_given import GoldGiven
from consumers.log import Record
from consumers.messages import BadMessage, LabelReader, MessageReader, UnsolicitedLabel
from consumers.recorded_topics import RecordedTopics
from consumers.topics import Topics
from stream_al.config import Config, LogConfig, decision_hash, validate
from stream_al.engine import Core
from stream_al.errors import ConfigError, InputError
from stream_al.gate.gate import Gate
from stream_al.labels.gold import is_gold
from stream_al.learner.fold import Refold, fingerprint
from stream_al.records import (
    Decision,
    LabelRequest,
    Observed,
    Prediction,
    class_name,
    encode,
    request_id,
)
from stream_al.replay.differences import what_differs
from stream_al.replay.verify import Verification
from stream_al.training import (
    Closed,
    Configured,
    Flagged,
    Gold,
    Labelled,
    TrainingRecord,
    Unsolicited,
    decode_training,
)

__all__ = ["LiveVerifier"]

_SHOWN = 20

_decode_prediction = msgspec.json.Decoder(Prediction).decode
_decode_request = msgspec.json.Decoder(LabelRequest).decode


class _Partition:
    """Where one partition's verification stands."""

    def __init__(
        self, number: int, events: Iterator[Record], predictions: Iterator[Record]
    ) -> None:
        self.number = number
        self.events = events
        self.predictions = predictions
        self.record: Record | None = None
        self.prediction: Prediction | None = None


class LiveVerifier:
    """Recomputes what the gates decided and what the ledgers recorded.

    Each decision is recomputed with the training log folded up to the model version that it names,
    with the configuration that its hash names, at the time that it names. Partitions are walked
    together in the order of model versions, so the log is folded once.

    The run may go on meanwhile. The training log is read to the end that it has at first and
    everything else after that, so that all it stems from is there; decisions of later models
    are left for another time.

    Parameters
    ----------
    topics
        Where to read.
    log
        Names the training log; the rest is recorded there.

    Raises
    ------
    InputError
        If the training log is missing or does not begin with a configuration.
    """

    def __init__(self, topics: RecordedTopics, log: LogConfig) -> None:
        self._topics = topics
        self._names = Topics.of(log)
        self._training = topics.read(self._names.training, 0)
        self._held: Record | None = None
        first = next(self._training, None)
        if first is None:
            raise InputError("is empty or missing; nothing to verify", self._names.training)
        self._gates: dict[str, tuple[Gate, MessageReader]] = {}
        config, configured = self._configured(first)
        # Where the events are is the run's to say; what reads its log need not know.
        self._names = Topics.of(config.log)
        self._core = Core(config)
        self._labels_reader = LabelReader(config.message)
        self._differences = 0
        self._first: list[str] = []
        self._notes: list[str] = []
        self._checked = self._records = 0
        self._observed: dict[tuple[str, int, int], Observed] = {}
        self._requests: dict[str, LabelRequest] = {}
        self._twice: dict[str, bytes] = {}
        self._answers = AnswersGiven(config)
        self._gold = GoldGiven(self._answers)
        self._unsolicited: dict[tuple[str, int, int], UnsolicitedLabel] = {}
        self._take(first, configured)
        here = fingerprint()
        for name, value in configured.fingerprint.items():
            if here.get(name) != value:
                self._notes.append(f"{name}: recorded with {value}, recomputed with {here[name]}")

    def run(self, progress: Callable[[int], object] | None = None) -> Verification:
        """Verify everything; see `stream_al.replay.verify.Verification`."""
        self._read_labels()
        waiting: list[tuple[int, int, _Partition]] = []
        for number in range(self._topics.partitions(self._names.predictions)):
            self._queue(
                waiting,
                _Partition(
                    number,
                    self._topics.read(self._names.events, number),
                    self._topics.read(self._names.predictions, number),
                ),
            )
        while waiting:
            version, _, partition = heapq.heappop(waiting)
            if not self._fold_to(version):
                break
            self._check(partition)
            self._queue(waiting, partition)
            if progress is not None and not self._checked % 1000:
                progress(1000)
        while (last := self._next_training()) is not None:
            self._take(last, self._decoded(last))
        self._check_requests()
        self._find_published()
        for place in self._observed:
            self._differ(f"event {request_id(*place)} was to be observed; no record says so")
        return Verification(
            decisions=self._checked,
            records=self._records,
            differences=self._differences,
            first=tuple(self._first),
            notes=tuple(self._notes),
        )

    def _queue(self, waiting: list[tuple[int, int, _Partition]], partition: _Partition) -> None:
        for record in partition.predictions:
            try:
                prediction = _decode_prediction(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._differ(f"{_place(record)}: no prediction: {error}")
                continue
            partition.record, partition.prediction = record, prediction
            heapq.heappush(waiting, (prediction.model_version, partition.number, partition))
            return

    def _check(self, partition: _Partition) -> None:
        record, prediction = partition.record, partition.prediction
        if record is None or prediction is None:
            return
        if prediction.config_hash not in self._gates:
            self._look_ahead()
        gate = self._gates.get(prediction.config_hash)
        if gate is None:
            self._differ(
                f"{_place(record)}: configuration {prediction.config_hash} is not recorded"
            )
            return
        self._core.gate, reader = gate
        for message in partition.events:
            decision = self._decide(message, reader, prediction)
            if message.offset >= prediction.offset:
                break
            if decision is not None:
                self._differ(f"event {_place(message)} has no prediction")
        else:
            self._differ(f"{_place(record)}: its event {prediction.offset} is not there")
            return
        self._checked += 1
        name = f"{prediction.topic}:{prediction.partition}:{prediction.offset}"
        if message.offset != prediction.offset or decision is None:
            self._differ(f"{_place(record)}: event {name} is not there, or cannot be decided")
            return
        if encode(decision.prediction) != record.value:
            told = what_differs(record.value or b"", decision.prediction)
            self._differ(f"{_place(record)}, event {name}: {told}")

    def _decide(
        self, message: Record, reader: MessageReader, prediction: Prediction
    ) -> Decision | None:
        try:
            event = reader.read(message)
        except BadMessage:
            return None
        decisions: list[Decision] = []
        try:
            self._core.decide_into(decisions, (event,), prediction.batch_time)
        except Exception:  # noqa: BLE001 - what the gate refused for whatever a model raised
            return None
        decision = decisions[0]
        if decision.observed is not None:
            self._observed[event.topic, event.partition, event.offset] = decision.observed
        if decision.request is not None:
            self._requests[decision.request.request_id] = decision.request
            self._answers.ask(decision.request)
        return decision

    def _fold_to(self, version: int) -> bool:
        """Fold up to a version; False where only what was written since has it."""
        # Not held in a variable: where labels are voided another fold takes its place.
        while self._core.fold.next_offset < version:
            record = self._next_training()
            if record is None:
                if self._goes_on():
                    return False
                end = self._core.fold.next_offset
                self._differ(f"the training log ends at {end}, before {version}")
                return True
            self._take(record, self._decoded(record))
        return True

    def _look_ahead(self) -> None:
        """Take in the configurations that come before the next data: they move no version."""
        while (record := self._next_training()) is not None:
            training = self._decoded(record)
            if not isinstance(training, Configured):
                self._held = record
                return
            self._take(record, training)

    def _next_training(self) -> Record | None:
        held, self._held = self._held, None
        if held is not None:
            return held
        return next(self._training, None)

    def _goes_on(self) -> bool:
        """Tell whether the training log has grown since it was read."""
        start = self._core.fold.next_offset
        return next(self._topics.read(self._names.training, 0, start), None) is not None

    def _decoded(self, record: Record) -> TrainingRecord:
        try:
            training: TrainingRecord = decode_training(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"offset {record.offset}: {error}", record.topic) from error
        return training

    def _take(self, record: Record, training: TrainingRecord) -> None:
        """Check a training record against what was recomputed, and fold it."""
        offset = record.offset
        self._records += 1
        if isinstance(training, Configured):
            self._configured(record)
        elif isinstance(training, Observed):
            place = (training.topic, training.partition, training.offset)
            if self._observed.pop(place, None) != training:
                self._differ(f"training record {offset} is not what {request_id(*place)} was")
        elif isinstance(training, Labelled | Closed | Flagged):
            told = self._answers.difference(training)
            if told is not None:
                self._differ(f"training record {offset} {told}")
        elif isinstance(training, Gold):
            self._gold.take(offset, training)
        elif isinstance(training, Unsolicited):
            place = (training.topic, training.partition, training.offset)
            label = self._unsolicited.pop(place, None)
            if label is None or not _told(label, training):
                self._differ(f"training record {offset} is not what {request_id(*place)} told")
        try:
            self._core.fold.take(offset, record.value or b"", training)
        except Refold as asked:
            self._core.fold = asked.fold
            for each in self._topics.read(self._names.training, 0):
                if each.offset > offset:
                    break
                asked.fold.take(each.offset, each.value or b"", self._decoded(each))

    def _configured(self, record: Record) -> tuple[Config, Configured]:
        try:
            training = decode_training(record.value or b"")
            if not isinstance(training, Configured):
                raise InputError("starts without a configuration", record.topic)
            config = validate(msgspec.convert(training.config, Config))
        except (msgspec.MsgspecError, UnicodeDecodeError, ConfigError) as error:
            raise InputError(f"offset {record.offset}: {error}", record.topic) from error
        name = decision_hash(config)
        if name not in self._gates:
            gate = Gate(config.gate, config_hash=name)
            self._gates[name] = gate, MessageReader(config.message)
        return config, training

    def _reached(self, request: LabelRequest) -> bool:
        state = self._core.states.get((request.topic, request.partition))
        return state is not None and request.offset < state.next_offset

    def _read_labels(self) -> None:
        for number in range(self._topics.partitions(self._names.labels)):
            for record in self._topics.read(self._names.labels, number):
                try:
                    label = self._labels_reader.read(record)
                except BadMessage:
                    continue
                if isinstance(label, UnsolicitedLabel):
                    self._unsolicited[record.topic, record.partition, record.offset] = label
                else:
                    self._answers.add(label)

    def _find_published(self) -> None:
        """Look for observed events that the training log has received since it was read."""
        start = self._core.fold.next_offset
        for record in self._topics.read(self._names.training, 0, start):
            training = self._decoded(record)
            if isinstance(training, Observed):
                place = (training.topic, training.partition, training.offset)
                if self._observed.get(place) == training:
                    del self._observed[place]

    def _check_requests(self) -> None:
        for number in range(self._topics.partitions(self._names.label_requests)):
            for record in self._topics.read(self._names.label_requests, number):
                try:
                    request = _decode_request(record.value or b"")
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._differ(f"{_place(record)}: no label request: {error}")
                    continue
                if request.disagreed:
                    # The ledger's, about what was asked before.
                    request = msgspec.structs.replace(request, disagreed=False)
                    if encode(request) != self._twice.get(request.request_id):
                        self._differ(f"{_place(record)}: {request.request_id} asks something else")
                    continue
                if is_gold(request.request_id):
                    for told in self._gold.differences(record.value or b"", request):
                        self._differ(f"{_place(record)}: {told}")
                    continue
                self._gold.asked(request)
                expected = self._requests.pop(request.request_id, None)
                if request.opinions > 1 and record.value is not None:
                    self._twice[request.request_id] = record.value
                if expected is None and not self._reached(request):
                    continue
                if expected is None:
                    self._differ(f"{_place(record)}: {request.request_id} was not to be asked")
                elif encode(expected) != record.value:
                    self._differ(f"{_place(record)}: {request.request_id} asks something else")
        for name in self._requests:
            self._differ(f"{name} was to be asked, and no request is there")
        for told in self._gold.strays():
            self._differ(told)

    def _differ(self, what: str) -> None:
        self._differences += 1
        if len(self._first) < _SHOWN:
            self._first.append(what)


def _told(label: UnsolicitedLabel, training: Unsolicited) -> bool:
    given = label.features or training.features
    return (class_name(label.label), given, label.id, label.source) == (
        training.label,
        training.features,
        training.id,
        training.source,
    )


def _place(record: Record) -> str:
    return f"{record.topic}:{record.partition}:{record.offset}"
