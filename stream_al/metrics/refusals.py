"""Why a record becomes a dead letter: by role, stage and reason, all that there are."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

__all__ = ["KINDS", "REFUSALS", "Kind"]

Kind: TypeAlias = Literal[
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
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What can be wrong with a message, whoever reads it."""

_STAGES = {
    ("gate", "message"): KINDS,
    ("gate", "decide"): ("features", "model"),
    ("ledger", "request"): ("unreadable", "not-opened"),
    ("ledger", "label"): (*KINDS, "refused", "conflicting", "unknown"),
    ("annotator", "annotate"): ("unknown",),
}

REFUSALS: tuple[tuple[str, str, str], ...] = tuple(
    (role, stage, reason) for (role, stage), reasons in _STAGES.items() for reason in reasons
)
"""Role, stage and reason of every dead letter."""
