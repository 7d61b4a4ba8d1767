"""The configuration: one frozen object, checked as a whole before anything starts.

Defaults live here and nowhere else. Units are in the names. Where values come from (file,
environment, flags) is the command line's business; see `stream_al.cli.settings`.
"""

from __future__ import annotations

from stream_al.config.live import (
    LedgerConfig,
    LogConfig,
    LoopConfig,
    MessageConfig,
    SecurityConfig,
    ServeConfig,
)
from stream_al.config.sections import (
    AnnotatorConfig,
    GateConfig,
    LearnerConfig,
    ReplayConfig,
    SourceConfig,
)
from stream_al.config.whole import Config, content_hash, problems, validate

__all__ = [
    "AnnotatorConfig",
    "Config",
    "GateConfig",
    "LearnerConfig",
    "LedgerConfig",
    "LogConfig",
    "LoopConfig",
    "MessageConfig",
    "ReplayConfig",
    "SecurityConfig",
    "ServeConfig",
    "SourceConfig",
    "content_hash",
    "problems",
    "validate",
]
