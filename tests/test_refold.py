"""Labels that do not count any more: what is folded, what gates do, what the command says."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from consumers.drivers import open_log
from consumers.errors import RebuildError
from consumers.gate import GateMachine
from consumers.log import Out, Record
from consumers.topics import Topics, specs
from stream_al import Config, Engine, Event, GateConfig, Label
from stream_al.cli.app import application
from stream_al.config import LogConfig
from stream_al.learner.fold import Fold, Refold
from stream_al.records import Features, encode
from stream_al.training import Closed, Labelled, Opinion, Voided, decode_training
from stream_al.voiding import blank, without

CONFIG = Config(gate=GateConfig(budget=0.3))


def recorded(n: int = 400) -> list[bytes]:
    """Return a training log in which Eve and Bob answer in turn, and Bob revises some of Eve's."""
    log: list[bytes] = []
    engine = Engine(CONFIG, write=lambda _, raw: log.append(raw))
    for offset in range(n):
        decision = engine.decide_one(
            Event(offset=offset, features={"a": float(offset % 7), "b": float(offset % 5)})
        )
        if decision.request is None:
            continue
        number, name = decision.request.request_no, decision.request.request_id
        label = "fraud" if offset % 7 > 4 else "good"
        who = "eve" if number % 3 else "bob"
        engine.learn_one(Label(request_id=name, label=label, annotator=who, time=float(offset)))
        if number % 10 == 1:
            engine.learn_one(
                Label(request_id=name, label="odd", annotator="bob", kind="revise", time=9e9)
            )
    return log


def folded(log: list[bytes], fold: Fold | None = None) -> Fold:
    """Fold a log, from its start again where it asks for that."""
    fold = fold or Fold(CONFIG.learner)
    try:
        for offset, raw in enumerate(log):
            fold.take(offset, raw, decode_training(raw))
    except Refold as asked:
        return folded(log, asked.fold)
    return fold


def test_a_fold_without_somebodys_labels_is_that_of_a_log_without_them() -> None:
    """Digest, model and estimate are those of the same log with the records blanked."""
    log, voided = recorded(), Voided(annotator="eve")
    blanked = []
    for raw in log:
        record = decode_training(raw)
        mine = isinstance(record, Labelled) and record.annotator == "eve"
        left = blank(record) if mine else record
        assert left is not None
        blanked.append(encode(left) if mine else raw)
    assert blanked != log
    told = encode(voided)
    fold = folded([*log, told])
    other = folded([*blanked, told], Fold(CONFIG.learner, ((len(log), voided),)))
    assert fold.stamp == other.stamp
    assert fold.monitor.accuracy.estimate() == other.monitor.accuracy.estimate()
    probe: Features = {"a": 3.0, "b": 1.0}
    assert fold.learner.predict_one(probe) == other.learner.predict_one(probe)
    plain = folded(log)
    assert fold.learner.labels < plain.learner.labels
    assert fold.learner.predict_one(probe) != plain.learner.predict_one(probe)


def test_labels_given_afterwards_count() -> None:
    """What is voided lies before the record that says so, and within its times."""
    log = recorded()
    late = Voided(annotator="eve", since=300.0)
    first = folded([*log, encode(late)])
    after = folded([*log, encode(late), *log[-40:]])
    answers = [decode_training(raw) for raw in log]
    kept = sum(
        isinstance(record, Labelled)
        and not (record.annotator == "eve" and (record.answered_at or 0.0) >= 300.0)
        for record in answers
    )
    assert first.learner.labels == kept
    more = sum(isinstance(decode_training(raw), Labelled) for raw in log[-40:])
    assert after.learner.labels == kept + more


def test_the_estimate_goes_on_without_them() -> None:
    """Requests whose label does not count any more are closed, so the watermark goes on."""
    log = recorded()
    plain, fold = (
        folded(log).monitor.accuracy.estimate(),
        folded([*log, encode(Voided())]).monitor.accuracy,
    )
    found = fold.estimate()
    assert found.watermark == plain.watermark
    # Bob's revisions are voided as well.
    assert (found.value, found.unanswered) == (None, found.blocks)
    assert plain.unanswered == 0


def test_a_gate_folds_again_when_it_is_told() -> None:
    """A gate that meets the record begins anew from the start, and ends with the same model."""
    log = [*recorded(), encode(Voided(annotator="eve"))]
    topic = Topics.of(CONFIG.log).training
    records = [Record(topic, 0, at, None, raw, (), 0.0) for at, raw in enumerate(log)]
    machine = GateMachine(CONFIG)
    with pytest.raises(RebuildError, match=f"offset {len(log) - 1}: labels are not to count"):
        machine.follow(records)
    assert machine.next_followed == 0
    machine.follow(records)
    assert machine.core.model == folded(log).stamp


def answered(*opinions: Opinion, **fields: Any) -> Labelled:
    """Make a record that several annotators have answered; the last to be named has ended it."""
    last = opinions[-1]
    for raw in recorded(60):
        record = decode_training(raw)
        if isinstance(record, Labelled):
            return msgspec.structs.replace(
                record,
                label=last.label,
                annotator=last.annotator,
                answered_at=last.time,
                opinions=opinions,
                **fields,
            )
    raise AssertionError("nobody answered")


NONE = Opinion("", "", None)
JUDGE = Opinion("judge", "odd", 8.0)
EVE, BOB, ANN = Opinion("eve", "good", 5.0), Opinion("bob", "good", 6.0), Opinion("ann", "odd", 7.0)


