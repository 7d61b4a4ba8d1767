"""The engine: decides about events, learns from labels, and logs what it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from stream_al.config import Config, decision_hash, validate
from stream_al.errors import InputError, ModelError, StreamAlError
from stream_al.gate.gate import Gate, GateState, Told
from stream_al.gate.policies import Policy
from stream_al.gate.scores import Score
from stream_al.labels.endings import closed
from stream_al.labels.ledger import Ledger
from stream_al.labels.outcomes import Outcome
from stream_al.learner.fold import Fold, fingerprint
from stream_al.records import Decision, Event, Label, ModelStamp, encode
from stream_al.training import Configured, TrainingRecord

__all__ = ["Core", "Engine"]

_NO_STATE = GateState(level=0.0, tokens=0.0)

_AT_ONCE, _WORTH_IT = 256, 32
"""Events that are predicted together, at most and at least."""


class Core:
    """The pure machine: one fold and, for each input partition, one gate's state.

    It reads no log and writes none: what it decides is returned, what it folds is handed to it.

    Parameters
    ----------
    config
        The configuration; the defaults where None.
    score, policy
        In place of the configured ones; see `stream_al.gate.gate.Gate`.

    Attributes
    ----------
    states
        Gate states by (topic, partition).
    """

    def __init__(
        self, config: Config | None = None, score: Score | None = None, policy: Policy | None = None
    ) -> None:
        self.config = validate(config or Config())
        self.fold = Fold(self.config.learner)
        self.gate = Gate(self.config.gate, score, policy, decision_hash(self.config))
        self.states: dict[tuple[str, int], GateState] = {}

    @property
    def model(self) -> ModelStamp:
        """The model that the next event is decided with."""
        return self.fold.stamp

    def decide_one(self, event: Event, now: float | None = None) -> Decision:
        """Decide about one event.

        Parameters
        ----------
        event
            At an offset above all that were decided in its partition.
        now
            The decision's time, epoch seconds; the event's own where None.

        Raises
        ------
        InputError
            If the partition's offsets do not grow.
        ModelError
            If the user's own model raises something.
        """
        decisions: list[Decision] = []
        self.decide_into(decisions, (event,), now, None)
        return decisions[0]

    def decide_many(
        self,
        events: Iterable[Event],
        now: float | None = None,
        until: Callable[[Decision], bool] | None = None,
    ) -> list[Decision]:
        """Decide about a batch with one and the same model, as one by one.

        Parameters
        ----------
        events
            In order of their offsets.
        now
            As for `decide_one`.
        until
            Ends the batch after the first decision for which it is true, so that something can be
            folded before the next; the rest of the events are left alone.

        Raises
        ------
        InputError
            If a partition's offsets do not grow; the events before are decided.
        ModelError
            If the user's own model raises something; the events before are decided.
        """
        decisions: list[Decision] = []
        self.decide_into(decisions, events, now, until)
        return decisions

    def state_of(self, topic: str, partition: int) -> GateState:
        """Return a partition's state; a fresh one where there is none yet."""
        state = self.states.get((topic, partition))
        if state is None:
            state = self.states[topic, partition] = self.gate.fresh_state()
        return state

    def _standing(self) -> Told | None:
        """Tell what follows for the policy from what the training log says of itself."""
        config, monitor = self.gate.config, self.fold.monitor
        if config.on_warning == "random" and monitor.warns:
            return "random"
        return "maintain" if self.maintains else None

    @property
    def maintains(self) -> bool:
        """Whether the policy asks as little as `gate.floor` says, until drift is found."""
        config = self.gate.config
        stopping = self.fold.monitor.stopping
        return stopping.stops(config.stop_when, config.stop_need, config.stop_labels)

    def decide_into(
        self,
        decisions: list[Decision],
        events: Iterable[Event],
        now: float | None = None,
        until: Callable[[Decision], bool] | None = None,
    ) -> None:
        """Decide as `decide_many` does, into a list that keeps what was decided before an error."""
        learner, stamp, decide = self.fold.learner, self.fold.stamp, self.gate.decide
        predict, weigh, prior = learner.predict_one, learner.weigh_one, learner.prior
        control, standing = self.fold.control, self._standing()
        told = standing
        topic, partition, state = "", -1, _NO_STATE
        # What may end early is taken one by one.
        for piece in _pieces(events) if until is None else (events,):
            predicted = None
            if isinstance(piece, list) and until is None and len(piece) >= _WORTH_IT:
                predicted = learner.predict_many([event.features for event in piece])
            for place, event in enumerate(piece):
                if event.partition != partition or event.topic != topic:
                    topic, partition = event.topic, event.partition
                    state = self.state_of(topic, partition)
                    if state.config_hash != self.gate.config_hash:
                        self.gate.adopt(state)
                    state.version = stamp.version
                    self.gate.respond(state, self.fold.monitor.drifted)
                if event.offset < state.next_offset:
                    raise InputError(
                        f"offset {event.offset} comes after {state.next_offset - 1} in partition "
                        f"{event.partition} of {event.topic!r}; expected offsets that grow"
                    )
                at = event.time if now is None else now
                if control is not None:
                    told = control.at(at) or standing
                try:
                    p = predict(event.features) if predicted is None else predicted[place]
                    decision = decide(state, event, p, prior, stamp, weigh, at, told)
                except StreamAlError:
                    raise
                # A user's model may raise anything at all; else, two kinds are the event's fault.
                except Exception as error:
                    which = f"event {event.offset} in partition {partition} of {topic!r}"
                    if learner.own:
                        raise ModelError(
                            f"model {learner.own!r} cannot predict {which}: "
                            f"{type(error).__name__}: {error}"
                        ) from error
                    if not isinstance(error, TypeError | OverflowError):
                        raise
                    raise InputError(
                        f"{which}: {error}; expected features that are finite numbers, text or "
                        "booleans of Python's own"
                    ) from error
                decisions.append(decision)
                if until is not None and until(decision):
                    return


