"""What the checker has found to be wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from consumers.log import Log, Partition, Record
from consumers.messages.dead_letters import DeadLetter, describe
from consumers.topics import Topics, dead_letters_of
from stream_al.config import Config
from stream_al.labels.gold import GoldCase

__all__ = ["Context", "Letters", "place_of"]

_SHOWN = 50


def place_of(record: Record) -> str:
    """Name a record's place.

    Examples
    --------
    >>> place_of(Record("events", 0, 17, None, b"", (), 0.0))
    'events:0:17'
    """
    return f"{record.topic}:{record.partition}:{record.offset}"


class Context:
    """What all checks share: where to read, what is committed, what was found.

    Attributes
    ----------
    committed
        Committed offsets by role.
    settled
        Whether everything is expected to have come to rest.
    gold
        The cases that the ledger asked about.
    violations
        The first of them, in plain words.
    """

    def __init__(
        self,
        log: Log,
        config: Config,
        committed: Mapping[str, Mapping[Partition, int | None]],
        *,
        settled: bool,
        gold: Sequence[GoldCase] = (),
    ) -> None:
        self.gold = gold
        self.log = log
        self.config = config
        self.topics = Topics.of(config.log)
        self.partitions = {name: info.partitions for name, info in log.topics().items()}
        self.settled = settled
        self.violations: list[str] = []
        self._committed = committed
        self._left_out = 0

    def committed(self, role: str, topic: str, number: int) -> int:
        """Return how far a role has committed; the beginning where it never did."""
        offset = self._committed.get(role, {}).get(Partition(topic, number))
        return self.log.bounds(topic, number).beginning if offset is None else offset

    def need(self, holds: bool, violation: str) -> None:
        """Note a violation unless something holds."""
        if holds:
            return
        if len(self.violations) < _SHOWN:
            self.violations.append(violation)
        else:
            self._left_out += 1
            self.violations[-1] = f"and {self._left_out} more, of which the last: {violation}"


class Letters:
    """The dead letters about one topic, by the place of what they are about.

    Each is compared with its original; one place has one letter of a stage's own.
    """

    def __init__(self, context: Context, topic: str) -> None:
        self._context = context
        self._topic = topic
        self._letters: dict[tuple[int, int], dict[str, DeadLetter]] = {}
        name = dead_letters_of(context.config.log, topic)
        for number in range(context.partitions.get(name, 0)):
            for record in context.log.read(name, number):
                self._add(record)

    def _add(self, record: Record) -> None:
        need, where = self._context.need, place_of(record)
        letter = describe(record)
        if letter is None:
            need(False, f"{where} is no dead letter: its headers do not say what it is about")
            return
        about = f"{letter.topic}:{letter.partition}:{letter.offset}"
        need(letter.topic == self._topic, f"dead letter {where} is about {about}")
        before = self._letters.setdefault((letter.partition, letter.offset), {})
        twice = f"{about} has two dead letters of stage {letter.stage!r}, the second at {where}"
        need(letter.stage not in before, twice)
        before[letter.stage] = letter

    def of(self, original: Record, *stages: str) -> bool:
        """Tell whether a record has a dead letter, of one of these stages if given; compare both.

        What was compared does not count in `strays` any more.
        """
        place = original.partition, original.offset
        found = self._letters.get(place, {})
        mine = [stage for stage in found if not stages or stage in stages]
        for stage in mine:
            self._compare(original, found.pop(stage))
        return bool(mine)

    def kind_of(self, original: Record, stage: str) -> str | None:
        """Return why a record has a dead letter of a stage, in a word; see `of`."""
        found = self._letters.get((original.partition, original.offset), {}).get(stage)
        self.of(original, stage)
        return None if found is None else found.kind

    def _compare(self, original: Record, letter: DeadLetter) -> None:
        whole, kept = original.value, letter.value
        if letter.truncated:
            digest = hashlib.sha256(whole or b"").hexdigest()
            same = (letter.size, letter.sha256) == (len(whole or b""), digest)
            same = same and (whole or b"").startswith(kept or b"")
        else:
            same = (whole, original.key, original.headers) == (kept, letter.key, letter.headers)
        where = place_of(original)
        self._context.need(same, f"the dead letter of {where} ({letter.stage}) differs from it")

    def strays(self) -> None:
        """Note the letters that are about no record that was read."""
        for (number, offset), stages in sorted(self._letters.items()):
            for stage in stages:
                where = f"{self._topic}:{number}:{offset}"
                self._context.need(False, f"a dead letter of {stage!r} is about no input: {where}")
