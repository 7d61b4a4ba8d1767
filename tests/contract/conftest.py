"""The fixtures that run each test of the contract on every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from contract.sites import FileSite, KafkaSite, MemorySite, SimulatedSite, Site
from stream_al.config import LogConfig

_Driver = Literal["kafka", "librdkafka"]
_DRIVERS: tuple[_Driver, ...] = ("kafka", "librdkafka")


def _site(kind: str, request: pytest.FixtureRequest) -> Site:
    if kind == "sqlite-file":
        folder: Path = request.getfixturevalue("tmp_path")
        return FileSite(folder)
    if kind == "sqlite-memory":
        return MemorySite()
    if kind == "simulated":
        return SimulatedSite()
    driver = next(driver for driver in _DRIVERS if driver == kind)
    brokers: str = request.getfixturevalue("kafka_brokers")
    return KafkaSite(LogConfig(driver=driver, brokers=brokers))


def _opened(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = _site(request.param, request)
    yield site
    site.close()


@pytest.fixture(params=["sqlite-file", "sqlite-memory", "simulated", *_DRIVERS])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Every implementation."""
    yield from _opened(request)


@pytest.fixture(params=["sqlite-file", "sqlite-memory", *_DRIVERS])
def real_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Those with a clock of the world's, which threads can use."""
    yield from _opened(request)


@pytest.fixture(params=["sqlite-file", *_DRIVERS])
def shared_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Those that several processes can use."""
    yield from _opened(request)
