"""What a log says when something fails, split by what the caller should do."""

from __future__ import annotations

from stream_al.errors import StreamAlError

__all__ = ["AbortError", "LogError", "RebuildError", "RetryError", "StopError", "TooLargeError"]


class LogError(StreamAlError):
    """Base of what a log raises."""


class RetryError(LogError):
    """Nothing happened: wait a little and call again."""


class AbortError(LogError):
    """The transaction cannot succeed: abort it, restore what was committed, process again."""


class RebuildError(LogError):
    """Nothing is known: the commit may or may not have happened, or the member is fenced.

    Close the member, open a new one with the same identity, and restore what is committed.
    """


class StopError(LogError):
    """The process must not go on; whoever supervises it reads why, and may start it again."""

    exit_code = 5


class TooLargeError(LogError):
    """A record is over the limit and was not sent; the transaction can go on without it.

    Attributes
    ----------
    size, limit
        Bytes of key, value and headers, and what they may be.
    """

    def __init__(self, topic: str, size: int, limit: int) -> None:
        self.topic = topic
        self.size = size
        self.limit = limit
        super().__init__(f"a record of {size} bytes for {topic!r}; at most {limit} are allowed")
