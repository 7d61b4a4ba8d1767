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
from stream_al.learner.fold import Fold, fingerprint, fold_id

__all__ = ["load", "restore", "save"]

_FORMAT = 1

Log = Callable[[int], Iterable[tuple[int, bytes]]]
"""Opens the training log at an offset: offsets and bytes from there on."""


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
    """Return the fold that a snapshot holds, where it fits this log; else an empty one.

    The last record that the snapshot took in has to stand in the log where it stood: so a snapshot
    of another log is found out without reading the log from its start.

    Returns
    -------
    fold
        At ``fold.next_offset``; the rest of the log is still to be taken in.
    refusal
        Why the snapshot was not used; None where it was.
    """
    try:
        fold = load(path, config)
        found = next(iter(log(fold.next_offset - 1)), None) if fold.next_offset else None
        if fold.next_offset and found != (fold.next_offset - 1, fold.last):
            raise SnapshotError(
                f"{path}: its last record, offset {fold.next_offset - 1}, is not in the log: it "
                "is of another log, or the log was changed or cut"
            )
    except SnapshotError as error:
        return Fold(config), error
    return fold, None
