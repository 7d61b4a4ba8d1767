"""What both Kafka drivers have to hold alike, beyond what the contract says of all logs."""

from __future__ import annotations

import pytest
from kafka_world import World, join

from consumers.errors import AbortError
from consumers.log import Partition

pytestmark = pytest.mark.parametrize("driver", ["kafka", "librdkafka"])


def test_offsets_that_were_refused_are_not_committed_with_the_next(wide: World) -> None:
    """What one transaction failed with is not in the one after it."""
    one, other = (Partition(wide.events, number) for number in range(2))
    member = wide.member("a")
    join(member)
    wide.evict("a")
    with pytest.raises(AbortError):
        member.commit({one: 7})
    member.abort()
    join(member)
    member.commit({other: 3})
    assert member.committed([one, other]) == {one: None, other: 3}
