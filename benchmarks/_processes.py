"""Processes that are measured: started with a configuration, watched, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from _common import processor_seconds

from stream_al import Config
from stream_al.errors import StreamAlError

__all__ = ["GATE", "BenchmarkError", "Processes", "exit_at_sigterm", "running", "wait_until"]

GATE = (sys.executable, "-m", "stream_al", "run", "gate")
"""The command that runs a gate."""

_GRACE_S = 30.0
_LONGEST_S = 600.0
_LOOK_S = 0.1


class BenchmarkError(StreamAlError):
    """Something cannot be measured; says why."""


def _variables(config: Config) -> dict[str, str]:
    """Say in environment variables in what a configuration differs from the defaults."""
    given, defaults = msgspec.to_builtins(config), msgspec.to_builtins(Config())
    return {
        f"STREAM_AL__{section}__{key}".upper(): str(value)
        for section, values in given.items()
        for key, value in values.items()
        if value != defaults[section][key]
    }


class Processes:
    """Processes that run in a folder, with what they say in files of their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], config: Config | None = None) -> None:
        """Start one, with a configuration in its environment."""
        with (self._folder / name).open("wb") as said:
            self._started[name] = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**os.environ, **(_variables(config) if config else {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def pid(self, name: str) -> int:
        """Return the id of one."""
        return self._started[name].pid

    @property
    def processor_s(self) -> float:
        """Processor time that all have taken so far."""
        return sum(processor_seconds(process.pid) for process in self._started.values())

    def check(self) -> None:
        """See that all still run.

        Raises
        ------
        BenchmarkError
            If one has ended; tells its last words.
        """
        for name, process in self._started.items():
            if process.poll() is not None:
                said = (self._folder / name).read_text(errors="replace")[-1000:]
                raise BenchmarkError(f"{name} ended with {process.returncode}: {said}")

    def await_gates(self) -> None:
        """Wait until all, which are gates, have taken over a partition.

        Raises
        ------
        BenchmarkError
        """

        def joined() -> bool:
            said = [(self._folder / name).read_bytes() for name in self._started]
            return all(b'"restored"' in each for each in said)

        wait_until(joined, self.check, "gates to join")

    def end(self) -> None:
        """End all: SIGTERM, and SIGKILL for those that take too long."""
        for process in self._started.values():
            process.terminate()
        for process in self._started.values():
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running(
    folder: Path, commands: Mapping[str, Sequence[str]], configs: Mapping[str, Config]
) -> Iterator[Processes]:
    """Run commands by name, some with a configuration, until the end of a block.

    Raises
    ------
    BenchmarkError
        At the end, if one of them has ended by itself.
    """
    processes = Processes(folder)
    try:
        for name, command in commands.items():
            processes.start(name, command, configs.get(name))
        yield processes
        processes.check()
    finally:
        processes.end()


def wait_until(holds: Callable[[], bool], check: Callable[[], None], what: str) -> None:
    """Wait for something; `check` may raise meanwhile.

    Raises
    ------
    BenchmarkError
        If it takes more than ten minutes.
    """
    deadline = time.monotonic() + _LONGEST_S
    while not holds():
        check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {_LONGEST_S:.0f} s for {what}")
        time.sleep(_LOOK_S)


def exit_at_sigterm() -> None:
    """Let SIGTERM end this program as an error does, so that it ends what it has started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
