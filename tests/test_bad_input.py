"""Bad input: each mistake in a stream gives one line with place, column and what was expected."""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream_al.config import SourceConfig
from stream_al.errors import ConfigError, InputError
from stream_al.replay.sources import Row, open_source

SKIP = SourceConfig(on_error="skip")


def _write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def _fail(path: Path | str, config: SourceConfig | None = None, **options: Any) -> InputError:
    """Read until the stream is refused, and see that the refusal is one line and exit code 3."""
    with pytest.raises(InputError) as caught:
        list(open_source(str(path), config or SourceConfig(), **options).rows())
    error = caught.value
    assert error.exit_code == 3
    assert str(error).startswith(str(path))
    assert "\n" not in str(error)
    return error


def _skip(path: Path, config: SourceConfig = SKIP) -> tuple[list[Row], dict[str, int]]:
    source = open_source(str(path), config)
    rows = list(source.rows())
    assert source.count() == len(rows) + source.skipped
    return rows, source.skip_reasons


# Two good rows around a bad one: format, the bad row, its column, and what the message says.
CSV_ROWS = [
    ("two,x,0", "a", "text in a numeric column", "expected a number, not 'two'"),
    ("1_000,x,0", "a", "text in a numeric column", "expected a number, not '1_000'"),
    ("nan,x,0", "a", "not finite", "finite number, not 'nan'; no value may be missing: fill it"),
    ("N/A,x,0", "a", "text in a numeric column", "not 'N/A'; no value may be missing: fill it"),
    ("-Infinity,x,0", "a", "not finite", "expected a finite number, not '-Infinity'"),
    ("1e999,x,0", "a", "not finite", "expected a finite number, not '1e999'"),
    (",x,0", "a", "missing value", "empty; expected a number"),
    ("2,,0", "b", "missing value", "empty; expected text"),
    ("2,x,", "label", "missing value", "empty; expected the name of a class"),
    ("2,x", None, "ragged row", "expected 3 values as in the header, not 2"),
    ("2,x,0,9", None, "ragged row", "expected 3 values as in the header, not 4"),
    ('2,"x"y,0', None, "malformed row", "malformed"),
    ("2,\udce9,0", None, "not UTF-8", "byte 0xe9 is not UTF-8; expected UTF-8 text"),
]
JSON_ROWS = [
    ('{"a":"2","b":"x","label":0}', "a", "text in a numeric column", "a number, not '2'"),
    ('{"a":true,"b":"x","label":0}', "a", "wrong type", "expected a number, not True"),
    ('{"a":null,"b":"x","label":0}', "a", "missing value", "null; expected a number"),
    ('{"a":2,"b":null,"label":0}', "b", "missing value", "null; expected text"),
    ('{"a":2,"b":[1],"label":0}', "b", "wrong type", "expected text, not [1]"),
    ('{"a":2,"b":3,"label":0}', "b", "wrong type", "expected text, not 3"),
    ('{"a":NaN,"b":"x","label":0}', None, "malformed JSON", "expected one JSON object"),
    ('{"a":1e999,"b":"x","label":0}', None, "malformed JSON", "expected one JSON object"),
    ('{"a":' + "9" * 400 + ',"b":"x","label":0}', "a", "not finite", "expected a finite number"),
    ('{"a":2,"b":"x"}', "label", "missing value", "empty; expected the name of a class"),
    ('{"a":2,"b":"x","label":1.0}', "label", "not a class", "text, an integer or a boolean"),
    ('{"a":2,"b":"x","label":""}', "label", "missing value", "expected the name of a class"),
    ('{"a":2,"label":0}', "b", "different keys", "missing; the first row has it"),
    ('{"a":2,"b":"x","c":1,"label":0}', "c", "different keys", "the first row does not have it"),
    ('{"a":2,"b":{"c":1},"label":0}', "b.c", "different keys", "first row does not have it"),
    ('{"a":2,"b":"x","label":0', None, "malformed JSON", "expected one JSON object"),
    ('{"a":2,"a":3,"b":"x","label":0}', None, "repeated name", "'a' stands twice in one object"),
    ('{"a":2,"b":":","\\u0061":3,"label":0}', None, "repeated name", "'a' stands twice in one"),
    ('{"a":2,"b":{"c":1,"c":1},"label":0}', None, "repeated name", "'c' stands twice in one"),
    ('{"a":2,"b":"\udce9","a":3,"label":0}', None, "repeated name", "'a' stands twice in one"),
    ("[1, 2]", None, "malformed JSON", "expected one JSON object, not list"),
    ("[" * 100_000, None, "malformed JSON", "expected one JSON object"),
    ('{"a":2,"b":"\udce9","label":0}', "b", "wrong type", "expected text, not b'\\xe9'"),
    ('{"a":2,"b\udce9":"x","label":0}', None, "not UTF-8", "expected names in UTF-8"),
]


