"""Layers of the configuration: precedence, origins, and every kind of mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from stream_al.cli.config_keys import KEYS, SECTIONS
from stream_al.cli.options import settings_from_flags
from stream_al.cli.settings import DEFAULTS, Settings, load, overlay
from stream_al.cli.toml_lines import key_lines
from stream_al.config import Config
from stream_al.errors import ConfigError

NOTHING: Mapping[str, Any] = MappingProxyType({})


def read(
    tmp_path: Path,
    text: str | bytes = "",
    environ: Mapping[str, str] = NOTHING,
    flags: Mapping[str, tuple[str, object]] = NOTHING,
) -> Settings:
    """Load with a file `stream-al.toml` of this content."""
    file = tmp_path / "stream-al.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, environ, flags)


def mistakes(
    tmp_path: Path,
    text: str | bytes = "",
    environ: Mapping[str, str] = NOTHING,
    flags: Mapping[str, tuple[str, object]] = NOTHING,
) -> list[str]:
    """Load, and return the lines of the error, the folder of the file left out."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, environ, flags)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_nothing_given_is_the_defaults() -> None:
    """Without file, variables and flags every value is its default and says so."""
    settings = load(None, {"PATH": "/bin"}, {})
    assert settings.config == Config()
    assert set(settings.origins) == set(KEYS)
    assert set(settings.origins.values()) == {"default"}


def test_flag_wins_over_variable_over_file_over_default(tmp_path: Path) -> None:
    """Each layer wins over those before it, and each value names the layer that set it."""
    settings = read(
        tmp_path,
        "[gate]\nbudget = 0.01\nexplore = 0.1\nburst = 11\n",
        {"STREAM_AL__GATE__BUDGET": "0.02", "STREAM_AL__GATE__EXPLORE": "0.2"},
        {"gate.budget": ("--budget", 0.03)},
    )
    gate, origins = settings.config.gate, settings.origins
    assert (gate.budget, gate.explore, gate.burst, gate.threshold) == (0.03, 0.2, 11.0, 0.5)
    assert origins["gate.budget"] == "--budget"
    assert origins["gate.explore"] == "STREAM_AL__GATE__EXPLORE"
    assert origins["gate.burst"] == f"{tmp_path / 'stream-al.toml'}, line 4"
    assert origins["gate.threshold"] == "default"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("GATE__BURST", "5", 5.0),
        ("LEARNER__MEMORY", "7", 7),
        ("LEARNER__COMMITTEE", "false", False),
        ("GATE__POLICY", "random", "random"),
        ("SOURCE__TIME", "ts", "ts"),
        ("SOURCE__TIME", "null", None),
        ("REPLAY__LIMIT", "null", None),
        ("REPLAY__LIMIT", "12", 12),
        ("LEARNER__CLASSES", "yes, no", ("yes", "no")),
        ("SOURCE__IGNORE", "", ()),
        ("ANNOTATOR__DELAY", "1000", "1000"),
        ("ANNOTATOR__NOISE", "0.1", 0.1),
        ("ANNOTATOR__NOISE", '{"a": {"a": 1, "b": 0}}', {"a": {"a": 1.0, "b": 0.0}}),
    ],
)
def test_variables_are_parsed_by_the_type_of_their_key(name: str, text: str, value: object) -> None:
    """A variable's text becomes a value of its key's type."""
    settings = load(None, {f"STREAM_AL__{name}": text}, {})
    section, key = name.lower().split("__")
    found = getattr(getattr(settings.config, section), key)
    assert found == value
    assert type(found) is type(value)


def test_variables_with_one_underscore_are_none_of_ours() -> None:
    """Only names that begin with STREAM_AL and two underscores are read."""
    assert load(None, {"STREAM_AL_DATA": "x", "STREAM_AL": "y"}, {}).config == Config()


