"""The engine: core, ledger and training log in one."""

from __future__ import annotations

import itertools
import random
from typing import get_args

import msgspec
import pytest

from stream_al.config import Config, GateConfig, LearnerConfig, PolicyName, ScoreName
from stream_al.engine import Core, Engine
from stream_al.errors import ConfigError, InputError
from stream_al.learner.fold import Fold
from stream_al.records import Decision, Event, Features, Label, Observed, encode
from stream_al.training import Configured, Labelled, decode_training

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
SMALL = Config(gate=GateConfig(budget=0.3), learner=LearnerConfig(draws=2))


def features(offset: int) -> Features:
    """Return the features of one event: numbers, a category that tells, and gaps."""
    drawn = random.Random(offset)
    found: Features = {"a": drawn.gauss(0.0, 1.0), "b": drawn.uniform(0.0, 1e4)}
    if offset % 3:
        found["kind"] = drawn.choice(("x", "y", "z"))
    if offset % 5 == 0:
        found["flag"] = drawn.random() < 0.5
    return found


def truth(offset: int) -> str:
    """Return the true class of an event."""
    a = features(offset)["a"]
    assert isinstance(a, float)
    return "fraud" if a > 0.3 else "good"


def event(offset: int, partition: int = 0) -> Event:
    """Return one event."""
    return Event(offset=offset, partition=partition, features=features(offset), time=float(offset))


def live(engine: Engine, n: int, *, labels: bool = True, start: int = 0) -> list[Decision]:
    """Decide about n events one by one, and answer each request at once."""
    found = []
    for offset in range(start, start + n):
        decision = engine.decide_one(event(offset))
        found.append(decision)
        if decision.request is not None and labels:
            engine.learn_one(Label(request_id=decision.request.request_id, label=truth(offset)))
    return found


def learnt() -> Core:
    """Return a core that has folded some labels."""
    log: list[bytes] = []
    live(Engine(SMALL, write=lambda _, raw: log.append(raw)), 300)
    core = Core(SMALL)
    for offset, raw in enumerate(log):
        core.fold.take(offset, raw, decode_training(raw))
    return core


@pytest.mark.parametrize("sizes", [(1,), (7,), (200,), (3, 50, 1, 11)])
def test_a_batch_decides_as_its_events_one_by_one(sizes: tuple[int, ...]) -> None:
    """At one model version predictions, requests and samples are byte-equal for any batches."""
    one, many = learnt(), learnt()
    singles = [one.decide_one(event(offset, offset % 2)) for offset in range(1_000, 1_200)]
    events = iter([event(offset, offset % 2) for offset in range(1_000, 1_200)])
    batched: list[Decision] = []
    for size in itertools.cycle(sizes):
        batch = many.decide_many(itertools.islice(events, size))
        if not batch:
            break
        batched += batch
    assert [encode(row) for row in batched] == [encode(row) for row in singles]
    assert many.states == one.states
    assert sum(row.asked for row in singles) > 30


def test_the_model_stands_still_within_a_batch() -> None:
    """What a batch publishes for learning is folded after it, not within."""
    engine = Engine(SMALL)
    before = engine.model
    rows = engine.decide_many([event(offset) for offset in range(50)])
    assert {row.prediction.model_version for row in rows} == {before.version}
    assert any(row.observed for row in rows)
    assert engine.model.version > before.version


def test_a_batch_ends_where_it_is_told_to() -> None:
    """After the decision that ends a batch no further event is taken, and none is lost."""
    core = Core(SMALL)
    events = iter([event(offset) for offset in range(10)])
    rows = core.decide_many(events, until=lambda row: row.prediction.offset == 3)
    assert [row.prediction.offset for row in rows] == [0, 1, 2, 3]
    assert [row.offset for row in events] == [4, 5, 6, 7, 8, 9]


