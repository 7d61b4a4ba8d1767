"""``python -m tests.faults``: run seeded faults, repeat a seed, go on where a run ended."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click

from consumers.testing.schedule import simulate
from stream_al.cli.settings import load
from stream_al.errors import StreamAlError

from .kinds import KAFKA, SQLITE, Kind
from .live import LiveRun, draw_settings
from .results import Result, Results, table
from .shipped import OVERRIDES
from .sites import KafkaSite, Settings, Site, SqliteSite
from .stops import ON_KAFKA, STOPS

_RATES = {"sqlite": 150.0, "kafka": 100.0, "librdkafka": 100.0}
_STREAM = "cards:30000"

_LOAD = 500.0
_LOAD_STREAM = "cards:200000"
"""Stops are to hit processes that have something to do."""


def _simulated(seed: int) -> Result:
    began = time.monotonic()
    outcome = simulate(seed)
    if outcome.violations:
        sys.stderr.write(f"{outcome}\n")
    return Result(
        log="simulated",
        seed=seed,
        seconds=round(time.monotonic() - began, 3),
        faults=outcome.faults,
        violations=outcome.violations,
        counts=outcome.counts,
    )


def _known(log: str, file: Path | None) -> Mapping[str, Kind]:
    if file is not None:
        return STOPS if log == "sqlite" else ON_KAFKA
    return SQLITE if log == "sqlite" else KAFKA


def _live(log: str, seed: int, kinds: tuple[str, ...], keep: bool, file: Path | None) -> Result:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"stream-al-faults-{log}-{seed}-"))
    rng = random.Random(f"{log} {seed}")
    known = _known(log, file)
    if not kinds and file is not None:
        kinds = tuple(known)
    if not kinds:
        # In turns of all kinds, so that every one comes as often; each turn pairs them anew.
        names = sorted(known)
        turn, place = divmod(seed, len(names))
        apart = random.Random(turn).randrange(1, len(names))
        kinds = names[place], names[(place + apart) % len(names)]
    settings: Settings = (
        draw_settings(rng, folder)
        if file is None
        else {**OVERRIDES, "loop": {"state_dir": str(folder / "snapshots")}}
    )
    site: Site = (
        SqliteSite(folder, settings, file)
        if log == "sqlite"
        else KafkaSite(folder, settings, log, file)
    )
    stream, rate = (_STREAM, _RATES[log]) if file is None else (_LOAD_STREAM, _LOAD)
    with site:
        run = LiveRun(site, rng, stream, rate)
        try:
            run.go([known[kind] for kind in kinds])
        except StreamAlError as error:
            run.violations.append(f"the run could not be ended or checked: {error}")
        finally:
            run.close()
    if run.violations:
        sys.stderr.write("".join(f"  {each}\n" for each in run.violations))
        sys.stderr.write(f"  what the processes said: {folder}\n")
    elif not keep:
        shutil.rmtree(folder)
    return Result(
        log=log,
        seed=seed,
        seconds=round(time.monotonic() - began, 3),
        faults={kind: kinds.count(kind) for kind in kinds},
        violations=tuple(run.violations),
        resumed=tuple(run.resumed),
        counts=dict(run.ends),
    )


def _shard(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, int]:
    number, _slash, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise click.BadParameter(f"{text!r}; expected i/n, from 1/n to n/n", context, parameter)
    return int(number), int(of)


@click.command()
@click.option(
    "--log",
    type=click.Choice(["simulated", *_RATES]),
    help="Default: that of --config, else simulated.",
)
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run processes with this file, and stop them under load; see shipped.OVERRIDES.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first run.")
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--shard", callback=_shard, default="1/1", help="Only every n-th run: i/n.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep results here; seeds that are in it without violations are not run again.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(sorted({*SQLITE, *KAFKA, *ON_KAFKA})),
    help="Do this, in place of what the seed draws (real logs); may be given several times.",
)
@click.option("--keep", is_flag=True, help="Keep what processes leave behind.")
@click.option("--table", "as_table", is_flag=True, help="Print the table of all runs in --out.")
def main(
    log: str | None,
    file: Path | None,
    seed: int,
    runs: int,
    shard: tuple[int, int],
    out: Path | None,
    kinds: tuple[str, ...],
    keep: bool,
    as_table: bool,
) -> None:
    """Run processes under seeded faults, and check every invariant afterwards.

    Exits with 1 where an invariant was violated; says then how to repeat the run.
    """
    results = Results(out)
    if as_table:
        click.echo(table(results.all))
        return
    log = log or (load(file, {}, {}).config.log.driver if file else "simulated")
    if log != "simulated" and (unknown := {*kinds} - {*_known(log, file)}):
        raise click.UsageError(f"not done here: {', '.join(sorted(unknown))}")
    done = results.done(log)
    failed = 0
    for number in range(seed, seed + runs):
        if number in done or number % shard[1] != shard[0] - 1:
            continue
        result = _simulated(number) if log == "simulated" else _live(log, number, kinds, keep, file)
        results.add(result)
        if result.violations:
            failed += 1
            again = " ".join(f"--kind {kind}" for kind in kinds)
            again = f"--config {file} {again}" if file else again
            click.echo(f"seed {number}: {len(result.violations)} violations; again with")
            click.echo(f"  python -m tests.faults --log {log} --seed {number} {again}".rstrip())
        elif log != "simulated":
            click.echo(f"seed {number}: {result.faults} in {result.seconds:.0f} s, no violation")
    told = [each for each in results.all if each.log == log]
    click.echo(f"{len(told)} runs on {log}, {failed} of them violated something now")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    # Without this the processes that a run has started would outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
