"""Who takes part in a simulated run: processes that stop, die and start again."""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from consumers.annotator import AnnotatorMachine, Truths
from consumers.errors import RebuildError, RetryError
from consumers.gate import GateMachine
from consumers.health import RoleState
from consumers.ledger import LedgerMachine
from consumers.loop import Loop
from consumers.machine import Machine
from consumers.telemetry import Telemetry
from consumers.testing.faults import Faults
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_log import SimulatedLog
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.labels.gold import GoldCase
from stream_al.learner.fold import Fold

__all__ = ["Actor", "Replica", "Retrying", "World"]


class World(Protocol):
    """What an actor is given."""

    rng: random.Random
    broker: SimulatedBroker
    telemetry: Telemetry

    def faults_for(self, actor: Actor) -> Faults:
        """Return what goes wrong in an actor's log."""


class Actor(ABC):
    """A process that takes part; it starts, steps, stops or dies, and starts again.

    Attributes
    ----------
    down_until
        When it starts again; None while it runs.
    """

    def __init__(self, name: str, world: World, config: Config) -> None:
        self.name = name
        self.world = world
        log = msgspec.structs.replace(config.log, instance=name)
        self.config = msgspec.structs.replace(config, log=log)
        self.topics = Topics.of(log)
        self.down_until: float | None = 0.0
        self._log = self._open_log()

    def _open_log(self) -> SimulatedLog:
        return SimulatedLog(self.config, self.world.broker, self.world.faults_for(self))

    @abstractmethod
    def start(self) -> None:
        """Begin with an empty memory."""

    @abstractmethod
    def step(self) -> bool:
        """Do a little; return whether there was anything to do."""

    def stop(self) -> None:  # noqa: B027 - most have nothing to end
        """End in good order."""

    def die(self) -> None:
        """End as by SIGKILL: nothing is told to anyone."""
        self._log.fall_silent()
        self._log = self._open_log()

    @property
    def log(self) -> SimulatedLog:
        """The log as this process has opened it."""
        return self._log

    @property
    def at_rest(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return True


class Replica(Actor):
    """A gate, a ledger or an annotator, run by the real loop.

    A gate's fold survives its death now and then, as a snapshot on a disk does.
    """

    def __init__(
        self,
        role: str,
        instance: str,
        world: World,
        config: Config,
        truths: Truths | None = None,
        gold: Sequence[GoldCase] = (),
    ) -> None:
        # Replicas fold at different speeds, so one takes over from another that is ahead of it.
        fold_size = world.rng.choice([1, 5, 200])
        loop = msgspec.structs.replace(config.loop, fold_size=fold_size)
        super().__init__(instance, world, msgspec.structs.replace(config, loop=loop))
        self.role = role
        self._truths = truths
        self._gold = gold
        self._disk: Fold | None = None
        self._loop: Loop | None = None

    def start(self) -> None:
        """Open a loop."""
        machine: Machine
        between: Callable[[], None] = _nothing
        if self.role == "ledger":
            machine = LedgerMachine(self.config, self._gold)
        elif self._truths is not None:
            machine = AnnotatorMachine(self.config, self._truths, self._gold)
        else:
            gate = machine = GateMachine(self.config, copy.deepcopy(self._disk))
            # Small as the batches are, each is to be cut.
            gate.slice_size = 2

            def between() -> None:
                if self.world.rng.random() < 0.01:
                    self._disk = copy.deepcopy(gate.core.fold)

        clock = self.world.broker.clock
        state = RoleState(clock.monotonic)
        self._loop = Loop(
            self._log, machine, self.config, self.world.telemetry, state, clock, between
        )

    def step(self) -> bool:
        """Go one round."""
        assert self._loop is not None
        return self._loop.step()

    def stop(self) -> None:
        """Close the loop."""
        if self._loop is not None:
            self._loop.close()


class Retrying(Actor):
    """One that tries again where its log says so."""

    def step(self) -> bool:
        """Do a little, as far as the log lets it."""
        try:
            return self.work()
        except RetryError:
            self.world.broker.clock.sleep(0.1)
        except RebuildError:
            self.start()
        return True

    @abstractmethod
    def work(self) -> bool:
        """Do a little."""


def _nothing() -> None:
    """Do nothing between rounds."""
