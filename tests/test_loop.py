"""The loop: one round commits a batch with everything that it put out, or leaves no trace."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from consumers.errors import AbortError, LogError, RebuildError, RetryError, StopError
from consumers.gate import GateMachine
from consumers.health import RoleState
from consumers.introduction import configured
from consumers.ledger import LedgerMachine
from consumers.log import Batch, Out, Partition, Record
from consumers.loop import Loop
from consumers.machine import Counts, Machine, Tick, Work
from consumers.telemetry import Telemetry
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.simulated_storage import SimulatedClock
from consumers.topics import Topics, specs
from stream_al.config import Config, GateConfig, LearnerConfig, LedgerConfig, LogConfig, LoopConfig
from stream_al.metrics import PREFIX
from stream_al.records import Decision, Label, Prediction, encode
from stream_al.training import Closed, Labelled, decode_training

CONFIG = Config(
    learner=LearnerConfig(committee=False),
    gate=GateConfig(budget=0.2),
    ledger=LedgerConfig(expire_after_s=100.0),
    log=LogConfig(partitions=2, instance="one"),
)
TOPICS = Topics.of(CONFIG.log)


class Raises:
    """Raises errors at steps, each a number of times."""

    def __init__(self) -> None:
        self.left: Counter[tuple[str, type[LogError]]] = Counter()

    def at(self, step: str) -> None:
        for (name, kind), count in self.left.items():
            if name == step and count > 0:
                self.left[name, kind] -= 1
                raise kind("injected")


class Steps(Raises):
    """Notes the steps, too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def at(self, step: str) -> None:
        self.seen.append(step)
        super().at(step)


