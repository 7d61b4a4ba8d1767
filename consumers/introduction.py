"""The record with which a configuration enters the training log."""

from __future__ import annotations

import msgspec

from consumers.log import Out
from consumers.topics import Topics
from stream_al.config import Config
from stream_al.learner.fold import fingerprint, fold_id
from stream_al.records import encode
from stream_al.training import Configured

__all__ = ["configured"]


def configured(config: Config) -> Out:
    """Return the ``configured`` record of a configuration."""
    record = Configured(
        fold_id=fold_id(config.learner),
        config=msgspec.to_builtins(config),
        fingerprint=fingerprint(),
    )
    return Out(Topics.of(config.log).training, encode(record), b"configured", (), 0)
