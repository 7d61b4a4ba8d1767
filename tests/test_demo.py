"""`stream-al demo`: its figures, its words, and the baseline that it plays beside the default."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_al.cli.app import application
from stream_al.cli.demo_runs import FRAUD, DemoRun
from stream_al.cli.demo_text import verdict
from stream_al.config import SourceConfig
from stream_al.errors import ConfigError
from stream_al.replay.baseline import random_asking
from stream_al.replay.prequential import Scores, StreamScores
from stream_al.replay.sources import open_source

PROCESS = (sys.executable, "-c", "from stream_al.cli import main; main()")
EVENTS, SEED = 3000, 1
CARDS = SourceConfig()


def command(
    *arguments: str, cwd: Path | None = None, temporary: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own, with pipes for its output."""
    return subprocess.run(
        [*PROCESS, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, "TMPDIR": temporary} if temporary else None,
    )


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, arguments)


@pytest.fixture(scope="module")
def printed() -> subprocess.CompletedProcess[str]:
    """Return what the demo prints into pipes, run where it may leave things behind."""
    with tempfile.TemporaryDirectory() as folder:
        done = command("demo", "--events", str(EVENTS), "--seed", str(SEED), temporary=folder)
        assert done.returncode == 0
        assert list(Path(folder).iterdir()) == [], "the demo left something behind"
    return done


@pytest.fixture(scope="module")
def told(printed: subprocess.CompletedProcess[str]) -> str:
    """Return what the demo prints to standard output."""
    return printed.stdout


@pytest.fixture(scope="module")
def reported() -> dict[str, Any]:
    """Return the object that the demo prints."""
    done = command("demo", "--events", str(EVENTS), "--seed", str(SEED), "--json")
    assert done.returncode == 0
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def few_scores() -> Scores:
    """Score a few events."""
    scores = StreamScores(4)
    for truth in "0100":
        scores.update(truth, "0", {"0": 0.9, "1": 0.1})
    return scores.whole()


FEW = few_scores()


def played(asked: int, whole: float | None, half: float | None) -> DemoRun:
    """Make a run with the average precision of choice, on the whole and its second half."""
    metrics, later = (
        msgspec.structs.replace(
            FEW, average_precision=ap, ranked_class=None if ap is None else FRAUD
        )
        for ap in (whole, half)
    )
    return DemoRun(name="run", asked=asked, metrics=metrics, metrics_second_half=later)


def test_the_live_run_predicts_all_within_budget_and_verifies(
    reported: dict[str, Any], told: str
) -> None:
    """The live run decides about every event, never overspends, and is recomputed to the bit."""
    checked, ours = reported["verification"], reported["runs"][0]
    assert (checked["decisions"], checked["differences"]) == (EVENTS, 0)
    assert ours["metrics"]["events"] == EVENTS
    assert 0 < ours["asked"] <= 0.02 * EVENTS + 20
    assert "0 differences" in " ".join(told.split())


def test_the_first_row_shows_the_live_run(printed: subprocess.CompletedProcess[str]) -> None:
    """What is asked in the table is what the last live line counted."""
    row = next(line for line in printed.stdout.splitlines() if line.startswith("stream_al, budget"))
    last = printed.stderr.splitlines()[-1].split()
    assert last[2:4] == [f"{EVENTS:,}"] * 2
    assert row.split()[3] == last[4]


