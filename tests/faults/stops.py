"""Stops as a supervisor does them: SIGTERM, and SIGKILL once the manifests' time is up."""

from __future__ import annotations

import signal
import time

from .kinds import Kind
from .live import LiveRun, Resumed
from .managed import Managed
from .shipped import grace_periods
from .sites import KafkaSite

__all__ = ["ON_KAFKA", "STOPS"]

_START_S = 60.0
"""Until Python, several times over, has started on a machine that has other things to do, and
the gates have folded what was written since their snapshots."""

_JOIN_S = 20.0
"""On the embedded log a second gate only waits."""

_LATE = 5
"""What `run` ends with where a batch did not end in `loop.stop_timeout_s`; no loss either."""


def stop_under_load(run: LiveRun) -> None:
    """SIGTERM to each gate and ledger, at work, and again while it works off what has come."""
    for victim in _stoppable(run):
        run.rest(run.rng.random())
        _stop(run, [victim], "SIGTERM, at work", (0,))
        _start(run, victim)
        _stop(run, [victim], "SIGTERM, behind", (0,))
        _start(run, victim)
        run.measure("stopped and started", victim.role, bound_s=_bound_s(run))


def stop_unreachable(run: LiveRun) -> None:
    """SIGTERM to all gates and ledgers at once while the brokers are out of their reach."""
    if not isinstance(run.site, KafkaSite):
        raise TypeError("only Kafka has connections")
    run.site.proxy.silence()
    run.rest(1.0 + 4.0 * run.rng.random())
    victims = _stoppable(run)
    _stop(run, victims, "SIGTERM, brokers unreachable", (0, _LATE))
    run.site.proxy.restore()
    for victim in victims:
        victim.start()
    run.expected_down -= {victim.name for victim in victims}
    run.measure("brokers unreachable", *{each.role for each in victims}, bound_s=_bound_s(run))


def _bound_s(run: LiveRun) -> float:
    """Who comes back starts and folds; who does not, is waited for until its session ends."""
    return run.config.loop.session_timeout_s + _START_S


def _stoppable(run: LiveRun) -> list[Managed]:
    return [each for each in run.replicas.values() if each.role != "annotator"]


def _stop(run: LiveRun, victims: list[Managed], how: str, allowed: tuple[int, ...]) -> None:
    """Ask all of them to end, and give each the shortest time that any manifest gives."""
    grace_s = min(grace_periods().values())
    run.expected_down |= {victim.name for victim in victims}
    began = time.monotonic()
    for victim in victims:
        victim.signal(signal.SIGTERM)
    left = list(victims)
    while left and time.monotonic() - began < grace_s:
        for victim in [each for each in left if not each.running]:
            left.remove(victim)
            seconds = round(time.monotonic() - began, 2)
            run.resumed.append(Resumed(how, victim.role, seconds))
            run.ends[f"{how}: {victim.role} {victim.code}"] += 1
            if victim.code not in allowed:
                told = f"{how}: {victim.name} ended with {victim.code}: {victim.last_words()}"
                run.violations.append(told)
        time.sleep(0.02)
    for victim in left:
        victim.kill()
        told = f"{how}: {victim.name} had not ended after {grace_s:.0f} s: {victim.last_words()}"
        run.violations.append(told)


def _start(run: LiveRun, victim: Managed) -> None:
    victim.start()
    run.expected_down.discard(victim.name)
    end = time.monotonic() + _JOIN_S
    while not victim.active and time.monotonic() < end:
        run.rest(0.1)


STOPS: dict[str, Kind] = {"stop-under-load": stop_under_load}
"""What is done to processes that run with a shipped configuration."""

ON_KAFKA: dict[str, Kind] = {**STOPS, "stop-unreachable": stop_unreachable}
"""And where there are brokers."""
