"""Dead letters: everything that was there, why it could not be used, and never too large."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.log import Headers, Out, Record
from consumers.messages.dead_letters import ROOM, dead_letter, describe
from consumers.sizes import size_of
from consumers.topics import specs
from stream_al.config import LogConfig

CONFIG = LogConfig(name="fraud", events="payments", max_record_bytes=1000)
OWN = ("topic", "partition", "offset", "stage", "class", "message")


def _record(value: bytes | None = b"{", key: bytes | None = b"k", headers: Headers = ()) -> Record:
    return Record("payments", 3, 17, key, value, headers, 1.5)


def _stored(out: Out) -> Record:
    return Record(out.topic, 0, 5, out.key, out.value, out.headers, 2.0)


def test_a_dead_letter_keeps_everything_and_says_why() -> None:
    """Value, key and headers are the record's, byte for byte; the reasons follow as headers."""
    headers = (("traceparent", b"00"), ("x", None), ("x", b"\xff"))
    out = dead_letter(_record(b"\x00\xff", None, headers), CONFIG, "message", "not-json", "no JSON")
    assert out == Out(
        "fraud.dlq.payments",
        b"\x00\xff",
        None,
        (
            *headers,
            ("__dlq.errors.topic", b"payments"),
            ("__dlq.errors.partition", b"3"),
            ("__dlq.errors.offset", b"17"),
            ("__dlq.errors.stage", b"message"),
            ("__dlq.errors.class", b"not-json"),
            ("__dlq.errors.message", b"no JSON"),
        ),
    )


def test_nothing_and_empty_stay_what_they_are() -> None:
    """A value or key that is not there is not made an empty one, nor the other way round."""
    for value in (None, b""):
        out = dead_letter(_record(value, value), CONFIG, "message", "empty", "nothing")
        assert (out.value, out.key) == (value, value)


def test_the_message_is_one_line_of_bounded_length() -> None:
    """Whatever an error says, the header is one printable line."""
    out = dead_letter(_record(), CONFIG, "decide", "model", "a\nb\x1b" + "\udcff" * 9000)
    message = (dict(out.headers)["__dlq.errors.message"] or b"").decode()
    assert message.startswith("a\\nb\\x1b\\udcff")
    assert message.isprintable()
    assert len(message) == 500


def test_a_record_of_the_limit_is_kept_whole_and_its_topic_takes_it() -> None:
    """The largest record that is allowed in a log, with its reasons, fits into its dead letter."""
    record = _record(b"v" * 500, b"k" * 100, (("h" * 100, b"x" * 300),))
    assert size_of(Out("payments", record.value, record.key, record.headers)) == 1000
    out = dead_letter(record, CONFIG, "message", "not-json", "é" * 5000)
    assert (out.value, out.key, out.headers[:1]) == (record.value, record.key, record.headers)
    limits = {spec.name: int(spec.settings["max.message.bytes"]) for spec in specs(CONFIG)}
    assert size_of(out) <= CONFIG.max_record_bytes + ROOM < limits[out.topic]


def test_a_dead_letter_is_cut_only_where_it_must_be() -> None:
    """A letter of exactly the limit is whole; with one byte more in its record it is cut."""
    reasons = size_of(dead_letter(_record(b"", b""), CONFIG, "message", "too-large", "much"))
    value = b"v" * (CONFIG.max_record_bytes + ROOM - reasons)
    for more, kept in ((b"", len(value)), (b"v", ROOM)):
        out = dead_letter(_record(value + more, b""), CONFIG, "message", "too-large", "much")
        assert len(out.value or b"") == kept


def test_a_value_that_is_too_large_is_cut_and_hashed() -> None:
    """Of a larger record the first 64 KiB stay, with size and hash of all of its value."""
    value = bytes(range(256)) * 1000
    out = dead_letter(_record(value, b"k", (("h", b"x"),)), CONFIG, "message", "too-large", "much")
    letter = describe(_stored(out))
    assert letter is not None
    assert (letter.value, letter.key, letter.headers) == (value[:ROOM], b"k", (("h", b"x"),))
    assert (letter.truncated, letter.dropped, letter.size) == (True, (), len(value))
    assert letter.sha256 == hashlib.sha256(value).hexdigest()


