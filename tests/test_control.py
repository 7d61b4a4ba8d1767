"""Pause, resume and boost: what is written, and that gates obey."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumers.drivers import open_log
from consumers.gate import GateMachine
from consumers.introduction import configured
from consumers.log import Log
from consumers.topics import Topics, specs
from stream_al.cli.app import application
from stream_al.config import Config, LogConfig
from stream_al.training import Control, decode_training

TRAINING = Topics.of(LogConfig()).training


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments)


def introduced(config: Config) -> None:
    """Write what the first gate writes."""
    with closing(open_log(config)) as log:
        log.create(specs(config.log))
        writer = log.writer()
        writer.send(configured(config))
        writer.close()


def controls(log: Log, topic: str = TRAINING) -> list[Control]:
    """Read the control records."""
    rows = [decode_training(record.value or b"") for record in log.read(topic, 0)]
    return [row for row in rows if isinstance(row, Control)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Give an embedded log in which a gate has introduced itself."""
    config = Config(log=LogConfig(path=str(tmp_path / "a.db")))
    introduced(config)
    return config


def test_each_command_writes_its_record(config: Config) -> None:
    """Pause, boost and resume write control records with end, author and reason, and say so."""
    path = ("--path", config.log.path)
    before = time.time()
    paused = run("pause", "--for", "1h", "--why", "holiday", "--by", "eve", *path)
    boosted = run("boost", *path, "--by", "")
    resumed = run("resume", "--by", "bob", *path)
    assert (paused.exit_code, boosted.exit_code, resumed.exit_code) == (0, 0, 0)
    assert paused.stdout.startswith(
        "paused: the policy asks nothing, exploration goes on, until 20"
    )
    end = f"; written to 'stream-al.training' at {config.log.path}\n"
    assert paused.stdout.endswith(end)
    assert boosted.stdout == f"boosted: the policy asks while it has tokens{end}"
    with closing(open_log(config)) as log:
        pause, boost, resume = controls(log)
    assert (pause.action, pause.by, pause.why) == ("pause", "eve", "holiday")
    assert pause.until is not None
    assert pause.time is not None
    assert pause.until - pause.time == pytest.approx(3600)
    assert before <= pause.time <= time.time()
    assert (boost.action, boost.until, boost.by) == ("boost", None, "")
    assert (resume.action, resume.until, resume.by) == ("resume", None, "bob")


def test_json_shows_the_record_as_written(config: Config) -> None:
    """With --json the record stands on standard output, as in the log."""
    done = run("boost", "--for", "15m", "--json", "--path", config.log.path)
    told = json.loads(done.stdout)
    with closing(open_log(config)) as log:
        (kept,) = [r for r in log.read(TRAINING, 0) if r.key == b"control"]
    assert told == {"topic": TRAINING, "control": json.loads(kept.value or b"")}
    assert told["control"]["by"] != ""


def test_gate_obeys_once_it_has_folded_the_record(config: Config) -> None:
    """A gate that folds what the command wrote holds that control, and the last one wins."""
    gate = GateMachine(config)
    assert run("boost", "--path", config.log.path).exit_code == 0
    assert run("pause", "--path", config.log.path).exit_code == 0
    with closing(open_log(config)) as log:
        gate.follow(list(log.read(TRAINING, 0)))
    control = gate.core.fold.control
    assert control is not None
    assert control.at(time.time()) == "pause"


def test_without_a_gate_there_is_nothing_to_control(tmp_path: Path) -> None:
    """Where no gate has run, neither in an empty log nor without one, the command refuses."""
    path = tmp_path / "a.db"
    missing = run("pause", "--path", str(path))
    assert missing.exit_code == 2
    assert not path.exists()
    config = Config(log=LogConfig(path=str(path)))
    with closing(open_log(config)) as log:
        refused = run("pause", "--path", str(path))
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"error: {TRAINING}: no gate has run yet")
        assert list(log.read(TRAINING, 0)) == []


@pytest.mark.parametrize("text", ["3", "0s", "soon", "-1h", "1e3s"])
def test_wrong_durations_are_refused(config: Config, text: str) -> None:
    """What is no duration above zero is refused with examples, and nothing is written."""
    done = run("pause", "--for", text, "--path", config.log.path)
    assert done.exit_code == 2
    assert f"{text!r} is no duration; expected 30s, 15m, 36h, 2d" in done.stderr
    with closing(open_log(config)) as log:
        assert controls(log) == []


def test_resume_takes_no_duration(config: Config) -> None:
    """To resume for a while would mean nothing, so the flag is not there."""
    done = run("resume", "--for", "1h", "--path", config.log.path)
    assert done.exit_code == 2
    assert "No such option" in done.stderr


def test_control_reaches_kafka(kafka_brokers: str) -> None:
    """On Kafka the record is written to the training log of the configured name."""
    name = f"control-{uuid.uuid4().hex}"
    log_config = LogConfig(
        driver="kafka", brokers=kafka_brokers, name=name, events=name, instance="a"
    )
    config = Config(log=log_config)
    introduced(config)
    flags = ("--driver", "kafka", "--brokers", kafka_brokers, "--name", name, "--instance", "a")
    done = run("pause", "--why", "holiday", *flags)
    assert done.exit_code == 0, done.stderr
    with closing(open_log(config)) as log:
        (found,) = controls(log, f"{name}.training")
    assert (found.action, found.why) == ("pause", "holiday")
