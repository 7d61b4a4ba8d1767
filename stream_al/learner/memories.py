"""What members of a committee rehearse: past labels, drawn again after each new one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from stream_al import keyed
from stream_al.records import Features

__all__ = ["Balanced", "Memory", "Nothing", "Past", "Recent"]


class Past(msgspec.Struct, frozen=True, gc=False):
    """A past label: features as they came, class number, weight, weight in whole times, request."""

    x: Features
    k: int
    weight: float
    times: int
    request_id: str


class Memory(Protocol):
    """Keeps past labels and draws from them; bounded."""

    def add(self, past: Past) -> None:
        """Keep a label."""

    def forget(self, request_id: str) -> None:
        """Keep the label of a request no longer, if it is kept."""

    def clear(self) -> None:
        """Keep none of them any longer."""

    def draw(self, n: int, *key: object) -> Sequence[Past]:
        """Draw n past labels with replacement, determined by the key; none where none are kept."""


class Nothing:
    """Rehearse nothing: learn each label once."""

    def add(self, past: Past) -> None:
        """Forget it."""

    def forget(self, request_id: str) -> None:
        """Know of none."""

    def clear(self) -> None:
        """Know of none."""

    def draw(self, n: int, *key: object) -> Sequence[Past]:  # noqa: ARG002
        """Draw nothing."""
        return ()


class Recent:
    """The last labels, each as likely to be drawn.

    Parameters
    ----------
    size
        How many are kept.
    """

    def __init__(self, size: int) -> None:
        self._kept: deque[Past] = deque(maxlen=size)

    def add(self, past: Past) -> None:
        """Keep a label in place of the oldest."""
        self._kept.append(past)

    def forget(self, request_id: str) -> None:
        """Give up the label of a request."""
        _forget(self._kept, request_id)

    def clear(self) -> None:
        """Give up all."""
        self._kept.clear()

    def draw(self, n: int, *key: object) -> Sequence[Past]:
        """Draw uniformly."""
        kept = self._kept
        return [kept[word % len(kept)] for word in keyed.words(n, *key)] if kept else ()


class Balanced:
    """The last labels of each class, so that a rare one is rehearsed more often than it comes.

    A draw falls on a class picked uniformly with probability 2 * balance, else on the recent
    labels as they come. Of two classes the rarer so gets `balance` of the draws and more.

    Parameters
    ----------
    size
        How many are kept for each class, and of the recent ones.
    balance
        In [0, 0.5].
    """

    def __init__(self, size: int, balance: float) -> None:
        self._size = size
        self._recent = Recent(size)
        self._classes: dict[int, deque[Past]] = {}
        self._by_class = int(2.0 * balance * (1 << 32))

    def add(self, past: Past) -> None:
        """Keep a label in place of the oldest of its class."""
        self._recent.add(past)
        self._classes.setdefault(past.k, deque(maxlen=self._size)).append(past)

    def forget(self, request_id: str) -> None:
        """Give up the label of a request."""
        self._recent.forget(request_id)
        for kept in self._classes.values():
            _forget(kept, request_id)
        self._classes = {k: kept for k, kept in self._classes.items() if kept}

    def clear(self) -> None:
        """Give up all."""
        self._recent.clear()
        self._classes.clear()

    def draw(self, n: int, *key: object) -> Sequence[Past]:
        """Draw by class or recent, each with its probability."""
        if not self._classes:
            return ()
        classes = list(self._classes.values())
        words = keyed.words(3 * n, *key)
        drawn = []
        for i in range(0, 3 * n, 3):
            among = classes[words[i + 1] % len(classes)]
            if words[i] >= self._by_class:
                among = self._recent._kept or among
            drawn.append(among[words[i + 2] % len(among)])
        return drawn


def _forget(kept: deque[Past], request_id: str) -> None:
    for place, past in enumerate(kept):
        if past.request_id == request_id:
            del kept[place]
            return
