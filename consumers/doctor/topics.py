"""What topics have to be like, what is wrong with them, and what can be mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from consumers.doctor.facts import Finding, Group, Topic
from consumers.log import Bounds, TopicSpec
from consumers.topics import Topics, dead_letters_of, specs
from stream_al.config import LogConfig
from stream_al.counted import counted

__all__ = [
    "Advice",
    "extensions",
    "judge_access",
    "judge_settings",
    "judge_topics",
    "judge_training",
    "missing",
    "wanted",
]

Advice = Callable[[str, str, str], str]
"""How a topic's setting is changed, given topic, setting and value."""

_FIX = "`stream-al doctor --fix` creates what is missing"


def wanted(config: LogConfig, topics: Mapping[str, Topic]) -> tuple[TopicSpec, ...]:
    """List the topics as they have to be beside those that are there.

    Predictions and the gate's state have a partition for each of the events', requests and labels
    as many as each other, the states of their readers as many as these.

    Examples
    --------
    >>> found = wanted(LogConfig(name="fraud"), {"events": Topic(12)})
    >>> {spec.name: spec.partitions for spec in found if spec.partitions > 1}
    {'events': 12, 'fraud.predictions': 12, 'fraud.gate-state': 12}
    """
    names = Topics.of(config)

    def count(*topic: str) -> int:
        there = (topics[name].partitions for name in topic if name in topics)
        return next(there, config.partitions)

    # More where that is configured: who adds partitions to the events adds them here first.
    by_event = max(count(names.events), config.partitions)
    by_request = count(names.label_requests, names.labels)
    counts = {
        names.events: count(names.events),
        names.predictions: by_event,
        names.gate_state: by_event,
        names.label_requests: by_request,
        names.labels: by_request,
        names.ledger_state: by_request,
        names.annotator_state: by_request,
    }
    return tuple(
        msgspec.structs.replace(spec, partitions=counts.get(spec.name, spec.partitions))
        for spec in specs(config)
    )


def missing(config: LogConfig, topics: Mapping[str, Topic]) -> list[TopicSpec]:
    """List the topics to be created."""
    return [spec for spec in wanted(config, topics) if spec.name not in topics]


def extensions(config: LogConfig, topics: Mapping[str, Topic]) -> dict[str, int]:
    """Tell which topics need how many partitions, states first.

    Only topics whose partitions are chosen by number: where keys choose, adding moves keys.

    Examples
    --------
    >>> there = {spec.name: Topic(spec.partitions) for spec in specs(LogConfig(name="fraud"))}
    >>> extensions(LogConfig(name="fraud"), there | {"events": Topic(3)})
    {'fraud.gate-state': 3, 'fraud.predictions': 3}
    """
    names = Topics.of(config)
    order = (names.gate_state, names.ledger_state, names.annotator_state, names.predictions)
    counts = {spec.name: spec.partitions for spec in wanted(config, topics)}
    return {
        name: counts[name]
        for name in order
        if name in topics and topics[name].partitions < counts[name]
    }


def judge_topics(
    config: LogConfig, topics: Mapping[str, Topic], brokers: int, denied: Sequence[str] = ()
) -> list[Finding]:
    """Judge which topics there are, with how many partitions, and whether they are served.

    Parameters
    ----------
    denied
        Topics that may not be looked at; they may well be there.
    """
    # Only rehearsals have an annotator of ours.
    spare = Topics.of(config).annotator_state
    lacking = [spec.name for spec in missing(config, topics) if spec.name not in denied]
    found: list[Finding] = []
    if needed := [name for name in lacking if name != spare]:
        found.append(Finding("topics", "error", f"missing: {', '.join(needed)}", _FIX))
    if spare in lacking:
        found.append(Finding("topics", "warn", f"missing, for `run annotator`: {spare}", _FIX))
    found += _judge_counts(config, topics)
    for spec in specs(config):
        topic = topics.get(spec.name)
        if topic is None:
            continue
        if topic.leaderless:
            which = ", ".join(map(str, topic.leaderless))
            what = f"{spec.name!r}: nobody serves partition {which}"
            found.append(Finding("topics", "error", what, "bring the brokers that hold it back"))
        if topic.replicas == 1 and brokers > 1:
            what = f"{spec.name!r} has no copy: a broker's loss loses it"
            do = "raise its replication factor with kafka-reassign-partitions.sh"
            found.append(Finding("topics", "warn", what, do))
    there = sum(spec.name in topics for spec in specs(config))
    if found or denied:
        return found
    return [Finding("topics", "ok", f"all {there} are there, partitioned as they must be")]


