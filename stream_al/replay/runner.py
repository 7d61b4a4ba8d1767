"""Playing a recorded stream through the engine: no broker, no clock but the events'."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import BinaryIO

import msgspec

from stream_al._version import __version__
from stream_al.config import Config, content_hash
from stream_al.engine import Engine
from stream_al.errors import InputError
from stream_al.gate.policies import Policy
from stream_al.gate.scores import Score
from stream_al.labels.outcomes import OutcomeKind
from stream_al.learner.monitor import Insight
from stream_al.records import Decision, Event, LabelRequest, ModelStamp, encode
from stream_al.replay.annotator import SimulatedAnnotator
from stream_al.replay.answers import Answers
from stream_al.replay.marks import Mark
from stream_al.replay.prequential import ConfidenceBin, Scores, StreamScores
from stream_al.replay.recording import End, SourceDigest
from stream_al.replay.sources import Row, Source

__all__ = ["Replay", "Report", "replay"]


class Report(Insight, frozen=True, kw_only=True):
    """What a replay came to; its JSON is what ``stream-al replay --json`` prints.

    What the training log tells about itself, as live, stands among it; see `Insight`.

    Attributes
    ----------
    events, skipped, skip_reasons
        Events decided; rows that could not be used, by reason.
    before_first_label
        Events decided before anything was learnt from a label: predicted as uniform over the
        known classes, or not at all where none was known (``metrics.unpredicted``).
    asked, asked_ratio, asked_by_reason
        Label requests; per event; by what asked.
    not_asked_by_reason
        The other events: ``confident`` (the policy declined), ``draw`` (a randomised policy drew
        no) and ``budget`` (the tokens were used up).
    labels, outcomes, open
        Labels learnt from; answers by what became of them; requests that still wait.
    budget, burst, max_overspend
        The budget; what it may be exceeded by; the most by which it was: the largest
        ``asked - budget * t`` at any t of any partition.
    partitions
        Partitions that events came from.
    maintenance
        Whether the policy was down to `gate.floor` at the end, since criteria of `gate.stop_when`
        had been met.
    metrics, metrics_second_half
        Scores of all predictions, asked or not.
    reliability
        The bins of confidence that ``metrics.ece`` is made of.
    seconds, events_per_second
        Wall time of the replay, reading included.
    version, config_hash, model
        What ran, how it was configured, and the model that it ended with.
    """

    events: int
    skipped: int
    skip_reasons: dict[str, int]
    before_first_label: int
    asked: int
    asked_ratio: float | None
    asked_by_reason: dict[str, int]
    not_asked_by_reason: dict[str, int]
    labels: int
    outcomes: dict[OutcomeKind, int]
    open: int
    budget: float
    burst: float
    max_overspend: float
    partitions: int
    maintenance: bool
    metrics: Scores
    metrics_second_half: Scores | None
    reliability: tuple[ConfidenceBin, ...]
    seconds: float
    events_per_second: float
    version: str
    config_hash: str
    model: ModelStamp


class Replay:
    """One pass over a stream.

    An answer that is due, and a training record, are taken in before the next event is decided;
    batches are cut there, so decisions do not depend on the batch size.

    Parameters
    ----------
    config
        Validated configuration.
    score, policy
        In place of the configured ones.
    decisions, training
        Where to record the predictions, and the training log with its end; None: nowhere.
    """

    def __init__(
        self,
        config: Config,
        score: Score | None = None,
        policy: Policy | None = None,
        decisions: BinaryIO | None = None,
        training: BinaryIO | None = None,
    ) -> None:
        self._config = config
        self._decisions = decisions
        self._training = training
        self._engine = Engine(config, score, policy, self._write if training else None)
        self._annotator = SimulatedAnnotator(config.annotator, config.learner.classes)
        self._answers = Answers()
        self._asked_by_reason = {"policy": 0, "explore": 0, "both": 0, "burst": 0}
        self._not_asked_by_reason = {"confident": 0, "draw": 0, "budget": 0}
        self._spent: dict[tuple[str, int], tuple[int, int]] = {}
        self._max_overspend = 0.0
        self._reasked = 0
        self._truths: dict[str, str] = {}
        self._before_first_label = 0

    def run(
        self,
        source: Source,
        progress: Callable[[int], object] | None = None,
        at_mark: Callable[[Mark], object] | None = None,
        length: int | None = None,
    ) -> Report:
        """Play the whole source.

        Parameters
        ----------
        source
            The recorded stream.
        progress
            Told of the number of events each batch brought.
        at_mark
            Told, each time that another 1 % of the stream has gone by, how things stand. Never
            told of a stream of unknown length.
        length
            Number of events, for halves and marks, where the source cannot count them.

        Raises
        ------
        InputError
            At a row that cannot be used, unless such rows are skipped.
        """
        started = time.perf_counter()
        engine, config = self._engine, self._config

        def mark(percent: int) -> None:
            if at_mark is not None:
                at_mark(
                    Mark(
                        percent=percent,
                        events=index + 1,
                        asked=sum(self._asked_by_reason.values()),
                        labels=engine.ledger.counts["labelled"],
                        scores=scores,
                        monitor=engine.fold.monitor,
                    )
                )

        scores = StreamScores(source.count() if length is None else length, mark)
        digest = SourceDigest()
        rows = source.rows()
        index = 0
        while batch := list(itertools.islice(rows, config.replay.batch_size)):
            for row in batch:
                self._annotator.see(row.truth)
                if self._training is not None:
                    digest.add(row)
            start = index
            while index < start + len(batch):
                left = batch[index - start :]
                self._learn_due(index, left[0].event.time)
                decided = engine.decide_many(self._until_due(left, index), until=_moves_model)
                for row, decision in zip(left, decided, strict=False):
                    prediction = decision.prediction
                    self._account(decision, row, index, source)
                    scores.update(row.truth, prediction.prediction, prediction.probabilities)
                    index += 1
            if progress is not None:
                progress(len(batch))
        self._learn_due(index, None)
        if self._training is not None:
            end = End(
                events=index,
                records=engine.fold.next_offset,
                digest=engine.model.digest,
                source=digest.text,
            )
            self._training.write(encode(end) + b"\n")
        return self._report(index, source, scores, time.perf_counter() - started)

    def _learn_due(self, index: int, event_time: float | None) -> None:
        for label in self._answers.take_due(index, event_time):
            outcome = self._engine.learn_one(label)
            if outcome.ask is not None:
                self._send(outcome.ask, self._truths[outcome.ask.request_id], index, label.time)
            elif outcome.record is not None:
                self._truths.pop(label.request_id, None)

    def _send(self, request: LabelRequest, truth: str, index: int, time: float | None) -> None:
        for answer in self._annotator.answers(request, truth, index, time):
            self._answers.send(answer.label, answer.due_index, answer.due_time)

    def _until_due(self, rows: list[Row], index: int) -> Iterable[Event]:
        for i, row in enumerate(rows, index):
            if i > index and self._answers.due_before(i, row.event.time):
                return
            yield row.event

    def _account(self, decision: Decision, row: Row, index: int, source: Source) -> None:
        """Record a decision, count it, and send its request to the annotator."""
        prediction, request = decision.prediction, decision.request
        if not self._engine.fold.learner.labels:
            self._before_first_label += 1
        if self._decisions is not None:
            self._decisions.write(encode(prediction) + b"\n")
        place = (prediction.topic, prediction.partition)
        events, asked = self._spent.get(place, (0, 0))
        self._spent[place] = (events + 1, asked + (request is not None))
        if request is None:
            self._not_asked_by_reason[prediction.reason] += 1
            return
        overspent = asked + 1 - self._config.gate.budget * (events + 1)
        self._max_overspend = max(self._max_overspend, overspent)
        self._asked_by_reason[prediction.reason] += 1
        if not self._engine.ledger.is_open(request.request_id):
            what = f"id {request.id!r} is asked again while its request is open"
            if self._config.source.on_error == "stop":
                raise InputError(
                    f"{what}; expected ids that name one event each",
                    source.name,
                    row.line,
                    self._config.source.id,
                )
            self._reasked += 1
            return
        if request.opinions > 1:
            self._truths[request.request_id] = row.truth
        self._send(request, row.truth, index, row.event.time)

    def _write(self, offset: int, raw: bytes) -> None:  # noqa: ARG002 - the line's number is it
        if self._training is not None:
            self._training.write(raw + b"\n")

    def _report(self, events: int, source: Source, scores: StreamScores, seconds: float) -> Report:
        asked = sum(asked for _, asked in self._spent.values())
        reasons = source.skip_reasons
        if self._reasked:
            reasons["id asked again while open"] = self._reasked
        return Report(
            events=events,
            skipped=source.skipped,
            skip_reasons=reasons,
            before_first_label=self._before_first_label,
            asked=asked,
            asked_ratio=asked / events if events else None,
            asked_by_reason=self._asked_by_reason,
            not_asked_by_reason=self._not_asked_by_reason,
            labels=self._engine.ledger.counts["labelled"],
            outcomes=dict(self._engine.ledger.counts),
            open=len(self._engine.ledger),
            budget=self._config.gate.budget,
            burst=self._config.gate.burst,
            max_overspend=self._max_overspend,
            partitions=len(self._spent),
            metrics=scores.whole(),
            metrics_second_half=scores.second_half(),
            reliability=scores.reliability(),
            seconds=seconds,
            events_per_second=events / seconds,
            version=__version__,
            config_hash=content_hash(self._config),
            model=self._engine.model,
            maintenance=self._engine.maintains,
            **msgspec.structs.asdict(self._engine.fold.monitor.insight()),
        )


def _moves_model(decision: Decision) -> bool:
    return decision.observed is not None or decision.request is not None


def replay(
    source: Source, config: Config, progress: Callable[[int], object] | None = None
) -> Report:
    """Play a source and report; see `Replay` for recording it.

    Examples
    --------
    >>> from stream_al import Config, GateConfig, SourceConfig
    >>> from stream_al.replay.sources import open_source
    >>> source = open_source("river:Phishing", SourceConfig(label="is_phishing"))
    >>> report = replay(source, Config(gate=GateConfig(budget=0.1)))
    >>> report.events, report.asked <= 0.1 * 1250 + report.burst
    (1250, True)
    """
    return Replay(config).run(source, progress)
