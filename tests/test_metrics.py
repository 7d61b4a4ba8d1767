"""The metrics: declared once, documented from there, exported with their zeros."""

from __future__ import annotations

import math
import random
import re
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import parser
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as openmetrics_parser

from consumers.telemetry import Telemetry
from stream_al.cli.metrics_command import metrics
from stream_al.cli.metrics_text import reference
from stream_al.labels.outcomes import OUTCOMES, UNUSABLE
from stream_al.metrics import METRICS, PREFIX, ROLES, Metric
from stream_al.metrics.refusals import REFUSALS
from stream_al.rolling import RollingAccuracy, RollingRatio

DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"
BY_NAME = {metric.name: metric for metric in METRICS}

PROCESS_WIDE = {"build_info", "log_bytes", "log_disk_free_bytes", "log_disk_bytes"}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(telemetry: Telemetry) -> Samples:
    """Return what is rendered: sample names without prefix, and labels, to values."""
    found = parser.text_string_to_metric_families(telemetry.render().decode())
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in found
        for sample in family.samples
    }


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the key of one sample."""
    return name, tuple(sorted(labels.items()))


def test_the_document_is_the_reference() -> None:
    """What is documented is what is declared, every metric, and the command prints it."""
    result = CliRunner().invoke(metrics, [])
    assert (result.exit_code, result.stdout) == (0, reference())
    assert DOCUMENT.read_text() == reference()
    for metric in METRICS:
        rows = re.findall(rf"^\| `{metric.full_name}` \|.*$", reference(), re.MULTILINE)
        assert len(rows) == 1, metric.name
        assert metric.meaning in rows[0]
        assert all(f"`{label}`" in rows[0] for label in metric.labels)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    """Base units, suffixes by kind, and labels that mean the same everywhere."""
    assert re.fullmatch(r"stream_al_[a-z]+(_[a-z][a-z0-9]*)*", metric.full_name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert not re.search(r"_(count|sum|bucket|created|milliseconds|ms|percent)$", metric.name)
    if metric.kind != "counter" and metric.unit in ("seconds", "ratio", "records", "bytes"):
        assert metric.name.endswith(f"_{metric.unit}")
    for unit in ("seconds", "ratio", "records", "bytes"):
        assert not metric.name.endswith(f"_{unit}") or metric.unit == unit
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in metric.labels)
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
    assert (metric.labels[:1] == ("role",)) == (
        len(metric.roles) > 1 and metric.name not in PROCESS_WIDE
    )
    assert set(metric.values) <= set(metric.labels)
    assert metric.meaning.endswith(".")
    assert "|" not in metric.meaning


def test_each_is_declared_once() -> None:
    """No two metrics have one name, and what the ledger tells apart can all be counted."""
    assert len(BY_NAME) == len(METRICS)
    assert set(OUTCOMES) < set(BY_NAME["labels_total"].values["outcome"])
    assert len(set(REFUSALS)) == len(REFUSALS)
    assert {("ledger", "label", kind) for kind in UNUSABLE} < set(REFUSALS)


def test_everything_declared_is_rendered_with_its_zeros() -> None:
    """A fresh process shows each metric, and each series that is known, at its first value."""
    telemetry = Telemetry(ROLES)
    text, found = telemetry.render().decode(), samples(telemetry)
    for metric in METRICS:
        told = metric.meaning.replace("\\", r"\\")
        assert f"# HELP {metric.full_name} {told} Over replicas: " in text
        kind = "gauge" if metric.kind == "info" else metric.kind
        assert f"# TYPE {metric.full_name} {kind}\n" in text
    assert found[at("events_total")] == 0
    for outcome in BY_NAME["labels_total"].values["outcome"]:
        assert found[at("labels_total", outcome=outcome)] == 0
    for role, stage, reason in REFUSALS:
        assert found[at("dead_letters_total", role=role, stage=stage, reason=reason)] == 0
    for role in ROLES:
        assert found[at("ready", role=role)] == 0
        assert found[at("commit_seconds_count", role=role)] == 0
        assert found[at("commit_seconds_bucket", role=role, le="+Inf")] == 0
    names = {name for name, _ in found}
    # A mean over replicas would become NaN with one that knows nothing yet.
    assert not {"query_ratio", "rolling_accuracy_naive_ratio", "snapshot_age_seconds"} & names
    assert not any(name.endswith("_created") for name in names)
    assert {"build_info", "process_resident_memory_bytes", "python_info"} <= names


def test_a_process_exports_the_metrics_of_its_roles() -> None:
    """A ledger says nothing of models, so no minimum over processes is dragged to its zero."""
    found = samples(Telemetry(["ledger"]))
    assert at("open_requests") in found
    assert at("ready", role="ledger") in found
    assert at("ready", role="gate") not in found
    assert at("model_version") not in found
    with pytest.raises(KeyError, match="no such roles: gater"):
        Telemetry(["gater"])


def test_counts_of_a_batch_are_added() -> None:
    """Counts go to their series, with the role put in where the metric has it."""
    telemetry = Telemetry(["gate", "ledger"])
    counts: Counter[tuple[str, ...]] = Counter(
        {
            ("events_total",): 500,
            ("label_requests_total", "both"): 3,
            ("dead_letters_total", "message", "not-json"): 2,
        }
    )
    telemetry.add(counts, "gate")
    telemetry.add(counts, "gate")
    telemetry.add(Counter({("dead_letters_total", "label", "not-json"): 1}), "ledger")
    telemetry.add_one("restores_total", "ledger")
    telemetry.add_one("snapshots_refused_total", "gate")
    found = samples(telemetry)
    assert found[at("events_total")] == 1000
    assert found[at("label_requests_total", reason="both")] == 6
    assert found[at("label_requests_total", reason="policy")] == 0
    assert found[at("dead_letters_total", role="gate", stage="message", reason="not-json")] == 4
    assert found[at("dead_letters_total", role="ledger", stage="label", reason="not-json")] == 1
    assert found[at("restores_total", role="ledger")] == 1
    assert found[at("restores_total", role="gate")] == 0
    assert found[at("snapshots_refused_total")] == 1


def test_gauges_and_infos_say_the_last() -> None:
    """A gauge shows what was set last, NaN ends it, and an info metric has one series."""
    telemetry = Telemetry(["gate"])
    telemetry.set("query_ratio", 0.25)
    telemetry.set("query_ratio", 0.5)
    telemetry.set("threshold", 0.75, "3")
    telemetry.info("model_info", "aa", "logistic")
    telemetry.info("model_info", "bb", "logistic")
    found = samples(telemetry)
    assert found[at("query_ratio")] == 0.5
    assert found[at("threshold", partition="3")] == 0.75
    told = {labels: value for (name, labels), value in found.items() if name == "model_info"}
    assert told == {(("fold_id", "bb"), ("model", "logistic")): 1.0}
    telemetry.set("query_ratio", math.nan)
    assert at("query_ratio") not in samples(telemetry)


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Buckets are cumulative and take in their upper bound; sum and count are of all."""
    telemetry = Telemetry(["gate"])
    for value in (1, 2, 10, 11, 1e6):
        telemetry.observe("batch_records", value, "gate")
    found = samples(telemetry)

    def below(bound: str) -> float:
        return found[at("batch_records_bucket", role="gate", le=bound)]

    assert [below(bound) for bound in ("1.0", "3.0", "10.0", "30.0", "10000.0")] == [1, 2, 3, 4, 4]
    assert below("+Inf") == found[at("batch_records_count", role="gate")] == 5
    assert found[at("batch_records_sum", role="gate")] == 1_000_024