def _judge_counts(config: LogConfig, topics: Mapping[str, Topic]) -> list[Finding]:
    names = Topics.of(config)
    found = [
        Finding(
            "partitions",
            "error",
            f"{name!r} has {counted(topics[name].partitions, 'partition')} and needs {count}",
            "`stream-al doctor --fix` adds them",
        )
        for name, count in extensions(config, topics).items()
    ]
    there = {name: topic.partitions for name, topic in topics.items()}
    if there.get(names.training, 1) != 1:
        what = f"{names.training!r} has {there[names.training]} partitions: there is no one order"
        do = "begin anew under another log.name, whose training log --fix creates with one"
        found.append(Finding("partitions", "error", what, do))
    requests, labels = there.get(names.label_requests), there.get(names.labels)
    if requests is not None and labels is not None and requests != labels:
        what = (
            f"{names.label_requests!r} has {counted(requests, 'partition')}, "
            f"{names.labels!r} {labels}: a label does not meet its request"
        )
        do = "stop gates and ledgers, delete the labels' topic, and create it with --fix"
        found.append(Finding("partitions", "error", what, do))
    if there.get(names.events, config.partitions) < config.partitions:
        has = counted(there[names.events], "partition")
        what = f"{names.events!r} has {has}, not {config.partitions}"
        do = (
            "to grow, add partitions to it once states and predictions have them; "
            f"else set log.partitions = {there[names.events]}"
        )
        found.append(Finding("partitions", "warn", what, do))
    return found


def judge_settings(config: LogConfig, topics: Mapping[str, Topic], advice: Advice) -> list[Finding]:
    """Judge retention, compaction and limits."""
    names = Topics.of(config)
    found: list[Finding] = []
    unread: list[str] = []
    states = {names.gate_state, names.ledger_state, names.annotator_state}
    theirs = {names.events, names.labels}
    for spec in specs(config):
        topic = topics.get(spec.name)
        if topic is None:
            continue
        if not topic.settings:
            unread.append(spec.name)
            continue
        needed = {}
        if spec.name == names.training:
            needed = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
        elif spec.name in states:
            needed = {"cleanup.policy": "compact"}
        for key, value in needed.items():
            if topic.settings.get(key, value) != value:
                what = f"{spec.name!r} has {key}={topic.settings[key]}: what is needed is lost"
                do = advice(spec.name, key, value)
                found.append(Finding("retention", "error", what, do))
        limit, room = (
            int(spec.settings["max.message.bytes"]),
            topic.settings.get("max.message.bytes"),
        )
        if spec.name not in theirs and room is not None and int(room) < limit:
            what = f"{spec.name!r} takes records of {room} bytes, and {limit} may come"
            do = advice(spec.name, "max.message.bytes", str(limit))
            found.append(Finding("limits", "error", what, do))
        if topic.settings.get("unclean.leader.election.enable") == "true":
            what = f"{spec.name!r} may lose committed records when a broker fails"
            do = advice(spec.name, "unclean.leader.election.enable", "false")
            found.append(Finding("retention", "warn", what, do))
    found += _judge_lags(names, topics, advice)
    if unread:
        what = f"settings of {', '.join(unread)} may not be read"
        do = "grant DESCRIBE_CONFIGS on them, or see for yourself"
        found.append(Finding("retention", "warn", what, do))
    if found or not topics:
        return found
    return [Finding("retention", "ok", "retention, compaction and limits are as needed")]


