"""What only Kafka has: generations, static members, rebalances, and brokers that stop answering."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource
from kafka_world import LOOP, PATIENCE_S, Driver, World, join, patiently, poll_until, read

from consumers.errors import (
    AbortError,
    LogError,
    RebuildError,
    RetryError,
    StopError,
    TooLargeError,
)
from consumers.kafka.log import KafkaLog
from consumers.log import Batch, Member, Out, Partition, TopicSpec
from consumers.testing.broker import Broker
from stream_al.config import LogConfig, LoopConfig, SecurityConfig

DRIVER: Driver = "kafka"


def test_an_evicted_member_cannot_move_the_offset_back(world: World) -> None:
    """A commit after eviction is refused, even once the client itself has no generation left."""
    world.feed(5)
    evicted = world.member("a")
    join(evicted)
    read(evicted, 3)
    world.evict("a")
    heir = world.member("b")
    join(heir)
    read(heir, 5)
    heir.commit({Partition(world.events, 0): 5})
    consumer = evicted._consumer  # type: ignore[attr-defined]
    end = time.monotonic() + 10
    while consumer.group_metadata().generation_id >= 0 and time.monotonic() < end:
        time.sleep(0.05)
    assert consumer.group_metadata().generation_id < 0
    evicted.send([Out(world.out, b"late")])
    with pytest.raises(AbortError):
        evicted.commit({Partition(world.events, 0): 3})
    assert world.committed(heir) == 5
    assert world.values() == []


def test_a_member_that_joined_anew_is_not_taken_for_a_second_process(world: World) -> None:
    """A commit with the place in the group from before is refused, and the member goes on."""
    world.feed(2)
    member = world.member("a")
    join(member)
    read(member, 2)
    consumer = member._consumer  # type: ignore[attr-defined]
    before = consumer.group_metadata().member_id
    world.evict("a")
    end = time.monotonic() + PATIENCE_S
    while consumer.group_metadata().member_id in ("", before) and time.monotonic() < end:
        # As it may come about while a commit is under way, beside polls that nobody has seen.
        consumer.poll(100)
    member.send([Out(world.out, b"of the former member")])
    with pytest.raises(AbortError):
        member.commit({world.first: 2})
    assert join(member) == {world.first}
    read(member, 2)
    member.send([Out(world.out, b"in its own name")])
    member.commit({world.first: 2})
    assert world.values() == [b"in its own name"]


def test_a_member_that_was_evicted_comes_back_empty_handed(world: World) -> None:
    """After an eviction the member rejoins, gains its partitions anew, and can commit again."""
    world.feed(2)
    member = world.member()
    join(member)
    world.evict("a")
    assert join(member) == {Partition(world.events, 0)}
    assert len(read(member, 2)) == 2
    member.commit({Partition(world.events, 0): 2})
    assert world.committed(member) == 2


def test_an_eviction_in_the_middle_of_a_rejoin_leaves_nothing_kept(wide: World) -> None:
    """Partitions that others may have had meanwhile are gained anew, cooperatively too."""
    member = wide.member("a", "cooperative-sticky")
    places = join(member)
    consumer = member._consumer  # type: ignore[attr-defined]
    consumer._coordinator.rejoining = True
    wide.evict("a")
    assert join(member) == places


def test_a_rejoin_that_ended_between_two_polls_is_not_forgotten(world: World) -> None:
    """However short some polls are, longer ones afterwards bring the partitions."""
    member = world.member()
    join(member)
    admin = KafkaAdminClient(bootstrap_servers=world.brokers)
    admin.create_partitions({world.events: 3})
    admin.close()
    consumer = member._consumer  # type: ignore[attr-defined]
    end = time.monotonic() + 5
    while len(consumer.partitions_for_topic(world.events)) < 3 and time.monotonic() < end:
        consumer._client.cluster.request_update()
        time.sleep(0.05)
    for _ in range(20):
        member.poll(0.0, 10)
        time.sleep(0.05)
    assert len(poll_until(member, lambda batch: len(batch.assigned) == 3).assigned) == 3


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
    shares: dict[str, frozenset[Partition]] = {}

    def share(name: str, member: Member) -> None:
        gained = poll_until(member, lambda batch: batch.stable and len(batch.assigned) == 2)
        shares[name] = gained.assigned

    threads = [threading.Thread(target=share, args=each) for each in (("a", first), ("b", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shares["a"] | shares["b"]) == 4
    every = [Partition(wide.events, n) for n in range(4)]
    assert set(second.committed(every).values()) == {2}
    assert sorted(filter(None, wide.values())) == [b"%d" % i for i in range(8)]


def test_only_some_partitions_move_cooperatively(wide: World) -> None:
    """With cooperative-sticky a member keeps what stays its own, and gains nothing anew."""
    first = wide.member("a", "cooperative-sticky")
    assert len(join(first)) == 4
    second = wide.member("b", "cooperative-sticky")
    moved: set[Partition] = set()
    stop = threading.Event()

    def take_over() -> None:
        while not stop.is_set():
            batch = second.poll(0.5, 10)
            moved.update(batch.gained)

    thread = threading.Thread(target=take_over)
    thread.start()
    try:
        gained: set[Partition] = set()

        def shared(batch: Batch) -> bool:
            gained.update(batch.gained)
            return batch.stable and len(batch.assigned) == 2

        kept = poll_until(first, shared).assigned
        end = time.monotonic() + 10
        while len(moved) < 2 and time.monotonic() < end:
            first.poll(0.1, 10)
    finally:
        stop.set()
        thread.join()
    assert not gained
    assert len(moved) == 2
    assert not kept & moved


def test_a_restarted_member_keeps_its_seat(wide: World) -> None:
    """Closing sends no leave: a restart has the same partitions at once, and nobody rebalances."""
    members = {name: wide.member(name) for name in ("a", "b")}
    shares: dict[str, frozenset[Partition]] = {}
    end = time.monotonic() + 20
    while (len(shares) < 2 or set(map(len, shares.values())) != {2}) and time.monotonic() < end:
        for name, member in members.items():
            batch = member.poll(0.2, 10)
            if batch.stable:
                shares[name] = batch.assigned
    members["a"].close()
    began = time.monotonic()
    again = wide.member("a")
    batch = poll_until(again, lambda batch: bool(batch.gained))
    assert time.monotonic() - began < 2.0
    assert batch.assigned == shares["a"]
    for _ in range(5):
        other = members["b"].poll(0.2, 10)
        assert other.stable
        assert not other.gained


def test_a_member_whose_seat_was_taken_stops(world: World) -> None:
    """A second process with the same identity makes the first one's commit end it."""
    world.feed(1)
    first = world.member()
    join(first)
    read(first, 1)
    second = world.member()
    join(second)
    first.send([Out(world.out, b"first")])
    with pytest.raises(StopError, match="another process"):
        first.commit({Partition(world.events, 0): 1})
    second.send([Out(world.out, b"second")])
    second.commit({Partition(world.events, 0): 1})
    assert world.values() == [b"second"]


