"""The page about a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stream_al.config import Config
from stream_al.counted import counted
from stream_al.replay.bootstrap import FEWEST_PAIRS
from stream_al.replay.comparison import Cell, Comparison
from stream_al.replay.comparison_notes import MANY_SEEDS
from stream_al.replay.report import compare_charts as charts
from stream_al.replay.report import compare_tables as tables
from stream_al.replay.report.charts import series
from stream_al.replay.report.elements import Child, Markup, element, figure_of, foreign
from stream_al.replay.report.parts import differing, page, section, tiles, versions, whole
from stream_al.replay.report.standing import Standing, standing
from stream_al.replay.report.words import METRIC_NAMES, count, number, signed

__all__ = ["compare_page"]


def compare_page(command: str, comparison: Comparison, configs: Mapping[str, Config]) -> bytes:
    """Make the page about a comparison; the same comparison gives the same bytes.

    Parameters
    ----------
    command
        The command line that made it.
    comparison
        What was found.
    configs
        Of each arm, by name.
    """
    lines = series(*map(foreign, comparison.arms))
    levels = [
        (budget, [cell for cell in comparison.cells if cell.budget == budget])
        for budget in comparison.budgets
    ]
    body: list[Child] = [
        section("In short", _tiles(comparison), _verdicts(levels, comparison), name="short")
    ]
    for place, (budget, cells) in enumerate(levels):
        drawn = [
            charts.learning(cells, comparison, lines, f"learning{place}"),
            charts.spend(cells, comparison, lines, f"spend{place}"),
        ]
        if len(cells) > 1:
            drawn.append(charts.differences(cells, comparison, lines, f"difference{place}"))
        body.append(
            section(
                f"Budget {budget:.4g} of events",
                tables.arms(cells, comparison),
                element("div", *drawn, class_="charts"),
                tables.scores(cells, comparison),
                name=f"budget{place}",
            )
        )
    body += [
        section(
            "Labels spent",
            element("div", charts.efficiency(comparison, lines), class_="charts"),
            tables.targets(comparison),
            name="labels",
        ),
        section(
            "What to keep in mind",
            element("ul", [element("li", note) for note in (*_RULES, *comparison.notes)]),
            name="notes",
        ),
        section(
            "Configuration",
            element("p", "What differs from the defaults in one arm or another:"),
            differing(configs),
            element(
                "p",
                "Budget and seeds are the comparison's: every arm was played at each budget with "
                "each seed, for learner, gate and annotator alike.",
            ),
            [
                whole(config, ["All settings of arm ", foreign(name)])
                for name, config in configs.items()
            ],
            name="configuration",
        ),
        section("Versions", versions({}), name="versions"),
    ]
    return page("Comparison", comparison.source, command, body)


_RULES = (
    "random needs: labels asked at random with which the arm's learner is as good as the arm, and "
    "how many times the arm's; log-linear between its runs at 1, 2, 4, 8 and 16 times the budget; "
    "≤ where the first is already better, > where none is as good.",
    "Which arm is best is judged by the seeds of one stream, and not corrected for the number of "
    "arms or for choosing the best by the same figures.",
)


def _tiles(comparison: Comparison) -> Markup:
    seeds = len(comparison.seeds)
    skipped = (
        f"{counted(comparison.skipped, 'row')} skipped" if comparison.skipped else "no row skipped"
    )
    part = "second half" if comparison.second_half else "whole stream"
    better = "higher is better" if comparison.higher_is_better else "lower is better"
    return tiles(
        [
            ("Events", figure_of("events", comparison.events, count(comparison.events)), skipped),
            ("Arms", str(len(comparison.arms)), "with the same answers to the same questions"),
            ("Seeds", str(seeds), f"every figure is a mean of {seeds}"),
            (
                "Compared by",
                METRIC_NAMES[comparison.metric],
                f"of the {part}; {better} ({comparison.metric_reason})",
            ),
        ]
    )


def _verdicts(levels: Sequence[tuple[float, list[Cell]]], comparison: Comparison) -> Markup:
    told = []
    for budget, cells in levels:
        found = standing(cells, comparison)
        if found is not None:
            told.append(element("li", f"Budget {budget:.4g}: ", *_standing(found, cells)))
    seeds = len(comparison.seeds)
    if FEWEST_PAIRS <= seeds < MANY_SEEDS and len(comparison.arms) > 1:
        few = f"Intervals of {seeds} seeds are too narrow: see what to keep in mind, below."
        told.append(element("li", few))
    return element("ul", told)


def _standing(found: Standing, cells: Sequence[Cell]) -> Iterator[Child]:
    best = next(cell for cell in cells if cell.arm == found.best)
    yield [element("b", foreign(found.best)), f" has the best mean, {number(best.mean)}"]
    needs = "" if best.efficiency is None else tables.needs(best.efficiency)
    yield f", with {count(best.labels)} labels" + (f"; random needs {needs}." if needs else ".")
    if found.level:
        yield [
            " Not to be told from it: ",
            *_named(found.level, found),
            ": choose among them by what they cost.",
        ]
    if found.worse:
        yield [" Worse, beyond what the seeds do: ", *_named(found.worse, found), "."]
    if found.unknown:
        yield [" Without an interval, for want of seeds: ", *_named(found.unknown, found), "."]


def _named(arms: Sequence[str], found: Standing) -> Iterator[Child]:
    for place, arm in enumerate(arms):
        difference = found.differences.get(arm)
        told = ""
        if difference is not None:
            told = f" ({signed(difference.mean)}"
            if difference.low is not None and difference.high is not None:
                told += f", {signed(difference.low)} to {signed(difference.high)}"
            told += ")"
        yield ["; " if place else "", foreign(arm), told]
