"""All dashboards, as Grafana reads them."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source import labels, model, operations, overview

__all__ = ["DASHBOARDS", "FOLDER", "written"]

FOLDER = Path(__file__).resolve().parents[1] / "dashboards"
"""Where the JSON is kept."""

DASHBOARDS = {
    "overview": overview.build,
    "labels": labels.build,
    "model": model.build,
    "operations": operations.build,
}
"""What builds each, by name of its file."""


def written(name: str) -> str:
    """Write a dashboard as JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(DASHBOARDS[name]()) + "\n"
