"""What the ledger keeps of one partition, and how it stands in the changelog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from consumers.log import Out, Record
from stream_al.config import Config
from stream_al.labels.gold import GoldCase
from stream_al.labels.ledger import Ledger
from stream_al.labels.outcomes import Open, Outcome, Past
from stream_al.records import LabelRequest, encode

__all__ = ["Early", "LedgerState", "open_requests"]

_POSITION = b"position"


class Early(msgspec.Struct, frozen=True, kw_only=True, tag="early", tag_field="state"):
    """A label whose request has not been seen: the message as it came, and since when it waits."""

    request_id: str
    since: float
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    time: float


class _Open(msgspec.Struct, frozen=True, tag="open", tag_field="state"):
    number: int
    entry: Open


class _Ended(msgspec.Struct, frozen=True, tag="ended", tag_field="state"):
    number: int
    past: Past


class _Position(msgspec.Struct, frozen=True, tag="position", tag_field="state"):
    """How far each input was read, the latest time seen, and the last number given."""

    next: dict[str, int]
    now: float
    number: int


_decode = msgspec.json.Decoder(Early | _Open | _Ended | _Position).decode


def open_requests(entries: Iterable[Record]) -> list[Open]:
    """List what is open by a changelog, in the order of opening."""
    found = [entry for entry in _last(entries).values() if isinstance(entry, _Open)]
    return [entry.entry for entry in sorted(found, key=lambda entry: entry.number)]


def _last(entries: Iterable[Record]) -> dict[bytes, Early | _Open | _Ended | _Position]:
    """Decode the last record of each key, which is what counts; those that end one are left out."""
    last = {record.key or b"": record.value for record in entries}
    return {key: _decode(value) for key, value in last.items() if value is not None}


class LedgerState:
    """One partition's ledger; every change of it is kept for the changelog.

    Attributes
    ----------
    ledger
        What is open and what has ended.
    next
        The next offset of each input topic.
    now
        The latest time seen; never falls.
    """

    def __init__(self, config: Config, gold: Sequence[GoldCase] = ()) -> None:
        self.ledger = Ledger(config.learner.classes, config.ledger, gold, config.gate.salt)
        self.next: dict[str, int] = {}
        self.now = 0.0
        self._early: dict[int, Early] = {}
        self._waiting: dict[str, list[int]] = {}
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._changes: dict[bytes, msgspec.Struct | None] = {}

    def restore(self, entries: Iterable[Record]) -> None:
        """Take in a changelog: the last record of each key counts."""
        ended, opened, early = [], [], []
        for key, entry in _last(entries).items():
            if isinstance(entry, _Position):
                self.next, self.now, self._number = dict(entry.next), entry.now, entry.number
            elif isinstance(entry, _Ended):
                ended.append((entry.number, key.decode(), entry.past))
            elif isinstance(entry, _Open):
                opened.append(entry)
            else:
                early.append(entry)
        for number, request_id, past in sorted(ended, key=lambda entry: entry[0]):
            self.ledger.remember(request_id, past)
            self._numbers[request_id] = number
        for entry in sorted(opened, key=lambda entry: entry.number):
            self.ledger.reopen(entry.entry)
            self._numbers[entry.entry.request.request_id] = entry.number
        for entry in sorted(early, key=lambda entry: entry.offset):
            self._keep(entry)

    def open(self, request: LabelRequest) -> bool:
        """Open a request, as of now; see `Ledger.open`."""
        if not self.ledger.open(request, self.now):
            return False
        self._number_next(request.request_id)
        self._note(request.request_id)
        return True

    def open_gold(self, after: LabelRequest) -> LabelRequest | None:
        """Open the gold request that follows one just opened; see `Ledger.open_gold`."""
        request = self.ledger.open_gold(after, self.now)
        if request is not None:
            self._number_next(request.request_id)
            self._note(request.request_id)
        return request

    def settle(self, outcome: Outcome) -> None:
        """Settle an outcome; see `Ledger.settle`."""
        ends, entry = outcome.ends, outcome.entry
        if ends and self.ledger.is_open(ends):
            self._number_next(ends)
        forgotten = self.ledger.settle(outcome)
        if ends:
            self._note(ends)
        elif entry is not None:
            self._note(entry.request.request_id)
        if forgotten is not None:
            del self._numbers[forgotten]
            self._changes[forgotten.encode()] = None

    def _number_next(self, request_id: str) -> None:
        self._number += 1
        self._numbers[request_id] = self._number

    def _note(self, request_id: str) -> None:
        """Keep for the changelog what a request is now; its number says in which order."""
        number, ledger = self._numbers[request_id], self.ledger
        self._changes[request_id.encode()] = (
            _Open(number, ledger.entry(request_id))
            if ledger.is_open(request_id)
            else _Ended(number, ledger.past(request_id))
        )

    def wait(self, request_id: str, message: Record) -> None:
        """Let a label wait for its request, from now on."""
        entry = Early(
            request_id=request_id,
            since=self.now,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            key=message.key,
            value=message.value,
            headers=message.headers,
            time=message.time,
        )
        self._keep(entry)
        self._changes[_early_key(entry.offset)] = entry

    def take_waiting(self, request_id: str) -> list[Record]:
        """Give back the labels that waited for a request, in order."""
        return [self._release(offset) for offset in self._waiting.get(request_id, [])[:]]

    def give_up(self, before: float, limit: int) -> list[tuple[str, Record]]:
        """Give back the labels that wait since that time or earlier, and the oldest over a limit.

        Each with the request that it waited for.
        """
        found = []
        while self._early:
            offset, oldest = next(iter(self._early.items()))
            if oldest.since > before and len(self._early) <= limit:
                break
            found.append((oldest.request_id, self._release(offset)))
        return found

    @property
    def waiting(self) -> int:
        """How many labels wait for their request."""
        return len(self._early)

    @property
    def waiting_since(self) -> float | None:
        """Since when the oldest of them waits; None without any."""
        return next(iter(self._early.values())).since if self._early else None

    def changes(self, changelog: str, number: int) -> list[Out]:
        """Return what has changed since the last call, as records of the changelog."""
        position = _Position(self.next, self.now, self._number)
        outs = [
            Out(changelog, None if entry is None else encode(entry), key, (), number)
            for key, entry in self._changes.items()
        ]
        outs.append(Out(changelog, encode(position), _POSITION, (), number))
        self._changes = {}
        return outs

    def _keep(self, entry: Early) -> None:
        self._early[entry.offset] = entry
        self._waiting.setdefault(entry.request_id, []).append(entry.offset)

    def _release(self, offset: int) -> Record:
        entry = self._early.pop(offset)
        waiting = self._waiting[entry.request_id]
        waiting.remove(offset)
        if not waiting:
            del self._waiting[entry.request_id]
        self._changes[_early_key(offset)] = None
        return Record(
            entry.topic,
            entry.partition,
            entry.offset,
            entry.key,
            entry.value,
            entry.headers,
            entry.time,
        )


def _early_key(offset: int) -> bytes:
    return b"early %d" % offset
