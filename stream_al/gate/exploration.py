"""Picking events uniformly, whatever their score."""

from __future__ import annotations

import math

import msgspec

from stream_al import keyed

__all__ = ["Shares", "block_length", "pick"]


def block_length(rate: float) -> int:
    """Return L = ceil(1 / rate), the events in a block; 0 where nothing is explored.

    A rate below one event in 2**53 explores nothing: no stream is that long.

    Examples
    --------
    >>> block_length(0.01), block_length(0.3), block_length(0.0)
    (100, 4, 0)
    """
    # 1 / 0.01 must be 100 and not 101 whatever the last bit of the product that made the rate.
    return math.ceil(1.0 / rate - 1e-9) if rate >= 2.0**-53 else 0


def pick(salt: int, partition: int, block: int, length: int) -> int:
    """Return which event of the block is explored, in [0, length): uniform, and known by key alone.

    Examples
    --------
    >>> 0 <= pick(7, 0, 3, 100) < 100
    True
    """
    return keyed.below(length, "explore", salt, partition, block)


class Shares(msgspec.Struct, frozen=True):
    """How the budget is shared: events in a block of exploration, its rate, and the policy's."""

    length: int
    explored: float
    policy: float

    @staticmethod
    def of(budget: float, explore: float) -> Shares:
        """Spend a share of a budget on exploration, as far as whole blocks allow."""
        length = block_length(budget * explore)
        explored = 1.0 / length if length else 0.0
        rate = budget - explored
        # What exploration leaves over when it takes the whole budget is rounding, not a rate.
        return Shares(length, explored, rate if rate > 1e-9 else 0.0)
