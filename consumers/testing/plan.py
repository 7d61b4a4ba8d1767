"""What a simulated run is made of, drawn from its seed."""

from __future__ import annotations

import random

import msgspec

from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    LedgerConfig,
    LogConfig,
    LoopConfig,
    MessageConfig,
)
from stream_al.labels.gold import GoldCase

__all__ = ["Plan", "draw_plan"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part in a simulated run, and what goes wrong how often.

    Attributes
    ----------
    config
        What all processes run with; each has an instance of its own.
    gold
        The cases that the ledger asks about.
    gates, ledgers, annotators
        How many replicas.
    doubles
        Further processes that take the identity of one that runs.
    events
        How many are fed.
    rounds
        Steps of processes before faults end.
    fail, crash, pause, switch
        Probability, at each step of a log, of an error, of the process's death, of a stop beyond
        the session timeout, and of other processes running before it goes on.
    jump, compact
        Probability, before each step of a process, of a leap of the clock beyond all timeouts, and
        of compaction.
    """

    seed: int
    config: Config
    gold: tuple[GoldCase, ...]
    gates: int
    ledgers: int
    annotators: int
    doubles: int
    events: int
    rounds: int
    fail: float
    crash: float
    pause: float
    switch: float
    jump: float
    compact: float


_GOLD = (
    GoldCase({"amount": 0.95, "country": "FR"}, "fraud"),
    GoldCase({"amount": 0.05, "country": "US"}, "ok"),
    # An id that events may have as well.
    GoldCase({"amount": 0.85, "country": "DE"}, "fraud", "e7"),
    GoldCase({"amount": 0.45, "country": "DE"}, "ok", "gold"),
)


def draw_plan(seed: int, events: int | None = None) -> Plan:
    """Draw a plan.

    Parameters
    ----------
    events
        In place of the drawn number.

    Examples
    --------
    >>> draw_plan(7) == draw_plan(7) != draw_plan(8)
    True
    """
    rng = random.Random(f"plan {seed}")  # noqa: S311 - a simulation, not a secret
    gold = random.Random(f"gold {seed}")  # noqa: S311 - so that it moves no other draw
    share = gold.choice([0.0, 0.2, 1.0])
    config = Config(
        learner=LearnerConfig(
            committee=False, classes=rng.choice([(), ("fraud", "ok")]), seed=seed % 3
        ),
        gate=GateConfig(
            policy=rng.choice(["quantile", "variable", "randomized-variable", "random"]),
            budget=rng.choice([0.1, 0.2, 0.5]),
            explore=rng.choice([0.0, 0.5, 1.0]),
            burst=rng.choice([2.0, 5.0, 20.0]),
            observe_every=rng.choice([2, 10]),
            second_opinion=rng.choice([0.0, 0.0, 0.4, 1.0]),
            salt=seed,
        ),
        log=LogConfig(
            partitions=rng.choice([1, 2, 3, 4]),
            instance="somebody",
            assignor=rng.choice(["range", "cooperative-sticky"]),
        ),
        message=MessageConfig(
            id=rng.choice([None, "id"]),
            exclude=("note",),
            label=rng.choice([None, "class"]),
            source="source",
        ),
        loop=LoopConfig(
            batch_size=rng.choice([1, 3, 10, 50]),
            poll_s=rng.choice([0.05, 0.5]),
            transaction_timeout_s=rng.choice([2.0, 10.0]),
            commit_timeout_s=3.0,
            session_timeout_s=rng.choice([3.0, 10.0]),
        ),
        annotator=AnnotatorConfig(
            delay="5s", delay_distribution="exponential", noise=0.1, abstain=0.1
        ),
        ledger=LedgerConfig(
            expire_after_s=rng.choice([20.0, 60.0, 300.0]),
            early_wait_s=rng.choice([0.0, 5.0, 60.0]),
            early_limit=rng.choice([1, 10, 10_000]),
            on_expiry=rng.choice(["missing", "missing", "class:ok"]),
            remember=rng.choice([1, 5, 10_000, 10_000]),
            reasons=rng.choice([(), ("ambiguous", "slip")]),
            schema=2,
            schema_changes={"2": {"stolen": "fraud"}},
            gold_share=share,
        ),
    )
    return Plan(
        seed=seed,
        config=config,
        gold=_GOLD if share else (),
        gates=rng.choice([1, 2, 2, 3]),
        ledgers=rng.choice([1, 1, 2]),
        annotators=rng.choice([0, 1, 2]) if config.message.id else 0,
        doubles=rng.choice([0, 0, 0, 1]),
        events=events or rng.choice([30, 80, 150]),
        rounds=rng.choice([100, 200, 400]),
        fail=rng.choice([0.0, 0.005, 0.02, 0.1]),
        crash=rng.choice([0.0, 0.005, 0.02]),
        pause=rng.choice([0.0, 0.002, 0.01]),
        switch=rng.choice([0.0, 0.02, 0.1]),
        jump=rng.choice([0.0, 0.005, 0.02]),
        compact=rng.choice([0.0, 0.01, 0.1]),
    )
