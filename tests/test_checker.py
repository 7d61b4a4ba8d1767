"""The checker finds each violation where one is made, and none where there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from consumers.gate import GateMachine
from consumers.health import RoleState
from consumers.ledger import LedgerMachine
from consumers.log import Out, Partition, Record
from consumers.loop import Loop
from consumers.messages.dead_letters import describe
from consumers.telemetry import Telemetry
from consumers.testing.checker import Watcher, check, committed_offsets
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.simulated_storage import SimulatedClock
from consumers.topics import Topics, dead_letters_of, specs
from stream_al.config import (
    Config,
    GateConfig,
    LearnerConfig,
    LedgerConfig,
    LogConfig,
    LoopConfig,
    MessageConfig,
)
from stream_al.records import LabelRequest

CONFIG = Config(
    learner=LearnerConfig(committee=False, classes=("a", "b")),
    gate=GateConfig(budget=0.3, burst=3.0, observe_every=3, second_opinion=0.5),
    ledger=LedgerConfig(expire_after_s=50.0, early_wait_s=5.0, reasons=("slip",)),
    message=MessageConfig(id="id", label="class"),
    loop=LoopConfig(batch_size=5, poll_s=0.01),
    log=LogConfig(partitions=2, instance="one"),
)
TOPICS = Topics.of(CONFIG.log)
LETTERS = dead_letters_of(CONFIG.log, TOPICS.events)
LABEL_LETTERS = dead_letters_of(CONFIG.log, TOPICS.labels)

Records = list[Record]
Change = Callable[[Records], Records]
Committed = dict[str, dict[Partition, int | None]]


class Altered(SimulatedLog):
    """A log whose records are another's, one topic's changed on reading."""

    def __init__(self, log: SimulatedLog, topic: str, change: Change) -> None:
        super().__init__(CONFIG, log.broker)
        self._topic = topic
        self._change = change

    def read(self, topic: str, partition: int, start: int | None = None) -> Iterator[Record]:
        """Read as it is told that it was."""
        records = super().read(topic, partition, start)
        return iter(self._change(list(records))) if topic == self._topic else records


class Run(msgspec.Struct, frozen=True):
    """A run that is whole: the log, and the offsets that were committed."""

    log: SimulatedLog
    committed: Committed


SINGLE = (
    "",
    "ann label a, ann label a, bob label b, bob revise b, bob revise b, ann retract -",
    "ann skip -, bob skip -",
    "eve flag -, ann label a, eve flag -",
    "bob revise b",
    "ann retract -, bob label a",
    "ann label neither, ann revise a because, ann revise a slip",
)
"""What is said of requests for one opinion."""

DOUBLE = (
    "ann label a, ann label a, bob label a",
    "ann label a, bob label b, bob label b, eve label b",
    "ann label a, ann label b, ann revise b",
    "ann skip -, ann skip -, bob label a",
    "ann label a, bob label b",
    "ann label a, ann retract -, ann label b, bob label b",
    "ann skip -, bob skip -",
    "",
)
"""What is said of requests for two."""

AFTERWARDS = ("ann label a", "bob revise b", "ann retract -", "ann skip -")
"""What is said once the time of all is over."""


@pytest.fixture(scope="module")
def run() -> Run:
    """Play a small stream with bad events, answers of all kinds, and requests left to expire."""
    broker = SimulatedBroker(SimulatedClock())
    log = SimulatedLog(CONFIG, broker)
    log.create(specs(CONFIG.log))
    telemetry = Telemetry(["gate", "ledger"])
    loops = [
        Loop(SimulatedLog(CONFIG, broker), machine, CONFIG, telemetry, RoleState(), broker.clock)
        for machine in (GateMachine(CONFIG), LedgerMachine(CONFIG))
    ]

    def settle() -> None:
        for _ in range(60):
            for loop in loops:
                loop.step()

    def say(key: bytes | None, name: str, what: str) -> None:
        for each in what.split(", ") if what else ():
            who, kind, label, *reason = each.split(" ")
            told = {"request_id": name, "annotator": who, "kind": kind, "time": 9.0}
            told |= {} if label == "-" else {"label": label}
            told |= {"reason": reason[0]} if reason else {}
            writer.send(Out(TOPICS.labels, json.dumps(told).encode(), key))

    writer = log.writer()
    for n in range(160):
        value = b"{bad" if n % 20 == 7 else json.dumps({"id": n, "amount": n % 9}).encode()
        writer.send(Out(TOPICS.events, value, None if n % 4 == 0 else b"%d" % (n % 5)))
    settle()
    requests = [
        (record.key, msgspec.json.decode(record.value or b"", type=LabelRequest))
        for number in range(2)
        for record in log.read(TOPICS.label_requests, number)
    ]
    spoken: Counter[int] = Counter()
    for key, request in requests:
        script = SINGLE if request.opinions == 1 else DOUBLE
        say(key, request.request_id, script[spoken[request.opinions] % len(script)])
        spoken[request.opinions] += 1
    assert min(spoken[1], spoken[2]) >= len(DOUBLE)
    say(b"k", "events:0:9999", "ann label a")
    key, request = requests[0]
    for told in ({"amount": 3.5}, {}, {"class": "neither"}):
        value = json.dumps({"id": request.id, "class": "a", **told}).encode()
        writer.send(Out(TOPICS.labels, value, key))
    writer.send(Out(TOPICS.labels, b"no label", b"k"))
    settle()
    broker.clock.sleep(60.0)
    settle()
    for n, (key, request) in enumerate(requests[:-1]):
        say(key, request.request_id, AFTERWARDS[n % len(AFTERWARDS)])
    settle()
    broker.clock.sleep(60.0)
    settle()
    for loop in loops:
        loop.close()
    return Run(log, committed_offsets(log, CONFIG))


def find(run: Run, topic: str, change: Change, committed: Committed | None = None) -> list[str]:
    """Check a run with one topic changed."""
    log = Altered(run.log, topic, change)
    return check(log, CONFIG, committed=committed or run.committed)


def fields(record: Record, **changes: object) -> Record:
    """Change fields of a record's JSON."""
    value = json.loads(record.value or b"") | changes
    return msgspec.structs.replace(record, value=json.dumps(value).encode())


