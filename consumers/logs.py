"""What the processes say: one line an event, on standard error.

An event has a short name that does not change (``restored``) and keys with values. Lines are JSON,
or text where standard error is a terminal. What libraries log takes the same way.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO, TypeAlias

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from stream_al.errors import ConfigError

__all__ = ["configure", "redact"]

Form: TypeAlias = Literal["auto", "json", "text"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_WORD_ENDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+")

_SECRET = re.compile(
    r"(?:^|_)(password|passwd|passphrase|secret|token|authorization|credentials?|bearer|cookie"
    r"|(api|private|secret)_?key)(?!_(file|env|path|location)$)(_|$)"
)
"""Names of values that nobody is to read; where one is kept is no secret."""

_HIDDEN = "***"


def configure(level: str = "info", form: Form = "auto", stream: TextIO | None = None) -> None:
    """Set up logging for this process; the last call counts.

    Parameters
    ----------
    level
        The least that is written: ``debug``, ``info``, ``warning`` or ``error``. Of kafka-python
        only what it calls a warning or an error, each kind once in half a minute, as a warning.
    form
        ``json``, ``text``, or ``auto``: text on a terminal.
    stream
        Where to; None: standard error.

    Raises
    ------
    ConfigError
        If there is no such level.
    """
    if level not in _LEVELS:
        raise ConfigError(f"must be one of {', '.join(_LEVELS)}, not {level!r}", "log level")
    least, stream = _LEVELS[level], stream or sys.stderr
    terminal = stream.isatty()
    text = terminal if form == "auto" else form == "text"
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper("%H:%M:%S" if text else "iso", utc=not text, key="time"),
    ]
    end: list[Processor]
    if text:
        # Others show the values of variables, and a password may be among them.
        tracebacks = structlog.dev.plain_traceback
        colors = terminal and not os.environ.get("NO_COLOR")
        end = [
            structlog.dev.ConsoleRenderer(
                colors=colors, exception_formatter=tracebacks, timestamp_key="time"
            )
        ]
    else:
        end = [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *end],
        )
    )
    handler.addFilter(_Tamed())
    logging.basicConfig(level=least, handlers=[handler], force=True)
    kafka = logging.WARNING if least <= logging.WARNING else logging.CRITICAL
    logging.getLogger("kafka").setLevel(kafka)
    # It complains of each callback that took .1 s, which on a busy machine is many a second.
    logging.getLogger("kafka.net.selector").setLevel(max(kafka, logging.ERROR))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    """Hide the values of keys that sound like secrets, however deep they stand.

    Examples
    --------
    >>> redact(None, "info", {"event": "connecting", "sasl": {"user": "eve", "password": "x"}})
    {'event': 'connecting', 'sasl': {'user': 'eve', 'password': '***'}}
    >>> redact(None, "info", {"event": "told", "password_file": "pw.txt", "budget_tokens": 3.5})
    {'event': 'told', 'password_file': 'pw.txt', 'budget_tokens': 3.5}
    """
    return {key: _HIDDEN if _secret(key) else _redacted(value) for key, value in event.items()}


def _redacted(value: Any) -> Any:  # noqa: ANN401 - whatever somebody logs
    if isinstance(value, dict):
        return {k: _HIDDEN if _secret(k) else _redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which JSON has no number for
    return value


def _secret(key: object) -> bool:
    return isinstance(key, str) and bool(_SECRET.search(_WORD_ENDS.sub("_", key).lower()))


def _in_order(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return first | dict(event)


class _Tamed(logging.Filter):
    """Lets each kind of message of kafka-python through once in a while, and as a warning.

    It logs every failed attempt to connect four times, as errors; the loop goes on after them, and
    says itself what it does not survive.
    """

    _every_s = 30.0
    _kinds = 256

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kafka."):
            return True
        now, kind = self._clock(), (record.name, str(record.msg))
        if now - self._last.get(kind, -math.inf) < self._every_s:
            return False
        if len(self._last) >= self._kinds:
            # Some messages are no templates; what is forgotten is said once more.
            self._last.clear()
        self._last[kind] = now
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
