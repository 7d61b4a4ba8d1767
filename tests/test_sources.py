"""Sources: every format gives the same rows, placed as Kafka would, in flat memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import subprocess
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from stream_al.config import SourceConfig
from stream_al.errors import ConfigError, InputError
from stream_al.partitioner import partition_for
from stream_al.records import Event
from stream_al.replay.sources import Row, Source, __all__, open_source

CONFIG = SourceConfig(
    label="fraud", time="at", id="id", key="card", ignore=("note*",), categorical=("shop",)
)
RECORDS: list[dict[str, Any]] = [
    {
        "at": 1_700_000_000.5 + 60 * i,
        "id": f"p-{i}",
        "card": f"card-{i % 3}",
        "amount": 2.5 * i - 4,
        "shop": 100 + i % 4,
        "country": ("FR", 'Ünited, "K"', "two\nlines")[i % 3],
        "notes": "never read",
        "fraud": ("no", "yes")[i % 5 == 0],
    }
    for i in range(40)
]


def _as_delimited(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(RECORDS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(RECORDS)
    return text.getvalue().encode()


def _as_jsonl() -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in RECORDS)


def _as_dump(payload: Callable[[Any], Any] = lambda payload: payload) -> bytes:
    lines = []
    for offset, record in enumerate(RECORDS):
        message = {
            "topic": "events",
            "partition": 0,
            "offset": offset,
            "tstype": "create",
            "ts": round(record["at"] * 1000),
            "broker": 1,
            "key": record["card"],
            "payload": payload(record),
        }
        lines.append(json.dumps(message) + "\n")
    return "".join(lines).encode()


def _write(path: Path, data: bytes) -> Path:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        data = gzip.compress(data)
    elif suffix == ".zst":
        half = len(data) // 2  # two frames, as of files appended to each other
        data = b"".join(map(zstandard.ZstdCompressor().compress, (data[:half], data[half:])))
    path.write_bytes(data)
    return path


def _write_parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path, row_group_size=7)
    return path


def _expected() -> list[tuple[Event, str]]:
    return [
        (
            Event(
                offset=i,
                features={
                    "amount": r["amount"],
                    "shop": str(r["shop"]),
                    "country": r["country"],
                },
                id=r["id"],
                key=r["card"].encode(),
                time=r["at"],
            ),
            r["fraud"],
        )
        for i, r in enumerate(RECORDS)
    ]


def _contents(source: Source) -> list[tuple[Event, str]]:
    return [(row.event, row.truth) for row in source.rows()]


def _read(path: Path, config: SourceConfig = CONFIG, **options: Any) -> list[Row]:
    return list(open_source(str(path), config, **options).rows())


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Give a function that puts bytes on standard input."""

    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return feed