def test_whole_numbers_do_for_numbers_in_a_file(tmp_path: Path) -> None:
    """A number may be written without a decimal point in TOML."""
    burst = read(tmp_path, "gate.burst = 9").config.gate.burst
    assert burst == 9.0
    assert isinstance(burst, float)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[gate]\nbudget = '0.1'",
            "line 2: gate.budget: must be a number, not '0.1'",
        ),
        ("[gate]\nbudget = true", "line 2: gate.budget: must be a number, not True"),
        (
            "[learner]\nmemory = 1.5",
            "line 2: learner.memory: must be a whole number, not 1.5",
        ),
        (
            "[learner]\ncommittee = 1",
            "line 2: learner.committee: must be true or false, not 1",
        ),
        (
            "[annotator]\ndelay = 1000",
            "line 2: annotator.delay: must be text in quotes, not 1000",
        ),
        (
            "[learner]\nclasses = 'a,b'",
            "line 2: learner.classes: must be a list of texts in quotes, not 'a,b'",
        ),
        (
            "[source]\ntime = 2020-01-01",
            "line 2: source.time: must be text in quotes, not datetime.date(2020, 1, 1)",
        ),
        (
            "[source]\non_error = 'ignore'",
            "line 2: source.on_error: must be one of skip, stop, not 'ignore'",
        ),
        (
            "[annotator.noise]\na = 'b'",
            "line 1: annotator.noise: must be a number or a table of tables of numbers, "
            "not {'a': 'b'}",
        ),
        ("gate = 3", "line 1: gate must be a table, not 3"),
        (
            "[[gate]]\nbudget = 0.1",
            "line 1: gate must be a table, not [{'budget': 0.1}]",
        ),
    ],
)
def test_wrong_type_in_a_file_names_line_key_and_expectation(
    tmp_path: Path, text: str, line: str
) -> None:
    """A value of the wrong type is reported with file, line, key, and what was expected."""
    assert mistakes(tmp_path, text) == [f"stream-al.toml, {line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[gat]\nbudget = 1\nburst = 3", "line 1: 'gat' is no section; did you mean gate?"),
        ("\nbudget = 0.1", "line 2: 'budget' is no section; did you mean 'gate.budget'?"),
        ("zzz = 1", "line 1: 'zzz' is no section"),
        (
            "[gate]\nbudgte = 0.1",
            "line 2: 'gate.budgte' is no key; did you mean 'gate.budget'?",
        ),
        (
            "[gate]\n# memory\nmemory = 3",
            "line 3: 'gate.memory' is no key; did you mean 'learner.memory'?",
        ),
        ("[gate]\nzzz = 0.1", "line 2: 'gate.zzz' is no key"),
    ],
)
def test_unknown_names_in_a_file_suggest_the_nearest(tmp_path: Path, text: str, line: str) -> None:
    """An unknown section or key is reported once, with its line and the nearest known one."""
    assert mistakes(tmp_path, text) == [f"stream-al.toml, {line}"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("STREAM_AL__GATE__BUDGTE", "; did you mean STREAM_AL__GATE__BUDGET?"),
        ("STREAM_AL__GAT__BUDGET", "; did you mean STREAM_AL__GATE__BUDGET?"),
        ("STREAM_AL__X", ""),
    ],
)
def test_unknown_variables_suggest_the_nearest(name: str, line: str) -> None:
    """A variable with our prefix that names no key is a mistake, not ignored."""
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{name}: names no key{line}')}$"):
        load(None, {name: "0.1"}, {})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("GATE__BUDGET", "much", "a number, not 'much'"),
        ("GATE__BUDGET", "", "a number, not ''"),
        ("REPLAY__LIMIT", "1.5", "a whole number, not '1.5'"),
        ("LEARNER__COMMITTEE", "yes", "true or false, not 'yes'"),
        ("GATE__POLICY", "fix", "one of fixed, quantile, random, "),
        ("ANNOTATOR__NOISE", "{", "a number or a table of tables of numbers, not '{'"),
        ("ANNOTATOR__NOISE", '{"a": {"a": "1"}}', "a number or a table of tables of numbers"),
    ],
)
def test_wrong_text_in_a_variable_names_it(name: str, text: str, expected: str) -> None:
    """A variable whose text is no value of its key is reported with what was expected."""
    pattern = re.escape(f"STREAM_AL__{name}: must be {expected}")
    with pytest.raises(ConfigError, match=f"^{pattern}"):
        load(None, {f"STREAM_AL__{name}": text}, {})


