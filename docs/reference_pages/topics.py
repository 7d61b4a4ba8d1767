"""The page of the topics: what each has to be like, who writes it and who reads it."""

from __future__ import annotations

from collections.abc import Mapping

from consumers.topics import Topics, dead_letters_of, specs
from reference_pages.markdown import table
from stream_al.config import LogConfig

__all__ = ["KNOWN", "topics_page"]

CONFIG = LogConfig(name="NAME", events="EVENTS", partitions=8)
_OURS = Topics.of(CONFIG)

KNOWN: Mapping[str, tuple[str, str, str]] = {
    _OURS.events: ("your events", "you", "gate"),
    _OURS.predictions: ("one prediction for each event", "gate", "your pipeline"),
    _OURS.label_requests: (
        "questions, their last words, gold cases",
        "gate, ledger",
        "ledger, your review tool",
    ),
    _OURS.labels: ("answers, and labels that nobody asked for", "your review tool", "ledger"),
    _OURS.training: (
        "what the model is folded from",
        "gate, ledger, `pause`, `resume`, `boost`, `refold`; **nobody else**",
        "gate",
    ),
    _OURS.gate_state: ("each partition's gate, by partition", "gate", "gate"),
    _OURS.ledger_state: ("requests, by id", "ledger", "ledger"),
    _OURS.annotator_state: ("rehearsals only", "annotator", "annotator"),
    dead_letters_of(CONFIG, _OURS.events): ("events that could not be used", "gate", "you"),
    dead_letters_of(CONFIG, _OURS.label_requests): (
        "requests that could not be used",
        "ledger, annotator",
        "you",
    ),
    dead_letters_of(CONFIG, _OURS.labels): ("answers that could not be used", "ledger", "you"),
}
"""Topic to what stands in it, who writes it and who reads it."""

_TEXT = """# Topics

Names begin with `log.name` (*NAME* here); *EVENTS* is `log.events`, your own. `stream-al doctor
--fix` creates all that are missing, as they stand here with `log.partitions = 8`; where a topic of
events is there already, it follows that one's partitions.

{topics}

Label requests and labels may have any number of partitions, the same for both, which is never
changed; requests wait there for as long as people take, so keep both for longer than
`ledger.expire_after_s`. How long predictions and dead letters are kept is yours to choose. The
training log is [what to back up](../how-to/backup.md).

## What is created

{settings}

## Rights

On Kafka, whoever runs a role needs to read and write what the table says. Beside that:

- the gate writes `NAME.dlq.EVENTS`, the ledger `NAME.dlq.NAME.*`;
- groups `NAME.gate`, `NAME.ledger` and, for rehearsals, `NAME.annotator`; transactional ids that
  begin alike;
- `doctor` looks at topics, groups, transactions and the cluster's settings; with `--fix` it creates
  topics and adds partitions.

Give nobody else the right to write `NAME.training`: it is the model. `tail`, `verify` and `audit`
only read.
"""


def topics_page() -> str:
    """Write the page."""
    wanted = specs(CONFIG)
    rows = [
        (f"`{spec.name}`", KNOWN[spec.name][0], str(spec.partitions), *KNOWN[spec.name][1:])
        for spec in wanted
    ]
    settings = [
        (f"`{spec.name}`", ", ".join(f"`{name}={value}`" for name, value in spec.settings.items()))
        for spec in wanted
        if spec.name != _OURS.events
    ]
    return _TEXT.format(
        topics=table(("topic", "what stands in it", "partitions", "written by", "read by"), rows),
        settings=table(("topic", "settings"), settings),
    )
