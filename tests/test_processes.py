"""One process: how it starts where the log is away, and how it is told to end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from consumers.annotator import Truths
from consumers.feed import message
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.topics import Topics
from stream_al.config import Config, GateConfig, LearnerConfig, LogConfig, LoopConfig, ServeConfig
from stream_al.replay.sources import open_source

EVENTS = 300
SIGNALS = """
import sys, threading, time
from consumers.processes import Signals

signals = Signals()
lock = threading.Lock()
with lock:
    print("ready", flush=True)
    while not signals.asked:
        time.sleep(0.01)
    print("asked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def kept(tmp_path: Path) -> Config:
    """Run once on an embedded log, so that there is a snapshot."""
    config = Config(
        learner=LearnerConfig(committee=False),
        gate=GateConfig(budget=0.2),
        log=LogConfig(path=str(tmp_path / "log.db"), name="demo", instance="one", partitions=1),
        loop=LoopConfig(poll_s=0.01, state_dir=str(tmp_path / "state")),
        serve=ServeConfig(port=None),
    )
    log = SqliteLog(config.log, config.loop)
    source = open_source(f"cards:{EVENTS}", config.source)
    truths = Truths(open_source(f"cards:{EVENTS}", config.source))
    process = Process(config, ("gate", "ledger", "annotator"), truths, log)
    writer = log.writer()
    for number, row in enumerate(source.rows()):
        writer.send(message(row, number, Topics.of(config.log).events, 1, "cards"))
    writer.close()
    process.start()
    while not process.idle and not process.ended:
        process.wait(0.05)
    process.close()
    log.close()
    return config


def test_a_gate_with_a_snapshot_waits_for_brokers_that_are_away(kept: Config) -> None:
    """It goes on asking instead of ending, says why it is not ready, and keeps its snapshot."""
    (snapshot,) = Path(str(kept.loop.state_dir)).glob("*.fold")
    before = snapshot.read_bytes()
    with socket.socket() as bound:  # nobody listens there
        bound.bind(("127.0.0.1", 0))
        brokers = f"127.0.0.1:{bound.getsockname()[1]}"
        away = msgspec.structs.replace(kept.log, driver="kafka", brokers=brokers)
        process = Process(msgspec.structs.replace(kept, log=away), ("gate",))
        process.start()
        state, end = process.states["gate"], time.monotonic() + 60
        while brokers not in str(state.why) and time.monotonic() < end:
            process.wait(0.1)
        assert not process.ended
        assert not state.ready
        process.close()
    assert snapshot.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_second_ends_at_once(number: signal.Signals) -> None:
    """The first signal only says that one has come; the second ends the process, locks or not."""
    child = subprocess.Popen([sys.executable, "-c", SIGNALS], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        assert child.stdout.readline() == "asked\n"
        assert child.poll() is None
        child.send_signal(number)
        assert child.wait(30) == 128 + number
    finally:
        child.kill()
        child.communicate()