@pytest.mark.parametrize(
    ("given", "annotator", "opinions"),
    [
        ((BOB, EVE), "bob", (BOB, NONE)),
        ((EVE, BOB), "bob", (NONE, BOB)),
        (
            (EVE, ANN, Opinion("judge", "odd", 8.0)),
            "judge",
            (NONE, ANN, Opinion("judge", "odd", 8.0)),
        ),
        ((BOB, ANN, Opinion("eve", "good", 8.0)), None, ()),
        ((EVE,), None, ()),
    ],
)
def test_the_others_answers_stay(
    given: tuple[Opinion, ...], annotator: str | None, opinions: tuple[Opinion, ...]
) -> None:
    """A class stands that another has given as the last word, or with all who are left."""
    record = answered(*given)
    left = without(record, Voided(annotator="eve"))
    if annotator is None:
        assert isinstance(left, Closed)
        assert left.reason == "voided"
    else:
        assert isinstance(left, Labelled)
        assert (left.label, left.annotator) == (record.label, annotator)
        assert left.opinions == opinions
    assert without(record, Voided(annotator="zoe")) is record
    assert without(record, Voided(annotator="eve", until=5.0)) is record


def test_silence_is_nobodys_answer() -> None:
    """What silence was taken for stays, whosever answers do not count."""
    record = answered(Opinion("", "good"), assumed=True)
    record = msgspec.structs.replace(record, opinions=())
    assert without(record, Voided()) is record


def test_what_does_not_count_any_more_is_counted_once(path: str) -> None:
    """The same again finds nothing, says so, and writes nothing; an empty time is refused."""
    arguments = ["refold", "--without", "annotator=eve", "--path", path]
    first = CliRunner().invoke(application, arguments)
    again = CliRunner().invoke(application, arguments)
    assert "will not count any more" in first.stdout
    assert (again.exit_code, again.stdout) == (
        0,
        "nothing that counts was answered by 'eve' then; nothing was written\n",
    )
    empty = CliRunner().invoke(application, [*arguments, "--since", "20", "--until", "10"])
    assert empty.exit_code == 2
    assert "no time lies between" in empty.stderr


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give an embedded log that holds such a training log."""
    config = Config(log=LogConfig(path=str(tmp_path / "a.db")))
    with closing(open_log(config)) as log:
        log.create(specs(config.log))
        writer = log.writer()
        for raw in recorded():
            writer.send(Out(Topics.of(config.log).training, raw, None, (), 0))
        writer.close()
    return config.log.path


def test_the_command_says_what_it_would_do_and_does_it(path: str) -> None:
    """A dry run counts what would not count any more; the command then writes one record."""
    arguments = ["refold", "--without", "annotator=eve", "--path", path, "--json", "--by", "ann"]
    dry = CliRunner().invoke(application, [*arguments, "--dry-run"])
    wet = CliRunner().invoke(application, arguments)
    assert (dry.exit_code, wet.exit_code) == (0, 0)
    would, did = json.loads(dry.stdout), json.loads(wet.stdout)
    assert (would["written"], did["written"]) == (False, True)
    assert would["labels"] == did["labels"] == sum(would["labels_by_class"].values()) > 10
    trail = CliRunner().invoke(application, ["audit", "--path", path])
    lines = [json.loads(line) for line in trail.stdout.splitlines()]
    assert lines[-1]["event"] == "voided"
    assert (lines[-1]["annotator"], lines[-1]["by"]) == ("eve", "ann")
    assert sum(line["event"] == "voided" for line in lines) == 1
    eve = [line for line in lines if line.get("annotator") == "eve" and "label" in line]
    assert len(eve) == did["labels"]


def test_the_trail_tells_who_changed_what(path: str) -> None:
    """A revision names the class before, who changed it, and which model had asked why."""
    trail = CliRunner().invoke(application, ["audit", "--path", path, "--annotator", "bob"])
    lines = [json.loads(line) for line in trail.stdout.splitlines()]
    revised = [line for line in lines if line["event"] == "revised"]
    assert revised
    assert {line["annotator"] for line in lines} == {"bob"}
    assert all(line["label"] == "odd" != line["was"] for line in revised)
    assert all(line["asked"] in ("policy", "explore", "both") for line in revised)
    one = revised[0]["request_id"]
    found = CliRunner().invoke(application, ["audit", "--path", path, "--request", one])
    assert [json.loads(line)["event"] for line in found.stdout.splitlines()] == [
        "labelled",
        "revised",
    ]
    told = ["refold", "--without", "annotator=bob", "--path", path]
    assert CliRunner().invoke(application, told).exit_code == 0
    found = CliRunner().invoke(application, ["audit", "--path", path, "--request", one])
    assert [json.loads(line)["event"] for line in found.stdout.splitlines()] == [
        "labelled",
        "revised",
        "voided",
    ]
    other = CliRunner().invoke(application, ["audit", "--path", path, "--annotator", "eve"])
    assert '"voided"' not in other.stdout


def test_what_is_no_annotator_is_refused(path: str) -> None:
    """The option names whom, and a time that is none is a usage error."""
    for extra in (["--without", "eve"], ["--without", "annotator=eve", "--since", "noon"]):
        assert CliRunner().invoke(application, ["refold", *extra, "--path", path]).exit_code == 2