@pytest.mark.parametrize(("row", "column", "kind", "message"), CSV_ROWS)
def test_a_bad_csv_row_is_named_or_skipped(
    tmp_path: Path, row: str, column: str | None, kind: str, message: str
) -> None:
    """A bad row in CSV is refused with its line and column, or skipped and counted by reason."""
    text = f'a,b,label\n1,"x\n",0\n{row}\n3,y,1\n'
    path = _write(tmp_path / "r.csv", text.encode(errors="surrogateescape"))
    error = _fail(path)
    assert (error.line, error.column) == (4, column)
    assert message in error.what
    rows, reasons = _skip(path)
    assert [(kept.line, kept.event.offset) for kept in rows] == [(2, 0), (5, 2)]
    assert reasons == {kind: 1}


@pytest.mark.parametrize(("row", "column", "kind", "message"), JSON_ROWS)
def test_a_bad_json_row_is_named_or_skipped(
    tmp_path: Path, row: str, column: str | None, kind: str, message: str
) -> None:
    """A bad JSON line is refused with its line and key, or skipped and counted by reason."""
    good = '{"a":1,"b":"x","label":0}'
    text = f"{good}\n\n{row}\n{good}"
    path = _write(tmp_path / "r.jsonl", text.encode(errors="surrogateescape"))
    error = _fail(path)
    assert (error.line, error.column) == (3, column)
    assert message in error.what
    rows, reasons = _skip(path)
    assert [(kept.line, kept.event.offset) for kept in rows] == [(1, 0), (4, 2)]
    assert reasons == {kind: 1}


@pytest.mark.parametrize("bad", ["nan,x,0", "NA,x,0", "1,null,0", "1,,0", "1", "1,x,"])
def test_a_bad_first_row_decides_no_types(tmp_path: Path, bad: str) -> None:
    """Columns take their types from the first row that can be used, not from one skipped."""
    path = _write(tmp_path / "r.csv", f"a,b,label\n{bad}\n2,7,1\n3,8,1\n")
    assert _fail(path).line == 2
    rows, _ = _skip(path)
    assert [row.event.features for row in rows] == [{"a": 2.0, "b": 7.0}, {"a": 3.0, "b": 8.0}]


def test_what_may_be_a_missing_number_is_a_text_where_that_is_said(tmp_path: Path) -> None:
    """A column that begins with NA is text if it is declared so, and a later NA in text is text."""
    path = _write(tmp_path / "r.csv", "a,b,label\nNA,DE,1\nUS,NA,1\n")
    with pytest.raises(InputError, match="'NA' may be a missing number or a text") as caught:
        list(open_source(str(path), SourceConfig()).rows())
    assert (caught.value.line, caught.value.column) == (2, "a")
    rows = list(open_source(str(path), SourceConfig(categorical=("a",))).rows())
    assert [row.event.features for row in rows] == [{"a": "NA", "b": "DE"}, {"a": "US", "b": "NA"}]


