"""One process on an embedded log, and what it serves."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import parser

from consumers.annotator import Truths
from consumers.log import Out
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.topics import Topics
from stream_al.config import Config

__all__ = ["Figures", "World"]

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_PATIENCE_S = 60.0


class World:
    """A process that runs, its log, and requests to it."""

    def __init__(
        self,
        config: Config,
        roles: Sequence[str] = ("gate", "ledger"),
        truths: Truths | None = None,
    ) -> None:
        self.log = SqliteLog(config.log, config.loop)
        self.topics = Topics.of(config.log)
        self.process = Process(config, roles, truths, self.log)
        self.process.start()
        self.url = f"http://{self.process.address}/"

    def close(self) -> None:
        """End the process."""
        self.process.close()
        self.log.close()

    def send(self, outs: Iterable[Out]) -> None:
        """Write records, in one transaction."""
        writer = self.log.writer()
        for out in outs:
            writer.send(out)
        writer.close()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to hold while the process runs."""
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            assert not self.process.wait(0.02), "the process has ended"
            assert time.monotonic() < end, "never came true"

    def get(self, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Ask for a path."""
        connection = http.client.HTTPConnection(str(self.process.address), timeout=5.0)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def told(self, **headers: str) -> dict[str, Any]:
        """Return what the page asks for."""
        found: dict[str, Any] = json.loads(self.get("/page.json", **headers)[1])
        return found

    def figures(self) -> Figures:
        """Scrape the metrics of stream_al, but for the ages that go on by themselves."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parser.text_string_to_metric_families(self.get("/metrics")[1].decode())
            for sample in family.samples
            if sample.name.startswith("stream_al_")
            and "age_seconds" not in sample.name
            and not sample.name.startswith("stream_al_log_")
        }
