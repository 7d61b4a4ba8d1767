"""The command line, and the composition root: the only place that imports everything."""

from __future__ import annotations

from stream_al.cli.app import main

__all__ = ["main"]
