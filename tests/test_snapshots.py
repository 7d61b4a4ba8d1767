"""Snapshots of the fold beside a live gate: what fails is told, and loses nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from consumers.clock import Clock
from consumers.snapshots import Snapshots
from consumers.sqlite import SqliteLog
from consumers.telemetry import Telemetry
from stream_al import Config, Engine, Event, GateConfig, Label
from stream_al.config import LogConfig, LoopConfig
from stream_al.learner.fold import Fold
from stream_al.metrics import PREFIX


def folded() -> Fold:
    """Fold an answer."""
    engine = Engine(Config(gate=GateConfig(budget=1.0)))
    request = engine.decide_one(Event(offset=0, features={"x": 1.0})).request
    assert request is not None
    engine.learn_one(Label(request_id=request.request_id, label="a"))
    return engine.fold


def test_a_snapshot_that_cannot_be_written_is_counted_and_tried_again(tmp_path: Path) -> None:
    """A folder that is gone costs a snapshot and no more; once it is back the next one is kept."""
    folder = tmp_path / "state"
    config = Config(log=LogConfig(path=":memory:"), loop=LoopConfig(state_dir=str(folder)))
    telemetry, fold = Telemetry(["gate"]), folded()

    def failed() -> float | None:
        return telemetry.registry.get_sample_value(f"{PREFIX}snapshots_failed_total")

    with closing(SqliteLog(config.log, config.loop)) as log:
        snapshots = Snapshots(config, log, telemetry, Clock())
        folder.rmdir()
        snapshots.keep(fold, now=True)
        assert failed() == 1
        folder.mkdir()
        snapshots.keep(fold, now=True)
        assert failed() == 1
    assert [file.suffix for file in folder.iterdir()] == [".fold"]
