"""A live run verifies with 0 differences, from the log and from dumps, and each change is found."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from consumers.annotator import Truths
from consumers.feed import message
from consumers.log import Log, Out
from consumers.processes import Process
from consumers.recorded_topics import DumpedTopics, LogTopics
from consumers.sqlite import SqliteLog
from consumers.sqlite.schema import OFFSET_BITS
from consumers.topics import Topics, specs
from consumers.verification import LiveVerifier
from stream_al.config import Config, GateConfig, LearnerConfig, LogConfig, LoopConfig, ServeConfig
from stream_al.errors import InputError
from stream_al.records import encode
from stream_al.replay.sources import open_source
from stream_al.replay.verify import Verification
from stream_al.training import Control, Voided

EVENTS = 1500


def config_at(path: Path, budget: float = 0.1) -> Config:
    """Return a small configuration on a file."""
    return Config(
        learner=LearnerConfig(committee=False),
        gate=GateConfig(budget=budget),
        log=LogConfig(path=str(path), name="demo", instance="one", partitions=3),
        loop=LoopConfig(batch_size=100, poll_s=0.01),
        serve=ServeConfig(port=None),
    )


def feed(log: Log, config: Config, begin: int, end: int) -> None:
    """Write events, with one in fifty that is none."""
    source = open_source(f"cards:{EVENTS}", config.source)
    topic = Topics.of(config.log).events
    writer = log.writer()
    for number, row in enumerate(source.rows()):
        if begin <= number < end:
            writer.send(message(row, number, topic, config.log.partitions, "cards"))
            if not number % 50:
                writer.send(Out(topic, b'{"amount": "12"}', str(number).encode()))
    writer.close()


def work(log: Log, config: Config) -> None:
    """Run all roles until nothing is left to do."""
    truths = Truths(open_source(f"cards:{EVENTS}", config.source))
    process = Process(config, ("gate", "ledger", "annotator"), truths, log)
    process.start()
    patience = threading.Event()
    while not process.idle and not process.ended:
        patience.wait(0.05)
    process.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a live run: half with one budget, a pause, and half with another."""
    path = tmp_path_factory.mktemp("live") / "live.db"
    config = config_at(path)
    log = SqliteLog(config.log, config.loop)
    feed(log, config, 0, 700)
    work(log, config)
    writer = log.writer()
    pause = Control(action="pause", until=4e9)
    writer.send(Out(Topics.of(config.log).training, encode(pause), None, (), 0))
    feed(log, config, 700, 900)
    work(log, config)
    writer.send(Out(Topics.of(config.log).training, encode(Control(action="resume")), None, (), 0))
    writer.close()
    other = config_at(path, budget=0.05)
    feed(log, other, 900, EVENTS)
    work(log, other)
    log.close()
    return path


def verified(path: Path) -> Verification:
    """Verify a file."""
    config = config_at(path)
    log = SqliteLog(config.log, config.loop)
    try:
        return LiveVerifier(LogTopics(log), config.log).run()
    finally:
        log.close()


def dump(path: Path, target: Path) -> None:
    """Write all topics as kcat does."""
    config = config_at(path)
    log = SqliteLog(config.log, config.loop)
    with target.open("wb") as file:
        for spec in specs(config.log):
            for number in range(spec.partitions):
                for record in log.read(spec.name, number):
                    row: dict[str, Any] = {
                        "topic": record.topic,
                        "partition": record.partition,
                        "offset": record.offset,
                        "ts": int(record.time * 1000),
                        "headers": [
                            part
                            for name, value in record.headers
                            for part in (name, None if value is None else value.decode())
                        ],
                        "key": None if record.key is None else record.key.decode(),
                        "payload": None if record.value is None else record.value.decode(),
                    }
                    file.write(json.dumps(row).encode() + b"\n")
    log.close()


def test_a_live_run_has_no_differences(recorded: Path) -> None:
    """Every decision of a run with dead letters, a pause and two configurations is recomputed."""
    result = verified(recorded)
    assert result.first == ()
    assert (result.differences, result.decisions) == (0, EVENTS)
    assert result.records > 100


@pytest.mark.parametrize("annotator", ["simulated", "nobody"])
def test_what_was_decided_after_labels_were_voided_is_recomputed(
    tmp_path: Path, annotator: str
) -> None:
    """Decisions before a record that voids labels, and after it, verify without a difference."""
    config = config_at(tmp_path / "live.db")
    log = SqliteLog(config.log, config.loop)
    writer = log.writer()
    for begin, end in ((0, 500), (500, 800), (800, 1000)):
        feed(log, config, begin, end)
        work(log, config)
        voided = encode(Voided(annotator=annotator))
        writer.send(Out(Topics.of(config.log).training, voided, None, (), 0))
    writer.close()
    feed(log, config, 1000, 1200)
    work(log, config)
    log.close()
    result = verified(tmp_path / "live.db")
    assert result.first == ()
    assert (result.differences, result.decisions) == (0, 1200)


