"""Alerts and recording rules: promtool accepts them, and each can be acted upon."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from observed.prometheus import needed
from observed.shown import THEIRS, groups

from stream_al.cli.app import application
from stream_al.metrics import METRICS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
RULES = [FOLDER / name for name in ("targets.yaml", "rules.yaml", "alerts.yaml")]
UNIT_TESTS = sorted((FOLDER / "tests").glob("*.yaml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
URL = "https://github.com/stream-al/stream-al/blob/main/docs/runbook.md#"

ALL = [rule for path in RULES for group in groups(path) for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
RECORDS = {rule["record"] for rule in ALL if "record" in rule}
DECLARED = {metric.full_name: metric for metric in METRICS}


def sections() -> dict[str, str]:
    """Return the runbook's sections by heading."""
    parts = re.split(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def named(expression: str) -> set[str]:
    """Return the metrics and records that an expression names."""
    found = re.findall(r"\b(?:stream_al_\w+|process_\w+|up|\w+:[\w:]+)\b", expression)
    return {
        re.sub(r"_bucket$", "", name) if name.endswith("_seconds_bucket") else name
        for name in found
    }


def promtool(*arguments: str | Path) -> None:
    """Run promtool; what it says is shown where it fails."""
    command = [needed("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_rules_and_configuration() -> None:
    """Rules and scrape configuration are what Prometheus can load."""
    promtool("check", "rules", *RULES)
    promtool("check", "config", FOLDER / "prometheus.yaml")


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    """Each alert fires, resolves, and does not fire in the nearest case that is harmless."""
    promtool("test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_has_its_three_cases(alert: str) -> None:
    """There is a test that it fires and then resolves, and one where it never does."""
    resolves = silent = False
    for path in UNIT_TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            looks = [
                bool(look.get("exp_alerts"))
                for look in case["alert_rule_test"]
                if look["alertname"] == alert
            ]
            resolves |= True in looks and False in looks[looks.index(True) :]
            silent |= bool(looks) and True not in looks
    assert resolves
    assert silent


@pytest.mark.parametrize("alert", ALERTS)
def test_each_has_all_that_a_person_needs(alert: str) -> None:
    """It has a severity, says what and how much, and leads to its section of the runbook."""
    rule = ALERTS[alert]
    assert re.fullmatch(r"StreamAl([A-Z][a-z]+)+", alert)
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == URL + alert.lower()
    assert 10 < len(annotations["summary"]) < 110
    assert annotations["description"].endswith(".")
    if alert != "StreamAlJobAbsent":
        assert "$labels.job" in annotations["summary"]


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    """Headings are the alerts' names in their order, each with what to look at and to do."""
    found = sections()
    assert list(found) == ["First five minutes", *ALERTS]
    for alert, text in found.items():
        if alert in ALERTS:
            parts = ["**Look at:**", "**Do:**\n\n1. ", "**Harmless:**"]
            assert [text.count(part) for part in parts] == [1, 1, 1], alert
            assert text.split("**Look at:**")[0].strip(), alert
    mentioned = set(re.findall(r"\bStreamAl\w+", RUNBOOK))
    assert mentioned <= set(ALERTS)
    for name in re.findall(r"\b(?:\w+:)?stream_al(?:_\w+|:\w+:\w+)", RUNBOOK):
        assert name in DECLARED or name in RECORDS, name


def test_commands_of_the_runbook_exist() -> None:
    """Every command that it names is there, with its options."""
    commands = re.findall(r"`stream-al ([a-z][^`]*)`", RUNBOOK)
    assert len(commands) > 20
    for text in commands:
        words = shlex.split(text)
        names = [words[0], words[1]] if words[0] == "config" else [words[0]]
        usage = CliRunner().invoke(application, [*names, "--help"]).output
        assert usage.startswith("Usage:"), text
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", usage), text


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_only_what_is_there_is_asked_for(rule: dict[str, Any]) -> None:
    """Expressions name declared metrics and recorded rules, with labels that these have."""
    expression = rule["expr"]
    for name in named(expression):
        assert name in DECLARED or name in RECORDS or name in THEIRS, name
        if name in DECLARED:
            metric = DECLARED[name]
            for label, values in re.findall(rf'\b{name}\{{(\w+)!?=~?"([^"]*)"', expression):
                assert label in metric.labels
                known = ("gate", "ledger", "annotator") if label == "role" else metric.values[label]
                assert set(values.split("|")) <= set(known)
    if rule.get("alert") != "StreamAlJobAbsent":
        assert "job=" not in expression
        assert not re.search(r"\bby \((?!namespace, job\b)", expression)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_what_every_replica_knows_is_not_summed(rule: dict[str, Any]) -> None:
    """No sum is made of a gauge whose replicas all say the same, or of which only one counts."""
    for begin in re.finditer(r"\bsum by \([^)]*\) \(", rule["expr"]):
        depth, end = 1, begin.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(rule["expr"][end], 0)
            end += 1
        content = rule["expr"][begin.end() : end - 1].strip()
        if not re.match(r"(max|min|avg|count) by", content):
            for name in named(content) & set(DECLARED):
                assert DECLARED[name].kind != "gauge" or DECLARED[name].aggregate == "sum", name


def test_records_are_named_by_level_metric_and_operation() -> None:
    """Names follow Prometheus' convention, each target is used, and each stands in one place."""
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name) for name in RECORDS)
    assert len(RECORDS) + len(ALERTS) == len(ALL)
    targets = {rule["record"]: rule for group in groups(RULES[0]) for rule in group["rules"]}
    used = " ".join(rule["expr"] for rule in ALL)
    for name, rule in targets.items():
        assert re.fullmatch(r"vector\([0-9.e]+\)", rule["expr"])
        assert f"scalar({name})" in used
