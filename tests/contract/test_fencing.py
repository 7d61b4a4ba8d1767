"""Who may commit: one owner of each partition, and nobody who was one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from consumers.errors import AbortError, RebuildError, StopError
from consumers.log import Batch, Member, Out, Partition
from contract.sites import PATIENCE_S, Site, gained, poll_until, take


def commit_and_go_on(member: Member, place: Partition) -> None:
    """Commit, and do what a loop does where that is refused."""
    try:
        member.commit({place: 1})
    except AbortError:
        # With its offsets on their way as another one joined it is the group that has refused it.
        member.abort()
        poll_until(member, lambda _: False)


def test_same_identity_fences_whoever_had_it_before(site: Site) -> None:
    """Opened twice, the older member fails to commit and to go on; nothing of it is ever seen."""
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    writer = site.writer()
    for number in range(4):
        writer.send(Out(events, b"%d" % number))
    writer.flush()
    older = site.joined(events)
    take(older, 4)
    older.send([Out(out, b"older")])
    newer = site.joined(events)
    take(newer, 4)
    newer.send([Out(out, b"newer")])
    newer.commit({place: 4})
    with pytest.raises((StopError, RebuildError)):
        commit_and_go_on(older, place)
    assert newer.committed([place]) == {place: 4}
    newer.send([Out(out, b"newer still")])
    newer.commit({place: 4})
    assert [r.value for r in site.log().read(out, 0)] == [b"newer", b"newer still"]


def test_every_partition_has_one_owner(site: Site) -> None:
    """However two members share a group, all partitions are read, and each record once."""
    events = site.topic(partitions=4)
    first, second = site.rivals(events)
    places = frozenset(Partition(events, number) for number in range(4))
    owned: dict[int, frozenset[Partition]] = {0: frozenset(), 1: frozenset()}
    end = time.monotonic() + PATIENCE_S
    settled = 0
    while settled < 3 and time.monotonic() < end:
        batches: list[Batch] = []
        for index, member in enumerate((first, second)):
            batches.append(member.poll(0.5, 100))
            owned[index] = batches[-1].assigned
            member.seek(dict.fromkeys(batches[-1].gained, 0))
        whole = all(batch.stable for batch in batches) and owned[0] | owned[1] == places
        settled = settled + 1 if whole else 0
    assert settled == 3
    assert not owned[0] & owned[1]


def test_stale_process_cannot_commit(shared_site: Site) -> None:
    """A process that slept past its session cannot commit: no record of it, no offset back."""
    site = shared_site
    events, out = site.topic(), site.topic()
    place = Partition(events, 0)
    writer = site.writer()
    for number in range(5):
        writer.send(Out(events, b"%d" % number))
    writer.flush()
    script = Path(__file__).with_name("stale_process.py")
    config = msgspec.json.encode(site.config("one")).decode()
    with subprocess.Popen(
        [sys.executable, str(script), config, events, out],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(script.parent.parent)},
        text=True,
    ) as stale:
        try:
            assert stale.stdin is not None
            assert stale.stdout is not None
            assert stale.stdout.readline() == "sent\n"
            os.kill(stale.pid, signal.SIGSTOP)
            second = site.member(events, instance="two")
            site.seek_committed(second, gained(second))
            take(second, 5)
            second.send([Out(out, b"second")])
            second.commit({place: 5})
            os.kill(stale.pid, signal.SIGCONT)
            # Long enough for it to learn that it was evicted: Kafka takes a commit of a member
            # that has forgotten its generation without a question.
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                second.poll(0.5, 10)
            stale.stdin.write("go on\n")
            stale.stdin.flush()
            assert stale.stdout.readline().strip() in {"AbortError", "RebuildError", "StopError"}
        finally:
            stale.kill()
    assert second.committed([place]) == {place: 5}
    assert [record.value for record in site.log().read(out, 0)] == [b"second"]


def test_member_that_comes_back_need_not_wait(shared_site: Site) -> None:
    """The seat is kept: closed and opened again, a member has its partitions within a second."""
    site = shared_site
    events = site.topic()
    site.joined(events).close()
    started = time.monotonic()
    member = site.member(events)
    poll_until(member, lambda batch: bool(batch.gained))
    assert time.monotonic() - started < site.loop.session_timeout_s / 2
