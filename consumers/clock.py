"""The world's time."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """The time; tests and simulations bring their own."""

    def now(self) -> float:
        """Return epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
