"""``stream-al pause``, ``resume`` and ``boost``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import click

from consumers.log import Out
from consumers.topics import Topics
from stream_al.cli.live_log import opened, present, user_name
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.records import encode
from stream_al.replay.durations import parse_delay
from stream_al.training import Control

__all__ = ["boost", "pause", "resume"]

_DONE = {
    "pause": "paused: the policy asks nothing, exploration goes on",
    "boost": "boosted: the policy asks while it has tokens",
    "resume": "resumed: the policy asks as configured",
}


def _duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_delay(text).seconds
    except ConfigError:
        seconds = None
    if not seconds:
        expected = f"{text!r} is no duration; expected 30s, 15m, 36h, 2d"
        raise click.BadParameter(expected, ctx, param)
    return seconds


_FOR = click.option(
    "--for",
    "seconds",
    callback=_duration,
    metavar="1h",
    help="End by itself after so long; default: with the next of these commands.",
)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        section_options("log"),
        click.option("--by", default=user_name, help="Who; default: the user's name."),
        click.option("--why", default="", help="Why, for people."),
    ):
        command = option(command)
    return command


@click.command(short_help="Let the policy ask nothing; exploration goes on.")
@_FOR
@_common
def pause(settings: Settings, seconds: float | None, why: str, by: str, as_json: bool) -> None:
    """Let the policy of all gates ask nothing; exploration goes on, so the model stays judged."""
    _write(settings.config, "pause", seconds, why, by, as_json)


@click.command(short_help="Let the policy ask while the budget has tokens.")
@_FOR
@_common
def boost(settings: Settings, seconds: float | None, why: str, by: str, as_json: bool) -> None:
    """Let the policy of all gates ask while the budget has tokens, whatever the scores."""
    _write(settings.config, "boost", seconds, why, by, as_json)


@click.command(short_help="End a pause or a boost.")
@_common
def resume(settings: Settings, why: str, by: str, as_json: bool) -> None:
    """End a pause or a boost: the policy asks as configured."""
    _write(settings.config, "resume", None, why, by, as_json)


def _write(
    config: Config,
    action: Literal["pause", "resume", "boost"],
    seconds: float | None,
    why: str,
    by: str,
    as_json: bool,
) -> None:
    now = time.time()
    until = None if seconds is None else now + seconds
    control = Control(action=action, until=until, by=by, why=why, time=now)
    topic = Topics.of(config.log).training
    with opened(present(config)) as log:
        if not log.bounds(topic, 0).end:
            raise ConfigError("no gate has run yet, so there is nothing to control", topic)
        writer = log.writer()
        writer.send(Out(topic, encode(control), b"control", (), 0))
        writer.close()
    if as_json:
        sys.stdout.write(encode({"topic": topic, "control": control}).decode() + "\n")
        return
    end = ""
    if until is not None:
        end = f", until {datetime.fromtimestamp(until, UTC).isoformat(timespec='seconds')}"
    where = config.log.path if config.log.driver == "sqlite" else config.log.brokers
    click.echo(f"{_DONE[action]}{end}; written to {topic!r} at {where}")
