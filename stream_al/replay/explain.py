"""What a recording tells of one event: the decision about it, and the features that weighed.

A decision holds all that it was made of, so its row is enough; only the features that moved the
prediction of an event that was not asked have to be recomputed, from the stream and the training
log.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from stream_al.config import Config
from stream_al.engine import Core
from stream_al.errors import InputError
from stream_al.learner.monitor import Insight
from stream_al.records import Event, Features, Prediction, request_id
from stream_al.replay.recording import End, decode_line
from stream_al.replay.sources import open_source
from stream_al.replay.sources.files import lines_of
from stream_al.replay.verify import recorded_config

__all__ = ["Explanation", "Recording", "explain", "find_decisions", "pick_decisions"]

_TOLERANCE = 1e-9
"""How far probabilities may differ between machines; see `stream_al.learner.fold.fingerprint`."""

_NAMED = 5

Place: TypeAlias = tuple[str, int, int]


class _Row(msgspec.Struct, gc=False):
    """As much of a decision as tells whether it is the one that is looked for."""

    topic: str
    partition: int
    offset: int
    id: str


_decode_row = msgspec.json.Decoder(_Row).decode
_decode_decision = msgspec.json.Decoder(Prediction).decode


class Recording(msgspec.Struct, frozen=True):
    """What a decision can be recomputed from.

    Attributes
    ----------
    source
        The stream that was played; see `stream_al.replay.sources.open_source`.
    training
        Its training log, as ``stream-al replay --training`` writes it.
    """

    source: str
    training: Path


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about why one event was asked about or not.

    Attributes
    ----------
    decision
        As recorded.
    weighed
        The features that moved the prediction most, with the part of the predicted class's log
        odds that each contributed; empty before two classes were known, null where they were
        neither kept nor recomputed.
    features
        The event's features; null where they were not read.
    insight
        What the training log told about itself at the decision; null where it was not read.
    """

    decision: Prediction
    weighed: dict[str, float] | None
    features: Features | None
    insight: Insight | None = None


def find_decisions(path: Path, event_id: str) -> list[Prediction]:
    """Find the decisions about an event; the file is read line by line.

    Parameters
    ----------
    path
        As ``stream-al replay --decisions`` writes it; plain, ``.gz`` or ``.zst``.
    event_id
        The user's id, which may be that of several events; where no event has it,
        ``topic:partition:offset``, or an offset that stands in one partition only.

    Returns
    -------
    list of Prediction
        At least one, in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, one of its lines is no decision, or none is found.
    """
    with lines_of(path, str(path)) as lines:
        return pick_decisions(lines, event_id, str(path), "`replay --decisions`")


