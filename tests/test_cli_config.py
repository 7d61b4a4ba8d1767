"""The frame of the command line: `stream-al config`, flags, exit codes, lazy commands."""

from __future__ import annotations

import ast
import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.errors import StopError
from stream_al.cli.app import application
from stream_al.cli.config_commands import to_toml
from stream_al.cli.config_keys import KEYS, SECTIONS
from stream_al.cli.options import config_options, section_options
from stream_al.cli.settings import Settings, load
from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    LedgerConfig,
    LogConfig,
    MessageConfig,
    ReplayConfig,
    SecurityConfig,
    ServeConfig,
    SourceConfig,
    problems,
)
from stream_al.errors import InputError

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no configuration of the outside leak in."""
    for name in os.environ:
        if name.startswith("STREAM_AL__"):
            monkeypatch.delenv(name)


def run(*arguments: str, **variables: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments, env=variables)


def registered(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    """Put a command in the place of `demo`, loaded by its name as any other."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "probe", command, raising=False)
    commands = {"demo": (f"{__name__}:probe", "")}
    monkeypatch.setattr("stream_al.cli.app._COMMANDS", commands)


def test_init_writes_a_file_that_loads_to_the_defaults(tmp_path: Path) -> None:
    """The written file names every key, sets the defaults, and comments null ones out."""
    file = tmp_path / "new.toml"
    result = run("config", "init", "--output", str(file))
    assert (result.exit_code, result.output) == (0, "")
    assert load(file, {}, {}).config == Config()
    text = file.read_text()
    assert run("config", "init").stdout == text
    written = {f"{s}.{key}" for s, table in tomllib.loads(text).items() for key in table}
    null = {path for path, key in KEYS.items() if key.default is None}
    assert written == set(KEYS) - null
    assert "gate.step" in null
    assert "# step = <a number>\n" in text
    meant = "# Share of the budget that is spent on events picked uniformly, in [0, 1]."
    assert meant + "\nexplore = 0.5\n" in text


def test_init_refuses_to_overwrite(tmp_path: Path) -> None:
    """A file that exists stays as it is, with exit code 2."""
    file = tmp_path / "mine.toml"
    file.write_text("mine")
    result = run("config", "init", "--output", str(file))
    assert result.exit_code == 2
    assert result.stderr == f"error: {file}: exists already; nothing was written\n"
    assert file.read_text() == "mine"
    missing = run("config", "init", "--output", str(tmp_path / "no" / "x.toml"))
    assert missing.exit_code == 2
    assert "cannot be written: No such file or directory" in missing.stderr


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ('[learner]\nmodel = "zzz"', 2, "learner.model: unknown model 'zzz'"),
        ('[learner]\nmodel = "no_such_module:f"', 2, "cannot load 'no_such_module:f'"),
        ('[ledger]\ngold_file = "gone"', 2, "ledger.gold_file: cannot read 'gone'"),
        ('[ledger]\ngold_file = "bad"', 3, "bad, line 1: "),
    ],
)
def test_check_looks_for_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, code: int, told: str
) -> None:
    """A model or a file of gold cases that could not be used is found before anything starts."""
    monkeypatch.chdir(tmp_path)
    Path("bad").write_text("{\n")
    Path("a.toml").write_text(content)
    result = run("config", "check", "--config", "a.toml")
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr


def test_check_says_fine() -> None:
    """A valid configuration is one line on standard output and exit code 0."""
    result = run("config", "check", "--budget", "0.1", STREAM_AL__GATE__BURST="5")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "fine\n", "")


def test_check_prints_every_mistake_on_a_line_of_its_own(tmp_path: Path) -> None:
    """File, variable and flag mistakes are lines on standard error, with exit code 2."""
    file = tmp_path / "f.toml"
    file.write_text("[gate]\nbudgte = 1\n")
    result = run(
        *("config", "check", "--config", str(file), "--budget", "1.5"),
        STREAM_AL__GATE__BURST="x",
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"error: {file}, line 2: 'gate.budgte' is no key; did you mean 'gate.budget'?",
        "error: STREAM_AL__GATE__BURST: must be a number, not 'x'",
        "error: --budget: must be in (0, 1], not 1.5",
    ]


