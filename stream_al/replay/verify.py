"""Recomputing a recorded replay: every decision, every training record, from the stream itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from stream_al.config import Config, validate
from stream_al.engine import Core
from stream_al.errors import ConfigError, InputError, StreamAlError
from stream_al.labels.endings import closed
from stream_al.labels.ledger import Ledger
from stream_al.learner.fold import fingerprint, fold_id
from stream_al.records import Label, LabelRequest, Observed, encode, request_id
from stream_al.replay.annotator import SimulatedAnnotator
from stream_al.replay.differences import what_differs, what_field_differs
from stream_al.replay.recording import End, SourceDigest, decode_line
from stream_al.replay.sources import Row, Source
from stream_al.training import Closed, Configured, Labelled

__all__ = ["Verification", "Verifier", "recorded_config"]

_SHOWN = 20


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and what differs.

    Attributes
    ----------
    decisions, records
        Decisions and training records checked.
    differences
        How many things differ: 0 where the recording is what this code makes of the stream.
    first
        The first of them, for people.
    notes
        What limits the claim: another Python, river or numpy than the recording's, say.
    """

    decisions: int
    records: int
    differences: int
    first: tuple[str, ...]
    notes: tuple[str, ...]


class _Place(msgspec.Struct, gc=False):
    """As much of a decision row as is needed before it is recomputed."""

    topic: str
    partition: int
    offset: int
    model_version: int


_decode_place = msgspec.json.Decoder(_Place).decode


def recorded_config(training: Iterable[bytes], name: str) -> tuple[Config, Configured]:
    """Return the configuration that a recorded training log begins with.

    Raises
    ------
    InputError
        If the first line is no ``configured`` record that this version can read.
    """
    expected = "expected a 'configured' record, as `replay --training` writes it"
    for raw in training:
        try:
            record = decode_line(raw)
            if not isinstance(record, Configured):
                raise InputError(f"starts with {type(record).__name__!r}; {expected}", name, 1)
            return validate(msgspec.convert(record.config, Config)), record
        except (msgspec.MsgspecError, UnicodeDecodeError, ConfigError) as error:
            raise InputError(f"{error}; {expected}", name, 1) from error
    raise InputError(f"is empty; {expected}", name)


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """A request, what is known of its event, and its answers in the order in which they come."""

    request: LabelRequest
    truth: str
    index: int
    labels: list[Label]


