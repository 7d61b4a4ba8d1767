"""Several annotators: how far they agree, what counts, and what is known of each."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any, cast

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream_al.config import LedgerConfig
from stream_al.labels.agreement import Agreement, AgreementEstimate
from stream_al.labels.ledger import Ledger
from stream_al.limits import Limits
from stream_al.records import AnswerKind, Label, LabelRequest
from stream_al.training import Closed, Labelled, Opinion

NAMES = st.sampled_from(["", "ann", "bob", "cho"])
CLASSES = st.sampled_from(["a", "b", "c", "d"])
REQUESTS = st.lists(
    st.tuples(st.lists(st.tuples(NAMES, CLASSES), max_size=4), st.booleans()), max_size=20
)


def _of(pairs: list[tuple[str, str]]) -> AgreementEstimate:
    agreement = Agreement()
    for first, second in pairs:
        agreement.take([("ann", first), ("bob", second)], explored=True)
    return agreement.estimate()


def _width(limits: Limits) -> float:
    return limits.upper - limits.lower


def _known(limits: Limits) -> float:
    assert limits.value is not None
    return limits.value


def _counts(both: int, one: int, neither: int) -> list[tuple[str, str]]:
    return [("a", "a")] * both + [("a", "b")] * one + [("b", "b")] * neither


@settings(deadline=None)
@given(st.lists(st.lists(CLASSES, min_size=3, max_size=3), min_size=1, max_size=15))
def test_three_answers_give_the_kappa_of_fleiss(answers: list[list[str]]) -> None:
    """With three answers to every request the value is what Fleiss' definition gives."""
    everything = [name for row in answers for name in row]
    assume(len(set(everything)) > 1)
    agreement = Agreement()
    for row in answers:
        agreement.take(list(zip(("ann", "bob", "cho"), row, strict=True)), explored=True)
    chance = sum((everything.count(name) / len(everything)) ** 2 for name in set(everything))
    seen = sum(sum(a == b for a, b in permutations(row, 2)) / 6 for row in answers) / len(answers)
    value = _known(agreement.estimate().random.kappa)
    assert value == pytest.approx((seen - chance) / (1 - chance), abs=1e-12)


@settings(deadline=None)
@given(REQUESTS, st.randoms(use_true_random=False))
def test_no_order_matters(
    requests: list[tuple[list[tuple[str, str]], bool]], shuffle: random.Random
) -> None:
    """Neither the order of the requests nor that of their answers changes any figure."""
    one, other = Agreement(), Agreement()
    for answers, explored in requests:
        one.take(answers, explored)
    for answers, explored in shuffle.sample(requests, len(requests)):
        other.take(shuffle.sample(answers, len(answers)), explored)
    assert one.estimate() == other.estimate()


def test_more_answers_to_a_request_are_no_more_requests() -> None:
    """Thirty requests with four answers each give the limits of thirty pairs, not of 180."""
    agreement = Agreement()
    for i in range(30):
        name = "ab"[i % 2]
        answers = [(f"annotator {k}", name) for k in range(4)]
        agreement.take(answers, explored=True)
    estimate, single = agreement.estimate().random, _of(_counts(15, 0, 15)).random
    assert (estimate.kappa.count, estimate.agreement.count) == (180, 180)
    assert _width(estimate.kappa) == pytest.approx(_width(single.kappa))
    assert _width(estimate.agreement) == pytest.approx(_width(single.agreement))


def test_random_and_picked_requests_are_kept_apart() -> None:
    """Explored requests move `random` alone, others `picked` alone, and the gap is between."""
    agreement = Agreement()
    for a, b in _counts(20, 0, 20):
        agreement.take([("ann", a), ("bob", b)], explored=True)
    before = agreement.estimate()
    assert before.picked == Agreement().estimate().picked
    assert before.gap.value is None
    for a, b in _counts(10, 20, 10):
        agreement.take([("ann", a), ("bob", b)], explored=False)
    after = agreement.estimate()
    assert after.random == before.random
    assert after.picked.kappa.value == 0.0
    assert after.gap.value == 1.0
    assert 0.5 < after.gap.lower < 1.0 < after.gap.upper