def test_a_bad_first_object_decides_no_keys(tmp_path: Path) -> None:
    """The keys of a JSON stream are those of the first object that can be used."""
    lines = '{"a":null,"label":0}\n{"a":{"b":1},"label":0}\n{"a":{"b":2},"label":1}\n'
    path = _write(tmp_path / "r.jsonl", lines)
    assert (_fail(path).line, _fail(path).column) == (1, "a")
    rows, reasons = _skip(path)
    assert [row.event.features for row in rows] == [{"a.b": 1}, {"a.b": 2}]
    assert reasons == {"missing value": 1}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("r.csv", "labels,ts\n1,2\n"),
        ("r.csv.gz", gzip.compress(b"labels,ts\n1,2\n", mtime=0)),
        ("r.tsv", "labels\tts\n1\t2\n"),
        ("r.jsonl", '{"labels":1,"ts":2}\n'),
    ],
)
def test_a_missing_label_column_is_named_with_the_nearest(
    tmp_path: Path, name: str, data: bytes | str
) -> None:
    """Without the label's column a stream stops, skipping or not, and the message lists columns."""
    path = _write(tmp_path / name, data)
    for config in (SourceConfig(), SKIP):
        error = _fail(path, config)
        assert (error.line, error.column) == (1, "label")
        assert error.what == "no such column; did you mean 'labels'? (columns: labels, ts)"


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("r.csv", "a;b;label", "semicolons; expected commas (or tabs in a .tsv)"),
        ("r.csv", "a\tlabel", "tabs; expected commas (or tabs in a .tsv)"),
        ("r.csv", "a|label", "bars; expected commas (or tabs in a .tsv)"),
        ("r.tsv", "a,label", "commas; expected tabs (or commas in a .csv)"),
    ],
)
def test_another_separator_is_told_from_a_missing_label(
    tmp_path: Path, name: str, header: str, message: str
) -> None:
    """A header of one name that another separator makes several is refused for that."""
    error = _fail(_write(tmp_path / name, f"{header}\n1\n"))
    assert (error.line, error.what) == (1, f"in the header: names look separated by {message}")


@pytest.mark.parametrize(
    ("config", "where", "message"),
    [
        (SourceConfig(time="tss"), "source.time = 'tss'", "did you mean 'ts'"),
        (SourceConfig(id="zzz"), "source.id = 'zzz'", "columns: ts, a, label"),
        (SourceConfig(key="b"), "source.key = 'b'", "no such column"),
        (SourceConfig(ignore=("b*",)), "source.ignore = 'b*'", "no such column"),
        (SourceConfig(categorical=("a", "c_*")), "source.categorical = 'c_*'", "no such column"),
        (SourceConfig(id="label"), "source.id = 'label'", "no other role"),
    ],
)
@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_a_configured_column_that_is_not_there_is_a_wrong_configuration(
    tmp_path: Path, name: str, config: SourceConfig, where: str, message: str
) -> None:
    """Names and patterns of the configuration must match a column."""
    data = "ts,a,label\n1,2,0\n" if name == "r.csv" else '{"ts":1,"a":2,"label":0}'
    path = _write(tmp_path / name, data)
    with pytest.raises(ConfigError, match=message) as caught:
        list(open_source(str(path), config).rows())
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("header", "message", "column"),
    [
        ("a,a,label", "stands twice; expected different names", "a"),
        (",a,label", "a column has no name: name it, or ignore ''", None),
        ("ts,label,key", "expected at least one column that is a feature", None),
        ('a,"b"c,label', "in the header: malformed", None),
        ("a,\udcff,label", "in the header: byte 0xff is not UTF-8", None),
        ("\udcff\udcfea\0", "in the header: byte 0xff is not UTF-8", None),
    ],
)
def test_a_bad_header_stops_the_stream(
    tmp_path: Path, header: str, message: str, column: str | None
) -> None:
    """A header that cannot name the columns is refused at line 1 even when rows are skipped."""
    data = f"{header}\n1,2,0\n".encode(errors="surrogateescape")
    config = SourceConfig(on_error="skip", ignore=("ts", "key") if "ts" in header else ())
    error = _fail(_write(tmp_path / "r.csv", data), config)
    assert (error.line, error.column) == (1, column)
    assert message in error.what


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.csv", b"", "empty; expected a header line"),
        ("r.csv", b"\n\r\n", "empty; expected a header line"),
        ("r.csv", b"\xef\xbb\xbf", "empty; expected a header line"),
        ("r.csv", b"a,label\n", "no rows; expected data below the header line"),
        ("r.csv", b"a,label\n\n\n", "no rows; expected data below the header line"),
        ("r.jsonl", b"\n \n", "empty; expected at least one row"),
        ("r.csv.gz", b"", "empty; expected a header line"),
        ("r.csv.zst", zstandard.compress(b""), "empty; expected a header line"),
    ],
)
def test_an_empty_stream_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    """A stream without rows is bad input, and counts no rows."""
    path = _write(tmp_path / name, data)
    error = _fail(path, SKIP)
    assert (error.what, error.line) == (message, None)
    assert open_source(str(path), SKIP).count() == 0


