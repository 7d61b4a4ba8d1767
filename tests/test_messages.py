"""Messages: what of a user's JSON becomes an event or a label, and what is refused for what."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumers.log import Headers, Record
from consumers.messages import KINDS, BadMessage, LabelReader, MessageReader, UnsolicitedLabel
from consumers.messages.features import spells_number
from stream_al.config import MessageConfig
from stream_al.records import Event, Features, Label, check_features, encode

DEFAULT = MessageReader(MessageConfig())


def _record(value: object, key: bytes | None = None, headers: Headers = ()) -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record("payments", 3, 17, key, raw, headers, 1.5)


def _read(value: object, **config: Any) -> Event:
    return MessageReader(MessageConfig(**config)).read(_record(value, b"own"))


def _outcome(reader: MessageReader | LabelReader, record: Record) -> object:
    """Read a record, or return its refusal; any other error fails the test."""
    try:
        return reader.read(record)
    except BadMessage as bad:
        return bad


def _refusal(value: object, **config: Any) -> tuple[str, str]:
    with pytest.raises(BadMessage) as caught:
        _read(value, **config)
    return caught.value.kind, caught.value.what


def _label(value: object, **config: Any) -> Label | UnsolicitedLabel:
    return LabelReader(MessageConfig(**config)).read(_record(value, b"k"))


def test_a_message_is_read_as_it_is() -> None:
    """Without configuration each value is a feature, and place, key and time are the record's."""
    features: Features = {"amount": 12.5, "age": 17, "country": "FR", "online": True, "nul": "\x00"}
    event = DEFAULT.read(_record(features, b"k"))
    assert event == Event(
        topic="payments", partition=3, offset=17, key=b"k", time=1.5, features=features
    )
    assert [type(value) for value in event.features.values()] == [float, int, str, bool, str]


def test_fields_are_found_by_nested_paths() -> None:
    """Id, key and time come from their paths, as text, bytes and epoch seconds."""
    value = {"meta": {"id": 7, "card": "c-1", "at": "1970-01-01T02:00:09.5+02:00"}, "amount": 1}
    event = _read(value, id="meta.id", key="meta.card", time="meta.at")
    assert (event.id, event.key, event.time) == ("7", b"c-1", 9.5)
    assert event.features == {"amount": 1}


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (0, 0.0),
        (-1.25, -1.25),
        (1714564800, 1714564800.0),
        (253402300799, 253402300799.0),
        ("2024-05-01T12:00:00Z", 1714564800.0),
        ("2024-05-01t12:00:00.5z", 1714564800.5),
        ("2024-05-01 12:00:00-01:30", 1714570200.0),
    ],
)
def test_times_are_epoch_seconds_or_rfc_3339(time: object, seconds: float) -> None:
    """Each way of writing a time gives the same epoch seconds."""
    assert _read({"t": time, "a": 1}, time="t").time == seconds


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (1714564800000, "'t': not in years 1 to 9999 (milliseconds?); expected epoch seconds"),
        ("2024-05-01T12:00:00", "'t': a time without its offset; expected epoch seconds"),
        ("0001-01-01T00:00:00+14:00", "'t': not in years 1 to 9999; expected epoch seconds"),
        ("1714564800", "'t': no time; expected epoch seconds, or RFC 3339"),
        (10**400, "'t': not in years"),
        (True, "'t': a boolean; expected epoch seconds"),
    ],
)
def test_what_is_no_time_is_refused(time: object, told: str) -> None:
    """A time that would be a guess, or cannot be written again, is refused by its path."""
    kind, what = _refusal({"t": time, "a": 1}, time="t")
    assert kind == "bad-time"
    assert what.startswith(told)


def test_the_features_may_stand_in_an_object_of_their_own() -> None:
    """With a path for features, names are relative to it, and nothing outside is a feature."""
    value = {"body": {"id": "a", "x": {"y": 1.5}, "z": 2}, "noise": [1], "n": None}
    event = _read(value, features="body", id="body.id", exclude=("z",))
    assert (event.id, event.features) == ("a", {"x.y": 1.5})


