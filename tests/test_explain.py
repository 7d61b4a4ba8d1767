"""`stream-al explain`: which decision is meant, why it was made, and what weighed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner, Result

from consumers.log import Out
from consumers.sqlite import SqliteLog
from stream_al.cli.app import application
from stream_al.cli.explain_text import explanation_text
from stream_al.config import (
    Config,
    GateConfig,
    LearnerConfig,
    LogConfig,
    LoopConfig,
    SourceConfig,
)
from stream_al.errors import InputError
from stream_al.gate.why import why
from stream_al.records import Prediction
from stream_al.replay.explain import Explanation, Recording, explain, find_decisions
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source

PHISHING = SourceConfig(label="is_phishing")
DEFAULT = "cards:2000"
TIGHT = "cards:2000, tight"
DRAWN = "river:Phishing, drawn"
EXPLORED = "river:Phishing, explored only"
CONFIGS = {
    DEFAULT: Config(),
    TIGHT: Config(gate=GateConfig(budget=0.1, burst=2, explore=0.8)),
    DRAWN: Config(
        gate=GateConfig(budget=0.1, burst=2, policy="selective-sampling"), source=PHISHING
    ),
    EXPLORED: Config(gate=GateConfig(policy="variable", budget=0.1, explore=1), source=PHISHING),
}


class Recorded(NamedTuple):
    """A replay and what it left behind."""

    source: str
    decisions: Path
    training: Path

    @property
    def rows(self) -> list[Prediction]:
        """All decisions."""
        lines = self.decisions.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Prediction) for line in lines]

    @property
    def recording(self) -> Recording:
        """What decisions are recomputed from."""
        return Recording(self.source, self.training)

    @property
    def flags(self) -> tuple[str, ...]:
        """The same on the command line."""
        return ("--source", self.source, "--training", str(self.training))


def record(folder: Path, source: str, config: Config) -> Recorded:
    """Play a stream and record it."""
    recorded = Recorded(source, folder / "decisions.jsonl", folder / "training.jsonl")
    with recorded.decisions.open("wb") as decisions, recorded.training.open("wb") as training:
        Replay(config, decisions=decisions, training=training).run(
            open_source(source, config.source)
        )
    return recorded


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """Record one replay for each of the configurations."""
    return {
        name: record(tmp_path_factory.mktemp("replay"), name.partition(",")[0], config)
        for name, config in CONFIGS.items()
    }


def run(recorded: Recorded | Path, *arguments: str) -> Result:
    """Explain on the command line."""
    decisions = recorded if isinstance(recorded, Path) else recorded.decisions
    return CliRunner().invoke(application, ["explain", "--decisions", str(decisions), *arguments])


def csv(folder: Path, ids: list[str]) -> str:
    """Write a stream of two classes with the ids of choice."""
    rows = [f"{name},{i % 7},{'ab'[i % 2]}" for i, name in enumerate(ids)]
    path = folder / "stream.csv"
    path.write_text("\n".join(["id,x,label", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        (DEFAULT, "policy", "Asked by the policy. {known} reached the threshold of"),
        (DEFAULT, "explore", "Asked by exploration: this event was the pick of block {block},"),
        (DEFAULT, "confident", "Not asked. {known} stayed below the threshold of"),
        (TIGHT, "both", "Asked by the policy, and by exploration: this event was the pick of"),
        (TIGHT, "budget", "Not asked. The policy would have asked (score {score}, threshold"),
        (DRAWN, "draw", "Not asked. At the score of {score} the policy asks with probability {p},"),
        (DRAWN, "policy", "Asked by the policy. At the score of {score} the policy asks with"),
        (EXPLORED, "budget", "but its budget was used up: its bucket held 0 tokens, and a request"),
        (EXPLORED, "explore", "The policy itself could not ask: its bucket held 0 tokens,"),
    ],
)
def test_each_reason_in_plain_words(
    replays: dict[str, Recorded], name: str, reason: str, said: str
) -> None:
    """For every reason the words name it, with this very event's figures."""
    recorded = replays[name]
    row = next(r for r in reversed(recorded.rows) if r.reason == reason)
    done = run(recorded, f"{row.topic}:{row.partition}:{row.offset}")
    assert (done.exit_code, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    score = f"{row.score:.4g}"
    expected = said.format(
        known=f"The score of {score}", score=score, block=row.block, p=f"{row.p_policy:.4g}"
    )
    assert expected in words
    assert f"propensity {row.propensity:.4g}: " in words
    assert f"version {row.model_version}: " in words
    assert f"digest {row.digest}" in words
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_words_are_true_of_every_decision(replays: dict[str, Recorded]) -> None:
    """Whatever is said of score, threshold, tokens, draw and block holds for the figures."""
    reasons = set()
    for recorded in replays.values():
        for row in recorded.rows:
            words = why(row)
            reasons.add(row.reason)
            assert words.startswith("Asked") == (row.action == "ask")
            assert ("pick of block" in words) == row.explored
            assert ("used up" in words) == (row.reason == "budget")
            if "reached" in words:
                assert row.score >= row.threshold
            if "stayed below" in words:
                assert row.score < row.threshold
            if "a request takes 1" in words:
                assert row.tokens < 1.0
            if "the draw said yes" in words:
                assert row.reason in ("policy", "both")
            if "the draw said no" in words:
                assert row.reason in ("draw", "explore")
            if "Fewer than two classes" in words:
                assert row.score == 1.0
    assert reasons == {"explore", "policy", "both", "confident", "draw", "budget"}


def test_numbers_that_differ_look_different(replays: dict[str, Recorded]) -> None:
    """A score a hair below the threshold is written with the digits that show it."""
    row = next(r for r in replays[DEFAULT].rows if r.reason == "confident")
    near = msgspec.structs.replace(row, score=0.5 - 1e-9, threshold=0.5)
    assert why(near) == ("Not asked. The score of 0.499999999 stayed below the threshold of 0.5.")


@pytest.mark.parametrize(
    ("reason", "begins", "ends"),
    [
        (
            "boost",
            "Asked by the policy, which an operator had told to ask more.",
            "did not matter.",
        ),
        ("burst", "Asked by the policy, which asks more since drift was found.", "did not matter."),
        ("paused", "Not asked.", "An operator has paused the policy."),
    ],
)
def test_what_the_policy_was_told_is_told(
    replays: dict[str, Recorded], reason: str, begins: str, ends: str
) -> None:
    """Where an operator or a drift stood in the policy's place, the words say so."""
    row = next(r for r in replays[DEFAULT].rows if r.reason == "confident")
    p = 0.0 if reason == "paused" else 1.0
    words = why(msgspec.structs.replace(row, reason=reason, p_policy=p))
    assert words.startswith(begins)
    assert words.endswith(ends)


@pytest.mark.parametrize("model", ["logistic", "hoeffding-tree"])
def test_recomputed_weights_are_those_that_were_kept(tmp_path: Path, model: str) -> None:
    """What is folded and weighed afterwards equals, to the bit, what asked decisions kept."""
    config = Config(learner=LearnerConfig(model=model), gate=GateConfig(budget=0.1))
    recorded = record(tmp_path, "cards:1000:3", config)
    kept = [row for row in recorded.rows if row.weighed][::-7]
    assert len(kept) > 3
    forgetful = [msgspec.structs.replace(row, weighed=None) for row in kept]
    for row, explanation in zip(kept, explain(forgetful, recorded.recording), strict=True):
        assert explanation.weighed == row.weighed
        assert explanation.features is not None
        assert "amount" in explanation.features


def test_features_of_an_event_that_was_not_asked(replays: dict[str, Recorded]) -> None:
    """Without stream and log there is a hint how to get the features; with them, the features."""
    recorded = replays[DEFAULT]
    assert "add --source SOURCE --training" in run(recorded, "1500").stdout
    done = run(recorded, "1500", *recorded.flags, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["event_id"], told["found"]) == ("1500", 1)
    found = told["explanations"][0]
    assert found["decision"]["id"] == "payment-1500"
    assert found["decision"]["action"] == "auto"
    assert found["why"].startswith("Not asked.")
    rows = open_source(DEFAULT, SourceConfig()).rows()
    event = next(row.event for row in rows if row.event.offset == 1500)
    assert found["features"] == event.features
    assert 1 <= len(found["weighed"]) <= 5
    in_words = run(recorded, "1500", *recorded.flags).stdout
    for name, part in found["weighed"].items():
        assert f"{part:+.4f}" in next(row for row in in_words.splitlines() if f"  {name} " in row)


def test_before_any_class_is_known(replays: dict[str, Recorded]) -> None:
    """The first event has no prediction, no model and no features that weighed, and says so."""
    words = run(replays[DEFAULT], "payment-0").stdout
    assert "prediction   none: no class was known" in words
    assert "version 0: nothing learned yet" in words
    assert "No feature weighed" in words


def test_an_event_goes_by_id_place_or_offset(replays: dict[str, Recorded]) -> None:
    """The three ways of naming an event lead to the same decision."""
    found = [
        find_decisions(replays[DEFAULT].decisions, name)
        for name in ("payment-77", "events:0:77", "77")
    ]
    assert [decision.offset for decision in found[0]] == [77]
    assert found[0] == found[1] == found[2]


def test_an_id_goes_before_an_offset(tmp_path: Path) -> None:
    """Where ids are numbers, a number is an id, and an offset only where no event has that id."""
    source = csv(tmp_path, [str(i) for i in range(100, 0, -1)])
    recorded = record(tmp_path, source, Config(source=SourceConfig(id="id")))
    assert [row.offset for row in find_decisions(recorded.decisions, "1")] == [99]
    assert [row.offset for row in find_decisions(recorded.decisions, "0")] == [0]


def test_every_event_of_an_id_is_explained(tmp_path: Path) -> None:
    """An id that several events have is said to be so, and each of them is explained."""
    source = csv(tmp_path, [f"customer-{i % 40}" for i in range(200)])
    recorded = record(tmp_path, source, Config(source=SourceConfig(id="id")))
    done = run(recorded, "customer-39", *recorded.flags)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("5 events have the id 'customer-39'.\n")
    for offset in (39, 79, 119, 159, 199):
        assert f"event events:0:{offset}, id 'customer-39': " in done.stdout


def test_an_offset_of_two_partitions_is_refused(tmp_path: Path) -> None:
    """An offset that stands in several partitions is no name; the error lists what is."""
    recorded = record(tmp_path, "cards:200", Config(source=SourceConfig(partitions=2)))
    in_order = [f"events:{row.partition}:3" for row in recorded.rows if row.offset == 3]
    assert sorted(in_order) == ["events:0:3", "events:1:3"]
    done = run(recorded, "3")
    assert done.exit_code == 3
    assert done.stderr == (
        f"error: {recorded.decisions}: offset 3 stands in 2 partitions; expected one of "
        f"{', '.join(in_order)}\n"
    )
    assert run(recorded, "events:1:3").exit_code == 0


def test_an_unknown_event_is_refused(replays: dict[str, Recorded]) -> None:
    """The error names the file and shows what would do."""
    recorded = replays[DEFAULT]
    done = run(recorded, "payment-2000")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: {recorded.decisions}: holds no event 'payment-2000'; expected an id such as "
        "'payment-0', or topic:partition:offset such as 'events:0:0'\n"
    )
    recorded = replays[DRAWN]
    assert run(recorded, "foo").stderr == (
        f"error: {recorded.decisions}: holds no event 'foo'; expected topic:partition:offset such "
        "as 'events:0:0', for these events have no ids of their own\n"
    )


