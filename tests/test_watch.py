"""Calls that may never return."""

from __future__ import annotations

import threading

import pytest

from consumers.errors import RebuildError, StopError
from consumers.watch import Watch


def test_calls_that_hang_are_left_behind_three_times() -> None:
    """A call that never returns is given up; the third at once ends the process."""
    watch, never = Watch(), threading.Event()
    try:
        for _ in range(2):
            with pytest.raises(RebuildError, match=r"0\.01 s"):
                watch.run(never.wait, 0.01, "a commit")
        watch.run(lambda: None, 5.0, "another")
        with pytest.raises(StopError, match="3 times"):
            watch.run(never.wait, 0.01, "a commit")
    finally:
        never.set()


@pytest.mark.parametrize("kind", [StopError, KeyError, SystemExit])
def test_whatever_a_call_raises_is_raised_where_it_is_waited_for(
    kind: type[BaseException],
) -> None:
    """No failure of a call, expected or not, passes for its success."""
    watch = Watch()

    def fail() -> None:
        raise kind("no")

    with pytest.raises(kind, match="no"):
        watch.run(fail, 5.0, "a commit")
    watch.run(lambda: None, 5.0, "the next")


def test_threads_are_used_again_and_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls one after another share a thread, calls at once do not, and none stays for ever."""
    monkeypatch.setattr("consumers.watch._IDLE_S", 0.2)
    watch, seen, together = Watch(), set(), threading.Barrier(2)
    for _ in range(20):
        watch.run(lambda: seen.add(threading.current_thread()), 5.0, "one")
    # The thread may take note of its end a little after who waits for it.
    assert len(seen) <= 2
    both = [watch.begin(together.wait, 5.0, "at once") for _ in range(2)]
    for call in both:
        call.end()
    for thread in seen:
        thread.join(5.0)
        assert not thread.is_alive()
    watch.run(lambda: None, 5.0, "after all have ended")
