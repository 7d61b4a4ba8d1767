"""Benchmark programs: they run at tiny sizes, and compute what they say."""

from __future__ import annotations

import gzip
import importlib
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from stream_al import LearnerConfig

PROGRAMS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a program as it finds its own modules when it is started."""
    # Last, or `import kafka` would find the program of that name.
    monkeypatch.setattr(sys, "path", [*sys.path, str(PROGRAMS)])
    return importlib.import_module


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small stream of two classes, and one of three, under recorded streams' names."""
    rng = random.Random(7)
    for name, classes in (("elec", 2), ("keystroke", 3)):
        lines = ["a,b,label"]
        for _ in range(600):
            label = rng.randrange(classes)
            a, b = rng.gauss(4.0 * (label == 1), 1.0), rng.gauss(4.0 * (label == 2), 1.0)
            lines.append(f"{a:.3f},{b:.3f},{label}")
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    monkeypatch.setenv("STREAM_AL_DATA", str(tmp_path))
    return tmp_path


def _json_of(program: ModuleType, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(program.main, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("in_process", "processor time decides"),
        ("growth", "memory_growth_mb"),
        ("labels", "stream_al_data"),
        ("growth_live", "retain_bytes"),
        ("kafka_program", "median of the ratios"),
    ],
)
def test_help_says_what_is_measured(load: Any, name: str, told: str) -> None:
    """Each program's help explains its measurement."""
    result = CliRunner().invoke(load(name).main, ["--help"])
    assert result.exit_code == 0
    assert told in " ".join(result.stdout.lower().split())


def test_ratios_are_those_of_the_medians(load: Any) -> None:
    """The compared figures follow from the raw ones printed beside them, over all arms."""
    pytest.importorskip("skactiveml", reason="scikit-activeml (extra: bench) is not installed")
    found = _json_of(
        load("in_process"), "--events", "1000", "--slow-events", "4", "--repetitions", "3"
    )
    raw = found["us_per_event_of_all_repetitions"]
    median = {name: sorted(values)[1] for name, values in raw.items()}
    assert len(median) == 10
    assert found["us_per_event"] == median
    engine = median["engine_learn"]
    assert found["vs_river_sampler"] == median["river_sampler"] / engine
    assert found["vs_scikit_activeml"] == median["scikit_activeml"] / engine
    assert found["decide_vs_bare_predict"] == median["engine_decide"] / median["bare_predict"]


def test_river_sampler_asks_for_the_engines_share(load: Any) -> None:
    """The discount factor that is found makes river's sampler ask for the given share."""
    program = load("in_process")
    stream = program.make_stream(2_000)
    factor = program.find_discount_factor(stream, 0.1)
    assert program.river_sampler(stream, factor).asked / 2_000 == pytest.approx(0.1, abs=0.015)


def test_growth_compares_the_last_tenth_with_the_first(load: Any) -> None:
    """Time per event and memory are taken from the marks after the warm-up."""
    growth = load("growth")
    marks = [growth.Mark(1_000, 5.0, 100.0)]
    for part in range(1, growth.PARTS + 1):
        slow = 3e-6 if part > 90 else 2e-6
        memory = 130.0 if part == 50 else 110.0
        last = marks[-1]
        marks.append(growth.Mark(last.events + 100, last.cpu_s + 100 * slow, memory))
    found = growth.measured(marks)
    assert found["time_ratio"] == pytest.approx(1.5)
    assert found["memory_growth_mb"] == 30.0
    assert found["us_per_event_by_tenth"] == pytest.approx([2.0] * 9 + [3.0])


@pytest.mark.parametrize("delay", ["0", "100"])
def test_growth_plays_all_events(load: Any, delay: str) -> None:
    """A short run warms up on its first half and marks each 1 % of the second."""
    found = _json_of(load("growth"), "--events", "2000", "--delay", delay)
    assert (found["events"], found["warm_up"]) == (2_000, 1_000)
    assert len(found["resident_mb"]) == 101
    assert found["time_ratio"] > 0.0


