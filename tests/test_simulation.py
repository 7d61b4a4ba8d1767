"""The simulated log behaves as Kafka does, and schedules on it find what is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import pytest

from consumers.errors import AbortError, LogError, RebuildError, RetryError, StopError
from consumers.gate import GateMachine
from consumers.ledger import LedgerMachine
from consumers.ledger_state import LedgerState
from consumers.log import Batch, Member, Out, Partition, Record, TopicSpec
from consumers.loop import Loop
from consumers.machine import Counts, Tick
from consumers.messages.dead_letters import dead_letter
from consumers.testing.faults import STEPS
from consumers.testing.schedule import Outcome as Run
from consumers.testing.schedule import simulate
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_groups import Group, Seat
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.simulated_member import SimulatedMember
from consumers.testing.simulated_storage import SimulatedClock, Transaction
from consumers.topics import Topics
from stream_al.config import Config, LogConfig, LoopConfig
from stream_al.labels.ledger import Ledger
from stream_al.labels.outcomes import OUTCOMES, Open, Outcome
from stream_al.records import Label, encode

SESSION_S, TRANSACTION_S = 8.0, 5.0


class Cluster:
    """A simulated broker with one topic of two partitions, and processes on it."""

    def __init__(self, assignor: str = "range") -> None:
        self.clock = SimulatedClock()
        self.broker = SimulatedBroker(self.clock)
        self.assignor = assignor
        self.log("anybody").create([TopicSpec("in", 2), TopicSpec("out", 1)])

    def log(self, instance: str) -> SimulatedLog:
        """Open the log as one process."""
        config = Config(
            log=LogConfig(instance=instance),
            loop=LoopConfig(session_timeout_s=SESSION_S, transaction_timeout_s=TRANSACTION_S),
        )
        return SimulatedLog(config, self.broker)

    def member(self, instance: str) -> Member:
        """Join the group as one process."""
        return self.log(instance).member("role", ["in"], self.assignor)

    def write(self, *values: bytes, partition: int = 0) -> None:
        """Write records into the input."""
        writer = self.log("anybody").writer()
        for value in values:
            writer.send(Out("in", value, None, (), partition))
        writer.close()

    def values(self, topic: str = "out") -> list[bytes | None]:
        """Read what is committed."""
        return [record.value for record in self.log("anybody").read(topic, 0)]


def settle(*members: Member) -> list[Batch]:
    """Poll until the group is stable for all; return what each was told, gains first."""
    told: dict[Member, list[Batch]] = {member: [] for member in members}
    for _ in range(20):
        for member in members:
            batch = member.poll(0.5, 100)
            told[member].append(batch)
            member.seek(dict.fromkeys(batch.gained, 0))
        last = [batches[-1] for batches in told.values()]
        if all(batch.stable and not batch.gained for batch in last):
            found = []
            for batches in told.values():
                gained = frozenset[Partition]().union(*(batch.gained for batch in batches))
                final = batches[-1]
                found.append(Batch(final.records, final.assigned, gained, True))
            return found
    raise AssertionError("the group never became stable")


IN_0, IN_1 = Partition("in", 0), Partition("in", 1)


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_members_share_partitions_and_take_over_from_who_leaves(assignor: str) -> None:
    """Two members have a partition each; one of them alone has both, the second one gained."""
    cluster = Cluster(assignor)
    one, other = cluster.member("one"), cluster.member("other")
    first, second = settle(one, other)
    assert first.assigned | second.assigned == {IN_0, IN_1}
    assert not first.assigned & second.assigned
    other.close()
    cluster.clock.sleep(SESSION_S + 0.1)
    (alone,) = settle(one)
    assert alone.assigned == {IN_0, IN_1}
    assert alone.gained >= second.assigned


def test_a_partition_that_was_away_is_gained_anew_by_who_had_it_before() -> None:
    """Who lost a partition and got it back between two polls must restore it again."""
    cluster = Cluster("cooperative-sticky")
    one = cluster.member("one")
    settle(one)
    other = cluster.member("other")
    settle(one, other)
    cluster.clock.sleep(1.0)
    other.close()
    cluster.clock.sleep(SESSION_S + 0.1)
    (batch,) = settle(one)
    assert batch.gained == {IN_1} or batch.gained == {IN_0}


def test_a_restarted_member_keeps_its_seat() -> None:
    """Opening the same identity again brings its partitions back, without a rebalance."""
    cluster = Cluster()
    one, other = cluster.member("one"), cluster.member("other")
    before = settle(one, other)
    group = cluster.broker.groups["stream-al.role"]
    generation = group.generation
    one.close()
    one = cluster.member("one")
    batch = one.poll(0.1, 10)
    assert batch.stable
    assert batch.gained == batch.assigned == before[0].assigned
    assert group.generation == generation


def test_an_evicted_member_cannot_commit() -> None:
    """A member that was silent for longer than its session is refused, and nothing is seen."""
    for seed in range(6):
        cluster = Cluster()
        cluster.broker = SimulatedBroker(cluster.clock, seed)
        cluster.log("anybody").create([TopicSpec("in", 2), TopicSpec("out", 1)])
        log = cluster.log("one")
        one = log.member("role", ["in"])
        settle(one)
        cluster.write(b"a")
        assert [record.value for record in one.poll(0.1, 10).records] == [b"a"]
        log.fall_silent()
        cluster.clock.sleep(SESSION_S + 0.1)
        other = cluster.member("other")
        assert settle(other)[0].assigned == {IN_0, IN_1}
        one.send([Out("out", b"zombie")])
        with pytest.raises((AbortError, RebuildError)):
            one.commit({IN_0: 1})
        assert other.committed([IN_0]) == {IN_0: None}
        assert cluster.values() == []


def test_a_taken_identity_is_fenced() -> None:
    """Of two processes with one identity the older cannot commit any more."""
    cluster = Cluster()
    older = cluster.member("one")
    settle(older)
    newer = cluster.member("one")
    with pytest.raises(StopError, match="identity"):
        older.commit({IN_0: 1})
    settle(newer)
    newer.commit({IN_0: 2})
    assert newer.committed([IN_0]) == {IN_0: 2}


def test_open_transactions_hold_back_readers_until_they_end_or_time_out() -> None:
    """Nothing after an open transaction's first record is read; its timeout aborts it."""
    cluster = Cluster()
    one = cluster.member("one")
    settle(one)
    one.send([Out("out", b"lost")])
    writer = cluster.log("anybody").writer()
    writer.send(Out("out", b"kept"))
    bounds = cluster.log("anybody").bounds("out", 0)
    assert (bounds.stable, bounds.end) == (0, 2)
    tail = cluster.log("anybody").tail("out", 0, 0)
    assert tail.poll(0.1, 10) == []
    began = cluster.clock.now()
    assert cluster.values() == [b"kept"]
    assert cluster.clock.now() - began == pytest.approx(TRANSACTION_S, abs=0.3)
    with pytest.raises(RebuildError):
        one.commit({IN_0: 1})


