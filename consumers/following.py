"""Following the training log: before joining, between batches, and up to what was decided."""

from __future__ import annotations

from typing import NamedTuple

from consumers.clock import Clock
from consumers.errors import RetryError, StopError
from consumers.health import RoleState
from consumers.log import Log, Tail
from consumers.machine import Machine

__all__ = ["Follower"]

_FOLD_WAIT_S = 30.0
"""How long a takeover waits for the fold before it starts over, to stay in the group."""


class _Lap(NamedTuple):
    """Offsets: where the fold stood, and where the log ended then."""

    start: int
    goal: int


class Follower:
    """Gives a machine the topic that it folds, piece by piece.

    Parameters
    ----------
    fold_size
        Records in a piece at most.
    """

    def __init__(
        self, log: Log, machine: Machine, state: RoleState, clock: Clock, fold_size: int
    ) -> None:
        self._log = log
        self._machine = machine
        self._state = state
        self._clock = clock
        self._fold_size = fold_size
        self._tail: Tail | None = None
        self._lap: _Lap | None = None

    def step(self, timeout_s: float) -> bool:
        """Fold the next piece, if one comes in time; tell whether one did.

        Raises
        ------
        RetryError, RebuildError, StopError, ConfigError
        """
        machine = self._machine
        if machine.follows is None:
            return False
        if self._tail is None:
            self._tail = self._log.tail(machine.follows, 0, machine.next_followed)
        records = self._tail.poll(timeout_s, self._fold_size)
        machine.follow(records)
        return bool(records)

    def prepare(self) -> bool:
        """Before joining: fold what there is, and see that the log knows this configuration.

        What comes while it folds is folded too as long as that is more than a piece, and at most
        half as much as before: others may write as fast as this one folds, and partitions may wait
        for it.

        Returns
        -------
        bool
            Whether there is more of that to do.
        """
        machine, topic = self._machine, self._machine.follows
        if topic is not None and self._fold_lap(topic):
            return True
        out = machine.introduction
        if out is None:
            self._lap = None
            return False
        if topic is None and self._log.bounds(out.topic, 0).end:
            first = next(iter(self._log.read(out.topic, 0)), None)
            if first is not None:
                machine.meet(first)
            return False
        writer = self._log.writer()
        writer.send(out)
        writer.close()
        if topic is None:
            return False
        # To the very end this time: folded no further, it would be written again.
        self._lap = _Lap(machine.next_followed, self._log.bounds(topic, 0).end)
        return True

    def _fold_lap(self, topic: str) -> bool:
        """Fold a piece; tell whether what stood there, or came meanwhile, is worth more."""
        if self._lap is None:
            # Not to the very end: a transaction that this member itself left open, and that only
            # its joining ends, may stand before it.
            self._lap = _Lap(self._machine.next_followed, self._log.bounds(topic, 0).stable)
        start, goal = self._lap
        self.step(0.1)
        if self._tail is not None and self._tail.position < goal:
            self._state.wait(f"folding: {self._machine.next_followed} of {goal}")
            return True
        end = self._log.bounds(topic, 0).stable
        if self._fold_size < end - goal <= (goal - start) / 2:
            self._lap = _Lap(goal, end)
            return True
        return False

    def catch_up(self) -> None:
        """Fold at least up to the model that the partitions were last decided with."""
        began = self._clock.monotonic()
        while self._machine.behind:
            self._state.beat()
            topic = self._machine.follows
            if not self.step(0.1) and topic is not None and self._tail is not None:
                end = self._log.bounds(topic, 0).end
                # The end may have moved on since the poll that brought nothing.
                if self._tail.position >= end and self._machine.behind:
                    raise StopError(
                        f"{topic!r} ends at offset {end}, and partitions were "
                        "decided with a later model: the training log was cut or replaced"
                    )
            if self._clock.monotonic() - began > _FOLD_WAIT_S:
                raise RetryError("the fold is far behind the partitions' model; still folding")

    def close(self) -> None:
        """Give up what is open; the next step begins where the fold stands."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None
        self._lap = None
