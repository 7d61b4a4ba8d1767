"""The file: what is made in it, and what is refused."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumers.errors import RetryError, StopError
from consumers.log import Out
from consumers.sqlite import SqliteLog, schema
from consumers.topics import specs
from sqlite_log.steps import EVENTS, OUT, active, feed, offsets
from stream_al.config import LogConfig, LoopConfig
from stream_al.errors import ConfigError


def test_opening_makes_the_topics(opened: Callable[..., SqliteLog]) -> None:
    """A new file has every topic of the configuration, and one opened again keeps them."""
    log = opened(partitions=3, name="fraud")
    expected = {spec.name: (spec.partitions, spec.settings) for spec in specs(log._config)}
    for each in (log, opened(partitions=1, name="fraud")):
        found = each.topics()
        assert {name: (i.partitions, i.settings) for name, i in found.items()} == expected


def test_a_file_that_is_made_meanwhile_is_known(path: Path) -> None:
    """A process that looks at a new file while another one makes it takes it for a log."""
    seen: list[str] = []

    def make(statement: str) -> None:
        seen.append(statement)
        if len(seen) == 2:
            schema.open_connection(str(path), 5.0).close()

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_trace_callback(make)
        assert schema._known(connection, str(path))
    assert len(seen) > 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(random.Random(1).randbytes(20_000)),
        lambda path: path.write_text("events\n" * 1000),
        lambda path: path.mkdir(),
        lambda path: run_sql(path, "CREATE TABLE users (id INTEGER)"),
        lambda path: run_sql(path, "PRAGMA application_id = 77"),
        lambda path: run_sql(path, "PRAGMA user_version = 3"),
    ],
    ids=["random", "text", "folder", "another program's", "another's id", "another's version"],
)
def test_foreign_file_is_refused_and_left_alone(
    path: Path, opened: Callable[..., SqliteLog], damage: Callable[[Path], None]
) -> None:
    """What is no log is a configuration error that names the file, and is not written to."""
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigError, match=r"log.path: .*log\.db"):
        opened()
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_newer_schema_is_refused(path: Path, opened: Callable[..., SqliteLog]) -> None:
    """A file of a later version of the schema is named as such, not guessed at."""
    opened().close()
    run_sql(path, "PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        opened()


def test_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    """A path in a folder that is not there says so at the start."""
    config = LogConfig(path=str(tmp_path / "nowhere" / "log.db"))
    with pytest.raises(ConfigError, match="nowhere"):
        SqliteLog(config, LoopConfig())


def test_locked_file_may_be_tried_again(path: Path, opened: Callable[..., SqliteLog]) -> None:
    """A file that another process has locked is no configuration error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryError, match="locked"):
            opened(commit_s=0.2)
    opened()


def test_position_of_another_log_stops(opened: Callable[..., SqliteLog]) -> None:
    """A position past the end means that the file was replaced: no silent wait for it to grow."""
    log = opened()
    feed(log, 3)
    with closing(active(log)) as member:
        member.seek({EVENTS: 4})
        with pytest.raises(StopError, match="ends at 3"):
            member.poll(0.0, 10)


def test_transactions_burn_an_offset_and_writers_do_not(
    opened: Callable[..., SqliteLog],
) -> None:
    """A commit leaves one offset empty in each partition that it wrote to; a writer leaves none."""
    log = opened(partitions=2)
    feed(log, 3)
    with closing(active(log)) as member:
        for number in (1, 2):
            member.send([Out(OUT, b"x", partition=0) for _ in range(number)])
            member.commit({EVENTS: number})
    assert offsets(log, "events") == [0, 1, 2]
    assert offsets(log, OUT) == [0, 2, 3]
    assert (log.bounds(OUT, 0).end, log.bounds(OUT, 1).end) == (5, 0)


def run_sql(path: Path, statement: str) -> None:
    """Run a statement on the file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