def test_markers_and_aborted_records_burn_offsets() -> None:
    """Offsets have holes where transactions ended and where they were aborted."""
    cluster = Cluster()
    one = cluster.member("one")
    settle(one)
    for value, ends in ((b"a", "commit"), (b"b", "abort"), (b"c", "commit")):
        one.send([Out("out", value)])
        if ends == "commit":
            one.commit({IN_0: 1})
        else:
            one.abort()
    found = [(r.offset, r.value) for r in cluster.log("anybody").read("out", 0)]
    assert found == [(0, b"a"), (4, b"c")]


@pytest.mark.parametrize(
    ("step", "committed"),
    [("commit:before", False), ("commit:prepared", True), ("commit:after", True)],
)
def test_a_commit_in_doubt_is_decided_when_the_member_is_opened_again(
    step: str, committed: bool
) -> None:
    """After RebuildError the same identity finds the commit made or not made, never half."""
    cluster = Cluster()
    log = cluster.log("one")

    class Once:
        raised = False

        def at(self, name: str) -> None:
            if name == step and not self.raised:
                self.raised = True
                raise RebuildError("in doubt")

    log.faults = Once()
    one = log.member("role", ["in"])
    settle(one)
    one.send([Out("out", b"a")])
    with pytest.raises(RebuildError):
        one.commit({IN_0: 7})
    one.close()
    again = log.member("role", ["in"])
    assert again.committed([IN_0]) == {IN_0: 7 if committed else None}
    assert cluster.values() == ([b"a"] if committed else [])


def test_offsets_of_a_commit_in_doubt_are_waited_for() -> None:
    """Whoever asks for offsets that another's undecided transaction holds waits for its end."""
    cluster = Cluster()
    log = cluster.log("one")
    one = log.member("role", ["in"])
    settle(one)

    class Dies:
        def at(self, name: str) -> None:
            if name == "commit:prepared":
                raise RebuildError("gone")

    log.faults = Dies()
    with pytest.raises(RebuildError):
        one.commit({IN_0: 7})
    other = cluster.member("other")
    began = cluster.clock.now()
    assert other.committed([IN_0]) == {IN_0: 7}
    assert cluster.clock.now() > began


