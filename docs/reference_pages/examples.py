"""One record of each kind, as the code makes them."""

from __future__ import annotations

from itertools import islice

import msgspec

from stream_al import Config, Engine, GateConfig, Label, LearnerConfig, SourceConfig
from stream_al.records import Decision
from stream_al.replay.sources import open_source
from stream_al.training import (
    Control,
    Flagged,
    Gold,
    Opinion,
    TrainingRecord,
    Unsolicited,
    Voided,
    decode_training,
)

__all__ = ["examples"]

_EVENTS = 600
_SKIPPED = 9
"""Every so many answers one says that it cannot be told."""
_ANSWERED_S = 3600.0


def examples() -> dict[type[msgspec.Struct], msgspec.Struct]:
    """Make one of each: what an engine can make from an engine, the rest by hand."""
    found: dict[type[msgspec.Struct], msgspec.Struct] = {}
    log: list[TrainingRecord] = []
    config = Config(learner=LearnerConfig(classes=("0", "1")), gate=GateConfig(budget=0.2))
    engine = Engine(config, write=lambda _, raw: log.append(decode_training(raw)))
    asked: Decision | None = None
    for row in islice(open_source(f"cards:{_EVENTS}", SourceConfig()).rows(), _EVENTS):
        decision = engine.decide_one(row.event)
        if decision.request is not None:
            asked = decision
            label = _answer(
                row.truth, decision, skip=decision.request.request_no % _SKIPPED == _SKIPPED - 1
            )
            engine.learn_one(label)
            found[Label] = label if label.kind == "label" else found[Label]
    found |= {type(record): record for record in log}
    assert asked is not None
    assert asked.request is not None
    block = asked.request.block
    assert block is not None
    made: tuple[msgspec.Struct, ...] = (
        asked.prediction,
        asked.request,
        block,
        block.before,
        *_by_hand(),
    )
    return found | {type(record): record for record in made}


def _answer(truth: str, decision: Decision, *, skip: bool) -> Label:
    request = decision.request
    assert request is not None
    at = None if request.time is None else request.time + _ANSWERED_S
    if skip:
        return Label(request_id=request.request_id, kind="skip", annotator="eve", time=at)
    return Label(request_id=request.request_id, label=truth, annotator="eve", time=at)


def _by_hand() -> tuple[msgspec.Struct, ...]:
    """Make what only people or a ledger among several annotators make."""
    return (
        Opinion(annotator="eve", label="fraud", time=1767225600.0),
        Flagged(
            request_id="payments:3:1042",
            annotator="eve",
            annotator_kind="person",
            answered_at=1767225600.0,
            correction="",
            comment="the amount is in cents",
        ),
        Gold(
            request_id="payments:3:1042:1",
            topic="payments",
            partition=3,
            offset=1042,
            id="pay-88123",
            time=1767225600.0,
            label="fraud",
            known="fraud",
            annotator="eve",
            answered_at=1767229200.0,
        ),
        Unsolicited(
            topic="fraud.labels",
            partition=3,
            offset=77,
            id="pay-90001",
            time=1767225600.0,
            features={"amount": 912.5, "card.country": "FR"},
            label="fraud",
            source="chargebacks",
        ),
        Voided(annotator="mallory", by="eve", why="clicked at random", time=1767225600.0),
        Control(action="pause", until=1767232800.0, by="eve", why="audit", time=1767225600.0),
    )
