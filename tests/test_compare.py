"""Comparisons: pairing, label efficiency, intervals, and runs that are kept."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp, log
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest

from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    ReplayConfig,
    SourceConfig,
)
from stream_al.errors import ConfigError, InputError, SnapshotError
from stream_al.replay.bootstrap import paired_difference
from stream_al.replay.compare import compare, random_reference, seeded
from stream_al.replay.comparison import Arm, Comparison, Plan, Target
from stream_al.replay.efficiency import Reach, labels_to_reach
from stream_al.replay.player import Player
from stream_al.replay.recording import decode_line
from stream_al.replay.run_store import RunStore, source_identity
from stream_al.replay.runner import Replay
from stream_al.replay.runs import METRICS, play
from stream_al.replay.sources import open_source
from stream_al.training import Labelled

PLAIN = LearnerConfig(committee=False)
PHISHING = Config(
    learner=PLAIN, source=SourceConfig(label="is_phishing"), replay=ReplayConfig(limit=300)
)
replace = msgspec.structs.replace


def plan(*arms: Arm, source: str = "river:Phishing", **settings: object) -> Plan:
    """Plan a small comparison of two arms, unless told otherwise."""
    arms = arms or (Arm("margin", PHISHING), Arm("random", random_reference(PHISHING)))
    values = {"source": source, "arms": arms, "budgets": (0.2,), "seeds": 3, **settings}
    return msgspec.convert(values, Plan, from_attributes=True)


def write_csv(path: Path, rows: int, last: str = "") -> Path:
    """Write rows whose class is the sign of a feature, and a last line."""
    rng = np.random.default_rng(5)
    lines = [f"{x:.4f},{'up' if x > 0 else 'down'}" for x in rng.normal(size=rows)]
    path.write_text("\n".join(["x,label", *lines, last]) + "\n")
    return path


def answers(config: Config) -> dict[int, str]:
    """Play a configuration and return the label learnt for each offset."""
    log_file = io.BytesIO()
    source = open_source("river:Phishing", config.source, limit=600)
    Replay(config, training=log_file).run(source)
    records = map(decode_line, log_file.getvalue().splitlines())
    return {one.offset: one.label for one in records if isinstance(one, Labelled)}


def test_arms_get_the_same_answers() -> None:
    """With noise, what two arms are told of an event is equal, and another seed's is not."""
    noisy = replace(PHISHING, annotator=AnnotatorConfig(noise=0.3, delay="20"))
    random = random_reference(noisy)
    mine, theirs = (answers(seeded(config, 0.3, 1)) for config in (noisy, random))
    both = mine.keys() & theirs.keys()
    assert len(both) > 20
    assert mine.keys() != theirs.keys()
    assert {at: mine[at] for at in both} == {at: theirs[at] for at in both}
    other = answers(seeded(random, 0.3, 2))
    assert any(other[at] != theirs[at] for at in other.keys() & theirs.keys())


def test_seeded_changes_budget_and_seeds_alone() -> None:
    """A run differs from its arm in budget and the three seeds, and in nothing else."""
    run = seeded(PHISHING, 0.03, 4)
    assert (run.gate.budget, run.gate.salt) == (0.03, 4)
    assert (run.learner.seed, run.annotator.seed) == (4, 4)
    assert seeded(run, PHISHING.gate.budget, 0) == PHISHING


def test_random_reference_keeps_learner_and_annotator() -> None:
    """The reference differs from its arm in how it asks, and in nothing else."""
    arm = Config(
        learner=LearnerConfig(model="naive-bayes"),
        gate=GateConfig(score="risk", risk_class="bad", policy="fixed", burst=5, observe_every=7),
        annotator=AnnotatorConfig(delay="9"),
    )
    reference = random_reference(arm)
    assert reference.gate == GateConfig(policy="random", burst=5, observe_every=7)
    assert replace(reference, gate=arm.gate) == arm