def test_compaction_keeps_the_last_record_of_each_key_and_never_undeletes() -> None:
    """However often a topic is compacted, the state that is restored from it stays the same."""
    for seed in range(30):
        broker = SimulatedBroker(SimulatedClock(), seed)
        log = SimulatedLog(Config(), broker)
        log.create([TopicSpec("state", 1, {"cleanup.policy": "compact"})])
        writer, expected = log.writer(), dict[bytes | None, bytes | None]()
        for n in range(60):
            key = b"%d" % broker.rng.randrange(6)
            value = None if broker.rng.random() < 0.3 else b"%d" % n
            writer.send(Out("state", value, key))
            expected[key] = value
            if broker.rng.random() < 0.2:
                broker.compact()
            found = {record.key: record.value for record in log.read("state", 0)}
            alive = {key: value for key, value in expected.items() if value is not None}
            assert {k: v for k, v in found.items() if v is not None} == alive, f"seed {seed}"
        assert len(list(log.read("state", 0))) < 60, f"seed {seed}: nothing was compacted"


def test_a_position_that_retention_has_passed_stops() -> None:
    """Reading on from what is deleted is out of range, for members and tails."""
    cluster = Cluster()
    cluster.write(b"a", b"b", b"c")
    one = cluster.member("one")
    settle(one)
    tail = cluster.log("anybody").tail("in", 0, 0)
    one.seek({IN_0: 0})
    cluster.broker.partition("in", 0).truncate(2)
    assert cluster.log("anybody").bounds("in", 0) == (2, 3, 3)
    with pytest.raises(StopError, match="out of range"):
        one.poll(0.1, 10)
    with pytest.raises(StopError, match="out of range"):
        tail.poll(0.1, 10)


def test_steps_raise_what_the_contract_allows_and_nothing_else() -> None:
    """The table of faults names only errors of the tree, and every kind at some step."""
    kinds = {kind for allowed in STEPS.values() for kind in allowed}
    assert kinds == {RetryError, AbortError, RebuildError, StopError}
    assert all(issubclass(kind, LogError) for kind in kinds)


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same run, faults and figures included; another one does not."""
    assert simulate(11) == simulate(11)
    assert simulate(11).faults != simulate(12).faults


@pytest.mark.parametrize("shard", range(4))
def test_schedules_leave_nothing_violated(shard: int) -> None:
    """Whatever is injected, interrupted, killed and restarted, all invariants hold at the end."""
    for seed in range(shard * 10, shard * 10 + 10):
        outcome = simulate(seed)
        assert not outcome.violations, str(outcome)


def test_schedules_inject_every_kind_of_fault_at_every_step() -> None:
    """A few hundred steps of each kind are enough to meet each error at each step it may come."""
    met = set[str]()
    for seed in range(100, 260):
        met |= simulate(seed).faults.keys()
    # Loops ask for neither of these.
    wanted = {
        f"{step}:{kind.__name__}"
        for step, kinds in STEPS.items()
        for kind in kinds
        if step not in {"topics", "create"}
    }
    missing = wanted - met
    assert not missing
    assert {"crash", "pause", "switch"} <= {each.rpartition(":")[2] for each in met}


def test_schedules_bring_every_end_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few schedules are enough for answers to come to everything that they can come to."""
    met: Counter[str] = Counter()
    original = LedgerMachine._settle

    def settle(
        self: LedgerMachine, state: LedgerState, outcome: Outcome, outs: list[Out], counts: Counts
    ) -> None:
        met[outcome.kind] += 1
        original(self, state, outcome, outs, counts)

    monkeypatch.setattr(LedgerMachine, "_settle", settle)
    for seed in range(40, 70):
        assert not simulate(seed).violations
    assert met.keys() == {*OUTCOMES} - {"unknown"}, met


Break = Callable[[pytest.MonkeyPatch], None]


def _commit_unfenced(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_offsets(
        _: SimulatedBroker,
        transaction: Transaction,
        group: Group,
        __: Seat,
        ___: int | None,
        offsets: Mapping[Partition, int],
    ) -> None:
        transaction.offsets[group.name] = dict(offsets)

    monkeypatch.setattr(SimulatedBroker, "add_offsets", add_offsets)


def _send_outside_of_the_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(self: SimulatedMember, outs: Iterable[Out]) -> None:
        for out in outs:
            self._broker.append(out)

    monkeypatch.setattr(SimulatedMember, "send", send)


def _forget_to_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_start_over", lambda *_: None)


def _decide_with_an_older_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateMachine, "behind", False)


