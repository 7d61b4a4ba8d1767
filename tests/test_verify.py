"""A recording is recomputed exactly, and whatever is altered in it is found."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream_al.cli.app import application
from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    ReplayConfig,
    SourceConfig,
)
from stream_al.replay.cards import cards
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source
from stream_al.replay.verify import Verification, Verifier, recorded_config

EVENTS = 1500


def write_stream(folder: Path) -> Path:
    """Write a small stream of numbers, categories, ids, keys and times as CSV."""
    path = folder / "stream.csv"
    with path.open("w") as file:
        for i, (features, when, name, key, label) in enumerate(cards(EVENTS, seed=3)):
            if not i:
                file.write(",".join(["ts", "id", "card", *features, "label"]) + "\n")
            # A tenth of them fraud, so that a short stream has labels of both classes.
            label = label or int(i % 10 == 0)
            file.write(",".join(map(str, [when, name, key, *features.values(), label])) + "\n")
    return path


def record(path: Path, **sections: object) -> tuple[list[bytes], list[bytes]]:
    """Replay a stream and return the lines of decisions and training log."""
    config = Config(
        gate=GateConfig(budget=0.1, observe_every=20),
        source=SourceConfig(time="ts", id="id", key="card", partitions=2),
        annotator=AnnotatorConfig(delay="100", noise=0.1, abstain=0.1),
    )
    for name, section in sections.items():
        config = Config(
            **{f: getattr(config, f) for f in config.__struct_fields__} | {name: section}
        )
    decisions, training = io.BytesIO(), io.BytesIO()
    source = open_source(str(path), config.source)
    Replay(config, decisions=decisions, training=training).run(source)
    return decisions.getvalue().splitlines(), training.getvalue().splitlines()


def check(path: Path, decisions: list[bytes], training: list[bytes]) -> Verification:
    """Verify lines against a stream."""
    config, _ = recorded_config(training, "training")
    return Verifier(config, decisions, training).run(open_source(str(path), config.source))


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the stream once."""
    return write_stream(tmp_path_factory.mktemp("stream"))


@pytest.fixture(scope="module")
def recording(stream: Path) -> tuple[list[bytes], list[bytes]]:
    """Record it once."""
    return record(stream)


@pytest.mark.parametrize(
    "section",
    [
        {"learner": LearnerConfig(committee=False)},
        {"learner": LearnerConfig(model="mondrian-forest", committee=False)},
        {"learner": LearnerConfig(classes=("0", "1"))},
        {"gate": GateConfig(budget=0.1, policy="randomized-variable", score="entropy")},
        {"gate": GateConfig(budget=0.3, explore=0.0, policy="selective-sampling")},
        {"annotator": AnnotatorConfig(delay="2h", delay_distribution="exponential")},
        {"annotator": AnnotatorConfig(capacity_per_day=20)},
        {"replay": ReplayConfig(limit=700)},
    ],
    ids=lambda section: str(next(iter(section.values())))[:60],
)
def test_what_was_recorded_is_recomputed(stream: Path, section: dict[str, object]) -> None:
    """A recording of any configuration verifies without a difference."""
    decisions, training = record(stream, **section)
    result = check(stream, decisions, training)
    assert result.first == ()
    assert result.differences == 0
    assert result.decisions == len(decisions)
    assert result.records == len(training) - 1


def _without(lines: list[bytes], i: int) -> list[bytes]:
    return lines[:i] + lines[i + 1 :]


def _swapped(lines: list[bytes], i: int) -> list[bytes]:
    return [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]


def _altered(lines: list[bytes], i: int) -> list[bytes]:
    """Change one value of one line, whichever is there to be changed."""
    row = json.loads(lines[i])
    if row.get("type") == "configured":
        row["config"]["gate"]["budget"] = 0.11
    elif "label" in row:
        row["label"] = {"0": "1"}.get(row["label"], "0")
    elif "features" in row:
        row["features"]["hour"] += 0.5
    elif "events" in row:
        row["events"] += 1
    elif "score" in row:
        row["score"] = row["score"] * 0.999 + 1e-6
    else:
        row["reason"] = "refused"
    return [*lines[:i], json.dumps(row, separators=(",", ":")).encode(), *lines[i + 1 :]]


_CHANGES: list[Callable[[list[bytes], int], list[bytes]]] = [_without, _swapped, _altered]


