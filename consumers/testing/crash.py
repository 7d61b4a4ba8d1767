"""Crash sentinels: named points at which a process can be told to kill itself."""

from __future__ import annotations

import os
import signal

__all__ = ["VARIABLE", "crash_point"]

VARIABLE = "STREAM_AL_CRASH_AT"
"""Environment variable: ``NAME`` or ``NAME:N``, to die at the n-th visit of a point."""


class _Sentinel:
    def __init__(self, wanted: str) -> None:
        # Names of points hold colons themselves (commit:before).
        name, _, count = wanted.rpartition(":")
        self._name, self._left = (name, int(count)) if count.isdecimal() else (wanted, 1)

    def visit(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


_sentinel = _Sentinel(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL here, if the environment asks for it.

    The environment is read once, when this module is imported.

    Examples
    --------
    >>> crash_point("commit:before")
    """
    if _sentinel is not None:
        _sentinel.visit(name)