def test_show_tells_values_and_origins(tmp_path: Path) -> None:
    """Every key is shown with its effective value and the place that it came from."""
    file = tmp_path / "f.toml"
    file.write_text("gate.budget = 0.2\nsource.time = 'ts'\n")
    flags = ("--config", str(file), "--budget", "0.1", "--seed", "7")
    shown = run("config", "show", *flags, STREAM_AL__LEARNER__CLASSES="a,b")
    assert shown.exit_code == 0
    lines = [line.split(maxsplit=1)[0] for line in shown.stdout.replace("# ", "").splitlines()]
    assert lines == list(KEYS)
    words = " ".join(shown.stdout.split())
    assert "gate.budget = 0.1 # --budget " in words
    assert f'source.time = "ts" # {file}, line 2 ' in words
    assert 'learner.classes = ["a", "b"] # STREAM_AL__LEARNER__CLASSES ' in words
    assert "gate.salt = 7 # --seed " in words
    assert "# gate.step = null # default " in words
    again = tmp_path / "again.toml"
    again.write_text(shown.stdout)
    as_json = json.loads(
        run("config", "show", "--json", *flags, STREAM_AL__LEARNER__CLASSES="a,b").stdout
    )
    assert run("config", "show", "--config", str(again), "--json").stdout.startswith(
        json.dumps({"config": as_json["config"]}, separators=(",", ":"))[:-1]
    )
    assert as_json["origins"]["annotator.seed"] == "--seed"
    assert set(as_json["origins"]) == set(KEYS)


@click.command
@section_options(*SECTIONS)
def everything(settings: Settings) -> None:
    """Show the settings, with the flags of all sections."""
    click.echo(msgspec.json.encode({"config": settings.config, "origins": settings.origins}))


REPLAY_LINE = shlex.split(
    "--label y --time t --id i --key k --ignore a --ignore b* --categorical c --partitions 3 "
    "--on-error skip --classes x,y --model naive-bayes --plain --no-calibrate --score risk "
    "--risk-class x --policy fixed --budget 0.5 --explore 0.25 --burst 3 --threshold 0.75 "
    "--step 0.125 --observe-every 9 --delay 36h --delay-distribution exponential "
    "--abstain 0.5 --capacity 10 --limit 11 --batch-size 12 --seed 13 "
    """--noise '{"x":{"y":1}}'"""
)
REPLAY_SET = {
    "learner": {
        "model": "naive-bayes",
        "committee": False,
        "classes": ["x", "y"],
        "calibrate": False,
        "seed": 13,
    },
    "gate": {
        "score": "risk",
        "risk_class": "x",
        "policy": "fixed",
        "budget": 0.5,
        "explore": 0.25,
        "burst": 3.0,
        "threshold": 0.75,
        "step": 0.125,
        "observe_every": 9,
        "salt": 13,
    },
    "source": {
        "label": "y",
        "time": "t",
        "id": "i",
        "key": "k",
        "ignore": ["a", "b*"],
        "categorical": ["c"],
        "partitions": 3,
        "on_error": "skip",
    },
    "annotator": {
        "delay": "36h",
        "delay_distribution": "exponential",
        "noise": {"x": {"y": 1.0}},
        "abstain": 0.5,
        "capacity_per_day": 10,
        "seed": 13,
    },
    "replay": {"limit": 11, "batch_size": 12},
}
LIVE_LINE = shlex.split(
    "--driver kafka --path a.db --brokers b:1 --name n --instance i1 --events-topic e "
    "--log-partitions 4 --message-id m.id --message-time m.t --message-key m.k --features f "
    "--include a --include b* --exclude c --missing allow --numeric-text number "
    "--state-dir s --expire-after-s 60 --host h --port 0"
)
LIVE_SET = {
    "log": {
        "driver": "kafka",
        "path": "a.db",
        "brokers": "b:1",
        "name": "n",
        "instance": "i1",
        "events": "e",
        "partitions": 4,
    },
    "message": {
        "id": "m.id",
        "time": "m.t",
        "key": "m.k",
        "features": "f",
        "include": ["a", "b*"],
        "exclude": ["c"],
        "missing": "allow",
        "numeric_text": "number",
    },
    "loop": {"state_dir": "s"},
    "ledger": {"expire_after_s": 60.0},
    "serve": {"host": "h", "port": 0},
}


@pytest.mark.parametrize(
    ("line", "values"),
    [(REPLAY_LINE, REPLAY_SET), (LIVE_LINE, LIVE_SET)],
    ids=["replay", "live"],
)
def test_every_flag_sets_its_key(line: list[str], values: dict[str, dict[str, object]]) -> None:
    """Each flag reaches its keys, which name it as their origin; no other key is changed."""
    result = CliRunner().invoke(everything, line)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    expected = json.loads(msgspec.json.encode(Config()))
    for section, changed in values.items():
        expected[section] |= changed
    assert shown["config"] == expected
    typed = {path: origin for path, origin in shown["origins"].items() if origin != "default"}
    assert set(typed) == {f"{section}.{key}" for section in values for key in values[section]}
    assert set(typed.values()) == {part for part in line if part.startswith("--")}


def test_every_flag_is_tried() -> None:
    """The lines above hold every flag that any command has for the configuration."""
    flags = {name for option in everything.params for name in option.opts}
    tried = {part for part in (*REPLAY_LINE, *LIVE_LINE) if part.startswith("--")}
    others = {"--config", "--committee", "--calibrate"}
    assert flags - others == tried - {"--plain", "--no-calibrate"}


