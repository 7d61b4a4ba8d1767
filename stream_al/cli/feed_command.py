"""``stream-al feed``."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from types import FrameType

import click
import msgspec

from consumers.clock import Clock
from consumers.errors import LogError, StopError
from consumers.feed import Feed, Pace
from stream_al.cli.live_log import opened
from stream_al.cli.options import section_options
from stream_al.cli.progress import progress_bar
from stream_al.cli.settings import Settings
from stream_al.counted import counted
from stream_al.errors import ConfigError, StreamAlError
from stream_al.replay.sources import Row, open_source

__all__ = ["feed"]

_INTERRUPTED = 130
_READING = tuple(
    f"source.{name}" for name in ("label", "time", "id", "key", "ignore", "categorical", "on_error")
)
"""All that a source is told but partitions, which are those of the topic."""


class _Fed(msgspec.Struct, frozen=True):
    """What was fed: `next` is what `--skip` takes to go on."""

    source: str
    topic: str
    events: int
    next: int
    seconds: float
    complete: bool
    skipped: dict[str, int]


def _speed(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{text!r} is no speed; expected 1x, 10x, 0.5x", ctx, param)
    return speed


class _Stop:
    """Ends the feed between two events; a second signal ends it anywhere.

    Attributes
    ----------
    reading
        Whether a row is waited for, which may take for ever and may be given up at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reading = False

    def __call__(self) -> bool:
        return self.requested

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        for each in before:
            signal.signal(each, self._take)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.reading or self.requested:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Read rows until they end or a signal comes."""
        source = iter(rows)
        while not self.requested:
            try:
                self.reading = True
                row = next(source)
                self.reading = False
            except (StopIteration, KeyboardInterrupt):
                return
            finally:
                self.reading = False
            yield row


@click.command(short_help="Play a recorded stream into a topic.")
@click.argument("source")
@click.option("--topic", help="Where the events go.  [default: log.events]")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Events a second; default: as fast as it goes.",
)
@click.option(
    "--speed",
    callback=_speed,
    metavar="10x",
    help="The stream's own timing, so many times as fast; it needs event time.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Leave out the first N events: go on where another run ended.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@section_options(*_READING, "learner.classes", "replay.limit", "log")
@click.pass_context
def feed(
    ctx: click.Context,
    settings: Settings,
    source: str,
    topic: str | None,
    rate: float | None,
    speed: float | None,
    skip: int,
    as_json: bool,
) -> None:
    """Play a recorded stream into the events' topic: features only, never labels.

    SOURCE is as for `replay`. Each message is a JSON object with the features, its key that of
    the event; id and time are CloudEvents headers. The first SIGINT ends between two events and
    says how to go on.
    """
    if rate is not None and speed is not None:
        raise ConfigError("expected one of --rate and --speed", "--speed")
    config = settings.config
    stream = open_source(source, config.source, config.learner.classes, config.replay.limit)
    topic = topic or config.log.events
    stop = _Stop()
    began = time.monotonic()
    with opened(config) as log, stop.listening():
        known = log.topics()
        if topic not in known:
            raise StopError(f"no topic {topic!r}: `stream-al doctor --fix` creates the events'")
        writer = log.writer()
        run = Feed(
            writer,
            topic,
            known[topic].partitions,
            stream.name,
            Pace(rate, speed),
            Clock(),
            stop,
            _note,
        )
        try:
            with progress_bar(stream.count(), source) as advance:
                run.run(stop.rows(stream.rows()), skip, advance)
            writer.close()
        except (StreamAlError, KeyboardInterrupt) as error:
            if isinstance(error, StreamAlError):
                with contextlib.suppress(LogError):
                    writer.close()
            if run.next > skip:
                _note(
                    f"stored for sure: {counted(run.next, 'event')}; go on with --skip {run.next}"
                )
            raise
    fed = _Fed(
        source=stream.name,
        topic=topic,
        events=run.sent,
        next=run.next,
        seconds=round(time.monotonic() - began, 3),
        complete=not stop.requested,
        skipped=stream.skip_reasons,
    )
    _tell(fed, as_json)
    if stop.requested:
        ctx.exit(_INTERRUPTED)


def _tell(fed: _Fed, as_json: bool) -> None:
    for reason, count in fed.skipped.items():
        _note(f"skipped {counted(count, 'row')}: {reason}")
    a_second = f", {fed.events / fed.seconds:,.0f} a second" if fed.seconds else ""
    _note(
        f"fed {counted(fed.events, 'event')} into {fed.topic!r} in {fed.seconds:,.1f} s{a_second}"
    )
    if not fed.complete:
        _note(f"interrupted; go on with --skip {fed.next}")
    if as_json:
        sys.stdout.write(msgspec.json.encode(fed).decode() + "\n")


def _note(line: str) -> None:
    click.echo(line, err=True)