def test_a_run_can_be_verified_while_it_goes_on(tmp_path: Path) -> None:
    """What is written during the verification is no difference, however often one looks."""
    config = config_at(tmp_path / "live.db")
    log = SqliteLog(config.log, config.loop)
    truths = Truths(open_source(f"cards:{EVENTS}", config.source))
    process = Process(config, ("gate", "ledger", "annotator"), truths, log)
    process.start()
    found = []
    for begin in range(0, EVENTS, 100):
        feed(log, config, begin, begin + 100)
        if log.bounds(Topics.of(config.log).training, 0).end:
            found.append(LiveVerifier(LogTopics(log), config.log).run())
    process.close()
    log.close()
    assert [result.first for result in found] == [()] * len(found)
    assert len({result.decisions for result in found}) > 3


def test_dumps_verify_as_the_log_does(recorded: Path, tmp_path: Path) -> None:
    """Dumps of the topics, in one file or several, give the same result through the command."""
    dump(recorded, tmp_path / "all.jsonl")
    lines = (tmp_path / "all.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[len(lines) // 2 :]))
    files = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "stream_al", "verify", "--name", "demo", "--json"]
        + [part for file in files for part in ("--dump", file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["decisions"] == EVENTS
    assert json.loads(done.stdout)["records"] == verified(recorded).records


def test_the_command_verifies_a_log(recorded: Path) -> None:
    """Without a source, the configured log is verified."""
    done = subprocess.run(
        [sys.executable, "-m", "stream_al", "verify", "--path", str(recorded), "--name", "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("0 differences\n")


CHANGES = {
    "a prediction": ("predictions", '"auto"', '"aut0"'),
    "a score": ("predictions", '"score":0.', '"score":1.'),
    "an event": ("payments-or-events", '{"amount":', '{"amount":1'),
    "a training record": ("training", '"weight":1.0', '"weight":2.0'),
    "an observed event": ("training", '"type":"observed"', '"type":"observed" '),
    "a request": ("label-requests", '"score":', '"score": '),
    "a label": ("labels", '"label":"0"', '"label":"1"'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_found(recorded: Path, tmp_path: Path, what: str) -> None:
    """One altered record of any topic is a difference."""
    path = tmp_path / "changed.db"
    shutil.copy(recorded, path)
    name, old, new = CHANGES[what]
    topic = "events" if name == "payments-or-events" else f"demo.{name}"
    change(path, topic, old.encode(), new.encode())
    assert verified(path).differences >= 1


def test_what_differs_in_an_answer_is_named(recorded: Path, tmp_path: Path) -> None:
    """Of an answer that the training log has otherwise, the field is named with both values."""
    path = tmp_path / "changed.db"
    shutil.copy(recorded, path)
    change(path, "demo.training", b'"weight":1.0', b'"weight":2.0')
    (told,) = verified(path).first[:1]
    assert re.search(r" is not what was answered about \S+: weight is 2.0, recomputed 1.0$", told)


@pytest.mark.parametrize("name", ["predictions", "training", "label-requests", "labels"])
def test_each_missing_record_is_found(recorded: Path, tmp_path: Path, name: str) -> None:
    """One removed record of any topic is a difference."""
    path = tmp_path / "changed.db"
    shutil.copy(recorded, path)
    change(path, f"demo.{name}", b"{", None)
    assert verified(path).differences >= 1


def test_a_log_without_a_run_is_refused(tmp_path: Path) -> None:
    """Nothing to verify is an error, and no zero."""
    config = config_at(tmp_path / "empty.db")
    log = SqliteLog(config.log, config.loop)
    with pytest.raises(InputError, match="nothing to verify"):
        LiveVerifier(LogTopics(log), config.log)
    log.close()


def test_a_line_that_is_no_message_is_named(tmp_path: Path) -> None:
    """A broken dump is refused with file and line."""
    file = tmp_path / "dump.jsonl"
    file.write_bytes(
        b'{"topic": "t", "partition": 0, "offset": 0, "payload": "\xff"}\n{"topic": 1}\n'
    )
    with pytest.raises(InputError, match=r"dump.jsonl, line 2: no message"):
        DumpedTopics([file], tmp_path)


def change(path: Path, topic: str, old: bytes, new: bytes | None) -> None:
    """Alter or remove the middle one of the records of a topic that hold some bytes."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT records.place, value FROM records, partitions, topics "
            "WHERE partitions.id = records.place >> ? AND topics.id = partitions.topic "
            "AND topics.name = ? AND instr(value, ?)",
            (OFFSET_BITS, topic, old),
        ).fetchall()
        place, value = found[len(found) // 2]
        if new is None:
            connection.execute("DELETE FROM records WHERE place = ?", (place,))
        else:
            changed = value.replace(old, new, 1)
            connection.execute("UPDATE records SET value = ? WHERE place = ?", (changed, place))
    connection.close()
