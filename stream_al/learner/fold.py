"""The fold: a learner, moved by the records of one totally ordered training log."""

from __future__ import annotations

import hashlib
import json
import platform
import sys

import msgspec
import numpy as np
import river

from stream_al.config import LearnerConfig, content_hash, decision_hash
from stream_al.errors import ConfigError, InputError, ModelError, StreamAlError
from stream_al.learner.committee import Committee
from stream_al.learner.monitor import Monitor
from stream_al.records import ModelStamp, Observed, encode
from stream_al.training import (
    Closed,
    Configured,
    Control,
    Flagged,
    Gold,
    Labelled,
    TrainingRecord,
    Unsolicited,
    Voided,
)
from stream_al.voiding import left_of

__all__ = [
    "FOLD_CODE",
    "Fold",
    "Refold",
    "RunningDigest",
    "fingerprint",
    "fold_id",
    "require_same_fold",
]

FOLD_CODE = 2
"""Version of everything that turns records into a model; a change of any of it changes this."""


def fold_id(config: LearnerConfig) -> str:
    """Name a way of folding: hash of learner configuration, fold-code version, river version.

    Examples
    --------
    >>> fold_id(LearnerConfig()) != fold_id(LearnerConfig(draws=5))
    True
    """
    text = f"{content_hash(config)} {FOLD_CODE} {river.__version__}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def require_same_fold(record: Configured, config: LearnerConfig) -> None:
    """See that a log is folded as a configuration folds.

    Raises
    ------
    ConfigError
        If it is not; names what differs.
    """
    mine = fold_id(config)
    if record.fold_id == mine:
        return
    there, here = record.config.get("learner", {}), msgspec.to_builtins(config)
    pairs = [(name, json.dumps(there.get(name)), json.dumps(value)) for name, value in here.items()]
    differ = [
        f"learner.{name} is {one} there and {two} here" for name, one, two in pairs if one != two
    ]
    if (river_there := record.fingerprint.get("river")) != river.__version__:
        differ.append(f"river is {river_there} there and {river.__version__} here")
    raise ConfigError(
        f"the training log is folded as {record.fold_id}, this configuration as {mine} "
        f"({'; '.join(differ) or 'the code that folds is of another version'}): use what the log "
        "was made with, or start a new log by another log.name"
    )