def test_an_annotator_does_not_agree_with_himself() -> None:
    """Two answers by one annotator are no pair, single ones neither."""
    agreement = Agreement()
    agreement.take([("ann", "a"), ("ann", "a")], explored=True)
    agreement.take([("ann", "a")], explored=True)
    agreement.take([], explored=True)
    assert agreement.estimate() == Agreement().estimate()


def test_annotators_are_told_apart() -> None:
    """The one who differs from two others who agree is the one with low agreement."""
    agreement = Agreement()
    for i in range(60):
        right, wrong = "ab"[i % 2], "ba"[i % 2]
        answers = {"ann": right, "bob": right, "cho": wrong}
        for one, two in combinations(answers, 2):
            agreement.take([(one, answers[one]), (two, answers[two])], explored=i % 3 == 0)
        for name, label in answers.items():
            agreement.gold(name, label, right)
    found = agreement.estimate().annotators
    assert list(found) == ["ann", "bob", "cho"]
    assert [entry.agreement.value for entry in found.values()] == [0.5, 0.5, 0.0]
    assert [entry.agreement.count for entry in found.values()] == [120, 120, 120]
    assert found["cho"].agreement.upper < found["ann"].agreement.lower
    assert [entry.gold.value for entry in found.values()] == [1.0, 1.0, 0.0]


def test_annotators_beyond_the_limit_are_pooled() -> None:
    """Nobody's answers are lost where annotators are too many to be told apart."""
    agreement = Agreement(annotators=2)
    for i in range(10):
        agreement.answered(f"annotator {i}")
        agreement.gold(f"annotator {i}", "a", "a" if i % 2 else "b")
    agreement.take([("annotator 0", "a"), ("annotator 5", "a"), ("annotator 6", "b")], True)
    estimate = agreement.estimate()
    assert list(estimate.annotators) == ["annotator 0", "annotator 1"]
    assert estimate.others is not None
    assert (estimate.others.answers, estimate.others.gold.count) == (8, 8)
    assert estimate.others.agreement.count == 4
    assert (estimate.gold.value, estimate.gold.count) == (0.5, 10)
    with pytest.raises(ValueError, match="annotators is at least 0, not -1"):
        Agreement(annotators=-1)


def test_pace_and_waiting_are_of_recent_answers() -> None:
    """Pace and median wait follow the last hundred answers, and all answers are counted."""
    agreement = Agreement()
    for i in range(200):
        agreement.answered("ann", 1000.0 + 3600.0 * i, 0.0)
    for i in range(100):
        now = 1e6 + 60.0 * i
        agreement.answered("ann", now, now - 10.0 - i)
    entry = agreement.estimate().annotators["ann"]
    assert entry.answers == 300
    assert entry.per_hour == pytest.approx(60.0)
    assert entry.median_wait_s == pytest.approx(59.5)


def test_times_that_say_nothing_are_left_out() -> None:
    """No time, a single time, and an answer before its request give neither pace nor wait."""
    agreement = Agreement()
    agreement.answered("ann")
    agreement.answered("ann", None, 5.0)
    agreement.answered("ann", 100.0, 200.0)
    entry = agreement.estimate().annotators["ann"]
    assert (entry.answers, entry.per_hour, entry.median_wait_s) == (3, None, None)


@settings(deadline=None)
@given(REQUESTS, REQUESTS)
def test_a_pickled_state_goes_on_alike(
    before: list[tuple[list[tuple[str, str]], bool]],
    after: list[tuple[list[tuple[str, str]], bool]],
) -> None:
    """A state that was stored and read comes to the same estimate as one that was not."""
    one = Agreement()
    for answers, explored in before:
        one.take(answers, explored)
        for name, label in answers:
            one.answered(name, 10.0 * len(label), 5.0)
            one.gold(name, label, "a")
    other = pickle.loads(pickle.dumps(one))  # noqa: S301
    for answers, explored in after:
        one.take(answers, explored)
        other.take(answers, explored)
    assert one.estimate() == other.estimate()