FORMATS: dict[str, Callable[[], bytes]] = {
    "r.csv": lambda: _as_delimited(","),
    "r.csv.gz": lambda: _as_delimited(","),
    "r.CSV.ZST": lambda: _as_delimited(","),
    "r.tsv": lambda: _as_delimited("\t"),
    "marked.csv": lambda: b"\xef\xbb\xbf" + _as_delimited(","),
    "unix.csv": lambda: _as_delimited(",").replace(b"\r\n", b"\n").rstrip(b"\n"),
    "blank.csv": lambda: b"\n\r\n" + _as_delimited(",") + b"\r\n\n",
    "r.jsonl": _as_jsonl,
    "r.ndjson.zst": _as_jsonl,
    "r.jsonl.gz": _as_jsonl,
    "marked.jsonl": lambda: b"\xef\xbb\xbf" + _as_jsonl(),
    "blank.jsonl": lambda: b"\n \n" + _as_jsonl().replace(b"\n", b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    """A file gives the rows that were written, twice over, and counts them in advance."""
    path = _write(tmp_path / name, FORMATS[name]())
    source = open_source(str(path), CONFIG)
    assert source.count() == len(RECORDS)
    assert _contents(source) == _contents(source) == _expected()
    assert source.name == str(path)


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    """A Parquet file of several row groups gives the rows that were written."""
    source = open_source(str(_write_parquet(tmp_path / "r.parquet")), CONFIG)
    assert source.count() == len(RECORDS)
    assert _contents(source) == _contents(source) == _expected()


@pytest.mark.parametrize("payload", [lambda record: record, json.dumps], ids=["object", "text"])
@pytest.mark.parametrize("piped", [False, True])
def test_dumps_give_the_same_rows(
    tmp_path: Path,
    stdin: Callable[[bytes], None],
    payload: Callable[[Any], Any],
    piped: bool,
) -> None:
    """A kcat dump is known by its keys, and its messages' keys are the events'."""
    config = msgspec.structs.replace(CONFIG, key=None, ignore=("note*", "card"))
    stdin(_as_dump(payload))
    path = _write(tmp_path / "dump.jsonl", _as_dump(payload))
    source = open_source("-" if piped else str(path), config)
    assert _contents(source) == _expected()


@pytest.mark.parametrize(
    "data", [_as_delimited(","), b"\n\n" + _as_jsonl(), b"\xef\xbb\xbf" + _as_jsonl()]
)
def test_standard_input_is_told_by_its_first_character(
    stdin: Callable[[bytes], None], data: bytes
) -> None:
    """Standard input is CSV or JSON Lines, uncounted, and can be read once."""
    stdin(data)
    source = open_source("-", CONFIG)
    assert source.count() is None
    assert _contents(source) == _expected()
    with pytest.raises(InputError, match="standard input: can be read only once"):
        list(source.rows())


def test_a_pipe_is_read_as_it_fills() -> None:
    """Rows come out of a pipe before its writer has ended."""
    code = (
        "from stream_al.config import SourceConfig\n"
        "from stream_al.replay.sources import open_source\n"
        "for row in open_source('-', SourceConfig(), limit=2).rows():\n"
        "    print(row.event.features['a'], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line, answer in ((b"a,label\n1,x\n", b"1.0\n"), (b"2,y\n", b"2.0\n")):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == answer
        assert process.wait(timeout=20) == 0


def test_columns_keep_the_type_of_the_first_row(tmp_path: Path) -> None:
    """CSV cells are floats or text by column, and a categorical column stays text."""
    path = _write(tmp_path / "r.csv", b"n,c_job,who,label\n1, 7,x,0\n-2e3,8,3.5,1\n")
    rows = _read(path, SourceConfig(categorical=("c_*",)))
    assert [row.event.features for row in rows] == [
        {"n": 1.0, "c_job": " 7", "who": "x"},
        {"n": -2000.0, "c_job": "8", "who": "3.5"},
    ]
    assert [list(row.event.features) for row in rows] == [["n", "c_job", "who"]] * 2
    assert all(type(row.event.features["n"]) is float for row in rows)
    assert [(row.truth, row.line, row.event.id) for row in rows] == [("0", 2, ""), ("1", 3, "")]


def test_json_values_are_what_they_are(tmp_path: Path) -> None:
    """Numbers, booleans and text keep their types, objects get dots, labels become names."""
    lines = b"""
        {"a": 1, "b": true, "c": {"d": "x", "e": {"f": 2.5}}, "raw": [1], "label": 1}
        {"a": 1.5, "b": false, "c": {"d": "", "e": {"f": 3}}, "label": false, "raw2": null}
    """
    rows = _read(_write(tmp_path / "r.jsonl", lines), SourceConfig(ignore=("raw*",)))
    assert [msgspec.json.encode(row.event.features) for row in rows] == [
        b'{"a":1,"b":true,"c.d":"x","c.e.f":2.5}',
        b'{"a":1.5,"b":false,"c.d":"","c.e.f":3}',
    ]
    assert [(row.truth, row.line) for row in rows] == [("1", 2), ("false", 3)]


def test_finite_numbers_of_any_size_are_read(tmp_path: Path) -> None:
    """Numbers whose sum overflows are finite all the same."""
    path = _write(tmp_path / "r.csv", b"a,b,label\n1.7e308,1.7e308,x\n")
    assert _read(path, SourceConfig())[0].event.features == {"a": 1.7e308, "b": 1.7e308}
    path = _write(tmp_path / "r.jsonl", b'{"a": 1.7e308, "b": 1.7e308, "label": "x"}')
    assert _read(path, SourceConfig())[0].event.features == {"a": 1.7e308, "b": 1.7e308}


def test_lines_are_where_rows_begin(tmp_path: Path) -> None:
    """A row's line is the physical one that it begins on, after quoted newlines and blanks."""
    path = _write(tmp_path / "r.csv", b'a,label\n"x\ny\nz",0\n\n"w",1\nv,0\n')
    assert [row.line for row in _read(path, SourceConfig())] == [2, 6, 7]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000.25", 1700000000.25),
        ("2023-11-14T22:13:20Z", 1700000000.0),
        ("2023-11-14t22:13:20.250z", 1700000000.25),
        ("2023-11-15 03:43:20+05:30", 1700000000.0),
    ],
)
def test_times_are_epoch_seconds_or_rfc_3339(tmp_path: Path, text: str, seconds: float) -> None:
    """Both forms of time give epoch seconds, in CSV and in JSON, and are no feature."""
    table = _write(tmp_path / "r.csv", f"at,a,label\n{text},1,x\n".encode())
    lines = _write(tmp_path / "r.jsonl", f'{{"at":"{text}","a":1,"label":"x"}}'.encode())
    for path in (table, lines):
        event = _read(path, SourceConfig(time="at"))[0].event
        assert event.time == seconds
        assert event.features == {"a": 1}


def test_parquet_reads_times_labels_dictionaries_and_structs(tmp_path: Path) -> None:
    """Timestamps with a zone, dictionary text, structs and integer labels are understood."""
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    at = pa.array([1_700_000_000_250_000_001, 1_700_000_060_000_000_000], pa.int64())
    table = pa.table(
        {
            "at": at.cast(pa.timestamp("ns", "Europe/Paris")),
            "shop": pa.array(["a", "b"]).dictionary_encode(),
            "card": [{"age": 3, "new": True}, {"age": 4, "new": False}],
            "blob": [b"\x00", None],
            "label": pa.array([0, 1], pa.int8()),
        }
    )
    parquet.write_table(table, tmp_path / "r.parquet")
    rows = _read(tmp_path / "r.parquet", SourceConfig(time="at", ignore=("blob",)))
    assert [row.event.features for row in rows] == [
        {"shop": "a", "card.age": 3, "card.new": True},
        {"shop": "b", "card.age": 4, "card.new": False},
    ]
    assert [row.event.time for row in rows] == [1_700_000_000.25, 1_700_000_060.0]
    assert [(row.truth, row.line) for row in rows] == [("0", 1), ("1", 2)]


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyarrow cannot be imported, the message holds the command that mends it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'stream-al\[data\]'"):
        open_source(str(tmp_path / "r.parquet"), CONFIG)


@pytest.mark.parametrize("format", ["r.csv", "r.jsonl"])
def test_keys_decide_partitions_as_in_kafka(tmp_path: Path, format: str) -> None:
    """Events of one key share the partition that Kafka would choose, offsets dense in each."""
    path = _write(tmp_path / format, FORMATS[format]())
    rows = _read(path, msgspec.structs.replace(CONFIG, partitions=4))
    offsets: dict[int, list[int]] = defaultdict(list)
    for row, record in zip(rows, RECORDS, strict=True):
        assert row.event.key == record["card"].encode()
        assert row.event.partition == partition_for(record["card"].encode(), 4)
        offsets[row.event.partition].append(row.event.offset)
    assert len(offsets) > 1
    assert all(seen == list(range(len(seen))) for seen in offsets.values())


def test_rows_without_key_go_round_robin(tmp_path: Path) -> None:
    """Without a key column the row number decides, and events have no key."""
    path = _write(tmp_path / "r.csv", _as_delimited(","))
    rows = _read(path, msgspec.structs.replace(CONFIG, partitions=3, key=None))
    places = [(row.event.partition, row.event.offset) for row in rows]
    assert places == [(i % 3, i // 3) for i in range(len(RECORDS))]
    assert all(row.event.key is None for row in rows)


@pytest.mark.parametrize("keyed", [False, True])
def test_skipped_rows_use_up_their_offsets(tmp_path: Path, keyed: bool) -> None:
    """The rows around bad ones keep the places that they have in the mended file."""
    good = [f"{i},card-{i % 4},{i % 2}" for i in range(12)]
    bad = list(good)
    bad[0] = "nan,card-0,0"
    bad[5] = ",card-1,1"
    bad[7] = "seven,card-3,1"
    bad[8] = "8,card-0,"
    config = SourceConfig(partitions=3, key="key" if keyed else None, on_error="skip")
    header = "a,key,label\n"
    whole = _read(_write(tmp_path / "good.csv", (header + "\n".join(good)).encode()), config)
    source = open_source(
        str(_write(tmp_path / "bad.csv", (header + "\n".join(bad)).encode())), config
    )
    assert source.skipped == 0
    assert list(source.rows()) == [whole[i] for i in range(12) if bad[i] == good[i]]
    assert source.count() == 12
    assert source.skipped == 4
    assert source.skip_reasons == {
        "not finite": 1,
        "missing value": 2,
        "text in a numeric column": 1,
    }
    list(source.rows())
    assert source.skipped == 4


def test_rows_whose_key_cannot_be_read_are_placed_by_their_number(tmp_path: Path) -> None:
    """A ragged row and an empty key use an offset of the round robin's partition."""
    keys = [k for k in (f"k{i}" for i in range(99)) if partition_for(k.encode(), 2) == 1][:2]
    text = f"a,key,label\n1,{keys[0]},x\n2\n3,,x\n4,{keys[1]},x\n5,{keys[0]}\n6,{keys[0]},x\n"
    path = _write(tmp_path / "r.csv", text.encode())
    rows = _read(path, SourceConfig(key="key", partitions=2, on_error="skip"))
    # The second row is bad and goes to partition 1; the third and fifth are, and go to 0.
    assert [(row.line, row.event.partition, row.event.offset) for row in rows] == [
        (2, 1, 0),
        (5, 1, 2),
        (7, 1, 3),
    ]


def test_the_limit_counts_rows_and_stops_there(tmp_path: Path) -> None:
    """A limit cuts rows and their count alike, skipped ones included."""
    data = b"a,label\n1,x\nnan,x\n3,x\n4,x\n"
    source = open_source(
        str(_write(tmp_path / "r.csv", data)), SourceConfig(on_error="skip"), limit=3
    )
    assert source.count() == 3
    assert [row.event.features["a"] for row in source.rows()] == [1.0, 3.0]
    assert source.skipped == 1
    source = open_source(str(_write(tmp_path / "q.csv", data[:15] + b'"5",x\n')), CONFIG, limit=9)
    assert source.count() == 2


def test_dumps_keep_their_places(tmp_path: Path) -> None:
    """Topic, partition, sparse offset and a key of any bytes survive, and ts on request."""
    message = (
        b'{"topic":"pay","partition":%d,"offset":%d,"ts":%d,"key":%s,"payload":"{\\"a\\":1,'
        b'\\"label\\":\\"x\\"}"}\n'
    )
    data = (
        message % (3, 17, 1_700_000_000_250, b'"\xff\xfe"')
        + message % (0, 5, 1_700_000_000_500, b"null")
        + message % (3, 99, 1_700_000_001_000, b'"\xc3\xbc"')
    )
    path = _write(tmp_path / "dump.jsonl", data)
    events = [row.event for row in _read(path, SourceConfig(time="ts"))]
    assert [(e.topic, e.partition, e.offset, e.key) for e in events] == [
        ("pay", 3, 17, b"\xff\xfe"),
        ("pay", 0, 5, None),
        ("pay", 3, 99, b"\xc3\xbc"),
    ]
    assert [e.time for e in events] == [1_700_000_000.25, 1_700_000_000.5, 1_700_000_001.0]
    assert [e.features for e in events] == [{"a": 1}] * 3
    assert [row.event.time for row in _read(path, SourceConfig())] == [None] * 3


@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [
        ("Bananas", 5300, {"true", "false"}),
        ("ImageSegments", 2310, {"path", "sky"}),
        ("Phishing", 1250, {"true", "false"}),
    ],
)
def test_datasets_inside_river_are_read(name: str, rows: int, classes: set[str]) -> None:
    """A dataset that ships with river gives all its rows, labels as names of classes."""
    source = open_source(f"river:{name}", SourceConfig())
    seen = list(source.rows())
    assert len(seen) == source.count() == rows
    assert classes <= {row.truth for row in seen}
    assert [row.line for row in seen[:3]] == [1, 2, 3]


def test_cards_come_with_time_id_and_key() -> None:
    """Generated payments are deterministic, keyed by card, and differ by seed."""
    source = open_source("cards:50:3", SourceConfig(partitions=2))
    rows = list(source.rows())
    assert rows == list(source.rows())
    assert len(rows) == source.count() == 50
    assert rows != list(open_source("cards:50", SourceConfig(partitions=2)).rows())
    assert open_source("cards", SourceConfig()).count() == 100_000
    for row in rows:
        event = row.event
        assert event.id
        assert event.time is not None
        assert event.key is not None
        assert event.partition == partition_for(event.key, 2)
        assert not {"time", "id", "key", "label"} & event.features.keys()
        assert row.truth in {"0", "1"}


def _peak_of(rows: Iterator[Row]) -> int:
    """Measure what is allocated at most while rows go by."""
    tracemalloc.start()
    for _ in rows:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.csv.zst", "r.jsonl"])
def test_memory_is_flat(tmp_path: Path, name: str) -> None:
    """Five times the rows need no more memory."""
    peaks, sizes = [], []
    for length in (4_000, 20_000):
        draws = random.Random(7)
        table = [
            {"a": i / 4, "b": f"{draws.getrandbits(200)}", "key": f"k{i % 50}", "label": "x"}
            for i in range(length)
        ]
        if "csv" in name:
            lines = ["a,b,key,label", *(",".join(map(str, row.values())) for row in table)]
        else:
            lines = list(map(json.dumps, table))
        data = "\n".join(lines).encode()
        path = _write(tmp_path / name, data)
        sizes.append(len(data))
        del table, lines, data
        config = SourceConfig(key="key", partitions=4, categorical=("b",))
        peaks.append(_peak_of(open_source(str(path), config).rows()))
    assert sizes[1] - sizes[0] > 1_000_000
    assert peaks[1] - peaks[0] < 100_000, peaks


def test_only_the_interface_is_public() -> None:
    """The package names exactly what others may use."""
    assert __all__ == ["Row", "Source", "open_source"]
