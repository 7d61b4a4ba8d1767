"""Following the training log: before joining, between batches, and up to what was decided."""

from __future__ import annotations

from consumers.clock import Clock
from consumers.errors import RetryError, StopError
from consumers.health import RoleState
from consumers.log import Log, Tail
from consumers.machine import Machine

__all__ = ["Follower"]

_FOLD_WAIT_S = 30.0
"""How long a takeover waits for the fold before it starts over, to stay in the group."""


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
            if self.step(0.1) or (self._tail is not None and self._tail.position < end):
                self._state.wait(f"folding: {machine.next_followed} of {end}")
                return True
        out = machine.introduction
        if out is None:
            return False
        if machine.follows is None and self._log.bounds(out.topic, 0).end:
            first = next(iter(self._log.read(out.topic, 0)), None)
            if first is not None:
                machine.meet(first)
            return False
        writer = self._log.writer()
        writer.send(out)
        writer.close()
        return machine.follows is not None

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
