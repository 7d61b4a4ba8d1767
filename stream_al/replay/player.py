"""Many replays of one source in parallel, each configuration played once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TypeAlias

from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from stream_al.config import Config, content_hash
from stream_al.errors import InputError
from stream_al.replay.run_store import RunStore, source_identity
from stream_al.replay.runs import Run, play

__all__ = ["Bar", "Player", "no_bar"]

Bar: TypeAlias = Callable[[int | None, str], AbstractContextManager[Callable[[int], object] | None]]
"""Shows progress: given the number of steps and a label, gives what to call with steps done."""


def _keyed_play(key: str, source: str, config: Config) -> tuple[str, Run]:
    return key, play(source, config)


def no_bar(
    length: int | None,  # noqa: ARG001 - a bar that shows nothing
    label: str,  # noqa: ARG001
) -> AbstractContextManager[None]:
    """Show no progress."""
    return contextlib.nullcontext()


class Player:
    """Plays configurations on one source in parallel, each once however often it is asked for.

    The processes, threads or cluster that play are joblib's: `joblib.parallel_config` chooses.

    Parameters
    ----------
    source
        As for `stream_al.replay.sources.open_source`; not standard input.
    jobs
        Replays at a time; -1: one for each core; None: what `joblib.parallel_config` says.
    store
        Keeps finished runs and gives back those that it holds; None: nothing is kept.
    bar
        Shows progress over the runs of one call of `play`.
    """

    def __init__(
        self,
        source: str,
        jobs: int | None = None,
        store: RunStore | None = None,
        bar: Bar = no_bar,
    ) -> None:
        self._source = source
        self._identity = source_identity(source)
        self._jobs = jobs
        self._store = store
        self._bar = bar
        self._runs: dict[str, Run] = {}

    def __getitem__(self, config: Config) -> Run:
        """Get the run of a configuration that was played."""
        return self._runs[content_hash(config)]

    def play(self, configs: Iterable[Config], label: str) -> None:
        """Play those configurations that were not played yet.

        Parameters
        ----------
        configs
            Configurations, seeds and budgets included.
        label
            What the progress bar calls them.

        Raises
        ------
        InputError, ConfigError
            The first that a replay ends with, or if the source's file changes in the meantime.
            The store keeps what was finished before.
        """
        wanted: dict[str, Config] = {}
        for config in configs:
            key = content_hash(config)
            if key in self._runs or key in wanted:
                continue
            kept = self._store.load(self._identity, config) if self._store else None
            if kept is None:
                wanted[key] = config
            else:
                self._runs[key] = kept
        if not wanted:
            return
        with self._bar(len(wanted), label) as advance:
            for key, run in self._played(wanted):
                if source_identity(self._source) != self._identity:
                    raise InputError("changed while it was played; start again", self._source)
                self._runs[key] = run
                if self._store is not None:
                    self._store.save(self._identity, wanted[key], run)
                if advance is not None:
                    advance(1)

    def _played(self, wanted: dict[str, Config]) -> Iterable[tuple[str, Run]]:
        backend, _ = get_active_backend()
        # Runs are kept as they finish, where the backend hands them over one by one.
        gives = "generator_unordered" if backend.supports_return_generator else "list"
        calls = (delayed(_keyed_play)(key, self._source, to_do) for key, to_do in wanted.items())
        played: Iterable[tuple[str, Run]] = Parallel(n_jobs=self._jobs, return_as=gives)(calls)
        return played
