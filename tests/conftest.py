"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wanting import missing

if TYPE_CHECKING:
    from chromium import Chromium
    from kafka_world import Driver, World

    from consumers.testing.broker import Broker


@pytest.fixture(scope="session")
def kafka_brokers(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[str]:
    """Give host:port of a real Kafka: the one named by STREAM_AL_KAFKA, else one started here."""
    if named := os.environ.get("STREAM_AL_KAFKA"):
        yield named
        return
    # Imported late: most tests need no client of Kafka's.
    from consumers.testing.broker import BrokerError, shared

    base = tmp_path_factory.getbasetemp()
    # Workers of one parallel run have folders of their own beside one another.
    run: Path = base.parent if hasattr(pytestconfig, "workerinput") else base
    sharing = shared(run / "kafka")
    try:
        brokers = sharing.__enter__()
    except BrokerError as error:
        missing(f"no Kafka to test with: {error}")
    try:
        yield brokers
    finally:
        sharing.__exit__(None, None, None)


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> Driver:
    """Tell the Kafka driver that a module of tests is about."""
    chosen: Driver = request.module.DRIVER
    return chosen


@pytest.fixture
def world(kafka_brokers: str, driver: Driver) -> Iterator[World]:
    """One partition of events and of outputs."""
    from kafka_world import World

    world = World(kafka_brokers, driver)
    yield world
    world.close()


@pytest.fixture
def wide(kafka_brokers: str, driver: Driver) -> Iterator[World]:
    """Four partitions."""
    from kafka_world import World

    world = World(kafka_brokers, driver, partitions=4)
    yield world
    world.close()


@pytest.fixture(scope="module")
def own_broker(kafka_brokers: str) -> Iterator[Broker]:  # noqa: ARG001 - skips where there is none
    """Give a broker that a test may hurt."""
    from consumers.testing.broker import Broker

    with Broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """Give a real browser."""
    # Imported late: most tests need none.
    from chromium import Chromium, ChromiumError

    try:
        browser = Chromium()
    except ChromiumError as error:
        missing(f"no Chromium to test with: {error}")
    with browser:
        yield browser
