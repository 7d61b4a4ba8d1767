"""Calls that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from consumers.errors import RebuildError, StopError

__all__ = ["Call", "Watch"]

_MOST_LEFT = 3
_IDLE_S = 10.0


class Call:
    """A call in a thread of its own; `Watch.begin` makes it."""

    def __init__(
        self,
        call: Callable[[], object],
        timeout_s: float,
        doing: str,
        left: list[Call],
    ) -> None:
        self._call = call
        self._end = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._doing = doing
        self._left = left
        self._raised: BaseException | None = None
        # Held until it is over.
        self._running = threading.Lock()
        self._running.acquire()

    def make(self) -> None:
        """Call, in the thread that is there for it."""
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._raised = error
        finally:
            self._running.release()

    @property
    def running(self) -> bool:
        """Whether it has not come back."""
        return self._running.locked()

    def end(self) -> None:
        """Wait for it; what it raised is raised here.

        Raises
        ------
        RebuildError
            If it takes longer than it may.
        StopError
            If that has happened too often.
        """
        if not self._running.acquire(timeout=max(0.0, self._end - time.monotonic())):
            left = self._left
            left[:] = [each for each in left if each.running] + [self]
            if len(left) >= _MOST_LEFT:
                raise StopError(f"{self._doing}: hung {len(left)} times; start the process anew")
            raise RebuildError(
                f"{self._doing}: did not end within {self._timeout_s:g} s; its outcome is unknown"
            )
        self._running.release()
        if self._raised is not None:
            raise self._raised


class _Worker:
    """A thread that makes one call after another, and ends when there are none for a while.

    To start a thread for each would cost a hot loop more than the calls themselves take of it; an
    executor's threads would be waited for at the end of the process.
    """

    def __init__(self, idle: list[_Worker]) -> None:
        self._idle = idle
        self._calls: SimpleQueue[Call] = SimpleQueue()
        threading.Thread(target=self._work, name="watched calls", daemon=True).start()

    def take(self, call: Call) -> None:
        """Make a call as soon as it can be."""
        self._calls.put(call)

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=_IDLE_S)
            except Empty:
                try:
                    self._idle.remove(self)
                except ValueError:
                    # Somebody has just chosen it: the call is on its way.
                    continue
                return
            call.make()
            del call
            self._idle.append(self)


class Watch:
    """Runs calls that may never return, and goes on without them.

    A cut connection can make a call of kafka-python's wait for ever, even after the client was
    closed. Where a broker goes away while offsets are sent to a transaction, librdkafka may not
    return at the end of its timeout, nor until that broker is back and goes away once more. The
    thread is left behind; too many of those end the process.
    """

    def __init__(self) -> None:
        self._left: list[Call] = []
        self._idle: list[_Worker] = []

    def begin(self, call: Callable[[], object], timeout_s: float, doing: str) -> Call:
        """Begin a call, which is to be waited for."""
        made = Call(call, timeout_s, doing, self._left)
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker(self._idle)
        worker.take(made)
        return made

    def run(self, call: Callable[[], object], timeout_s: float, doing: str) -> None:
        """Call, and wait; see `Call.end`."""
        self.begin(call, timeout_s, doing).end()
