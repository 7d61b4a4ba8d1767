"""The doctor's look at an embedded log: its file, its topics, who works on it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from consumers.doctor.facts import Finding, Group, Topic, inputs
from consumers.doctor.groups import judge_groups, judge_lag
from consumers.doctor.topics import judge_settings, judge_topics, judge_training
from consumers.errors import LogError
from consumers.log import Log, Partition
from consumers.sqlite import SqliteLog
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.errors import ConfigError

__all__ = ["examine", "judge_disk", "judge_lease"]

_LEAST_BYTES, _FEW_BYTES = 256 * 1024**2, 2 * 1024**3
_LOCKED_S = 1.0


def examine(config: Config, fix: bool) -> list[Finding]:
    """Look at the configured file.

    Parameters
    ----------
    fix
        Make the file where there is none. Opening one makes the topics that it lacks.
    """
    path = Path(config.log.path)
    there = path.exists() and path.stat().st_size > 0
    if not there and not fix:
        what = "is empty" if path.exists() else "is not there yet"
        do = "`stream-al run` makes it, or `stream-al doctor --fix`"
        return [Finding("file", "error", f"{config.log.path!r} {what}", do)]
    try:
        log = SqliteLog(config.log, config.loop)
    except (ConfigError, LogError) as error:
        do = "see that the file is one of stream-al's own, and its folder may be written to"
        return [Finding("file", "error", str(error), do)]
    with closing(log):
        found = [] if there else [Finding("fixed", "ok", f"{config.log.path!r} is made")]
        try:
            return [*found, *_file(path), *_contents(config, log)]
        except LogError as error:
            return [*found, Finding("file", "error", str(error), "look again; see the disk")]


def _file(path: Path) -> list[Finding]:
    beside = path.with_name(f"{path.name}-wal")
    size = path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
    found = [judge_disk(shutil.disk_usage(path.resolve().parent).free, size)]
    with closing(sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            what = f"cannot be written to: {error}"
            do = "find the process that has stopped inside a commit (`fuser`), continue or end it"
            found.append(Finding("file", "error", what, do))
        else:
            found.append(Finding("file", "ok", f"{path} may be written to"))
    return found


def _contents(config: Config, log: Log) -> list[Finding]:
    names = Topics.of(config.log)
    topics = {name: Topic(info.partitions, info.settings) for name, info in log.topics().items()}
    bounds = {
        Partition(name, number): log.bounds(name, number)
        for name in {name for read in inputs(names).values() for name in read} | {names.training}
        for number in range(topics[name].partitions)
    }
    groups = _groups(config, topics)
    return [
        *judge_topics(config.log, topics, brokers=1),
        *judge_settings(config.log, topics, _advice),
        *judge_training(config.log, topics, bounds[Partition(names.training, 0)]),
        *judge_groups(config.log, groups, topics),
        *judge_lag(config.log, groups, bounds),
    ]


def _advice(topic: str, key: str, value: str) -> str:
    return f"topics of a file keep their settings ({topic}: {key}={value}): begin another log.path"


def judge_disk(free: int, size: int) -> Finding:
    """Judge the room on the file's disk.

    Examples
    --------
    >>> judge_disk(100 * 1024**3, 5 * 1024**2)
    Finding(check='disk', level='ok', what='102400 MiB free, the log takes 5 MiB', do='')
    """
    what = f"{free // 1024**2} MiB free, the log takes {size // 1024**2} MiB"
    do = "make room, or set log.retain_bytes; a full disk stops the loop and loses nothing"
    if free < _LEAST_BYTES:
        return Finding("disk", "error", what, do)
    if free < _FEW_BYTES:
        return Finding("disk", "warn", what, do)
    return Finding("disk", "ok", what)


def _groups(config: Config, topics: Mapping[str, Topic]) -> dict[str, Group]:
    """Read leases and offsets, which no reader of topics is shown."""
    found = {}
    # Of its own, and for reading only: looking must not take part.
    uri = f"{Path(config.log.path).resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_LOCKED_S)) as connection:
        for role, names in inputs(Topics.of(config.log)).items():
            group = f"{config.log.name}.{role}"
            lease = connection.execute(
                "SELECT instance, expires FROM leases WHERE member_group = ?", (group,)
            ).fetchone()
            rows = connection.execute(
                "SELECT topics.name, partitions.number, offsets.next FROM offsets"
                " JOIN partitions ON partitions.id = offsets.partition"
                " JOIN topics ON topics.id = partitions.topic WHERE member_group = ?",
                (group,),
            ).fetchall()
            owned = frozenset(
                Partition(name, number)
                for name in names
                for number in range(topics[name].partitions)
            )
            committed = {Partition(name, number): at for name, number, at in rows}
            found[role] = judge_lease(lease, time.time(), owned, committed)
    return found


def judge_lease(
    lease: tuple[str, float] | None,
    now: float,
    owned: frozenset[Partition],
    committed: Mapping[Partition, int],
) -> Group:
    """Tell what a lease says: whoever holds it owns all partitions.

    Parameters
    ----------
    lease
        Who holds it, and until when without a further sign of life; None: nobody ever has.

    Examples
    --------
    >>> judge_lease(("a", 100.0), 90.0, frozenset(), {}).state
    'active'
    >>> judge_lease(("a", 100.0), 160.0, frozenset(), {}).told
    "last by 'a', 60 s ago"
    """
    if lease is None:
        return Group("absent", committed=committed)
    instance, expires = lease
    if expires <= now:
        told = f"last by {instance!r}, {now - expires:.0f} s ago"
        return Group("empty", told, committed=committed)
    return Group("active", instance, 1, owned, committed)
