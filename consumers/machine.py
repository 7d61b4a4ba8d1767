"""The machine contract: what the loop runs.

A machine is pure: no log, no clock, no thread. Its state is split by input partition, and every
change of it leaves in the same `Work` as the records that the change put out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from consumers.log import Out, Partition, Record
from stream_al.records import Decision

__all__ = ["Counts", "Machine", "Tick", "Work"]

Counts: TypeAlias = Counter[tuple[str, ...]]
"""What to add to metrics: (name, label values...) to amount."""


class Tick(msgspec.Struct, frozen=True):
    """What a machine is told of the world with each batch.

    Attributes
    ----------
    now
        Epoch seconds.
    drained
        For input partitions: a time at whose end of the partition everything has been processed,
        before this batch. Only where that is known.
    """

    now: float
    drained: Mapping[Partition, float] = {}


class Work(msgspec.Struct, frozen=True):
    """What one batch made a machine put out, to be committed together.

    Attributes
    ----------
    outs
        Records, changelog included.
    offsets
        The next to be read, of every partition that the batch concerned.
    counts
        What to add to counters once it is committed.
    observed
        What to observe in histograms then: by name, the values.
    decisions
        Those of the gate's last that are worth showing then.
    """

    outs: list[Out]
    offsets: dict[Partition, int]
    counts: Counts
    observed: Mapping[str, Sequence[float]] = {}
    decisions: Sequence[Decision] = ()


class Machine(ABC):
    """What the loop runs.

    Attributes
    ----------
    role
        Its group's name.
    inputs
        Topics that it reads, partitioned alike: partition n of each has one owner.
    changelog
        Compacted topic that its state is written to, partition by partition.
    whole_state
        Whether the last record of a changelog's partition is all of the state; else the state is
        the last record of each key.
    follows
        Topic with one partition that is folded between batches; None: nothing is.
    slice_size
        How many records of a batch to process at a time, so that the log stores what they put
        out while the next are processed; 0: all.
    """

    role: str
    inputs: tuple[str, ...]
    changelog: str
    whole_state: bool
    follows: str | None
    slice_size: int = 0

    @abstractmethod
    def restore(self, number: int, entries: Iterable[Record]) -> dict[Partition, int]:
        """Take over a partition of all inputs with what its changelog holds.

        Parameters
        ----------
        number
            The partition.
        entries
            Records of the changelog in order; the last of a key counts, no value deletes it.

        Returns
        -------
        dict
            The next offset of each input's partition, by the state; empty where there is none.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """Forget a partition; no error where it is not owned."""

    @abstractmethod
    def process(self, records: Sequence[Record], tick: Tick) -> Work:
        """Process a batch, or a slice of one; never raises for what a record holds.

        What is returned is committed, with that of the slices before and after, or the partitions
        are restored.
        """

    @abstractmethod
    def due(self, tick: Tick) -> bool:
        """Tell whether there is work without any record."""

    @property
    @abstractmethod
    def positions(self) -> dict[Partition, int]:
        """The next offset of each input's partition that is owned, as far as known.

        Other threads may ask.
        """

    @property
    def idle(self) -> bool:
        """Whether nothing is under way that time or other machines will end."""
        return True

    def settled(  # noqa: B027 - most machines keep no account
        self, counts: Counts, decisions: Sequence[Decision]
    ) -> None:
        """Be told the counts, and the decisions, of what was committed."""

    @property
    def introduction(self) -> Out | None:
        """What has to stand in a log before this machine may begin; None: nothing more.

        A machine that follows that log is asked again once it has folded it; for others it is
        written into an empty log only, else they `meet` its first record.
        """
        return None

    def meet(self, first: Record) -> None:  # noqa: B027 - those that follow fold it
        """See that the log began with what this machine can work with.

        Raises
        ------
        ConfigError
            If it cannot.
        """

    @property
    def next_followed(self) -> int:
        """The next offset of `follows` that `follow` needs."""
        return 0

    def follow(self, records: Sequence[Record]) -> None:  # noqa: B027 - most machines follow nothing
        """Fold records of `follows`."""

    @property
    def behind(self) -> bool:
        """Whether more must be folded before the partitions that are owned can go on."""
        return False
