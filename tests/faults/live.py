"""One run of real processes under faults: start, feed, harm, settle, stop, check."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from consumers.gold import read_gold
from consumers.recorded_topics import LogTopics
from consumers.testing.checker import check
from consumers.topics import Topics
from consumers.verification import LiveVerifier
from stream_al.config import SourceConfig
from stream_al.replay.sources import open_source
from stream_al.training import Gold, decode_training

from .managed import Managed, stream_al
from .mischief import Mischief
from .progress import Progress
from .sites import Settings, Site

__all__ = ["LiveRun", "Resumed", "draw_settings"]

_READY_S = 180.0
_SETTLE_S = 240.0


class Resumed(msgspec.Struct, frozen=True):
    """How long a role took until all of its partitions went on.

    Attributes
    ----------
    seconds
        From the end of what was done to it; None where the run had ended before.
    """

    fault: str
    role: str
    seconds: float | None


def draw_settings(rng: random.Random, folder: Path) -> Settings:
    """Draw what the processes of a run are configured with."""
    settings: dict[str, dict[str, Any]] = {
        "learner": {"committee": False, "classes": ["0", "1"]},
        "gate": {
            "budget": 0.2,
            "observe_every": 20,
            "second_opinion": rng.choice([0.0, 0.4]),
            "salt": rng.randrange(1000),
        },
        "log": {"name": "faults", "partitions": rng.choice([2, 3])},
        "loop": {
            "batch_size": rng.choice([20, 200]),
            "session_timeout_s": 4.0,
            "transaction_timeout_s": 4.0,
            "commit_timeout_s": 5.0,
            "state_dir": str(folder / "snapshots"),
            "snapshot_s": 0.5,
        },
        "ledger": {
            "expire_after_s": 6.0,
            "early_wait_s": 2.0,
            "on_expiry": rng.choice(["missing", "class:0"]),
            "remember": rng.choice([20, 10_000]),
            "reasons": ["slip", "ambiguous"],
        },
        "annotator": {
            "delay": "1s",
            "delay_distribution": rng.choice(["fixed", "exponential"]),
            "noise": 0.1,
            "abstain": 0.05,
        },
        "serve": {"port": None},
    }
    if rng.random() < 0.5:
        settings["ledger"] |= {"gold_file": str(_gold_cases(folder)), "gold_share": 0.3}
    return settings


def _gold_cases(folder: Path) -> Path:
    """Write cases of which both classes are known."""
    rows = open_source("cards:2000:7", SourceConfig()).rows()
    by_class: dict[str, list[bytes]] = {"0": [], "1": []}
    for row in rows:
        case = {"id": row.event.id, "features": row.event.features, "label": row.truth}
        by_class[str(row.truth)].append(msgspec.json.encode(case) + b"\n")
    path = folder / "gold.jsonl"
    path.write_bytes(b"".join(lines for each in by_class.values() for lines in each[:5]))
    return path


class LiveRun:
    """A run on one site.

    Parameters
    ----------
    site
        Entered.
    rng
        What is drawn, is drawn from it.
    stream
        What is fed, and answered from.
    rate
        Events a second.

    Attributes
    ----------
    replicas
        The processes under test, by name.
    violations
        What must not be, so far.
    resumed
        What was measured.
    """

    def __init__(self, site: Site, rng: random.Random, stream: str, rate: float) -> None:
        self.site = site
        self.rng = rng
        self.config = site.config
        self.violations: list[str] = []
        self.resumed: list[Resumed] = []
        self.ends: Counter[str] = Counter()
        self._stream = stream
        self._file = () if site.file is None else ("--config", str(site.file))
        self._log = site.open()
        self.progress = Progress(self._log, site.config)
        self.replicas: dict[str, Managed] = {}
        self.expected_down: set[str] = set()
        self._feed = Managed(
            "feed",
            stream_al("feed", stream, "--rate", str(rate), *self._file),
            site.environment("feed"),
            site.folder,
        )
        self.mischief = Mischief(site.open, site.config, rng.randrange(1 << 30))
        self._feeding = False
        self._sampled = 0.0
        for role in ("gate", *rng.choice([(), ("gate",)]), "ledger", "annotator"):
            self.add(role)

    def add(self, role: str) -> Managed:
        """Add a replica; it is not started."""
        number = sum(1 for each in self.replicas.values() if each.role == role)
        command = stream_al("run", role, *self._file)
        if role == "annotator":
            command += ["--answers-from", self._stream]
        name = f"{role}-{number}"
        environment = self.site.environment(name)
        self.replicas[name] = Managed(name, command, environment, self.site.folder)
        return self.replicas[name]

    def of(self, *roles: str) -> Managed:
        """Pick a replica of one of these roles, one that has partitions if there is any."""
        mine = [each for each in self.replicas.values() if each.role in roles]
        return self.rng.choice([each for each in mine if each.active] or mine)

    def others(self, replica: Managed) -> bool:
        """Tell whether there are other replicas of the same role."""
        return any(
            each.role == replica.role and each is not replica for each in self.replicas.values()
        )

    def _await_active(self, role: str) -> bool:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            if any(each.active for each in self.replicas.values() if each.role == role):
                return True
            self.rest(0.1)
        return False

    def go(self, faults: Sequence[Any]) -> None:
        """Run from start to stop, with these faults."""
        try:
            for each in self.replicas.values():
                each.start()
            for role in sorted({each.role for each in self.replicas.values()}):
                if not self._await_active(role):
                    self.violations.append(f"no {role} has restored anything")
                    return
            self._feed.start()
            self._feeding = True
            self.mischief.start()
            self.rest(2.0)
            for fault in faults:
                fault(self)
                self.rest(0.5 + self.rng.random())
            self._settle()
        finally:
            self._end()
        self._check()

    def rest(self, seconds: float) -> None:
        """Let time pass, looking after the processes."""
        end = time.monotonic() + seconds
        while True:
            self.look_after()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.1, left))

    def look_after(self) -> None:
        """Start again what has ended by itself, as a supervisor does; sample now and then."""
        for each in self.replicas.values():
            if not each.running and each.name not in self.expected_down:
                self._ended(each)
                each.start()
        if self._feeding and not self._feed.running and self._feed.code != 0:
            # What it had fed before is fed again under the same ids.
            self.ends[f"feed {self._feed.code}"] += 1
            self._feed.start()
        self.progress.look()
        if time.monotonic() - self._sampled > 1.0:
            self._sampled = time.monotonic()
            self.progress.sample()

    def _ended(self, replica: Managed) -> None:
        self.ends[f"{replica.role} {replica.code}"] += 1
        told = f"{replica.name} ended with {replica.code}: {replica.last_words()}"
        self.violations.append(told)

    def measure(self, fault: str, *roles: str, bound_s: float) -> None:
        """Measure how long each role takes until all of its partitions have gone on."""
        began = time.monotonic()
        self.progress.look()
        before = dict(self.progress.seen)
        left = set(roles)
        while left and time.monotonic() - began < bound_s:
            self.look_after()
            for role in sorted(left):
                places = self.progress.places(role)
                if all(self.progress.seen.get(p, 0) > before.get(p, 0) for p in places):
                    left.remove(role)
                    seconds = round(time.monotonic() - began, 2)
                    self.resumed.append(Resumed(fault, role, seconds))
            time.sleep(0.02)
        for role in sorted(left):
            self.resumed.append(Resumed(fault, role, None))
            self.violations.append(f"{fault}: {role} has not gone on after {bound_s:.0f} s")

    def _settle(self) -> None:
        """Stop feeding, and wait until nothing is left to do and nothing falls due any more."""
        self._feeding = False
        self._feed.signal(signal.SIGINT)
        self._feed.wait(30.0)
        self.mischief.stop()
        ledger = self.config.ledger
        quiet_s = (ledger.expire_after_s or 0.0) + ledger.early_wait_s + 3.0
        end, since, training = time.monotonic() + _SETTLE_S, time.monotonic(), -1
        lag: object = None
        while time.monotonic() < end:
            self.rest(0.5)
            lag, now = self.progress.unprocessed(), self.progress.training_end()
            if lag is None or lag or now is None or now != training:
                training, since = -1 if now is None else now, time.monotonic()
            elif time.monotonic() - since > quiet_s:
                return
        self.violations.append(f"not at rest after {_SETTLE_S:.0f} s; unprocessed: {lag}")

    def _end(self) -> None:
        self.mischief.stop()
        self._feed.kill()
        for each in self.replicas.values():
            each.signal(signal.SIGCONT)
            if each.running and (code := each.stop()) != 0:
                self.violations.append(f"{each.name} stopped with {code}: {each.last_words()}")
        self.progress.close()

    def _check(self) -> None:
        self.violations += self.progress.watcher.violations
        self.violations += check(self._log, self.config, gold=read_gold(self.config))
        verified = LiveVerifier(LogTopics(self._log), self.config.log).run()
        self.violations += verified.first
        topics = Topics.of(self.config.log)
        self.ends["decisions"] = verified.decisions
        self.ends["training records"] = verified.records
        letters = f"{self.config.log.name}.dlq.{topics.events}"
        self.ends["dead events"] = sum(1 for _ in self._log.read(letters, 0))
        training = (
            decode_training(each.value or b"") for each in self._log.read(topics.training, 0)
        )
        self.ends["gold answers"] = sum(isinstance(each, Gold) for each in training)

    def close(self) -> None:
        """Close the log."""
        self._log.close()
