"""``stream-al metrics``."""

from __future__ import annotations

import click

from stream_al.cli.metrics_text import reference

__all__ = ["metrics"]


@click.command(short_help="Print the reference of all metrics.")
def metrics() -> None:
    """Print the reference of all metrics that a live run exports, in Markdown."""
    click.echo(reference(), nl=False)
