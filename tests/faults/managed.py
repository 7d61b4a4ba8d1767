"""A real process of the project, started, watched and ended by a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Managed", "stream_al"]

_STOP_S = 60.0


class Managed:
    """One process at a time under one name; what it says goes to one file.

    Attributes
    ----------
    name, role
        ``gate-0`` and ``gate``.
    starts
        How often it was started.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.role = name.partition("-")[0]
        self.command = list(command)
        self.starts = 0
        self._environment = dict(environment)
        self._said = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    def start(self, **environment: str) -> None:
        """Start it; what is given is added to its environment."""
        self.starts += 1
        self._begin = self._said.stat().st_size if self._said.exists() else 0
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id; RuntimeError where it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How the last one ended; None while it runs."""
        return self._process.poll() if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would, and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it in good order; return how it ended, or -9 where it would not."""
        self.signal(signal.SIGTERM)
        return self.wait(_STOP_S)

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends; after the timeout it is killed."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    @property
    def active(self) -> bool:
        """Whether it runs and has taken over partitions since its start."""
        return self.running and "restored" in self.events()

    def events(self) -> list[str]:
        """Name what it has logged since its last start."""
        return [str(line.get("event")) for line in self.lines()]

    def lines(self) -> list[dict[str, object]]:
        """Return what it has logged since its last start; what is no JSON as ``text``."""
        with self._said.open("rb") as said:
            said.seek(self._begin)
            found = []
            for raw in said.read().decode(errors="replace").splitlines():
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = None
                found.append(line if isinstance(line, dict) else {"text": raw})
            return found

    def last_words(self) -> str:
        """Return the last lines that it said."""
        return "\n".join(json.dumps(line) for line in self.lines()[-12:])

    def await_event(self, *names: str, timeout_s: float) -> bool:
        """Wait until it logs one of these events; False if it ends or time runs out before."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if set(names) & set(self.events()):
                return True
            if not self.running:
                return False
            time.sleep(0.05)
        return False


def stream_al(*arguments: str) -> list[str]:
    """Begin a command line of the project."""
    return [sys.executable, "-m", "stream_al", *arguments]
