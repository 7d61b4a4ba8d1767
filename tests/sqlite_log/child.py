"""A process on a log's file: does what its first argument names, and says how far it is."""

from __future__ import annotations

import sys
import time

from consumers.errors import LogError
from consumers.log import Log, Member, Out, Partition
from consumers.sqlite import SqliteLog
from stream_al.config import LogConfig, LoopConfig

EVENTS = Partition("events", 0)
OUT, STATE = "stream-al.predictions", "stream-al.ledger-state"


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def activated(log: Log) -> tuple[Member, int]:
    """Open a member, which is active at once, and say so; with its committed offset."""
    member = log.member("gate", ["events"])
    assert member.poll(0.0, 1).gained
    position = member.committed([EVENTS])[EVENTS] or 0
    member.seek({EVENTS: position})
    say("active")
    return member, position


def count(log: Log, session_s: float) -> None:  # noqa: ARG001
    """Say how many topics there are."""
    say(f"{len(log.topics())} topics")


def feed(log: Log, session_s: float) -> None:  # noqa: ARG001
    """Write the time, again and again."""
    writer = log.writer()
    while True:
        writer.send(Out("events", repr(time.time()).encode()))
        time.sleep(0.02)


def hold(log: Log, session_s: float) -> None:  # noqa: ARG001
    """Be the active member, and do nothing."""
    activated(log)
    time.sleep(60)


def commit(log: Log, session_s: float) -> None:
    """Commit after two sessions have passed, and say what became of it."""
    member, _ = activated(log)
    member.send([Out(OUT, b"stale")])
    time.sleep(2 * session_s)
    try:
        member.commit({EVENTS: 1})
    except LogError as error:
        say(type(error).__name__)
    say(f"assigned {len(member.poll(0.0, 1).assigned)}")


def churn(log: Log, session_s: float) -> None:  # noqa: ARG001
    """Copy events, a few in a transaction, with the position as the state."""
    member, position = activated(log)
    while True:
        for record in member.poll(1.0, 7).records:
            position = record.offset + 1
            member.send([Out(OUT, (record.value or b"").strip())])
        member.send([Out(STATE, b"%d" % position, b"state", partition=0)])
        member.commit({EVENTS: position})


def main(what: str, path: str, instance: str, session_s: float) -> None:
    """Do it."""
    config = LogConfig(path=path, instance=instance)
    log = SqliteLog(config, LoopConfig(session_timeout_s=session_s))
    {"count": count, "feed": feed, "hold": hold, "commit": commit, "churn": churn}[what](
        log, session_s
    )


if __name__ == "__main__":
    wanted, file, name, seconds = sys.argv[1:]
    main(wanted, file, name, float(seconds))