def test_objects_become_names_with_dots_and_collisions_are_refused() -> None:
    """Nested objects flatten; two values under one name are refused, in either order."""
    assert _read({"a": {"b": {"c": 1}, "d": 2}, "e.f": 3}).features == {
        "a.b.c": 1,
        "a.d": 2,
        "e.f": 3,
    }
    told = ("duplicate-name", "'a.b': stands twice, as a name and as a path")
    assert _refusal({"a": {"b": 1}, "a.b": 2}) == told
    assert _refusal({"a.b": 2, "a": {"b": 1}}) == told
    assert _refusal({"x": {"a": {"b": 1}, "a.b": 2}}, features="x") == told
    assert _refusal({"a.b": "1", "a": {"b": "2"}, "c": 1}, id="a.b") == told


def test_include_exclude_and_categorical_name_paths_and_what_is_under_them() -> None:
    """Stars match any run of characters, and a path stands for all that is under it."""
    value = {
        "card": {"pan": [1], "mcc": 5411, "days": 3},
        "tags": [{"a": None}],
        "amount": 1.5,
        "rate": {"p50": 1e16, "p99": 2},
    }
    assert _read(value, exclude=("card", "tags")).features == {
        "amount": 1.5,
        "rate.p50": 1e16,
        "rate.p99": 2,
    }
    assert _read(value, include=("rate", "*mount")).features == {
        "amount": 1.5,
        "rate.p50": 1e16,
        "rate.p99": 2,
    }
    read = _read(value, exclude=("c*.pan", "tags"), categorical=("*.mcc", "rate.p*"))
    assert read.features == {
        "card.mcc": "5411",
        "card.days": 3,
        "amount": 1.5,
        "rate.p50": "1e+16",
        "rate.p99": "2",
    }
    assert _read({"a": True, "b": "x", "c": 10**30}, categorical=("*",)).features == {
        "a": True,
        "b": "x",
        "c": str(10**30),
    }


@given(
    pattern=st.text("ab.*", max_size=6),
    name=st.text("ab.\n", min_size=1, max_size=8),
    seen=st.booleans(),
)
@example(pattern="b", name="a\n", seen=True)
def test_patterns_match_as_a_plain_regular_expression_does(
    pattern: str, name: str, seen: bool
) -> None:
    """Whether a name is excluded is what the star as a regular expression says of it."""
    plain = re.escape(pattern).replace(r"\*", ".*") + r"(\..*)?"
    excluded = re.fullmatch(plain, name, re.DOTALL) is not None
    reader = MessageReader(MessageConfig(exclude=(pattern, "sure")))
    for _ in range(1 + seen):
        features = {name: 1, "other": 2}
        read = _outcome(reader, _record(features))
        if isinstance(read, Event):
            assert (name in read.features) is not excluded
        else:
            assert isinstance(read, BadMessage)
            assert (read.kind, excluded) == ("no-features", True)


def test_no_name_makes_a_pattern_take_long() -> None:
    """Many stars against a long name of their letters are decided at once."""
    value = {"a" * 500: 1, "a" * 400 + "b": 2}
    assert _read(value, exclude=("*a*a*a*a*a*a*a*a*b",)).features == {"a" * 500: 1}


def test_more_names_than_are_remembered_are_all_judged() -> None:
    """Names that never recur are judged like others, however many there are."""
    reader = MessageReader(MessageConfig(exclude=("x*",)))
    for begin in range(0, 20_000, 500):
        names = range(begin, begin + 500)
        value = {f"{'xy'[at % 2]}{at}": at for at in names}
        assert reader.read(_record(value)).features == {f"y{at}": at for at in names if at % 2}


def test_missing_features_are_refused_unless_allowed() -> None:
    """Null, and what `include` names and is not there, is refused or left out as configured."""
    null = ("missing-field", "'a': null; expected a number, text or a boolean")
    assert _refusal({"a": None, "b": 1}) == null
    assert _read({"a": None, "b": 1}, missing="allow").features == {"b": 1}
    gone = ("missing-field", "'c.d': missing; expected a feature")
    assert _refusal({"b": 1, "c": {}}, include=("b", "c.d")) == gone
    assert _refusal({"b": 1, "cd": 2}, include=("b", "c"))[0] == "missing-field"
    assert _refusal({"cd": 1}, include=("c", "cd"))[0] == "missing-field"
    assert _read({"b": 1, "c": {"d": 2}}, include=("c.d",)).features == {"c.d": 2}
    assert _read({"b": 1, "c": {}}, include=("b", "c.d"), missing="allow").features == {"b": 1}
    assert _read({"b": 1, "c": {"d": 2}}, include=("c", "x*")).features == {"c.d": 2}
    assert _read({"b": 1, "z": None}, include=("b", "z"), exclude=("z",)).features == {"b": 1}


