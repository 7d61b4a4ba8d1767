"""A live run with gold cases on the embedded log: what annotators are, and what they are found."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from test_live_verify import change, config_at, feed, verified

from consumers.annotator import Truths
from consumers.gold import read_gold
from consumers.log import Log, Out, Record
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.testing.checker import check
from consumers.topics import Topics
from stream_al.cli.app import application
from stream_al.config import Config, LedgerConfig
from stream_al.keyed import uniform
from stream_al.labels.agreement import AgreementEstimate
from stream_al.learner.fold import Fold, Refold
from stream_al.limits import Limits
from stream_al.records import Label, encode
from stream_al.replay.sources import open_source
from stream_al.training import Closed, Gold, Labelled, decode_training

EVENTS = 1500
ERRORS = {"ann": 0.0, "bob": 0.2, "eve": 0.5}

Answers = dict[str, tuple[str, str, str]]
"""By gold request: annotator, class answered, class known."""


def config_in(folder: Path) -> Config:
    """Return the small configuration of a live run, with a file of gold cases."""
    config, file = config_at(folder / "live.db"), folder / "gold.jsonl"
    ledger = LedgerConfig(gold_file=str(file), gold_share=0.5)
    if not file.exists():
        rows = list(open_source("cards:2000", config.source).rows())[EVENTS:]
        # The rare class is wanted as well.
        chosen = [*rows[:20], *[row for row in rows[20:] if row.truth == "1"]]
        with file.open("wb") as lines:
            for n, row in enumerate(chosen):
                case = {"id": f"old-{n}", "features": row.event.features, "label": row.truth}
                lines.write(json.dumps(case).encode() + b"\n")
    return msgspec.structs.replace(config, ledger=ledger)


def requests_of(log: Log, topics: Topics) -> list[Record]:
    """Read all requests."""
    numbers = range(log.topics()[topics.label_requests].partitions)
    return [record for n in numbers for record in log.read(topics.label_requests, n)]


def answer_all(log: Log, config: Config, answered: set[str], answers: Answers) -> int:
    """Answer what is asked and not answered yet; return how much that was."""
    topics, writer, count = Topics.of(config.log), log.writer(), 0
    truths = Truths(open_source(f"cards:{EVENTS}", config.source)).by_id
    known = {(case.id, str(case.features)): case.label for case in read_gold(config)}
    for record in requests_of(log, topics):
        request = json.loads(record.value or b"")
        name = request["request_id"]
        if name in answered:
            continue
        answered.add(name)
        gold = name.count(":") == 3
        about = request["id"], str(request["features"])
        truth = known[about] if gold else truths[request["id"]][1]
        who = sorted(ERRORS)[int(3 * uniform("who", name))]
        wrong = uniform("errs", name) < ERRORS[who]
        said = ("0" if truth == "1" else "1") if wrong else truth
        if gold:
            answers[name] = who, said, truth
        label = Label(request_id=name, label=said, annotator=who, time=1e9 + len(answered))
        writer.send(Out(topics.labels, encode(label), record.key))
        count += 1
    writer.close()
    return count


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """Record a run in which three people answer, each as careful as they are."""
    folder = tmp_path_factory.mktemp("gold")
    config, answers, answered = config_in(folder), Answers(), set[str]()
    patience = threading.Event()
    with closing(SqliteLog(config.log, config.loop)) as log:
        for begin in range(0, EVENTS, 500):
            feed(log, config, begin, begin + 500)
            # The second half of them by other processes: what was open is open again.
            process = Process(config, ("gate", "ledger"), log=log)
            process.start()
            while not process.ended:
                patience.wait(0.1)
                if not answer_all(log, config, answered, answers) and process.idle:
                    break
            process.close()
    return folder, answers


def agreement_of(folder: Path) -> AgreementEstimate:
    """Fold the training log; return what it says of annotators."""
    config = config_in(folder)
    with closing(SqliteLog(config.log, config.loop)) as log:
        records = list(log.read(Topics.of(config.log).training, 0))
    fold = Fold(config.learner)
    for _ in range(2):
        try:
            for record in records:
                raw = record.value or b""
                fold.take(record.offset, raw, decode_training(raw))
        except Refold as asked:
            fold = asked.fold
        else:
            break
    return fold.monitor.insight().agreement


def as_often_as(rate: float, gold: Limits) -> bool:
    """Tell whether a share is within five standard deviations of its mean."""
    assert gold.value is not None
    return abs(gold.value - rate) <= 5.0 * math.sqrt(rate * (1.0 - rate) / gold.count)


def test_what_is_found_of_annotators_is_what_they_answered(run: tuple[Path, Answers]) -> None:
    """For each annotator and all together, the share of gold cases answered right is exact."""
    folder, answers = run
    assert len(answers) > 40
    found = agreement_of(folder)
    right = [said == truth for _, said, truth in answers.values()]
    assert (found.gold.value, found.gold.count) == (sum(right) / len(right), len(answers))
    for who, rate in ERRORS.items():
        own = [said == truth for name, said, truth in answers.values() if name == who]
        gold = found.annotators[who].gold
        assert (gold.value, gold.count) == (sum(own) / len(own), len(own))
        assert as_often_as(1.0 - rate, gold)


def test_nothing_but_annotators_is_learnt_from_gold(run: tuple[Path, Answers]) -> None:
    """Each answer is one record of its own kind, and none closes or labels a gate's request."""
    folder, answers = run
    config = config_in(folder)
    with closing(SqliteLog(config.log, config.loop)) as log:
        raw = [each.value or b"" for each in log.read(Topics.of(config.log).training, 0)]
    records = [decode_training(each) for each in raw]
    gold = {each.request_id: each for each in records if isinstance(each, Gold)}
    found = {name: (each.annotator, each.label, each.known) for name, each in gold.items()}
    assert found == answers
    ended = [each.request_id for each in records if isinstance(each, Labelled | Closed)]
    assert ended
    assert not any(name.count(":") == 3 for name in ended)
    assert Counter(map(type, records))[Gold] == len(answers)


