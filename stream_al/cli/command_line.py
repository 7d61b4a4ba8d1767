"""The command line as it was typed, for what is kept of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

__all__ = ["command_line", "remember"]

_KEY = "stream_al.command_line"


def remember(ctx: click.Context, name: str, arguments: Sequence[str]) -> None:
    """Keep what was typed, for every command under the context."""
    ctx.meta[_KEY] = shlex.join([name, *arguments])


def command_line() -> str:
    """Return what was typed; of a command that was called otherwise, its path."""
    ctx = click.get_current_context()
    typed: str = ctx.meta.get(_KEY, ctx.command_path)
    return typed