def test_text_that_spells_a_number_is_what_the_configuration_says() -> None:
    """It is refused, a number or a category; words and codes are categories anyway."""
    words = {"a": "nan", "b": "inf", "c": "1_000", "d": "0x1F", "e": "1e", "f": "", "g": "1,5"}
    assert _read(words).features == words
    spelled = {"a": " 12.5 ", "b": "-3E4", "c": "007"}
    told = "'a': a number spelled as text; expected a number"
    assert _refusal(spelled) == ("numeric-text", told)
    assert _read(spelled, numeric_text="category").features == spelled
    as_numbers = _read(spelled | {"d": "x"}, numeric_text="number", categorical=("c",)).features
    assert as_numbers == {"a": 12.5, "b": -3e4, "c": "007", "d": "x"}
    assert _refusal({"a": "1e999"}, numeric_text="number")[0] == "not-finite"


@given(st.one_of(st.text("0123456789.eE+-_ \t٣nai", max_size=8), st.text(), st.floats().map(str)))
def test_spelling_a_number_is_what_float_reads_but_for_words(text: str) -> None:
    """Text spells a number exactly if Python reads it as one without underscores or words."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    words = "_" in text or "n" in text.lower()
    assert spells_number(text) == (not math.isnan(number) and not words)


def test_integers_beyond_64_bits_are_refused() -> None:
    """The largest and smallest integers of 64 bits are features, their neighbours are not."""
    for value in (2**63 - 1, -(2**63)):
        assert _read({"a": value}).features == {"a": value}
    for value in (2**63, -(2**63) - 1):
        assert _refusal({"a": value}) == ("out-of-range", "'a': expected at most 64 bits")


def test_infinite_numbers_are_named() -> None:
    """A number beyond every float is refused with the path where it stands."""
    told = "'a.b.1.c': beyond 1.8e308; expected a finite number"
    assert _refusal(b'{"a": {"b": [1, {"c": -1e999}]}}') == ("not-finite", told)


def test_nesting_has_a_fixed_depth() -> None:
    """64 levels are read, 65 are refused, in objects and lists, used or not."""
    shapes: tuple[tuple[int, bytes, bytes], ...] = (
        (63, b'{"a":', b"}"),
        (63, b"[", b"]"),
        (62, b"[{}, ", b"]"),
    )
    for depth, begin, end in shapes:
        nested = b'{"b": 1, "x": ' + begin * depth + b"%s" + end * depth + b"}"
        assert _read(nested % b"1", exclude=("x",)).features == {"b": 1}
        assert _refusal(nested % (begin + b"[]" + end), exclude=("x",))[0] == "too-deep"


def test_names_cannot_multiply_what_a_message_takes() -> None:
    """Long names over many nested values are refused before they outgrow the limit of a record."""
    value: dict[str, Any] = {f"n{at}": at for at in range(3000)}
    for _ in range(4):
        value = {"k" * 100: value}
    assert len(json.dumps(value)) < 131_072
    assert _refusal(value)[0] == "too-large"
    assert _read({"k" * 512: 1}).features == {"k" * 512: 1}
    assert _refusal({"k" * 513: 1})[0] == "too-large"


def test_the_largest_message_is_read_and_a_byte_more_is_refused() -> None:
    """The limit holds for the value, and for key and headers together."""
    raw = b'{"a": 1}'
    assert _read(raw, max_bytes=8).features == {"a": 1}
    assert _refusal(raw, max_bytes=7) == ("too-large", "8 bytes; expected at most 7")
    reader = MessageReader(MessageConfig(max_bytes=8))
    assert reader.read(_record(raw, b"k", (("abc", b"1234"), ("", None)))).key == b"k"
    with pytest.raises(BadMessage, match="key and headers take 9 bytes; expected at most 8"):
        reader.read(_record(raw, b"kk", (("abc", b"1234"),)))


def test_a_refusal_is_one_short_line_without_values() -> None:
    """What is told names paths, cut and escaped, and never shows what stood there."""
    card = "4111 1111 1111 1111"
    for value in ({"a\n\x1b[31m": [card]}, {"b" * 400: [card]}, {"c\u202e": None}):
        _, what = _refusal(value)
        assert what.isprintable()
        assert len(what) <= 200
        assert card not in what
    assert len(BadMessage("not-json", "\x00" * 5000).what) == 200
    assert str(BadMessage("not-json", "a\tb")) == "a\\tb"


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab.:", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
_CONFIGS = st.builds(
    MessageConfig,
    id=st.sampled_from([None, "a", "a.b"]),
    time=st.sampled_from([None, "b"]),
    key=st.sampled_from([None, "a:"]),
    features=st.sampled_from(["", "", "a"]),
    include=st.sampled_from([(), ("a*",), ("b", "a")]),
    exclude=st.sampled_from([(), ("*b*",)]),
    categorical=st.sampled_from([(), ("*",)]),
    missing=st.sampled_from(["refuse", "allow"]),
    numeric_text=st.sampled_from(["refuse", "number", "category"]),
    label=st.sampled_from([None, "b", "label"]),
)


def _only_bad(record: Record, config: MessageConfig) -> None:
    read = _outcome(MessageReader(config), record)
    if isinstance(read, Event):
        check_features(read.features)
        assert read.features
        assert read.time is not None
        assert math.isfinite(read.time)
        assert msgspec.json.decode(encode(read), type=Event) == read
    else:
        assert isinstance(read, BadMessage)
        assert read.kind in KINDS
    label = _outcome(LabelReader(config), record)
    assert isinstance(label, BadMessage) or encode(label)


@settings(max_examples=400)
@given(value=st.dictionaries(st.text("ab.:", max_size=3), _VALUES, max_size=5), config=_CONFIGS)
def test_any_object_is_read_or_refused(value: dict[str, Any], config: MessageConfig) -> None:
    """Whatever the object and the configuration, features are usable or the message is refused."""
    _only_bad(_record(json.dumps(value, ensure_ascii=False).encode(errors="ignore")), config)


@settings(max_examples=400)
@given(
    raw=st.one_of(
        st.binary(max_size=60),
        st.text('{}[]":,\\u0123456789eE.-+ab \n', max_size=40).map(str.encode),
    ),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_time", "ce_specversion", "content-type", "x"]),
            st.one_of(st.none(), st.binary(max_size=8), st.just(b"1.0")),
        ),
        max_size=3,
    ).map(tuple),
    begin=st.booleans(),
)
def test_any_bytes_are_read_or_refused(raw: bytes, headers: Headers, begin: bool) -> None:
    """Whatever the bytes and headers, nothing but a refusal is raised."""
    raw = b'{"a": ' + raw + b"}" if begin else raw
    _only_bad(_record(raw, b"\xff", headers), MessageConfig(label="a"))


def _texts(draw: st.DrawFn, members: list[tuple[str, Any]]) -> str:
    between = draw(st.sampled_from(["", " ", "\n", "\t"]))
    after = draw(st.sampled_from(["", " "]))
    parts = []
    for name, value in members:
        text = json.dumps(name)
        if draw(st.booleans()):
            text = text.replace(":", "\\u003A").replace("a", "\\u0061")
        written = json.dumps(value) if not isinstance(value, list) else _texts(draw, value)
        parts.append(f"{text}{between}:{after}{written}")
    return "{" + ",".join(parts) + "}"


@st.composite
def _objects(draw: st.DrawFn) -> tuple[str, bool]:
    """Draw an object as JSON text, and whether a name stands twice in it or within it."""
    leaves = st.one_of(st.integers(0, 9), st.sampled_from(["", ":", '":', "[", "a: b", "\\"]))
    names = st.text("a:[", min_size=1, max_size=2)
    inner = st.lists(st.tuples(names, leaves), min_size=1, max_size=3)
    fields = st.tuples(names, st.one_of(leaves, inner))
    members: list[tuple[str, Any]] = draw(st.lists(fields, min_size=1, max_size=4))
    twice = any(
        len({name for name, _ in each}) < len(each)
        for each in (members, *[value for _, value in members if isinstance(value, list)])
    )
    return _texts(draw, members), twice


@settings(max_examples=500)
@given(_objects())
def test_a_name_that_stands_twice_is_always_found(drawn: tuple[str, bool]) -> None:
    """However names, colons and blanks are written, an object is refused iff a name recurs."""
    text, twice = drawn
    read = _outcome(DEFAULT, _record(text.encode()))
    assert (isinstance(read, BadMessage) and read.kind == "duplicate-name") == twice


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n", "\r", " \t"])
def test_blanks_do_not_hide_a_name_that_stands_twice(blank: str) -> None:
    """A name is found twice with any blank before its colon, other colons notwithstanding."""
    raw = '{"a": 1, "a"_: 2, "b": {"c": 3}, "d": "\\":", "e": "x:y"}'.replace("_", blank)
    told = ("duplicate-name", "the message: 'a' stands twice in one object")
    assert _refusal(raw.encode()) == told
    assert _read(raw.replace('"a": 1, ', "").encode()).features["a"] == 2


def test_answers_are_read_with_their_times() -> None:
    """Its time is a number or text, or when it was written; unknown fields are ignored."""
    value = {"request_id": "payments:3:9", "label": 1, "time": "1970-01-01T00:00:07Z", "more": []}
    assert _label(value) == Label(request_id="payments:3:9", label=1, time=7.0)
    skip = {"request_id": "payments:3:9", "kind": "skip", "annotator": "a", "weight": 0.5}
    assert _label(skip, label="label") == Label(
        request_id="payments:3:9", kind="skip", annotator="a", weight=0.5, time=1.5
    )


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"weight": "2"}, "wrong-type", "Expected `float`, got `str` - at `$.weight`"),
        ({"weight": 0}, "out-of-range", "'weight': expected in (0, 100]"),
        ({"kind": "abstain"}, "schema-version", "'kind': expected one of label, skip"),
        ({"kind": 3}, "wrong-type", "Expected `str`, got `int` - at `$.kind`"),
        ({"label": ""}, "missing-field", "'label': empty; expected a class"),
        ({"label": None}, "missing-field", "'label': null or missing; expected a class"),
        ({"label": 2**63}, "out-of-range", "'label': expected at most 64 bits"),
        ({"label": 0.5}, "wrong-type", "Expected `bool | int | str | null`, got `float`"),
        ({"request_id": None}, "wrong-type", "Expected `str`, got `null` - at `$.request_id`"),
        ({"time": "noon"}, "bad-time", "'time': no time; expected epoch seconds"),
    ],
)
def test_what_is_no_answer_is_refused(change: dict[str, Any], kind: str, told: str) -> None:
    """A label with a wrong field is refused by the path of that field."""
    with pytest.raises(BadMessage) as caught:
        _label({"request_id": "payments:3:9", "label": "fraud", **change})
    assert caught.value.kind == kind
    assert caught.value.what.startswith(told)


def test_labels_that_nobody_asked_for_are_mapped_like_events() -> None:
    """Without a request id, and only if `label` is configured, a label is unsolicited."""
    config: dict[str, Any] = {
        "id": "tx",
        "time": "at",
        "label": "case.class",
        "include": ("amount", "age"),
    }
    value = {"tx": 7, "at": 9, "case": {"class": True}, "amount": 12.5, "age": 3, "note": []}
    assert _label(value, **config) == UnsolicitedLabel(
        id="7",
        label="true",
        source="",
        time=9.0,
        features={"amount": 12.5, "age": 3},
        topic="payments",
        partition=3,
        offset=17,
        key=b"k",
    )
    bare = _label({"tx": "a", "at": 9, "case": {"class": "fraud"}}, **config)
    assert isinstance(bare, UnsolicitedLabel)
    assert bare.features == {}
    with pytest.raises(BadMessage, match="'age': missing"):
        _label({"tx": "a", "at": 9, "case": {"class": "fraud"}, "amount": 1}, **config)
    with pytest.raises(BadMessage, match=r"'case.class': missing"):
        _label({"tx": "a", "at": 9}, **config)
    with pytest.raises(BadMessage, match="expected a class: text, an integer or a boolean"):
        _label({"tx": "a", "at": 9, "case": {"class": 0.5}}, **config)
    with pytest.raises(BadMessage, match="'request_id': missing"):
        _label(value)
