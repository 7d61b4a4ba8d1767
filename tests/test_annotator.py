"""The simulated annotator and its delays."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.config import AnnotatorConfig
from stream_al.errors import ConfigError
from stream_al.records import LabelRequest, request_id
from stream_al.replay.annotator import Answer, SimulatedAnnotator
from stream_al.replay.durations import Delay, parse_delay

DAY = 86_400.0
TRUTHS = ("a", "b", "c")


def request(offset: int, partition: int = 0, **changed: Any) -> LabelRequest:
    """Return a request about one event."""
    fields: dict[str, Any] = {
        "request_id": request_id("events", partition, offset),
        "request_no": 0,
        "topic": "events",
        "partition": partition,
        "offset": offset,
        "id": "",
        "time": None,
        "features": {},
        "prediction": None,
        "probabilities": {},
        "score": 1.0,
        "reason": "policy",
        "explored": False,
        "propensity": 0.05,
        "fold_id": "",
        "model_version": 0,
        "weighed": {},
    }
    return LabelRequest(**(fields | changed))


def only(
    annotator: SimulatedAnnotator, about: LabelRequest, truth: str, index: int, time: float | None
) -> Answer:
    """Return the one answer to a request for one opinion."""
    (answer,) = annotator.answers(about, truth, index, time)
    return answer


def ask(config: AnnotatorConfig, n: int, truth: str = "a") -> list[Answer]:
    """Ask about n events in a row, one a second, with all of `TRUTHS` declared."""
    annotator = SimulatedAnnotator(config, TRUTHS)
    return [only(annotator, request(i), truth, i, float(i)) for i in range(n)]


def within_binomial_error(count: int, n: int, p: float) -> bool:
    """Tell whether a count is within five standard deviations of its mean."""
    return abs(count - n * p) < 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("0", Delay(events=0)),
        ("1000", Delay(events=1000)),
        ("0s", Delay(seconds=0.0)),
        ("30s", Delay(seconds=30.0)),
        ("15m", Delay(seconds=900.0)),
        ("1.5h", Delay(seconds=5400.0)),
        (".5d", Delay(seconds=43_200.0)),
        ("2w", Delay(seconds=14 * DAY)),
    ],
)
def test_delays_are_read(text: str, delay: Delay) -> None:
    """A bare whole number is in events, a number with a unit is event time."""
    assert parse_delay(text) == delay


@pytest.mark.parametrize(
    "text",
    ["", "h", "soon", "-1", "-1h", "+1", "nan", "nans", "inf", "infh", "1.5", "1.", "1.h", "1e3",
     "1 h", " 1", "1\n", "1H", "1hh", "1h30m", "1_000", "1,5h", "٣", "²h"],
)  # fmt: skip
def test_other_delays_are_refused(text: str) -> None:
    """What is no delay is quoted in an error that names the key and both forms."""
    with pytest.raises(ConfigError, match=r"^annotator\.delay: expected events .* or event time"):
        parse_delay(text)


@pytest.mark.parametrize("text", ["9" * 17, "9" * 400, "9" * 5000, "9" * 400 + "h", "9" * 12 + "w"])
def test_delays_beyond_counting_are_refused(text: str) -> None:
    """A delay so large that it could not be added to a time or index is refused."""
    with pytest.raises(ConfigError, match=r"^annotator\.delay: expected at most 2\*\*53"):
        parse_delay(text)


@given(st.text(max_size=8))
def test_any_text_is_a_delay_or_a_config_error(text: str) -> None:
    """No text makes the parser raise anything else, or give a delay below zero."""
    try:
        delay = parse_delay(text)
    except ConfigError:
        return
    assert (delay.events is None) != (delay.seconds is None)
    assert (delay.events or 0) >= 0
    assert 0 <= (delay.seconds or 0.0) < math.inf


def test_answer_is_true_and_immediate_by_default() -> None:
    """Without delay, noise and abstention the truth is known right after its event."""
    answer = only(SimulatedAnnotator(AnnotatorConfig()), request(7), "b", 40, None)
    assert (answer.due_index, answer.due_time) == (40, None)
    assert (answer.label.request_id, answer.label.kind) == ("events:0:7", "label")
    assert (answer.label.label, answer.label.annotator) == ("b", "simulated")
    assert answer.label.time is None


def test_fixed_delays_count_events_or_time() -> None:
    """A delay in events moves the index, one in event time the time, and nothing else."""
    by_event = only(SimulatedAnnotator(AnnotatorConfig(delay="3")), request(0), "a", 10, 50.0)
    assert (by_event.due_index, by_event.due_time, by_event.label.time) == (13, None, None)
    by_time = only(SimulatedAnnotator(AnnotatorConfig(delay="2m")), request(0), "a", 10, 50.0)
    assert (by_time.due_index, by_time.due_time, by_time.label.time) == (None, 170.0, 170.0)


def test_time_zero_is_a_time() -> None:
    """An answer that is due at the epoch has that time, not none."""
    answer = only(SimulatedAnnotator(AnnotatorConfig(delay="0s")), request(0), "a", 0, 0.0)
    assert answer.due_time == answer.label.time == 0.0


@pytest.mark.parametrize("delay", ["40", "40s"])
@pytest.mark.parametrize("distribution", ["exponential", "uniform"])
def test_drawn_delays_have_the_mean_and_spread_of_their_distribution(
    delay: str, distribution: Any
) -> None:
    """Drawn delays spread around the configured mean as their distribution does (seed 3)."""
    config = AnnotatorConfig(delay=delay, delay_distribution=distribution, seed=3)
    n = 4000
    waits = [
        (a.due_index if a.due_index is not None else a.due_time or 0.0) - i
        for i, a in enumerate(ask(config, n))
    ]
    sd = 40.0 if distribution == "exponential" else 80 / math.sqrt(12)
    mean = sum(waits) / n
    assert abs(mean - 40) < 5 * sd / math.sqrt(n)
    assert abs(math.sqrt(sum((w - mean) ** 2 for w in waits) / n) - sd) < 0.1 * sd
    assert min(waits) >= 0
    if distribution == "uniform":
        assert max(waits) <= 80
        assert within_binomial_error(sum(w > 60 for w in waits), n, 0.25)
    else:
        assert within_binomial_error(sum(w >= 40 for w in waits), n, math.exp(-1))


def test_short_exponential_delays_in_events_keep_their_mean() -> None:
    """Cutting to whole events takes nothing from a mean of two (seed 5)."""
    n = 6000
    config = AnnotatorConfig(delay="2", delay_distribution="exponential", seed=5)
    mean = sum((a.due_index or 0) - i for i, a in enumerate(ask(config, n))) / n
    assert abs(mean - 2) < 5 * math.sqrt(6 / n)


@pytest.mark.parametrize("distribution", ["fixed", "exponential", "uniform"])
@pytest.mark.parametrize("delay", ["0", "0s"])
def test_zero_delay_is_zero_in_every_distribution(delay: str, distribution: Any) -> None:
    """A mean of zero leaves nothing to draw."""
    config = AnnotatorConfig(delay=delay, delay_distribution=distribution)
    for i, answer in enumerate(ask(config, 50)):
        assert (answer.due_index, answer.due_time) in {(i, None), (None, float(i))}


@given(
    order=st.permutations(range(12)),
    subset=st.sets(st.integers(0, 11)),
    delay=st.sampled_from(["0", "20", "1h"]),
    distribution=st.sampled_from(["fixed", "exponential", "uniform"]),
    noise=st.sampled_from([0.5, {"a": {"a": 0.4, "b": 0.3, "c": 0.3}, "b": {"c": 1.0}}]),
    declared=st.booleans(),
    seed=st.integers(0, 5),
)
def test_answers_do_not_depend_on_what_else_is_asked(
    order: list[int],
    subset: set[int],
    delay: str,
    distribution: Any,
    noise: Any,
    declared: bool,
    seed: int,
) -> None:
    """All events asked in order, or some in any order at the end: the same answers."""
    config = AnnotatorConfig(
        delay=delay, delay_distribution=distribution, noise=noise, abstain=0.2, seed=seed
    )
    classes = TRUTHS if declared else ()
    truths = [TRUTHS[i * i % 3] for i in range(12)]
    one = SimulatedAnnotator(config, classes)
    expected = []
    for i, truth in enumerate(truths):
        one.see(truth)
        expected.append(only(one, request(i), truth, i, 60.0 * i))
    other = SimulatedAnnotator(config, classes)
    for truth in truths:
        other.see(truth)
    for i in order:
        if i in subset:
            changed = request(i, request_no=9, score=0.1, model_version=5)
            assert only(other, changed, truths[i], i, 60.0 * i) == expected[i]


def test_answers_differ_between_seeds_and_partitions() -> None:
    """The draws are keyed by the whole identity and the seed."""
    config = AnnotatorConfig(noise=0.5)
    annotator = SimulatedAnnotator(config, TRUTHS)

    def labels(annotator: SimulatedAnnotator, partition: int) -> list[object]:
        return [only(annotator, request(i, partition), "a", i, None).label.label for i in range(99)]

    other = SimulatedAnnotator(AnnotatorConfig(noise=0.5, seed=1), TRUTHS)
    assert labels(annotator, 0) == labels(annotator, 0)
    assert (
        len({tuple(labels(annotator, 0)), tuple(labels(annotator, 1)), tuple(labels(other, 0))})
        == 3
    )


def test_noise_rate_spreads_over_the_other_classes() -> None:
    """A rate gives so many wrong answers, evenly over the other declared classes (seed 1)."""
    n = 6000
    found = Counter(a.label.label for a in ask(AnnotatorConfig(noise=0.3, seed=1), n))
    assert within_binomial_error(found["b"] + found["c"], n, 0.3)
    assert within_binomial_error(found["b"], n, 0.15)
    assert sum(found.values()) == n
    assert set(found) == {"a", "b", "c"}


def test_noise_matrix_gives_each_answer_its_probability() -> None:
    """A matrix gives its answers their shares, in whatever order, and leaves others true."""
    n = 6000
    noise = {"a": {"c": 0.2, "a": 0.5, "b": 0.3, "d": 0.0}, "b": {"c": 1.0}}
    config = AnnotatorConfig(noise=noise, seed=2)
    found = Counter(a.label.label for a in ask(config, n))
    assert set(found) == {"a", "b", "c"}
    for name, p in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        assert within_binomial_error(found[name], n, p)
    turned = {"a": dict(reversed(noise["a"].items())), "b": noise["b"]}
    assert ask(AnnotatorConfig(noise=turned, seed=2), 200) == ask(config, 200)
    assert {a.label.label for a in ask(config, 50, "b")} == {"c"}
    assert {a.label.label for a in ask(config, 50, "c")} == {"c"}


def test_undeclared_classes_are_those_seen_up_to_the_event() -> None:
    """Only classes that the stream has shown by then are answered, and one alone is the truth."""
    annotator = SimulatedAnnotator(AnnotatorConfig(noise=1.0))
    for truth in ("b", "b", "a", "c"):
        annotator.see(truth)
    label = [only(annotator, request(i), "b", i, None).label.label for i in range(4)]
    assert label[:3] == ["b", "b", "a"]
    late = {only(annotator, request(i), "b", 3, None).label.label for i in range(50)}
    assert late == {"a", "c"}


def test_a_row_that_was_not_seen_is_refused() -> None:
    """Asking ahead of `see` is an error, because the answer would depend on when one asks."""
    annotator = SimulatedAnnotator(AnnotatorConfig(noise=0.1))
    annotator.see("a")
    with pytest.raises(ValueError, match="told of 1 rows, and not of index 1"):
        only(annotator, request(1), "a", 1, None)


def test_abstentions_are_skips_without_a_class() -> None:
    """The share of skips is the configured one, and a skip carries no class (seed 4)."""
    n = 4000
    answers = ask(AnnotatorConfig(abstain=0.1, noise=0.2, seed=4), n)
    skips = [a.label for a in answers if a.label.kind == "skip"]
    assert within_binomial_error(len(skips), n, 0.1)
    assert all(label.label is None for label in skips)
    assert all(a.label.label in TRUTHS for a in answers if a.label.kind == "label")
    assert {a.label.kind for a in ask(AnnotatorConfig(abstain=1.0), 50)} == {"skip"}


@given(
    steps=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=80),
    capacity=st.integers(1, 5),
    delay=st.sampled_from(["0", "0s", "6h", "1d", "3d"]),
    distribution=st.sampled_from(["fixed", "exponential", "uniform"]),
)
def test_capacity_gives_each_the_first_place_free(
    steps: list[float], capacity: int, delay: str, distribution: Any
) -> None:
    """No day holds more answers than the capacity, and nobody waits while a day has room."""
    free = AnnotatorConfig(delay=delay, delay_distribution=distribution)
    limited = AnnotatorConfig(
        delay=delay, delay_distribution=distribution, capacity_per_day=capacity
    )
    unbounded, annotator = SimulatedAnnotator(free), SimulatedAnnotator(limited)
    used: Counter[int] = Counter()
    now, today = 0.0, -(10**9)
    for i, step in enumerate(steps):
        now += step * DAY
        today = max(today, math.floor(now / DAY))
        wished = only(unbounded, request(i), "a", i, now).due_time
        wished = now if wished is None else wished
        day = max(today, math.floor(wished / DAY))
        while used[day] == capacity:
            day += 1
        used[day] += 1
        answer = only(annotator, request(i), "a", i, now)
        assert answer.due_index is None
        assert answer.due_time == (wished if day == math.floor(wished / DAY) else day * DAY)
        assert answer.label.time == answer.due_time


def test_a_queue_is_served_in_the_order_of_asking() -> None:
    """Ten questions at once and two answers a day: two at once, then two at each midnight."""
    config = AnnotatorConfig(capacity_per_day=2)
    annotator = SimulatedAnnotator(config)
    due = [only(annotator, request(i), "a", i, 1000.0).due_time for i in range(6)]
    assert due == [1000.0, 1000.0, DAY, DAY, 2 * DAY, 2 * DAY]
    assert only(annotator, request(9), "a", 9, DAY + 5).due_time == 3 * DAY
    assert only(annotator, request(10), "a", 10, 8 * DAY + 5).due_time == 8 * DAY + 5


def test_days_gone_are_forgotten() -> None:
    """An annotator with a capacity needs no memory for days that have passed."""
    annotator = SimulatedAnnotator(AnnotatorConfig(capacity_per_day=1))
    tracemalloc.start()
    try:
        grown = []
        for n in range(8000):
            only(annotator, request(n), "a", n, n * DAY)
            if n in (200, 7999):
                grown.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert grown[1] - grown[0] < 50_000


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (AnnotatorConfig(delay="36h"), "annotator.delay: 36h"),
        (AnnotatorConfig(delay="0s"), "annotator.delay: 0s"),
        (AnnotatorConfig(capacity_per_day=5), "annotator.capacity_per_day: 5"),
    ],
)
def test_event_time_is_demanded_where_needed(config: AnnotatorConfig, where: str) -> None:
    """Without event time, what needs it says so, and names the flag that gives it."""
    annotator = SimulatedAnnotator(config)
    with pytest.raises(ConfigError, match=f"^{where} needs event time, .* --time$"):
        only(annotator, request(0), "a", 0, None)


def test_capacity_with_a_delay_in_events_is_refused() -> None:
    """Days of event time and delays in events do not go together: both keys are named."""
    with pytest.raises(ConfigError, match=r"annotator\.capacity_per_day .* annotator\.delay .*100"):
        SimulatedAnnotator(AnnotatorConfig(delay="100", capacity_per_day=5))


def test_a_bad_delay_is_refused_at_once() -> None:
    """A delay that cannot be read stops the annotator from being made."""
    with pytest.raises(ConfigError, match=r"^annotator\.delay: "):
        SimulatedAnnotator(AnnotatorConfig(delay="later"))


def test_several_opinions_are_drawn_apart() -> None:
    """Each annotator of a request errs alone, and the adjudicator tells the truth."""
    annotator = SimulatedAnnotator(AnnotatorConfig(noise=0.5), TRUTHS)
    pairs = [annotator.answers(request(i, opinions=2), "a", i, None) for i in range(200)]
    assert {tuple(a.label.annotator for a in pair) for pair in pairs} == {
        ("simulated", "simulated-2")
    }
    both = sum(all(a.label.label == "a" for a in pair) for pair in pairs)
    assert within_binomial_error(both, 200, 0.25)
    last = only(annotator, request(7, opinions=2, disagreed=True), "a", 9, None)
    assert (last.label.annotator, last.label.label, last.due_index) == ("adjudicator", "a", 9)
