"""Ten thousand malformed messages between good ones: each refused for a reason, none read."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import pytest

from consumers.log import Record
from consumers.messages import KINDS, BadMessage, LabelReader, MessageReader
from consumers.testing.malformed import malformed, malformed_labels, well_formed
from stream_al.config import MessageConfig

SEED = 20_240_501
MAPPED = MessageConfig(
    id="meta.id",
    time="meta.time",
    key="card_no",
    features="body",
    include=("amount", "velocity", "card.*"),
    max_bytes=20_000,
)
NUMBERS = MessageConfig(id="id", missing="allow", numeric_text="number", exclude=("online",))
CATEGORIES = MessageConfig(categorical=("age",), numeric_text="category")


def _record(offset: int, value: bytes | None) -> Record:
    return Record("events", 0, offset, None, value, (), 1.0)


def _flat(value: dict[str, object], begin: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{begin}{name}.") if isinstance(item, dict) else {begin + name: item}
    return flat


def _kinds(raws: list[bytes | None], reader: MessageReader | LabelReader) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for at, raw in enumerate(raws):
        try:
            read: object = reader.read(_record(at, raw))
        except BadMessage as bad:
            read = bad
        assert isinstance(read, BadMessage), f"seed {SEED}, message {at}: {raw!r:.300}"
        assert read.what.isprintable()
        assert 0 < len(read.what) <= 200
        kinds[read.kind] += 1
    return kinds


def test_ten_thousand_malformed_messages_are_refused_and_good_ones_between_read() -> None:
    """Each malformed message has a reason of the published ones, each good one is read exactly."""
    reader = MessageReader(MessageConfig())
    good = well_formed(SEED, 10_000)
    kinds: Counter[str] = Counter()
    for at, (bad, raw) in enumerate(zip(malformed(SEED, 10_000), good, strict=True)):
        kinds += _kinds([bad], reader)
        event = reader.read(_record(at, raw))
        assert event.offset == at
        assert event.features == _flat(json.loads(raw)), f"seed {SEED}, message {at}"
    assert kinds.total() == 10_000
    assert set(kinds) == set(KINDS)


@pytest.mark.parametrize("config", [MAPPED, NUMBERS, CATEGORIES], ids=["mapped", "numbers", "text"])
def test_malformed_is_what_the_mapping_makes_of_it(config: MessageConfig) -> None:
    """With other mappings other messages are malformed, and all of them are refused."""
    reader = MessageReader(config)
    kinds = _kinds(list(malformed(SEED, 2000, config)), reader)
    assert set(kinds) <= set(KINDS)
    assert len(kinds) > 12
    for at, raw in enumerate(well_formed(SEED, 200, config)):
        assert reader.read(_record(at, raw)).features


def test_malformed_labels_are_refused_each_for_a_reason() -> None:
    """What is no answer to a request is refused, unknown kinds as a schema that is not known."""
    kinds = _kinds(list(malformed_labels(SEED, 2000)), LabelReader(MessageConfig()))
    assert set(KINDS) - set(kinds) == {"numeric-text", "no-features"}


def test_the_messages_depend_on_the_seed_alone() -> None:
    """The same seed draws the same messages, however many; another seed draws others."""
    drawn = list(malformed(SEED, 300))
    assert list(islice(malformed(SEED, 10_000), 300)) == drawn
    assert list(malformed(SEED + 1, 300)) != drawn
    assert list(malformed_labels(SEED, 300)) == list(malformed_labels(SEED, 300))


def test_the_messages_are_of_all_sorts() -> None:
    """There are empty, binary, huge and truncated ones, and values that are not there at all."""
    drawn = list(malformed(SEED, 1000))
    present = [raw for raw in drawn if raw is not None]
    assert None in drawn
    assert b"" in present
    assert max(map(len, present)) > MessageConfig().max_bytes
    assert any(b"\x00" in raw for raw in present)
    assert any(b"\xff" in raw for raw in present)
    assert sum(raw.count(b"[") > 900 for raw in present) > 0
    assert len(set(present)) > 500
