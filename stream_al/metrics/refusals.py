"""Why a record becomes a dead letter: by role, stage and reason, all that there are."""

from __future__ import annotations

__all__ = ["MESSAGE", "REFUSALS"]

MESSAGE = (
    "empty",
    "too-large",
    "not-json",
    "not-utf8",
    "too-deep",
    "duplicate-name",
    "not-an-object",
    "missing-field",
    "wrong-type",
    "not-finite",
    "out-of-range",
    "numeric-text",
    "bad-time",
    "bad-cloudevent",
    "schema-version",
    "no-features",
)
"""What can be wrong with a message, whoever reads it."""

_STAGES = {
    ("gate", "message"): MESSAGE,
    ("gate", "decide"): ("features", "model"),
    ("ledger", "request"): ("unreadable", "not-opened"),
    ("ledger", "label"): (*MESSAGE, "refused", "conflicting", "unknown"),
    ("annotator", "annotate"): ("unknown",),
}

REFUSALS: tuple[tuple[str, str, str], ...] = tuple(
    (role, stage, reason) for (role, stage), reasons in _STAGES.items() for reason in reasons
)
"""Role, stage and reason of every dead letter."""
