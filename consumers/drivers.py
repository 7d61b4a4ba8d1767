"""Opening the log that is configured."""

from __future__ import annotations

from consumers.log import Log
from stream_al.config import Config

__all__ = ["open_log"]


def open_log(config: Config) -> Log:
    """Open the configured log; drivers are imported when they are used.

    Raises
    ------
    ConfigError
        If the driver's library is not installed, a secret's file or variable is missing, or the
        embedded log's file is none.
    RetryError
        If the log cannot be reached.
    """
    if config.log.driver == "sqlite":
        from consumers.sqlite import SqliteLog

        return SqliteLog(config.log, config.loop)
    if config.log.driver == "kafka":
        from consumers.kafka import KafkaLog

        return KafkaLog(config.log, config.security, config.loop)
    from consumers.librdkafka import LibrdkafkaLog

    return LibrdkafkaLog(config.log, config.security, config.loop)