def _forget_the_gates_state(monkeypatch: pytest.MonkeyPatch) -> None:
    original = GateMachine.restore

    def restore(self: GateMachine, number: int, entries: Iterable[Record]) -> dict[Partition, int]:
        found = original(self, number, entries)
        self.core.states[self.inputs[0], number] = self.core.gate.fresh_state()
        return found

    monkeypatch.setattr(GateMachine, "restore", restore)


def _forget_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    original = LedgerState.restore

    def restore(self: LedgerState, entries: Iterable[Record]) -> None:
        def kept() -> Iterator[Record]:
            for record in entries:
                if b'"ended"' not in (record.value or b""):
                    yield record

        original(self, kept())

    monkeypatch.setattr(LedgerState, "restore", restore)


def _cut_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(record: Record, config: LogConfig, stage: str, kind: str, message: str) -> Out:
        whole = dead_letter(record, config, stage, kind, message)
        return Out(whole.topic, (whole.value or b"")[:1], whole.key, whole.headers)

    monkeypatch.setattr("consumers.gate.dead_letter", cut)


def _expire_what_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def expiry(self: LedgerMachine, _: int, tick: Tick) -> float:
        return tick.now - (self._config.ledger.expire_after_s or 0.0)

    monkeypatch.setattr(LedgerMachine, "_expiry", expiry)


def _take_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Ledger.judge

    def judge(self: Ledger, label: Label) -> Outcome:
        found = original(self, label)
        if found.kind == "conflicting" and label.kind == "label":
            return original(self, msgspec.structs.replace(label, kind="revise"))
        return found

    monkeypatch.setattr(Ledger, "judge", judge)


def _forget_the_first_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Ledger.reopen

    def reopen(self: Ledger, entry: Open) -> bool:
        return original(self, Open(entry.request, entry.since, (), entry.missing))

    monkeypatch.setattr(Ledger, "reopen", reopen)


def _adjudicate_always(monkeypatch: pytest.MonkeyPatch) -> None:
    original = LedgerMachine._settle

    def settle(
        self: LedgerMachine, state: LedgerState, outcome: Outcome, outs: list[Out], counts: Counts
    ) -> None:
        original(self, state, outcome, outs, counts)
        if outcome.kind == "noted" and outcome.entry is not None:
            again = msgspec.structs.replace(outcome.entry.request, disagreed=True)
            topic = Topics.of(self._config.log).label_requests
            outs.append(Out(topic, encode(again), again.request_id.encode()))

    monkeypatch.setattr(LedgerMachine, "_settle", settle)


def _lose_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.ledger.UNUSABLE", ("refused",))


def _forget_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Ledger.reopen

    def reopen(self: Ledger, entry: Open) -> bool:
        return original(self, msgspec.structs.replace(entry, known=None))

    monkeypatch.setattr(Ledger, "reopen", reopen)


def _take_gold_for_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.ledger.is_gold", lambda _: False)


def _ask_no_gold_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    original = LedgerState.restore

    def restore(self: LedgerState, entries: Iterable[Record]) -> None:
        original(self, entries)
        if self.next:
            self.ledger._gold = ()

    monkeypatch.setattr(LedgerState, "restore", restore)


def _lose_early_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerState, "wait", lambda *_: None)


@pytest.mark.parametrize(
    "broken",
    [
        _commit_unfenced,
        _send_outside_of_the_transaction,
        _forget_to_restore,
        _decide_with_an_older_model,
        _forget_the_gates_state,
        _forget_what_has_ended,
        _cut_dead_letters,
        _expire_what_is_answered,
        _take_contradictions,
        _forget_the_first_opinion,
        _adjudicate_always,
        _lose_conflicts,
        _forget_what_is_known,
        _take_gold_for_any_request,
        _ask_no_gold_after_a_restart,
        _lose_early_labels,
    ],
)
def test_what_is_broken_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule of delivery that is taken away shows in one of a hundred schedules."""
    broken(monkeypatch)
    found: Run | None = None
    for seed in range(100):
        outcome = simulate(seed)
        if outcome.violations:
            found = outcome
            break
    assert found is not None
    assert found.trace
    assert f"seed {found.seed}" in str(found)