def test_commands_have_the_flags_that_concern_them() -> None:
    """A replay shows no flag of a log, and what looks at a log shows none of a replay."""
    replay = " ".join(run("replay", "--help").stdout.split())
    tail = " ".join(run("tail", "--help").stdout.split())
    feed = " ".join(run("feed", "--help").stdout.split())
    assert "--budget" in replay
    assert "--brokers" not in replay
    assert "--budget" not in tail
    assert "--brokers HOST:PORT,..." in tail
    assert "[log.brokers]" in tail
    assert "[replay.limit]" in feed
    assert "--batch-size" not in feed
    assert "[source.key]" in feed
    assert "[source.partitions]" not in feed
    with pytest.raises(ValueError, match=r"^no sections or keys: gat, log\.drive$"):
        section_options("log", "gat", "log.drive")


def test_help_shows_meanings_and_defaults_of_the_configuration() -> None:
    """A flag's help is its key's meaning and default, which are written once."""
    text = " ".join(run("config", "show", "--help").stdout.split())
    told = "Share of the budget that is spent on events picked uniformly, in [0, 1]."
    assert f"--explore FLOAT {told} [gate.explore] [default: 0.5]" in text
    assert "[learner.committee] [default: committee]" in text
    assert "[gate.step] --observe-every" in text


def test_command_keeps_its_own_parameters_beside_the_settings() -> None:
    """A command with own argument and options gets these and the settings, nothing else."""

    @click.command
    @click.argument("source")
    @click.option("--json", "as_json", is_flag=True)
    @config_options
    def probe(**parameters: object) -> None:
        assert parameters.pop("source") == "s.csv"
        assert parameters.pop("as_json") is True
        (settings,) = parameters.values()
        assert isinstance(settings, Settings)
        click.echo(settings.config.replay.limit)

    result = CliRunner().invoke(probe, ["s.csv", "--limit", "5", "--json"])
    assert (result.output, result.exit_code) == ("5\n", 0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["config", "check", "--budget", "x"], "Invalid value for '--budget': 'x' is not"),
        (["config", "check", "--policy", "x"], "Invalid value for '--policy': 'x' is not one"),
        (["config", "check", "--budgte", "1"], "No such option"),
        (["config", "check", "extra"], "Got unexpected extra argument"),
        (["config", "chekc"], "No such command 'chekc'"),
        (["confg"], "No such command 'confg'"),
        (["--bogus"], "No such option"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: Sequence[str], line: str) -> None:
    """What is wrong with a command line is one line on standard error, with where to look."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"error: {line}")
    assert told.endswith(" --help`)")


def test_no_arguments_show_the_help_and_exit_2() -> None:
    """Without a command the help goes to standard error, for nothing was done."""
    for arguments in [], ["config"]:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Commands:" in result.stderr


def test_version_and_help_exit_0() -> None:
    """Version and help are results; the help tells the commands and the exit codes."""
    assert run("--version").stdout == "stream-al, version 0.1.0\n"
    shown = run("--help")
    assert shown.exit_code == 0
    for line in (
        "  replay   Play a recorded stream",
        "    0    fine\n",
        "    2    usage, configuration, or a model of your own\n",
        "    5    must not go on; may be started again\n",
        "    141  ",
    ):
        assert f"\n{line}" in shown.stdout


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (
            InputError("no number", "a.csv", 3, "x"),
            3,
            "error: a.csv, line 3, column 'x': no number",
        ),
        (click.exceptions.Exit(1), 1, ""),
        (click.FileError("out.jsonl", "full"), 2, "error: Could not open file 'out.jsonl': full"),
        (StopError("events is missing"), 5, "error: events is missing"),
        (OSError(28, "No space left", "out"), 4, "error: out: No space left"),
        (KeyError("two\nlines"), 4, "error: internal: KeyError: 'two\\nlines' (`stream-al --debug"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_errors_of_a_command_become_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, exit_code: int, line: str
) -> None:
    """Errors raised on purpose, the system's, and unexpected ones end in their exit codes."""

    @click.command
    def failing() -> None:
        click.echo("half a result")
        raise error

    registered(monkeypatch, failing)
    result = run("demo")
    assert (result.exit_code, result.stdout) == (exit_code, "half a result\n")
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == (1 if line else 0)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --debug the traceback comes before the line, and the exit code stays."""

    @click.command
    def failing() -> None:
        raise KeyError("x")

    registered(monkeypatch, failing)
    result = run("--debug", "demo")
    assert result.exit_code == 4
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith("\nerror: internal: KeyError: 'x'\n")


def test_process_ends_with_its_exit_code_and_streams_apart() -> None:
    """As a process, mistakes are on standard error only and the exit code is 2."""
    ended = subprocess.run(
        [*PROCESS, "config", "check", "--budget", "1.5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: --budget: must be in (0, 1], not 1.5\n"


def test_closed_standard_output_ends_quietly() -> None:
    """When the reader of the results is gone there is no complaint and exit code 141."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*PROCESS, "config", "init"], stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