def fingerprint() -> dict[str, str]:
    """Name what bit-identity of numbers depends on."""
    return {
        "python": ".".join(map(str, sys.version_info[:2])),
        "river": river.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


class RunningDigest:
    """Digest of a log's data records, one after another.

    Examples
    --------
    >>> one, other = RunningDigest("f"), RunningDigest("f")
    >>> one.add(1, b"a"), other.add(2, b"a")
    (None, None)
    >>> one.text == other.text
    False
    """

    def __init__(self, name: str) -> None:
        self._state = hashlib.blake2b(name.encode(), digest_size=8).digest()

    def add(self, offset: int, raw: bytes) -> None:
        """Take in one record's bytes as they stand in the log."""
        self._state = hashlib.blake2b(
            self._state + offset.to_bytes(8, "big") + raw, digest_size=8
        ).digest()

    @property
    def text(self) -> str:
        """The digest, 16 hexadecimal digits."""
        return self._state.hex()


class Refold(Exception):  # noqa: N818 - no error: it is asked for
    """The log says that some of it does not count: it is to be folded again from its start.

    Attributes
    ----------
    fold
        An empty one that knows.
    """

    def __init__(self, fold: Fold) -> None:
        super().__init__("records before are not to count")
        self.fold = fold


class Fold:
    """The model as of one point of the training log.

    Two folds that have taken in the same records hold the same model.

    Parameters
    ----------
    config
        Validated configuration.
    voided
        What later records of the log say not to count, with their offsets.

    Attributes
    ----------
    learner
        Predicts, and learns nothing from it.
    next_offset
        Offset after the last record taken in.
    stamp
        Names the model: `ModelStamp.version` is the offset of the last *data* record + 1.
    last
        Bytes of the last record taken in.
    monitor
        Estimates how right the predictions are, and looks for drift.
    control
        What an operator told last; None: nothing yet.
    configured
        Hashes, by `decision_hash`, of the configurations that the log has recorded.
    """

    def __init__(self, config: LearnerConfig, voided: tuple[tuple[int, Voided], ...] = ()) -> None:
        self.config = config
        self._voided = voided
        self.learner = Committee(config)
        self.monitor = Monitor(config)
        self._digest = RunningDigest(fold_id(config))
        self.next_offset = 0
        self.last = b""
        self.control: Control | None = None
        self.configured: set[str] = set()
        self.stamp = ModelStamp(fold_id(config), 0, self._digest.text)

    def take(self, offset: int, raw: bytes, record: TrainingRecord) -> None:
        """Take in one record.

        Parameters
        ----------
        offset
            Its place in the log, above that of every record taken in before.
        raw
            Its bytes as they stand in the log.
        record
            The same, decoded.

        Raises
        ------
        InputError
            If the offset does not grow, or data come before the first ``configured`` record.
        ConfigError
            If the log is to be folded in another way than this configuration's.
        Refold
            If records before it are not to count: this fold is not to be used any more.
        ModelError
            If the user's own model raises something; the fold is not to be used any more.
        """
        if offset < self.next_offset:
            raise InputError(
                f"training log goes back: offset {offset} after {self.next_offset - 1}"
            )
        if isinstance(record, Configured):
            require_same_fold(record, self.config)
            self.configured.add(decision_hash(record.config))
            self.next_offset, self.last = offset + 1, raw
            return
        if not self.next_offset:
            raise InputError(
                f"training log starts with a {type(record).__name__.lower()!r} record, "
                "expected 'configured'"
            )
        if isinstance(record, Voided) and (offset, record) not in self._voided:
            raise Refold(Fold(self.config, (*self._voided, (offset, record))))
        counted, said = self._counted(offset, record, raw)
        if counted is not None:
            try:
                self._take(offset, counted)
            except StreamAlError:
                raise
            # A user's model may raise anything at all; what else raises is ours to mend.
            except Exception as error:
                if not self.learner.own:
                    raise
                raise ModelError(
                    f"model {self.learner.own!r} cannot learn from the training log's record "
                    f"{offset}: {type(error).__name__}: {error}"
                ) from error
        self._digest.add(offset, said)
        self.next_offset, self.last = offset + 1, raw
        self.stamp = ModelStamp(self.stamp.fold_id, offset + 1, self._digest.text)

    def _counted(
        self, offset: int, record: TrainingRecord, raw: bytes
    ) -> tuple[TrainingRecord | None, bytes]:
        """Return as much of a record as counts, and its bytes."""
        left = left_of(record, offset, self._voided)
        if left is record:
            return record, raw
        return left, b"" if left is None else encode(left)

    def _take(self, offset: int, record: TrainingRecord) -> None:
        if isinstance(record, Observed):
            said = self.learner.predict_one(record.features)
            self.monitor.observe(record, offset, said)
            self.learner.observe_one(record.features)
        elif isinstance(record, Labelled):
            drifted = self.monitor.take(record, offset, self.learner)
            if drifted and self.config.on_drift == "forget":
                self.learner.forget()
            if record.was is not None:
                self.learner.forget_one(record.request_id)
            self.learner.learn_one(
                record.features,
                record.label,
                record.weight,
                offset,
                record.request_id,
                # What calibrates the committee is to count once.
                explored=record.explored and record.was is None,
            )
        elif isinstance(record, Closed):
            if record.was is not None:
                self.learner.forget_one(record.request_id)
            self.monitor.take(record, offset, self.learner)
        elif isinstance(record, Unsolicited):
            self.learner.learn_one(record.features, record.label, 1.0, offset)
        elif isinstance(record, Gold):
            self.monitor.take_gold(record)
        elif isinstance(record, Control):
            self.control = record
        elif not isinstance(record, Flagged | Voided):
            raise TypeError(f"no training record: {type(record).__name__}")
