"""``stream-al doctor``."""

from __future__ import annotations

import logging
import sys

import click
import msgspec

from consumers.doctor import Finding, examine
from consumers.messages.errors import one_line
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings

__all__ = ["doctor"]

_COLORS = {"ok": "green", "warn": "yellow", "error": "red"}
_WIDTH = 16
_LONGEST = 2000


@click.command(short_help="Find what is wrong with a log, and say what to do.")
@click.option(
    "--fix", is_flag=True, help="Create missing topics; add partitions where that moves no keys."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@section_options("log")
@click.pass_context
def doctor(ctx: click.Context, settings: Settings, fix: bool, as_json: bool) -> None:
    """Look at everything that a live run needs of its log, and say what to do.

    Nothing is changed without --fix, but that opening an embedded log adds topics that it lacks.
    Exit code 1 where something is in error.
    """
    # Whatever a client says on the way there is a finding in the end.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    log = settings.config.log
    where = log.path if log.driver == "sqlite" else log.brokers
    found = [
        Finding("configuration", "ok", f"driver {log.driver}, {where}, topics of {log.name!r}"),
        *examine(settings.config, fix),
    ]
    if as_json:
        sys.stdout.write(msgspec.json.encode({"findings": found}).decode() + "\n")
    else:
        for finding in found:
            click.echo(_text(finding))
    if any(finding.level == "error" for finding in found):
        ctx.exit(1)


def _text(finding: Finding) -> str:
    # Names of clients are anybody's words.
    what, do = one_line(finding.what, _LONGEST), one_line(finding.do, _LONGEST)
    level = click.style(f"{finding.level:5}", fg=_COLORS[finding.level])
    line = f"{level}  {finding.check:{_WIDTH}}  {what}"
    return f"{line}\n{' ' * (_WIDTH + 9)}-> {do}" if do else line
