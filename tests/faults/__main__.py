"""``python -m tests.faults``: run seeded faults, repeat a seed, go on where a run ended."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from consumers.testing.schedule import simulate
from stream_al.errors import StreamAlError

from .kinds import KAFKA, SQLITE
from .live import LiveRun, draw_settings
from .results import Result, Results, table
from .sites import KafkaSite, Site, SqliteSite

_RATES = {"sqlite": 150.0, "kafka": 100.0, "librdkafka": 100.0}


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


def _live(log: str, seed: int, kinds: tuple[str, ...], keep: bool) -> Result:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"stream-al-faults-{log}-{seed}-"))
    rng = random.Random(f"{log} {seed}")
    known = SQLITE if log == "sqlite" else KAFKA
    if not kinds:
        # In turns of all kinds, so that every one comes as often; each turn pairs them anew.
        names = sorted(known)
        turn, place = divmod(seed, len(names))
        apart = random.Random(turn).randrange(1, len(names))
        kinds = names[place], names[(place + apart) % len(names)]
    settings = draw_settings(rng, folder)
    site: Site = (
        SqliteSite(folder, settings) if log == "sqlite" else KafkaSite(folder, settings, driver=log)
    )
    with site:
        run = LiveRun(site, rng, _RATES[log])
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
@click.option("--log", type=click.Choice(["simulated", *_RATES]), default="simulated")
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
    type=click.Choice(sorted({*SQLITE, *KAFKA})),
    help="Do this, in place of what the seed draws (real logs); may be given several times.",
)
@click.option("--keep", is_flag=True, help="Keep what processes leave behind.")
@click.option("--table", "as_table", is_flag=True, help="Print the table of all runs in --out.")
def main(
    log: str,
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
    done = results.done(log)
    failed = 0
    for number in range(seed, seed + runs):
        if number in done or number % shard[1] != shard[0] - 1:
            continue
        result = _simulated(number) if log == "simulated" else _live(log, number, kinds, keep)
        results.add(result)
        if result.violations:
            failed += 1
            again = " ".join(f"--kind {kind}" for kind in kinds)
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
