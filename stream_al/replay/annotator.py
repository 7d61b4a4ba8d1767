"""The annotator of replays: answers requests from the recorded truth, late and not always right."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import floor, log1p
from typing import TypeAlias

import msgspec

from stream_al.config import AnnotatorConfig
from stream_al.errors import ConfigError
from stream_al.keyed import below, uniform
from stream_al.labels.gold import is_gold
from stream_al.records import Label, LabelRequest
from stream_al.replay.durations import Delay, parse_delay

__all__ = ["Answer", "SimulatedAnnotator"]

_DAY = 86_400.0

Identity: TypeAlias = tuple[object, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer and when it becomes known; exactly one of the two times is not None.

    Attributes
    ----------
    label
        The answer.
    due_index
        Index of an event: the answer is known once that event is decided, before the next is.
    due_time
        Event time, epoch seconds: the answer is known before the first later event of that time
        or above is decided.
    """

    label: Label
    due_index: int | None
    due_time: float | None


class SimulatedAnnotator:
    """Answers label requests from the truth, with delay, noise, abstention and capacity.

    What is answered, and the delay drawn, depend on the event's identity and the seed alone: two
    strategies that ask about one event are told the same, whatever else they ask and when. Only
    the wait for a day with room depends on what was asked before.

    Delays are drawn with the configured mean. In events they are whole: ``exponential`` is the
    geometric distribution on 0, 1, …, and ``uniform`` is on 0, …, 2 * delay. With delay 0 the
    answer is known right after its event.

    A wrong class is drawn uniformly from the other declared classes; where none are declared,
    from the others among those that the stream has shown up to the event itself. A true class
    that a noise matrix does not list is answered correctly.

    At most `capacity_per_day` answers, abstentions included, are due in one UTC day of event
    time; places are given in the order of asking, and who finds a day full is answered at the
    start of the next one with room.

    Of a request for several opinions each is another annotator's, with noise and delay of its
    own. Where they disagree an adjudicator answers, from the truth itself and beside the capacity.

    Parameters
    ----------
    config
        See `stream_al.config.AnnotatorConfig`.
    classes
        The declared classes; empty: those seen.

    Raises
    ------
    ConfigError
        If the delay cannot be read, or is in events while the capacity is per day.

    Examples
    --------
    >>> annotator = SimulatedAnnotator(AnnotatorConfig(delay="2"))
    >>> request = LabelRequest(
    ...     request_id="events:0:17", request_no=0, topic="events", partition=0, offset=17, id="",
    ...     time=None, features={}, prediction=None, probabilities={}, score=1.0,
    ...     reason="explore", explored=True, propensity=0.1, fold_id="", model_version=0,
    ...     weighed={},
    ... )
    >>> annotator.see("fraud")
    >>> (answer,) = annotator.answers(request, truth="fraud", index=0, time=None)
    >>> answer.label.label, answer.due_index, answer.due_time
    ('fraud', 2, None)
    """

    def __init__(self, config: AnnotatorConfig, classes: tuple[str, ...] = ()) -> None:
        self._config = config
        self._delay = parse_delay(config.delay)
        self._days: _Days | None = None
        if config.capacity_per_day is not None:
            if self._delay.events:
                raise ConfigError(
                    "annotator.capacity_per_day is in days of event time, so annotator.delay must "
                    f"be 0 or event time (36h), not the {self._delay.events} events of now"
                )
            self._days = _Days(config.capacity_per_day)
            self._delay = Delay(seconds=self._delay.seconds or 0.0)
        self._classes = tuple(sorted(classes))
        self._rows = 0
        self._seen: dict[str, int] = {}
        self._matrix: dict[str, tuple[list[str], list[float]]] = {}
        if isinstance(config.noise, dict):
            for truth, answers in config.noise.items():
                names = sorted(name for name, p in answers.items() if p > 0)
                edges = list(accumulate(answers[name] for name in names))[:-1]
                self._matrix[truth] = names, edges

    def see(self, truth: str) -> None:
        """Take note of the next row's true class; the n-th call is about index n - 1.

        Every row is to be shown, asked about or not, and before a request about it or a later
        one is answered: so the classes known at an event never depend on what was asked.
        """
        self._seen.setdefault(truth, self._rows)
        self._rows += 1

    def answers(
        self, request: LabelRequest, truth: str, index: int, time: float | None
    ) -> list[Answer]:
        """Answer a request, once; where there is a capacity, in the order of the events.

        Parameters
        ----------
        request
            The request; only its identity (topic, partition, offset, and whether it is gold) is
            looked at, how many opinions are asked for, and whether they disagreed.
        truth
            The event's true class.
        index
            0-based index in the whole replay of the event; of an adjudication, of the event
            before which it was asked for.
        time
            Event time then, epoch seconds.

        Raises
        ------
        ConfigError
            If delay or capacity need event time and there is none.
        ValueError
            If wrong classes are drawn from those seen, and `see` was not told of the event's row.
        """
        identity: Identity = (
            self._config.seed,
            request.topic,
            request.partition,
            request.offset,
            # A gold request stands where the one before it does, and is another question.
            *(("gold",) if is_gold(request.request_id) else ()),
        )
        if request.disagreed:
            due_index, due_time = self._due((*identity, "last"), index, time, limited=False)
            label = Label(
                request_id=request.request_id, label=truth, annotator="adjudicator", time=due_time
            )
            return [Answer(label=label, due_index=due_index, due_time=due_time)]
        answers = [self._answer(identity, "simulated", request.request_id, truth, index, time)]
        for n in range(2, request.opinions + 1):
            of = (*identity, n), f"simulated-{n}"
            answers.append(self._answer(*of, request.request_id, truth, index, time))
        return answers

    def _answer(
        self,
        identity: Identity,
        name: str,
        request_id: str,
        truth: str,
        index: int,
        time: float | None,
    ) -> Answer:
        due_index, due_time = self._due(identity, index, time)
        skip = uniform("annotator abstains", *identity) < self._config.abstain
        label = Label(
            request_id=request_id,
            label=None if skip else self._class(identity, truth, index),
            kind="skip" if skip else "label",
            annotator=name,
            time=due_time,
        )
        return Answer(label=label, due_index=due_index, due_time=due_time)

    def _due(
        self, identity: Identity, index: int, time: float | None, limited: bool = True
    ) -> tuple[int | None, float | None]:
        if self._delay.events is not None:
            return index + self._drawn_events(identity, self._delay.events), None
        if time is None:
            key, value = "annotator.delay", self._config.delay
            if self._days is not None:
                key, value = "annotator.capacity_per_day", str(self._config.capacity_per_day)
            raise ConfigError(
                f"{value} needs event time, and the stream has none: name its column with --time",
                key,
            )
        due = time + self._drawn_seconds(identity, self._delay.seconds or 0.0)
        return None, (self._days.place(due, time) if self._days and limited else due)

    def _drawn_events(self, identity: Identity, mean: int) -> int:
        match self._config.delay_distribution:
            case "uniform":
                return below(2 * mean + 1, "annotator delays", *identity)
            case "exponential" if mean:
                # The floor of an exponential is geometric; log1p(1 / mean) gives it this mean.
                u = uniform("annotator delays", *identity)
                return floor(-log1p(-u) / log1p(1 / mean))
            case _:
                return mean

    def _drawn_seconds(self, identity: Identity, mean: float) -> float:
        match self._config.delay_distribution:
            case "uniform":
                return 2 * mean * uniform("annotator delays", *identity)
            case "exponential":
                return -mean * log1p(-uniform("annotator delays", *identity))
            case _:
                return mean

    def _class(self, identity: Identity, truth: str, index: int) -> str:
        noise = self._config.noise
        if isinstance(noise, dict):
            if truth not in self._matrix:
                return truth
            names, edges = self._matrix[truth]
            return names[bisect_right(edges, uniform("annotator errs", *identity))]
        if not noise:
            return truth
        others = [name for name in self._known(index) if name != truth]
        if not others or uniform("annotator errs", *identity) >= noise:
            return truth
        return others[below(len(others), "annotator picks", *identity)]

    def _known(self, index: int) -> tuple[str, ...]:
        if self._classes:
            return self._classes
        if index >= self._rows:
            raise ValueError(f"see() was told of {self._rows} rows, and not of index {index}")
        # Rows seen beyond the event do not count: batches of any size are answered alike.
        return tuple(sorted(name for name, first in self._seen.items() if first <= index))


class _Days:
    """Places in the days of event time (UTC), so many in each."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._today = -(2**63)
        self._used: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._kept = 0

    def place(self, due: float, now: float) -> float:
        """Take a place and return its time: `due`, or the start of the next day with room."""
        self._today = max(self._today, floor(now / _DAY))
        day = floor(due / _DAY)
        free = self._first_free(max(day, self._today))
        self._used[free] = used = self._used.get(free, 0) + 1
        if used == self._capacity:
            self._next[free] = free + 1
        self._forget()
        return due if free == day else free * _DAY

    def _first_free(self, day: int) -> int:
        free = day
        while free in self._next:
            free = self._next[free]
        # Full days point straight at the free one, so a long queue is not walked again.
        while day != free:
            self._next[day], day = free, self._next[day]
        return free

    def _forget(self) -> None:
        # Sweeping only when the table has doubled keeps the cost of a request constant.
        if len(self._used) > 2 * self._kept + 32:
            self._used = {day: n for day, n in self._used.items() if day >= self._today}
            self._next = {day: to for day, to in self._next.items() if day >= self._today}
            self._kept = len(self._used)
