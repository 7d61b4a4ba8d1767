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
    PolicyName,
    ReplayConfig,
    ScoreName,
    SourceConfig,
    StopName,
)
from stream_al.config.whole import Config, content_hash, decision_hash, problems, validate

__all__ = [
    "AnnotatorConfig",
    "Config",
    "GateConfig",
    "LearnerConfig",
    "LedgerConfig",
    "LogConfig",
    "LoopConfig",
    "MessageConfig",
    "PolicyName",
    "ReplayConfig",
    "ScoreName",
    "SecurityConfig",
    "ServeConfig",
    "SourceConfig",
    "StopName",
    "content_hash",
    "decision_hash",
    "problems",
    "validate",
]
