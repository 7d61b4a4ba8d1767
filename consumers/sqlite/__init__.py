"""The embedded log: one SQLite file, several processes on one host, no server.

Exactly once: what a transaction holds is written by one SQLite transaction, which checks first
that the member is still the one.
"""

from __future__ import annotations

from consumers.sqlite.log import SqliteLog

__all__ = ["SqliteLog"]