def test_large_headers_and_keys_are_left_out_and_said_to_be() -> None:
    """What does not fit beside the value's begin is dropped by name, the rest stays."""
    large = b"x" * (ROOM + 2000)
    letter = describe(
        _stored(dead_letter(_record(b"{", b"k", (("h", large),)), CONFIG, "", "", ""))
    )
    assert letter is not None
    assert (letter.value, letter.key, letter.headers) == (b"{", b"k", ())
    assert (letter.dropped, letter.truncated) == (("headers",), True)
    letter = describe(
        _stored(dead_letter(_record(None, large, (("h", b"x"),)), CONFIG, "", "", ""))
    )
    assert letter is not None
    assert (letter.value, letter.key, letter.headers) == (None, None, (("h", b"x"),))
    assert (letter.dropped, letter.size) == (("key",), 0)


_SIZES = st.sampled_from([0, 1, 7, 300, 1000, ROOM - 1, ROOM, ROOM + 1, ROOM + 5000, 3 * ROOM])


@settings(max_examples=300)
@given(
    sizes=st.tuples(_SIZES, _SIZES, _SIZES, _SIZES),
    absent=st.sets(st.sampled_from(["key", "value"])),
    limit=st.sampled_from([8, 1000, ROOM, 2 * ROOM]),
    topic=st.text("a.é日", min_size=1, max_size=249),
    told=st.text(max_size=2000),
    around=st.integers(-400, 400),
)
def test_a_dead_letter_is_always_within_its_limit_and_reads_back(
    sizes: tuple[int, int, int, int],
    absent: set[str],
    limit: int,
    topic: str,
    told: str,
    around: int,
) -> None:
    """Whatever is large, the letter fits, is whole unless it had to be cut, and is described."""
    value, key, name, content = sizes
    headers = (("é" * (name // 2), b"x" * content), ("y", None))
    record = Record(
        topic,
        3,
        17,
        None if "key" in absent else b"k" * key,
        None if "value" in absent else b"v" * max(0, value + around),
        headers,
        1.5,
    )
    config = LogConfig(max_record_bytes=limit)
    out = dead_letter(record, config, "message", "too-large", told)
    assert size_of(out) <= limit + ROOM
    letter = describe(_stored(out))
    assert letter is not None
    assert (letter.topic, letter.partition, letter.offset) == (topic, 3, 17)
    assert (letter.stage, letter.kind) == ("message", "too-large")
    if letter.truncated:
        whole = record.value or b""
        assert (letter.size, letter.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
        assert whole.startswith(letter.value or b"")
        assert len(letter.value or b"") >= min(len(whole), ROOM - 4096)
        assert letter.key == (None if "key" in letter.dropped else record.key)
        assert letter.headers == (() if "headers" in letter.dropped else headers)
        assert size_of(Out("", record.value, record.key, headers)) > limit
    else:
        assert (letter.key, letter.value, letter.headers) == (record.key, record.value, headers)


def test_a_dead_letter_that_was_sent_again_and_died_again_has_both_reasons() -> None:
    """The reasons of the first death stay among the headers; those of the second are described."""
    first = dead_letter(_record(), CONFIG, "message", "not-json", "first")
    sent = Record("payments", 1, 99, first.key, first.value, first.headers, 3.0)
    letter = describe(_stored(dead_letter(sent, CONFIG, "decide", "model", "second")))
    assert letter is not None
    assert (letter.partition, letter.offset, letter.message) == (1, 99, "second")
    assert letter.headers == first.headers


def test_what_is_no_dead_letter_is_not_described() -> None:
    """Foreign records, and those whose reasons are damaged, are none."""
    assert describe(_record(headers=(("x", b"y"),))) is None
    out = dead_letter(_record(), CONFIG, "message", "not-json", "told")
    for name in OWN:
        left = tuple(each for each in out.headers if each[0] != f"__dlq.errors.{name}")
        assert describe(_stored(Out(out.topic, out.value, out.key, left))) is None
    for name, value in (("partition", b"x"), ("message", b"\xff"), ("offset", None)):
        worse = dict(out.headers) | {f"__dlq.errors.{name}": value}
        assert describe(_stored(Out(out.topic, out.value, out.key, tuple(worse.items())))) is None