def test_range_mistakes_name_the_place_that_the_value_came_from(tmp_path: Path) -> None:
    """A value out of range is attributed to the file and line, variable or flag that won."""
    found = mistakes(
        tmp_path,
        "[gate]\nbudget = 7\nexplore = 2\n[learner]\nmemory = 0",
        {"STREAM_AL__GATE__EXPLORE": "3"},
        {"gate.budget": ("--budget", 1.5)},
    )
    assert found == [
        "stream-al.toml, line 5: learner.memory: must be at least 1, not 0",
        "--budget: must be in (0, 1], not 1.5",
        "STREAM_AL__GATE__EXPLORE: must be in [0, 1], not 3.0",
    ]


def test_all_mistakes_of_all_places_are_reported_at_once(tmp_path: Path) -> None:
    """One run reports unknown keys, wrong types and ranges of file, variables and flags."""
    found = mistakes(
        tmp_path,
        "[gate]\nbudgte = 1\nexplore = 'x'\nburst = 1",
        {"STREAM_AL__REPLAY__LIMIT": "x", "STREAM_AL__X__Y": "1"},
        {"learner.draws": ("--draws", -1)},
    )
    assert [line.split(": ")[0] for line in found] == [
        "stream-al.toml, line 2",
        "stream-al.toml, line 3",
        "STREAM_AL__REPLAY__LIMIT",
        "STREAM_AL__X__Y",
        "--draws",
        "stream-al.toml, line 4",
    ]


def test_syntax_mistake_does_not_hide_those_of_other_places(tmp_path: Path) -> None:
    """A file that is no TOML is reported by line, and variables and flags are checked still."""
    found = mistakes(
        tmp_path,
        "[gate]\nbudget = \n",
        {"STREAM_AL__GATE__SCORE": "risk", "STREAM_AL__GATE__BURST": "0"},
    )
    assert found == [
        "stream-al.toml, line 2: Invalid value at column 10",
        "STREAM_AL__GATE__BURST: must be at least 2 and finite, not 0.0",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[gate]\nburst = [1,\n2", "line 3: Unclosed array at the end of the file"),
        (b"[gate]\n\nmodel = '\xff'", "line 3: must be UTF-8, not byte 0xff"),
        (b"[gate]\nburst = 2\nburst = 3\n", "line 3: Cannot overwrite a value at column 10"),
    ],
)
def test_unreadable_toml_names_file_and_line(tmp_path: Path, content: bytes, line: str) -> None:
    """Broken syntax, a wrong encoding and a key set twice are reported with file and line."""
    assert mistakes(tmp_path, content) == [f"stream-al.toml, {line}"]


def test_number_beyond_all_limits_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    """A whole number that Python refuses to read is reported as a mistake of the file."""
    (line,) = mistakes(tmp_path, f"[learner]\nseed = {'9' * 5000}")
    assert line.startswith("stream-al.toml: Exceeds the limit")


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A configuration file that does not exist is a mistake, not an empty one."""
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        load(tmp_path / "none.toml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, {})


def test_missing_company_of_a_value_is_named_by_its_key() -> None:
    """A default that another value makes wrong is named by its key."""
    with pytest.raises(ConfigError, match=r"^gate\.risk_class: must be a class, because score is"):
        load(None, {}, {"gate.score": ("--score", "risk")})


NOISE = """\
[annotator.noise]  # of each class
fraud = { fraud = 0.5, fine = 0.5 }

