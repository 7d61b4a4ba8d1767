"""Who is active: leases, and what ends them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumers.errors import RebuildError, StopError
from consumers.log import Out
from consumers.sqlite import SqliteLog
from sqlite_log.processes import Child
from sqlite_log.steps import EVENTS, OUT, active, locked, offsets, until


def test_second_instance_waits_until_the_first_is_silent(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Another instance gets nothing while the first lives, and everything once it was killed."""
    session_s = 1.0
    with closing(Child("hold", path, "one", session_s)) as holder:
        assert holder.line() == "active"
        second = opened(session_s, instance="two").member("gate", ["events"])
        # Longer than a session: signs of life are what counts, not polls.
        end = time.monotonic() + 1.5 * session_s
        while time.monotonic() < end:
            batch = second.poll(0.2, 10)
            assert (list(batch.records), batch.assigned, batch.stable) == ([], frozenset(), True)
        holder.kill()
        took_s = until(lambda: bool(second.poll(0.05, 10).gained))
        assert took_s < session_s + 0.5
    second.close()


def test_lease_that_was_taken_by_another_instance(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Whoever slept past its lease finds it taken: rebuild, wait, and commit nothing."""
    session_s = 0.5
    with closing(Child("commit", path, "one", session_s)) as holder:
        assert holder.line() == "active"
        os.kill(holder.pid, signal.SIGSTOP)
        log = opened(session_s, instance="two")
        second = log.member("gate", ["events"])
        until(lambda: bool(second.poll(0.05, 10).gained))
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.line() == "RebuildError"
        assert holder.line() == "assigned 0"
    assert second.committed([EVENTS]) == {EVENTS: None}
    assert offsets(log, OUT) == []
    second.close()


def test_lease_that_ran_out_and_that_nobody_took(
    path: Path, opened: Callable[..., SqliteLog]
) -> None:
    """Without a rival a member that could show no sign of life for long goes on."""
    log = opened(session_s=0.2, instance="one")
    member = active(log)
    with locked(path):
        time.sleep(0.5)
    member.commit({EVENTS: 1})
    assert member.committed([EVENTS]) == {EVENTS: 1}
    member.close()


def test_same_instance_takes_over_at_once(opened: Callable[..., SqliteLog]) -> None:
    """Opened again, an instance is active at once; the older one must stop, and says why."""
    older = active(opened(instance="one"))
    newer = active(opened(instance="one"))
    older.send([Out(OUT, b"older")])
    for call in (lambda: older.commit({EVENTS: 1}), lambda: older.poll(0.0, 1)):
        with pytest.raises(StopError, match=r"another process has taken .* instance 'one'"):
            call()
    newer.commit({EVENTS: 1})
    older.close()
    assert newer.poll(0.0, 1).assigned == {EVENTS}
    newer.close()


def test_member_without_a_name_gives_its_seat_up(opened: Callable[..., SqliteLog]) -> None:
    """Two processes without names do not fence each other; the second follows a close at once."""
    first = active(opened())
    second = opened().member("gate", ["events"])
    assert not second.poll(0.2, 10).assigned
    first.commit({EVENTS: 1})
    first.close()
    assert until(lambda: bool(second.poll(0.05, 10).gained)) < 1.0
    second.close()


def test_commit_before_any_poll_is_refused(opened: Callable[..., SqliteLog]) -> None:
    """A member that was given nothing has nothing to commit."""
    with closing(opened().member("gate", ["events"])) as member:
        with pytest.raises(RebuildError, match="active"):
            member.commit({EVENTS: 1})
        assert member.poll(0.0, 1).gained
        assert member.committed([EVENTS]) == {EVENTS: None}
