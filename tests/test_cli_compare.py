"""`stream-al compare`: flags, exit codes, the table, the JSON, and runs that are kept."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream_al.cli.app import application

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")
PHISHING = ("compare", "river:Phishing", "--label", "is_phishing", "--plain", "--limit", "300")
ARMS = ("--arm", "margin:", "--arm", "random: --policy random")
SMALL = ("--budgets", ".5", "--seeds", "2", "--jobs", "1")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no configuration of the outside leak in."""
    for name in os.environ:
        if name.startswith("STREAM_AL__"):
            monkeypatch.delenv(name)


def run(*arguments: str, **variables: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments, env=variables)


@pytest.mark.parametrize(
    "source", [("cards:3000",), ("river:Phishing", "--label", "is_phishing")], ids=lambda s: s[0]
)
def test_any_number_of_jobs_gives_the_same_json(source: tuple[str, ...]) -> None:
    """One process or two: the same bytes on standard output, and nothing beside them."""
    flags = ("--budgets", ".01", "--seeds", "2", "--noise", "0.05", "--target", "accuracy=.8")
    results = [run("compare", *source, *ARMS, *flags, "--json", "--jobs", n) for n in ("1", "2")]
    assert [(result.exit_code, result.stderr) for result in results] == [(0, ""), (0, "")]
    assert results[0].stdout == results[1].stdout
    found = json.loads(results[0].stdout)
    assert found["seeds"] == [0, 1]
    assert found["metric"] == ("average_precision" if "cards" in source[0] else "weighted_f1")
    assert [cell["arm"] for cell in found["cells"]] == ["margin", "random"]
    assert [target["arm"] for target in found["targets"]] == ["margin", "random"]
    for cell in found["cells"]:
        assert cell["seeds"] == len(cell["runs"]) == 2
        assert len(cell["curve"]) == 24
        assert cell["curve"][-1]["events"] == found["events"]
        assert cell["curve"][-1]["mean"] == cell["mean"]
        assert all(one["max_overspend"] <= 20 for one in cell["runs"])


