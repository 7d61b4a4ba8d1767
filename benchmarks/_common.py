"""What the benchmark programs share: where the data lie, clocks, what processes take."""

from __future__ import annotations

import gc
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_al.errors import ConfigError, InputError

__all__ = [
    "Timing",
    "processor_seconds",
    "recorded_stream",
    "resident_bytes",
    "run_as_module",
    "timed",
]

_PROC = Path("/proc")


@dataclass(frozen=True)
class Timing:
    """How long one pass over a number of events took.

    Attributes
    ----------
    events, asked
        Events of the pass; those that were asked for, 0 where nothing asks.
    cpu_s, wall_s
        Processor time of this process, which other work on the machine does not lengthen, and
        time on the clock; seconds.
    """

    events: int
    asked: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us_per_event(self) -> float:
        """Processor time of one event, microseconds."""
        return 1e6 * self.cpu_s / self.events

    @property
    def wall_us_per_event(self) -> float:
        """Time on the clock of one event, microseconds."""
        return 1e6 * self.wall_s / self.events


def timed(events: int, run: Callable[[], int]) -> Timing:
    """Time one pass; `run` returns how many events were asked for."""
    # The data of the other arms would be walked through by each full collection within the pass.
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    asked = run()
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    gc.unfreeze()
    return Timing(events, asked, cpu_s, wall_s)


def recorded_stream(name: str) -> Path:
    """Find a recorded stream in the folder ``STREAM_AL_DATA``, or in ``../shared/data``.

    Raises
    ------
    ConfigError
        If there is no such folder.
    InputError
        If the folder does not hold the stream.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STREAM_AL_DATA") or default)
    if not folder.is_dir():
        raise ConfigError(
            f"no folder {str(folder)!r}; expected the one that holds the recorded streams "
            f"({name}.csv.gz and others)",
            "STREAM_AL_DATA",
        )
    path = folder / f"{name}.csv.gz"
    if not path.is_file():
        raise InputError("no such file; expected a recorded stream of that name", str(path))
    return path


def resident_bytes(process: int | None = None) -> int:
    """Tell how much memory of a process, by default this one, is resident; Linux only.

    Raises
    ------
    ConfigError
        If the system has no ``/proc``.
    """
    return int(_told(process, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(process: int) -> float:
    """Tell how much processor time a process has taken, all its threads together; Linux only.

    Raises
    ------
    ConfigError
        If the system has no ``/proc``.
    """
    # After the name in parentheses, which may hold anything.
    fields = _told(process, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _told(process: int | None, name: str) -> str:
    if not _PROC.is_dir():
        raise ConfigError("processes are looked up there, on Linux only", str(_PROC))
    return (_PROC / str(process or "self") / name).read_text()


def run_as_module(file: str) -> None:
    """Run a benchmark's `main` under its own module name.

    Worker processes import what they are given by its module, which ``__main__`` is not.
    """
    importlib.import_module(Path(file).stem).main()