def test_a_whole_run_has_no_violation(run: Run) -> None:
    """What the machines put out on an undisturbed log is found to be right, all kinds of it."""
    assert check(run.log, CONFIG) == []
    told = [json.loads(record.value or b"") for record in run.log.read(TOPICS.training, 0)]
    types = {each["type"] for each in told}
    assert types == {"configured", "observed", "labelled", "closed", "flagged", "unsolicited"}
    assert {each.get("reason") for each in told} >= {"skipped", "expired", "retracted"}
    assert {len(each.get("opinions", ())) for each in told} == {0, 1, 2, 3}
    assert any(each.get("late") for each in told)
    assert {each["type"] for each in told if "was" in each} == {"labelled", "closed"}
    letters = {describe(record) for record in run.log.read(LABEL_LETTERS, 0)}
    kinds = {letter.kind for letter in letters if letter is not None}
    assert kinds == {"conflicting", "refused", "unknown", "not-json"}
    assert list(run.log.read(LETTERS, 0))


def drop(position: int) -> Change:
    """Leave a record out."""
    return lambda records: records[:position] + records[position + 1 :] if position else records[1:]


def drop_last(records: Records) -> Records:
    """Leave the last record out."""
    return records[:-1]


def repeat(records: Records) -> Records:
    """Add the last record once more, at the end."""
    return [*records, *(msgspec.structs.replace(r, offset=r.offset + 5) for r in records[-1:])]


def swap(records: Records) -> Records:
    """Let two records change places."""
    return [records[1], records[0], *records[2:]]


def with_last(**changes: object) -> Change:
    """Change fields of the last record."""
    return lambda records: [*records[:-1], fields(records[-1], **changes)]


def with_kind(kind: str, **changes: object) -> Change:
    """Change fields of the last training record of a kind."""

    def change(records: Records) -> Records:
        at = max(
            (n for n, r in enumerate(records) if json.loads(r.value or b"")["type"] == kind),
            default=0,
        )
        return [*records[:at], fields(records[at], **changes), *records[at + 1 :]]

    return change