def test_the_table_says_how_many_seeds_stand_behind_each_figure() -> None:
    """Every table and note names the seeds, and arms stand in the order given."""
    flags = ("--budgets", ".5,.2", "--seeds", "3", "--target", "accuracy=1")
    result = run(*PHISHING, *ARMS, *flags, "--jobs", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "river:Phishing: 300 events"
    assert "all figures: mean of 3 seeds (0 to 2), ± standard deviation" in lines
    tables = [at for at, line in enumerate(lines) if line.startswith(("budget", "target"))]
    assert [lines[at].split(",")[-1] for at in tables] == [" 3 seeds"] * 3
    assert [lines[at].split()[1] for at in tables] == ["0.2", "0.5", "accuracy"]
    for at in tables:
        assert [line.split()[0] for line in lines[at + 1 : at + 4]] == ["arm", "margin", "random"]
    assert "minus margin [95%]" in lines[tables[0] + 1]
    assert lines[tables[0] + 3].endswith("(1.0x)")
    assert "not reached with" in lines[-1] or "not reached with" in result.stdout
    assert max(map(len, lines)) <= 100


def test_flags_of_an_arm_win_over_common_ones() -> None:
    """Common flags hold for all arms, an arm's own flags for itself; both are told."""
    arms = ("--arm", "a: --policy random", "--arm", "b:")
    result = run(*PHISHING, *arms, *SMALL, "--policy", "variable", "--delay", "5", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)["arms"]
    assert [told[name]["gate.policy"] for name in "ab"] == ["random", "variable"]
    assert [told[name]["annotator.delay"] for name in "ab"] == ["5", "5"]


@pytest.mark.parametrize(
    ("flags", "variables", "budgets"),
    [
        ((), {}, [0.01, 0.02, 0.05]),
        (("--budget", ".5"), {}, [0.5]),
        ((), {"STREAM_AL__GATE__BUDGET": "0.25"}, [0.25]),
        (("--budgets", ".5,.25"), {"STREAM_AL__GATE__BUDGET": "0.1"}, [0.25, 0.5]),
    ],
)
def test_budgets_come_from_the_nearest_place(
    flags: tuple[str, ...], variables: dict[str, str], budgets: list[float]
) -> None:
    """The flag for several budgets wins, then a configured one, then the default."""
    alone = ("--arm", "a:", "--seeds", "1", "--jobs", "1", "--json")
    result = run(*PHISHING, *alone, *flags, **variables)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["budgets"] == budgets


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Missing option '--arm'"),
        (("--arm", "margin"), "--arm 'margin': expected a name, a colon, and flags"),
        (("--arm", " : --policy random"), "--arm ' : --policy random': expected a name"),
        (("--arm", "a:", "--arm", "a: --explore 1"), "another arm is called 'a' too"),
        (("--arm", "a: --polcy random"), "--arm 'a': --polcy random: No such option '--polcy'"),
        (("--arm", "a: --policy 'random"), "flags cannot be read: No closing quotation"),
        (("--arm", "a: --explore 2"), "--arm 'a': --explore 2: --explore: must be in [0, 1]"),
        (("--arm", "a: --config x"), "--arm 'a': --config x: No such option '--config'"),
        (("--arm", "a: --budget .2"), "--arm 'a': --budget: all arms are played at the same"),
        (("--arm", "a: --seed 2"), "--arm 'a': --seed: all arms are played with the same seeds"),
        (("--arm", "a: --limit 9"), "--arm 'a': --limit: all arms play the same stream"),
        (("--arm", "a: --noise 0.2"), "--arm 'a': --noise: all arms get the same answers"),
        (
            ("--noise", "0.1", "--arm", "a: --noise 0.2"),
            "--arm 'a': --noise: all arms get the same answers",
        ),
        (("--arm", "a: --delay soon"), "arm 'a': "),
        ((*ARMS, "--budgets", ".1,x"), "--budgets: must be numbers in (0, 1] with commas"),
        ((*ARMS, "--budgets", ".1,2"), "budgets: must be in (0, 1], not 0.1, 2.0"),
        ((*ARMS, "--budgets", ".1", "--budget", ".2"), "expected one of --budget and --budgets"),
        ((*ARMS, "--seeds", "0"), "seeds: must be at least 1, not 0"),
        ((*ARMS, "--seed", "1"), "--seed: seeds are counted from 0"),
        ((*ARMS, "--metric", "f2"), "'--metric': 'f2' is not one of"),
        ((*ARMS, "--target", "f1=.9"), "--target 'f1=.9': must name one of"),
        ((*ARMS, "--target", "weigted_f1=.9"), "did you mean weighted_f1?"),
        ((*ARMS, "--target", "accuracy"), "--target 'accuracy': expected a metric, =,"),
        ((*ARMS, "--target", "accuracy=high"), "--target 'accuracy=high': must be a number"),
        ((*ARMS, "--target", "accuracy=nan"), "targets: must be finite, not nan"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_mistakes_end_with_two_and_one_line(flags: tuple[str, ...], message: str) -> None:
    """Each mistake in the flags is one line that names the flag or the arm, and exit code 2."""
    result = run(*PHISHING, *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_standard_input_is_refused() -> None:
    """A source that can be read once only cannot be compared."""
    result = run("compare", "-", *ARMS)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: source: standard input can be read only once")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_bad_row_ends_with_three(tmp_path: Path, jobs: str) -> None:
    """What a run fails with, in this process or another, is the command's error."""
    path = tmp_path / "rows.csv"
    path.write_text("x,label\n" + "1,a\n2,b\n" * 30 + "oops,a\n")
    result = run("compare", str(path), *ARMS, "--budgets", ".5", "--seeds", "2", "--jobs", jobs)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"error: {path}, line 62, column 'x': ")
    assert result.stderr.count("\n") == 1
    gone = run("compare", str(tmp_path / "gone.csv"), *ARMS)
    assert (gone.exit_code, gone.stderr.count("\n")) == (3, 1)


def test_skipped_rows_are_counted(tmp_path: Path) -> None:
    """With `--on-error skip` the skipped rows and their reason are told on standard error."""
    path = tmp_path / "rows.csv"
    path.write_text("x,label\n" + "1,a\n2,b\n" * 30 + "oops,a\n")
    result = run("compare", str(path), *ARMS, *SMALL, "--plain", "--on-error", "skip")
    assert result.exit_code == 0
    assert result.stderr.startswith("skipped 1 row: ")
    assert result.stdout.startswith(f"{path}: 60 events (1 row skipped)\n")


def test_kept_runs_are_not_played_again(tmp_path: Path) -> None:
    """A second run loads what the folder holds; a damaged file is told of and replaced."""
    folder = tmp_path / "runs"
    command = (*PHISHING, *ARMS, *SMALL, "--json", "--output", str(folder))
    first = run(*command)
    assert (first.exit_code, first.stderr) == (0, "")
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = run(*command)
    assert (again.exit_code, again.stderr, again.stdout) == (0, "", first.stdout)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    damaged = min(files)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    mended = run(*command)
    assert (mended.exit_code, mended.stdout) == (0, first.stdout)
    assert mended.stderr.startswith(f"{damaged}: cannot be read ")
    assert mended.stderr.count("\n") == 1


def test_progress_is_for_terminals() -> None:
    """On a terminal's standard error a bar counts the runs; standard output has the JSON alone."""
    main, terminal = pty.openpty()
    command = (*PROCESS, *PHISHING, *ARMS, *SMALL, "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        assert process.stdout is not None
        shown = bytearray()
        while True:
            try:
                shown += os.read(main, 65536)
            except OSError:  # Linux's end of file on a terminal that was closed
                break
        output = process.stdout.read()
    os.close(main)
    assert process.returncode == 0
    assert b"arms" in shown
    assert b"100%" in shown
    assert json.loads(output)["events"] == 300