def _judge_lags(names: Topics, topics: Mapping[str, Topic], advice: Advice) -> list[Finding]:
    """See that old states are kept as long as their events: verification starts at one."""
    kept = _setting(topics, names.events, "retention.ms")
    lag = _setting(topics, names.gate_state, "min.compaction.lag.ms")
    if kept is None or lag is None or kept < 0 or lag >= kept:
        return []
    what = (
        f"{names.gate_state!r} is compacted after {_days(lag)}, and events are kept for "
        f"{_days(kept)}: older ones cannot be verified on their own"
    )
    do = advice(names.gate_state, "min.compaction.lag.ms", str(kept))
    return [Finding("retention", "warn", what, do)]


def _setting(topics: Mapping[str, Topic], topic: str, key: str) -> int | None:
    found = topics.get(topic, Topic(0)).settings.get(key)
    return None if found is None else int(found)


def _days(milliseconds: int) -> str:
    return f"{milliseconds / 86_400_000:.3g} days"


def judge_training(
    config: LogConfig, topics: Mapping[str, Topic], bounds: Bounds | None
) -> list[Finding]:
    """Judge whether the training log is whole; `bounds` None where they are not known."""
    name = Topics.of(config).training
    if name not in topics or bounds is None:
        return []
    if bounds.beginning > 0:
        what = f"{name!r} begins at offset {bounds.beginning}: the fold cannot be recomputed"
        do = (
            "see what deleted its records (retention, somebody); gates go on from snapshots that "
            "are later, else begin anew under another log.name"
        )
        return [Finding("training log", "error", what, do)]
    if not bounds.end:
        return [Finding("training log", "ok", f"{name!r} is empty: no gate has run yet")]
    return [Finding("training log", "ok", f"{name!r} is whole, {counted(bounds.end, 'offset')}")]


def judge_access(
    config: LogConfig,
    topics: Mapping[str, Topic],
    groups: Mapping[str, Group],
    denied: Sequence[str],
) -> list[Finding]:
    """Judge what this user may do, as far as brokers tell; the annotator's rights do not count."""
    names = Topics.of(config)
    read, write = frozenset({"READ"}), frozenset({"WRITE"})
    needed = {
        names.events: read,
        names.labels: read,
        names.predictions: write,
        names.label_requests: read | write,
        names.training: read | write,
        names.gate_state: read | write,
        names.ledger_state: read | write,
    }
    for name in (names.events, names.label_requests, names.labels):
        needed[dead_letters_of(config, name)] = write
    found = []
    told = False
    if refused := [name for name in needed if name in denied]:
        what = f"may not be described: {', '.join(refused)}"
        ours = f"all that begins with '{config.name}.'"
        do = f"grant READ on {names.events!r}, READ and WRITE on {ours}"
        found.append(Finding("access", "error", what, do))
    for name, operations in needed.items():
        topic = topics.get(name)
        if topic is not None and topic.operations is not None:
            told = True
            found += _lacking(f"topic {name!r}", operations - topic.operations)
    for role in ("gate", "ledger"):
        group = groups.get(role)
        if group is not None and group.operations is not None:
            told = True
            found += _lacking(f"group '{config.name}.{role}'", read - group.operations)
    if found:
        return found
    if not told:
        return [Finding("access", "ok", "brokers do not tell what this user may do")]
    what = "this user may do what all roles need; transactional ids tell nothing unless used"
    return [Finding("access", "ok", what)]


def _lacking(where: str, operations: Iterable[str]) -> list[Finding]:
    names = " and ".join(sorted(operations))
    if not names:
        return []
    return [Finding("access", "error", f"no {names} on {where}", f"grant {names} on {where}")]
