"""Other processes on the same file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class Child:
    """A process that runs `child.py`; closed by its user.

    Attributes
    ----------
    pid
        Its id.
    """

    def __init__(self, what: str, path: Path, instance: str, session_s: float) -> None:
        script = Path(__file__).with_name("child.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), what, str(path), instance, str(session_s)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def line(self) -> str:
        """Wait for the next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and close its output."""
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