RUNNING = "probe = click.Command('p', callback=lambda: (click.echo('up'), signal.pause()))\n"
IMPORTING = """
class Swallowing(type(sys)):
    def __getattr__(self, name):
        try:
            click.echo("up")
            signal.pause()
        except KeyboardInterrupt:
            pass
        return click.Command("p")


sys.modules["__main__"] = Swallowing("__main__")
"""


@pytest.mark.parametrize("then", [RUNNING, IMPORTING], ids=["running", "importing"])
def test_interrupt_ends_with_one_line(then: str) -> None:
    """Control-C ends a process with one line and exit code 130, whatever an import swallows."""
    body = (
        "import signal, sys, click\n"
        "from stream_al.cli import app\n"
        # What was started in the background of a script inherits that this signal is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{then}"
        "app._COMMANDS['demo'] = ('__main__:probe', '')\n"
        "sys.argv[1:] = ['demo']\n"
        "app.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", body], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, "error: interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["config", "check"], ["config", "show"]])
def test_frame_imports_no_models(arguments: list[str]) -> None:
    """Help and configuration start fast: river, numpy and the other commands stay unloaded."""
    body = (
        "import atexit, sys\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr))\n"
        "from stream_al.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    loaded = set(ast.literal_eval(ended.stderr))
    assert "stream_al.cli.app" in loaded
    assert not loaded & {"river", "numpy", "joblib", "stream_al.cli.replay_command"}
    if arguments == ["--help"]:
        assert "stream_al.cli.config_commands" not in loaded


def test_shell_completion_is_offered() -> None:
    """The completion script of a shell can be generated as click documents it."""
    variables = {**os.environ, "_STREAM_AL_COMPLETE": "zsh_source"}
    ended = subprocess.run(PROCESS, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout.startswith("#compdef stream-al")


# Text that TOML can hold: anything but lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SHARE = st.floats(0, 1)
WHOLE = st.integers(1, 10**12)
CLASSES = st.lists(TEXT, unique=True, max_size=4).filter(lambda names: len(names) != 1)
MATRIX = st.dictionaries(TEXT, st.dictionaries(TEXT, st.just(1.0), min_size=1, max_size=1))
CONFIGS = st.builds(
    Config,
    learner=st.builds(
        LearnerConfig,
        model=TEXT,
        classes=CLASSES.map(tuple),
        memory=WHOLE,
        draws=WHOLE,
        balance=st.floats(0, 0.5),
        seed=st.integers(),
    ),
    gate=st.builds(
        GateConfig,
        score=st.sampled_from(["margin", "entropy"]),
        risk_class=st.none() | TEXT,
        budget=st.floats(0, 1, exclude_min=True),
        explore=SHARE,
        burst=st.floats(2, allow_infinity=False),
        threshold=SHARE,
        step=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
        observe_every=WHOLE,
    ),
    source=st.builds(
        SourceConfig,
        label=TEXT,
        ignore=st.lists(TEXT, max_size=3).map(tuple),
        partitions=WHOLE,
    ),
    annotator=st.builds(
        AnnotatorConfig,
        noise=SHARE,
        abstain=SHARE,
        capacity_per_day=st.none() | WHOLE,
    )
    | st.builds(AnnotatorConfig, noise=MATRIX),
    replay=st.builds(ReplayConfig, limit=st.none() | WHOLE, batch_size=WHOLE),
    log=st.builds(LogConfig, path=TEXT, brokers=TEXT, retain_bytes=st.none() | WHOLE),
    security=st.builds(SecurityConfig, username=st.none() | TEXT, ca_file=st.none() | TEXT),
    message=st.builds(
        MessageConfig,
        id=st.none() | TEXT,
        features=TEXT,
        include=st.lists(TEXT, max_size=3).map(tuple),
    ),
    # TOML has no null, so in a file a key whose default is none of it cannot be set to it.
    ledger=st.builds(LedgerConfig, expire_after_s=st.floats(1e-3, 1e9)),
    serve=st.builds(ServeConfig, host=TEXT, port=st.integers(0, 65535)),
).filter(lambda config: problems(config) == [])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=CONFIGS)
def test_any_configuration_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    """A configuration written as TOML loads back equal, whatever text and numbers it holds."""
    file = tmp_path_factory.mktemp("config") / "c.toml"
    file.write_bytes(to_toml(config).encode())
    assert load(file, {}, {}).config == config
