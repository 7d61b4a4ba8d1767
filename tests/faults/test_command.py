"""The command that runs faults: it repeats, shards, goes on where it ended, and tells failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumers.testing.schedule import Outcome

from . import __main__ as command
from .live import Resumed
from .results import Result as Run
from .results import Results, table
from .shipped import DEPLOY


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(command.main, arguments)


def seeds(out: Path) -> list[int]:
    """Return the seeds that are kept, in order."""
    return [each.seed for each in Results(out).all]


def test_runs_are_kept_and_not_run_again(tmp_path: Path) -> None:
    """What stands in the file without violations is skipped; a line cut short is run again."""
    out = tmp_path / "results.jsonl"
    assert run("--runs", "3", "--seed", "5", "--out", str(out)).exit_code == 0
    assert seeds(out) == [5, 6, 7]
    out.write_bytes(out.read_bytes()[:-20])
    assert run("--runs", "4", "--seed", "5", "--out", str(out)).exit_code == 0
    assert seeds(out) == [5, 6, 7, 8]


def test_shards_share_the_seeds(tmp_path: Path) -> None:
    """Every seed is run by exactly one shard."""
    found = []
    for shard in ("1/3", "2/3", "3/3"):
        out = tmp_path / f"{shard[0]}.jsonl"
        assert run("--runs", "7", "--shard", shard, "--out", str(out)).exit_code == 0
        found += seeds(out)
    assert sorted(found) == list(range(7))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "1"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    """A shard is one of n, counted from 1."""
    result = run("--shard", shard)
    assert result.exit_code == 2
    assert "expected i/n" in result.output


def test_a_shipped_file_brings_its_log_and_its_faults() -> None:
    """With --config the log is the file's, and what cannot be done with it is refused."""
    file = str(DEPLOY / "systemd" / "stream-al.toml")
    result = run("--config", file, "--kind", "stop-unreachable")
    assert result.exit_code == 2
    assert "not done here: stop-unreachable" in result.output
    assert run("--log", "sqlite", "--kind", "stop-under-load").exit_code == 2


def test_a_violation_is_told_with_how_to_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails prints its trace and its seed, ends with 1, and is run again next time."""

    def broken(seed: int) -> Outcome:
        return Outcome(
            seed=seed,
            violations=("something fell",),
            faults={"poll:crash": 2},
            counts={},
            resume_s=0.0,
            trace=("what came before",),
        )

    out = tmp_path / "results.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(command, "simulate", broken)
        result = run("--seed", "41", "--out", str(out))
    assert result.exit_code == 1
    assert "python -m tests.faults --log simulated --seed 41" in result.output
    assert "something fell" in result.output
    assert "what came before" in result.output
    assert run("--seed", "41", "--out", str(out)).exit_code == 0
    assert seeds(out) == [41, 41]


def test_the_table_has_runs_faults_and_times() -> None:
    """Median and worst time are told for each fault and role, violations for each log."""
    times = [Resumed("kill", "gate", seconds) for seconds in (1.0, 9.0, 2.0)]
    runs = [
        Run(
            log="kafka",
            seed=n,
            seconds=10.0,
            faults={"kill": 1},
            violations=("x",) if n == 2 else (),
            resumed=(each, Resumed("kill", "ledger", None)),
            counts={"decisions": 1000},
        )
        for n, each in enumerate(times)
    ]
    told = table(runs)
    assert "| kafka | 3 | 3,000 | 1 |" in told
    assert "| kafka | kill | 3 |" in told
    assert "| kafka | kill | gate | 3 | 2.0 | 9.0 |" in told
    assert "ledger" not in told
