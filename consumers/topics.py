"""The topics' names, and what each has to be like."""

from __future__ import annotations

import msgspec

from consumers.log import TopicSpec
from stream_al.config import LogConfig

__all__ = ["Topics", "dead_letters_of", "specs"]

_SMALL_SEGMENT = str(16 * 1024 * 1024)
_WEEK_MS = str(7 * 24 * 3600 * 1000)


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """Names of all topics.

    Examples
    --------
    >>> Topics.of(LogConfig(name="fraud", events="payments")).label_requests
    'fraud.label-requests'
    """

    events: str
    predictions: str
    label_requests: str
    labels: str
    training: str
    gate_state: str
    ledger_state: str
    annotator_state: str

    @classmethod
    def of(cls, config: LogConfig) -> Topics:
        """Name them as is configured."""
        name = config.name
        return cls(
            events=config.events,
            predictions=f"{name}.predictions",
            label_requests=f"{name}.label-requests",
            labels=f"{name}.labels",
            training=f"{name}.training",
            gate_state=f"{name}.gate-state",
            ledger_state=f"{name}.ledger-state",
            annotator_state=f"{name}.annotator-state",
        )


def dead_letters_of(config: LogConfig, topic: str) -> str:
    """Name the topic for what could not be used of a topic.

    Examples
    --------
    >>> dead_letters_of(LogConfig(name="fraud"), "payments")
    'fraud.dlq.payments'
    """
    return f"{config.name}.dlq.{topic}"


def specs(config: LogConfig) -> tuple[TopicSpec, ...]:
    """List the topics as they have to be, the user's own first.

    The training log is kept for ever and never compacted. States are compacted; the gate's keeps
    what is younger than a week, so that verification can start at an old state. Dead letters may
    be larger than what they are about.
    """
    topics, partitions = Topics.of(config), config.partitions
    limit = {"max.message.bytes": str(config.max_record_bytes + 1024)}
    for_letters = {"max.message.bytes": str(config.max_record_bytes + 64 * 1024 + 1024)}
    state = {
        "cleanup.policy": "compact",
        "segment.bytes": _SMALL_SEGMENT,
        "min.cleanable.dirty.ratio": "0.1",
        **limit,
    }
    events = TopicSpec(topics.events, partitions, limit)
    return (
        events,
        TopicSpec(topics.predictions, partitions, limit),
        TopicSpec(topics.label_requests, partitions, limit),
        TopicSpec(topics.labels, partitions, limit),
        TopicSpec(topics.training, 1, {"retention.ms": "-1", "retention.bytes": "-1", **limit}),
        TopicSpec(topics.gate_state, partitions, {**state, "min.compaction.lag.ms": _WEEK_MS}),
        TopicSpec(topics.ledger_state, partitions, state),
        TopicSpec(topics.annotator_state, partitions, state),
        *(
            TopicSpec(dead_letters_of(config, topic), 1, for_letters)
            for topic in (topics.events, topics.label_requests, topics.labels)
        ),
    )