TABLE = b"a,label\n" + b"".join(b"%d,%d\n" % (i * 7919 % 10_007, i % 2) for i in range(20_000))


@pytest.mark.parametrize("config", [SourceConfig(), SKIP], ids=["stop", "skip"])
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.csv.gz", gzip.compress(TABLE, mtime=0)[:-9], "truncated"),
        ("r.csv.gz", gzip.compress(TABLE, mtime=0)[:5000], "truncated"),
        ("r.csv.zst", zstandard.compress(TABLE)[:5000], "truncated"),
        ("r.csv.zst", zstandard.compress(TABLE)[:-1], "truncated"),
        ("r.jsonl.zst", zstandard.compress(b"{}") + zstandard.compress(TABLE)[:9], "truncated"),
        ("r.csv.gz", TABLE, "damaged compressed data"),
        ("r.csv.gz", gzip.compress(TABLE, mtime=0)[:-8] + b"\0" * 8, "damaged compressed data"),
        ("r.csv.zst", TABLE, "damaged compressed data"),
    ],
)
def test_broken_compression_always_stops(
    tmp_path: Path, name: str, data: bytes, message: str, config: SourceConfig
) -> None:
    """A file that was cut or is not compressed at all stops reading and counting alike."""
    path = _write(tmp_path / name, data)
    if "jsonl" not in name:
        error = _fail(path, config)
        assert message in error.what
        assert error.line is None
    with pytest.raises(InputError, match=message):
        open_source(str(path), config).count()


def test_paths_that_are_no_readable_file_are_refused_at_once(tmp_path: Path) -> None:
    """A missing file, a directory and an unknown format are refused on opening."""
    (tmp_path / "folder.csv").mkdir()
    for path, message in [
        (tmp_path / "none.csv", "no such file"),
        (tmp_path / "none.parquet", "no such file"),
        (tmp_path / "no" / "none.jsonl.gz", "no such file"),
        (tmp_path / "folder.csv", "a directory; expected a file"),
        (tmp_path, "a directory; expected a file"),
        (_write(tmp_path / "r.xlsx", ""), "its name tells no known format; expected .csv, .tsv"),
        (_write(tmp_path / "r.gz", ""), "its name tells no known format"),
    ]:
        with pytest.raises(InputError) as caught:
            open_source(str(path), SourceConfig())
        assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_time_must_not_run_backwards(tmp_path: Path, name: str) -> None:
    """A time before that of the row above is refused with both, and skipping goes on after it."""
    times = ("5", "7.5", "6", "7.5", "9")
    lines = {
        "r.csv": "at,a,label\n" + "".join(f"{t},1,x\n" for t in times),
        "r.jsonl": "\n" + "".join(f'{{"at":{t},"a":1,"label":"x"}}\n' for t in times),
    }
    path = _write(tmp_path / name, lines[name])
    error = _fail(path, SourceConfig(time="at"))
    assert (error.line, error.column) == (4, "at")
    assert "time runs backwards, from 7.5 to 6.0" in error.what
    rows, reasons = _skip(path, SourceConfig(time="at", on_error="skip"))
    assert [row.event.time for row in rows] == [5.0, 7.5, 7.5, 9.0]
    assert reasons == {"time runs backwards": 1}


