"""A folder of finished runs, so that a comparison that was cut goes on where it was."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import msgspec

from stream_al._version import __version__
from stream_al.config import Config
from stream_al.learner.fold import FOLD_CODE, fingerprint
from stream_al.replay.runs import Run
from stream_al.replay.sources.files import failures

__all__ = ["RunStore", "SourceIdentity", "source_identity"]

SourceIdentity: TypeAlias = tuple[str | int, ...]
"""Absolute path, size in bytes and time of change in ns of a file; the name of a dataset."""

_FORMAT = 2
"""Version of the files; a change of `Run` or of what its numbers mean changes this."""


def source_identity(source: str) -> SourceIdentity:
    """Tell what makes two recorded streams the same without reading them.

    Parameters
    ----------
    source
        As for `stream_al.replay.sources.open_source`; not standard input.

    Raises
    ------
    InputError
        If a file is meant, and it cannot be looked at.

    Examples
    --------
    >>> source_identity("cards:3000:1")
    ('cards:3000:1',)
    """
    kind, colon, _ = source.partition(":")
    if kind == "cards" or (kind == "river" and colon):
        return (source,)
    with failures(source):
        path = Path(source).resolve(strict=True)
        found = path.stat()
    return (str(path), found.st_size, found.st_mtime_ns)


class _Identity(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run depends on, but for the code of a model that is not of this package."""

    source: SourceIdentity
    config: Config
    version: str = __version__
    fold_code: int = FOLD_CODE
    fingerprint: dict[str, str] = msgspec.field(default_factory=fingerprint)
    format: int = _FORMAT


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder."""

    identity: _Identity
    run: Run


_decode = msgspec.json.Decoder(_Kept).decode


class RunStore:
    """Keeps runs in a folder, one JSON file each, named by a hash of all that the run depends on.

    That is the source (a file by path, size and time of change), the whole configuration, the
    versions of this package, Python, river and numpy, and the kind of machine. The code behind a
    ``package.module:factory`` is not looked at: another folder is needed when it changes.

    A file is written beside its place and moved there when it is whole.

    Parameters
    ----------
    folder
        Made where missing.
    warn
        Told, in one line, of a file that cannot be used; `warnings.warn` by default.
    """

    def __init__(self, folder: Path, warn: Callable[[str], object] = warnings.warn) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._warn = warn

    def path(self, source: SourceIdentity, config: Config) -> Path:
        """Return where a run is kept, or would be."""
        return self._place(_Identity(source=source, config=config))

    def _place(self, identity: _Identity) -> Path:
        raw = msgspec.json.encode(identity, order="sorted")
        return self._folder / f"{hashlib.blake2b(raw, digest_size=16).hexdigest()}.json"

    def load(self, source: SourceIdentity, config: Config) -> Run | None:
        """Return a run that is kept; None where there is none that can be used."""
        identity = _Identity(source=source, config=config)
        path = self._place(identity)
        try:
            kept = _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._warn(f"{path}: cannot be read ({error}); the run is played again")
            return None
        if kept.identity != identity:
            self._warn(f"{path}: is another run's; the run is played again")
            return None
        return kept.run

    def save(self, source: SourceIdentity, config: Config, run: Run) -> None:
        """Keep a run."""
        identity = _Identity(source=source, config=config)
        path = self._place(identity)
        # A name of its own, so that two processes that share the folder write two files.
        part = self._folder / f".{path.stem}.{uuid4().hex}.part"
        try:
            with part.open("xb") as file:
                file.write(msgspec.json.encode(_Kept(identity=identity, run=run)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