def test_predicting_twice_draws_nothing() -> None:
    """Predicting again, for this event or others, changes neither prediction nor what follows."""
    one, other = learnt(), learnt()
    learner = other.fold.learner
    for offset in range(2_000, 2_100):
        for _ in range(3):
            learner.predict_one(features(offset))
            learner.weigh_one(features(offset), "fraud")
    assert learner.predict_one(features(5)) == learner.predict_one(features(5))
    state, again = msgspec.structs.replace(other.gate.fresh_state()), other.gate.fresh_state()
    other.states["events", 0] = state
    first = other.decide_one(event(0))
    other.states["events", 0] = again
    assert encode(other.decide_one(event(0))) == encode(first)
    assert state == again
    one.states["events", 0] = one.gate.fresh_state()
    assert encode(one.decide_one(event(0))) == encode(first)


def test_predicting_between_records_changes_no_fold() -> None:
    """A fold that predicts all the time holds the same model as one that never does."""
    quiet, busy = Fold(SMALL.learner), Fold(SMALL.learner)
    log: list[bytes] = []
    live(Engine(SMALL, write=lambda _, raw: log.append(raw)), 200)
    for offset, raw in enumerate(log):
        quiet.take(offset, raw, decode_training(raw))
        busy.take(offset, raw, decode_training(raw))
        busy.learner.predict_one(features(offset))
        if busy.learner.classes:
            busy.learner.weigh_one(features(offset), busy.learner.classes[0])
    assert quiet.learner.prior == busy.learner.prior
    for offset in range(50):
        x = features(offset)
        assert quiet.learner.predict_one(x) == busy.learner.predict_one(x)
        assert quiet.learner.weigh_one(x, "good") == busy.learner.weigh_one(x, "good")


@pytest.mark.parametrize("classes", [(), ("good", "fraud")])
@pytest.mark.parametrize("name", POLICIES)
def test_labels_withheld_for_ever_are_no_deadlock(
    name: PolicyName, classes: tuple[str, ...]
) -> None:
    """Without a single label every policy goes on asking, within its budget."""
    config = Config(
        gate=GateConfig(policy=name, budget=0.1), learner=LearnerConfig(classes=classes)
    )
    rows = live(Engine(config), 2_000, labels=False)
    assert rows[0].asked or name in ("random", "selective-sampling", "randomized-variable")
    for start in (0, 1_000):
        chosen = [
            row for row in rows[start:][:1_000] if row.prediction.reason in ("policy", "both")
        ]
        assert len(chosen) >= 30
    asked = itertools.accumulate(row.asked for row in rows)
    assert all(a <= 0.1 * t + config.gate.burst for t, a in enumerate(asked, 1))
    assert rows[-1].prediction.prediction == ("good" if classes else None)


@pytest.mark.parametrize("name", POLICIES)
def test_one_known_class_is_no_deadlock(name: PolicyName) -> None:
    """When all answers so far are of one class, events still score 1 and are asked about."""
    engine = Engine(Config(gate=GateConfig(policy=name, budget=0.1)))
    asked = 0
    for offset in range(1_500):
        row = engine.decide_one(event(offset))
        if row.request is not None:
            engine.learn_one(Label(request_id=row.request.request_id, label="good"))
            asked += row.prediction.reason in ("policy", "both")
    assert row.prediction.probabilities == {"good": 1.0}
    assert row.prediction.score == 1.0
    assert asked >= 50


@pytest.mark.parametrize("score", [name for name in get_args(ScoreName) if name != "risk"])
def test_the_engine_learns_what_it_asks_about(score: ScoreName) -> None:
    """With a share of the labels the second half is predicted well."""
    engine = Engine(Config(gate=GateConfig(budget=0.2, score=score)))
    rows = live(engine, 1_200)
    right = [row.prediction.prediction == truth(row.prediction.offset) for row in rows[600:]]
    assert sum(right) / len(right) > 0.9


def test_the_training_log_folds_to_the_same_model() -> None:
    """What the engine writes is configured, observed and labelled records that fold alike."""
    log: list[tuple[int, bytes]] = []
    engine = Engine(SMALL, write=lambda offset, raw: log.append((offset, raw)))
    live(engine, 200)
    kinds = [type(decode_training(raw)) for _, raw in log]
    assert kinds[0] is Configured
    assert set(kinds[1:]) == {Observed, Labelled}
    fold = Fold(SMALL.learner)
    for offset, raw in log:
        fold.take(offset, raw, decode_training(raw))
    assert fold.stamp == engine.model
    for offset in range(50):
        x = features(offset)
        assert fold.learner.predict_one(x) == engine.fold.learner.predict_one(x)


