"""What is measured beside the loops: lags, open requests, tokens, thresholds."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import structlog

from consumers.clock import Clock
from consumers.errors import LogError
from consumers.gate import GateMachine
from consumers.insight_gauges import tell_insight
from consumers.ledger import LedgerMachine
from consumers.log import Bounds, Log
from consumers.machine import Machine
from consumers.page.history import History, Point
from consumers.snapshots import Snapshots
from consumers.telemetry import Telemetry

__all__ = ["Gauges"]

_log = structlog.get_logger()

_EVERY_S = 2.0


class Gauges:
    """Keeps gauges fresh from a thread of its own, so that no request to a log delays a batch.

    Parameters
    ----------
    log, machines, telemetry, snapshots
        Those of the process; machines by role.
    history
        Where the live page's figures are kept.
    clock
        The time.
    """

    def __init__(
        self,
        log: Log,
        machines: Mapping[str, Machine],
        telemetry: Telemetry,
        snapshots: Snapshots | None,
        history: History,
        clock: Clock,
    ) -> None:
        self._log = log
        self._machines = machines
        self._telemetry = telemetry
        self._snapshots = snapshots
        self._history = history
        self._clock = clock
        self._measured: dict[str, set[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for a request under way."""
        self._stop.set()
        self._thread.join(_EVERY_S)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.measure()
            except LogError as error:
                _log.debug("not_measured", error=str(error))
            except Exception:  # noqa: BLE001 - told with its trace
                # Without this thread all gauges would stand still, and nobody would see that.
                _log.exception("not_measured")
            self._history.add(Point.of(self._clock.now(), self._telemetry))

    def measure(self) -> None:
        """Measure once; what the log has to be asked for comes last, as it may not answer."""
        for role, machine in self._machines.items():
            self._forget_what_left(role, machine)
            if isinstance(machine, GateMachine):
                self._measure_gate(machine)
            elif isinstance(machine, LedgerMachine):
                self._measure_ledger(machine)
        if (storage := self._log.storage()) is not None:
            self._telemetry.set("log_bytes", storage.used)
            self._telemetry.set("log_disk_free_bytes", storage.free)
            self._telemetry.set("log_disk_bytes", storage.disk)
        for role, machine in self._machines.items():
            self._measure_lag(role, machine)

    def _forget_what_left(self, role: str, machine: Machine) -> None:
        """Forget partitions that are gone, as the loop does.

        A figure that was measured meanwhile would stay for ever.
        """
        owned = {place.number for place in machine.positions}
        for number in self._measured.get(role, set()) - owned:
            self._telemetry.forget(role, number)
        self._measured[role] = owned

    def _measure_lag(self, role: str, machine: Machine) -> None:
        for (topic, number), offset in machine.positions.items():
            end = self._bounds(role, topic, number).end
            place = (role, topic, str(number))
            self._telemetry.set("consumer_lag_records", max(0, end - offset), *place)
        if machine.follows is not None:
            # A transaction that hangs there stops learning everywhere, and shows nowhere else.
            stable = self._bounds(role, machine.follows, 0).stable
            self._telemetry.set("fold_lag_records", max(0, stable - machine.next_followed))

    def _bounds(self, role: str, topic: str, number: int) -> Bounds:
        """Ask for a partition's offsets, and tell how many of them a transaction holds up."""
        bounds = self._log.bounds(topic, number)
        stalled = bounds.end - bounds.stable
        self._telemetry.set("last_stable_offset_lag_records", stalled, role, topic, str(number))
        return bounds

    def _measure_ledger(self, machine: LedgerMachine) -> None:
        since, telemetry = machine.open_since, self._telemetry
        age = 0.0 if since is None else max(0.0, self._clock.now() - since)
        telemetry.set("oldest_open_request_age_seconds", age)
        if (expiry := machine.expiry) is not None:
            telemetry.set("request_expiry_seconds", expiry)
        telemetry.set("open_requests", sum(machine.open_requests.values()))
        telemetry.set("early_labels", sum(machine.early_labels.values()))

    def _measure_gate(self, machine: GateMachine) -> None:
        core, telemetry = machine.core, self._telemetry
        # Once: the machine's thread puts another in its place when all is folded again.
        fold = core.fold
        telemetry.set("model_version", core.model.version)
        telemetry.info("model_info", core.model.fold_id, core.config.learner.model)
        if self._snapshots is not None:
            telemetry.set("snapshot_age_seconds", self._snapshots.age)
        told = None if fold.control is None else fold.control.at(self._clock.now())
        for action in ("pause", "boost"):
            telemetry.set("control", told == action, action)
        gate = core.config.gate
        telemetry.set("budget_ratio", gate.budget)
        telemetry.set("budget_burst_requests", gate.burst * len(core.states))
        for member, weight in fold.learner.shares.items():
            telemetry.set("committee_weight_ratio", weight, member)
        for (_, number), state in list(core.states.items()):
            threshold, _ = core.gate.policy.propose(state.level, 1.0)
            telemetry.set("budget_tokens", state.tokens, str(number))
            telemetry.set("threshold", threshold, str(number))
        for name, value in machine.rolling().items():
            telemetry.set(name, value)
        telemetry.set("maintenance", float(core.maintains))
        if machine.insight is not None:
            tell_insight(machine.insight, telemetry)
            watermark = machine.insight.estimate.watermark
            for (topic, number), state in list(core.states.items()):
                if (reached := watermark.get(f"{topic}:{number}")) is not None:
                    behind = max(0, state.next_offset - reached)
                    telemetry.set("accuracy_watermark_lag_events", behind, str(number))
