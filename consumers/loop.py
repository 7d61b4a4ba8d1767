"""The loop: restore, poll, process, commit, whatever fails in between.

One round either commits a batch with everything that it made the machine put out, or leaves no
trace: then the machine's partitions are restored from what is committed, and read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import structlog

from consumers.errors import AbortError, RebuildError, RetryError, StopError, TooLargeError
from consumers.health import RoleState
from consumers.log import Batch, Log, Member, Partition, Record, Tail
from consumers.machine import Machine, Tick, Work
from consumers.telemetry import Telemetry
from consumers.testing.crash import crash_point
from stream_al.config import Config

__all__ = ["Clock", "Loop"]

_log = structlog.get_logger()

_UNSTABLE_S = 0.5
"""Shorter polls than this never finish a rebalance."""

_LOOK_S = 1.0
"""How often at most the log is asked whether an input has been read to its end."""

_BACKOFF_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)

_FOLD_WAIT_S = 30.0
"""How long a takeover waits for the fold before it starts over, to stay in the group."""


class Clock:
    """The world's time; tests and simulations bring their own."""

    def now(self) -> float:
        """Return epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


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
        Called once a round, while nothing is under way: snapshots, gauges.
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
        self._assignor = config.log.assignor if len(machine.inputs) == 1 else "range"
        self._member: Member | None = None
        self._tail: Tail | None = None
        self._assigned: frozenset[Partition] = frozenset()
        self._to_restore: set[int] = set()
        self._stable = False
        self._open = False
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
        try:
            while not stopped():
                self.step()
        finally:
            self.close()

    def close(self) -> None:
        """Give up what is open."""
        self._state.wait("stopped")
        if self._member is not None:
            self._member.close()
            self._member = None
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def _round(self) -> bool:
        if self._member is None:
            if self._prepare():
                return True
            machine = self._machine
            self._member = self._log.member(machine.role, machine.inputs, self._assignor)
        member = self._member
        if self._to_restore:
            # Before the next poll: its records would be beyond those that were given up.
            self._restore(member, set(self._to_restore))
        worked = self._follow(0.0)
        self._between()
        tick = self._tick(member)
        loop = self._config.loop
        settled = self._stable and self._assigned
        wait = _UNSTABLE_S if not settled else 0.0 if worked else loop.poll_s
        batch = member.poll(wait, loop.batch_size)
        crash_point("polled")
        self._stable = batch.stable
        if not batch.stable:
            self._state.wait("the group is rebalancing")
            return worked
        restored = self._take_over(member, batch)
        work = self._process(batch.records, tick)
        if work is not None:
            self._commit(member, work)
        self._tell_ready()
        return worked or restored or work is not None

    def _prepare(self) -> bool:
        """Before joining: fold what there is, and see that the log knows this configuration.

        Returns
        -------
        bool
            Whether there is more of that to do.
        """
        machine = self._machine
        if machine.follows is not None:
            # Not to the very end: a transaction that this member itself left open, and that only
            # its joining ends, may stand before it.
            end = self._log.bounds(machine.follows, 0).stable
            if self._follow(0.1) or (self._tail is not None and self._tail.position < end):
                self._state.wait(f"folding: {machine.next_followed} of {end}")
                return True
        out = machine.introduction
        if out is None or (machine.follows is None and self._log.bounds(out.topic, 0).end):
            return False
        writer = self._log.writer()
        writer.send(out)
        writer.close()
        return machine.follows is not None

    def _take_over(self, member: Member, batch: Batch) -> bool:
        for number in {p.number for p in self._assigned - batch.assigned}:
            self._machine.drop(number)
            self._to_restore.discard(number)
            self._telemetry.forget(self._machine.role, number)
        self._assigned = batch.assigned
        gained = {partition.number for partition in batch.gained}
        if gained:
            # Should this fail, all is restored: records of this poll would be lost otherwise.
            self._restore(member, gained)
        return bool(gained)

    def _restore(self, member: Member, numbers: Iterable[int]) -> None:
        """Take over partitions from what is committed, and read on from there."""
        machine, started = self._machine, self._clock.monotonic()
        self._to_restore |= set(numbers)
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
        self._fold_up()
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

    def _fold_up(self) -> None:
        """Fold at least up to the model that the partitions were last decided with."""
        began = self._clock.monotonic()
        while self._machine.behind:
            self._state.beat()
            topic = self._machine.follows
            if not self._follow(0.1) and topic is not None and self._tail is not None:
                end = self._log.bounds(topic, 0).end
                # The end may have moved on since the poll that brought nothing.
                if self._tail.position >= end and self._machine.behind:
                    raise StopError(
                        f"{topic!r} ends at offset {end}, and partitions were "
                        "decided with a later model: the training log was cut or replaced"
                    )
            if self._clock.monotonic() - began > _FOLD_WAIT_S:
                raise RetryError("the fold is far behind the partitions' model; still folding")

    def _follow(self, timeout_s: float) -> bool:
        machine = self._machine
        if machine.follows is None:
            return False
        if self._tail is None:
            self._tail = self._log.tail(machine.follows, 0, machine.next_followed)
        records = self._tail.poll(timeout_s, self._config.loop.fold_size)
        machine.follow(records)
        return bool(records)

    def _tick(self, member: Member) -> Tick:
        now, machine = self._clock.now(), self._machine
        if self._to_restore or self._clock.monotonic() - self._looked < _LOOK_S:
            return Tick(now)
        drained = dict.fromkeys(self._assigned, now)
        if not drained or not machine.due(Tick(now, drained)):
            return Tick(now)
        self._looked = self._clock.monotonic()
        return Tick(now, dict.fromkeys(member.drained(drained), now))

    def _process(self, records: Iterable[Record], tick: Tick) -> Work | None:
        batch = list(records)
        machine = self._machine
        if not batch and not machine.due(tick):
            return None
        started = self._clock.monotonic()
        work = machine.process(batch, Tick(self._clock.now(), tick.drained))
        if batch:
            seconds = self._clock.monotonic() - started
            self._telemetry.observe("batch_records", len(batch), machine.role)
            self._telemetry.observe("decision_seconds", seconds / len(batch), machine.role)
        return work

    def _commit(self, member: Member, work: Work) -> None:
        started = self._clock.monotonic()
        self._open = True
        member.send(work.outs)
        crash_point("sent")
        member.commit(work.offsets)
        self._open = False
        self._machine.settled()
        crash_point("committed")
        role = self._machine.role
        self._telemetry.observe("commit_seconds", self._clock.monotonic() - started, role)
        self._telemetry.add(work.counts, role)

    def _tell_ready(self) -> None:
        if self._to_restore:
            self._state.wait("restoring")
        elif not self._assigned:
            self._state.stand_by("no partition is assigned: another member has them all")
        else:
            self._state.get_ready()

    def _start_over(self, how: str, error: Exception) -> None:
        """Restore everything before the next poll; nothing of this round was committed."""
        _log.warning("starting_over", role=self._machine.role, how=how, error=str(error))
        self._state.wait(str(error))
        self._to_restore |= {partition.number for partition in self._assigned}
        if self._open and self._member is not None:
            try:
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
        self._assigned = frozenset()
        self._to_restore = set()
        self._open = False
        if self._member is not None:
            self._member.close()
            self._member = None
        if self._tail is not None:
            self._tail.close()
            self._tail = None
