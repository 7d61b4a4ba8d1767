"""Ten thousand malformed messages between good ones, through a running gate."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import msgspec

from consumers.log import Out
from consumers.messages import KINDS
from consumers.messages.dead_letters import describe
from consumers.processes import Process
from consumers.sqlite import SqliteLog
from consumers.testing.malformed import malformed
from consumers.topics import Topics, dead_letters_of
from stream_al.config import Config, LearnerConfig, LogConfig, ServeConfig
from stream_al.records import Prediction, encode

MALFORMED, SEED = 10_000, 7

decode = msgspec.json.Decoder(Prediction).decode


def test_malformed_messages_stop_nothing(tmp_path: Path) -> None:
    """Each ends as a dead letter with its reason and bytes, and each good one as a prediction."""
    print(f"seed {SEED}")
    config = Config(
        learner=LearnerConfig(committee=False),
        log=LogConfig(path=str(tmp_path / "live.db"), instance="one"),
        serve=ServeConfig(port=None),
    )
    topic = Topics.of(config.log).events
    log = SqliteLog(config.log, config.loop)
    writer = log.writer()
    bad: dict[int, bytes | None] = {}
    good: list[int] = []
    for number, value in enumerate(malformed(SEED, MALFORMED, config.message)):
        bad[number * 2] = value
        good.append(number * 2 + 1)
        writer.send(Out(topic, value))
        writer.send(Out(topic, encode({"amount": number % 7, "country": "FR"})))
    writer.close()

    process = Process(config, ("gate",), log=log)
    process.start()
    patience = threading.Event()
    while not process.idle and not process.ended:
        patience.wait(0.05)
    process.close()

    letters = {}
    kinds: Counter[str] = Counter()
    for record in log.read(dead_letters_of(config.log, topic), 0):
        letter = describe(record)
        assert letter is not None
        assert letter.kind in KINDS
        assert letter.message
        kinds[letter.kind] += 1
        letters[letter.offset] = record.value
    predicted = [
        decode(record.value or b"").offset
        for record in log.read(Topics.of(config.log).predictions, 0)
    ]
    log.close()
    assert letters == bad
    assert predicted == good
    assert len(kinds) >= 10