def test_resident_memory_is_of_this_process(load: Any) -> None:
    """Memory that is written to counts as resident."""
    common = load("_common")
    before = common.resident_bytes()
    held = bytearray(b"\x01") * 50_000_000
    assert common.resident_bytes() - before > 0.8 * len(held)


def test_resident_memory_of_another_process(load: Any) -> None:
    """Memory is that of the process which is named, not of the one that asks."""
    common = load("_common")
    hold = "held = bytearray(b'x') * 50_000_000; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert 50e6 < common.resident_bytes(other.pid) < 100e6
        other.communicate(b"\n")


def test_live_events_are_of_the_stated_size(load: Any) -> None:
    """Each live event is a JSON object of 175 bytes with 10 numbers, and no two are alike."""
    messages = load("_events").make_messages(2_000)
    assert {len(message.value) for message in messages} == {175}
    assert len({message.value for message in messages}) == 2_000
    for key, value in messages:
        numbers = json.loads(value)
        assert len(key) == 8
        assert len(numbers) == 10
        assert all(isinstance(number, float) for number in numbers.values())


def test_live_model_has_learnt_beforehand(load: Any) -> None:
    """The training log that live gates begin with holds labels of both classes."""
    records = [json.loads(raw) for raw in load("_events").learnt(LearnerConfig())]
    assert records[0]["type"] == "configured"
    labels = [record["label"] for record in records if record["type"] == "labelled"]
    assert len(labels) > 400
    assert min(labels.count("yes"), labels.count("no")) > 50


def test_live_growth_is_of_the_gate(load: Any) -> None:
    """A short live run marks the gate's memory after its first half and at each 1 % of the rest."""
    found = _json_of(load("growth_live"), "--events", "4000")
    assert (found["events"], found["warm_up"] >= 2_000) == (4_000, True)
    assert len(found["resident_mb"]) == 101
    assert found["memory_growth_mb"] == max(found["resident_mb"]) - found["resident_mb"][0]
    assert found["events_per_second"] > 0.0


def test_kafka_ratios_are_medians_over_turns(load: Any) -> None:
    """A ratio is the median of its turns' ratios, and null where a side was left out."""
    program = load("kafka_program")
    rates = {"kafka": [8.0, 30.0, 7.0], "bare": [10.0, 60.0, 10.0], "sqlite": [3.0, 1.0, 2.0]}
    passes = {name: [program.Pass(rate, 1.0) for rate in each] for name, each in rates.items()}
    lags = {"kafka": {"p50_ms": 5.0, "p99_ms": 9.0}}
    found = program.compared(passes, lags)
    assert found["kafka_vs_bare"] == 0.7
    assert found["librdkafka_vs_quix"] is None
    assert found["sqlite_events_per_second"] == 2.0
    assert (found["latency_p50_ms"], found["latency_p99_ms"]) == (5.0, 9.0)
    assert found["events_per_second_of_all_repetitions"] == rates


