"""The loop: restore, poll, process, commit, whatever fails in between.

A batch is either committed with everything that it made the machine put out, or leaves no trace:
then the machine's partitions are restored from what is committed, and read again. So a batch may
be processed while the one before is still being committed: should that fail, neither leaves any.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog

from consumers.clock import Clock
from consumers.errors import (
    AbortError,
    LogError,
    RebuildError,
    RetryError,
    StopError,
    TooLargeError,
)
from consumers.following import Follower
from consumers.health import RoleState
from consumers.log import Batch, Log, Member, Partition, Record
from consumers.machine import Counts, Machine, Tick
from consumers.telemetry import Telemetry
from consumers.testing.crash import crash_point
from stream_al.config import Config
from stream_al.records import Decision

__all__ = ["Loop"]

_log = structlog.get_logger()

_UNSTABLE_S = 0.5
"""Shorter polls than this never finish a rebalance."""

_LOOK_S = 1.0
"""How often at most the log is asked whether an input has been read to its end."""

_BACKOFF_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)


class _Committing(NamedTuple):
    """What is told once the commit under way has ended; `sending` took so many seconds."""

    counts: Counts
    observed: list[Mapping[str, Sequence[float]]]
    decisions: list[Decision]
    sending: float


class Loop:
    """Runs a machine on a log.

    Parameters
    ----------
    log, machine
        What to run on, and what to run.
    config
        Validated.
    telemetry, state
        Where figures and health are reported.
    clock
        The time.
    between
        Called once a round, while nothing is under way, and before it is closed: snapshots, gauges.
    """

    def __init__(
        self,
        log: Log,
        machine: Machine,
        config: Config,
        telemetry: Telemetry,
        state: RoleState,
        clock: Clock | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._machine = machine
        self._config = config
        self._telemetry = telemetry
        self._state = state
        self._clock = clock or Clock()
        self._between = between
        self._stopped: Callable[[], bool] = lambda: False
        self._assignor = config.log.assignor if len(machine.inputs) == 1 else "range"
        self._member: Member | None = None
        self._follower = Follower(log, machine, state, self._clock, config.loop.fold_size)
        self._assigned: frozenset[Partition] = frozenset()
        self._to_restore: set[int] = set()
        self._stable = False
        self._open = False
        self._committing: _Committing | None = None
        self._failures = 0
        self._looked = float("-inf")

    def step(self) -> bool:
        """Go one round.

        Returns
        -------
        bool
            Whether anything was processed, folded or restored.

        Raises
        ------
        StopError, ConfigError
            If this process must not go on.
        """
        self._state.beat()
        try:
            worked = self._round()
        except RetryError as error:
            self._telemetry.add_one("log_retries_total", self._machine.role)
            self._start_over("retry", error)
        except AbortError as error:
            self._telemetry.add_one("transactions_aborted_total", self._machine.role)
            self._start_over("abort", error)
        except RebuildError as error:
            self._telemetry.add_one("member_rebuilds_total", self._machine.role)
            self._rebuild(error)
        except TooLargeError as error:
            raise StopError(
                f"{error}: raise log.max_record_bytes and the topic's max.message.bytes, or lower "
                "message.max_bytes"
            ) from error
        else:
            self._failures = 0
            return worked
        self._clock.sleep(_BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)])
        self._failures += 1
        return False

    def run(self, stopped: Callable[[], bool]) -> None:
        """Go round until told to stop, then close; the batch under way is finished first.

        Raises
        ------
        StopError, ConfigError
            As `step`.
        """
        self._stopped = stopped
        try:
            while not stopped():
                self.step()
        finally:
            self.close()

    def close(self) -> None:
        """Give up what is open."""
        self._state.wait("stopped")
        # First: a broker that does not answer may be waited for until the process is ended.
        self._between()
        self._leave()

    def _round(self) -> bool:
        if self._member is None:
            if self._follower.prepare():
                return True
            machine = self._machine
            self._member = self._log.member(machine.role, machine.inputs, self._assignor)
        member = self._member
        if self._to_restore:
            # Before the next poll: its records would be beyond those that were given up.
            self._restore(member, set(self._to_restore))
        worked = self._follower.step(0.0)
        self._between()
        tick = self._tick(member)
        loop = self._config.loop
        settled = self._stable and self._assigned
        wait = _UNSTABLE_S if not settled else 0.0 if worked else loop.poll_s
        batch = member.poll(wait, loop.batch_size)
        crash_point("polled")
        self._stable = batch.stable
        if batch.stable:
            # First of all: what was gained is told once.
            self._note_assignment(batch)
        if not (batch.stable and batch.records) or self._to_restore:
            self._end_commit(member)
        if not batch.stable:
            self._state.wait("the group is rebalancing")
            return worked
        restored = bool(self._to_restore)
        if restored:
            # Should this fail, all is restored: records of this poll would be lost otherwise.
            self._restore(member, set(self._to_restore))
        processed = self._work(member, batch.records, tick)
        self._tell_ready()
        return worked or restored or processed

    def _note_assignment(self, batch: Batch) -> None:
        for number in {p.number for p in self._assigned - batch.assigned}:
            self._machine.drop(number)
            self._to_restore.discard(number)
            self._telemetry.forget(self._machine.role, number)
        new = batch.gained | (batch.assigned - self._assigned)
        self._assign(batch.assigned)
        self._to_restore |= {partition.number for partition in new}

    def _restore(self, member: Member, numbers: Iterable[int]) -> None:
        """Take over partitions from what is committed, and read on from there."""
        machine, started = self._machine, self._clock.monotonic()
        positions: dict[Partition, int] = {}
        for number in sorted(numbers):
            inputs = [Partition(topic, number) for topic in machine.inputs]
            # In this order: what holds back the offsets may still add to the changelog.
            committed = member.committed(inputs)
            found = machine.restore(number, self._beating(self._changelog(number)))
            agreed = all(found.get(place) == committed[place] for place in inputs)
            if not agreed and member.committed(inputs) != committed:
                raise RetryError(f"partition {number} moved on while it was restored")
            for place in inputs:
                positions[place] = self._start(place, found, committed[place])
        self._follower.catch_up()
        member.seek(positions)
        self._to_restore -= set(numbers)
        seconds = self._clock.monotonic() - started
        self._telemetry.add_one("restores_total", machine.role)
        self._telemetry.observe("restore_seconds", seconds, machine.role)
        _log.info(
            "restored",
            role=machine.role,
            positions={f"{topic}:{n}": offset for (topic, n), offset in positions.items()},
            seconds=round(seconds, 3),
        )

    def _beating(self, records: Iterable[Record]) -> Iterator[Record]:
        """Show signs of life through a long changelog."""
        for n, record in enumerate(records):
            if not n % 1000:
                self._state.beat()
            yield record

    def _changelog(self, number: int) -> Iterable[Record]:
        if not self._machine.whole_state:
            return self._log.read(self._machine.changelog, number)
        last = self._log.last(self._machine.changelog, number)
        return () if last is None else (last,)

    def _start(self, place: Partition, found: dict[Partition, int], committed: int | None) -> int:
        expected = found.get(place)
        if expected is None and committed is None:
            return self._log.bounds(*place).beginning
        if committed is None and expected is not None:
            # The group's offsets were forgotten, as Kafka does after a week without members.
            _log.warning("offsets_forgotten", topic=place.topic, partition=place.number)
            return expected
        if expected != committed or committed is None:
            raise StopError(
                f"{place.topic}, partition {place.number}: the group's committed offset is "
                f"{committed}, the state in {self._machine.changelog!r} stands at {expected}: one "
                "of them was reset or lost. Set the group's offset to the state's, or delete the "
                "state to start afresh from the committed offset's data"
            )
        return committed

    def _tick(self, member: Member) -> Tick:
        now, machine = self._clock.now(), self._machine
        if self._to_restore or self._clock.monotonic() - self._looked < _LOOK_S:
            return Tick(now)
        drained = dict.fromkeys(self._assigned, now)
        if not drained or not machine.due(Tick(now, drained)):
            return Tick(now)
        self._looked = self._clock.monotonic()
        return Tick(now, dict.fromkeys(member.drained(drained), now))

    def _work(self, member: Member, records: Sequence[Record], tick: Tick) -> bool:
        """Process a batch and commit it, or do what has fallen due."""
        machine, telemetry, role = self._machine, self._telemetry, self._machine.role
        if not records and not machine.due(tick):
            return False
        tick = Tick(self._clock.now(), tick.drained)
        slices = machine.slice_size or len(records)
        counts: Counts = Counter()
        observed: list[Mapping[str, Sequence[float]]] = []
        decisions: list[Decision] = []
        offsets: dict[Partition, int] = {}
        processing = sending = 0.0
        for begin in range(0, len(records) or 1, slices or 1):
            before = self._clock.monotonic()
            work = machine.process(records[begin : begin + slices], tick)
            processed = self._clock.monotonic()
            self._end_commit(member)
            self._open = True
            member.send(work.outs)
            crash_point("sending")
            offsets |= work.offsets
            counts.update(work.counts)
            if work.observed:
                observed.append(work.observed)
            decisions += work.decisions
            processing += processed - before
            sending += self._clock.monotonic() - processed
        crash_point("sent")
        member.begin_commit(offsets)
        self._committing = _Committing(counts, observed, decisions, sending)
        if records:
            telemetry.observe("batch_records", len(records), role)
            telemetry.observe("decision_seconds", processing / len(records), role)
        return True

    def _end_commit(self, member: Member) -> None:
        """See that what was committed last is; counts it."""
        committing, self._committing = self._committing, None
        if committing is None:
            return
        started = self._clock.monotonic()
        member.end_commit()
        self._open = False
        self._machine.settled(committing.counts, committing.decisions)
        crash_point("committed")
        role = self._machine.role
        waited = self._clock.monotonic() - started
        self._telemetry.observe("commit_seconds", committing.sending + waited, role)
        self._telemetry.add(committing.counts, role)
        for observed in committing.observed:
            for name, values in observed.items():
                for value in values:
                    self._telemetry.observe(name, value)

    def _tell_ready(self) -> None:
        if self._to_restore:
            self._state.wait("restoring")
        elif not self._assigned:
            self._state.stand_by("no partition is assigned: others have them, or had until now")
        else:
            self._state.get_ready()

    def _start_over(self, how: str, error: Exception) -> None:
        """Restore everything before the next poll; nothing of this round was committed."""
        _log.warning("starting_over", role=self._machine.role, how=how, error=str(error))
        self._state.wait(str(error))
        self._to_restore |= {partition.number for partition in self._assigned}
        # A process that ends gives its transaction up as it leaves, and waits less for that.
        if self._open and self._member is not None and not self._stopped():
            try:
                with contextlib.suppress(RetryError, AbortError):
                    self._end_commit(self._member)
                self._member.abort()
            except RebuildError as broken:
                self._rebuild(broken)
        self._open = False

    def _rebuild(self, error: Exception) -> None:
        """Begin anew as the same member: what is committed is read again."""
        _log.warning("rebuilding", role=self._machine.role, error=str(error))
        self._state.wait(str(error))
        for number in {partition.number for partition in self._assigned} | self._to_restore:
            self._machine.drop(number)
        self._assign(frozenset())
        self._to_restore = set()
        self._leave()

    def _assign(self, partitions: frozenset[Partition]) -> None:
        if lost := sorted(f"{topic}:{n}" for topic, n in self._assigned - partitions):
            _log.info("given_up", role=self._machine.role, partitions=lost)
        self._assigned = partitions
        count = len({partition.number for partition in partitions})
        self._telemetry.set("assigned_partitions", count, self._machine.role)

    def _leave(self) -> None:
        """Close what is open, once it is known what came of a commit under way."""
        member, self._member = self._member, None
        if member is not None:
            try:
                self._end_commit(member)
            except LogError as error:
                _log.warning("not_committed", role=self._machine.role, error=str(error))
            member.close()
        self._follower.close()
        self._open = False
