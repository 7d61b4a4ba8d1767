"""What stands in the dashboards' JSON and in the rules: panels and their expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

__all__ = [
    "DASHBOARDS",
    "RULES",
    "THEIRS",
    "Expression",
    "Panel",
    "Rule",
    "filled",
    "groups",
    "marks",
    "panels",
    "rules",
]

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARDS = [
    _DEPLOY / "grafana" / "dashboards" / f"{name}.json"
    for name in ("overview", "labels", "model", "operations")
]
RULES = [
    path
    for path in sorted((_DEPLOY / "prometheus").glob("*.yaml"))
    if "groups" in yaml.safe_load(path.read_text())
]

THEIRS = {
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}
"""What Prometheus and its client bring."""


class Expression(msgspec.Struct, frozen=True):
    """One query of a panel; `instant` asks at the end of the time range only."""

    text: str
    legend: str
    instant: bool


class Panel(msgspec.Struct, frozen=True):
    """A panel as Grafana reads it, and the row that it stands under."""

    dashboard: str
    row: str
    given: dict[str, Any]

    @property
    def name(self) -> str:
        """Dashboard and title, which together are unique."""
        return f"{self.dashboard}: {self.given['title']}"

    @property
    def kind(self) -> str:
        """The kind of panel."""
        return str(self.given["type"])

    @property
    def defaults(self) -> dict[str, Any]:
        """What holds for all of its series."""
        found: dict[str, Any] = self.given["fieldConfig"]["defaults"]
        return found

    @property
    def expressions(self) -> list[Expression]:
        """Its queries."""
        return [
            Expression(target["expr"], target.get("legendFormat", ""), target["instant"])
            for target in self.given["targets"]
        ]


class Rule(msgspec.Struct, frozen=True):
    """A recording rule, or an alert."""

    name: str
    text: str
    alert: bool

    @property
    def selectors(self) -> set[str]:
        """What it selects: metrics and recorded series, with their matchers."""
        text = re.sub(r"\b(by|on|ignoring|group_left|group_right) *\([^)]*\)", "", self.text)
        return set(re.findall(r"\b(?:stream_al_|process_|\w+:\w+:|up\b)[\w:]*(?:{[^}]*})?", text))


def panels() -> Iterator[Panel]:
    """List all panels of all dashboards, rows left out."""
    for path in DASHBOARDS:
        row = ""
        for given in msgspec.json.decode(path.read_bytes())["panels"]:
            if given["type"] == "row":
                row = given["title"]
            else:
                yield Panel(path.stem, row, given)


def marks() -> dict[str, str]:
    """Give the expressions of all annotations, by dashboard and name."""
    return {
        f"{path.stem}: {each['name']}": each["expr"]
        for path in DASHBOARDS
        for each in msgspec.json.decode(path.read_bytes())["annotations"]["list"]
    }


def groups(path: Path) -> list[dict[str, Any]]:
    """Return the groups of a file of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["groups"]
    return found


def rules() -> list[Rule]:
    """List all rules of all groups of all files."""
    found = []
    for path in RULES:
        for group in groups(path):
            for rule in group["rules"]:
                alert = "alert" in rule
                found.append(Rule(rule["alert" if alert else "record"], str(rule["expr"]), alert))
    return found


def filled(text: str, *, job: str, step_s: int, scrape_s: int, range_s: int) -> str:
    """Put in for variables what Grafana would."""
    values = {
        "job": job,
        "instance": ".*",
        "__interval": f"{step_s}s",
        "__interval_ms": f"{1000 * step_s}",
        "__rate_interval": f"{max(4 * scrape_s, step_s + scrape_s)}s",
        "__range": f"{range_s}s",
    }
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], text)
