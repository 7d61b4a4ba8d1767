"""``stream-al run``."""

from __future__ import annotations

import os
import sys

import click
import structlog

from consumers.annotator import Truths
from consumers.logs import configure
from consumers.processes import Process, Signals
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.errors import ConfigError
from stream_al.replay.sources import open_source

__all__ = ["run"]

_log = structlog.get_logger()

_LATE = 5
_LOOK_S = 0.2


@click.command(short_help="Run gate, ledger and annotator on a log.")
@click.argument("role", type=click.Choice(["gate", "ledger", "annotator", "all"]), default="all")
@click.option(
    "--answers-from",
    "source",
    metavar="SOURCE",
    help="The recorded stream that the simulated annotator answers from; `all` then runs one.",
)
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning, error.")
@section_options(
    "log", "message", "learner", "gate", "ledger", "loop", "serve", "source", "annotator"
)
def run(settings: Settings, role: str, source: str | None, log_level: str) -> None:
    """Run one ROLE, or all of them in one process, until SIGTERM or SIGINT.

    The gate decides about events, the ledger matches labels to requests, the annotator answers
    requests from a recorded stream. The first signal finishes the batch under way; the second
    ends at once.
    """
    configure(log_level)
    config = settings.config
    roles = ["gate", "ledger"] if role == "all" else [role]
    if role == "all" and source is not None:
        roles.append("annotator")
    truths = None
    if "annotator" in roles:
        if source is None:
            raise ConfigError("the annotator needs a recorded stream", "--answers-from")
        truths = Truths(open_source(source, config.source, config.learner.classes))
    process = Process(config, roles, truths)
    signals = Signals()
    process.start()
    while not signals.asked and not process.wait(_LOOK_S):
        continue
    _log.info("stopping")
    try:
        process.close()
    except TimeoutError as late:
        _log.error("not_stopped_in_time", why=str(late))
        sys.stderr.flush()
        # Threads that hang in a driver would keep the interpreter from ending.
        os._exit(_LATE)
    _log.info("stopped")