@pytest.mark.parametrize(
    ("points", "level", "expected"),
    [
        ([(10, 0.5), (1000, 0.7)], 0.6, Reach(labels=100, bound="exact")),
        ([(1000, 0.7), (10, 0.5)], 0.6, Reach(labels=100, bound="exact")),
        ([(10, 0.5), (1000, 0.7)], 0.5, Reach(labels=10, bound="exact")),
        ([(10, 0.5), (1000, 0.7)], 0.7, Reach(labels=1000, bound="exact")),
        ([(10, 0.5), (1000, 0.7)], 0.4, Reach(labels=10, bound="at_most")),
        ([(10, 0.5), (1000, 0.7)], 0.71, Reach(labels=1000, bound="more_than")),
        ([(10, 0.5), (40, 0.4), (160, 0.6)], 0.5, Reach(labels=10, bound="exact")),
        ([(10, 0.5), (40, 0.4), (160, 0.6)], 0.55, Reach(labels=113.137085, bound="exact")),
        (
            [(10, 0.3), (20, 0.6), (40, 0.4), (80, 0.6)],
            0.45,
            Reach(labels=14.142136, bound="exact"),
        ),
        ([(0, 0.9), (10, 0.5), (1000, 0.7)], 0.6, Reach(labels=100, bound="exact")),
    ],
    ids=str,
)
def test_labels_to_reach(points: list[tuple[float, float]], level: float, expected: Reach) -> None:
    """The first crossing is found, on a logarithmic axis, and what was not seen is a bound."""
    found = labels_to_reach(points, level)
    assert found is not None
    assert found.bound == expected.bound
    assert found.labels == pytest.approx(expected.labels)


def test_labels_to_reach_where_less_is_better() -> None:
    """For a loss the curve is read downwards."""
    curve = [(10.0, 0.7), (1000.0, 0.5)]
    found = labels_to_reach(curve, 0.55, rising=False)
    assert found is not None
    assert found.labels == pytest.approx(exp(log(10) + 0.75 * log(100)))
    assert labels_to_reach(curve, 0.8, rising=False) == Reach(labels=10, bound="at_most")
    assert labels_to_reach(curve, 0.4, rising=False) == Reach(labels=1000, bound="more_than")


def test_labels_to_reach_without_labels() -> None:
    """Where nothing was labelled there is no answer."""
    assert labels_to_reach([(0, 0.5)], 0.4) is None


def test_difference_is_paired() -> None:
    """A constant difference has an interval of no width, however much the values vary."""
    theirs = [0.1, 0.9, 0.4, 0.7]
    found = paired_difference([value + 0.25 for value in theirs], theirs)
    assert found.mean == pytest.approx(0.25)
    assert found.low == pytest.approx(0.25)
    assert found.high == pytest.approx(0.25)
    assert found.seeds == 4


def test_difference_of_few_pairs_has_no_interval() -> None:
    """One pair or two give a mean alone, and none or uneven ones are refused."""
    assert paired_difference([0.5], [0.25]).low is None
    assert paired_difference([0.5, 0.5], [0.25, 0.0]).high is None
    with pytest.raises(ValueError, match="0 values"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="1 values cannot be paired with 2"):
        paired_difference([0.5], [0.25, 0.5])


@pytest.mark.parametrize(("pairs", "documented"), [(3, 0.73), (5, 0.84), (10, 0.90), (20, 0.93)])
def test_intervals_cover_as_documented(pairs: int, documented: float) -> None:
    """Of normal differences the intervals cover the mean as often as the docstring says."""
    rng = np.random.default_rng(pairs)
    covered, trials = 0, 400
    for _ in range(trials):
        theirs = rng.normal(size=pairs)
        found = paired_difference(list(theirs + rng.normal(0.3, 1.0, pairs)), list(theirs))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.3 <= found.high
    # 3.3 standard errors: a wrong level or unpaired resampling is further off.
    tolerance = 3.3 * (documented * (1 - documented) / trials) ** 0.5
    assert covered / trials == pytest.approx(documented, abs=tolerance)


