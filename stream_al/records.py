"""The records that the machines exchange, and their JSON form.

Every record is a frozen `msgspec.Struct`; its JSON form is one object with the fields named as
here. Unknown fields are ignored when reading, missing required ones are refused by name. Times
are epoch seconds. A class is a name: text, never empty.

An event is identified by (topic, partition, offset); its `id` is the user's own and serves
matching and people. A request is identified by ``topic:partition:offset`` of its event.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

import msgspec

__all__ = [
    "ANSWER_KINDS",
    "HEAVIEST",
    "AnnotatorKind",
    "AnswerKind",
    "Block",
    "Decision",
    "Event",
    "Label",
    "LabelRequest",
    "ModelStamp",
    "Observed",
    "Prediction",
    "Tally",
    "check_features",
    "class_name",
    "encode",
    "request_id",
]

Value: TypeAlias = float | int | str | bool
"""What a feature may hold: a finite number, or a category (text, boolean)."""

Features: TypeAlias = dict[str, Value]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event of the stream, as the engine sees it.

    Parameters
    ----------
    offset
        Position in its partition; grows, and need not be dense.
    features
        Name to value. Numbers are finite; text and booleans are categories.
    id
        The user's id; empty where there is none.
    topic, partition
        Where the event stands.
    key
        The message key, carried through unchanged.
    time
        Event time, epoch seconds; None where the stream has none.

    Examples
    --------
    >>> Event(offset=7, features={"amount": 12.5, "country": "FR"}).offset
    7
    """

    offset: int
    features: Features
    id: str = ""
    topic: str = "events"
    partition: int = 0
    key: bytes | None = None
    time: float | None = None


class ModelStamp(msgspec.Struct, frozen=True):
    """Names the model that a batch is decided with; see `Prediction`."""

    fold_id: str
    version: int
    digest: str


class Prediction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the gate decided about one event, with all that is needed to recompute it.

    Attributes
    ----------
    prediction, probabilities
        The predicted class and the calibrated probability of each known class; null and empty
        before any class is known.
    action
        ``ask`` for the label, or predict automatically (``auto``).
    reason
        ``explore`` · ``policy`` · ``both`` · ``boost`` (an operator's, in the policy's place) for
        asked events; ``confident`` (the policy declined), ``draw`` (a randomised policy drew no),
        ``budget`` (its tokens were used up) and ``paused`` otherwise.
    score, threshold
        Informativeness in [0, 1] and what the policy compared it with, before it adapted.
    p_policy, propensity
        Probability that the policy, and that anything at all, asks about this event given
        history.
    block, explored
        Exploration block (-1 without exploration), and whether this event is the block's pick.
    tokens
        What is left in the policy's bucket after the decision, in label requests.
    fold_id, model_version, digest
        The model that predicted: configuration and code, offset of the last folded data record
        + 1 (0: none), and the running digest of the folded bytes.
    config_hash
        Hash of the configuration of gate and messages.
    batch_time
        The time that the decision was given, epoch seconds.
    state_digest
        Running checksum (CRC-32) of the partition's events and decisions, this one included.
    weighed
        Asked events only: the features that moved the prediction most, with the share of log
        odds that each contributed.
    """

    topic: str
    partition: int
    offset: int
    id: str
    time: float | None
    prediction: str | None
    probabilities: dict[str, float]
    action: Literal["ask", "auto"]
    reason: str
    score: float
    threshold: float
    p_policy: float
    propensity: float
    block: int
    explored: bool
    tokens: float
    fold_id: str
    model_version: int
    digest: str
    config_hash: str
    batch_time: float | None
    state_digest: int
    weighed: dict[str, float] | None = None


class Tally(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a partition's model said of its events up to some point, by its own probabilities.

    Attributes
    ----------
    unpredicted
        Events before the first prediction, which count nowhere else.
    classes
        For each class: the events predicted as it, the sum of their calibrated confidence, and
        the sum of its probability over all events.

    Examples
    --------
    >>> tally = Tally(0, {"fraud": (1, 0.75, 1.0), "legit": (2, 1.75, 2.0)})
    >>> tally.events, tally.confidence
    (3, 2.5)
    """

    unpredicted: int = 0
    classes: dict[str, tuple[int, float, float]] = {}

    @property
    def events(self) -> int:
        """Count the events with a prediction."""
        return sum(count for count, _, _ in self.classes.values())

    @property
    def confidence(self) -> float:
        """Sum the confidence in what was predicted: the events that the model expects right."""
        return sum(confidence for _, confidence, _ in self.classes.values())


class Block(msgspec.Struct, frozen=True):
    """The block of exploration that an event belongs to.

    Attributes
    ----------
    number
        Count of blocks within the partition, from 0.
    length
        Events in a block; the explored one is any of them with the same probability.
    begin
        Offset of its first event.
    before
        What the blocks before it held together.
    """

    number: int
    length: int
    begin: int
    before: Tally


class LabelRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A question to an annotator, self-contained: whoever answers needs nothing else.

    Attributes
    ----------
    request_id
        ``topic:partition:offset`` of the event.
    request_no
        Dense count of requests within the partition, from 0.
    block
        Where it stands in exploration; None without any.
    opinions
        How many annotators are to answer, each on their own.
    disagreed
        Whether those answered differently, and this asks for the last word; everything else is as
        it was asked.
    """

    request_id: str
    request_no: int
    topic: str
    partition: int
    offset: int
    id: str
    time: float | None
    features: Features
    prediction: str | None
    probabilities: dict[str, float]
    score: float
    reason: str
    explored: bool
    propensity: float
    fold_id: str
    model_version: int
    weighed: dict[str, float]
    block: Block | None = None
    opinions: int = 1
    disagreed: bool = False


AnnotatorKind: TypeAlias = Literal["person", "model", "feed"]
AnswerKind: TypeAlias = Literal["label", "skip", "flag", "revise", "retract"]
ANSWER_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)

HEAVIEST = 100.0
"""Weight of a label that may be learnt as often as that."""


class Label(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer to a request.

    Parameters
    ----------
    request_id
        The request that is answered.
    label
        The class, with ``label`` and ``revise``. Integers and booleans are taken as the class that
        their JSON text names.
    kind
        ``label``; ``skip`` where the annotator cannot tell; ``flag`` to say that something is
        wrong with the event, which leaves the request as it is; ``revise`` to change an answer
        that was given; ``retract`` to withdraw it, or the open request.
    annotator
        Who answered.
    annotator_kind
        ``person``, ``model`` or ``feed``.
    time
        When, epoch seconds.
    weight
        How much the answer counts in learning, in (0, 100]; 1 by default.
    schema
        Version of the label schema that the class is of; None: the current one.
    confidence
        How sure the annotator is, in [0, 1]; kept for people.
    reason
        Why an answer is revised, retracted, skipped or flagged: one of ``ledger.reasons``, or
        empty.
    comment
        Free text; kept for people.
    """

    request_id: str
    label: str | int | bool | None = None
    kind: AnswerKind = "label"
    annotator: str = ""
    annotator_kind: AnnotatorKind = "person"
    time: float | None = None
    weight: float = 1.0
    schema: int | None = None
    confidence: float | None = None
    reason: str = ""
    comment: str = ""


class Observed(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="observed", tag_field="type"
):
    """One event of the thin sample of all traffic from which unsupervised steps learn."""

    topic: str
    partition: int
    offset: int
    time: float | None
    features: Features


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Everything that one event made the gate put out."""

    prediction: Prediction
    request: LabelRequest | None = None
    observed: Observed | None = None

    @property
    def asked(self) -> bool:
        """Whether a label request goes out."""
        return self.request is not None


encode = msgspec.json.Encoder().encode
"""Encode a record to its JSON bytes."""


def check_features(features: Features) -> None:
    """See that features can stand in a log and be read from it again.

    Raises
    ------
    TypeError
        If a value is no finite number of Python's own, text or boolean; names it.

    Examples
    --------
    >>> check_features({"amount": 12.5, "country": "FR", "online": True})
    >>> check_features({"amount": float("nan")})
    Traceback (most recent call last):
    TypeError: feature 'amount' is nan
    """
    value: Any
    for name, value in features.items():
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                raise TypeError(f"feature {name!r} is {value!r}")
        elif kind is int:
            if not -(1 << 63) <= value < 1 << 63:
                raise TypeError(f"feature {name!r} is beyond 64 bits")
        elif kind is not str and kind is not bool:
            raise TypeError(f"feature {name!r} is of type {kind.__name__}")


def request_id(topic: str, partition: int, offset: int) -> str:
    """Name the request for an event.

    Examples
    --------
    >>> request_id("events", 0, 17)
    'events:0:17'
    """
    return f"{topic}:{partition}:{offset}"


def class_name(label: object) -> str:
    """Name the class that a label stands for: its text, or its JSON text.

    Raises
    ------
    ValueError
        If the label is empty, or of a type that names no class (a float, say).

    Examples
    --------
    >>> class_name("fraud"), class_name(1), class_name(True)
    ('fraud', '1', 'true')
    """
    if isinstance(label, str):
        if label:
            # What cannot be written as UTF-8 is a UnicodeEncodeError, which is a ValueError.
            return label.encode().decode()
        raise ValueError("a class is named by text that is not empty")
    if hasattr(label, "item"):  # a scalar of numpy
        label = label.item()
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, int):
        return str(label)
    raise ValueError(f"a class is text, an integer or a boolean, not {type(label).__name__}")
