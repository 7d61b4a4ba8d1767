"""`stream-al answer`: answers reach their requests' partitions with their requests' keys."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumers.drivers import open_log
from consumers.log import Out, Record
from consumers.topics import Topics, specs
from stream_al import Config, Engine, Event
from stream_al.cli.app import application
from stream_al.config import LogConfig
from stream_al.records import encode


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Give an embedded log with two requests in partitions of their own."""
    config = Config(log=LogConfig(path=str(tmp_path / "a.db"), partitions=2))
    engine = Engine()
    with closing(open_log(config)) as log:
        log.create(specs(config.log))
        writer = log.writer()
        for partition in range(2):
            event = Event(offset=7, partition=partition, features={"a": 1.0})
            request = engine.decide_one(event).request
            assert request is not None
            key = b"card %d" % partition
            topic = Topics.of(config.log).label_requests
            writer.send(Out(topic, encode(request), key, (), partition))
        writer.send(Out(Topics.of(config.log).label_requests, b"no request", None, (), 0))
        writer.close()
    return config


def labels(config: Config) -> list[Record]:
    """Return what stands in the labels' topic."""
    with closing(open_log(config)) as log:
        return [record for n in range(2) for record in log.read(Topics.of(config.log).labels, n)]


def test_answers_go_where_their_requests_are(config: Config) -> None:
    """Each has its request's partition and key, and names who answered."""
    lines = [
        {"request_id": "events:1:7", "label": "fraud"},
        {"request_id": "events:0:7", "kind": "skip", "annotator": "bob", "comment": "dark"},
    ]
    text = "\n\n".join(map(json.dumps, lines))
    arguments = ["answer", "--by", "eve", "--path", config.log.path]
    done = CliRunner().invoke(application, arguments, input=text)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 answers written" in done.stderr
    first, second = labels(config)
    assert (first.partition, first.key) == (0, b"card 0")
    assert json.loads(first.value or b"") == lines[1]
    assert (second.partition, second.key) == (1, b"card 1")
    assert json.loads(second.value or b"") == {"annotator": "eve", **lines[0]}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            '{"request_id": "events:0:8", "label": "a"}',
            "line 2, column 'request_id': request 'events:0:8'",
        ),
        ('{"label": "a"}', "line 2: 'request_id': missing; expected the request's"),
        ('{"request_id": "events:0:7"}', "line 2: 'label': null or missing; expected a class"),
        (
            '{"request_id": "events:0:7", "kind": "revise", "label": null}',
            "line 2: 'label': null or missing; expected a class",
        ),
        (
            '{"request_id": "events:0:7", "label": "a", "time": "yesterday"}',
            "line 2: 'time': no time; expected epoch seconds",
        ),
        (
            '{"request_id": "events:0:7", "label": "a", "knd": "skip"}',
            "line 2, column 'knd': is no field; expected request_id, label, kind,",
        ),
        ('{"request_id": "events:0:7", "label": ', "line 2: "),
    ],
)
def test_nothing_is_written_where_a_line_is_wrong(config: Config, line: str, told: str) -> None:
    """The line is named, with exit code 3, and no answer of the file is written."""
    text = '{"request_id": "events:1:7", "label": "fraud"}\n' + line
    done = CliRunner().invoke(application, ["answer", "--path", config.log.path], input=text)
    assert done.exit_code == 3
    assert told in done.stderr
    assert labels(config) == []
