"""Calls that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from consumers.errors import LogError, RebuildError, StopError

__all__ = ["Call", "Watch"]

_MOST_LEFT = 3


class Call:
    """A call that runs in a thread of its own; `Watch.begin` makes it."""

    def __init__(
        self,
        call: Callable[[], object],
        timeout_s: float,
        doing: str,
        failures: tuple[type[Exception], ...],
        left: list[threading.Thread],
    ) -> None:
        self._end = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._left = left
        self._raised: Exception | None = None

        told: tuple[type[Exception], ...] = (LogError, *failures)

        def target() -> None:
            try:
                call()
            except told as error:
                self._raised = error

        self._thread = threading.Thread(target=target, name=doing, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for it; what it raised is raised here.

        Raises
        ------
        RebuildError
            If it takes longer than it may.
        StopError
            If that has happened too often.
        """
        thread, left = self._thread, self._left
        thread.join(self._end - time.monotonic())
        if thread.is_alive():
            left[:] = [each for each in left if each.is_alive()] + [thread]
            doing = thread.name
            if len(left) >= _MOST_LEFT:
                raise StopError(f"{doing}: hung {len(left)} times; start the process anew")
            raise RebuildError(
                f"{doing}: did not end within {self._timeout_s:g} s; its outcome is unknown"
            )
        if self._raised is not None:
            raise self._raised


class Watch:
    """Runs calls that may never return, and goes on without them.

    A cut connection can make a call of kafka-python's wait for ever, even after the client was
    closed. Where a broker goes away while offsets are sent to a transaction, librdkafka may not
    return at the end of its timeout, nor until that broker is back and goes away once more. The
    thread is left behind; too many of those end the process.

    Parameters
    ----------
    failures
        What the calls raise besides `LogError`.
    """

    def __init__(self, failures: tuple[type[Exception], ...]) -> None:
        self._failures = failures
        self._left: list[threading.Thread] = []

    def begin(self, call: Callable[[], object], timeout_s: float, doing: str) -> Call:
        """Begin a call, which is to be waited for."""
        return Call(call, timeout_s, doing, self._failures, self._left)

    def run(self, call: Callable[[], object], timeout_s: float, doing: str) -> None:
        """Call, and wait; see `Call.end`."""
        self.begin(call, timeout_s, doing).end()
