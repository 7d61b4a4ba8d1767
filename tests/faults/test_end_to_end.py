"""The whole loop in real processes on a real broker, with real input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.drivers import open_log
from consumers.log import Log
from consumers.testing.checker import check
from consumers.topics import Topics, specs
from stream_al.config import Config, GateConfig, LogConfig
from stream_al.records import Prediction
from stream_al.training import Closed, Labelled, decode_training

from .managed import Managed, stream_al
from .progress import Progress

DATA = Path(os.environ.get("STREAM_AL_DATA", Path(__file__).parents[3] / "shared" / "data"))
FRAUD = DATA / "fraud_handbook_a.csv.gz"
PARTITIONS = 4


def settle(log: Log, config: Config, feed: Managed, timeout_s: float) -> None:
    """Wait until everything fed is processed and answered."""
    progress = Progress(log, config)
    deadline = time.monotonic() + timeout_s
    topics = Topics.of(config.log)
    try:
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if feed.running or progress.unprocessed() != {}:
                continue
            asked = sum(1 for n in range(PARTITIONS) for _ in log.read(topics.label_requests, n))
            kinds = Counter(
                type(decode_training(r.value or b"")) for r in log.read(topics.training, 0)
            )
            if kinds[Labelled] + kinds[Closed] == asked:
                return
    finally:
        progress.close()
    pytest.fail(f"not settled within {timeout_s:.0f} s: {progress.unprocessed()}")


@pytest.mark.parametrize(
    ("driver", "rows"),
    [
        ("kafka", 4000),
        ("librdkafka", 4000),
        pytest.param("kafka", 100_000, marks=pytest.mark.slow),
    ],
)
def test_feed_gates_ledger_and_annotator_on_a_real_broker(
    kafka_brokers: str, tmp_path: Path, driver: str, rows: int
) -> None:
    """Two gates, a ledger and a late annotator decide, learn, keep every invariant and verify."""
    if not FRAUD.exists():
        pytest.skip(f"no recorded stream at {FRAUD}")
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    config = Config(
        gate=GateConfig(budget=0.02),
        log=LogConfig(
            # Whoever watches: with librdkafka's driver it would join the groups that it asks about.
            driver="kafka",
            brokers=kafka_brokers,
            name=name,
            events=f"{name}.payments",
            partitions=PARTITIONS,
            instance="checker",
        ),
    )
    flags = ["--label", "label", "--time", "ts"]
    environment = {
        "STREAM_AL__LOG__DRIVER": driver,
        "STREAM_AL__LOG__BROKERS": kafka_brokers,
        "STREAM_AL__LOG__NAME": name,
        "STREAM_AL__LOG__EVENTS": config.log.events,
        "STREAM_AL__LOG__PARTITIONS": str(PARTITIONS),
        "STREAM_AL__GATE__BUDGET": "0.02",
        "STREAM_AL__SERVE__PORT": "0",
    }

    def command(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            stream_al(*arguments),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=check,
        )

    def managed(role: str, *arguments: str) -> Managed:
        instance = {"STREAM_AL__LOG__INSTANCE": role}
        return Managed(role, stream_al(*arguments), {**environment, **instance}, tmp_path)

    assert "created" in command("doctor", "--fix").stdout
    roles = [
        managed("gate-0", "run", "gate"),
        managed("gate-1", "run", "gate"),
        managed("ledger-0", "run", "ledger"),
        managed(
            "annotator-0",
            *("run", "annotator", "--delay", "1s", "--answers-from", str(FRAUD), *flags),
        ),
    ]
    pace = ("--limit", str(rows), "--rate", str(rows / 10))
    feed = managed("feed-0", "feed", str(FRAUD), *flags, *pace)
    log = open_log(config)
    try:
        for role in roles:
            role.start()
        for role in roles:
            assert role.await_event("restored", timeout_s=60), role.last_words()
        feed.start()
        settle(log, config, feed, 120 + rows / 500)
        assert feed.code == 0
        codes = {role.name: role.stop() for role in roles}
        assert codes == {role.name: 0 for role in roles}
        assert check(log, config) == []
        verified = json.loads(command("verify", "--json").stdout)
        assert (verified["differences"], verified["decisions"]) == (0, rows)
        assert shared_by_both(log, config) == PARTITIONS
        look_with_kcat(config, kafka_brokers, tmp_path, rows, command)
    finally:
        for role in (*roles, feed):
            role.signal(signal.SIGCONT)
            role.kill()
        log.close()


def shared_by_both(log: Log, config: Config) -> int:
    """Count the partitions that hold predictions; none asks for more than its budget."""
    decode = msgspec.json.Decoder(Prediction).decode
    found = 0
    for number in range(PARTITIONS):
        asked = 0
        count = 0
        for record in log.read(Topics.of(config.log).predictions, number):
            count += 1
            asked += decode(record.value or b"").action == "ask"
            assert asked <= 0.02 * count + 20
        found += count > 0
    return found


def look_with_kcat(config: Config, brokers: str, folder: Path, rows: int, command: Any) -> None:
    """Read every topic with kcat, as documented, and verify what it dumped."""
    if shutil.which("kcat") is None:
        assert os.environ.get("STREAM_AL_REQUIRE_KAFKA") != "1", "kcat is not installed"
        return
    files = []
    for spec in specs(config.log):
        file = folder / f"{spec.name}.jsonl"
        with file.open("wb") as target:
            subprocess.run(
                [
                    *("kcat", "-C", "-b", brokers, "-t", spec.name, "-e", "-q", "-J"),
                    *("-X", "isolation.level=read_committed"),
                ],
                stdout=target,
                check=True,
            )
        files += ["--dump", str(file)]
    lines = (folder / f"{Topics.of(config.log).predictions}.jsonl").read_bytes().splitlines()
    assert len(lines) == rows
    one = json.loads(lines[0])
    assert json.loads(one["payload"])["topic"] == config.log.events
    assert "ce_specversion" in one["headers"]
    verified = json.loads(command("verify", "--json", *files).stdout)
    assert (verified["differences"], verified["decisions"]) == (0, rows)
