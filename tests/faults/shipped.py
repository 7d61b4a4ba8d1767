"""What is shipped in deploy/: how long it lets a process take to end, and how its files are run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DEPLOY", "OVERRIDES", "grace_periods"]

DEPLOY = Path(__file__).parents[2] / "deploy"

_SECONDS = re.compile(r"(\d+)s?")

OVERRIDES: dict[str, dict[str, Any]] = {
    # The stream's own classes, and messages as `feed` writes them.
    "learner": {"classes": ["0", "1"]},
    "message": {"id": None, "time": None, "exclude": [], "categorical": []},
    # Within a minute there have to be labels enough to check.
    "gate": {"budget": 0.2},
    "annotator": {"delay": "1s"},
    # A run is at rest once nothing can expire any more.
    "ledger": {"expire_after_s": 6.0, "early_wait_s": 2.0, "on_expiry": "missing"},
    # The test's broker asks for no credentials, and several processes share one machine.
    "security": {"protocol": "PLAINTEXT"},
    "serve": {"host": "127.0.0.1", "port": 0},
}
"""What a run lays over a shipped file; brokers, path and folder of snapshots are the site's."""


def grace_periods() -> dict[str, float]:
    """Tell how many seconds each manifest gives a gate or ledger to end, by where it says so."""
    found: dict[str, float] = {}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        if service.get("command", [""])[0] == "run":
            found[f"compose.yaml {name}"] = _seconds(service["stop_grace_period"])
    for file in sorted(DEPLOY.glob("kustomize/**/*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if isinstance(document, dict) and document.get("kind") == "StatefulSet":
                pod = document["spec"].get("template", {}).get("spec", {})
                if "terminationGracePeriodSeconds" in pod:
                    name = f"{file.name} {document['metadata']['name']}"
                    found[name] = float(pod["terminationGracePeriodSeconds"])
    for file in sorted(DEPLOY.glob("systemd/*.service")):
        for line in file.read_text().splitlines():
            if line.startswith("TimeoutStopSec="):
                found[file.name] = _seconds(line.partition("=")[2])
    return found


def _seconds(text: str) -> float:
    whole = _SECONDS.fullmatch(text)
    if whole is None:
        raise ValueError(f"{text!r} is no whole number of seconds")
    return float(whole[1])
