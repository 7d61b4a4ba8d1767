"""Messages that cannot be used, of all sorts, and good ones to put between them.

All are drawn from a seed. It is the value that is malformed: the record is to be refused whatever
its place, key and time, and with any headers but those of CloudEvents.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TypeAlias

from consumers.testing.malformed_json import Message, Sort, encoded, json_sorts, placed, without
from stream_al.config import MessageConfig

__all__ = ["malformed", "malformed_labels", "well_formed"]

_Values: TypeAlias = tuple[object, ...]

_ABSENT = object()
_BAD_IDS: _Values = (_ABSENT, None, "", True, 1.5, -0.0, [], ["a"], {}, {"a": 1})
_BAD_TIMES: _Values = (
    *(_ABSENT, None, "", "noon", "2024-05-01", "2024-05-01T12:00:00", "2024-02-30T12:00:00Z"),
    *("1714564800", "2024-05-01T25:00:00Z", True, [], {}, 1714564800000, -1e12, 1e300, 10**30),
)
_BAD_SCOPES: _Values = (_ABSENT, None, "text", 7, [], [{"amount": 1.0}], {}, {"amount": []})
_BAD_VERSIONS: _Values = ("0.3", "1", "1.1", "2.0", " 1.0", "", 1.0, 1, None, True, ["1.0"])
_NUMBERS_AS_TEXT = ("1", "12.5", " 7 ", "-3e4", "+.5", "1.", "0007", "\t8\n", "٣")
_BEYOND_64_BITS = (1 << 63, -(1 << 63) - 1, 10**30, 10**400, -(10**4000))
_BAD_KINDS: _Values = (
    "",
    "Label",
    "answer",
    "abstain",
    "skip ",
    "label-2",
    None,
    1,
    True,
    ["label"],
    {},
)
_BAD_CLASSES: _Values = (_ABSENT, None, "", 1.5, -0.0, [], ["fraud"], {}, 1 << 63, -(10**30))
_BAD_WEIGHTS: _Values = (0, -1, -0.5, 100.5, 1e300, "2", None, True, [], {})
_BAD_REQUESTS: _Values = (_ABSENT, None, 7, 1.5, True, [], ["events:0:17"], {})


def well_formed(seed: int, n: int, config: MessageConfig | None = None) -> Iterator[bytes]:
    """Draw messages that can be used.

    Parameters
    ----------
    seed
        The same seed draws the same messages.
    n
        How many.
    config
        How messages are mapped; the default where None. `include`, if given, begins with a path
        without a star; no pattern fits that path by chance.

    Examples
    --------
    >>> next(well_formed(1, 1)) == next(well_formed(1, 1)) != next(well_formed(2, 1))
    True
    """
    rng = Random(seed)  # noqa: S311 - a test's draws
    config = config or MessageConfig()
    for _ in range(n):
        yield encoded(_message(rng, config))


def malformed(seed: int, n: int, config: MessageConfig | None = None) -> Iterator[bytes | None]:
    """Draw messages none of which can be used as an event.

    Not JSON, cut off, not UTF-8, too large, too deep, of wrong types and schema versions, with
    numbers out of range, names twice, fields missing, or nothing at all. Each sort comes again and
    again.

    Parameters
    ----------
    seed, n, config
        As of `well_formed`.

    Examples
    --------
    >>> list(malformed(7, 3)) == list(malformed(7, 3))
    True
    """
    config = config or MessageConfig()
    path = _path(config, _feature(config))
    sorts = [*json_sorts(config.max_bytes, path), *_envelopes(), *_events(config, path)]
    return _draw(seed, n, sorts, lambda rng: _message(rng, config))


def malformed_labels(
    seed: int, n: int, config: MessageConfig | None = None
) -> Iterator[bytes | None]:
    """Draw messages none of which can be used as the answer to a request.

    Parameters
    ----------
    seed, n
        As of `well_formed`.
    config
        `max_bytes` is taken from it; its `label` has to be null, or messages without a request
        may be usable.

    Examples
    --------
    >>> list(malformed_labels(7, 3)) == list(malformed_labels(7, 3))
    True
    """
    config = config or MessageConfig()
    sorts = [*json_sorts(config.max_bytes, "weight"), *_envelopes(), *_labels()]
    return _draw(seed, n, sorts, _label)


def _draw(
    seed: int, n: int, sorts: list[Sort], message: Callable[[Random], Message]
) -> Iterator[bytes | None]:
    rng = Random(seed)  # noqa: S311 - a test's draws
    for at in range(n):
        yield sorts[at % len(sorts)](rng, message(rng))


def _feature(config: MessageConfig) -> str:
    return config.include[0] if config.include else "amount"


def _path(config: MessageConfig, feature: str) -> str:
    return f"{config.features}.{feature}" if config.features else feature


def _message(rng: Random, config: MessageConfig) -> Message:
    features: Message = {
        "amount": round(rng.lognormvariate(3, 1), 2),
        "age": rng.randrange(18, 90),
        "country": rng.choice(("FR", "DE", "GB", "Østlandet", "日本", "a: b")),
        "online": rng.random() < 0.5,
        "card": {"days": rng.randrange(3000), "limit": rng.choice((0.0, 500, 1e22))},
    }
    message: Message = placed({}, config.features, features) if config.features else features
    for path in config.include:
        if "*" not in path:
            message = placed(message, _path(config, path), rng.uniform(-10, 10))
    if config.id:
        message = placed(
            message, config.id, rng.choice((f"tx-{rng.random()}", rng.getrandbits(70)))
        )
    if config.time:
        times = (rng.randrange(2_000_000_000), "2024-05-01T12:00:00.25+02:00")
        message = placed(message, config.time, rng.choice(times))
    if config.key:
        message = placed(message, config.key, rng.choice(("card-7", 7)))
    return message


def _label(rng: Random) -> Message:
    return {
        "request_id": f"events:0:{rng.randrange(1000)}",
        "label": rng.choice(("fraud", "0", 1, True)),
        "kind": "label",
        "annotator": "team-a",
        "time": rng.choice((1714564800.5, "2024-05-01T12:00:00Z")),
        "weight": rng.choice((1, 0.5, 100)),
    }


def _values(path: str, values: Iterable[object]) -> Iterator[Sort]:
    """Give each of the values a turn at a path."""

    def sort(value: object) -> Sort:
        def with_value(rng: Random, message: Message) -> bytes:  # noqa: ARG001 - one of many sorts
            absent = value is _ABSENT
            return encoded(without(message, path) if absent else placed(message, path, value))

        return with_value

    return map(sort, values)


def _events(config: MessageConfig, path: str) -> Iterator[Sort]:
    yield from _values(path, ([], [1.0], [{}], [[]]))
    if config.missing == "refuse":
        yield from _values(path, [None, *([_ABSENT] if config.include else [])])
    if not config.categorical:
        yield from _values(path, _BEYOND_64_BITS)
        if config.numeric_text == "refuse":
            yield from _values(path, _NUMBERS_AS_TEXT)
        elif config.numeric_text == "number":
            yield from _values(path, ("1e999", "-1e400", "9" * 400))
    if not config.include:
        yield from _values(_path(config, "x" * 513), [1])
        yield lambda rng, message: _ambiguous(rng, message, config)
    for role in (config.id, config.key):
        if role:
            yield from _values(role, _BAD_IDS)
    if config.time:
        yield from _values(config.time, _BAD_TIMES)
    if config.features:
        yield from _values(config.features, _BAD_SCOPES)
    else:
        yield lambda rng, message: _bare(rng, message, config)


def _ambiguous(rng: Random, message: Message, config: MessageConfig) -> bytes:
    twice = [("a", {"b": {"c": 1}}), rng.choice([("a.b.c", 1), ("a.b", {"c": 2})])]
    rng.shuffle(twice)
    scope = dict(twice)
    return encoded(placed(message, config.features, scope) if config.features else message | scope)


def _bare(rng: Random, message: Message, config: MessageConfig) -> bytes:  # noqa: ARG001
    """Leave id, time and key, and no feature."""
    bare: Message = {}
    for path in (config.id, config.time, config.key):
        if path:
            value: object = message
            for name in path.split("."):
                assert isinstance(value, dict)
                value = value[name]
            bare = placed(bare, path, value)
    return encoded(bare)


def _labels() -> Iterator[Sort]:
    yield from _values("request_id", _BAD_REQUESTS)
    yield from _values("kind", _BAD_KINDS)
    yield from _values("label", _BAD_CLASSES)
    yield from _values("weight", _BAD_WEIGHTS)
    yield from _values("annotator", (None, 7, [], {}))
    # An answer need not say when it was given.
    yield from _values("time", [time for time in _BAD_TIMES if time not in (_ABSENT, None)])


def _envelopes() -> Iterator[Sort]:
    """Events in structured mode, which say so by their fields."""

    def sort(faults: Message) -> Sort:
        def envelope(rng: Random, message: Message) -> bytes:  # noqa: ARG001 - one of many sorts
            whole = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "data": message}
            return encoded(whole | faults)

        return envelope

    junk = base64.b64encode(b"\xffjunk").decode()
    faults: dict[str, _Values] = {
        "specversion": _BAD_VERSIONS,
        "data": (None, "text", 7, True, [], [{}]),
        "id": (None, "", 7, True, [], {}),
        "time": (*[time for time in _BAD_TIMES if time not in (_ABSENT, None)], 1714564800, 1.5),
        "datacontenttype": ("text/xml", "", 7, []),
        "data_base64": (junk, "e30=", "%", 7),
    }
    yield from (sort({name: value}) for name, values in faults.items() for value in values)
    yield lambda rng, message: _encoded_envelope(rng, message, junk)


def _encoded_envelope(rng: Random, message: Message, junk: str) -> bytes:  # noqa: ARG001
    whole = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}
    return encoded({**whole, "data_base64": rng.choice((junk, "e30", "%%%%", "W10=", None, 7, []))})