def test_answers_that_cannot_be_used_change_nothing() -> None:
    """Labels twice, unknown, or of undeclared classes are counted, and the model stays."""
    learner = LearnerConfig(classes=("good", "fraud"), draws=2)
    engine = Engine(msgspec.structs.replace(SMALL, learner=learner))
    rows = live(engine, 100)
    used = next(row.request for row in rows if row.request is not None)
    # Declared classes that are as probable score 1, so one of the next events is asked about.
    waiting = next(row.request for row in live(engine, 200, labels=False, start=100) if row.request)
    before, size = engine.model, engine.fold.next_offset
    kinds = [
        engine.learn_one(Label(request_id=name, label=label)).kind
        for name, label in (
            (used.request_id, truth(used.offset)),
            ("events:0:99999", "good"),
            ("", "good"),
            (waiting.request_id, "frod"),
            (waiting.request_id, None),
        )
    ]
    assert kinds == ["repeated", "unknown", "unknown", "refused", "refused"]
    assert (engine.model, engine.fold.next_offset) == (before, size)
    outcome = engine.learn_one(Label(request_id=waiting.request_id, label="frod"))
    assert "class 'frod' is not declared; expected one of fraud, good" in outcome.why
    assert engine.learn_one(Label(request_id=waiting.request_id, label="good")).kind == "labelled"
    assert engine.model != before


def test_a_class_never_seen_is_learnt_where_none_is_declared() -> None:
    """A third class that turns up in a label joins the predictions."""
    engine = Engine(SMALL)
    live(engine, 100)
    row = next(row for row in live(engine, 200, labels=False, start=100) if row.request)
    assert row.request is not None
    assert set(row.prediction.probabilities) == {"good", "fraud"}
    engine.learn_one(Label(request_id=row.request.request_id, label="odd"))
    after = engine.decide_one(event(500)).prediction.probabilities
    assert set(after) == {"good", "fraud", "odd"}
    assert sum(after.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [Core, Engine])
def test_offsets_that_do_not_grow_are_refused(kind: type[Core]) -> None:
    """An event that was decided is not decided again, in its own partition."""
    core = kind(SMALL)
    core.decide_one(event(5))
    core.decide_one(event(0, partition=1))
    with pytest.raises(InputError, match="offset 5 comes after 5 in partition 0 of 'events'"):
        core.decide_one(event(5))
    assert core.decide_one(event(9)).prediction.offset == 9


def test_a_bad_event_loses_nothing_of_its_batch() -> None:
    """Where one event of a batch is refused, requests about those before it can be answered."""
    engine = Engine(SMALL)
    before = engine.fold.next_offset
    with pytest.raises(InputError):
        engine.decide_many([event(0), event(1), event(1), event(2)])
    assert engine.states["events", 0].requests == 2
    assert engine.ledger.is_open("events:0:0")
    assert engine.ledger.is_open("events:0:1")
    assert engine.fold.next_offset == before + engine.states["events", 0].observed


def test_partitions_have_gates_of_their_own() -> None:
    """The burst, the blocks and the offsets of one partition are not another's."""
    core = Core(Config(gate=GateConfig(budget=0.01, burst=5.0)))
    rows = [core.decide_one(event(offset, p)) for offset in range(50) for p in range(3)]
    asked = [sum(r.asked for r in rows if r.prediction.partition == p) for p in range(3)]
    assert all(4 <= a <= 5.5 for a in asked)
    assert len(core.states) == 3


def test_a_custom_score_and_policy_take_the_places_of_the_configured() -> None:
    """A score and a policy of one's own decide, with the budget still held."""

    class EveryTenth:
        def initial(self) -> float:
            return 0.0

        def propose(self, level: float, score: float) -> tuple[float, float]:
            return 0.5, 1.0 if level % 10 == 9 and score > 0.5 else 0.0

        def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
            return level + 1.0

    config = Config(
        gate=GateConfig(budget=0.1, explore=0.0), learner=LearnerConfig(classes=("a", "b"))
    )
    core = Core(config, score=lambda _, __: 0.75, policy=EveryTenth())
    rows = [core.decide_one(event(offset)) for offset in range(100)]
    assert [row.prediction.offset for row in rows if row.asked] == list(range(9, 100, 10))
    assert {row.prediction.score for row in rows} == {0.75}