def test_figures_follow_from_the_runs() -> None:
    """Means, deviations, differences and bounds are those of the runs that are reported."""
    result = compare(plan(second_half=True, targets=(Target("accuracy", 0.1),)))
    assert (result.metric, result.second_half, result.seeds) == ("weighted_f1", True, [0, 1, 2])
    values = {}
    for cell in result.cells:
        halves = [run.metrics_second_half for run in cell.runs]
        values[cell.arm] = [half.weighted_f1 for half in halves if half and half.weighted_f1]
        assert cell.mean == pytest.approx(np.mean(values[cell.arm]))
        assert cell.sd == pytest.approx(np.std(values[cell.arm], ddof=1))
        assert cell.labels == pytest.approx(np.mean([run.labels for run in cell.runs]))
        assert cell.seeds == len(cell.runs) == 3
    margin, random = result.cells
    assert margin.difference is None
    assert random.difference == paired_difference(values["random"], values["margin"])
    lowest = Reach(labels=margin.labels, bound="at_most")
    assert next(found.needs for found in result.targets) == lowest


def test_random_needs_as_many_labels_as_itself() -> None:
    """An arm that asks at random saves nothing: it needs exactly its own labels."""
    cell = compare(plan()).cells[1]
    assert cell.efficiency is not None
    assert cell.efficiency.random_needs == Reach(labels=cell.labels, bound="exact")
    assert (cell.efficiency.ratio, len(cell.efficiency.random)) == (1.0, 1)


def test_random_climbs_until_it_is_as_good() -> None:
    """The random arm's budget doubles, at most to 1, and no further than is needed."""
    result = compare(plan(Arm("a", PHISHING), budgets=(0.2, 0.04), metric="log_loss"))
    for cell in result.cells:
        assert cell.efficiency is not None
        ladder = cell.efficiency.random
        budgets = [min(1.0, cell.budget * 2**step) for step in range(len(ladder))]
        assert [run.budget for run in ladder] == budgets
        reached = [run.mean is not None and run.mean <= (cell.mean or 0) for run in ladder]
        assert not any(reached[:-1])
        if not reached[-1]:
            assert ladder[-1].budget in (1.0, 16 * cell.budget)
            assert cell.efficiency.random_needs.bound == "more_than"
            assert cell.efficiency.random_needs.labels == ladder[-1].labels


def test_the_metric_suits_the_stream() -> None:
    """Average precision where one of two classes is rare, weighted F1 else, and it is said why."""
    cards = plan(Arm("a", Config(learner=PLAIN)), source="cards:1500", seeds=1)
    result = compare(cards)
    assert result.metric == "average_precision"
    assert "under 20%" in result.metric_reason
    assert compare(plan(seeds=1)).metric == "weighted_f1"
    chosen = compare(plan(seeds=1, metric="brier"))
    assert (chosen.metric, chosen.higher_is_better) == ("brier", False)


def test_a_metric_that_is_not_defined_is_refused() -> None:
    """Average precision of seven classes does not exist, and the metric is named."""
    many = Arm("a", replace(PHISHING, source=SourceConfig(label="category")))
    with pytest.raises(ConfigError, match=r"^metric: average_precision is not defined for river"):
        compare(plan(many, source="river:ImageSegments", metric="average_precision", seeds=1))


def test_notes_say_what_the_figures_cannot() -> None:
    """Too few seeds, unequal labels and unequal events are told."""
    single = compare(plan(seeds=1))
    assert single.cells[0].sd is None
    assert any("one seed" in note for note in single.notes)
    assert any("at least 3 seeds, not 1" in note for note in single.notes)
    assert single.cells[1].difference is not None
    assert single.cells[1].difference.low is None
    lazy = replace(PHISHING, annotator=AnnotatorConfig(delay="200"))
    late = compare(plan(Arm("now", PHISHING), Arm("late", lazy)))
    assert any("now learnt from" in note for note in late.notes)
    assert any("3 seeds are few" in note for note in late.notes)


