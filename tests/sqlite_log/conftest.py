"""Logs on a file of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.sqlite import SqliteLog
from stream_al.config import LogConfig, LoopConfig


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "log.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteLog]]:
    """Open logs on that file, closed with the test."""
    logs: list[SqliteLog] = []

    def open_log(session_s: float = 10.0, commit_s: float = 10.0, **log: Any) -> SqliteLog:
        loop = LoopConfig(session_timeout_s=session_s, commit_timeout_s=commit_s)
        logs.append(SqliteLog(LogConfig(**{"path": str(path), **log}), loop))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()
