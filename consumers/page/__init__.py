"""The live page: what an operator sees of one process, without anything beside it."""

from __future__ import annotations

from consumers.page.history import History
from consumers.page.live_page import LivePage

__all__ = ["History", "LivePage"]