@pytest.mark.parametrize(
    "broken",
    [
        b'{"topic":"events","partition":0,"off',
        b"",
        b"\xff\xfe",
        b'{"topic":"events","partition":0}',
        b'{"topic":"events","partition":0,"offset":5,"id":"payment-5"}',
    ],
)
def test_a_broken_line_is_named(
    replays: dict[str, Recorded], tmp_path: Path, broken: bytes
) -> None:
    """A line that is no decision ends the search with file and line, wherever the event stands."""
    lines = replays[DEFAULT].decisions.read_bytes().splitlines()[:10]
    lines[5] = broken
    path = tmp_path / "broken.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    done = run(path, "payment-5")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {path}, line 6: no decision (")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    """No file, and a file without decisions, are each one line with the file's name."""
    path = tmp_path / "decisions.jsonl"
    assert run(path, "1").stderr == f"error: {path}: no such file\n"
    path.touch()
    done = run(path, "1")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {path}: empty; expected")


def test_compressed_decisions_are_read(replays: dict[str, Recorded], tmp_path: Path) -> None:
    """A recording that was compressed afterwards is read as it is."""
    path = tmp_path / "decisions.jsonl.gz"
    path.write_bytes(gzip.compress(replays[DEFAULT].decisions.read_bytes()))
    assert find_decisions(path, "9") == find_decisions(replays[DEFAULT].decisions, "9")