def test_memory_is_bounded() -> None:
    """Ten times the annotators and answers take no more memory."""
    sizes = []
    for n in (3_000, 30_000):
        agreement = Agreement(annotators=20)
        for i in range(n):
            agreement.answered(f"annotator {i:6d}", 1e9 + i, 1e9)
            agreement.take([(f"annotator {i:6d}", "a"), ("ann", "b")], explored=True)
            agreement.answered("ann", 1e9 + i, 1e9)
        sizes.append(len(pickle.dumps(agreement)))
    assert sizes[1] < sizes[0] + 100


@pytest.mark.parametrize(
    ("opinions", "said", "answers", "pair"),
    [
        (1, "ann:a", {"ann": 1}, None),
        (1, "ann:skip", {"ann": 1}, None),
        (1, "silence", {}, None),
        (1, "ann:a bob:revise:b", {"ann": 1, "bob": 1}, None),
        (1, "ann:a bob:retract", {"ann": 1, "bob": 1}, None),
        (1, "silence ann:a", {"ann": 1}, None),
        (2, "ann:a bob:a", {"ann": 1, "bob": 1}, True),
        (2, "ann:a bob:b cho:b", {"ann": 1, "bob": 1, "cho": 1}, False),
        (2, "ann:a bob:b cho:skip", {"ann": 1, "bob": 1, "cho": 1}, False),
        (2, "ann:a bob:b silence", {"ann": 1, "bob": 1}, False),
        (2, "ann:a bob:b silence cho:b", {"ann": 1, "bob": 1, "cho": 1}, False),
        (2, "ann:a bob:a cho:revise:b", {"ann": 1, "bob": 1, "cho": 1}, True),
        (2, "ann:a silence", {"ann": 1}, None),
        (2, "ann:a bob:skip", {"ann": 1}, None),
    ],
)
def test_what_the_ledger_ends_is_counted_once(
    opinions: int, said: str, answers: dict[str, int], pair: bool | None
) -> None:
    """Each answer counts for its annotator, and only the first two that were asked are a pair."""
    agreement = Agreement()
    for record in _ended(said.split(), opinions):
        agreement.take_ended(record)
        agreement.take_pair(record)
    estimate = agreement.estimate()
    assert {name: entry.answers for name, entry in estimate.annotators.items()} == answers
    assert estimate.answers == sum(answers.values())
    assert agreement.pairs == estimate.picked.agreement.count == (pair is not None)
    assert estimate.picked.agreement.value == (None if pair is None else float(pair))
    met = {name for name, entry in estimate.annotators.items() if entry.agreement.count}
    assert met == (set() if pair is None else {"ann", "bob"})
    assert estimate.random == Agreement().estimate().random


def test_an_adjudicator_of_the_pair_does_not_change_it() -> None:
    """One of two who differ has the last word: they still differed."""
    agreement = Agreement()
    agreement.take_ended(_labelled("ann:a", "bob:b", "ann:b", explored=True))
    agreement.take_pair(_labelled("ann:a", "bob:b", "ann:b", explored=True))
    estimate = agreement.estimate()
    assert (estimate.random.agreement.value, estimate.random.agreement.count) == (0.0, 1)
    assert (estimate.answers, estimate.annotators["ann"].answers) == (3, 2)


@pytest.mark.parametrize("changed", [{"was": "b"}, {"late": True}])
def test_what_is_no_first_answer_is_compared_with_none(changed: dict[str, Any]) -> None:
    """Opinions of a revision, or of a late answer, are counted and are no pair."""
    agreement = Agreement()
    record = _labelled("ann:a", "bob:a", explored=True)
    agreement.take_ended(msgspec.structs.replace(record, **changed))
    agreement.take_pair(msgspec.structs.replace(record, **changed))
    assert (agreement.estimate().answers, agreement.pairs) == (2, 0)