class Verifier:
    """Recomputes a recording.

    Parameters
    ----------
    config
        The recording's, by `recorded_config`.
    decisions, training
        Lines of the two files, from the start.
    """

    def __init__(
        self, config: Config, decisions: Iterable[bytes], training: Iterable[bytes]
    ) -> None:
        self._core = Core(config)
        self._config = config
        self._annotator = SimulatedAnnotator(config.annotator, config.learner.classes)
        self._decisions = _numbered(decisions, 1)
        self._held: tuple[int, bytes] | None = None
        self._training = _numbered(training, 0)
        self._end: End | None = None
        self._published: dict[tuple[str, int, int], Observed] = {}
        self._ledger = Ledger(config.learner.classes, config.ledger)
        self._asked: dict[str, _Asked] = {}
        self._digest = SourceDigest()
        self._checked = 0
        self._records = 0
        self._differences = 0
        self._first: list[str] = []
        self._notes: list[str] = []

    def run(self, source: Source, progress: Callable[[int], object] | None = None) -> Verification:
        """Play the source again and compare.

        Raises
        ------
        InputError
            If the source cannot be read.
        """
        self._take_training(1)
        events = 0
        for row in source.rows():
            self._annotator.see(row.truth)
            self._digest.add(row)
            self._check(row, events)
            events += 1
            if progress is not None and not events % 1000:
                progress(1000)
        for number, _ in self._rest_of_decisions():
            self._differ(f"decision row {number} is of no event of the stream")
        self._take_training(None)
        for place in self._published:
            self._differ(f"event {request_id(*place)} was to be observed; no record says so")
        self._check_end(events)
        return Verification(
            decisions=self._checked,
            records=self._records,
            differences=self._differences,
            first=tuple(self._first),
            notes=tuple(self._notes),
        )

    def _check(self, row: Row, index: int) -> None:
        event = row.event
        place = (event.topic, event.partition, event.offset)
        number, raw = self._row_for(place)
        version = self._core.model.version if raw is None else _decode_place(raw).model_version
        self._take_training(version)
        decision = self._core.decide_one(event)
        self._checked += 1
        expected = encode(decision.prediction)
        if raw is None:
            self._differ(f"event {request_id(*place)} has no decision row")
        elif raw != expected:
            self._differ(f"decision row {number}: {what_differs(raw, decision.prediction)}")
        if decision.observed is not None:
            self._published[place] = decision.observed
        if decision.request is not None:
            self._ask(decision.request, row.truth, index, event.time)

    def _row_for(self, place: tuple[str, int, int]) -> tuple[int, bytes | None]:
        """Return the row that stands for an event; rows that stand for none are differences."""
        for number, raw in self._rest_of_decisions():
            try:
                found = _decode_place(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._differ(f"decision row {number} cannot be read: {error}")
                continue
            if (found.topic, found.partition, found.offset) == place:
                return number, raw
            state = self._core.states.get((found.topic, found.partition))
            if found.offset >= (state.next_offset if state else 0):
                self._held = (number, raw)
                return 0, None
            self._differ(f"decision row {number} is out of order, or twice")
        return 0, None

    def _rest_of_decisions(self) -> Iterator[tuple[int, bytes]]:
        while True:
            held, self._held = self._held, None
            item = held or next(self._decisions, None)
            if item is None:
                return
            yield item

    def _take_training(self, version: int | None) -> None:
        """Fold the recorded log up to a model version; None: to its end."""
        fold = self._core.fold
        while version is None or fold.next_offset < version:
            item = next(self._training, None)
            if item is None:
                return
            offset, raw = item
            try:
                record = decode_line(raw)
                if isinstance(record, End):
                    self._end = record
                    return
                self._records += 1
                fold.take(offset, raw, record)
            except (msgspec.MsgspecError, UnicodeDecodeError, StreamAlError) as error:
                self._differ(f"training record {offset} cannot be used: {error}")
                continue
            if isinstance(record, Observed):
                self._check_observed(offset, record)
            elif isinstance(record, Labelled | Closed):
                self._check_answered(offset, record)

    def _check_observed(self, offset: int, record: Observed) -> None:
        place = (record.topic, record.partition, record.offset)
        expected = self._published.pop(place, None)
        if expected is None:
            self._differ(f"training record {offset} observes {request_id(*place)}, which was not")
        elif expected != record:
            what = f"training record {offset} is not what event {request_id(*place)} was"
            self._differ(f"{what}: {what_field_differs(record, expected)}")

    def _check_answered(self, offset: int, record: Labelled | Closed) -> None:
        asked = self._asked.pop(record.request_id, None)
        if asked is None:
            self._differ(
                f"training record {offset} answers {record.request_id}, which was not open"
            )
            return
        expected = self._ending(asked)
        if expected != record:
            what = f"training record {offset} is not the answer to {record.request_id}"
            self._differ(f"{what}: {what_field_differs(record, expected)}")

    def _ask(self, request: LabelRequest, truth: str, index: int, time: float | None) -> None:
        opened = self._ledger.open(request)
        answers = self._annotator.answers(request, truth, index, time) if opened else []
        # In the order in which they come.
        answers.sort(key=lambda answer: (answer.due_index or 0, answer.due_time or 0.0))
        labels = [answer.label for answer in answers]
        self._asked[request.request_id] = _Asked(request, truth, index, labels)

    def _ending(self, asked: _Asked) -> Labelled | Closed | None:
        """Return the record that a request's answers end in."""
        if not asked.labels:
            return closed(asked.request, "refused")
        labels = asked.labels
        for label in labels:
            outcome = self._ledger.answer(label)
            if isinstance(outcome.record, Labelled | Closed):
                return outcome.record
            if outcome.ask is not None:
                last = self._annotator.answers(outcome.ask, asked.truth, asked.index, label.time)
                labels.append(last[0].label)
        return None

    def _check_end(self, events: int) -> None:
        end = self._end
        if end is None:
            self._differences += 1
            self._first.insert(0, "the training log has no end: the recording was cut")
            return
        fold = self._core.fold
        for what, recorded, found in (
            ("events", end.events, events),
            ("training records", end.records, fold.next_offset),
            ("the model's digest", end.digest, fold.stamp.digest),
            ("the stream's digest", end.source, self._digest.text),
        ):
            if recorded != found:
                self._differ(f"{what}: {recorded} recorded at the end, {found} found")

    def _differ(self, what: str) -> None:
        self._differences += 1
        if len(self._first) < _SHOWN:
            self._first.append(what)

    def note_fingerprint(self, configured: Configured) -> None:
        """Note in what this machine differs from the recording's, as far as numbers go."""
        here = fingerprint()
        for name, value in configured.fingerprint.items():
            if here.get(name) != value:
                self._notes.append(f"{name}: recorded with {value}, recomputed with {here[name]}")
        if configured.fold_id != fold_id(self._config.learner):
            self._notes.append("the fold's code or river differs from the recording's")


def _numbered(lines: Iterable[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start):
        yield number, line.rstrip(b"\n")