class Bench:
    """A simulated log with its topics, and loops on it."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.faults = Raises()
        self.broker = SimulatedBroker(self.clock)
        self.log = SimulatedLog(CONFIG, self.broker)
        self.log.create(specs(CONFIG.log))
        self.telemetry = Telemetry(["gate", "ledger"])
        self.states: dict[str, RoleState] = {}

    def shown(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"{PREFIX}{name}", labels)

    def loop(self, machine: Machine, config: Config = CONFIG) -> Loop:
        state = self.states[machine.role] = RoleState(self.clock.monotonic)
        log = SimulatedLog(config, self.broker, self.faults)
        return Loop(log, machine, config, self.telemetry, state, self.clock)

    def feed(self, count: int, start: int = 0) -> None:
        writer = self.log.writer()
        for n in range(start, start + count):
            value = json.dumps({"amount": n % 7}).encode()
            writer.send(Out(TOPICS.events, value, str(n).encode()))
        writer.close()

    def read(self, topic: str, partitions: int = 2) -> list[Record]:
        return [record for n in range(partitions) for record in self.log.read(topic, n)]


def settle(*loops: Loop, rounds: int = 60) -> None:
    """Let loops go round until there is nothing left to do."""
    for _ in range(rounds):
        for loop in loops:
            loop.step()


def places(bench: Bench) -> list[tuple[int, int]]:
    """Return partition and offset of each prediction."""
    decode = msgspec.json.Decoder(Prediction).decode
    found = (decode(record.value or b"") for record in bench.read(TOPICS.predictions))
    return [(prediction.partition, prediction.offset) for prediction in found]


def salted(salt: int) -> Config:
    """Return another configuration of the same fold."""
    return msgspec.structs.replace(CONFIG, gate=GateConfig(salt=salt))


def learn(bench: Bench, count: int, salt: int) -> None:
    """Let the training log grow by so many records."""
    writer = bench.log.writer()
    for n in range(count):
        writer.send(configured(salted(1000 * salt + n)))
    writer.close()


def events(bench: Bench) -> list[tuple[int, int]]:
    """Return partition and offset of each event."""
    return [(record.partition, record.offset) for record in bench.read(TOPICS.events)]


def test_each_event_is_predicted_once_and_answered_requests_are_learnt() -> None:
    """Gate and ledger together turn events and labels into predictions and training records."""
    bench = Bench()
    gate, ledger = GateMachine(CONFIG), LedgerMachine(CONFIG)
    loops = bench.loop(gate), bench.loop(ledger)
    bench.feed(100)
    settle(*loops)
    assert places(bench) == events(bench)
    writer = bench.log.writer()
    for record in bench.read(TOPICS.label_requests):
        request = json.loads(record.value or b"")["request_id"]
        writer.send(Out(TOPICS.labels, encode(Label(request_id=request, label="a")), record.key))
    writer.close()
    settle(*loops)
    kinds = Counter(
        type(decode_training(record.value or b"")) for record in bench.read(TOPICS.training, 1)
    )
    assert kinds[Labelled] == len(bench.read(TOPICS.label_requests)) > 0
    assert gate.core.fold.learner.labels == kinds[Labelled]
    assert all(state.ready for state in bench.states.values())
    assert bench.shown("label_delay_seconds_count") == kinds[Labelled]


def test_partitions_are_counted_by_role_as_they_come_and_go() -> None:
    """A role shows how many partitions it was given, however many topics it reads."""
    bench = Bench()
    loops = bench.loop(GateMachine(CONFIG)), bench.loop(LedgerMachine(CONFIG))
    assert bench.shown("assigned_partitions", role="gate") == 0
    settle(*loops, rounds=5)
    assert bench.shown("assigned_partitions", role="gate") == 2
    assert bench.shown("assigned_partitions", role="ledger") == 2
    bench.faults.left["poll", RebuildError] = 1
    settle(loops[0], rounds=1)
    assert bench.shown("assigned_partitions", role="gate") == 0
    settle(loops[0])
    assert bench.shown("assigned_partitions", role="gate") == 2


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("poll", RetryError),
        ("poll", RebuildError),
        ("committed", RetryError),
        ("committed", RebuildError),
        ("send", AbortError),
        ("send", RebuildError),
        ("commit:before", AbortError),
        ("commit:before", RebuildError),
        ("commit:prepared", RebuildError),
        ("commit:after", RebuildError),
        ("tail.poll", RetryError),
        ("tail.poll", RebuildError),
        ("bounds", RetryError),
        ("init", RetryError),
        ("writer.send", RetryError),
        ("writer.flush", RetryError),
    ],
)
@pytest.mark.parametrize("batch_size", [7, 2000])
def test_every_error_leaves_each_event_with_one_prediction(
    step: str, kind: type[LogError], batch_size: int
) -> None:
    """Whatever fails at any step, and however often, nothing is lost and nothing is doubled.

    Of small batches each is processed, slice by slice, while the one before is being committed.
    """
    bench = Bench()
    config = msgspec.structs.replace(
        CONFIG, loop=msgspec.structs.replace(CONFIG.loop, batch_size=batch_size)
    )
    gate = GateMachine(config)
    gate.slice_size = 3
    loop = bench.loop(gate, config)
    bench.faults.left[step, kind] = 2
    bench.feed(50)
    settle(loop)
    assert bench.faults.left[step, kind] < 2, "the fault was not met"
    bench.faults.left[step, kind] = 3
    bench.feed(50, 50)
    settle(loop)
    assert places(bench) == events(bench)


class Noting(GateMachine):
    """Notes what it is asked to do."""

    def __init__(self, config: Config, noted: list[str]) -> None:
        super().__init__(config)
        self._noted = noted

    def process(self, records: Sequence[Record], tick: Tick) -> Work:
        self._noted.append("process")
        return super().process(records, tick)

    def settled(self, counts: Counts, decisions: Sequence[Decision]) -> None:
        self._noted.append(f"settled {counts['events_total',]}")
        super().settled(counts, decisions)


def test_a_batch_is_processed_while_the_one_before_is_committed() -> None:
    """A commit is waited for once there is more to send, or nothing to do; each counts its own."""
    bench, noted = Bench(), list[str]()
    config = msgspec.structs.replace(
        CONFIG, loop=msgspec.structs.replace(CONFIG.loop, batch_size=5)
    )
    loop = bench.loop(Noting(config, noted), config)
    bench.feed(10)
    settle(loop)
    assert noted == ["process", "process", "settled 5", "settled 5"]
    assert places(bench) == events(bench)


def test_what_is_gained_while_a_commit_fails_is_restored() -> None:
    """A partition that comes with the poll after a commit that then fails is not forgotten."""
    bench = Bench()
    loop = bench.loop(GateMachine(CONFIG))
    settle(loop)
    bench.feed(10)
    loop.step()
    member = loop._member
    assert member is not None
    everything = frozenset(Partition(TOPICS.events, number) for number in range(2))
    sought: list[Partition] = []
    with pytest.MonkeyPatch.context() as patched:

        def refuse() -> None:
            raise AbortError("injected")

        batch = Batch((), everything, everything, stable=True)
        patched.setattr(member, "poll", lambda *_: batch)
        patched.setattr(member, "end_commit", refuse)
        patched.setattr(member, "seek", sought.extend)
        loop._assigned = frozenset()
        loop.step()
        patched.setattr(member, "poll", lambda *_: Batch((), everything, frozenset(), stable=True))
        loop.step()
    assert set(sought) == everything


def test_a_restarted_member_goes_on_where_the_last_commit_was() -> None:
    """A new process with the same identity restores its state and repeats nothing."""
    bench = Bench()
    first = bench.loop(GateMachine(CONFIG))
    bench.feed(50)
    settle(first)
    again = bench.loop(GateMachine(CONFIG))
    bench.feed(50, 50)
    settle(again)
    assert places(bench) == events(bench)
    with pytest.raises(StopError):
        settle(first)


def test_a_state_that_disagrees_with_the_committed_offset_stops_the_process() -> None:
    """A group that was reset by hand is explained, not decided about twice."""
    bench = Bench()
    settle(first := bench.loop(GateMachine(CONFIG)))
    bench.feed(20)
    settle(first)
    first.close()
    member = bench.log.member("gate", [TOPICS.events])
    batch = member.poll(0.5, 10)
    while not batch.gained:
        batch = member.poll(0.5, 10)
    member.commit({Partition(TOPICS.events, n): 0 for n in range(2)})
    member.close()
    with pytest.raises(StopError, match="committed offset is 0, the state"):
        settle(bench.loop(GateMachine(CONFIG)))


def test_a_training_log_that_was_cut_stops_the_gate() -> None:
    """A gate never decides with an older model than its partition has seen."""
    bench = Bench()
    gate = GateMachine(CONFIG)
    loop = bench.loop(gate)
    bench.feed(20)
    settle(loop)
    state = gate.core.states[TOPICS.events, 0]
    state.version = 10_000
    writer = bench.log.writer()
    writer.send(Out(TOPICS.gate_state, encode(state), b"events:0", (), 0))
    writer.close()
    with pytest.raises(StopError, match="was cut or replaced"):
        settle(bench.loop(GateMachine(CONFIG)))


def test_requests_expire_once_the_labels_are_read_to_their_end() -> None:
    """The loop asks the log whether all answers were read before the ledger closes a request."""
    bench = Bench()
    loops = bench.loop(GateMachine(CONFIG)), bench.loop(LedgerMachine(CONFIG))
    bench.feed(20)
    settle(*loops)
    asked = len(bench.read(TOPICS.label_requests))
    bench.clock.sleep(101.0)
    settle(*loops)
    records = [decode_training(record.value or b"") for record in bench.read(TOPICS.training, 1)]
    closed = [record for record in records if isinstance(record, Closed)]
    assert [record.reason for record in closed] == ["expired"] * asked
    assert asked > 0


def test_the_fold_is_bounded_and_goes_on_between_batches() -> None:
    """Under a flood of training records the gate keeps predicting with the model that it has."""
    bench = Bench()
    settle(first := bench.loop(GateMachine(CONFIG)))
    first.close()
    config = msgspec.structs.replace(
        CONFIG, loop=msgspec.structs.replace(CONFIG.loop, fold_size=1, batch_size=5)
    )
    gate = GateMachine(config)
    loop = bench.loop(gate, config)
    settle(loop, rounds=5)
    bench.feed(100)
    settle(loop, rounds=200)
    decode = msgspec.json.Decoder(Prediction).decode
    versions = [decode(r.value or b"").model_version for r in bench.log.read(TOPICS.predictions, 0)]
    assert versions == sorted(versions)
    assert len(set(versions)) > 3
    assert places(bench) == events(bench)


def test_a_gate_joins_although_the_training_log_grows_all_the_time() -> None:
    """What others write while it folds does not keep a gate from its partitions for ever."""
    bench = Bench()
    loop = bench.loop(GateMachine(CONFIG))
    bench.feed(20)
    for salt in range(30):
        learn(bench, 1, salt)
        loop.step()
    assert places(bench) == events(bench)


@pytest.mark.parametrize(("meanwhile", "left"), [(1, 10), (4, 10), (8, 80), (20, 200)])
def test_how_far_a_gate_folds_before_it_joins(meanwhile: int, left: int) -> None:
    """To within one piece of the end, where that comes nearer soon enough, else what there was."""
    bench, config = Bench(), msgspec.structs.replace(CONFIG, loop=LoopConfig(fold_size=10))
    settle(known := bench.loop(GateMachine(config), config), rounds=3)
    known.close()
    learn(bench, 100, 0)
    gate = GateMachine(config)
    loop = bench.loop(gate, config)
    for salt in range(1, 200):
        loop.step()
        if loop._member is not None:
            break
        learn(bench, meanwhile, salt)
    assert bench.log.bounds(TOPICS.training, 0).end - gate.next_followed <= left
    assert gate.next_followed >= 100


def test_a_gate_introduces_itself_once() -> None:
    """A transaction that is open keeps it from reading its own record; it writes no second one."""
    bench = Bench()
    ledger = bench.log.member("ledger", [TOPICS.label_requests, TOPICS.labels])
    ledger.send([configured(salted(1))])
    loop = bench.loop(GateMachine(CONFIG))
    bench.feed(20)
    settle(loop, rounds=300)
    assert places(bench) == events(bench)
    keys = [record.key for record in bench.read(TOPICS.training, 1)]
    assert keys.count(b"configured") == 1


def test_a_loop_that_ends_keeps_what_it_has_before_it_waits_for_brokers() -> None:
    """It aborts nothing by itself, which may take long: leaving gives up what is open."""
    bench = Bench()
    bench.faults = steps = Steps()
    bench.feed(20)
    loop = bench.loop(GateMachine(CONFIG))
    loop._between = lambda: steps.seen.append("between")
    steps.left["commit:before", AbortError] = 1
    loop.run(lambda: "commit:before" in steps.seen)
    assert steps.seen[-2:] == ["between", "close"]
    assert "abort" not in steps.seen
    settle(bench.loop(GateMachine(CONFIG)))
    assert places(bench) == events(bench)