def test_the_page_is_served_while_it_runs() -> None:
    """The address that the demo names first answers with the page and with its figures."""
    demo = subprocess.Popen(
        [*PROCESS, "demo", "--events", "1000", "--rate", "200", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stderr is not None
    named = re.search(r"http://127\.0\.0\.1:\d+/", demo.stderr.readline())
    assert named is not None
    for path, expected in (("", b"<title>stream_al"), ("metrics", b"stream_al_query_ratio")):
        with urllib.request.urlopen(named[0] + path, timeout=10) as answer:  # noqa: S310
            assert expected in answer.read()
    demo.communicate(timeout=60)
    assert demo.returncode == 0


def test_the_page_stays_until_it_is_told_to_go() -> None:
    """With `--keep` the figures are printed, the page goes on with them, and SIGTERM ends it."""
    demo = subprocess.Popen(
        [*PROCESS, "demo", "--events", "1000", "--rate", "1000", "--keep", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        assert demo.stderr is not None
        printed = json.loads(demo.stdout.readline())
        while "until Ctrl-C" not in (line := demo.stderr.readline()):
            assert line, "it did not stay"
        named = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert named is not None
        with urllib.request.urlopen(f"{named[0]}page.json", timeout=10) as answer:  # noqa: S310
            told = json.load(answer)
    finally:
        demo.terminate()
    demo.communicate(timeout=60)
    decided = {
        labels["action"]: value
        for name, labels, value in told["samples"]
        if name == "predictions_total"
    }
    assert decided == {"ask": printed["runs"][0]["asked"], "auto": 1000 - decided["ask"]}
    assert len(told["decisions"]) == 20
    assert all(role["ready"] for role in told["roles"].values())
    assert demo.returncode == 0


def test_a_log_that_stays_can_be_looked_at(tmp_path: Path) -> None:
    """The commands that the demo names for its log work; a file that is there is refused."""
    file = tmp_path / "stays.db"
    done = command("demo", "--events", "1000", "--log", str(file))
    assert done.returncode == 0
    lines = [shlex.split(line)[1:] for line in done.stdout.splitlines() if str(file) in line]
    assert [line[0] for line in lines] == ["tail", "verify"]
    for line in lines:
        looked = command(*line)
        assert (looked.returncode, looked.stderr) == (0, "")
        assert looked.stdout
    again = command("demo", "--events", "1000", "--log", str(file))
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_random_rows_are_those_of_the_baseline(reported: dict[str, Any]) -> None:
    """The other rows are the baseline's at 2 % and 20 %, on the same stream."""
    for run, ratio in zip(reported["runs"][1:], (0.02, 0.2), strict=True):
        source = open_source(f"cards:{EVENTS}:{SEED}", CARDS)
        report = random_asking(source, ("0", "1"), ratio, SEED)
        assert run["asked"] == report.asked
        assert run["metrics"] == msgspec.to_builtins(report.metrics)
    assert reported["labels_saved"] == reported["runs"][2]["asked"] - reported["runs"][0]["asked"]


def test_text_fits_a_terminal_and_a_pipe(told: str) -> None:
    """No line is wider than 80 columns, and a pipe gets no escape sequence."""
    assert max(map(len, told.splitlines())) <= 80
    assert "\x1b" not in told


def test_commands_that_it_names_run(told: str, tmp_path: Path) -> None:
    """Every command that the demo names works as it is printed, but for a shorter stream."""
    rows = ["COLUMN,amount,country"]
    rows += [f"{'yes' if i % 7 == 0 else 'no'},{i % 13},{'AB'[i % 2]}" for i in range(300)]
    (tmp_path / "YOUR.csv").write_text("\n".join(rows) + "\n")
    lines = told.replace("\\\n", " ").splitlines()
    named = [shlex.split(line)[1:] for line in lines if line.startswith("    stream-al ")]
    assert [arguments[0] for arguments in named] == ["replay", "replay", "compare", "config"]
    for arguments in named:
        shorter = ["--seeds", "1", "--limit", "500"] if arguments[0] == "compare" else []
        done = command(*arguments, *shorter, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert "[gate]" in (tmp_path / "stream-al.toml").read_text()


@pytest.mark.parametrize("arguments", [("--events", "999"), ("--seed", "-1"), ("extra",)])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    """What the demo cannot be asked for is refused in one line, with exit code 2."""
    done = run("demo", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_loss_is_called_a_loss() -> None:
    """Where random asking ranks better, the sentence says lower, whatever the labels saved."""
    assert verdict(played(20, 0.1, 0.3), played(200, 0.4, 0.2)) == (
        "stream_al asked for 20 labels, 180 (90%) fewer than random asking at 20%. Its average "
        "precision was lower on the whole stream (0.100 to 0.400) and higher on the second half "
        "(0.300 to 0.200)."
    )


FIGURE = st.none() | st.floats(0, 1)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(played, st.integers(0, 50_000), FIGURE, FIGURE),
    st.builds(played, st.integers(0, 50_000), FIGURE, FIGURE),
)
def test_verdict_claims_what_the_figures_say(ours: DemoRun, many: DemoRun) -> None:
    """For any figures the sentence says higher, lower or the same as the shown digits do."""
    said = verdict(ours, many)
    for stretch, mine, theirs in (
        ("the whole stream", ours.metrics, many.metrics),
        ("the second half", ours.metrics_second_half, many.metrics_second_half),
    ):
        assert mine is not None
        assert theirs is not None
        if mine.average_precision is None or theirs.average_precision is None:
            assert stretch not in said
            continue
        one, other = f"{mine.average_precision:.3f}", f"{theirs.average_precision:.3f}"
        word = "higher" if one > other else "lower" if one < other else "the same"
        assert f"{word} on {stretch} ({one} to {other})" in said
    assert ("no fewer than" in said) == (ours.asked >= many.asked)


def test_baseline_learns_what_it_asks_for() -> None:
    """More labels make the plain loop better, none leave it at a half for either class."""
    source = SourceConfig(label="is_phishing")
    classes = ("false", "true")
    none, some, all_of_them = (
        random_asking(open_source("river:Phishing", source), classes, ratio)
        for ratio in (0.0, 0.05, 1.0)
    )
    assert (none.asked, all_of_them.asked) == (0, 1250)
    assert none.metrics.roc_auc == 0.5
    assert none.metrics.brier == 0.25
    areas = [report.metrics.roc_auc or 0.0 for report in (none, some, all_of_them)]
    assert areas == sorted(set(areas))


def test_baseline_takes_more_than_two_classes() -> None:
    """With seven classes the plain loop still gives probabilities over all, and gets better."""
    source = SourceConfig(label="category")
    classes = ("brickface", "cement", "foliage", "grass", "path", "sky", "window")
    few, many = (
        random_asking(open_source("river:ImageSegments", source), classes, ratio)
        for ratio in (0.0, 0.2)
    )
    assert few.metrics.log_loss == pytest.approx(1.9459, abs=1e-4)
    assert many.metrics.without_probabilities == 0
    assert (many.metrics.accuracy or 0) > 0.5


def test_baseline_refuses_one_class() -> None:
    """A stream with one class has nothing to be told apart: refused before it is read."""
    with pytest.raises(ConfigError, match="expected at least two"):
        random_asking(open_source("cards:10", CARDS), ("0",), 0.1)


def test_baseline_says_how_far_it_is() -> None:
    """The steps told of add up to the stream's length."""
    steps: list[int] = []
    random_asking(open_source("cards:1234", CARDS), ("0", "1"), 0.1, progress=steps.append)
    assert sum(steps) == 1234


def of_session(session: int) -> list[int]:
    """List the processes of a session, those that have ended left out."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, _, _, its = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
            if int(its) == session and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    """Whoever waits for its output does not wait for the helper of a demo that is gone."""
    demo = subprocess.Popen(
        [*PROCESS, "demo", "--events", "50000", "--rate", "1000"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 60.0
        while len(of_session(demo.pid)) < 3:
            assert demo.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        demo.kill()
        demo.wait()
        end = time.monotonic() + 30.0
        while left := of_session(demo.pid):
            assert time.monotonic() < end, left
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGKILL)
        demo.wait()
