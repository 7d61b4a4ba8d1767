"""The fold is a function of the training log alone, and a snapshot is only a shortcut to it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stream_al import Config, Engine, Event, GateConfig, Label, LearnerConfig
from stream_al.errors import ConfigError, InputError, SnapshotError
from stream_al.learner.fold import Fold, fold_id
from stream_al.learner.snapshot import load, restore, save
from stream_al.records import Observed, encode
from stream_al.replay.cards import cards
from stream_al.training import Configured, Labelled, decode_training

Log = list[tuple[int, bytes]]

SMALL = LearnerConfig(draws=2)


def write_log(config: LearnerConfig, events: int = 250) -> tuple[Log, Engine]:
    """Run an engine over generated cards and keep its training log."""
    log: Log = []
    engine = Engine(
        Config(learner=config, gate=GateConfig(budget=0.3)),
        write=lambda offset, raw: log.append((offset, raw)),
    )
    for i, (features, when, _, _, label) in enumerate(cards(events, seed=1)):
        decision = engine.decide_one(Event(offset=i, features=features, time=when))
        if decision.request is not None:
            truth = "yes" if label or i % 3 == 0 else "no"
            engine.learn_one(Label(request_id=decision.request.request_id, label=truth))
    return log, engine


def folded(config: LearnerConfig, log: Iterable[tuple[int, bytes]]) -> Fold:
    """Fold a log from its start."""
    fold = Fold(config)
    for offset, raw in log:
        fold.take(offset, raw, decode_training(raw))
    return fold


def predictions(fold: Fold) -> list[dict[str, float]]:
    """Predict what was not in the log."""
    return [fold.learner.predict_one(features) for features, *_ in cards(50, seed=9)]


@pytest.fixture(scope="module")
def log() -> Log:
    """Make one log for all."""
    return write_log(SMALL)[0]


def test_who_has_folded_the_same_records_holds_the_same_model() -> None:
    """A fold of the log has the digest, the version and, bit for bit, the model of its writer."""
    log, engine = write_log(SMALL)
    fold = folded(SMALL, log)
    assert fold.stamp == engine.model
    assert predictions(fold) == predictions(engine.fold)


def test_the_version_is_that_of_the_last_data_record(log: Log) -> None:
    """Version 0 stands until the first data record; then it is that record's offset + 1."""
    fold = folded(SMALL, log[:1])
    assert (fold.stamp.version, fold.next_offset) == (0, 1)
    fold.take(7, log[1][1], decode_training(log[1][1]))
    assert (fold.stamp.version, fold.next_offset) == (8, 8)


def test_the_digest_names_bytes_and_offsets(log: Log) -> None:
    """Another byte, another offset or another order of records is another digest."""
    reference = folded(SMALL, log[:3]).stamp.digest
    later = [*log[:2], (log[2][0] + 1, log[2][1])]
    spaced = [*log[:2], (log[2][0], log[2][1] + b" ")]
    swapped = [log[0], (1, log[2][1]), (2, log[1][1])]
    others = {folded(SMALL, other).stamp.digest for other in (later, spaced, swapped)}
    assert len(others | {reference}) == 4


def test_a_log_that_does_not_begin_with_its_configuration_is_refused(log: Log) -> None:
    """Data before the first configured record are refused."""
    with pytest.raises(InputError, match="expected 'configured'"):
        folded(SMALL, log[1:])


def test_a_log_of_another_way_of_folding_is_refused(log: Log) -> None:
    """A configured record with another fold_id says what to do."""
    with pytest.raises(
        ConfigError, match=r"\(learner.draws is 2 there and 3 here\): use what the log was made"
    ):
        folded(LearnerConfig(draws=3), log)


def test_offsets_that_go_back_are_refused(log: Log) -> None:
    """A record is never taken in twice."""
    fold = folded(SMALL, log[:3])
    with pytest.raises(InputError, match="goes back: offset 2 after 2"):
        fold.take(2, log[2][1], decode_training(log[2][1]))


