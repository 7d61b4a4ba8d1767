"""Finding what is wrong with a log, and saying what to do."""

from __future__ import annotations

from consumers.doctor.facts import Finding, Level
from stream_al.config import Config

__all__ = ["Finding", "Level", "examine"]


def examine(config: Config, fix: bool = False) -> list[Finding]:
    """Look at everything that a live run needs of the configured log.

    Parameters
    ----------
    config
        Validated.
    fix
        Create what is missing, and add partitions where these are chosen by number.

    Returns
    -------
    list of Finding
        What was mended too; nothing is raised for what is wrong.
    """
    if config.log.driver == "sqlite":
        from consumers.doctor import embedded

        return embedded.examine(config, fix)
    from consumers.doctor import brokers

    return brokers.examine(config, fix)