def test_silence_taken_as_a_class_is_no_answer() -> None:
    """A label that nobody gave counts for nobody."""
    agreement = Agreement()
    records = list(_ended(["silence"], 2, LedgerConfig(on_expiry="class:a")))
    assert [record.assumed for record in records if isinstance(record, Labelled)] == [True]
    for record in records:
        agreement.take_ended(record)
        agreement.take_pair(record)
    assert agreement.estimate() == Agreement().estimate()


def test_waiting_is_from_the_event_to_its_first_answers() -> None:
    """Every opinion has waited since the event, a revision has not."""
    agreement = Agreement()
    for record in _ended(["ann:a", "bob:b", "cho:a", "dan:revise:b"], 2):
        agreement.take_ended(record)
        agreement.take_pair(record)
    waits = {name: e.median_wait_s for name, e in agreement.estimate().annotators.items()}
    assert waits == {"ann": 10.0, "bob": 20.0, "cho": 30.0, "dan": None}


def test_the_unnamed_count_in_the_totals_only() -> None:
    """Answers without a name make no annotator, and two of them no pair."""
    agreement = Agreement(annotators=0)
    agreement.take_ended(_labelled(":a", "bob:a", explored=False))
    agreement.take_pair(_labelled(":a", "bob:a", explored=False))
    agreement.take_ended(_labelled(":a", ":b", explored=False))
    agreement.take_pair(_labelled(":a", ":b", explored=False))
    agreement.gold("", "a", "a")
    estimate = agreement.estimate()
    assert (estimate.answers, agreement.pairs, estimate.gold.count) == (4, 1, 1)
    assert estimate.annotators == {}
    assert estimate.others is not None
    assert (estimate.others.answers, estimate.others.agreement.count) == (1, 1)


def _ended(
    said: list[str], opinions: int, config: LedgerConfig | None = None
) -> Iterator[Labelled | Closed]:
    """Play answers, ten seconds apart from the event on, and yield how the request ends."""
    ledger = Ledger(config=config)
    ledger.open(_request(opinions), since=100.0)
    for i, each in enumerate(said, start=1):
        if each == "silence":
            outcomes = ledger.expired(100.0)
        else:
            annotator, what, *label = each.split(":")
            kind: AnswerKind = "label"
            if what in ("skip", "revise", "retract"):
                kind = cast("AnswerKind", what)
            else:
                label = [what]
            found = Label(
                request_id="events:0:7",
                kind=kind,
                label=label[0] if label else None,
                annotator=annotator,
                time=100.0 + 10.0 * i,
            )
            outcomes = [ledger.judge(found)]
        for outcome in outcomes:
            ledger.settle(outcome)
            assert not outcome.why, outcome
            if isinstance(outcome.record, Labelled | Closed):
                yield outcome.record


def _request(opinions: int) -> LabelRequest:
    return LabelRequest(
        request_id="events:0:7",
        request_no=0,
        topic="events",
        partition=0,
        offset=7,
        id="",
        time=100.0,
        features={"x": 1.0},
        prediction="a",
        probabilities={"a": 0.6, "b": 0.4},
        score=0.8,
        reason="policy",
        explored=False,
        propensity=0.1,
        fold_id="",
        model_version=3,
        weighed={},
        opinions=opinions,
    )


def _labelled(*opinions: str, explored: bool) -> Labelled:
    """Make an answer that several annotators were asked for; the last one's ended it."""
    parted = [opinion.partition(":") for opinion in opinions]
    given = tuple(Opinion(annotator, label) for annotator, _, label in parted)
    return Labelled(
        request_id="events:0:7",
        request_no=0,
        topic="events",
        partition=0,
        offset=7,
        asked="explore" if explored else "policy",
        model_version=3,
        prediction="a",
        probabilities={"a": 0.6, "b": 0.4},
        explored=explored,
        propensity=0.1,
        annotator=given[-1].annotator,
        opinions=given,
        id="",
        time=None,
        features={"x": 1.0},
        label=given[-1].label,
    )
