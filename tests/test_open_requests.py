"""``stream-al audit --open``: what waits for an answer, as the ledger has it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from test_live_verify import config_at, feed

from consumers.ledger_state import open_requests
from consumers.log import Log, Out
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.topics import Topics
from stream_al.cli.app import application
from stream_al.cli.audit_command import _waiting
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.labels.outcomes import Open
from stream_al.records import Label, encode

EVENTS = 600


def run(path: str, *flags: str) -> Result:
    """Ask for what is open."""
    return CliRunner().invoke(
        application, ["audit", "--open", "--path", path, "--name", "demo", *flags]
    )


def work(log: Log, config: Config, done: Callable[[], bool]) -> None:
    """Let gate and ledger work until that is done."""
    process, patience = Process(config, ("gate", "ledger"), log=log), threading.Event()
    process.start()
    end = time.monotonic() + 60
    while not done():
        assert not process.ended
        assert time.monotonic() < end
        patience.wait(0.05)
    process.close()


def read(log: Log, topic: str) -> list[Any]:
    """Decode all records of a topic."""
    return [
        (record.key, json.loads(record.value or b""))
        for number in range(log.topics()[topic].partitions)
        for record in log.read(topic, number)
    ]


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any], list[Any]]:
    """Answer every second request once, where some want two; return path, requests and records."""
    config = config_at(tmp_path_factory.mktemp("open") / "live.db")
    gate = msgspec.structs.replace(config.gate, second_opinion=0.4)
    config = msgspec.structs.replace(config, gate=gate)
    topics = Topics.of(config.log)
    with closing(SqliteLog(config.log, config.loop)) as log:

        def held() -> list[Open]:
            return [
                each
                for number in range(config.log.partitions)
                for each in open_requests(log.read(topics.ledger_state, number))
            ]

        def all_is_open() -> bool:
            decided = len(read(log, topics.predictions)) == EVENTS
            return decided and len(held()) == len(read(log, topics.label_requests))

        feed(log, config, 0, EVENTS)
        work(log, config, all_is_open)
        writer = log.writer()
        for key, request in read(log, topics.label_requests)[::2]:
            label = Label(request_id=request["request_id"], label="0", annotator="eve", time=9.0)
            writer.send(Out(topics.labels, encode(label), key))
        writer.close()

        def all_is_taken() -> bool:
            given = sum(bool(each.given) for each in held())
            ended = sum(each["type"] == "labelled" for _, each in read(log, topics.training))
            taken: bool = given + ended == len(read(log, topics.labels))
            return taken

        work(log, config, all_is_taken)
        asked = [request for _, request in read(log, topics.label_requests)]
        return config.log.path, asked, [each for _, each in read(log, topics.training)]


def test_what_is_open_is_what_was_asked_and_has_not_ended(
    answered: tuple[str, list[Any], list[Any]],
) -> None:
    """Each request is either listed, in the order of opening, or has ended in the training log."""
    path, asked, training = answered
    ended = {record["request_id"] for record in training if record["type"] == "labelled"}
    found = [json.loads(line) for line in run(path).stdout.splitlines()]
    names = [line["request_id"] for line in found]
    assert len(ended) > 3
    assert len(names) == len(set(names)) > 3
    assert set(names) == {request["request_id"] for request in asked} - ended
    assert [line["since"] for line in found] == sorted(line["since"] for line in found)
    by_name = {request["request_id"]: request for request in asked}
    for line in found:
        assert line["event"] == "open"
        assert line["asked"] == by_name[line["request_id"]]["reason"]


def test_who_has_answered_already_is_said(answered: tuple[str, list[Any], list[Any]]) -> None:
    """Where two are to answer and one has, the answer stands there, and one is missing."""
    path, asked, _ = answered
    wanted = {each["request_id"] for each in asked[::2] if each["opinions"] == 2}
    found = [json.loads(line) for line in run(path, "--annotator", "eve").stdout.splitlines()]
    assert {line["request_id"] for line in found} == wanted != set()
    for line in found:
        assert line["missing"] == 1
        assert line["opinions"] == [{"annotator": "eve", "label": "0", "time": 9.0}]
    one = found[0]["request_id"]
    assert len(run(path, "--request", one).stdout.splitlines()) == 1


def test_a_log_without_a_ledger_is_said(tmp_path: Path) -> None:
    """A missing topic of the ledger is named; in an empty one nothing is open."""
    config = config_at(tmp_path / "live.db")
    with (
        closing(SqliteLog(config.log, config.loop)) as log,
        pytest.raises(ConfigError, match="gone: no such topic: no ledger has run here"),
    ):
        list(_waiting(log, "gone"))
    found = run(config.log.path)
    assert (found.exit_code, found.stdout) == (0, "")