def test_arms_that_skip_other_rows_are_told(tmp_path: Path) -> None:
    """Where arms play different events, the result says how many each."""
    rows = "\n".join(f"{i % 3},{'' if i % 5 == 0 else i},{i % 2}" for i in range(1, 61))
    path = tmp_path / "gaps.csv"
    path.write_text(f"x,y,label\n{rows}\n")
    skipping = Config(learner=PLAIN, source=SourceConfig(on_error="skip"))
    fewer = Config(learner=PLAIN, source=SourceConfig(on_error="skip", ignore=("y",)))
    arms = (Arm("both", skipping), Arm("one", fewer))
    result = compare(plan(*arms, source=str(path), seeds=1, budgets=(0.5,)))
    assert (result.events, result.skipped) == (48, 12)
    assert any("both 48, one 60" in note for note in result.notes)


def test_learning_curve_ends_with_the_report() -> None:
    """The points grow in events and labels, the last is the whole, at any batch size."""
    run = play("river:Phishing", PHISHING)
    events = [point.events for point in run.curve]
    labels = [point.labels for point in run.curve]
    assert events == [3, 6, 9, 12, *range(15, 301, 15)]
    assert labels == sorted(labels)
    assert run.labels - labels[-1] in (0, 1)
    assert run.curve[-1].metrics == {name: getattr(run.metrics, name) for name in METRICS}
    small = play("river:Phishing", replace(PHISHING, replay=ReplayConfig(limit=300, batch_size=7)))
    assert small == run