def test_what_is_assigned_in_the_middle_of_a_poll_is_gained_with_the_next(world: World) -> None:
    """A join that ends between two looks of one poll at it leaves no partition held back."""
    member = world.member()
    join(member)
    consumer = member._consumer  # type: ignore[attr-defined]
    before = consumer.assignment
    looked = []

    def late() -> set[TopicPartition]:
        looked.append(True)
        if len(looked) > 1:
            return before()  # type: ignore[no-any-return]
        # What kafka-python's thread does once it has the assignment.
        member._gains.on_partitions_assigned(before())  # type: ignore[attr-defined]
        return set()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(consumer, "assignment", late)
        assert poll_until(member, lambda _: bool(looked)).gained == frozenset()
        batch = poll_until(member, lambda batch: bool(batch.gained))
    assert batch.gained == {Partition(world.events, 0)}


def test_an_idle_member_whose_seat_was_taken_stops(world: World) -> None:
    """Who commits nothing hears of the second process too, by the heartbeats that are refused."""
    first = world.member()
    join(first)
    second = world.member()
    join(second)
    with pytest.raises(StopError, match="another process"):
        poll_until(first, lambda _: False)
    assert poll_until(second, lambda batch: batch.stable).assigned


def test_a_producer_that_is_fenced_is_rebuilt(world: World) -> None:
    """Once another producer has the transactional id, a commit fails and leaves nothing."""
    world.feed(1)
    first = world.member()
    join(first)
    read(first, 1)
    second = world.member()
    first.send([Out(world.out, b"first")])
    with pytest.raises(RebuildError):
        first.commit({Partition(world.events, 0): 1})
    first.close()
    assert world.committed(second) is None
    assert world.values() == []


