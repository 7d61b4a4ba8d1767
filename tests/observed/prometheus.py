"""A real Prometheus of a test's own."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from faults.managed import Managed
from wanting import missing

__all__ = ["Prometheus", "Series", "fetched", "needed", "problems"]

_READY_S = 60.0


class Series(msgspec.Struct, frozen=True):
    """Labels, and values by time; NaN is left out."""

    labels: dict[str, str]
    values: list[tuple[float, float]]


def needed(program: str) -> str:
    """Find a program, or skip; what has to be there fails instead."""
    if (path := shutil.which(program)) is None:
        missing(f"no {program} to test with: apt-get install prometheus")
    return path


def fetched(address: str, path: str) -> tuple[int, bytes]:
    """Get a page; status 0 where nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=30.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def problems(metrics: bytes) -> str:
    """Say what `promtool check metrics` finds wrong; empty: nothing."""
    command = [needed("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=metrics, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode().strip()
    return said or ("" if done.returncode == 0 else f"promtool ended with {done.returncode}")


class Prometheus:
    """Scrapes given targets and evaluates given rules, until it is closed.

    Parameters
    ----------
    folder
        For its data and log.
    address
        host:port of its own.
    targets
        By job: host:port of each process.
    rules
        Files.
    scrape_s
        Time between two scrapes.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        targets: Mapping[str, Sequence[str]],
        rules: Sequence[Path],
        scrape_s: int,
    ) -> None:
        self.address = address
        config = folder / "prometheus.yaml"
        every = f"{scrape_s}s"
        told = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(places)}]}
                for job, places in targets.items()
            ],
        }
        # JSON is YAML as well.
        config.write_text(json.dumps(told))
        command = [
            needed("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
        self._process = Managed("prometheus", command, {}, folder)
        self._process.start()

    def close(self) -> None:
        """End it."""
        self._process.stop()

    def await_ready(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + _READY_S
        while fetched(self.address, "/-/ready")[0] != 200:
            assert self._process.running, self._process.last_words()
            assert time.monotonic() < end, self._process.last_words()
            time.sleep(0.1)

    def at_once(self, text: str, at: float) -> list[Series]:
        """Evaluate an expression at one time."""
        return self._ask("query", query=text, time=at)

    def over(self, text: str, start: float, end: float, step_s: int) -> list[Series]:
        """Evaluate an expression over a time range."""
        return self._ask("query_range", query=text, start=start, end=end, step=step_s)

    def figure(self, text: str) -> float | None:
        """Evaluate what gives one value, now; None: nothing."""
        found = self.at_once(text, time.time())
        return found[0].values[-1][1] if found else None

    def _ask(self, what: str, **parameters: Any) -> list[Series]:
        _, body = fetched(self.address, f"/api/v1/{what}?{urlencode(parameters)}")
        answer = json.loads(body)
        if answer["status"] != "success":
            raise ValueError(f"{answer['errorType']}: {answer['error']}")
        data = answer["data"]
        if data["resultType"] == "scalar":
            return _known([Series({}, [_point(data["result"])])])
        return _known(
            Series(each["metric"], [_point(p) for p in each.get("values", [each.get("value")])])
            for each in data["result"]
        )


def _point(given: tuple[float, str]) -> tuple[float, float]:
    return float(given[0]), float(given[1])


def _known(series: Any) -> list[Series]:
    found = []
    for each in series:
        values = [point for point in each.values if not math.isnan(point[1])]
        if values:
            found.append(Series(each.labels, values))
    return found