[annotator.noise.fine]
fine = 0.9
"""


def test_noise_table_is_read_and_its_rows_are_attributed(tmp_path: Path) -> None:
    """A wrong row of the noise table is attributed to the row's own line, variable or flag."""
    good = read(tmp_path, NOISE.replace("0.9", "1"))
    assert good.config.annotator.noise == {
        "fraud": {"fraud": 0.5, "fine": 0.5},
        "fine": {"fine": 1.0},
    }
    assert good.origins["annotator.noise"].endswith("stream-al.toml, line 1")
    what = "must hold probabilities that add up to 1, not {'fine': 0.9}"
    assert mistakes(tmp_path, NOISE) == [f"stream-al.toml, line 4: annotator.noise.fine: {what}"]
    flag = {"annotator.noise": ("--noise", '{"fine": {"fine": 0.9}}')}
    assert mistakes(tmp_path, NOISE, {}, flag) == [f"--noise, fine: {what}"]


def test_lines_are_found_however_keys_are_written() -> None:
    """Headers, dotted and quoted keys, comments and values over several lines keep their lines."""
    text = """\
# budget = 0.5
gate.budget = 0.1 # [learner]

[ learner ]
"classes" = [  # memory = 1
    "a]",
    "b",
]
model = '''
memory = 3
[source]'''
memory = 4
[annotator . noise]
a.b = 1
c = { d = 2 }
"""
    assert key_lines(text) == {
        "gate": 2,
        "gate.budget": 2,
        "learner": 4,
        "learner.classes": 5,
        "learner.model": 9,
        "learner.memory": 12,
        "annotator": 13,
        "annotator.noise": 13,
        "annotator.noise.a": 14,
        "annotator.noise.a.b": 14,
        "annotator.noise.c": 15,
        "annotator.noise.c.d": 15,
    }
    assert key_lines(text.replace("\n", "\r\n")) == key_lines(text)


def test_overlay_keeps_origins_and_attributes_mistakes_to_the_base(tmp_path: Path) -> None:
    """Flags laid over settings win, keep the other origins, and spoil them by name."""
    base = read(tmp_path, "learner.classes = ['a', 'b']\ngate.risk_class = 'c'")
    over = overlay(base, {"gate.budget": ("--budget", 0.5)})
    assert over.config == msgspec.structs.replace(
        base.config, gate=msgspec.structs.replace(base.config.gate, budget=0.5)
    )
    assert over.origins == {**base.origins, "gate.budget": "--budget"}
    with pytest.raises(ConfigError, match=r"stream-al\.toml, line 2: gate\.risk_class: must be"):
        overlay(base, {"gate.score": ("--score", "risk")})


def test_flags_of_an_arm_win_over_the_common_ones() -> None:
    """An arm's flags are those of the commands, and win over what all arms share."""
    common = load(None, {}, {"gate.budget": ("--budget", 0.5), "gate.burst": ("--burst", 5.0)})
    arm = settings_from_flags(["--plain", "--budget", "0.1", "--classes", "a,b"], common)
    assert (arm.config.gate.budget, arm.config.gate.burst) == (0.1, 5.0)
    assert (arm.config.learner.committee, arm.config.learner.classes) == (False, ("a", "b"))
    assert arm.origins["learner.committee"] == "--plain"
    assert arm.origins["learner.calibrate"] == "default"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--polic", "random"], "--polic random: No such option '--polic'."),
        (["--budget", "x"], "--budget x: Invalid value for '--budget'"),
        (["--budget", "2"], "--budget 2: --budget: must be in (0, 1], not 2.0"),
        (["--noise", "a b"], "--noise 'a b': --noise: must be a number or a table"),
        (["random"], "random: Got unexpected extra argument"),
        (["--config", "f"], "--config f: No such option '--config'."),
        (["--help"], "--help: No such option '--help'."),
    ],
)
def test_mistakes_of_an_arm_name_its_text(arguments: list[str], line: str) -> None:
    """Whatever is wrong with an arm's flags, the error shows the arm's text."""
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        settings_from_flags(arguments, DEFAULTS)


def test_every_key_has_a_meaning() -> None:
    """Every field of every section is described in its class, once for all commands."""
    fields = [f"{s}.{field}" for s in SECTIONS for field in getattr(Config(), s).__struct_fields__]
    assert list(KEYS) == fields
    assert [path for path, key in KEYS.items() if not key.meaning.endswith(".")] == []
