"""Where dashboards and panels lead to."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

__all__ = ["RUNBOOK", "TAG", "dashboard_links", "runbook_link"]

RUNBOOK = "https://github.com/stream-al/stream-al/blob/main/docs/runbook.md"
"""What to do about what is seen; sections by anchor."""

TAG = "stream-al"
"""All dashboards have it, and so find one another."""


def dashboard_links() -> list[DashboardLink]:
    """Lead from each dashboard to the others, with what is chosen kept, and to the runbook."""
    others = DashboardLink("stream_al").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return [
        others.as_dropdown(False).include_vars(True).keep_time(True),
        _to(RUNBOOK, "Runbook").tooltip("What each alert means, what to look at, what to do"),
    ]


def runbook_link(section: str) -> DashboardLink:
    """Lead from a panel to a section of the runbook."""
    return _to(f"{RUNBOOK}#{section}", "What to do")


def _to(url: str, title: str) -> DashboardLink:
    return DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(True)