@pytest.mark.parametrize(
    "text",
    ["noon", "nan", "inf", "2024-02-30T00:00:00Z", "2024-05-01T12:00:00", "2024-05-01", "1_0", ""],
)
def test_a_time_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """A time must be finite epoch seconds, or RFC 3339 that says its offset."""
    path = _write(tmp_path / "r.csv", f"at,a,label\n{text},1,x\n")
    error = _fail(path, SourceConfig(time="at"))
    assert (error.line, error.column) == (2, "at")
    assert "expected epoch seconds or RFC 3339 with an offset" in error.what
    path = _write(tmp_path / "r.jsonl", f'{{"at":"{text}","a":1,"label":"x"}}\n')
    assert _fail(path, SourceConfig(time="at")).column == "at"


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
@pytest.mark.parametrize("role", ["id", "key"])
def test_an_empty_id_or_key_is_refused(tmp_path: Path, name: str, role: str) -> None:
    """A configured id or key must not be missing in any row."""
    data = {"r.csv": "a,who,label\n1,,x\n", "r.jsonl": '\n{"a":1,"who":null,"label":"x"}\n'}
    config = SourceConfig(id="who") if role == "id" else SourceConfig(key="who")
    error = _fail(_write(tmp_path / name, data[name]), config)
    assert (error.line, error.column) == (2, "who")
    assert "empty; expected text" in error.what


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_an_undeclared_class_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """With declared classes, another one in the label is named beside them."""
    data = {"r.csv": "a,label\n1,0\n2,2\n", "r.jsonl": '\n{"a":1,"label":0}\n{"a":2,"label":2}'}
    path = _write(tmp_path / name, data[name])
    error = _fail(path, classes=("0", "1"))
    assert (error.line, error.column) == (3, "label")
    assert error.what == "class '2'; expected one of 0, 1"
    assert len(list(open_source(str(path), SourceConfig()).rows())) == 2


GOOD = '{"topic":"t","partition":0,"offset":4,"key":null,"payload":{"a":1,"label":"x"}}'


@pytest.mark.parametrize(
    ("message", "column", "kind"),
    [
        (GOOD, "offset", "offsets run backwards"),
        (GOOD.replace("4", "3"), "offset", "offsets run backwards"),
        (GOOD.replace("4", "-1"), "offset", "not a place"),
        (GOOD.replace('"partition":0', '"partition":"0"'), "partition", "not a place"),
        (GOOD.replace('"t"', "null"), "topic", "not a place"),
        (GOOD.replace("4", "5").replace('{"a":1,"label":"x"}', "null"), "payload", "missing value"),
        (GOOD.replace("4", "5").replace('{"a":1,"label":"x"}', "7"), "payload", "wrong type"),
        (GOOD.replace("4", "5").replace('{"a":1,"label":"x"}', '"{"'), "payload", "malformed JSON"),
        (
            GOOD.replace("4", "5").replace('{"a":1,"label":"x"}', r'"{\"a\":1,\"a\":2}"'),
            "payload",
            "repeated name",
        ),
        (GOOD.replace("4", "5").replace("null", "[1]"), "key", "wrong type"),
        (GOOD.replace("4", "5").replace('"x"', '"\udcff"'), "label", "not a class"),
        (GOOD.replace("4", "5").replace('"x"', '"x","ts":1'), "ts", "different keys"),
    ],
)
def test_a_bad_message_of_a_dump_is_named_or_skipped(
    tmp_path: Path, message: str, column: str, kind: str
) -> None:
    """A message without a place of its own or a payload is refused, or skipped and counted."""
    lines = "\n".join((GOOD, message, GOOD.replace("4", "9")))
    path = _write(tmp_path / "dump.jsonl", lines.encode(errors="surrogateescape"))
    error = _fail(path)
    assert (error.line, error.column) == (2, column)
    rows, reasons = _skip(path)
    assert [row.event.offset for row in rows] == [4, 9]
    assert reasons == {kind: 1}


@pytest.mark.parametrize("config", [SourceConfig(key="a"), SourceConfig(partitions=2)])
def test_a_dump_cannot_be_partitioned_anew(tmp_path: Path, config: SourceConfig) -> None:
    """A key column or partitions beside a dump's own are a wrong configuration."""
    path = _write(tmp_path / "dump.jsonl", GOOD)
    with pytest.raises(ConfigError, match="is a dump that keeps its own keys and partitions"):
        list(open_source(str(path), config).rows())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("river:Phisching", r"'Phisching' .*did you mean 'Phishing'\? \(those that do: Bananas"),
        ("river:Elec2", "those that do: Bananas, ImageSegments, Phishing"),
        ("river:TrumpApproval", "no classification dataset"),
        ("river:", "no classification dataset"),
        ("cards:", "expected cards, cards:N or cards:N:SEED"),
        ("cards:0", "expected cards, cards:N or cards:N:SEED"),
        ("cards:5:-1", "expected cards, cards:N or cards:N:SEED"),
        ("cards:5:1:1", "expected cards, cards:N or cards:N:SEED"),
    ],
)
def test_datasets_and_generators_must_exist(spec: str, message: str) -> None:
    """A wrong name or number in a spec is a wrong configuration, and the right ones are listed."""
    with pytest.raises(ConfigError, match=message) as caught:
        open_source(spec, SourceConfig())
    assert caught.value.where == spec


