"""Where real processes run: an embedded log's file, or a broker behind a proxy."""

from __future__ import annotations

import contextlib
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import msgspec

from consumers.drivers import open_log
from consumers.log import Log
from consumers.testing.broker import Broker
from consumers.testing.proxy import Proxy
from consumers.topics import specs
from stream_al.cli.settings import load
from stream_al.config import Config

__all__ = ["KafkaSite", "Site", "SqliteSite"]

Settings = dict[str, dict[str, Any]]

_WRITE_S = 5.0


class Site(ABC):
    """A log for one run, and what can be done to it.

    Parameters
    ----------
    folder
        For what processes leave behind.
    settings
        What they run with.
    file
        The configuration file that these are laid over; None: the defaults.

    Attributes
    ----------
    config
        What all processes run with, but for their instance.
    """

    config: Config

    def __init__(self, folder: Path, settings: Settings, file: Path | None = None) -> None:
        self.folder = folder
        self.file = file
        self._settings = settings

    @abstractmethod
    def __enter__(self) -> Self:
        """Have it ready, topics included."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""

    @abstractmethod
    def open(self) -> Log:
        """Open the log for the test itself, past whatever is done to the others."""

    def can_be_written(self) -> bool:
        """Whether nobody keeps all others from writing."""
        return True

    def environment(self, instance: str | None) -> dict[str, str]:
        """Configure a process by its environment."""
        found = {} if instance is None else {"STREAM_AL__LOG__INSTANCE": instance}
        for section, keys in self._settings.items():
            for key, value in keys.items():
                text = ",".join(value) if isinstance(value, list) else value
                if not isinstance(text, str):
                    text = msgspec.json.encode(text).decode()
                found[f"STREAM_AL__{section}__{key}".upper()] = text
        return found

    def _configure(self, **log: Any) -> None:
        self._settings["log"] = self._settings.get("log", {}) | log
        self.config = self._as("checker")

    def _as(self, instance: str | None) -> Config:
        return load(self.file, self.environment(instance), {}).config


class SqliteSite(Site):
    """One file, shared by all processes."""

    def __enter__(self) -> Self:
        """Make the file."""
        self.path = self.folder / "log.db"
        self._configure(driver="sqlite", path=str(self.path))
        self.open().close()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the file to whoever made the folder."""

    def can_be_written(self) -> bool:
        """Try to; a commit takes less than this waits."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=_WRITE_S)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True

    def open(self) -> Log:
        """Open it as somebody whose seat is given up at once."""
        return open_log(self._as(None))


class KafkaSite(Site):
    """A broker of its own; the processes reach it through a proxy, the test does not."""

    def __init__(
        self, folder: Path, settings: Settings, driver: str, file: Path | None = None
    ) -> None:
        super().__init__(folder, settings, file)
        self._driver = driver

    def __enter__(self) -> Self:
        """Start proxy and broker, and create the topics."""
        self.proxy = Proxy()
        # Clients go on with the address that the broker tells them.
        self.broker = Broker(advertised=self.proxy.address)
        try:
            self.broker.start()
            self.proxy.connect_to(self.broker.address)
            self._configure(driver=self._driver, brokers=self.proxy.address)
            log = self.open()
            log.create(specs(self.config.log))
            log.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        self.broker.close()
        self.proxy.cut()

    def open(self) -> Log:
        """Open it at the broker itself, with the driver that joins no group before it polls."""
        log = msgspec.structs.replace(self.config.log, driver="kafka", brokers=self.broker.internal)
        return open_log(msgspec.structs.replace(self.config, log=log))
