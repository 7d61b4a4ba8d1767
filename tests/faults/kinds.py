"""The kinds of faults that are done to real processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from consumers.testing.crash import VARIABLE
from stream_al.config import LearnerConfig
from stream_al.learner.fold import Fold
from stream_al.learner.snapshot import save

from .live import LiveRun
from .managed import Managed
from .sites import KafkaSite

__all__ = ["KAFKA", "SQLITE", "Kind"]

Kind = Callable[[LiveRun], None]

_ALL = ("gate", "ledger", "annotator")
_BOUND_S = 60.0
_JOIN_S = 15.0
"""On the embedded log who joins only waits."""


def kill(run: LiveRun) -> None:
    """SIGKILL at any moment; it is started again at once, or only when another has taken over."""
    victim = run.of(*_ALL)
    _down(run, victim)
    victim.kill()
    if run.others(victim) and run.rng.random() < 0.5:
        run.measure("kill, another takes over", victim.role, bound_s=_BOUND_S)
        _up(run, victim)
        return
    _up(run, victim)
    run.measure("kill, started again", victim.role, bound_s=_BOUND_S)


def _crash_at(step: str) -> Kind:
    def crash(run: LiveRun) -> None:
        victim = run.of(*_ALL)
        _down(run, victim)
        victim.stop()
        # Another replica may hold every seat: then the point is not reached, which is told.
        victim.start(**{VARIABLE: f"{step}:{run.rng.randrange(1, 15)}"})
        end = time.monotonic() + 30.0
        while victim.running and time.monotonic() < end:
            run.rest(0.1)
        run.ends[f"crash at {step}"] += not victim.running
        was_active = "restored" in victim.events()
        victim.kill()
        _up(run, victim)
        if was_active:
            run.measure(f"crash at {step}", victim.role, bound_s=_BOUND_S)

    return crash


def pause(run: LiveRun) -> None:
    """SIGSTOP beyond session and transaction timeouts, then SIGCONT."""
    victim, loop = run.of(*_ALL), run.config.loop
    over_s = 1.3 * max(loop.session_timeout_s, loop.transaction_timeout_s)
    victim.signal(signal.SIGSTOP)
    while not run.site.can_be_written():
        # Inside a commit on the embedded log it blocks all others: outside of the promise.
        victim.signal(signal.SIGCONT)
        run.rest(0.2)
        victim.signal(signal.SIGSTOP)
    if run.others(victim):
        run.measure("stopped, another takes over", victim.role, bound_s=_BOUND_S)
    run.rest(over_s + 2.0 * run.rng.random())
    victim.signal(signal.SIGCONT)
    run.measure("stopped and continued", victim.role, bound_s=_BOUND_S)


def rolling_restart(run: LiveRun) -> None:
    """SIGTERM to one after the other, each started again once it has ended."""
    for victim in list(run.replicas.values()):
        _down(run, victim)
        if (code := victim.stop()) != 0:
            run.violations.append(f"{victim.name} stopped with {code}: {victim.last_words()}")
        _up(run, victim)
        run.measure("rolling restart", victim.role, bound_s=_BOUND_S)


def join_and_leave(run: LiveRun) -> None:
    """Another replica joins the group and leaves it again, by SIGTERM or SIGKILL."""
    role = run.rng.choice(["gate", "ledger"])
    joined = run.add(role)
    joined.start()
    end = time.monotonic() + _JOIN_S
    while not joined.active and time.monotonic() < end:
        run.rest(0.1)
    run.measure("joined", role, bound_s=_BOUND_S)
    run.rest(2.0 * run.rng.random())
    _down(run, joined)
    if run.rng.random() < 0.5:
        joined.kill()
    else:
        joined.stop()
    del run.replicas[joined.name]
    run.measure("left", role, bound_s=_BOUND_S)


def broken_snapshot(run: LiveRun) -> None:
    """Cut or overwrite the gate's snapshot, or give it another's: it folds from the start."""
    victim = run.of("gate")
    file = Path(run.config.loop.state_dir or "") / f"{run.config.log.name}.{victim.name}.fold"
    end = time.monotonic() + 20.0
    while not file.exists() and time.monotonic() < end:
        run.rest(0.2)
    _down(run, victim)
    victim.kill()
    how = run.rng.choice(["cut", "garbage", "empty", "foreign"])
    if how == "foreign" or not file.exists():
        save(Fold(LearnerConfig(seed=99)), file)
    else:
        whole = file.read_bytes()
        kept = {"cut": whole[: len(whole) // 2], "garbage": whole[::-1], "empty": b""}
        file.write_bytes(kept[how])
    _up(run, victim)
    run.measure("broken snapshot", "gate", bound_s=_BOUND_S)
    # Another gate may have gone on before this one has read it.
    if not victim.await_event("snapshot_refused", timeout_s=_BOUND_S):
        run.violations.append(f"{victim.name} did not refuse a snapshot that is {how}")


def poison(run: LiveRun) -> None:
    """Malformed events and labels among the good ones."""
    run.mischief.poison(run.rng.randrange(100, 400))
    run.rest(1.0)
    run.measure("poison", "gate", "ledger", bound_s=_BOUND_S)


def label_trouble(run: LiveRun) -> None:
    """Labels twice, early, late, out of order, of nobody's requests; denied and taken back."""
    run.mischief.trouble_labels(0.6)
    run.rest(3.0)
    run.measure("label trouble", "ledger", bound_s=_BOUND_S)
    run.mischief.trouble_labels(0.03)