def test_a_dataset_s_feature_is_no_label() -> None:
    """The label of a dataset comes apart, so its name cannot be that of a feature."""
    with pytest.raises(ConfigError, match="a column of cards:5, whose label comes apart"):
        list(open_source("cards:5", SourceConfig(label="amount")).rows())
    with pytest.raises(ConfigError, match="did you mean 'time'"):
        list(open_source("cards:5", SourceConfig(time="times")).rows())


def test_a_limit_below_one_is_refused() -> None:
    """A limit of no rows is a wrong configuration."""
    with pytest.raises(ConfigError, match="limit: must be at least 1, not 0"):
        open_source("cards", SourceConfig(), limit=0)


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"", None, None),
        (b"\na,label\n1,x\nnan,x\n", 4, "a"),
        (b'\n{"a":1,"label":"x"}\n{"a":null,"label":"x"}', 3, "a"),
        (gzip.compress(b"a,label\n1,x\n", mtime=0), 1, None),
    ],
)
def test_bad_standard_input_is_named(
    monkeypatch: pytest.MonkeyPatch, data: bytes, line: int | None, column: str | None
) -> None:
    """What comes through a pipe is refused as files are, under the name standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match=r"^standard input") as caught:
        list(open_source("-", SourceConfig()).rows())
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"a": [1.0, None], "label": [0, 1]}, "a", "null; expected a number"),
        ({"a": [1.0, float("nan")], "label": [0, 1]}, "a", "expected a finite number, not nan"),
        ({"a": [1.0, 2.0], "label": [0.0, 1.0]}, "label", "text, an integer or a boolean"),
        ({"a": [[1], [2]], "label": [0, 1]}, "a", "expected a number, text or a boolean, not [1]"),
        ({"a": [1, 2]}, "label", "no such column (columns: a)"),
        ({"a": [], "label": []}, None, "empty; expected at least one row"),
    ],
)
def test_a_bad_table_is_named(
    tmp_path: Path, columns: dict[str, Any], column: str | None, message: str
) -> None:
    """Parquet is refused by row and column as text is."""
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    path = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    error = _fail(path)
    assert error.column == column
    assert message in error.what
    data = path.read_bytes()
    for broken in (data[:-20], b"a,label\n1,x\n", b""):
        assert "not a whole Parquet file" in _fail(_write(path, broken)).what


@given(
    body=st.lists(
        st.sampled_from(
            [
                b"1,x,0",
                b'"',
                b"\n",
                b"\r",
                b"\r\n",
                b",",
                b"\xff",
                b"\0",
                b" ",
                b'2,"y\n",1\n',
                b"{}",
            ]
        )
        | st.binary(max_size=4),
        max_size=30,
    ),
    begin=st.sampled_from([b"a,b,label\n", b'{"a":1,"b":"x","label":0}\n', b""]),
)
def test_no_bytes_are_beyond_skipping(body: list[bytes], begin: bytes) -> None:
    """Whatever bytes come, a row is read or skipped, and as many are as were counted before."""
    data = begin + b"".join(body)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("r.csv", "r.jsonl"):
            path = _write(Path(folder, name), data)
            source = open_source(str(path), SKIP)
            try:
                rows = sum(1 for _ in source.rows())
            except InputError:  # no header, no label or no rows at all: nothing to skip
                continue
            assert source.count() == rows + source.skipped


def test_times_without_a_zone_in_a_table_are_refused(tmp_path: Path) -> None:
    """A timestamp that does not say its zone is no time."""
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    at = pyarrow.array([0], pyarrow.timestamp("ms"))
    parquet.write_table(pyarrow.table({"at": at, "a": [1], "label": [1]}), tmp_path / "r.parquet")
    error = _fail(tmp_path / "r.parquet", SourceConfig(time="at"))
    assert (error.line, error.column) == (1, "at")
    assert "with an offset" in error.what