def test_learning_curve_of_a_short_stream() -> None:
    """A stream of fewer events than marks has one point for each event."""
    run = play("river:Phishing", replace(PHISHING, replay=ReplayConfig(limit=5)))
    assert [point.events for point in run.curve] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "-"}, "source: standard input can be read only once"),
        ({"arms": (Arm("a", PHISHING), Arm("a", PHISHING))}, "arms: two are called 'a'"),
        ({"arms": ()}, "arms: expected at least one"),
        ({"budgets": ()}, "budgets: must be in (0, 1], not none"),
        ({"budgets": (0.1, 0.0)}, "budgets: must be in (0, 1], not 0.1, 0.0"),
        ({"budgets": (float("nan"),)}, "budgets: must be in (0, 1], not nan"),
        ({"budgets": (0.1, 0.1)}, "budgets: must be different, not 0.1, 0.1"),
        ({"seeds": 0}, "seeds: must be at least 1, not 0"),
        ({"metric": "f2"}, "metric: must be one of accuracy, weighted_f1"),
        ({"targets": (Target("kappa", float("inf")),)}, "targets: must be finite, not inf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_plan_is_refused(settings: dict[str, object], message: str) -> None:
    """Each mistake in a plan is named before anything is played."""
    good = {"source": "river:Phishing", "arms": (Arm("a", PHISHING),), "budgets": (0.1,)}
    with pytest.raises(ConfigError) as caught:
        Plan(**{**good, **settings})  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_an_arm_that_cannot_be_played_is_named() -> None:
    """A wrong configuration is told with its arm's name before any arm is played."""
    wrong = replace(PHISHING, annotator=AnnotatorConfig(delay="soon"))
    with pytest.raises(ConfigError, match=r"arm 'second': .*'soon'"):
        compare(plan(Arm("first", PHISHING), Arm("second", wrong)))


@pytest.mark.parametrize(
    "error",
    [
        InputError("expected a number, not 'x'", "rows.csv", 7, "amount"),
        InputError("empty"),
        ConfigError("must be in (0, 1]", "--budget"),
        SnapshotError("another format"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    """An error that is pickled keeps its text and every field."""
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(twin) is type(error)
    assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_a_failing_run_ends_the_comparison_with_its_error(tmp_path: Path) -> None:
    """A bad row met in another process is told with file, line and column."""
    path = write_csv(tmp_path / "bad.csv", 80, "oops,up")
    with pytest.raises(InputError) as caught:
        compare(plan(Arm("a", Config()), source=str(path), seeds=2), jobs=2)
    error = caught.value
    assert (error.source, error.line, error.column) == (str(path), 82, "x")


def kept(folder: Path) -> dict[str, int]:
    """List the files of a store and their times of change."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def kept_comparison(folder: Path, told: list[str], **settings: object) -> Comparison:
    """Compare with a store in the folder."""
    return compare(plan(**settings), store=RunStore(folder, told.append))  # type: ignore[arg-type]


def test_a_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is kept is not played again, more seeds add files, and the result is the same."""
    folder, told = tmp_path / "deep" / "runs", list[str]()
    first = kept_comparison(folder, told, seeds=2)
    files = kept(folder)
    assert all(name.endswith(".json") for name in files)
    assert kept_comparison(folder, told, seeds=2) == first
    assert kept(folder) == files
    more = kept_comparison(folder, told, seeds=3)
    assert kept(folder).items() > files.items()
    assert more == compare(plan())
    assert told == []


def test_equal_runs_are_played_once(tmp_path: Path) -> None:
    """Two arms of one configuration, and the reference where it equals one, share their runs."""
    twins = (Arm("a", random_reference(PHISHING)), Arm("b", random_reference(PHISHING)))
    result = compare(plan(*twins, seeds=2), store=RunStore(tmp_path))
    assert len(kept(tmp_path)) == 2
    assert result.cells[1].difference is not None
    assert result.cells[1].difference.mean == 0.0


@pytest.mark.parametrize("damage", ["cut", "text", "other"])
def test_files_that_cannot_be_used_are_replaced(tmp_path: Path, damage: str) -> None:
    """A cut, foreign or renamed file is told of, played again, and whole afterwards."""
    told: list[str] = []
    first = kept_comparison(tmp_path, told, seeds=2)
    one, other = sorted(tmp_path.iterdir())[:2]
    whole = one.read_bytes()
    damaged = {"cut": whole[:200], "text": b"\xff", "other": other.read_bytes()}
    one.write_bytes(damaged[damage])
    assert kept_comparison(tmp_path, told, seeds=2) == first
    assert one.read_bytes() == whole
    assert len(told) == 1
    assert told[0].startswith(f"{one}: ")
    assert told[0].endswith("the run is played again")


def test_a_changed_file_is_played_again(tmp_path: Path) -> None:
    """A run is kept for a file as it was: another time of change is another stream."""
    path = write_csv(tmp_path / "rows.csv", 50)
    store = RunStore(tmp_path / "runs")
    before = source_identity(str(path))
    Player(str(path), store=store).play([Config()], "runs")
    assert store.load(before, Config()) is not None
    os.utime(path, ns=(0, 1))
    assert store.load(source_identity(str(path)), Config()) is None


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    """Runs of a file before and after it was changed are not mixed."""
    path = write_csv(tmp_path / "rows.csv", 50)

    @contextmanager
    def bar(length: int | None, label: str) -> Iterator[Callable[[int], object]]:
        assert (length, label) == (2, "runs")
        yield lambda _: write_csv(path, 60)

    store = RunStore(tmp_path / "runs")
    configs = [seeded(Config(), 0.1, seed) for seed in (0, 1)]
    with pytest.raises(InputError, match="changed while it was played"):
        Player(str(path), 1, store, bar).play(configs, "runs")
    assert len(kept(tmp_path / "runs")) == 1


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_joblib_chooses_where_runs_are_played(backend: str) -> None:
    """Another backend of joblib plays the same, whether or not it hands runs over singly."""
    small = plan(Arm("a", PHISHING), seeds=2, budgets=(0.5,))
    with joblib.parallel_config(backend=backend, n_jobs=2):
        result = compare(small)
    assert result == compare(small)


def test_comparison_survives_its_json() -> None:
    """The JSON of a comparison reads back as the same comparison."""
    result = compare(plan(seeds=2, targets=(Target("accuracy", 0.8),)))
    assert msgspec.json.decode(msgspec.json.encode(result), type=Comparison) == result
