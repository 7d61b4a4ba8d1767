"""The configured log, for commands that look at it or write a little."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from pathlib import Path

from consumers import logs
from consumers.drivers import open_log
from consumers.log import Log
from stream_al.config import Config
from stream_al.errors import ConfigError

__all__ = ["opened", "present", "user_name"]


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Log]:
    """Open the configured log for a block.

    Raises
    ------
    ConfigError, RetryError, StopError
        As `open_log`.
    """
    if config.log.driver != "sqlite":
        # Clients say much on the way, of which little matters.
        logs.configure("warning")
    log = open_log(config)
    try:
        yield log
    finally:
        log.close()


def present(config: Config) -> Config:
    """See that there is a log: the embedded one is made where there is none, which surprises.

    Raises
    ------
    ConfigError
        If the embedded log has no file yet, or an empty one.
    """
    path = Path(config.log.path)
    if config.log.driver == "sqlite" and config.log.path != ":memory:":
        made = "`stream-al run` or `feed` makes it"
        if not path.exists():
            raise ConfigError(f"no file {config.log.path!r} yet; {made}", "log.path")
        if path.is_file() and not path.stat().st_size:
            raise ConfigError(f"the file {config.log.path!r} is empty; {made}", "log.path")
    return config


def user_name() -> str:
    """Return the name of the system's user; empty where there is none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
