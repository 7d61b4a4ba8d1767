"""``stream-al compare``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path
from typing import get_args

import click
import msgspec

from stream_al.cli.command_line import command_line
from stream_al.cli.compare_text import comparison_text
from stream_al.cli.options import config_options, settings_from_flags
from stream_al.cli.progress import progress_bar
from stream_al.cli.report_option import report_file, report_option
from stream_al.cli.settings import Settings
from stream_al.cli.whole_file import refuse_clashes
from stream_al.counted import counted
from stream_al.errors import ConfigError
from stream_al.replay.compare import compare as compare_arms
from stream_al.replay.comparison import Arm, Plan, Target
from stream_al.replay.report.compare_page import compare_page
from stream_al.replay.run_store import RunStore
from stream_al.replay.runs import METRICS, Metric

__all__ = ["compare"]

_BUDGETS = (0.01, 0.02, 0.05)
_SEEDS = ("learner.seed", "gate.salt", "annotator.seed")
_SAME_STREAM = (
    "source.label",
    "source.time",
    "source.id",
    "source.key",
    "source.partitions",
    "source.on_error",
    "replay.limit",
)
_SAME_ANSWERS = ("learner.classes", "annotator.noise", "annotator.abstain")
_COMMON = {
    "gate.budget": "all arms are played at the same budgets: give --budgets",
    **dict.fromkeys(_SEEDS, "all arms are played with the same seeds: give --seeds"),
    **dict.fromkeys(_SAME_STREAM, "all arms play the same stream: give it outside of --arm"),
    **dict.fromkeys(_SAME_ANSWERS, "all arms get the same answers: give it outside of --arm"),
}


_EXAMPLE = """\b
Example:
  stream-al compare elec.csv.gz --arm 'margin:' --arm 'random: --policy random'
"""


@click.command(
    short_help="Play a stream with several configurations, side by side.", epilog=_EXAMPLE
)
@click.argument("source")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    required=True,
    metavar="'NAME: FLAGS'",
    help="A configuration to compare: its name, and flags that win over the common ones. "
    "Repeatable; the first is what the others are compared with.",
)
@click.option(
    "--budgets",
    metavar="B,B,...",
    help="Budgets that every arm is played at.  [default: --budget where it is set, else "
    f"{','.join(map(str, _BUDGETS))}]",
)
@click.option(
    "--seeds",
    type=click.INT,
    default=5,
    show_default=True,
    help="Play every arm at every budget with so many seeds, from 0 on.",
)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    help="What is compared.  [default: average_precision where the rarer of two classes has "
    "under 20% of the events, else weighted_f1]",
)
@click.option("--second-half", is_flag=True, help="Compare scores of the second half.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Find the labels with which each arm reaches it. Repeatable.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Replays at a time.  [default: one for each core]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep every finished replay there, and do not play again what is there.",
)
@report_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options
def compare(
    source: str,
    settings: Settings,
    arms: tuple[str, ...],
    budgets: str | None,
    seeds: int,
    metric: Metric | None,
    second_half: bool,
    targets: tuple[str, ...],
    jobs: int | None,
    output: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Play a recorded stream with several configurations, and tell what each saves.

    SOURCE is as for `stream-al replay`, but not standard input, which cannot be read again.

    All arms are played at the same budgets with the same seeds, and get the same answers. How
    many labels each arm saves is told by playing its learner with labels asked at random, at up
    to 16 times the budget.
    """
    plan = Plan(
        source=source,
        arms=tuple(_arms(arms, settings)),
        budgets=_budgets(budgets, settings),
        seeds=_seeds(seeds, settings),
        metric=metric,
        second_half=second_half,
        targets=tuple(map(_target, targets)),
    )
    refuse_clashes(source, {"--report": page})
    store = RunStore(output, _warn) if output else None
    with report_file(page) as html:
        comparison = compare_arms(plan, jobs or -1, store, progress_bar)
        if html is not None:
            configs = {arm.name: arm.config for arm in plan.arms}
            html.write(compare_page(command_line(), comparison, configs))
    for reason, count in comparison.skip_reasons.items():
        click.echo(f"skipped {counted(count, 'row')}: {reason}", err=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(comparison).decode() + "\n")
    else:
        click.echo(comparison_text(comparison))


def _warn(message: str) -> None:
    click.echo(message, err=True)


def _arms(texts: Sequence[str], common: Settings) -> Iterator[Arm]:
    seen = set()
    for text in texts:
        name, colon, flags = text.partition(":")
        name = name.strip()
        where = f"--arm {text!r}"
        if not colon or not name:
            raise ConfigError("expected a name, a colon, and flags, as 'NAME: --score risk'", where)
        if name in seen:
            raise ConfigError(f"another arm is called {name!r} too; expected another name", where)
        seen.add(name)
        try:
            arguments = shlex.split(flags)
        except ValueError as error:
            raise ConfigError(f"flags cannot be read: {error}", where) from error
        try:
            settings = settings_from_flags(arguments, common)
        except ConfigError as error:
            lines = [f"--arm {name!r}: {line}" for line in str(error).splitlines()]
            raise ConfigError("\n".join(lines)) from error
        for key, why in _COMMON.items():
            typed = settings.origins[key] != common.origins[key]
            if typed or _value(settings, key) != _value(common, key):
                raise ConfigError(why, f"--arm {name!r}: {settings.origins[key]}")
        yield Arm(name, settings.config)


def _value(settings: Settings, key: str) -> object:
    return attrgetter(key)(settings.config)


def _budgets(text: str | None, settings: Settings) -> tuple[float, ...]:
    origin = settings.origins["gate.budget"]
    if text is None:
        return _BUDGETS if origin == "default" else (settings.config.gate.budget,)
    if origin == "--budget":
        raise ConfigError("expected one of --budget and --budgets, not both", "--budgets")
    try:
        return tuple(sorted(map(float, text.split(","))))
    except ValueError as error:
        what = f"must be numbers in (0, 1] with commas between, not {text!r}"
        raise ConfigError(what, "--budgets") from error


def _seeds(seeds: int, settings: Settings) -> int:
    if settings.origins["learner.seed"] == "--seed":
        raise ConfigError("seeds are counted from 0: give their number with --seeds", "--seed")
    return seeds


def _target(text: str) -> Target:
    where = f"--target {text!r}"
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("expected a metric, =, and a number, as weighted_f1=.9", where)
    name = name.strip()
    for metric in get_args(Metric):
        if metric == name:
            break
    else:
        near = get_close_matches(name, METRICS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"must name one of {', '.join(METRICS)}{hint}", where)
    try:
        return Target(metric, float(value))
    except ValueError as error:
        raise ConfigError(f"must be a number, not {value!r}", where) from error
