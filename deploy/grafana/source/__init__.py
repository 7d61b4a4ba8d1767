"""The dashboards as code; ``python -m deploy.grafana.source`` writes their JSON."""

from __future__ import annotations

from deploy.grafana.source.written import DASHBOARDS, FOLDER, written

__all__ = ["DASHBOARDS", "FOLDER", "written"]
