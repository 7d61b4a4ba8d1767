"""What can be made to go wrong at each step of a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from consumers.errors import AbortError, LogError, RebuildError, RetryError, StopError

__all__ = ["STEPS", "Crash", "Faults", "NoFaults"]

STEPS: Mapping[str, tuple[type[LogError], ...]] = {
    "init": (RetryError, StopError),
    "poll": (RetryError, RebuildError, StopError),
    "seek": (),
    "committed": (RetryError, RebuildError, StopError),
    "drained": (RetryError, RebuildError, StopError),
    "send": (AbortError, RebuildError, StopError),
    "commit:before": (AbortError, RebuildError, StopError),
    "commit:prepared": (RebuildError, StopError),
    "commit:after": (RebuildError, StopError),
    "abort": (RebuildError,),
    "close": (),
    "tail": (),
    "tail.poll": (RetryError, RebuildError, StopError),
    "writer": (),
    "writer.send": (RetryError, StopError),
    "writer.flush": (RetryError, StopError),
    "bounds": (RetryError, StopError),
    "topics": (RetryError,),
    "create": (RetryError, StopError),
}
"""The steps of a simulated log, and what the contract lets each of them raise.

At ``commit:before`` nothing has been committed, and the transaction stays open until its member is
opened again or its timeout passes. At ``commit:prepared`` the log has the commit and carries it out
by itself, later. At ``commit:after`` it has been carried out. A `Crash` may come at any step.
"""


class Crash(BaseException):
    """The process dies here: nothing in it may catch this, and what it remembered is lost."""


class Faults(Protocol):
    """Decides what goes wrong."""

    def at(self, step: str) -> None:
        """Return, or raise one of what `STEPS` allows, or `Crash`."""


class NoFaults:
    """Nothing goes wrong."""

    def at(self, step: str) -> None:
        """Return."""
