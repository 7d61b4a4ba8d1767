"""What runs came to, kept in a file of one JSON object a line, and told as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec

from .live import Resumed

__all__ = ["Result", "Results", "table"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes
    ----------
    log
        ``simulated``, ``sqlite``, ``kafka`` or ``librdkafka``.
    faults
        How often each kind was done to it.
    resumed
        Times until work went on.
    counts
        Decisions and training records verified, and what processes went through.
    """

    log: str
    seed: int
    seconds: float
    faults: dict[str, int]
    violations: tuple[str, ...]
    resumed: tuple[Resumed, ...] = ()
    counts: dict[str, int] = {}


class Results:
    """The runs of one file; None: none are kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.all: list[Result] = []
        if path is not None and path.exists():
            decode = msgspec.json.Decoder(Result).decode
            # A line that was cut short by the end of a process is run again.
            whole = [
                line for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
            ]
            self.all = [decode(line) for line in whole]
            path.write_bytes(b"".join(whole))

    def done(self, log: str) -> set[int]:
        """Name the seeds that were run without a violation."""
        return {each.seed for each in self.all if each.log == log and not each.violations}

    def add(self, result: Result) -> None:
        """Keep a run."""
        self.all.append(result)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(result) + b"\n")


def table(results: Iterable[Result]) -> str:
    """Tell runs, faults, violations, and median and worst time to go on, in Markdown."""
    runs: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    done: Counter[tuple[str, str]] = Counter()
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for each in results:
        runs[each.log] += 1
        broken[each.log] += bool(each.violations)
        decisions[each.log] += each.counts.get("decisions", 0)
        for kind, count in each.faults.items():
            done[each.log, kind] += count
        for one in each.resumed:
            if one.seconds is not None:
                times[each.log, one.fault, one.role].append(one.seconds)
    lines = ["| log | runs | decisions verified | runs with violations |", "|---|---|---|---|"]
    lines += [
        f"| {log} | {count} | {decisions[log]:,} | {broken[log]} |"
        for log, count in sorted(runs.items())
    ]
    lines += ["", "| log | fault | times |", "|---|---|---|"]
    lines += [f"| {log} | {kind} | {count} |" for (log, kind), count in sorted(done.items())]
    if times:
        lines += [
            "",
            "| log | after | who | times | median s | worst s |",
            "|---|---|---|---|---|---|",
        ]
    lines += [
        f"| {log} | {fault} | {role} | {len(found)} | {median(found):.1f} | {max(found):.1f} |"
        for (log, fault, role), found in sorted(times.items())
    ]
    return "\n".join(lines)
