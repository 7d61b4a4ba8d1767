"""A fold kept in a local file, so that a restart need not fold the whole log.

A snapshot holds pickled models: it is for the process that wrote it, on the disk that it wrote it
to. It never travels, and what does not fit is refused before anything in it is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from stream_al.config import LearnerConfig
from stream_al.errors import SnapshotError
from stream_al.learner.fold import Fold, RunningDigest, fingerprint, fold_id
from stream_al.records import Configured, decode_training

__all__ = ["load", "restore", "save"]

_FORMAT = 1

Log = Callable[[], Iterable[tuple[int, bytes]]]
"""Opens the training log from its start: offsets and bytes."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    fold_id: str
    fingerprint: dict[str, str]
    next_offset: int
    digest: str
    size: int
    checksum: str


def save(fold: Fold, path: Path) -> None:
    """Write a snapshot, whole or not at all; readable by its owner only."""
    body = pickle.dumps(fold, protocol=5)
    header = _Header(
        format=_FORMAT,
        fold_id=fold.stamp.fold_id,
        fingerprint=fingerprint(),
        next_offset=fold.next_offset,
        digest=fold.stamp.digest,
        size=len(body),
        checksum=hashlib.blake2b(body).hexdigest(),
    )
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(header) + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path, config: LearnerConfig) -> Fold:
    """Read a snapshot that this configuration and code wrote.

    Raises
    ------
    SnapshotError
        If the file is missing, damaged, of another format, or of another fold; with the reason.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from error
    head, _, body = content.partition(b"\n")
    try:
        header = msgspec.json.decode(head, type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{path}: format: no snapshot header ({error})") from error
    if header.format != _FORMAT:
        raise SnapshotError(f"{path}: format {header.format}, expected {_FORMAT}")
    if header.fold_id != fold_id(config):
        raise SnapshotError(
            f"{path}: fold_id {header.fold_id}, expected {fold_id(config)}: taken with another "
            "learner configuration or version"
        )
    if header.fingerprint != fingerprint():
        raise SnapshotError(
            f"{path}: taken with {header.fingerprint}, expected {fingerprint()}: numbers, and what "
            "was pickled, may differ"
        )
    if len(body) != header.size or hashlib.blake2b(body).hexdigest() != header.checksum:
        raise SnapshotError(
            f"{path}: damaged: {len(body)} bytes that do not match the {header.size} written"
        )
    fold = pickle.loads(body)  # noqa: S301 - our own local file, checked above
    if not isinstance(fold, Fold):
        raise SnapshotError(f"{path}: format: holds {type(fold).__name__}, expected a fold")
    if (fold.next_offset, fold.stamp.digest) != (header.next_offset, header.digest):
        raise SnapshotError(f"{path}: offset or digest of header and content differ")
    return fold


def restore(path: Path, config: LearnerConfig, log: Log) -> tuple[Fold, SnapshotError | None]:
    """Return the fold at the log's end, by the snapshot where it fits this log.

    The log's digest up to the snapshot is recomputed without learning anything, so a snapshot of
    another log, or of one that was cut or changed since, is found out.

    Returns
    -------
    fold
        As if folded from the log's start.
    refusal
        Why the snapshot was not used; None where it was.
    """
    try:
        fold = load(path, config)
        _check_against(fold, path, log)
    except SnapshotError as error:
        return _catch_up(Fold(config), log), error
    return _catch_up(fold, log), None


def _catch_up(fold: Fold, log: Log) -> Fold:
    done = fold.next_offset
    for offset, raw in log():
        if offset >= done:
            fold.take(offset, raw, decode_training(raw))
    return fold


def _check_against(fold: Fold, path: Path, log: Log) -> None:
    digest = RunningDigest(fold.stamp.fold_id)
    reached = 0
    for offset, raw in log():
        if offset >= fold.next_offset:
            break
        reached = offset + 1
        if not isinstance(decode_training(raw), Configured):
            digest.add(offset, raw)
    if reached != fold.next_offset:
        raise SnapshotError(
            f"{path}: offset {fold.next_offset} is not in the log, which reaches {reached} there"
        )
    if digest.text != fold.stamp.digest:
        raise SnapshotError(
            f"{path}: digest {fold.stamp.digest}, the log's is {digest.text} at offset {reached}"
        )
