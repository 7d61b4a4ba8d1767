"""Calls that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

from consumers.errors import LogError, RebuildError, StopError
from consumers.librdkafka.errors import FAILURES

__all__ = ["Watch"]

_MOST = 3


class Watch:
    """Runs calls that may never return, and goes on without them.

    Where a broker goes away while offsets are sent to a transaction, librdkafka may not return at
    the end of its timeout, nor until that broker is back and goes away once more. The thread is
    left behind; too many of those end the process.
    """

    def __init__(self) -> None:
        self._left: list[threading.Thread] = []

    def run(self, call: Callable[[], None], timeout_s: float, doing: str) -> None:
        """Call in a thread of its own; what it raises is raised here.

        Raises
        ------
        RebuildError
            If it takes longer.
        StopError
            If that has happened too often.
        """
        raised: list[Exception] = []

        def target() -> None:
            try:
                call()
            except (LogError, *FAILURES) as error:
                raised.append(error)

        thread = threading.Thread(target=target, name=doing, daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():
            self._left = [each for each in self._left if each.is_alive()] + [thread]
            if len(self._left) >= _MOST:
                raise StopError(f"{doing}: hung {len(self._left)} times; start the process anew")
            raise RebuildError(f"{doing}: hung for {timeout_s:g} s; the outcome is unknown")
        if raised:
            raise raised[0]
