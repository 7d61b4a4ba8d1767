"""Draws that depend on a key alone.

No generator is shared and nothing is consumed: a retry, a replay or a rebalance draws alike.
"""

from __future__ import annotations

import struct
from hashlib import blake2b, shake_128

__all__ = ["below", "uniform", "words"]


def _word(parts: tuple[object, ...]) -> int:
    text = "\x1f".join([str(part) for part in parts])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(*key: object) -> float:
    """Draw from [0, 1), determined by the key.

    Examples
    --------
    >>> uniform("policy", 0, 3, 17) == uniform("policy", 0, 3, 17) != uniform("policy", 1, 3, 17)
    True
    """
    return (_word(key) >> 11) * (1.0 / (1 << 53))


def below(n: int, *key: object) -> int:
    """Draw an integer from [0, n), determined by the key; the bias is below n / 2**64.

    Raises
    ------
    ValueError
        If n is not positive.

    Examples
    --------
    >>> all(0 <= below(5, "block", i) < 5 for i in range(100))
    True
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    return _word(key) % n


def words(n: int, *key: object) -> tuple[int, ...]:
    """Draw n integers from [0, 2**32), determined by the key.

    Examples
    --------
    >>> words(3, "rehearsal", 0, 17)[:2] == words(2, "rehearsal", 0, 17)
    True
    """
    text = "\x1f".join([str(part) for part in key])
    return struct.unpack(f">{n}I", shake_128(text.encode()).digest(4 * n))
