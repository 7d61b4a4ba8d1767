"""Stream-based selective sampling: ask for the labels that matter, learn online, prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    ReplayConfig,
    SourceConfig,
)
from stream_al.errors import ConfigError, InputError, ModelError, SnapshotError, StreamAlError
from stream_al.records import Decision, Event, Label, LabelRequest, Prediction

if TYPE_CHECKING:
    from stream_al.engine import Engine

__all__ = [
    "AnnotatorConfig",
    "Config",
    "ConfigError",
    "Decision",
    "Engine",
    "Event",
    "GateConfig",
    "InputError",
    "Label",
    "LabelRequest",
    "LearnerConfig",
    "ModelError",
    "Prediction",
    "ReplayConfig",
    "SnapshotError",
    "SourceConfig",
    "StreamAlError",
]


def __getattr__(name: str) -> object:
    """Import the engine, and with it river, on first use: a command line starts without."""
    if name == "Engine":
        from stream_al.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
