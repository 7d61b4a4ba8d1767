"""One process: a log, the roles that run on it in threads, health, and how all of it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType

import structlog

from consumers.annotator import AnnotatorMachine, Truths
from consumers.clock import Clock
from consumers.drivers import open_log
from consumers.errors import RebuildError, RetryError
from consumers.gate import GateMachine
from consumers.gauges import Gauges
from consumers.gold import read_gold
from consumers.health import HealthServer, RoleState
from consumers.ledger import LedgerMachine
from consumers.log import Log, Partition
from consumers.loop import Loop
from consumers.machine import Machine
from consumers.page import History, LivePage
from consumers.snapshots import Snapshots
from consumers.telemetry import Telemetry
from stream_al.config import Config
from stream_al.errors import ConfigError

__all__ = ["Process", "Signals"]

_log = structlog.get_logger()

_AGAIN_S = 1.0

_REFLECT_S = 2.0
"""How often what the fold tells about itself is taken down: estimating costs milliseconds."""


class Process:
    """Runs roles on a log, each in a thread of its own; the first that fails ends them all.

    Parameters
    ----------
    config
        Validated.
    roles
        Of ``gate``, ``ledger``, ``annotator``.
    truths
        What the annotator answers from.
    log
        In place of the configured one; left open at the end.

    Attributes
    ----------
    address
        Where health, metrics and the live page are served, as ``host:port``; None: nowhere.

    Raises
    ------
    ConfigError
        If the configuration does not fit the roles, or the port is taken.
    InputError
        If a gold case cannot be used.
    """

    def __init__(
        self,
        config: Config,
        roles: Sequence[str],
        truths: Truths | None = None,
        log: Log | None = None,
    ) -> None:
        if config.log.driver != "sqlite" and config.log.instance is None:
            raise ConfigError(
                "must be given with Kafka: a name that no other process of the role has, and that "
                "stays the same after a restart",
                "log.instance",
            )
        self._config = config
        self._truths = truths
        self._clock = Clock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._reflect_at = float("-inf")
        self._own_log = log is None
        self._log = log or open_log(config)
        self.telemetry = Telemetry(roles)
        self.states = {role: RoleState() for role in roles}
        self._machines: dict[str, Machine] = {}
        self._snapshots: Snapshots | None = None
        self._loops: dict[str, Loop] = {}
        for role in roles:
            self._add(role)
        history = History()
        self._gauges = Gauges(
            self._log, self._machines, self.telemetry, self._snapshots, history, self._clock
        )
        self._health: HealthServer | None = None
        if config.serve.port is not None:
            page = LivePage(
                config, self.telemetry, self.states, self._machines, history, self._clock
            )
            self._health = HealthServer(config.serve, self.telemetry, self.states, page)
        self._threads = [
            threading.Thread(target=self._run, args=(role,), name=role, daemon=True)
            for role in roles
        ]

    @property
    def address(self) -> str | None:
        """Where health, metrics and the live page are served."""
        return None if self._health is None else self._health.address

    def _add(self, role: str) -> None:
        config, between = self._config, _nothing
        machine: Machine
        if role == "gate":
            snapshots = Snapshots(config, self._log, self.telemetry, self._clock)
            gate = machine = GateMachine(config)
            self._snapshots, self._gate = snapshots, gate

            def between() -> None:
                snapshots.keep(gate.core.fold, now=self.ended)
                # Not before it has caught up: what held long ago would look like news.
                if self.states["gate"].ready and (
                    (now := self._clock.monotonic()) >= self._reflect_at
                ):
                    self._reflect_at = now + _REFLECT_S
                    gate.reflect()
        elif role == "ledger":
            machine = LedgerMachine(config, read_gold(config))
        elif role == "annotator" and self._truths is not None:
            machine = AnnotatorMachine(config, self._truths, read_gold(config))
        else:
            raise ConfigError(f"role {role!r} cannot run without the stream that it answers from")
        self._machines[role] = machine
        self._loops[role] = Loop(
            self._log, machine, config, self.telemetry, self.states[role], self._clock, between
        )

    def start(self) -> None:
        """Start all threads."""
        if self._health is not None:
            self._health.start()
            _log.info("serving", address=self._health.address)
        self._gauges.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all to end; the batches under way are finished."""
        self._stop.set()

    @property
    def ended(self) -> bool:
        """Whether it has been asked to end, or something failed."""
        return self._stop.is_set()

    @property
    def idle(self) -> bool:
        """Whether all that the inputs hold is processed and nothing waits for an answer."""
        topics = self._log.topics()
        for role, machine in self._machines.items():
            if not self.states[role].ready or not machine.idle:
                return False
            positions = machine.positions
            for topic in machine.inputs:
                for number in range(topics[topic].partitions):
                    # Not the end: what ends a transaction takes up offsets too.
                    last = self._log.last(topic, number)
                    position = positions.get(Partition(topic, number), 0)
                    if last is not None and last.offset >= position:
                        return False
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is asked to end, or something fails.

        Returns
        -------
        bool
            False where the time ran out first.
        """
        return self._stop.wait(timeout_s)

    def close(self) -> None:
        """End all threads, within ``loop.stop_timeout_s``.

        Raises
        ------
        StreamAlError
            What a role failed with.
        TimeoutError
            If a role has not ended in time; its transaction, if any, times out in the log.
        """
        self._stop.set()
        deadline = self._clock.monotonic() + self._config.loop.stop_timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        self._gauges.stop()
        if self._health is not None:
            self._health.close()
        if late:
            raise TimeoutError(f"{', '.join(late)}: still busy after loop.stop_timeout_s")
        if self._own_log:
            self._log.close()
        if self._failure is not None:
            raise self._failure

    def _load(self) -> None:
        """Take up the gate's snapshot, once the log can be asked whether it fits."""
        while self._snapshots is not None and not self._stop.is_set():
            try:
                fold = self._snapshots.load()
            except (RetryError, RebuildError) as error:
                _log.warning("waiting", role="gate", error=str(error))
                self.states["gate"].wait(str(error))
                self._stop.wait(_AGAIN_S)
            else:
                if fold is not None:
                    self._gate.core.fold = fold
                return

    def _run(self, role: str) -> None:
        try:
            if role == "gate":
                self._load()
            self._loops[role].run(self._stop.is_set)
        except BaseException as error:  # noqa: BLE001 - raised again where the process is closed
            _log.error("failed", role=role, error=f"{type(error).__name__}: {error}")
            self._failure = self._failure or error
            self._stop.set()


def _nothing() -> None:
    """Do nothing between rounds."""


class Signals:
    """Takes note of SIGTERM and SIGINT; the second of them ends the process at once.

    Attributes
    ----------
    asked
        Whether one has come. The handler does no more than to say so: what it interrupts may hold
        any lock, so it must not wait for one.
    """

    def __init__(self) -> None:
        self.asked = False
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.asked:
            os._exit(128 + number)
        self.asked = True
