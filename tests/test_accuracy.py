"""Accuracy since something was found in the log, and of the last blocks."""

from __future__ import annotations

import random

import msgspec
import pytest

from stream_al.learner.accuracy import Accuracy
from stream_al.records import Block, Tally
from stream_al.training import Labelled

LENGTH, BLOCKS = 10, 400
CONFIDENCE = 0.8


def explored(number: int, right: bool, confidence: float = CONFIDENCE) -> Labelled:
    """Make the answer to a block's explored event, whose model is always as sure."""
    before = number * LENGTH
    sums = {"a": (before, confidence * before, confidence * before)} if before else {}
    return Labelled(
        request_id=f"events:0:{before + 3}",
        request_no=number,
        topic="events",
        partition=0,
        offset=before + 3,
        id="",
        time=None,
        features={},
        label="a" if right else "b",
        annotator="",
        answered_at=None,
        weight=1.0,
        asked="explore",
        model_version=1,
        prediction="a",
        probabilities={"a": confidence, "b": 1.0 - confidence},
        explored=True,
        propensity=1.0 / LENGTH,
        block=Block(number, LENGTH, before, Tally(0, sums)),
    )


def stream(seed: int) -> tuple[list[bool], list[Labelled]]:
    """Whether each event was predicted right, half-way less often; and the explored answers."""
    rng = random.Random(seed)
    right = [rng.random() < (0.9 if 2 * i < BLOCKS * LENGTH else 0.6) for i in range(BLOCKS * 10)]
    picks = (number * LENGTH + rng.randrange(LENGTH) for number in range(BLOCKS))
    return right, [explored(number, right[pick]) for number, pick in enumerate(picks)]


def shuffled(records: list[Labelled], rng: random.Random) -> list[Labelled]:
    """Let answers come out of order, by up to thirty."""
    return [r for _, r in sorted((i + 30 * rng.random(), r) for i, r in enumerate(records))]


def test_an_epoch_tells_of_what_came_since() -> None:
    """After a fall of the accuracy the epoch has the new one, and the whole a mean of both."""
    right, answers = stream(1)
    accuracy = Accuracy()
    for record in answers[: BLOCKS // 2]:
        accuracy.take(record)
    whole, epoch = accuracy.estimate(), accuracy.epoch()
    assert (epoch.value, epoch.events, epoch.epoch) == (whole.value, whole.events, 1)
    assert epoch.upper - epoch.lower > whole.upper - whole.lower
    accuracy.begin_epoch()
    fresh = accuracy.epoch()
    assert (fresh.value, fresh.lower, fresh.upper, fresh.events) == (None, 0.0, 1.0, 0)
    for record in answers[BLOCKS // 2 :]:
        accuracy.take(record)
    epoch = accuracy.epoch()
    # The last block is not known to be complete.
    assert epoch.events == (BLOCKS // 2 - 1) * LENGTH
    assert epoch.blocks == BLOCKS // 2 - 1
    assert epoch.epoch == 2
    half = BLOCKS * LENGTH // 2
    assert epoch.value == pytest.approx(sum(right[half:]) / half, abs=0.1)
    assert accuracy.estimate().value == pytest.approx(sum(right) / len(right), abs=0.07)


def test_what_had_been_answered_is_no_part_of_an_epoch() -> None:
    """An epoch begins with the first block of which no answer could be why it began."""
    _, answers = stream(2)
    accuracy = Accuracy()
    for record in (*answers[:100], *answers[110:130]):
        accuracy.take(record)
    accuracy.begin_epoch()
    for record in (*answers[100:110], *answers[130:]):
        accuracy.take(record)
    assert accuracy.epoch().blocks == BLOCKS - 1 - 130
    assert accuracy.estimate().blocks == BLOCKS - 1


def test_epochs_hold_the_truth_at_all_times() -> None:
    """In at least 19 of 20 streams no epoch's limits ever miss, answers in any order."""
    held = 0
    for seed in range(20):
        right, answers = stream(seed)
        before = [0]
        for each in right:
            before.append(before[-1] + each)
        rng, accuracy, fine = random.Random(1000 + seed), Accuracy(), True
        for i, record in enumerate(shuffled(answers, rng)):
            accuracy.take(record)
            if i in (90, 220):
                accuracy.begin_epoch()
            epoch, end = accuracy.epoch(), accuracy.watermark["events:0"]
            if epoch.events:
                truth = (before[end] - before[end - epoch.events]) / epoch.events
                fine &= epoch.lower <= truth <= epoch.upper
        held += fine
        assert accuracy.epoch().epoch == 3
    print("seeds 0-19", held)
    assert held >= 19


def test_revisions_restate_the_epoch_that_they_belong_to() -> None:
    """What is revised counts as if it had been answered so at once, in its epoch only."""
    _, answers = stream(3)
    revised = [msgspec.structs.replace(r, label="b", was=r.label) for r in answers[150:250:5]]
    at_once, restated = Accuracy(), Accuracy()
    changed = {record.request_no: record for record in revised}
    for part in (slice(0, 200), slice(200, BLOCKS)):
        for record in answers[part]:
            restated.take(record)
            at_once.take(changed.get(record.request_no, record))
        if part.start == 0:
            restated.begin_epoch()
            at_once.begin_epoch()
    for record in revised:
        restated.take(record)
    for one, other in (
        (at_once.epoch(), restated.epoch()),
        (at_once.estimate(), restated.estimate()),
    ):
        assert (one.events, one.blocks) == (other.events, other.blocks)
        assert one.value is not None
        assert [other.value, other.lower, other.upper] == pytest.approx(
            [one.value, one.lower, one.upper]
        )


@pytest.mark.parametrize("share", [0.7, 0.97, 0.995])
def test_rolling_limits_hold_for_one_look(share: float) -> None:
    """In 19 of 20 windows the limits hold the truth, also where hardly an error is seen."""
    held = windows = 0
    for seed in range(60):
        rng, accuracy = random.Random(f"{share} {seed}"), Accuracy()
        right = [rng.random() < share for _ in range(301 * LENGTH)]
        for number in range(301):
            pick = number * LENGTH + rng.randrange(LENGTH)
            accuracy.take(explored(number, right[pick], confidence=share))
        rolling, end = accuracy.rolling(), accuracy.watermark["events:0"]
        truth = sum(right[end - rolling.events : end]) / rolling.events
        assert rolling.lower is not None
        assert rolling.upper is not None
        assert rolling.events == 200 * LENGTH
        windows += 1
        held += rolling.lower <= truth <= rolling.upper
    print("seeds 0-59", share, held)
    assert held >= 0.92 * windows