def pick_decisions(
    rows: Iterable[bytes], event_id: str, name: str, writer: str
) -> list[Prediction]:
    """Pick the decisions about an event, as `find_decisions` does, from rows of any origin.

    Parameters
    ----------
    rows
        Decisions as JSON.
    event_id
        As of `find_decisions`.
    name, writer
        Where they stand and what wrote them, for errors.

    Raises
    ------
    InputError
        As `find_decisions`.
    """
    last = event_id.rpartition(":")[2]
    offset = int(last) if last.isascii() and last.isdigit() else None
    by_id: list[Prediction] = []
    by_place: list[Prediction] = []
    first: _Row | None = None
    for number, line in enumerate(rows, 1):
        try:
            row = _decode_row(line)
            if row.id == event_id:
                by_id.append(_decode_decision(line))
            elif row.offset == offset and event_id in (str(offset), request_id(*_place(row))):
                by_place.append(_decode_decision(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(
                f"no decision ({error}); expected one that {writer} wrote",
                name,
                number,
            ) from error
        first = first or row
    found = by_id or by_place
    places = dict.fromkeys(request_id(*_place(decision)) for decision in by_place)
    if not by_id and len(places) > 1:
        raise InputError(
            f"offset {event_id} stands in {len(places)} partitions; expected one of "
            f"{_some(places)}",
            name,
        )
    if first is None:
        raise InputError(f"empty; expected the decisions that {writer} wrote", name)
    if not found:
        place = f"topic:partition:offset such as {request_id(*_place(first))!r}"
        expected = (
            f"an id such as {first.id!r}, or {place}"
            if first.id
            else f"{place}, for these events have no ids of their own"
        )
        raise InputError(f"holds no event {event_id!r}; expected {expected}", name)
    return found


def explain(
    decisions: Sequence[Prediction],
    recording: Recording | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Explanation]:
    """Complete decisions by the features that weighed most.

    Parameters
    ----------
    decisions
        As found by `find_decisions`.
    recording
        Where to recompute what decisions that asked for nothing do not keep; None: leave it out.
    progress
        Told of the number of training records that were folded.

    Returns
    -------
    list of Explanation
        One for each decision, in their order.

    Raises
    ------
    InputError
        If stream or training log cannot be read, or are not those of the decisions.
    ConfigError
        If the log is folded in another way than this version and its river do.
    """
    explanations = [
        Explanation(decision=decision, weighed=decision.weighed, features=None)
        for decision in decisions
    ]
    return explanations if recording is None else _recompute(decisions, recording, progress)


def _recompute(
    decisions: Sequence[Prediction],
    recording: Recording,
    progress: Callable[[int], object] | None,
) -> list[Explanation]:
    """Read the events' features and weigh them with the models that decided about them."""
    name = str(recording.training)
    with lines_of(recording.training, name) as lines:
        config, _ = recorded_config(lines, name)
    features = _read_features({_place(decision) for decision in decisions}, recording, config)
    core = Core(config)
    found: dict[int, Explanation] = {}
    with lines_of(recording.training, name) as lines:
        records = enumerate(lines)
        # A later model is a longer fold of the same log, so one pass serves all.
        for i in sorted(range(len(decisions)), key=lambda i: decisions[i].model_version):
            decision = decisions[i]
            _fold(core, records, decision.model_version, name, progress)
            x = features[_place(decision)]
            weighed = _weigh(core, decision, x, recording)
            insight = core.fold.monitor.insight()
            found[i] = Explanation(decision=decision, weighed=weighed, features=x, insight=insight)
    return [found[i] for i in range(len(decisions))]


def _read_features(
    wanted: set[Place], recording: Recording, config: Config
) -> dict[Place, Features]:
    """Read the stream until all of the events are found."""
    source = open_source(
        recording.source, config.source, config.learner.classes, config.replay.limit
    )
    missing = set(wanted)
    found = {}
    for row in source.rows():
        place = _place(row.event)
        if place in missing:
            found[place] = row.event.features
            missing.remove(place)
            if not missing:
                return found
    raise InputError(
        f"holds no event {request_id(*min(missing))}; expected the stream that was played",
        source.name,
    )


def _fold(
    core: Core,
    records: Iterator[tuple[int, bytes]],
    version: int,
    name: str,
    progress: Callable[[int], object] | None,
) -> None:
    """Fold the log up to a model version."""
    while core.fold.next_offset < version:
        offset, line = next(records, (core.fold.next_offset, b""))
        try:
            record = decode_line(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            cut = "the log ends here" if not line else f"no training record ({error})"
            raise InputError(f"{cut}; expected {version} records", name, offset + 1) from error
        if isinstance(record, End):
            raise InputError(f"ends here; expected {version} records", name, offset + 1)
        core.fold.take(offset, line.removesuffix(b"\n"), record)
        if progress is not None:
            progress(1)


def _weigh(
    core: Core, decision: Prediction, features: Features, recording: Recording
) -> dict[str, float]:
    """Weigh features, having seen that the model and its probabilities are those recorded."""
    model, learner = core.model, core.fold.learner
    if (model.fold_id, model.digest) != (decision.fold_id, decision.digest):
        raise InputError(
            f"its first {decision.model_version} records make the model {model.digest}, while the "
            f"decision was made by {decision.digest}; expected the training log of that replay",
            str(recording.training),
        )
    probabilities = learner.predict_one(features)
    recorded = decision.probabilities
    if probabilities.keys() != recorded.keys() or any(
        abs(probabilities[name] - p) > _TOLERANCE for name, p in recorded.items()
    ):
        raise InputError(
            f"event {request_id(*_place(decision))} has other probabilities than were recorded; "
            "expected the stream that was played",
            recording.source,
        )
    return learner.weigh_one(features, decision.prediction) if decision.prediction else {}


def _some(names: Iterable[str]) -> str:
    """List the first few of many names."""
    first = list(itertools.islice(names, _NAMED + 1))
    return ", ".join([*first[:_NAMED], "…"] if len(first) > _NAMED else first)


def _place(record: _Row | Event | Prediction) -> Place:
    return record.topic, record.partition, record.offset
