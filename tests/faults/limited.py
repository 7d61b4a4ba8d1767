"""``python -m tests.faults.limited ROLE FILE``: runs a role whose log's file may not grow.

The number in FILE is how many pages SQLite may have; without a number, as many as it likes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from consumers.logs import configure
from consumers.processes import Process, Signals
from consumers.sqlite import SqliteLog
from stream_al.cli.settings import load


def main(role: str, file: Path) -> None:
    """Run until told to stop."""
    configure("info", "json")
    config = load(None, os.environ, {}).config
    log = SqliteLog(config.log, config.loop)
    process = Process(config, [role], log=log)
    signals = Signals()
    process.start()
    while not signals.asked and not process.wait(0.1):
        text = file.read_text().strip() if file.exists() else ""
        log.limit_pages(int(text) if text else None)
    process.close()
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
