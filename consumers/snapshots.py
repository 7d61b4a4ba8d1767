"""When the gate's fold is kept in a local file, and how it is taken up again."""

from __future__ import annotations

import math
from pathlib import Path

import structlog

from consumers.clock import Clock
from consumers.log import Log
from consumers.telemetry import Telemetry
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.learner.fold import Fold
from stream_al.learner.snapshot import restore, save

__all__ = ["Snapshots"]

_log = structlog.get_logger()


class Snapshots:
    """Keeps a fold in ``loop.state_dir``, where that is set.

    Parameters
    ----------
    config, log, telemetry, clock
        As for `consumers.loop.Loop`.

    Raises
    ------
    ConfigError
        If the folder cannot be made.
    """

    def __init__(self, config: Config, log: Log, telemetry: Telemetry, clock: Clock) -> None:
        self._config = config
        self._log = log
        self._telemetry = telemetry
        self._clock = clock
        self._path: Path | None = None
        self._kept = 0
        self._taken = math.nan
        self._due = clock.monotonic() + config.loop.snapshot_s
        if config.loop.state_dir is not None:
            folder = Path(config.loop.state_dir)
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{folder}: {error.strerror}", "loop.state_dir") from error
            self._path = folder / f"{config.log.name}.{config.log.instance or 'gate'}.fold"

    def load(self) -> Fold | None:
        """Return the fold of the snapshot; None where there is none that fits."""
        if self._path is None or not self._path.exists():
            return None
        topic = Topics.of(self._config.log).training

        def training(start: int) -> list[tuple[int, bytes]]:
            bounds = self._log.bounds(topic, 0)
            if not bounds.beginning <= start < bounds.end:
                return []
            first = next(iter(self._log.read(topic, 0, start)), None)
            return [] if first is None else [(first.offset, first.value or b"")]

        fold, refusal = restore(self._path, self._config.learner, training)
        if refusal is not None:
            self._telemetry.add_one("snapshots_refused_total", "gate")
            _log.warning("snapshot_refused", why=str(refusal))
            return None
        _log.info("snapshot_loaded", path=str(self._path), offset=fold.next_offset)
        self._kept, self._taken = fold.next_offset, self._clock.now()
        return fold

    @property
    def age(self) -> float:
        """Seconds since the snapshot was written or loaded; NaN where there is none."""
        return self._clock.now() - self._taken

    def keep(self, fold: Fold, now: bool = False) -> None:
        """Write a snapshot if one is due, or now; what fails is told, and tried again later."""
        if self._path is None or fold.next_offset == self._kept:
            return
        if not now and self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + self._config.loop.snapshot_s
        try:
            save(fold, self._path)
        except OSError as error:
            self._telemetry.add_one("snapshots_failed_total", "gate")
            _log.warning("snapshot_failed", path=str(self._path), why=str(error))
            return
        self._kept, self._taken = fold.next_offset, self._clock.now()