def test_kafka_program_does_not_hide_kafka_python(tmp_path: Path) -> None:
    """Started as a script, the program of kafka-python's name still imports kafka-python."""
    command = [sys.executable, str(PROGRAMS / "kafka.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--repetitions" in done.stdout


def test_gate_on_sqlite_is_timed(load: Any) -> None:
    """A small run on the embedded log needs no broker, and counts every event's prediction."""
    arguments = ["--only", "sqlite", "--events", "40000", "--repetitions", "1"]
    found = _json_of(load("kafka_program"), *arguments)
    assert found["sqlite_events_per_second"] > 0.0
    assert found["kafka_vs_bare"] is None


def test_gate_on_kafka_is_timed(
    load: Any, kafka_brokers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small run on a real broker compares the gate with the bare loop, and measures latency."""
    monkeypatch.setenv("STREAM_AL_KAFKA", kafka_brokers)
    arguments = ["--only", "bare", "--only", "latency", "--quick", "--events", "60000"]
    found = _json_of(load("kafka_program"), *arguments, "--repetitions", "1")
    rates = found["events_per_second_of_all_repetitions"]
    assert found["kafka_vs_bare"] == rates["kafka"][0] / rates["bare"][0]
    assert all(cpu > 0.0 for cpu in found["cpu_us_per_event"].values())
    assert found["events"] == 6_000
    for lag in found["latency"].values():
        assert 0.0 < lag["p50_ms"] <= lag["p99_ms"] <= lag["max_ms"]


def test_labels_table_has_every_arm(load: Any, streams: Path) -> None:  # noqa: ARG001
    """Each row holds all arms over its seeds, their labels in proportion, within the burst."""
    found = _json_of(load("labels"), "--rows", "elec", "--seeds", "2", "--jobs", "1")
    arms = found["rows"]["elec"]["arms"]
    own = arms["default"]
    assert len(own["values"]) == 2
    assert own["mean"] == sum(own["values"]) / 2
    assert found["rows"]["elec"]["met"] == (own["mean"] >= 0.755)
    better = [name for name, arm in arms.items() if arm["mean"] > own["mean"]]
    assert found["rows"]["elec"]["better_than_default"] == better
    assert 0.02 * 600 - 8 < arms["river 1x"]["labels"] < 0.02 * 600 + 8
    assert arms["river 10x"]["labels"] == pytest.approx(0.2 * 600, rel=0.3)
    assert 0.0 < found["max_overspend"] <= found["burst"] == 20.0


def test_labels_plain_loop_takes_many_classes(load: Any, streams: Path) -> None:  # noqa: ARG001
    """At ten times 10 % the plain loop learns every label, and tells the classes apart."""
    found = _json_of(load("labels"), "--rows", "keystroke", "--seeds", "1", "--jobs", "1")
    plain = found["rows"]["keystroke"]["arms"]["river 10x"]
    assert plain["labels"] == 600
    assert plain["mean"] > 0.7
    assert plain["max_overspend"] is None


def test_labels_are_a_markdown_table(load: Any, streams: Path) -> None:  # noqa: ARG001
    """Without --json there is one line for each row, as wide as the head."""
    arguments = ["--rows", "elec,keystroke", "--seeds", "1", "--jobs", "1"]
    result = CliRunner().invoke(load("labels").main, arguments, catch_exceptions=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| elec 2%, weighted f1 | ≥ 0.755: ")


def test_every_policy_runs_within_the_burst(load: Any, streams: Path) -> None:  # noqa: ARG001
    """With --policies every policy is run on the row, and none overspends."""
    labels = load("labels")
    found = _json_of(labels, "--policies", "--rows", "elec", "--jobs", "1")
    arms = found["rows"]["elec"]["arms"]
    assert tuple(arms) == labels.POLICIES
    assert all(arm["max_overspend"] <= 20.0 for arm in arms.values())


@pytest.mark.parametrize(("folder", "code"), [("absent", 2), (".", 3)])
def test_missing_data_are_named(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, code: int
) -> None:
    """A missing folder, or a stream missing in it, ends the program with one line that says so."""
    monkeypatch.setenv("STREAM_AL_DATA", str(tmp_path / folder))
    result = CliRunner().invoke(load("labels").main, ["--rows", "sea", "--jobs", "1"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert str(tmp_path) in result.stderr


def test_a_grid_goes_on_where_it_ended(load: Any, streams: Path) -> None:
    """What the file of results holds is not run again, and the summary is the same."""
    out = streams / "runs.jsonl"
    arguments = ["--stream", "elec", "--seeds", "1", "--jobs", "1", "--out", str(out)]
    first = _json_of(load("coverage"), *arguments)
    assert len(first["cells"]) == 12
    assert first["coverage"] == {"elec": 1.0}
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:9]))
    assert _json_of(load("coverage"), *arguments) == first
    assert sorted(out.read_bytes().splitlines(keepends=True)) == sorted(lines)