def test_a_transaction_that_took_too_long_is_not_taken_for_a_second_process(
    kafka_brokers: str,
) -> None:
    """A transaction that the broker has timed out is rebuilt: the seat is still this member's."""
    loop = LoopConfig(session_timeout_s=6.0, transaction_timeout_s=1.0)
    world = World(kafka_brokers, DRIVER, loop=loop)
    world.feed(1)
    member = world.member()
    join(member)
    read(member, 1)
    member.send([Out(world.out, b"late")])
    end = time.monotonic() + 15
    while world.log.bounds(world.out, 0) != (0, 2, 2) and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises((AbortError, RebuildError)):
        member.commit({Partition(world.events, 0): 1})
    member.close()
    again = world.member()
    join(again)
    read(again, 1)
    again.send([Out(world.out, b"in time")])
    again.commit({Partition(world.events, 0): 1})
    assert world.values() == [b"in time"]
    world.close()


def test_a_commit_that_nobody_answers_is_indefinite(own_broker: Broker) -> None:
    """While a broker is silent a commit ends in time; afterwards it stands whole, or not at all."""
    loop = LoopConfig(session_timeout_s=6.0, commit_timeout_s=1.0)
    world = World(own_broker.address, DRIVER, loop=loop)
    world.feed(1)
    member = world.member()
    join(member)
    read(member, 1)
    member.send([Out(world.out, b"perhaps")])
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(RebuildError):
            member.commit({Partition(world.events, 0): 1})
        member.close()
        assert time.monotonic() - began < 9.0
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)
    again = patiently(world.member)
    found = world.committed(again)
    assert (found, world.values()) in ((None, []), (1, [b"perhaps"]))
    join(again)
    again.send([Out(world.out, b"certainly")])
    again.commit({Partition(world.events, 0): 1})
    assert world.values()[-1] == b"certainly"
    world.close()


