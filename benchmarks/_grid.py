"""Grids of runs: in parallel, resumed from a file, each line a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from joblib import Parallel, delayed

from stream_al.errors import StreamAlError

__all__ = ["grid_options", "run_grid"]

Run = TypeVar("Run", bound=msgspec.Struct)
Task = TypeVar("Task", bound=tuple[Any, ...])


def grid_options(seeds: int, quick: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that all grids have.

    Parameters
    ----------
    seeds
        How many by default.
    quick
        What ``--quick`` runs.
    """
    options = (
        click.option("--seeds", default=seeds, show_default=True, type=click.IntRange(1)),
        click.option("--quick", is_flag=True, help=quick),
        click.option(
            "--out", type=click.Path(dir_okay=False, path_type=Path), help="Results, resumed."
        ),
        click.option("--jobs", default=2, show_default=True, type=click.IntRange(1)),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
    )

    def give(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return give


def run_grid(
    play: Callable[..., Run],
    tasks: Sequence[Task],
    *,
    type: type[Run],
    task_of: Callable[[Run], Task],
    out: Path | None,
    jobs: int,
) -> list[Run]:
    """Run what `out` does not hold yet; ends the process with the error's code where one fails.

    Parameters
    ----------
    play
        Called with a task, spread out; in a process of its own.
    tasks
        What is to be run.
    type, task_of
        Of a run, and the task that it is of.
    out
        A line of JSON is appended for each run; None: nothing is kept.
    jobs
        Processes at a time.

    Returns
    -------
    list
        All runs of the tasks, those that were held first.
    """
    done: list[Run] = []
    if out is not None and out.exists():
        done = [msgspec.json.decode(line, type=type) for line in out.read_bytes().splitlines()]
    wanted = set(tasks)
    runs = [run for run in done if task_of(run) in wanted]
    held = {task_of(run) for run in runs}
    todo = [task for task in tasks if task not in held]
    try:
        results = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(play)(*task) for task in todo
        )
        for number, run in enumerate(results, 1):
            runs.append(run)
            if out is not None:
                with out.open("ab") as file:
                    file.write(msgspec.json.encode(run) + b"\n")
            click.echo(f"{number} of {len(todo)} runs", err=True)
    except StreamAlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    return runs
