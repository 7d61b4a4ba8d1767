"""What only the librdkafka driver has: its threads, its queues, its way of hanging and fencing."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from kafka_world import LIMIT, PATIENCE_S, Driver, World, join, patiently, poll_until, read

from consumers.errors import (
    AbortError,
    LogError,
    RebuildError,
    RetryError,
    StopError,
    TooLargeError,
)
from consumers.librdkafka.client import PRODUCER
from consumers.log import Batch, Member, Out, Partition, TopicSpec
from consumers.testing.broker import Broker
from stream_al.config import LoopConfig
from stream_al.errors import ConfigError

DRIVER: Driver = "librdkafka"


def limit(world: World, topic: str, size: int) -> None:
    """Change how large a topic's records may be."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": world.brokers})
    for result in admin.incremental_alter_configs([resource]).values():
        result.result(10)


def share(members: list[Member], enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Poll all members in turn until their last batches are what was waited for."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        batches = [member.poll(0.1, 1000) for member in members]
        if enough(batches):
            return batches
    raise AssertionError("the members have not come to terms in time")


def clients_alive() -> int:
    """Count librdkafka's clients in this process by their main threads."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        # A thread may end between being listed and being looked at.
        with contextlib.suppress(OSError):
            names.append(task.joinpath("comm").read_text())
    return sum(name.startswith("rdk:main") for name in names)


def test_a_missing_extra_is_named_with_its_remedy() -> None:
    """Without confluent-kafka the configuration is wrong, and says what to install."""
    code = (
        "import sys; sys.modules['confluent_kafka'] = None\n"
        "from consumers.drivers import open_log\n"
        "from stream_al.config import Config, LogConfig\n"
        "from stream_al.errors import ConfigError\n"
        "try: open_log(Config(log=LogConfig(driver='librdkafka')))\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("log.driver: ")
    assert "pip install 'stream-al[librdkafka]'" in done.stdout


def test_a_process_needs_a_name(world: World) -> None:
    """A static member without an instance is refused before it joins anything."""
    with pytest.raises(ConfigError, match=r"log\.instance"):
        world.process(None).member("gate", [world.events])


def test_single_records_are_polled_at_once(world: World) -> None:
    """A poll does not wait for as many records as it may bring: one alone comes within 50 ms."""
    member, writer = world.member(), world.log.writer()
    join(member)
    waits = []
    for _ in range(30):
        writer.send(Out(world.events, b"x"))
        writer.flush()
        stored = time.monotonic()
        assert len(read(member, 1)) == 1
        waits.append(time.monotonic() - stored)
    writer.close()
    assert statistics.median(waits) < 0.05


def test_sending_waits_while_the_queue_is_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More records than the producer's queue holds go out in order, never more than it at once."""
    monkeypatch.setitem(PRODUCER, "queue.buffering.max.messages", 100)
    member = world.reader()
    producer = member._transactions._producer  # type: ignore[attr-defined]
    queued = []

    def outs() -> Iterator[Out]:
        for number in range(5000):
            queued.append(len(producer))
            yield Out(world.out, b"%d" % number, partition=0)

    member.send(outs())
    member.commit({world.first: 1})
    assert max(queued) == 100
    assert world.values() == [b"%d" % number for number in range(5000)]


def test_a_commit_outside_of_a_stable_group_is_aborted(world: World) -> None:
    """Nothing can be committed before a poll brought partitions, nor for those of others."""
    world.feed(1)
    member = world.member()
    member.send([Out(world.out, b"early")])
    with pytest.raises(AbortError, match="rebalancing"):
        member.commit({world.first: 1})
    member.abort()
    join(member)
    with pytest.raises(AbortError, match="not this member's"):
        member.commit({Partition(world.out, 0): 1})
    member.abort()
    assert world.values() == []


def test_a_rebalance_in_the_middle_of_a_batch_loses_nothing(wide: World) -> None:
    """What was polled before another member knocks is committed before partitions are shared."""
    wide.feed(8, partitions=4)
    first, second = wide.member("a"), wide.member("b")
    join(first)
    records = read(first, 8)
    # Knocks, and cannot be let in before the first polls again.
    assert not second.poll(1.0, 10).assigned
    first.send([Out(wide.out, r.value, partition=0) for r in records])
    first.commit(dict.fromkeys({Partition(r.topic, r.partition) for r in records}, 2))
    batches = share([first, second], lambda each: all(len(b.assigned) == 2 for b in each))
    assert len(batches[0].assigned | batches[1].assigned) == 4
    every = [Partition(wide.events, n) for n in range(4)]
    assert set(second.committed(every).values()) == {2}
    assert sorted(filter(None, wide.values())) == [b"%d" % i for i in range(8)]


def test_only_some_partitions_move_cooperatively(wide: World) -> None:
    """With cooperative-sticky a member reads on in what stays its own, and gains nothing anew."""
    first = wide.member("a", "cooperative-sticky")
    assert len(join(first)) == 4
    second = wide.member("b", "cooperative-sticky")
    gained: list[set[Partition]] = [set(), set()]

    def shared(batches: list[Batch]) -> bool:
        for known, batch in zip(gained, batches, strict=True):
            known |= batch.gained
        return len(batches[0].assigned) == 2 == len(gained[1])

    kept = share([first, second], shared)[0].assigned
    assert not gained[0]
    assert not kept & gained[1]
    wide.feed(4, partitions=4)
    found = read(first, 2)
    assert {Partition(r.topic, r.partition) for r in found} == kept


def test_a_restarted_member_keeps_its_seat(wide: World) -> None:
    """Closing sends no leave: a restart has the same partitions at once, and nobody rebalances."""
    first, second = wide.member("a"), wide.member("b")
    batches = share([first, second], lambda each: all(len(b.assigned) == 2 for b in each))
    first.close()
    began = time.monotonic()
    batch = poll_until(wide.member("a"), lambda batch: bool(batch.gained))
    assert time.monotonic() - began < 5.0
    assert batch.assigned == batches[0].assigned
    for _ in range(5):
        other = second.poll(0.2, 10)
        assert other.stable
        assert not other.gained


def test_closing_does_not_wait_for_an_assignment_that_was_not_told(kafka_brokers: str) -> None:
    """A member that has not polled since it was given partitions is closed all the same."""
    # In a process of its own: where it fails, nothing in that process goes on.
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from kafka_world import World
world = World({kafka_brokers!r}, "librdkafka", partitions=4)
for _ in range(6):
    member = world.member("a")
    time.sleep(.3)
    member.close()
world.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_member_whose_seat_was_taken_stops(world: World) -> None:
    """A second process with the same identity ends the first, whatever that does next."""
    first = world.reader()
    second = world.member()
    join(second)

    def write() -> None:
        first.send([Out(world.out, b"first")])
        first.commit({world.first: 1})

    with pytest.raises(StopError, match="another process"):
        write()
    with pytest.raises(StopError, match="fenced"):
        poll_until(first, lambda _: False)
    with pytest.raises(StopError, match="fenced"):
        first.poll(0.0, 1)
    second.send([Out(world.out, b"second")])
    second.commit({world.first: 1})
    assert world.values() == [b"second"]


def test_a_closed_member_is_gone_although_its_error_is_held(world: World) -> None:
    """What an error's traceback refers to keeps no client alive, which would fence others."""
    first = world.reader()
    join(world.member())
    before = clients_alive()
    with pytest.raises(StopError, match="fenced") as held:
        poll_until(first, lambda _: False)
    first.close()  # a consumer and a producer
    assert held.tb is not None
    assert clients_alive() == before - 2


def test_an_evicted_member_cannot_move_the_offset_back(world: World) -> None:
    """A commit after eviction is refused, and what it held is never seen."""
    evicted = world.reader(5)
    world.evict("a")
    heir = world.member("b")
    join(heir)
    read(heir, 5)
    heir.commit({world.first: 5})
    evicted.send([Out(world.out, b"late")])
    with pytest.raises(AbortError):
        evicted.commit({world.first: 3})
    evicted.abort()
    assert world.committed(heir) == 5
    assert world.values() == []


def test_a_member_that_was_evicted_comes_back_empty_handed(world: World) -> None:
    """After an eviction the member rejoins, gains its partitions anew, and can commit again."""
    member = world.reader(2)
    world.evict("a")
    assert join(member) == {world.first}
    assert len(read(member, 2)) == 2
    member.commit({world.first: 2})
    assert world.committed(member) == 2


def test_a_transaction_that_took_too_long_is_not_taken_for_a_second_process(
    kafka_brokers: str,
) -> None:
    """A transaction that the broker has timed out is rebuilt: the seat is still this member's."""
    loop = LoopConfig(session_timeout_s=6.0, transaction_timeout_s=1.0)
    world = World(kafka_brokers, DRIVER, loop=loop)
    member = world.reader()
    member.send([Out(world.out, b"late")])
    end = time.monotonic() + PATIENCE_S
    while world.log.bounds(world.out, 0) != (0, 2, 2) and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises(RebuildError, match="fenced"):
        member.commit({world.first: 1})
    member.close()
    again = world.member()
    join(again)
    read(again, 1)
    again.send([Out(world.out, b"in time")])
    again.commit({world.first: 1})
    assert world.values() == [b"in time"]
    world.close()


def test_a_transaction_given_up_right_after_another_breaks_nothing(world: World) -> None:
    """An abort while the broker still ends the transaction before leaves the member usable."""
    member = world.reader()
    for turn in range(60):
        member.send([Out(world.out, b"committed")])
        member.commit({world.first: 1})
        member.send([Out(world.out, b"given up")] * 40)
        # Long enough for the partition to be announced, too short for an answer at times.
        time.sleep(turn % 5 / 1000)
        member.abort()


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_members_that_come_and_go_process_each_record_once(wide: World, assignor: str) -> None:
    """However members join, close, abort and restart: each record is put out once, in order."""
    seed = 7
    wide.feed(6000, partitions=4)
    end = time.monotonic() + 5.0

    def one_round(rng: random.Random, member: Member, todo: set[Partition]) -> None:
        found = member.committed(todo)
        member.seek({place: offset or 0 for place, offset in found.items()})
        todo.clear()
        batch = member.poll(0.05, rng.choice([1, 20, 100]))
        todo |= batch.gained
        if not batch.records:
            return
        try:
            member.send([Out(wide.out, r.value, partition=r.partition) for r in batch.records])
            if rng.random() < 0.1:
                raise AbortError("as the machine may")
            member.commit({Partition(r.topic, r.partition): r.offset + 1 for r in batch.records})
        except AbortError:
            todo |= batch.assigned
            member.abort()

    def process(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        while time.monotonic() < end:
            member, todo = wide.member(f"p{number}", assignor), set[Partition]()
            leaves = min(end, time.monotonic() + rng.uniform(0.5, 2.5))
            with contextlib.suppress(RebuildError):
                while time.monotonic() < leaves:
                    one_round(rng, member, todo)
            member.close()

    threads = [threading.Thread(target=process, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [wide.values(number) for number in range(4)]
    for number, values in enumerate(done):
        assert values == [b"%d" % n for n in range(number, 6000, 4)][: len(values)], f"seed {seed}"
    assert sum(map(len, done)) > 100, f"seed {seed}"


def test_a_record_that_the_broker_refuses_stops_with_the_setting_to_change(world: World) -> None:
    """What a broker refuses leaves nothing behind, and says which limit is in the way."""
    member = world.reader()
    member.send([Out(world.out, b"x")])
    member.commit({world.first: 0})
    limit(world, world.out, 2000)
    time.sleep(0.2)
    member.send([Out(world.out, b"small"), Out(world.out, random.Random(1).randbytes(10_000))])
    with pytest.raises(StopError, match=r"max\.message\.bytes"):
        member.commit({world.first: 1})
    member.close()
    again = world.member()
    join(again)
    read(again, 1)
    with pytest.raises(TooLargeError):
        again.send([Out(world.out, b"y"), Out(world.out, bytes(10_000))])
    again.commit({world.first: 1})
    assert world.values() == [b"x", b"y"]


def test_what_cannot_be_compressed_fits_too(world: World) -> None:
    """Records of exactly the limit get there whether compression helps or not."""
    topic = f"{world.name}.exact"
    world.log.create([TopicSpec(topic, 1, {"max.message.bytes": str(LIMIT + 1024)})])
    values = [random.Random(n).randbytes(LIMIT) for n in range(3)] + [bytes(LIMIT)]
    writer = world.log.writer()
    for value in values:
        writer.send(Out(topic, value))
    writer.close()
    assert [record.value for record in world.log.read(topic, 0)] == values


def test_what_headers_add_counts_towards_the_limit(world: World) -> None:
    """A record that would fit without the overhead of its many headers is refused at once."""
    topic = f"{world.name}.headers"
    world.log.create([TopicSpec(topic, 1, {"max.message.bytes": str(LIMIT + 1024)})])
    headers = tuple(("", b"") for _ in range(200))
    writer = world.log.writer()
    with pytest.raises(TooLargeError):
        writer.send(Out(topic, bytes(LIMIT), headers=headers))
    writer.send(Out(topic, bytes(18_000), headers=headers))
    writer.close()
    assert [len(record.value or b"") for record in world.log.read(topic, 0)] == [18_000]


def test_a_position_that_retention_has_passed_stops_the_process(world: World) -> None:
    """Records that were deleted before they were read are never skipped in silence."""
    world.feed(3)
    admin = AdminClient({"bootstrap.servers": world.brokers})
    for result in admin.delete_records([TopicPartition(world.events, 0, 2)]).values():
        result.result(10)
    member = world.member()
    gained = poll_until(member, lambda batch: bool(batch.gained)).gained
    member.seek(dict.fromkeys(gained, 1))
    with pytest.raises(StopError, match="retention"):
        poll_until(member, lambda _: False)


def test_members_with_different_assignors_do_not_mix(world: World) -> None:
    """A member that would share partitions in another way is refused with the reason."""
    first = world.member("a", "range")
    join(first)
    second = world.member("b", "cooperative-sticky")
    with pytest.raises(StopError, match=r"log\.assignor"):
        poll_until(second, lambda _: False)


def test_a_commit_that_nobody_answers_is_indefinite(own_broker: Broker) -> None:
    """While a broker is silent a commit ends in time; afterwards it stands whole, or not at all."""
    loop = LoopConfig(session_timeout_s=6.0, commit_timeout_s=1.0)
    world = World(own_broker.address, DRIVER, loop=loop)
    member = world.reader()
    member.send([Out(world.out, b"perhaps")])
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(RebuildError):
            member.commit({world.first: 1})
        member.close()
        assert time.monotonic() - began < 9.0
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)
    again = patiently(world.member)
    found = world.committed(again)
    assert (found, world.values()) in ((None, []), (1, [b"perhaps"]))
    join(again)
    again.send([Out(world.out, b"certainly")])
    again.commit({world.first: 1})
    assert world.values()[-1] == b"certainly"
    world.close()


def test_a_broker_that_is_gone_is_told_and_waited_for(
    own_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a broker calls ask for patience, in the log only; with it back, work goes on.

    The outage outlasts the session, after which librdkafka takes its own seat for a stranger's.
    """
    monkeypatch.setattr("consumers.librdkafka.admin.REACH_S", 1.0)
    caplog.set_level(logging.WARNING)
    loop = LoopConfig(session_timeout_s=2.0, commit_timeout_s=2.0, transaction_timeout_s=3.0)
    world = World(own_broker.address, DRIVER, loop=loop)
    member = world.reader()
    member.commit({world.first: 1})
    writer, tail = world.log.writer(), world.log.tail(world.events, 0, 1)
    writer.send(Out(world.events, b"1"))
    assert [record.value for record in tail.poll(5.0, 1)] == [b"1"]
    other = world.member("b")
    other.send([Out(world.out, b"never")])
    own_broker.kill()
    killed = time.monotonic()
    with pytest.raises(RetryError, match="no broker"):
        poll_until(member, lambda _: False)
    with pytest.raises(RetryError):
        world.log.bounds(world.events, 0)
    with pytest.raises(RetryError, match="no broker"):
        tail.poll(5.0, 1)
    writer.send(Out(world.events, b"kept"))
    with pytest.raises(RetryError, match="1 record:"):
        writer.flush()
    began = time.monotonic()
    other.close()
    assert time.monotonic() - began < 7.0
    time.sleep(max(0.0, killed + 4.0 - time.monotonic()))
    own_broker.start()
    patiently(writer.flush)
    writer.close()
    for _ in range(5):
        try:
            patiently(lambda: join(member))  # noqa: B023 - called at once
            records = patiently(lambda: read(member, 3))  # noqa: B023
            member.commit({world.first: 3})
            break
        except RebuildError:
            member.close()
            member = patiently(world.member)
    assert [record.value for record in records] == [b"0", b"1", b"kept"]
    assert world.committed(member) == 3
    assert [record.value for record in patiently(lambda: tail.poll(5.0, 10))] == [b"kept"]
    tail.close()
    world.close()
    assert not capfd.readouterr().err
    heard = [record for record in caplog.records if record.name == "consumers.librdkafka"]
    assert any("Connection refused" in record.getMessage() for record in heard)
    assert len(heard) < 100
    assert all(record.levelno == logging.WARNING for record in heard)


def test_errors_of_the_log_are_the_contracts_own(world: World) -> None:
    """No error of confluent-kafka itself leaves the driver."""
    with pytest.raises(StopError, match="nowhere"):
        world.log.member("gate", ["nowhere"])
    with pytest.raises(StopError, match="no partition 7"):
        world.log.tail(world.events, 7, 0)
    with pytest.raises(LogError, match="INVALID_CONFIG"):
        world.log.create([TopicSpec(f"{world.name}.odd", 1, {"cleanup.policy": "sometimes"})])