def test_a_broker_that_is_gone_is_told_and_waited_for(
    own_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a broker all calls ask for patience and leave nothing; with it back, work goes on."""
    monkeypatch.setattr("consumers.kafka.clients._BOOTSTRAP_MS", 500)
    world = World(own_broker.address, DRIVER)
    world.feed(1)
    member, other = world.member(), world.member("b")
    join(member)
    read(member, 1)
    member.commit({Partition(world.events, 0): 1})
    other.send([Out(world.out, b"never")])
    own_broker.kill()
    with pytest.raises(RetryError, match="no broker"):
        poll_until(member, lambda _: False)
    with pytest.raises(RetryError):
        world.log.bounds(world.events, 0)
    threads = threading.active_count()
    with pytest.raises(RetryError):
        world.log.writer()
    assert threading.active_count() <= threads
    began = time.monotonic()
    other.close()
    assert time.monotonic() - began < 7.0
    own_broker.start()
    patiently(lambda: world.feed(1))
    member.seek({Partition(world.events, 0): 1})
    assert [record.offset for record in patiently(lambda: read(member, 1))] == [1]
    member.commit({Partition(world.events, 0): 2})
    assert world.committed(member) == 2
    world.close()


def test_a_record_that_the_broker_refuses_fails_the_transaction(world: World) -> None:
    """What a broker refuses leaves nothing behind; the member that follows knows the new limit."""
    world.feed(1)
    member = world.member()
    join(member)
    read(member, 1)
    member.send([Out(world.out, b"x")])
    member.commit({Partition(world.events, 0): 0})
    admin = KafkaAdminClient(bootstrap_servers=world.brokers)
    admin.alter_configs([ConfigResource("topic", world.out, {"max.message.bytes": "2000"})])
    admin.close()
    time.sleep(0.2)
    member.send([Out(world.out, b"small"), Out(world.out, bytes(10_000))])
    with pytest.raises(RebuildError, match="TooLarge"):
        member.commit({Partition(world.events, 0): 1})
    member.close()
    again = world.member()
    join(again)
    read(again, 1)
    with pytest.raises(TooLargeError):
        again.send([Out(world.out, b"y"), Out(world.out, bytes(10_000))])
    again.commit({Partition(world.events, 0): 1})
    assert world.values() == [b"x", b"y"]


def test_small_records_reach_a_topic_with_a_small_limit(world: World) -> None:
    """Records that are within a topic's limit get there, whatever batch they went out in."""
    topic = f"{world.name}.small"
    world.log.create([TopicSpec(topic, 1, {"max.message.bytes": "5000"})])
    values = [b"%04d" % i + bytes(1000) for i in range(50)]
    world.feed(1)
    member = world.member()
    join(member)
    read(member, 1)
    member.send([Out(topic, value) for value in values])
    member.commit({Partition(world.events, 0): 1})
    assert [record.value for record in world.log.read(topic, 0)] == values


def test_what_headers_add_counts_towards_the_limit(world: World) -> None:
    """A record that would fit without the overhead of its many headers is refused at once."""
    headers = tuple(("", b"") for _ in range(200))
    writer = world.log.writer()
    with pytest.raises(TooLargeError):
        writer.send(Out(world.out, bytes(20_000), headers=headers))
    writer.send(Out(world.out, bytes(18_000), headers=headers))
    writer.close()
    assert [len(value or b"") for value in world.values()] == [18_000]


def test_records_of_nothing_but_nulls_are_written(world: World) -> None:
    """No key, no value, and headers without a value come back as they were."""
    world.feed(1)
    member = world.member()
    join(member)
    read(member, 1)
    headers = (("none", None), ("empty", b""), ("some", b"x"))
    outs = [Out(world.out, None), Out(world.out, None, headers=headers), Out(world.out, b"")]
    member.send(outs)
    member.commit({Partition(world.events, 0): 1})
    found = [(r.key, r.value, r.headers) for r in world.log.read(world.out, 0)]
    assert found == [(None, None, ()), (None, None, headers), (None, b"", ())]


def test_a_position_that_retention_has_passed_stops_the_process(world: World) -> None:
    """Records that were deleted before they were read are never skipped in silence."""
    world.feed(3)
    admin = KafkaAdminClient(bootstrap_servers=world.brokers)
    admin.delete_records({TopicPartition(world.events, 0): 2})
    admin.close()
    member = world.member()
    gained = poll_until(member, lambda batch: bool(batch.gained)).gained
    member.seek(dict.fromkeys(gained, 1))
    with pytest.raises(StopError, match="retention"):
        poll_until(member, lambda _: False)


def test_what_is_compressed_in_an_unknown_way_stops_with_what_to_do(world: World) -> None:
    """Records that this driver cannot decompress name the library that could."""
    producer = Producer({"bootstrap.servers": world.brokers, "compression.type": "lz4"})
    producer.produce(world.events, b"again and again " * 100)
    producer.flush(10)
    member = world.member()
    join(member)
    with pytest.raises(StopError, match="install lz4"):
        read(member, 1)


def test_members_with_different_assignors_do_not_mix(world: World) -> None:
    """A member that would share partitions in another way is refused with the reason."""
    first = world.member("a", "range")
    join(first)
    second = world.member("b", "cooperative-sticky")
    with pytest.raises(StopError, match="assignor"):
        poll_until(second, lambda _: False)


def test_a_shared_broker_ends_with_its_last_user(tmp_path: Path, kafka_brokers: str) -> None:  # noqa: ARG001 - skips where there is none
    """A broker that test processes share is gone soon after the last of them was killed."""
    code = "import sys, pathlib, time; from consumers.testing.broker import shared\n"
    code += "with shared(pathlib.Path(sys.argv[1])) as at: print(at, flush=True); time.sleep(60)"
    users = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        addresses = {user.stdout.readline() for user in users if user.stdout}
        assert len(addresses) == 1
        (address,) = addresses
        log = KafkaLog(
            LogConfig(driver="kafka", brokers=address.decode().strip()), SecurityConfig(), LOOP
        )
        assert log.topics() == {}
        log.close()
    finally:
        for user in users:
            user.kill()
            user.communicate()
    end = time.monotonic() + 10
    while (tmp_path / "address").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not (tmp_path / "address").exists()


def test_a_process_needs_a_name(kafka_brokers: str) -> None:
    """A static member without an instance is refused before it joins anything."""
    log = KafkaLog(LogConfig(driver="kafka", brokers=kafka_brokers), SecurityConfig(), LOOP)
    with pytest.raises(Exception, match=r"log\.instance") as caught:
        log.member("gate", ["events"])
    assert not isinstance(caught.value, LogError)