def test_source_and_training_come_together(replays: dict[str, Recorded]) -> None:
    """One of the two is of no use without the other: a mistake of usage, exit code 2."""
    done = run(replays[DEFAULT], "1", "--source", DEFAULT)
    assert done.exit_code == 2
    assert done.stderr == "error: --source, --training: expected both or neither\n"


def test_a_recording_of_another_replay_is_refused(
    replays: dict[str, Recorded], tmp_path: Path
) -> None:
    """Another stream, another log, a cut log or none: each is refused, never explained from."""
    recorded = replays[DEFAULT]
    decisions = find_decisions(recorded.decisions, "1500")
    other = record(tmp_path, "cards:2000:5", Config())
    cut, none = tmp_path / "cut.jsonl", tmp_path / "none.jsonl"
    cut.write_bytes(b"".join(recorded.training.read_bytes().splitlines(keepends=True)[:50]))
    none.write_bytes(recorded.decisions.read_bytes())
    for recording, said in (
        (Recording(other.source, recorded.training), "has other probabilities than were recorded"),
        (Recording("cards:1000", recorded.training), "cards:1000: holds no event events:0:1500"),
        (Recording(DEFAULT, other.training), "expected the training log of that replay"),
        (Recording(DEFAULT, cut), f"{cut}, line 51: the log ends here; expected "),
        (Recording(DEFAULT, none), f"{none}, line 1: "),
    ):
        with pytest.raises(InputError) as caught:
            explain(decisions, recording)
        assert said in str(caught.value)


