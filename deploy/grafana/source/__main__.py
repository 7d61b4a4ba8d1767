"""Write the dashboards' JSON to where provisioning reads it."""

from __future__ import annotations

from deploy.grafana.source.written import DASHBOARDS, FOLDER, written

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(written(name))