def twice(kind: str) -> Change:
    """Add the last training record of a kind once more."""

    def change(records: Records) -> Records:
        mine = [r for r in records if json.loads(r.value or b"")["type"] == kind]
        return [*records, msgspec.structs.replace(mine[-1], offset=records[-1].offset + 2)]

    return change


def where(pick: Callable[[dict[str, Any]], bool], to: Callable[[Record], Records]) -> Change:
    """Put other records in the place of the last record of which something holds."""

    def change(records: Records) -> Records:
        found = [n for n, record in enumerate(records) if pick(decoded(record))]
        return [
            each
            for n, record in enumerate(records)
            for each in (to(record) if n in found[-1:] else [record])
        ]

    return change


def decoded(record: Record) -> dict[str, Any]:
    """Decode a record's JSON; empty where it is no object."""
    try:
        value = json.loads(record.value or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def gone(_: Record) -> Records:
    """Leave it out."""
    return []


def doubled(record: Record) -> Records:
    """Have it twice."""
    return [record, msgspec.structs.replace(record, offset=record.offset + 1)]


def but(**changes: object) -> Callable[[Record], Records]:
    """Change fields of it."""
    return lambda record: [fields(record, **changes)]


def has(**wanted: object) -> Callable[[dict[str, Any]], bool]:
    """Tell whether fields hold these values."""
    return lambda told: all(told.get(name) == value for name, value in wanted.items())


def revised(told: dict[str, Any]) -> bool:
    """Tell whether a record labels what had a label."""
    return told.get("type") == "labelled" and "was" in told


def expired_in_dispute(told: dict[str, Any]) -> bool:
    """Tell whether a record closes a request whose last word never came."""
    return told.get("reason") == "expired" and len(told.get("opinions", ())) == 2


def with_opinions(count: int) -> Callable[[dict[str, Any]], bool]:
    """Tell whether a record has so many opinions."""
    return lambda told: len(told.get("opinions", ())) == count


def adjudicate_another(records: Records) -> Records:
    """Ask for the last word where nobody disagreed."""
    asked = Counter(decoded(record)["request_id"] for record in records)
    once = [record for record in records if asked[decoded(record)["request_id"]] == 1]
    record = next(record for record in once if decoded(record)["opinions"] == 2)
    again = fields(record, disagreed=True)
    return [*records, msgspec.structs.replace(again, offset=records[-1].offset + 1)]


def letter(kind: str, to: Callable[[Record], Records], *, asked: bool = True) -> Change:
    """Put other records in the place of the last dead letter of a kind, of a request or of none."""

    def change(records: Records) -> Records:
        at = max(
            n
            for n, r in enumerate(records)
            if ("__dlq.errors.class", kind.encode()) in r.headers
            and (b'"request_id"' in (r.value or b"")) == asked
        )
        return [*records[:at], *to(records[at]), *records[at + 1 :]]

    return change


def renamed(record: Record) -> Records:
    """Say that a dead letter is of an odd kind."""
    headers = tuple(
        (name, b"odd" if name == "__dlq.errors.class" else value) for name, value in record.headers
    )
    return [msgspec.structs.replace(record, headers=headers)]


def other_bytes(records: Records) -> Records:
    """Change a byte of the last record."""
    return [*records[:-1], msgspec.structs.replace(records[-1], value=b"{Bad")]


def other_key(records: Records) -> Records:
    """Give every record a key of its own."""
    return [
        msgspec.structs.replace(record, key=b"moved %d" % n) for n, record in enumerate(records)
    ]


def all_asked(records: Records) -> Records:
    """Say that every event was asked about."""
    return [fields(record, action="ask") for record in records]


@pytest.mark.parametrize(
    ("topic", "change", "told"),
    [
        (TOPICS.predictions, drop(0), "has no prediction or dead letter"),
        (TOPICS.predictions, drop(3), "has no prediction or dead letter"),
        (TOPICS.predictions, drop_last, "has no prediction or dead letter"),
        (TOPICS.predictions, repeat, "twice or out of order"),
        (TOPICS.predictions, swap, "twice or out of order"),
        (TOPICS.predictions, with_last(offset=10_000), "a prediction is about no event"),
        (TOPICS.predictions, with_last(partition=7), "is about events:7"),
        (TOPICS.predictions, with_last(digest="0" * 16), "digest 0000000000000000"),
        (TOPICS.predictions, with_last(model_version=10_000), "no training record ends at"),
        (TOPICS.predictions, with_last(model_version=0), "the model's version falls"),
        (TOPICS.predictions, with_last(state_digest=1), "checksum is"),
        (TOPICS.predictions, all_asked, "has no request"),
        (TOPICS.events, drop(2), "is about no event"),
        (LETTERS, drop_last, "has no prediction or dead letter"),
        (LETTERS, repeat, "two dead letters"),
        (LETTERS, other_bytes, "differs from it"),
        (TOPICS.label_requests, where(has(disagreed=False), gone), "has no request"),
        (TOPICS.label_requests, where(has(disagreed=False), doubled), "is asked twice"),
        (TOPICS.label_requests, other_key, "is not where its key belongs"),
        (TOPICS.label_requests, where(has(disagreed=False), but(request_no=99)), "are numbered"),
        (TOPICS.label_requests, where(has(opinions=1), but(id="x")), "not about what was asked"),
        (TOPICS.training, drop(0), "comes before any configuration"),
        (TOPICS.training, drop(2), "digest"),
        (TOPICS.training, swap, "comes before any configuration"),
        (TOPICS.training, with_kind("configured", fold_id="f"), "is configured as f"),
        (TOPICS.training, twice("labelled"), "does not follow from how"),
        (TOPICS.training, twice("observed"), "again"),
        (TOPICS.training, with_kind("observed", offset=10_000), "is observed, and has no predict"),
        (TOPICS.training, with_kind("labelled", annotator="eve"), "by what was said"),
        (TOPICS.training, with_kind("labelled", weight=2.0), "by what was said"),
        (TOPICS.training, with_kind("labelled", answered_at=8.0), "by what was said"),
        (TOPICS.training, with_kind("labelled", asked="whim"), "not about what was asked"),
        (TOPICS.training, with_kind("labelled", request_id="events:9:9"), "was never asked"),
        (TOPICS.training, with_kind("closed", reason="skipped"), "by what was said"),
        (TOPICS.training, with_kind("flagged", comment="or not"), "by what was said"),
        (TOPICS.training, where(has(type="flagged"), gone), "by what was said"),
        (TOPICS.training, where(has(type="flagged"), doubled), "by what was said, nothing more"),
        (TOPICS.training, where(has(type="labelled", late=True), gone), "by what was said"),
        (TOPICS.training, where(has(late=True), but(late=False)), "does not follow from how"),
        (TOPICS.training, where(revised, gone), "by what was said"),
        (TOPICS.training, where(revised, but(was=None)), "does not follow from how"),
        (TOPICS.training, where(has(reason="retracted", was="b"), gone), "by what was said"),
        (TOPICS.training, where(has(reason="retracted"), but(was="c")), "does not follow from how"),
        (TOPICS.training, where(has(reason="expired"), gone), "is still open"),
        (TOPICS.training, where(expired_in_dispute, but(opinions=[])), "by what was said"),
        (TOPICS.training, where(with_opinions(1), but(opinions=[])), "by what was said"),
        (TOPICS.training, where(with_opinions(2), but(annotator="bob")), "by what was said"),
        (TOPICS.training, where(with_opinions(3), but(label="a")), "by what was said"),
        (TOPICS.training, with_kind("unsolicited", label="b"), "which nobody asked for, is"),
        (
            TOPICS.training,
            with_kind("unsolicited", features={"amount": 99}),
            "nobody asked for, is",
        ),
        (TOPICS.training, where(has(type="unsolicited"), gone), "which nobody asked for, is"),
        (TOPICS.labels, drop(0), "by what was said"),
        (TOPICS.labels, where(has(kind="retract"), gone), "by what was said"),
        (TOPICS.labels, where(has(kind="flag"), gone), "by what was said"),
        (TOPICS.labels, where(has(reason="slip"), but(time=8.0)), "by what was said"),
        (TOPICS.labels, where(has(annotator="eve", label="b"), gone), "by what was said"),
        (TOPICS.labels, lambda records: [*records, *other_bytes(records)[-1:]], "neither used"),
        (LABEL_LETTERS, letter("conflicting", gone), "is no dead letter, not a dead letter (conf"),
        (LABEL_LETTERS, letter("conflicting", renamed), "is a dead letter (odd), not"),
        (LABEL_LETTERS, letter("refused", gone, asked=False), "which nobody asked for, is None"),
        (LABEL_LETTERS, letter("unknown", gone), "which is not open"),
        (TOPICS.label_requests, where(has(disagreed=True), gone), "is not asked again"),
        (
            TOPICS.label_requests,
            where(has(disagreed=True), doubled),
            "asks for the last word again",
        ),
        (TOPICS.label_requests, where(has(disagreed=True), but(score=0.123)), "something else"),
        (TOPICS.label_requests, adjudicate_another, "is asked again, against what was said"),
        (TOPICS.gate_state, drop_last, "next_offset is"),
        (TOPICS.gate_state, with_last(requests=1), "requests is 1"),
        (TOPICS.gate_state, lambda _: [], "is missing"),
    ],
)
def test_what_is_changed_is_found(run: Run, topic: str, change: Change, told: str) -> None:
    """Each change of a topic that breaks an invariant is told in words that name it."""
    found = find(run, topic, change)
    assert any(told in each for each in found), found


def test_asking_beyond_the_budget_is_found(run: Run) -> None:
    """More requests than budget and burst allow at some prefix are a violation."""
    gate = msgspec.structs.replace(CONFIG.gate, budget=0.01, burst=2.0)
    config = msgspec.structs.replace(CONFIG, gate=gate)
    found = check(run.log, config, committed=run.committed)
    assert any("over the budget" in each for each in found), found


@pytest.mark.parametrize(
    ("role", "topic", "by", "told"),
    [
        ("gate", TOPICS.events, -5, "is decided, not committed"),
        ("ledger", TOPICS.label_requests, -5, "was never processed"),
        ("ledger", TOPICS.labels, -5, "was never processed"),
    ],
)
def test_offsets_that_do_not_fit_are_found(
    run: Run, role: str, topic: str, by: int, told: str
) -> None:
    """A committed offset behind what was put out, or before the end of a settled input, shows."""
    committed = {each: dict(offsets) for each, offsets in run.committed.items()}
    place = Partition(topic, 0)
    committed[role][place] = (committed[role][place] or 0) + by
    found = check(run.log, CONFIG, committed=committed)
    assert any(told in each for each in found), found


def test_an_offset_that_passes_unprocessed_input_is_found(run: Run) -> None:
    """An event that is passed over without prediction or dead letter is a violation."""

    def one_more(records: Records) -> Records:
        last = records[-1]
        return [*records, msgspec.structs.replace(last, offset=last.offset + 1)]

    committed = {each: dict(offsets) for each, offsets in run.committed.items()}
    for number in range(2):
        place = Partition(TOPICS.events, number)
        committed["gate"][place] = (committed["gate"][place] or 0) + 1
    found = find(run, TOPICS.events, one_more, committed)
    assert any("committed, and has no prediction" in each for each in found), found


def test_long_lists_are_cut(run: Run) -> None:
    """However much is wrong, the report stays short and says how much it leaves out."""

    def spoiled(records: Records) -> Records:
        return [fields(record, digest="bad", state_digest=n) for n, record in enumerate(records)]

    found = find(run, TOPICS.predictions, spoiled)
    assert len(found) == 50
    assert "more, of which the last" in found[-1]


def test_falling_offsets_are_noticed(run: Run) -> None:
    """A watcher tells of every offset that is lower than it was, and of one that is gone."""
    watcher = Watcher()
    samples: list[Mapping[str, Mapping[Partition, int | None]]] = [
        run.committed,
        run.committed,
        {"gate": {Partition(TOPICS.events, 0): 0}},
        {"gate": {Partition(TOPICS.events, 0): None}},
    ]
    for sample in samples:
        watcher.see(sample)
    assert len(watcher.violations) == 2
    assert "fell from 0 to None" in watcher.violations[1]