def test_a_large_file_is_not_held(replays: dict[str, Recorded], tmp_path: Path) -> None:
    """Finding one decision among many takes the memory of a few lines."""
    path = tmp_path / "many.jsonl"
    lines = replays[DEFAULT].decisions.read_bytes()
    with path.open("wb") as file:
        for _ in range(10):
            file.write(lines)
    tracemalloc.start()
    found = find_decisions(path, "payment-1999")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 10
    assert path.stat().st_size > 5e6
    assert peak < 1e6


def test_many_classes_are_cut_short(replays: dict[str, Recorded]) -> None:
    """Of many classes only the most probable are shown, and how many more there are."""
    row = replays[DEFAULT].rows[-1]
    many = {f"class-{i}": (i + 1) / 55 for i in range(10)}
    shown = explanation_text(
        Explanation(
            decision=msgspec.structs.replace(row, prediction="class-9", probabilities=many),
            weighed=None,
            features=None,
        )
    )
    assert "class-9: 0.1818" in shown
    assert "5 more classes" in shown
    assert "class-4" not in shown


def test_a_live_run_is_explained_from_its_log(replays: dict[str, Recorded], tmp_path: Path) -> None:
    """Without a recording the decision is looked up in the topic of predictions."""
    recorded, path = replays[DEFAULT], str(tmp_path / "live.db")
    rows = recorded.decisions.read_bytes().splitlines()
    with closing(SqliteLog(LogConfig(path=path, partitions=2), LoopConfig())) as log:
        writer = log.writer()
        for number, row in enumerate(rows):
            writer.send(Out("stream-al.predictions", row, None, (), number % 2))
        writer.close()
    event_id = msgspec.json.decode(rows[-1])["id"]
    live = CliRunner().invoke(application, ["explain", event_id, "--path", path])
    assert (live.exit_code, live.stdout) == (0, run(recorded, event_id).stdout)
    unknown = CliRunner().invoke(application, ["explain", "nobody", "--path", path])
    assert unknown.exit_code == 3
    assert "stream-al.predictions: holds no event 'nobody'" in unknown.stderr


def test_a_live_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Neither a missing log nor what only a recording has is passed over."""
    path = str(tmp_path / "none.db")
    missing = CliRunner().invoke(application, ["explain", "1", "--path", path])
    assert (missing.exit_code, "--path: no file" in missing.stderr) == (2, True)
    both = ["--source", "cards:10", "--training", "t.jsonl"]
    mixed = CliRunner().invoke(application, ["explain", "1", "--path", path, *both])
    assert (mixed.exit_code, "--decisions:" in mixed.stderr) == (2, True)
    assert not (tmp_path / "none.db").exists()
