"""What is measured beside the loops stands in the metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers import gauges
from consumers.clock import Clock
from consumers.errors import RetryError
from consumers.gate import GateMachine
from consumers.gauges import Gauges
from consumers.ledger import LedgerMachine
from consumers.log import Out, Record
from consumers.machine import Tick
from consumers.page import History
from consumers.sqlite import SqliteLog
from consumers.telemetry import Telemetry
from stream_al import Config, Engine, Event, GateConfig, Label
from stream_al.config import LogConfig
from stream_al.metrics import PREFIX
from stream_al.training import Control

AMOUNTS = b'{"amount": %d}'
PATIENCE_S = 10.0


class Later(Clock):
    """A clock that says what it is told."""

    at = 0.0

    def now(self) -> float:
        return self.at


class Faulty(GateMachine):
    """A gate that cannot be looked at the first time."""

    looked = 0

    def rolling(self) -> dict[str, float]:
        self.looked += 1
        if self.looked == 1:
            raise RuntimeError("changed while it was looked at")
        return super().rolling()


class Bench:
    """A gate and a ledger on an embedded log, without their loops."""

    def __init__(self, path: str) -> None:
        log = LogConfig(path=path, partitions=2)
        self.config = Config(log=log, gate=GateConfig(budget=0.25, burst=8.0))
        self.log = SqliteLog(log, self.config.loop)
        self.gate, self.ledger = GateMachine(self.config), LedgerMachine(self.config)
        self.telemetry, self.clock = Telemetry(["gate", "ledger"]), Later()
        machines = {"gate": self.gate, "ledger": self.ledger}
        self._gauges = Gauges(self.log, machines, self.telemetry, None, History(), self.clock)

    def decide(self, number: int, events: int) -> list[Out]:
        """Let the gate decide about the first events of a partition; return what it put out."""
        self.gate.restore(number, ())
        records = [
            Record("events", number, at, b"k", AMOUNTS % at, (), 5.0) for at in range(events)
        ]
        return self.gate.process(records, Tick(5.0)).outs

    def shown(self, name: str, **labels: str) -> float | None:
        """Measure, and read one figure."""
        self._gauges.measure()
        return self.telemetry.registry.get_sample_value(f"{PREFIX}{name}", labels)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a bench on a new file."""
    made = Bench(str(tmp_path / "log.db"))
    yield made
    made.log.close()


def test_what_may_be_asked_stands_beside_what_is_asked(bench: Bench) -> None:
    """The budget is shown as configured, and the burst for each partition that the gate has."""
    bench.decide(0, 10)
    assert bench.shown("budget_ratio") == 0.25
    assert bench.shown("budget_burst_requests") == 8.0
    bench.decide(1, 10)
    assert bench.shown("budget_burst_requests") == 16.0


def test_what_an_operator_told_is_shown_while_it_holds(bench: Bench) -> None:
    """A pause with an end shows until then, and nothing is told before."""
    assert bench.shown("control", action="pause") == 0.0
    bench.gate.core.fold.control = Control(action="pause", until=50.0)
    assert bench.shown("control", action="pause") == 1.0
    assert bench.shown("control", action="boost") == 0.0
    bench.clock.at = 50.0
    assert bench.shown("control", action="pause") == 0.0


def test_the_members_shares_make_a_whole(bench: Bench) -> None:
    """Each member of the committee shows its share, named by memory and learning rate."""
    bench.shown("budget_ratio")
    found = {
        sample.labels["member"]: sample.value
        for family in bench.telemetry.collect()
        if family.name == f"{PREFIX}committee_weight_ratio"
        for sample in family.samples
    }
    assert sum(found.values()) == pytest.approx(1.0)
    assert {"nothing-0.01", "recent-0.003", "balanced-0.03"} < set(found)


def test_the_oldest_request_grows_old_until_it_is_answered(bench: Bench) -> None:
    """The age is that of the oldest open request, and 0 where none is open."""
    assert bench.shown("oldest_open_request_age_seconds") == 0.0
    requests = [out for out in bench.decide(0, 10) if out.topic.endswith("label-requests")]
    bench.ledger.restore(0, ())
    for at, out in enumerate(requests[:2]):
        record = Record(out.topic, 0, at, out.key, out.value, out.headers, 0.0)
        bench.ledger.process([record], Tick(10.0 + at))
    bench.clock.at = 100.0
    assert bench.shown("oldest_open_request_age_seconds") == 90.0


def test_when_requests_expire_is_shown_as_configured(bench: Bench) -> None:
    """The ledger shows how long a request may be open."""
    assert bench.shown("request_expiry_seconds") == bench.config.ledger.expire_after_s


def test_the_embedded_log_shows_its_size_and_its_disk(bench: Bench, tmp_path: Path) -> None:
    """Bytes are those of the file and of what is written ahead of it."""
    used = bench.shown("log_bytes")
    assert used is not None
    assert used >= (tmp_path / "log.db").stat().st_size > 0
    free, disk = bench.shown("log_disk_free_bytes"), bench.shown("log_disk_bytes")
    assert free is not None
    assert disk is not None
    assert 0 < free < disk


def test_how_far_accuracy_is_behind_is_told_for_each_partition(bench: Bench) -> None:
    """Shown are the offsets from the watermark to the next event, where there is a watermark."""
    engine = Engine(Config(gate=GateConfig(budget=0.5)))
    for at in range(200):
        decision = engine.decide_one(Event(offset=at, features={"amount": at}))
        if decision.request is not None:
            engine.learn_one(Label(request_id=decision.request.request_id, label=at % 2))
    bench.gate.insight = engine.fold.monitor.insight()
    (reached,) = bench.gate.insight.estimate.watermark.values()
    bench.decide(0, 200)
    bench.decide(1, 10)
    assert 0 < reached < 200
    assert bench.shown("accuracy_watermark_lag_events", partition="0") == 200 - reached
    assert bench.shown("accuracy_watermark_lag_events", partition="1") is None


def test_a_log_in_memory_has_no_size() -> None:
    """What lies on no disk shows none."""
    bench = Bench(":memory:")
    assert bench.shown("log_bytes") is None
    bench.log.close()


def test_a_disk_that_cannot_be_measured_is_no_fault_of_the_program(tmp_path: Path) -> None:
    """A folder that is gone is an error of the log, which says what could not be measured."""
    folder = tmp_path / "gone"
    folder.mkdir()
    bench = Bench(str(folder / "log.db"))
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(RetryError, match=r"log\.path: .*gone"):
        bench.shown("log_bytes")
    bench.log.close()


def test_measuring_goes_on_after_a_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one measurement fails with does not end the thread: figures come with the next."""
    monkeypatch.setattr(gauges, "_EVERY_S", 0.01)
    machine = Faulty(bench.config)
    measuring = Gauges(bench.log, {"gate": machine}, bench.telemetry, None, History(), Clock())
    measuring.start()
    end = time.monotonic() + PATIENCE_S
    while math.isnan(bench.telemetry.get("maintenance")):
        assert time.monotonic() < end, "nothing was measured"
        time.sleep(0.01)
    measuring.stop()
    assert machine.looked > 1