@pytest.mark.parametrize("change", _CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("where", [0, 1, 0.3, 0.7, -2, -1])
def test_a_changed_decision_is_found(
    stream: Path,
    recording: tuple[list[bytes], list[bytes]],
    change: Callable[[list[bytes], int], list[bytes]],
    where: float,
) -> None:
    """One decision altered, removed or swapped with the next, anywhere, is a difference."""
    decisions, training = recording
    i = _index(decisions, where, change)
    result = check(stream, change(decisions, i), training)
    assert result.differences >= 1
    assert str(i + 1) in result.first[0] or "has no decision" in result.first[0]


@pytest.mark.parametrize("change", _CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("where", [1, 2, 0.3, 0.5, 0.7, -3, -2, -1])
def test_a_changed_training_record_is_found(
    stream: Path,
    recording: tuple[list[bytes], list[bytes]],
    change: Callable[[list[bytes], int], list[bytes]],
    where: float,
) -> None:
    """One training record altered, removed or swapped, the end line included, is a difference."""
    decisions, training = recording
    i = _index(training, where, change)
    assert check(stream, decisions, change(training, i)).differences >= 1


@pytest.mark.parametrize("change", [*_CHANGES, "label"], ids=lambda c: getattr(c, "__name__", c))
@pytest.mark.parametrize("where", [1, 0.3, 0.7, -1])
def test_a_changed_event_is_found(
    stream: Path,
    recording: tuple[list[bytes], list[bytes]],
    tmp_path: Path,
    change: Callable[[list[bytes], int], list[bytes]] | str,
    where: float,
) -> None:
    """One event altered, removed or swapped, or only its label altered, is a difference."""
    lines = stream.read_bytes().splitlines()
    i = _index(lines, where, _swapped if change is _swapped else _without)
    if change is _without or change is _swapped:
        lines = change(lines, i)
        if change is _swapped:
            # Times may not run backwards, so only the rest of the two rows changes places.
            one, other = lines[i].split(b",", 1), lines[i + 1].split(b",", 1)
            lines[i], lines[i + 1] = other[0] + b"," + one[1], one[0] + b"," + other[1]
    else:
        cells = lines[i].split(b",")
        cells[-1 if change == "label" else 3] = b"1" if cells[-1] == b"0" else b"0"
        lines[i] = b",".join(cells)
    changed = tmp_path / "changed.csv"
    changed.write_bytes(b"\n".join(lines) + b"\n")
    assert check(changed, *recording).differences >= 1


def _index(lines: list[bytes], where: float, change: object) -> int:
    last = len(lines) - (2 if change is _swapped else 1)
    i = int(where * len(lines)) if 0 < where < 1 else int(where) % len(lines)
    return min(i, last)


def test_the_command_prints_counts_and_ends_with_1_where_anything_differs(
    stream: Path, recording: tuple[list[bytes], list[bytes]], tmp_path: Path
) -> None:
    """``stream-al verify`` prints what was checked; exit code 0 without, 1 with differences."""
    decisions, training = recording
    d, t = tmp_path / "d.jsonl", tmp_path / "t.jsonl"
    d.write_bytes(b"\n".join(decisions) + b"\n")
    t.write_bytes(b"\n".join(training) + b"\n")
    arguments = ["verify", str(stream), "--decisions", str(d), "--training", str(t)]
    fine = CliRunner().invoke(application, arguments)
    assert fine.exit_code == 0
    assert f"{EVENTS:,} decisions" in fine.stdout
    assert "0 differences" in fine.stdout
    d.write_bytes(b"\n".join(_altered(decisions, 5)) + b"\n")
    bad = CliRunner().invoke(application, [*arguments, "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["differences"] == 1
    assert json.loads(bad.stdout)["first"][0].startswith("decision row 6: score is")


def test_what_differs_in_an_answer_is_named(
    stream: Path, recording: tuple[list[bytes], list[bytes]]
) -> None:
    """Of an answer that is recorded otherwise the field is named, with both of its values."""
    decisions, training = recording
    i = next(i for i, line in enumerate(training) if b'"type":"labelled"' in line)
    for name, changed, told in (
        ("label", {"label": "7"}, "label is '7', recomputed '"),
        ("request_no", {"request_no": 900}, "request_no is 900, recomputed "),
    ):
        row = {**json.loads(training[i]), **changed}
        altered = [*training[:i], json.dumps(row).encode(), *training[i + 1 :]]
        first = check(stream, decisions, altered).first[0]
        assert first.startswith(f"training record {i} is not the answer to {row['request_id']}: ")
        assert told in first, name


def test_a_training_log_that_is_none_is_bad_input(stream: Path, tmp_path: Path) -> None:
    """A file that does not begin with a configured record is refused by name, exit code 3."""
    t = tmp_path / "t.jsonl"
    t.write_text('{"type":"observed"}\n')
    arguments = ["verify", str(stream), "--decisions", str(t), "--training", str(t)]
    result = CliRunner().invoke(application, arguments)
    assert result.exit_code == 3
    assert "t.jsonl, line 1" in result.stderr
    assert "expected a 'configured' record" in result.stderr
