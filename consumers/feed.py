"""Playing a recorded stream into a topic: its features only, never its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

import msgspec

from consumers.clock import Clock
from consumers.errors import RetryError, TooLargeError
from consumers.log import Out, Writer
from consumers.messages.cloudevents import produced_headers
from stream_al.counted import counted
from stream_al.errors import ConfigError, InputError
from stream_al.replay.sources import Row

__all__ = ["Feed", "Pace", "Schedule", "message"]

_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_NAP_S = 0.1
_FLUSH_S = 1.0
_BEHIND_S = 1.0

_encode = msgspec.json.Encoder().encode


class Pace(msgspec.Struct, frozen=True):
    """How fast events go out; neither: as fast as it goes.

    Attributes
    ----------
    rate
        Events a second.
    speed
        With the stream's own timing, so many times as fast.
    """

    rate: float | None = None
    speed: float | None = None


class Schedule:
    """Says how long to wait before each event.

    What took longer than planned is caught up with for a second's worth of events at most, so
    that no burst follows a long pause.

    Examples
    --------
    >>> schedule = Schedule(Pace(rate=2))
    >>> [schedule.wait_s(None, now) for now in (100.0, 100.1, 109.0, 109.0)]
    [0.0, 0.4, 0.0, 0.5]
    >>> schedule = Schedule(Pace(speed=10))
    >>> [schedule.wait_s(time, 100.0) for time in (5.0, 7.5, 6.0)]
    [0.0, 0.25, 0.1]
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._begin: float | None = None
        self._first = 0.0
        self._count = 0

    def wait_s(self, time: float | None, now: float) -> float:
        """Return the seconds until the next event is due, at least 0.

        Parameters
        ----------
        time
            The event's, epoch seconds.
        now
            Monotonic seconds.

        Raises
        ------
        ConfigError
            If the stream's own timing is asked for and the event has none.
        """
        pace = self._pace
        if pace.speed is not None:
            if time is None:
                raise ConfigError("an event has no time; name its column with --time", "--speed")
            if self._begin is None:
                self._first = time
            after = (time - self._first) / pace.speed
        elif pace.rate is not None:
            after = self._count / pace.rate
        else:
            return 0.0
        self._count += 1
        if self._begin is None:
            self._begin = now
        wait = round(self._begin + after - now, 9)
        if wait < -_BEHIND_S:
            self._begin -= wait
        return max(0.0, wait)


def message(row: Row, number: int, topic: str, partitions: int, source: str) -> Out:
    """Make an event's message: features as JSON, the rest as CloudEvents headers.

    Parameters
    ----------
    row
        What was recorded.
    number
        The row's, from 0: its id where the stream names none, and its turn where it has no key.
    topic, partitions
        Where it goes.
    source
        Names the stream.

    Raises
    ------
    InputError
        If the event's time cannot be written as RFC 3339.

    Examples
    --------
    >>> from stream_al.records import Event
    >>> row = Row(Event(offset=0, features={"amount": 3.5}, time=0.0), "fraud", 1)
    >>> out = message(row, 5, "events", 2, "a.csv")
    >>> out.value, out.key, out.partition
    (b'{"amount":3.5}', None, 1)
    """
    event = row.event
    try:
        headers = produced_headers(
            "event", event.id or str(number), event.time, (), f"feed/{quote(source)}"
        )
    except (ValueError, OverflowError) as error:
        what = f"time {event.time!r} is in none of the years 1 to 9999; expected epoch seconds"
        raise InputError(what, source, row.line) from error
    partition = number % partitions if event.key is None else None
    return Out(topic, _encode(event.features), event.key, headers, partition)


class Feed:
    """Plays rows into a topic until they end or it is told to stop.

    Parameters
    ----------
    writer
        Left open at the end.
    topic, partitions
        Where the events go, and how many partitions are there.
    source
        Names the stream in headers and errors.
    pace
        How fast.
    clock
        The time.
    stopped
        Asked all the time: whether to end.
    notify
        Told in one line why nothing goes on for the moment.

    Attributes
    ----------
    sent
        Events written in this run.
    next
        The number of the first row that is not known to be stored: where to go on from.
    """

    def __init__(
        self,
        writer: Writer,
        topic: str,
        partitions: int,
        source: str,
        pace: Pace,
        clock: Clock,
        stopped: Callable[[], bool] = lambda: False,
        notify: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._writer = writer
        self._topic = topic
        self._partitions = partitions
        self._source = source
        self._schedule = Schedule(pace)
        self._clock = clock
        self._stopped = stopped
        self._notify = notify
        self.sent = 0
        self.next = 0

    def run(
        self,
        rows: Iterable[Row],
        skip: int = 0,
        advance: Callable[[int], object] | None = None,
    ) -> None:
        """Play rows, the first `skip` of them left out; at the end all are stored.

        Parameters
        ----------
        advance
            Told about once a second how many more rows are done with.

        Raises
        ------
        ConfigError
            If there are fewer rows than are to be left out, or an event lacks the time that the
            pace needs.
        InputError
            If an event is larger than the log takes, or as `message`.
        StopError
        """
        self.next = skip
        seen = told = 0
        looked = self._clock.monotonic()
        try:
            for number, row in enumerate(rows):
                if number >= skip and not self._play(row, number):
                    break
                seen = number + 1
                if (now := self._clock.monotonic()) - looked >= _FLUSH_S:
                    looked = now
                    self._store(skip)
                    if advance is not None:
                        advance(seen - told)
                        told = seen
        except (ConfigError, InputError):
            # What was fed before is as good as ever, and a later run goes on after it.
            self._store(skip)
            raise
        if seen < skip and not self._stopped():
            raise ConfigError(
                f"{self._source} has {counted(seen, 'event')}, not {skip:,} to leave out", "--skip"
            )
        self._store(skip)
        if advance is not None:
            advance(seen - told)

    def _play(self, row: Row, number: int) -> bool:
        """Send a row when it is due; False where it was told to stop before."""
        if not self._pause(self._schedule.wait_s(row.event.time, self._clock.monotonic())):
            return False
        out = message(row, number, self._topic, self._partitions, self._source)
        try:
            done = self._persist(lambda: self._writer.send(out))
        except TooLargeError as error:
            raise InputError(str(error), self._source, row.line) from error
        self.sent += done
        return done

    def _store(self, skip: int) -> None:
        if self._persist(self._writer.flush):
            self.next = skip + self.sent

    def _persist(self, action: Callable[[], None]) -> bool:
        """Try until it succeeds; False where it was told to stop before it did."""
        failures = 0
        while True:
            try:
                action()
            except RetryError as error:
                wait = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                self._notify(f"{error}; trying again in {wait:g} s")
                failures += 1
                if not self._pause(wait):
                    return False
            else:
                return True

    def _pause(self, seconds: float) -> bool:
        """Let time pass; False as soon as it is told to stop."""
        until = self._clock.monotonic() + seconds
        while not self._stopped():
            left = until - self._clock.monotonic()
            if left <= 0:
                return True
            self._clock.sleep(min(left, _NAP_S))
        return False