def test_a_run_with_gold_cases_holds_and_verifies(run: tuple[Path, Answers]) -> None:
    """The checker finds every invariant kept, and recomputing finds no difference."""
    folder, _ = run
    config = config_in(folder)
    assert verified(folder / "live.db").first == ()
    with closing(SqliteLog(config.log, config.loop)) as log:
        assert check(log, config, gold=read_gold(config)) == []


GOLD_RECORD, GOLD_REQUEST = b'"type":"gold"', b':1","request_no":'
CHANGES = {
    "an answer": ("training", GOLD_RECORD, b'"annotator":"', b'"annotator":"b'),
    "a time": ("training", GOLD_RECORD, b'"answered_at":', b'"answered_at":1'),
    "a score": ("label-requests", GOLD_REQUEST, b'"score":', b'"score":1'),
    "a prediction": ("label-requests", GOLD_REQUEST, b'"prediction":null', b'"prediction":"1"'),
    "no request": ("label-requests", GOLD_REQUEST, b"", None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_of_a_gold_case_is_found(
    run: tuple[Path, Answers], tmp_path: Path, what: str
) -> None:
    """A record that no answer made, or a request unlike the one before it, is one difference."""
    name, mark, old, new = CHANGES[what]
    path, topic = tmp_path / "changed.db", f"demo.{name}"
    shutil.copy(run[0] / "live.db", path)
    config = config_at(path)
    with closing(SqliteLog(config.log, config.loop)) as log:
        numbers = range(log.topics()[topic].partitions)
        values = [each.value or b"" for n in numbers for each in log.read(topic, n)]
    # The last one: no decision comes after it, of whose digest it would be a part.
    value = [each for each in values if mark in each][-1]
    change(path, topic, value, None if new is None else value.replace(old, new, 1))
    found = verified(path)
    assert found.differences == 1, found.first
    assert ":1" in found.first[0]


def test_a_fold_without_somebody_is_without_their_gold_answers(
    run: tuple[Path, Answers], tmp_path: Path
) -> None:
    """The command says how many they are; afterwards the others' stand, as the trail shows."""
    folder, answers = run
    for name in ("live.db", "gold.jsonl"):
        shutil.copy(folder / name, tmp_path / name)
    of_eve = sum(who == "eve" for who, _, _ in answers.values())
    path = str(tmp_path / "live.db")
    arguments = ["--path", path, "--name", "demo"]
    done = CliRunner().invoke(
        application, ["refold", "--without", "annotator=eve", "--json", *arguments]
    )
    assert done.exit_code == 0
    assert json.loads(done.stdout)["gold"] == of_eve
    found = agreement_of(tmp_path)
    assert found.gold.count == len(answers) - of_eve
    assert found.annotators.keys() == {"ann", "bob"}
    trail = CliRunner().invoke(application, ["audit", *arguments, "--annotator", "eve"])
    lines = [json.loads(line) for line in trail.stdout.splitlines()]
    gold = [line for line in lines if line["event"] == "gold"]
    assert len(gold) == of_eve
    assert all(
        (line["annotator"], line["label"], line["known"]) == answers[line["request_id"]]
        for line in gold
    )


def test_the_simulated_annotator_answers_gold_cases(tmp_path: Path) -> None:
    """It answers from the cases' own file, errs as on all else, and leaves no dead letter."""
    config = config_in(tmp_path)
    annotator = msgspec.structs.replace(config.annotator, noise=0.3)
    config = msgspec.structs.replace(config, annotator=annotator)
    with closing(SqliteLog(config.log, config.loop)) as log:
        feed(log, config, 0, 700)
        truths = Truths(open_source(f"cards:{EVENTS}", config.source))
        process = Process(config, ("gate", "ledger", "annotator"), truths, log)
        process.start()
        patience = threading.Event()
        while not process.idle and not process.ended:
            patience.wait(0.05)
        process.close()
        names = [
            json.loads(each.value or b"")["request_id"]
            for each in requests_of(log, Topics.of(config.log))
        ]
        assert list(log.read("demo.dlq.demo.label-requests", 0)) == []
    found = agreement_of(tmp_path)
    assert found.gold.count == sum(name.count(":") == 3 for name in names) > 20
    assert as_often_as(0.7, found.gold)
    assert verified(tmp_path / "live.db").first == ()