def _pieces(events: Iterable[Event]) -> Iterator[list[Event]]:
    rest = iter(events)
    while piece := list(islice(rest, _AT_ONCE)):
        yield piece


class Engine(Core):
    """The whole loop in one process: core, ledger, and a training log of its own.

    Its training records are folded as soon as they are written, between batches.

    Parameters
    ----------
    config, score, policy
        As for `Core`.
    write
        Receives every training record's offset and bytes; without it the log is not kept.

    Examples
    --------
    >>> from stream_al import Engine, Event, Label
    >>> engine = Engine()
    >>> decision = engine.decide_one(Event(offset=0, features={"amount": 12.5, "country": "FR"}))
    >>> decision.asked, decision.prediction.reason
    (True, 'policy')
    >>> engine.learn_one(Label(request_id=decision.request.request_id, label="fraud")).kind
    'labelled'
    """

    def __init__(
        self,
        config: Config | None = None,
        score: Score | None = None,
        policy: Policy | None = None,
        write: Callable[[int, bytes], object] | None = None,
    ) -> None:
        super().__init__(config, score, policy)
        self.ledger = Ledger(self.config.learner.classes, self.config.ledger)
        self._write = write
        self._append(
            Configured(
                fold_id=self.model.fold_id,
                config=msgspec.to_builtins(self.config),
                fingerprint=fingerprint(),
            )
        )

    def decide_one(self, event: Event, now: float | None = None) -> Decision:
        """Decide about one event; see `Core.decide_one`.

        What is asked is open in `ledger` from then on, unless its id is open already.
        """
        return self.decide_many((event,), now)[0]

    def decide_many(
        self,
        events: Iterable[Event],
        now: float | None = None,
        until: Callable[[Decision], bool] | None = None,
    ) -> list[Decision]:
        """Decide about a batch; see `Core.decide_many`. What it publishes is folded after it."""
        decisions: list[Decision] = []
        try:
            self.decide_into(decisions, events, now, until)
        finally:
            # What was decided before a bad event stands, and can be answered.
            for decision in decisions:
                if decision.request is not None or decision.observed is not None:
                    self._settle(decision)
        return decisions

    def learn_one(self, label: Label) -> Outcome:
        """Take an answer: match it to its open request, log it, learn from it.

        Answers that cannot be used (twice, unknown, undeclared class) are counted in
        ``ledger.counts`` and returned with the reason; they change nothing.
        """
        outcome = self.ledger.judge(label)
        if outcome.record is not None:
            # Where logging fails, the request stays open and can be answered again.
            self._append(outcome.record)
        self.ledger.settle(outcome)
        return outcome

    def _settle(self, decision: Decision) -> None:
        if decision.request is not None and not self.ledger.open(decision.request):
            self._append(closed(decision.request, "refused"))
        if decision.observed is not None:
            self._append(decision.observed)

    def _append(self, record: TrainingRecord) -> None:
        offset, raw = self.fold.next_offset, encode(record)
        if self._write is not None:
            self._write(offset, raw)
        self.fold.take(offset, raw, record)