def test_a_wrong_configuration_is_refused_at_once() -> None:
    """A budget outside of (0, 1] starts no engine."""
    with pytest.raises(ConfigError, match=r"gate\.budget must be in \(0, 1\], not 0\.0"):
        Engine(Config(gate=GateConfig(budget=0.0)))


def test_decisions_carry_the_given_time_or_the_events_own() -> None:
    """The time of a decision is the one given, and the event's where none is."""
    core = Core(SMALL)
    assert core.decide_one(event(0)).prediction.batch_time == 0.0
    assert core.decide_one(event(1), now=77.0).prediction.batch_time == 77.0
    assert [row.prediction.batch_time for row in core.decide_many([event(2)], now=8.0)] == [8.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1.0], 10**30, b"x"])
def test_what_cannot_stand_in_the_log_is_refused_before_anything_moves(value: object) -> None:
    """Features that could not be read from the log again are bad input; the offset is not used."""
    engine = Engine(SMALL)
    with pytest.raises(InputError, match="expected features that are finite numbers"):
        engine.decide_one(Event(offset=0, features={"a": value}))  # type: ignore[dict-item]
    assert engine.decide_one(Event(offset=0, features={"a": 1.0})).asked


def test_a_label_that_could_not_be_logged_can_be_given_again() -> None:
    """Where writing the log fails, the request stays open and nothing is counted as learnt."""
    full = [False]

    def write(offset: int, raw: bytes) -> None:
        if full[0]:
            raise OSError(28, f"no space left for record {offset} of {len(raw)} bytes")

    engine = Engine(SMALL, write=write)
    request = engine.decide_one(Event(offset=0, features={"a": 1.0})).request
    assert request is not None
    label = Label(request_id=request.request_id, label="yes")
    full[0] = True
    with pytest.raises(OSError, match="no space"):
        engine.learn_one(label)
    assert engine.ledger.counts["labelled"] == 0
    full[0] = False
    assert engine.learn_one(label).kind == "labelled"


@pytest.mark.parametrize(
    "label",
    [
        Label(request_id="events:0:0", label="\ud800"),
        Label(request_id="events:0:0", label=1.5),  # type: ignore[arg-type]
        Label(request_id="events:0:0", label="a", weight="2"),  # type: ignore[arg-type]
        Label(request_id="events:0:0", label="a", kind="junk"),  # type: ignore[arg-type]
        Label(request_id=["events:0:0"], label="a"),  # type: ignore[arg-type]
    ],
)
def test_no_answer_makes_the_engine_fall(label: Label) -> None:
    """Whatever an annotator may send is refused with a reason, and the request stays open."""
    engine = Engine(SMALL)
    engine.decide_one(Event(offset=0, features={"a": 1.0}))
    outcome = engine.learn_one(label)
    assert (outcome.kind, outcome.why != "") == ("refused", True)
    assert engine.ledger.is_open("events:0:0")


def test_labels_of_numpy_are_taken_as_what_they_hold() -> None:
    """A numpy integer, boolean or text names the class that Python's own would."""
    np = pytest.importorskip("numpy")
    for given, name in ((np.int64(1), "1"), (np.True_, "true"), (np.str_("a"), "a")):
        engine = Engine(SMALL)
        engine.decide_one(Event(offset=0, features={"a": 1.0}))
        assert engine.learn_one(Label(request_id="events:0:0", label=given)).kind == "labelled"
        assert engine.fold.learner.classes[-1] == name


def test_a_configuration_of_wrong_types_is_refused_by_name() -> None:
    """The library checks what the command line would: names of policies and types of values."""
    for config, told in (
        (Config(gate=GateConfig(policy="randm")), "gate.policy"),  # type: ignore[arg-type]
        (Config(gate=GateConfig(budget="x")), "gate.budget"),  # type: ignore[arg-type]
        ({"gate": {}}, "expected a Config"),
    ):
        with pytest.raises(ConfigError, match=told):
            Engine(config)  # type: ignore[arg-type]
