"""What the doctor looks at, whichever log it is, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from consumers.log import Partition
from consumers.topics import Topics

__all__ = ["Finding", "Group", "GroupState", "Held", "Level", "Topic", "inputs"]

Level: TypeAlias = Literal["ok", "warn", "error"]
GroupState: TypeAlias = Literal["active", "rebalancing", "empty", "absent", "hidden"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes
    ----------
    check
        What was looked at, in a word.
    level
        ``error`` where nothing goes on, or something is lost, unless somebody acts.
    what
        What was found.
    do
        What to do about it; empty where all is well.
    """

    check: str
    level: Level
    what: str
    do: str = ""


class Topic(msgspec.Struct, frozen=True):
    """A topic as it is.

    Attributes
    ----------
    settings
        Empty where they may not be read.
    operations
        What this user may do with it, by Kafka's names; None: not told.
    replicas
        Copies of each partition; None: not told.
    leaderless
        Partitions that nobody serves.
    """

    partitions: int
    settings: Mapping[str, str] = {}
    operations: frozenset[str] | None = None
    replicas: int | None = None
    leaderless: tuple[int, ...] = ()


class Group(msgspec.Struct, frozen=True):
    """A role's consumer group as it is.

    Attributes
    ----------
    state
        ``absent``: the log does not know it; ``hidden``: it may not be described.
    told
        What the log calls that state, or who the members are.
    assigned
        Partitions that members own.
    committed
        The next offset of each partition that the group has committed.
    operations
        As of `Topic`.
    """

    state: GroupState
    told: str = ""
    members: int = 0
    assigned: frozenset[Partition] = frozenset()
    committed: Mapping[Partition, int] = {}
    operations: frozenset[str] | None = None


class Held(msgspec.Struct, frozen=True):
    """An open transaction, which holds back whoever reads its partition.

    Attributes
    ----------
    offset
        Where it begins: nobody reads on from there.
    records
        Offsets that are held back.
    writer
        The transactional id; else the producer's number.
    age_s
        Since it last wrote.
    timeout_s
        After which the log itself should end it; None: not told.
    """

    partition: Partition
    offset: int
    records: int
    writer: str
    age_s: float
    timeout_s: float | None = None


def inputs(topics: Topics) -> dict[str, tuple[str, ...]]:
    """Name the topics that each role reads in its group.

    Examples
    --------
    >>> from stream_al.config import LogConfig
    >>> inputs(Topics.of(LogConfig(name="fraud")))["ledger"]
    ('fraud.label-requests', 'fraud.labels')
    """
    return {
        "gate": (topics.events,),
        "ledger": (topics.label_requests, topics.labels),
        "annotator": (topics.label_requests,),
    }
