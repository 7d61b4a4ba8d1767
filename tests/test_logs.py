"""What the processes say: the form of lines, levels, libraries, and that no secret is said."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from consumers.logs import _Tamed, configure, redact
from stream_al.errors import ConfigError


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was found."""
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    handlers, level, of_kafka = root.handlers[:], root.level, kafka.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    kafka.setLevel(of_kafka)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the events of a stream of JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_json_lines_where_there_is_no_terminal() -> None:
    """One object a line: time, level and name first, then the keys; not a number is text."""
    stream = io.StringIO()
    configure(stream=stream)
    structlog.get_logger().info("restored", role="gate", offsets=[1, 2], age=float("nan"))
    (event,) = lines(stream)
    assert list(event)[:3] == ["time", "level", "event"]
    time = str(event.pop("time"))
    assert time.endswith("Z")
    assert event == {
        "level": "info",
        "event": "restored",
        "role": "gate",
        "offsets": [1, 2],
        "age": "nan",
    }


def test_a_terminal_gets_text_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets text, coloured unless NO_COLOR is set; what is asked for holds anywhere."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    told = {}
    for name, stream, form in (
        ("coloured", Terminal(), "auto"),
        ("json", Terminal(), "json"),
        ("text", io.StringIO(), "text"),
    ):
        configure(form=form, stream=stream)  # type: ignore[arg-type]
        structlog.get_logger().info("restored", role="gate")
        told[name] = stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    configure(stream=stream)
    structlog.get_logger().info("restored", role="gate")
    assert "\x1b[" in told["coloured"]
    assert json.loads(told["json"])["event"] == "restored"
    for text in (told["text"], stream.getvalue()):
        assert "\x1b[" not in text
        assert "restored" in text
        assert "role=gate" in text


def test_levels_hold_for_all_loggers() -> None:
    """Below the level nothing is written, whoever logs; an unknown level is refused."""
    stream = io.StringIO()
    configure("warning", stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("consumers.librdkafka").info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("consumers.librdkafka").warning("loud, %s", "too")
    assert [event["event"] for event in lines(stream)] == ["loud", "loud, too"]
    assert lines(stream)[1]["logger"] == "consumers.librdkafka"
    with pytest.raises(ConfigError, match="log level: must be one of debug, info, warning, error"):
        configure("verbose")


def test_kafka_python_is_tamed() -> None:
    """Its chatter is dropped, its errors are warnings, and each kind comes once in a while."""
    stream, log = io.StringIO(), logging.getLogger("kafka.net.manager")
    configure("debug", stream=stream)
    log.info("Closing")
    for attempt in range(3):
        log.error("Connection failed: %s", attempt)
    log.warning("Bootstrap failed")
    told = [(event["level"], event["event"]) for event in lines(stream)]
    assert told == [("warning", "Connection failed: 0"), ("warning", "Bootstrap failed")]
    configure("error", stream=stream)
    log.error("Heartbeat failed")
    assert len(lines(stream)) == 2


def test_what_is_repeated_later_is_said_again() -> None:
    """Half a minute later a message comes through again, and memory stays bounded."""
    now = [0.0]
    tamed = _Tamed(lambda: now[0])

    def comes(message: str, name: str = "kafka.net") -> bool:
        record = logging.LogRecord(name, logging.ERROR, "", 0, message, (), None)
        return tamed.filter(record)

    assert [comes("a"), comes("a"), comes("b")] == [True, False, True]
    now[0] = 29.0
    assert not comes("a")
    now[0] = 30.0
    assert comes("a")
    assert [comes("a", "kafkaesque"), comes("a", "kafkaesque")] == [True, True]
    for number in range(5000):
        comes(f"no template {number}")
    assert len(tamed._last) <= _Tamed._kinds


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "sasl.password",
        "sasl_plain_password",
        "ssl_key_password",
        "token",
        "access-token",
        "client_secret",
        "secret",
        "Authorization",
        "api_key",
        "private-key",
        "apiKey",
        "accessToken",
        "credentials",
        "token_value",
    ],
)
@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_redacted(key: str, form: str) -> None:
    """What is named like a secret is hidden, at any depth and in either form."""
    stream = io.StringIO()
    configure(form=form, stream=stream)  # type: ignore[arg-type]
    nested = {"of": [{key: "hunter2"}, ({key: {"deeper": "hunter2"}},)]}
    structlog.get_logger().info("connecting", **{key: "hunter2"}, nested=nested)
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


@pytest.mark.parametrize(
    "key", ["password_file", "password_env", "token_file", "budget_tokens", "tokens", "key", "path"]
)
def test_what_is_no_secret_is_said(key: str) -> None:
    """Where a secret is kept, tokens of a budget and keys of records can be read."""
    assert redact(None, "info", {"event": "x", key: "value"}) == {"event": "x", key: "value"}


@pytest.mark.parametrize("form", ["json", "text"])
def test_tracebacks_show_no_variables(form: str) -> None:
    """A traceback says where, and not what the variables held."""
    stream = io.StringIO()
    configure(form=form, stream=stream)  # type: ignore[arg-type]
    held = "".join(["hun", "ter2"])
    try:
        raise ValueError("told")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("other").exception("failed")
    assert stream.getvalue().count("ValueError: told") == 2
    assert "Traceback" in stream.getvalue()
    assert held not in stream.getvalue()


def test_the_last_call_counts() -> None:
    """Configured twice, an event is written once, where the last call says."""
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    configure(stream=second)
    structlog.get_logger().info("restored")
    logging.getLogger("other").info("restored")
    assert first.getvalue() == ""
    assert len(lines(second)) == 2


def test_standard_output_stays_clean() -> None:
    """In a process all goes to standard error, as JSON where that is a pipe."""
    program = (
        "import structlog; from consumers.logs import configure; configure(); "
        "structlog.get_logger().info('restored', role='gate')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "restored"
