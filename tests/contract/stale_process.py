"""A process that reads and sends, and commits when it is told to; says what became of it."""

from __future__ import annotations

import sys

import msgspec

from consumers.drivers import open_log
from consumers.errors import LogError
from consumers.log import Out, Partition
from contract.sites import gained, take
from stream_al.config import Config


def main(text: str, events: str, out: str) -> None:
    """Read one record, send one, and wait for a line before the commit."""
    log = open_log(msgspec.json.decode(text, type=Config))
    member = log.member("gate", [events])
    member.seek(dict.fromkeys(gained(member), 0))
    take(member, 1, most=1)
    member.send([Out(out, b"stale")])
    sys.stdout.write("sent\n")
    sys.stdout.flush()
    sys.stdin.readline()
    try:
        member.commit({Partition(events, 0): 1})
    except LogError as error:
        sys.stdout.write(f"{type(error).__name__}\n")
    else:
        sys.stdout.write("committed\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
