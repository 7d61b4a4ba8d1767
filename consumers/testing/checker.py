"""Recomputes from the topics alone what must hold after any run, whatever failed in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumers.log import Log, Partition
from consumers.testing.check_gate import check_events
from consumers.testing.check_ledger import check_answers
from consumers.testing.check_training import check_training
from consumers.testing.findings import Context
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.labels.gold import GoldCase

__all__ = ["Watcher", "check", "committed_offsets"]


def check(
    log: Log,
    config: Config,
    *,
    settled: bool = True,
    committed: Mapping[str, Mapping[Partition, int | None]] | None = None,
    gold: Sequence[GoldCase] = (),
) -> list[str]:
    """Check every invariant of a run; nothing may be writing meanwhile.

    Every input that was committed has exactly one prediction or dead letter; predictions stand in
    the order of their events; requests keep within the budget at every prefix; model versions
    never fall, and their digests are the training log's; each training record has its cause, and
    each request and label its end; gold cases follow the requests that they are drawn for; states
    stand where the committed offsets do.

    Memory grows with label requests, labels and training records, not with events.

    Parameters
    ----------
    log
        Opened with an instance of its own; nothing is written to it.
    config
        What all processes ran with.
    settled
        Whether all inputs were processed to their ends, and everything due was settled.
    committed
        Offsets by role, where they are known; else they are asked for.
    gold
        The cases that the ledger asked about.

    Returns
    -------
    list
        The violations; empty where everything holds.

    Raises
    ------
    LogError
        If the log cannot be read.
    """
    context = Context(
        log,
        config,
        committed_offsets(log, config) if committed is None else committed,
        settled=settled,
        gold=gold,
    )
    training = check_training(context)
    asked = check_events(context, training)
    check_answers(context, training, asked)
    return context.violations


def committed_offsets(log: Log, config: Config) -> dict[str, dict[Partition, int | None]]:
    """Ask for the committed offsets of gate and ledger, without taking part in their groups.

    While those groups have members, `log` must not be of the driver ``librdkafka``, which joins a
    group before it polls; ``kafka`` on the same brokers does not.
    """
    topics, known = Topics.of(config.log), log.topics()
    inputs = {"gate": (topics.events,), "ledger": (topics.label_requests, topics.labels)}
    found = {}
    for role, names in inputs.items():
        member = log.member(role, names)
        places = [Partition(name, n) for name in names for n in range(known[name].partitions)]
        try:
            found[role] = member.committed(places)
        finally:
            member.close()
    return found


class Watcher:
    """Notices committed offsets that fall while a run goes on.

    Attributes
    ----------
    violations
        Each fall, in plain words.

    Examples
    --------
    >>> watcher = Watcher()
    >>> watcher.see({"gate": {Partition("events", 0): 5}})
    >>> watcher.see({"gate": {Partition("events", 0): 3}})
    >>> watcher.violations
    ['the committed offset of gate in events:0 fell from 5 to 3']
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._highest: dict[tuple[str, Partition], int] = {}

    def see(self, committed: Mapping[str, Mapping[Partition, int | None]]) -> None:
        """Take a sample, as `committed_offsets` returns it."""
        for role, offsets in committed.items():
            for place, offset in offsets.items():
                before = self._highest.get((role, place), -1)
                now = -1 if offset is None else offset
                if now < before:
                    self.violations.append(
                        f"the committed offset of {role} in {place.topic}:{place.number} "
                        f"fell from {before} to {offset}"
                    )
                self._highest[role, place] = now