WRONG: dict[str, Callable[[Telemetry], None]] = {
    "no such name": lambda telemetry: telemetry.add_one("no_such_total", "gate"),
    "with prefix": lambda telemetry: telemetry.add_one("stream_al_events_total", "gate"),
    "of another role": lambda telemetry: telemetry.set("open_requests", 1),
    "of another kind": lambda telemetry: telemetry.set("events_total", 1),
    "no such value": lambda t: t.add(Counter({("predictions_total", "perhaps"): 1}), "gate"),
    "no such role": lambda telemetry: telemetry.set("ready", 1, "ledger"),
    "too few labels": lambda telemetry: telemetry.set("threshold", 0.5),
    "too many labels": lambda telemetry: telemetry.observe("decision_seconds", 1, "gate", "3"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_is_not_declared_is_refused(call: Callable[[Telemetry], None]) -> None:
    """An undeclared name, kind, role, value or number of labels is a KeyError and no series."""
    telemetry = Telemetry(["gate"])
    before = set(samples(telemetry))
    with pytest.raises(KeyError):
        call(telemetry)
    assert set(samples(telemetry)) == before


def test_a_partition_that_moves_away_is_forgotten() -> None:
    """Its series end, for the role that lost it and for no other."""
    telemetry = Telemetry(["gate", "ledger", "annotator"])
    for number in ("1", "11"):
        telemetry.set("threshold", 0.5, number)
        telemetry.set("consumer_lag_records", 7, "ledger", "labels", number)
        telemetry.set("consumer_lag_records", 7, "annotator", "labels", number)
    telemetry.forget("ledger", 1)
    found = samples(telemetry)
    assert at("consumer_lag_records", role="ledger", topic="labels", partition="1") not in found
    assert at("consumer_lag_records", role="ledger", topic="labels", partition="11") in found
    assert at("consumer_lag_records", role="annotator", topic="labels", partition="1") in found
    assert at("threshold", partition="1") in found
    telemetry.forget("gate", 1)
    assert at("threshold", partition="1") not in samples(telemetry)
    assert at("threshold", partition="11") in samples(telemetry)


def test_openmetrics_can_be_read() -> None:
    """The stricter format is well-formed, and names units where a name ends in one."""
    telemetry = Telemetry(ROLES)
    telemetry.info("model_info", "aa", 'a "quoted" \\ model')
    text = exposition.generate_latest(telemetry.registry).decode()  # type: ignore[no-untyped-call]
    read = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in read}
    assert families["stream_al_commit_seconds"].unit == "seconds"
    assert families["stream_al_query_ratio"].unit == "ratio"
    assert families["stream_al_model"].samples[0].labels["model"] == 'a "quoted" \\ model'


def test_threads_lose_nothing_and_a_batch_appears_at_once() -> None:
    """Adds from several threads add up, and no scrape sees one half of a batch's counts."""
    telemetry = Telemetry(["gate"])
    counts: Counter[tuple[str, ...]] = Counter(
        {("predictions_total", "ask"): 1, ("predictions_total", "auto"): 1}
    )

    def work() -> None:
        for _ in range(3000):
            telemetry.add(counts, "gate")
            telemetry.observe("batch_records", 2, "gate")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        families = {family.name: family for family in telemetry.collect()}
        asked, auto = families["stream_al_predictions"].samples
        assert asked.value == auto.value
    found = samples(telemetry)
    assert found[at("predictions_total", action="ask")] == 12_000
    assert found[at("batch_records_count", role="gate")] == 12_000


@pytest.mark.parametrize("seed", range(8))
def test_the_rolling_ratio_is_that_of_a_window_of_about_the_length(seed: int) -> None:
    """It is the exact share of the last things counted, at least `window` of them once there."""
    draw = random.Random(seed)
    window, buckets = draw.randint(1, 300), draw.randint(1, 30)
    largest = draw.choice([1, 5, 400])
    longest = window + -(-window // buckets) + largest
    ratio = RollingRatio(window, buckets)
    assert math.isnan(ratio.value)
    batches: list[tuple[int, int]] = [(1, 1)]
    ratio.add(1, 1)
    for _ in range(200):
        total = draw.randint(0, largest)
        batches.append((draw.randint(0, total), total))
        ratio.add(*batches[-1])
        assert len(ratio._buckets) <= buckets + 2
        counted = min(window, sum(total for _, total in batches))
        lately = [accumulated(batches[-n:]) for n in range(1, len(batches) + 1)]
        fitting = [hits / total for hits, total in lately if counted <= total < longest]
        assert any(math.isclose(ratio.value, each) for each in fitting), f"seed {seed}"


def accumulated(batches: list[tuple[int, int]]) -> tuple[int, int]:
    """Return hits and total of all batches."""
    return sum(hits for hits, _ in batches), sum(total for _, total in batches)


def test_the_rolling_accuracy_is_of_the_last_labels() -> None:
    """It is the share of right predictions among exactly the last labels; none is wrong."""
    draw = random.Random(7)
    accuracy = RollingAccuracy(50)
    assert math.isnan(accuracy.value)
    right: list[bool] = []
    for _ in range(300):
        label, prediction = draw.choice("ab"), draw.choice(["a", "b", None])
        accuracy.add(label, prediction)
        right.append(label == prediction)
        assert accuracy.value == sum(right[-50:]) / len(right[-50:])


@pytest.mark.parametrize(
    "make",
    [
        lambda: RollingRatio(window=0),
        lambda: RollingRatio(buckets=0),
        lambda: RollingAccuracy(window=0),
        lambda: RollingRatio().add(2, 1),
        lambda: RollingRatio().add(-1, 1),
    ],
)
def test_windows_and_counts_are_checked(make: Callable[[], object]) -> None:
    """An empty window, and more hits than things, are ValueErrors."""
    with pytest.raises(ValueError, match=r"at least 1|hits must be"):
        make()
