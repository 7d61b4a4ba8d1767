"""Checks of what gates put out: predictions, label requests, observed events, states."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from consumers.testing.check_training import TrainingLog
from consumers.testing.findings import Context, Letters, place_of
from stream_al.gate.gate import GateState
from stream_al.records import Prediction, request_id

__all__ = ["check_events"]

_decode = msgspec.json.Decoder(Prediction).decode
_decode_state = msgspec.json.Decoder(GateState).decode


def check_events(context: Context, training: TrainingLog) -> set[str]:
    """Check every partition of the events; return the ids of what was asked."""
    topics = context.topics
    letters = Letters(context, topics.events)
    asked: set[str] = set()
    for number in range(context.partitions[topics.events]):
        partition = _Partition(context, training, letters, number)
        partition.check()
        partition.check_state()
        asked |= partition.asked
    letters.strays()
    for place in sorted(training.observed):
        context.need(False, f"{request_id(*place)} is observed, and has no prediction")
    return asked


class _Partition:
    def __init__(
        self, context: Context, training: TrainingLog, letters: Letters, number: int
    ) -> None:
        self._context = context
        self._training = training
        self._letters = letters
        self._number = number
        self._topic = context.topics.events
        self._committed = context.committed("gate", self._topic, number)
        self._version = 0
        self._decided = 0
        self._observed = 0
        self._last: Prediction | None = None
        self.asked: set[str] = set()

    def check(self) -> None:
        """Walk events and predictions together."""
        need = self._context.need
        predictions = self._predictions()
        prediction = next(predictions, None)
        for event in self._context.log.read(self._topic, self._number):
            where = place_of(event)
            while prediction is not None and prediction.offset < event.offset:
                need(False, f"a prediction is about no event: {_name(prediction)}")
                prediction = next(predictions, None)
            refused = self._letters.of(event)
            if prediction is not None and prediction.offset == event.offset:
                need(not refused, f"event {where} has a prediction and a dead letter")
                need(event.offset < self._committed, f"event {where} is decided, not committed")
                self._check_prediction(prediction)
                prediction = next(predictions, None)
                continue
            if event.offset < self._committed:
                need(refused, f"event {where} is committed, and has no prediction or dead letter")
            else:
                need(not refused, f"event {where} is refused, not committed")
                need(not self._context.settled, f"event {where} was never processed")
        while prediction is not None:
            need(False, f"a prediction is about no event: {_name(prediction)}")
            prediction = next(predictions, None)

    def _predictions(self) -> Iterator[Prediction]:
        need, last = self._context.need, -1
        for record in self._context.log.read(self._context.topics.predictions, self._number):
            try:
                prediction = _decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                need(False, f"{place_of(record)} is no prediction: {error}")
                continue
            found = prediction.topic, prediction.partition
            if found != (self._topic, self._number):
                need(False, f"{place_of(record)} is about {_name(prediction)}")
            elif prediction.offset <= last:
                need(False, f"{_name(prediction)} is predicted after {last}: twice or out of order")
            else:
                last = prediction.offset
                yield prediction

    def _check_prediction(self, prediction: Prediction) -> None:
        need, gate, name = self._context.need, self._context.config.gate, _name(prediction)
        self._decided += 1
        self._last = prediction
        place = (prediction.topic, prediction.partition, prediction.offset)
        if place in self._training.observed:
            self._training.observed.remove(place)
            self._observed += 1
        if prediction.action == "ask":
            self.asked.add(name)
            most = gate.budget * self._decided + gate.burst + 1e-9
            asked = len(self.asked)
            need(asked <= most, f"{name}: {asked} asked of {self._decided}, over the budget")
        version = prediction.model_version
        fell = f"{name}: the model's version falls from {self._version} to {version}"
        need(version >= self._version, fell)
        self._version = version
        digest = self._training.digest_at(version)
        if digest is None:
            need(False, f"{name}: no training record ends at model version {version}")
        else:
            wrong = f"{name}: digest {prediction.digest} at version {version}, the log's: {digest}"
            need(prediction.digest == digest, wrong)

    def check_state(self) -> None:
        """Compare the last state with what was put out."""
        context, need = self._context, self._context.need
        record = context.log.last(context.topics.gate_state, self._number)
        where = f"the gate's state of partition {self._number}"
        if record is None or record.value is None:
            need(self._last is None, f"{where} is missing")
            return
        state = _decode_state(record.value)
        last = self._last.state_digest if self._last is not None else 0
        for what, found, expected in (
            ("next_offset", state.next_offset, self._committed),
            ("events", state.events, self._decided),
            ("requests", state.requests, len(self.asked)),
            ("observed", state.observed, self._observed),
            ("checksum", state.checksum, last),
            ("version", state.version, self._version),
        ):
            need(found == expected, f"{where}: {what} is {found}, by the topics {expected}")


def _name(prediction: Prediction) -> str:
    return request_id(prediction.topic, prediction.partition, prediction.offset)