def full_disk(run: LiveRun) -> None:
    """Let the embedded log's file not grow for a while (max_page_count)."""
    victim = run.of("gate", "ledger")
    if run.others(victim):
        # The other would take over and write, without a limit.
        victim = run.of("ledger")
    file = run.site.folder / f"{victim.name}.pages"
    _down(run, victim)
    victim.stop()
    limited = Managed(
        victim.name,
        [victim.command[0], "-m", "tests.faults.limited", victim.role, str(file)],
        run.site.environment(victim.name),
        run.site.folder,
    )
    run.replicas[victim.name] = limited
    _up(run, limited)
    run.measure("rolling restart", victim.role, bound_s=_BOUND_S)
    file.write_text("1")
    run.rest(2.0 + 3.0 * run.rng.random())
    if not {"starting_over", "rebuilding"} & set(limited.events()):
        run.violations.append(f"{victim.name} did not notice that its disk is full")
    file.write_text("")
    run.measure("full disk", victim.role, bound_s=_BOUND_S)
    _down(run, limited)
    limited.stop()
    run.replicas[victim.name] = victim
    _up(run, victim)
    run.measure("rolling restart", victim.role, bound_s=_BOUND_S)


def cut_connections(run: LiveRun) -> None:
    """All connections to the broker are cut, and new ones refused for a while."""
    site = _on_kafka(run)
    site.proxy.cut()
    run.rest(1.0 + 6.0 * run.rng.random())
    site.proxy.restore()
    run.measure("connections cut", *_ALL, bound_s=_BOUND_S)


def silent_connections(run: LiveRun) -> None:
    """Keep connections open and let nothing through for a while."""
    site = _on_kafka(run)
    site.proxy.silence()
    run.rest(2.0 + 10.0 * run.rng.random())
    site.proxy.restore()
    run.measure("connections silent", *_ALL, bound_s=2 * _BOUND_S)


def broker_killed(run: LiveRun) -> None:
    """SIGKILL to the broker, which is started again with its data."""
    site = _on_kafka(run)
    site.broker.kill()
    run.rest(3.0 * run.rng.random())
    site.broker.start()
    run.measure("broker killed", *_ALL, bound_s=2 * _BOUND_S)


def _on_kafka(run: LiveRun) -> KafkaSite:
    if not isinstance(run.site, KafkaSite):
        raise TypeError("only Kafka has connections and a broker")
    return run.site


def _down(run: LiveRun, victim: Managed) -> None:
    run.expected_down.add(victim.name)


def _up(run: LiveRun, victim: Managed) -> None:
    victim.start()
    run.expected_down.discard(victim.name)


_BOTH: dict[str, Kind] = {
    "kill": kill,
    "crash-polled": _crash_at("polled"),
    "crash-sending": _crash_at("sending"),
    "crash-sent": _crash_at("sent"),
    "crash-offsets": _crash_at("offsets"),
    "crash-committed": _crash_at("committed"),
    "pause": pause,
    "rolling-restart": rolling_restart,
    "join-leave": join_and_leave,
    "broken-snapshot": broken_snapshot,
    "poison": poison,
    "label-trouble": label_trouble,
}

SQLITE: dict[str, Kind] = {**_BOTH, "full-disk": full_disk}
"""What is done to processes on the embedded log."""

KAFKA: dict[str, Kind] = {
    **_BOTH,
    "cut": cut_connections,
    "silence": silent_connections,
    "broker-kill": broker_killed,
}
"""What is done to processes on Kafka."""
