"""Processes that are measured: started with a configuration, watched, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from stream_al import Config
from stream_al.errors import StreamAlError

__all__ = ["BenchmarkError", "gate_command", "restored", "running", "wait_until"]

_GRACE_S = 30.0
_LONGEST_S = 600.0
_LOOK_S = 0.1


class BenchmarkError(StreamAlError):
    """Something cannot be measured; says why."""


def gate_command() -> list[str]:
    """Return the command that runs a gate."""
    return [sys.executable, "-m", "stream_al", "run", "gate"]


def _variables(config: Config) -> dict[str, str]:
    """Say in environment variables in what a configuration differs from the defaults."""
    given, defaults = msgspec.to_builtins(config), msgspec.to_builtins(Config())
    return {
        f"STREAM_AL__{section}__{key}".upper(): str(value)
        for section, values in given.items()
        for key, value in values.items()
        if value != defaults[section][key]
    }


@contextmanager
def running(
    folder: Path, commands: Mapping[str, Sequence[str]], configs: Mapping[str, Config]
) -> Iterator[Callable[[], None]]:
    """Run commands, each in an environment that holds its configuration.

    Parameters
    ----------
    folder
        Where they run; what they say goes to files of their names in it.
    commands, configs
        By name.

    Yields
    ------
    callable
        Raises BenchmarkError if one of them has ended.
    """
    started: dict[str, subprocess.Popen[bytes]] = {}

    def check() -> None:
        for name, process in started.items():
            if process.poll() is not None:
                said = (folder / name).read_text(errors="replace")[-1000:]
                raise BenchmarkError(f"{name} ended with {process.returncode}: {said}")

    with ExitStack() as undo:
        for name, command in commands.items():
            variables = _variables(configs[name]) if name in configs else {}
            with (folder / name).open("wb") as said:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            started[name] = process
            undo.callback(_end, process)
        yield check
        check()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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


def restored(folder: Path, names: Sequence[str]) -> bool:
    """Tell whether each of these gates has taken over a partition."""
    return all(b'"restored"' in (folder / name).read_bytes() for name in names)
