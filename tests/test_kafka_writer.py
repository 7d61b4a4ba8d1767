"""Writing outside of transactions through outages."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from consumers.errors import RetryError
from consumers.kafka.log import KafkaLog
from consumers.log import Out, TopicSpec
from consumers.testing.broker import Broker
from stream_al.config import LogConfig, LoopConfig, SecurityConfig


@pytest.mark.slow
def test_an_outage_longer_than_the_clients_patience_loses_nothing(own_broker: Broker) -> None:
    """What was sent before and during an outage is all there once a later flush succeeds."""
    config = LogConfig(driver="kafka", brokers=own_broker.address)
    with closing(KafkaLog(config, SecurityConfig(), LoopConfig(commit_timeout_s=1.0))) as log:
        log.create([TopicSpec("t", 1)])
        writer = log.writer()
        writer.send(Out("t", b"0"))
        writer.flush()
        own_broker.kill()
        writer.send(Out("t", b"1"))
        began, failures = time.monotonic(), 0
        while time.monotonic() - began < 15.0:
            with pytest.raises(RetryError):
                writer.flush()
            failures += 1
        assert failures > 1
        own_broker.start()
        sent = False
        while not sent:
            try:
                writer.send(Out("t", b"2"))
                writer.flush()
                sent = True
            except RetryError:
                assert time.monotonic() - began < 90.0
        writer.close()
        found = [record.value for record in log.read("t", 0)]
    assert found[0] == b"0"
    assert set(found) == {b"0", b"1", b"2"}
    assert found.index(b"1") < found.index(b"2")