def test_observed_records_teach_the_encoder_and_labelled_ones_the_classifier(log: Log) -> None:
    """Observed events move means and deviations only; labels move no mean and no deviation."""
    fold = folded(SMALL, log[:100])
    records = [decode_training(raw) for _, raw in log]
    observed = next(r for r in records if isinstance(r, Observed))
    labelled = next(r for r in records if isinstance(r, Labelled))
    moments = dict(fold.learner._encoder.moments)  # type: ignore[attr-defined]
    fold.take(1000, encode(labelled), labelled)
    assert fold.learner._encoder.moments == moments  # type: ignore[attr-defined]
    labels = fold.learner.labels
    weights = [member.model.linear() for member in fold.learner._members]
    fold.take(1001, encode(observed), observed)
    assert fold.learner._encoder.moments != moments  # type: ignore[attr-defined]
    assert fold.learner.labels == labels
    assert [member.model.linear() for member in fold.learner._members] == weights


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        LearnerConfig(committee=False),
        LearnerConfig(model="naive-bayes", draws=2),
        LearnerConfig(model="hoeffding-tree", draws=2),
        LearnerConfig(model="mondrian-forest", committee=False),
        LearnerConfig(model="adaptive-forest", committee=False),
        LearnerConfig(model="river.tree:HoeffdingTreeClassifier", committee=False),
    ],
    ids=lambda config: config.model + ("" if config.committee else ", plain"),
)
def test_a_restored_fold_goes_on_bit_for_bit(config: LearnerConfig, tmp_path: Path) -> None:
    """For every preset, snapshot plus the rest of the log is the whole log."""
    log, engine = write_log(config)
    path = tmp_path / "snapshot"
    save(folded(config, log[:60]), path)
    fold, refusal = restore(path, config, lambda start: log[start:])
    assert refusal is None
    assert fold.next_offset == 60
    for offset, raw in log[60:]:
        fold.take(offset, raw, decode_training(raw))
    assert fold.stamp == engine.model
    assert predictions(fold) == predictions(engine.fold)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def _rewritten(path: Path, **changes: object) -> None:
    head, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(head) | changes).encode() + b"\n" + body)


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        path.write_bytes(b"\x80\x05K\x01." * 10)
    elif how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "flipped":
        path.write_bytes(content[:-50] + bytes([content[-50] ^ 1]) + content[-49:])
    elif how == "format":
        _rewritten(path, format=2)
    elif how == "fold_id":
        _rewritten(path, fold_id="0" * 16)
    elif how == "fingerprint":
        _rewritten(path, fingerprint={"python": "2.7"})
    elif how == "offset":
        _rewritten(path, next_offset=5)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing", "cannot be read"),
        ("empty", "format"),
        ("foreign", "format"),
        ("truncated", "damaged"),
        ("flipped", "damaged"),
        ("format", "format 2, expected 1"),
        ("fold_id", "another learner configuration"),
        ("fingerprint", "taken with"),
        ("offset", "offset or digest"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused_and_the_log_folded(
    log: Log, tmp_path: Path, how: str, told: str
) -> None:
    """Whatever is wrong with a snapshot is said, and the fold begins at the log's start."""
    path = tmp_path / "snapshot"
    save(folded(SMALL, log[:60]), path)
    _damage(path, how)
    with pytest.raises(SnapshotError, match=told):
        load(path, SMALL)
    fold, refusal = restore(path, SMALL, lambda start: log[start:])
    assert refusal is not None
    assert told in str(refusal)
    assert fold.next_offset == 0


def test_a_snapshot_of_another_log_is_refused(log: Log, tmp_path: Path) -> None:
    """A log whose record before the snapshot's offset is another, or is not there, is refused."""
    path = tmp_path / "snapshot"
    save(folded(SMALL, log[:60]), path)
    changed = [*log[:59], (59, log[59][1] + b" ")]
    for other in (changed, log[:59], log[:40], []):
        fold, refusal = restore(path, SMALL, lambda start, other=other: other[start:])  # type: ignore[misc]
        assert "offset 59, is not in the log" in str(refusal)
        assert fold.next_offset == 0


def test_a_failed_save_leaves_the_old_snapshot(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot is written whole or not at all."""
    path = tmp_path / "snapshot"
    save(folded(SMALL, log[:20]), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, f"no space left for {descriptor}")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(folded(SMALL, log[:40]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_fold_id_names_all_of_the_learner_configuration() -> None:
    """Each key of the learner's configuration is part of its name."""
    changed: dict[str, Any] = {
        "model": "naive-bayes",
        "committee": False,
        "classes": ("a", "b"),
        "memory": 5,
        "draws": 1,
        "balance": 0.1,
        "calibrate": False,
        "on_drift": "report",
        "seed": 3,
    }
    assert set(changed) == set(LearnerConfig.__struct_fields__)
    names = {fold_id(LearnerConfig(**{key: value})) for key, value in changed.items()}
    assert len(names | {fold_id(LearnerConfig())}) == len(changed) + 1


def test_the_first_record_of_an_engines_log_is_its_configuration(log: Log) -> None:
    """The log opens with a configured record that holds the whole configuration."""
    record = decode_training(log[0][1])
    assert isinstance(record, Configured)
    assert record.fold_id == fold_id(SMALL)
    assert record.config["gate"]["budget"] == 0.3
