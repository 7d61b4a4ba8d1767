"""Replays: labels arrive when they are due, decisions depend on nothing but the stream."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from stream_al.cli.app import application
from stream_al.config import AnnotatorConfig, Config, GateConfig, ReplayConfig, SourceConfig
from stream_al.errors import InputError
from stream_al.replay.runner import Replay, Report, replay
from stream_al.replay.sources import open_source

Row: TypeAlias = dict[str, Any]


def play(config: Config, spec: str = "cards:3000") -> tuple[Report, list[Row], list[Row]]:
    """Replay and return the report, the decision rows and the training records."""
    decisions, training = io.BytesIO(), io.BytesIO()
    source = open_source(spec, config.source, limit=config.replay.limit)
    report = Replay(config, decisions=decisions, training=training).run(source)
    return (
        report,
        [json.loads(line) for line in decisions.getvalue().splitlines()],
        [json.loads(line) for line in training.getvalue().splitlines()],
    )


@pytest.mark.parametrize("delay", ["0", "3", "700", "2h"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_decisions_do_not_depend_on_the_batch_size(delay: str, partitions: int) -> None:
    """Batches of 1, 7 and 500 give byte-identical decisions, as does the same run again."""
    recorded = []
    for size in (1, 7, 500, 500):
        config = Config(
            gate=GateConfig(budget=0.05),
            source=SourceConfig(partitions=partitions),
            annotator=AnnotatorConfig(delay=delay),
            replay=ReplayConfig(batch_size=size),
        )
        out = io.BytesIO()
        Replay(config, decisions=out).run(open_source("cards:2000", config.source))
        recorded.append(out.getvalue())
    assert len(set(recorded)) == 1


@pytest.mark.parametrize("delay", [0, 1, 50])
def test_a_label_is_learnt_once_its_delay_is_over(delay: int) -> None:
    """With a delay of d events, the label of event i moves the model of event i + d + 1."""
    config = Config(annotator=AnnotatorConfig(delay=str(delay)))
    _, decisions, training = play(config)
    asked = {row["offset"] for row in decisions if row["action"] == "ask"}
    labelled = {
        record["offset"]: number
        for number, record in enumerate(training)
        if record["type"] == "labelled"
    }
    assert set(labelled) == {offset for offset in asked if offset + delay < 3000}
    for offset, number in labelled.items():
        after = offset + delay + 1
        assert decisions[after - 1]["model_version"] <= number
        if after < len(decisions):
            assert decisions[after]["model_version"] > number


def test_with_delay_in_time_nothing_is_learnt_early() -> None:
    """With a delay of 6 hours, no label moves a decision made less than 6 hours after its event."""
    _, decisions, training = play(Config(annotator=AnnotatorConfig(delay="6h")))
    records = {
        number: record for number, record in enumerate(training) if record["type"] == "labelled"
    }
    assert records
    for row in decisions:
        for number, record in records.items():
            if number < row["model_version"]:
                assert record["time"] + 6 * 3600 <= row["time"]


def test_before_the_first_label_the_prediction_is_uniform_over_the_declared_classes() -> None:
    """Declared classes are predicted as equally likely until a label comes; undeclared, nothing."""
    from stream_al.config import LearnerConfig

    late = AnnotatorConfig(delay="100")
    declared = Config(annotator=late, learner=LearnerConfig(classes=("0", "1")))
    report, rows, _ = play(declared)
    assert rows[50]["probabilities"] == {"0": 0.5, "1": 0.5}
    assert report.metrics.unpredicted == 0
    assert report.before_first_label == 101
    report, rows, _ = play(Config(annotator=late))
    assert rows[50]["probabilities"] == {}
    assert rows[50]["prediction"] is None
    assert report.metrics.unpredicted == report.before_first_label == 101


def test_a_report_adds_up() -> None:
    """Counts by reason and outcome add up to what was asked, and spending keeps its bound."""
    config = Config(
        gate=GateConfig(budget=0.1), annotator=AnnotatorConfig(delay="100", abstain=0.2)
    )
    report, decisions, training = play(config)
    assert report.events == len(decisions) == 3000
    assert report.asked == sum(report.asked_by_reason.values())
    assert report.asked == sum(row["action"] == "ask" for row in decisions)
    assert report.asked == report.open + report.outcomes["labelled"] + report.outcomes["skipped"]
    assert report.labels == sum(record["type"] == "labelled" for record in training)
    assert report.outcomes["skipped"] == sum(record["type"] == "closed" for record in training)
    assert 0 < report.outcomes["skipped"] < report.labels
    assert 0 < report.max_overspend <= report.burst


def _repeating(path: Path) -> str:
    """Write a stream whose ids repeat while everything is asked."""
    rows = [f"a{i % 5},{i % 7},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["id,x,label", *rows]) + "\n")
    return str(path)


def test_an_id_asked_again_while_its_request_is_open_stops_the_replay(tmp_path: Path) -> None:
    """The row that asks about an open id is named; skipping counts it and goes on."""
    spec = _repeating(tmp_path / "s.csv")
    gate, late = GateConfig(budget=1.0), AnnotatorConfig(delay="100")
    stop = Config(source=SourceConfig(id="id"), gate=gate, annotator=late)
    with pytest.raises(InputError, match=r"s\.csv, line 7, column 'id': id 'a0' is asked again"):
        replay(open_source(spec, stop.source), stop)
    skip = Config(source=SourceConfig(id="id", on_error="skip"), gate=gate, annotator=late)
    report = replay(open_source(spec, skip.source), skip)
    assert report.events == report.asked == 40
    assert report.skip_reasons == {"id asked again while open": 35}
    assert report.open == 5


def test_skipped_rows_keep_their_offsets(tmp_path: Path) -> None:
    """A bad row is counted and skipped, and the next good one has the offset after it."""
    path = tmp_path / "s.csv"
    path.write_text("x,label\n1,0\noops,1\n2,1\nnan,0\n3,0\n")
    config = Config(source=SourceConfig(on_error="skip"))
    report, decisions, _ = play(config, str(path))
    assert [row["offset"] for row in decisions] == [0, 2, 4]
    assert report.skipped == sum(report.skip_reasons.values()) == 2


_WANTED = {
    *("events", "asked", "asked_ratio", "labels", "asked_by_reason", "burst", "max_overspend"),
    *("metrics", "metrics_second_half", "seconds", "events_per_second", "version", "config_hash"),
}
_METRICS = {
    *("accuracy", "weighted_f1", "mean_cycle_f1", "kappa", "average_precision", "roc_auc"),
    *("log_loss", "brier", "ece", "per_class"),
}


def test_the_command_prints_one_json_object() -> None:
    """``replay --json`` prints all promised keys on standard output and nothing on error."""
    result = CliRunner().invoke(application, ["replay", "cards:2000", "--json", "--seed", "1"])
    assert result.exit_code == 0
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert set(report) >= _WANTED
    assert set(report["metrics"]) >= _METRICS
    assert set(report["metrics_second_half"]) >= _METRICS


def test_standard_input_has_no_length_until_it_is_told() -> None:
    """From standard input, halves and cycles are null without ``--events`` and there with it."""
    rows = "x,label\n" + "".join(f"{i % 3},{i % 2}\n" for i in range(200))
    for arguments, known in ([], False), (["--events", "200"], True):
        result = CliRunner().invoke(application, ["replay", "-", "--json", *arguments], input=rows)
        assert result.exit_code == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["events"] == 200
        assert (report["metrics_second_half"] is not None) == known
        assert (report["metrics"]["mean_cycle_f1"] is not None) == known


@pytest.mark.parametrize(
    ("content", "flags", "told", "code"),
    [
        ("x,label\n1,0\n2,b\n", ["--classes", "0,1"], "line 3, column 'label'", 3),
        ("x,label\n1,0\nu,1\n", [], "line 3, column 'x'", 3),
        ("x,label\n1,0\nnan,1\n", [], "line 3, column 'x'", 3),
        ("x,label\n1,0\ninf,1\n", [], "line 3, column 'x'", 3),
        ("x,label\n1,0\n1\n", [], "line 3", 3),
        ("", [], "empty; expected", 3),
        ("x,y\n1,0\n", [], "'label'", 3),
        ("t,x,label\n5,1,0\n4,1,0\n", ["--time", "t"], "line 3, column 't'", 3),
        ("x,label\n1,0\n", ["--budget", "0"], "--budget", 2),
        ("x,label\n1,0\n", ["--budget", "1.5"], "--budget", 2),
        ("x,label\n1,0\n", ["--budget", "nan"], "--budget", 2),
        ("x,label\n1,0\n", ["--explore", "-0.1"], "--explore", 2),
        ("x,label\n1,0\n", ["--model", "logistik"], "logistik", 2),
        ("x,label\n1,0\n", ["--model", "builtins:dict"], "expected a river classifier", 2),
        ("x,label\n1,0\n", ["--delay", "soon"], "error: --delay: expected events", 2),
        ("x,label\n1,0\n", ["--time", "at"], "error: --time = 'at': ", 2),
    ],
)
def test_bad_input_is_one_line_with_the_place_and_a_stable_code(
    tmp_path: Path, content: str, flags: list[str], told: str, code: int
) -> None:
    """Each kind of bad input ends with one clear line and exit code 2 or 3."""
    path = tmp_path / "s.csv"
    path.write_text(content)
    result = CliRunner().invoke(application, ["replay", str(path), *flags])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert told in result.stderr


def test_a_missing_file_is_bad_input() -> None:
    """A file that is not there is named, exit code 3."""
    result = CliRunner().invoke(application, ["replay", "nowhere.csv"])
    assert result.exit_code == 3
    assert "nowhere.csv" in result.stderr


def test_a_pipe_gets_data_only(tmp_path: Path) -> None:
    """In a pipe the real program writes no progress, and a closed pipe ends it quietly."""
    command = [sys.executable, "-m", "stream_al", "replay", "cards:2000", "--json"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert done.stderr == b""
    assert json.loads(done.stdout)["events"] == 2000


def test_recordings_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    """A replay that fails leaves an older recording as it was, and nothing of its own."""
    kept, stream = tmp_path / "kept.jsonl", tmp_path / "s.csv"
    kept.write_text("older")
    stream.write_text("x,label\n1,0\noops,1\n")
    for flags in (["--model", "none"], ["--label", "none"], []):
        arguments = ["replay", str(stream), "--decisions", str(kept), *flags]
        assert CliRunner().invoke(application, arguments).exit_code in (2, 3)
        assert kept.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.jsonl", "s.csv"]


@pytest.mark.parametrize("flags", [["--decisions"], ["--training"]])
def test_a_replay_never_writes_over_what_it_reads(tmp_path: Path, flags: list[str]) -> None:
    """An output that is the source, the other output or nowhere is a usage error, harmlessly."""
    stream, out = tmp_path / "s.csv", str(tmp_path / "out.jsonl")
    stream.write_text("x,label\n1,0\n")
    gone = str(tmp_path / "gone" / "out.jsonl")
    result = CliRunner().invoke(application, ["replay", str(stream), *flags, gone])
    assert result.exit_code == 2
    assert f"{flags[0]}: {gone} cannot be written: No such file or directory" in result.stderr
    for more in ([*flags, str(stream)], ["--decisions", out, "--training", out]):
        result = CliRunner().invoke(application, ["replay", str(stream), *more])
        assert result.exit_code == 2
        assert "expected a file of its own" in result.stderr
    assert stream.read_text() == "x,label\n1,0\n"
    assert not Path(out).exists()
