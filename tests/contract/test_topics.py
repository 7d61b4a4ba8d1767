"""Topics: what is there, what is created, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumers.errors import StopError
from consumers.log import Out, Partition, TopicSpec
from contract.sites import Site, take

MISSING: dict[str, Callable[[Site, str], Any]] = {
    "member": lambda site, topic: site.member(topic).poll(0.5, 1),
    "tail": lambda site, topic: site.tail(topic).poll(0.5, 1),
    "writer": lambda site, topic: site.writer().send(Out(topic, b"one")),
    "bounds": lambda site, topic: site.log().bounds(topic, 0),
    "read": lambda site, topic: list(site.log().read(topic, 0)),
    "last": lambda site, topic: site.log().last(topic, 0),
}


@pytest.mark.parametrize("call", MISSING.values(), ids=MISSING)
def test_missing_topic_is_named(site: Site, call: Callable[[Site, str], Any]) -> None:
    """Nothing is created on the way: whoever uses a topic that is not there stops, and says so."""
    with pytest.raises(StopError, match="no-such-topic"):
        call(site, "no-such-topic")
    assert "no-such-topic" not in site.log().topics()


def test_missing_topic_or_partition_of_an_output(site: Site) -> None:
    """A member that sends to a topic or a partition that is not there stops."""
    events, out = site.topic(), site.topic(partitions=2)
    writer = site.writer()
    writer.send(Out(events, b"one"))
    writer.flush()
    member = site.joined(events)
    take(member, 1)
    with pytest.raises(StopError, match="no-such-topic"):
        member.send([Out("no-such-topic", b"one")])
    member.abort()
    with pytest.raises(StopError, match=out):
        member.send([Out(out, b"one", partition=2)])
    with pytest.raises(StopError, match=out):
        writer.send(Out(out, b"one", partition=2))
    with pytest.raises(StopError, match=out):
        site.log().bounds(out, 2)


def test_unequal_partitions_are_refused(site: Site) -> None:
    """Topics that are read together have equal partition counts, else nobody reads them."""
    requests, labels = site.topic(partitions=2), site.topic(partitions=3)
    with pytest.raises(StopError, match="partitions"):
        site.member(requests, labels)


def test_created_topics_are_listed_and_stay_as_they_are(site: Site) -> None:
    """Topics have the partitions and settings that they were created with, and keep them."""
    log, name = site.log(), f"{site.name}.made"
    terms = {"cleanup.policy": "compact", "max.message.bytes": "54321"}
    log.create([TopicSpec(name, 3, terms)])
    log.create([TopicSpec(name, 5, {}), TopicSpec(f"{name}.too", 1)])
    found = log.topics()
    assert found[name].partitions == 3
    assert {key: found[name].settings.get(key) for key in terms} == terms
    assert found[f"{name}.too"].partitions == 1
    assert log.bounds(name, 2) == (0, 0, 0)
    assert not any(topic.startswith("__") for topic in found)


def test_another_process_sees_the_topics(shared_site: Site) -> None:
    """A topic that one process creates is there for the others at once."""
    site = shared_site
    other = site.log("two")
    assert other.topics() is not None
    events = site.topic(partitions=2)
    writer = other.writer()
    writer.send(Out(events, b"one", partition=1))
    writer.close()
    assert [record.value for record in site.log().read(events, 1)] == [b"one"]
    place = Partition(events, 1)
    assert site.joined(events).committed([place]) == {place: None}
