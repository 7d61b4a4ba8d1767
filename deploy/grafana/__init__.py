"""Grafana: dashboards, the source that they are written from, and provisioning."""
