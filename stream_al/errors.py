"""Errors, split by what the caller should do about them.

Every error that a user can cause is one of these, says in one line where it is and what was
expected, and carries the exit code that a command line ends with.
"""

from __future__ import annotations

__all__ = ["ConfigError", "InputError", "ModelError", "SnapshotError", "StreamAlError"]


class StreamAlError(Exception):
    """Base of all errors raised on purpose.

    Attributes
    ----------
    exit_code
        What a command ends with: 2 usage, configuration or model, 3 bad input, 4 anything else.
    """

    exit_code = 4


class ConfigError(StreamAlError):
    """The configuration or a command's flags are wrong: mend them and start again.

    Parameters
    ----------
    what
        What is wrong and what was expected.
    where
        The flag, environment variable, or file and line that holds the value.
    """

    exit_code = 2

    def __init__(self, what: str, where: str = "") -> None:
        self.what = what
        self.where = where
        super().__init__(f"{where}: {what}" if where else what)


class InputError(StreamAlError):
    """A record of a stream cannot be used: mend the record, or skip it.

    Parameters
    ----------
    what
        What is wrong and what was expected.
    source
        File, topic or dataset that the record came from.
    line
        1-based line (text) or row (tables) in `source`; None where the whole source is meant.
    column
        Column or key within the record; None where the whole record is meant.
    """

    exit_code = 3

    def __init__(
        self, what: str, source: str = "", line: int | None = None, column: str | None = None
    ) -> None:
        self.what = what
        self.source = source
        self.line = line
        self.column = column
        parts = [source] if source else []
        if line is not None:
            parts.append(f"line {line}")
        if column is not None:
            parts.append(f"column {column!r}")
        super().__init__(f"{', '.join(parts)}: {what}" if parts else what)


class ModelError(StreamAlError):
    """The user's own model raised something: mend the model and start again."""

    exit_code = 2


class SnapshotError(StreamAlError):
    """A snapshot does not fit and was refused: fold the training log from its start instead."""
