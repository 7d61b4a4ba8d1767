"""The demo's own run: gate, ledger and annotator on an embedded log, fed at a pace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from consumers.annotator import Truths
from consumers.clock import Clock
from consumers.feed import Feed, Pace
from consumers.log import Log
from consumers.processes import Process
from consumers.recorded_topics import LogTopics
from consumers.sqlite import SqliteLog
from consumers.topics import Topics
from consumers.verification import LiveVerifier
from stream_al.config import Config
from stream_al.records import Prediction
from stream_al.replay.prequential import StreamScores
from stream_al.replay.sources import Source
from stream_al.replay.verify import Verification

__all__ = ["Live", "Look"]

_LOOK_S = 1.0
_STOPPED_S = 0.2


class Look(msgspec.Struct, frozen=True):
    """How the live run stands.

    Attributes
    ----------
    seconds
        Since it began.
    fed, predicted, asked, learnt
        Events fed and predicted, labels asked for, labels learnt.
    accuracy
        Naive: of the events that were asked about, lately.
    ended
        Whether this is the end.
    """

    seconds: float
    fed: int
    predicted: int
    asked: int
    learnt: int
    accuracy: float
    ended: bool = False


class Live:
    """A live run over a recorded stream, on an embedded log; it ends with its block.

    Parameters
    ----------
    config
        With the embedded log's path.
    source
        Generated or recorded; of known length.
    rate
        Events a second.

    Attributes
    ----------
    address
        Where health, metrics and the live page are served.
    asked
        Labels asked for by now.
    """

    def __init__(self, config: Config, source: Source, rate: float) -> None:
        self._config = config
        self._source = source
        self._rate = rate
        self._topics = Topics.of(config.log)
        self._truths = Truths(source)
        self._clock = Clock()
        self._log = self._open()
        roles = ("gate", "ledger", "annotator")
        self._process = Process(config, roles, self._truths, self._log)
        self.address = self._process.address or ""
        self.asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes.

        Raises
        ------
        StreamAlError
            What a process ended with.
        """
        self._process.close()
        self._log.close()

    def run(self, look: Callable[[Look], object]) -> None:
        """Feed the stream, and wait until all is predicted and answered.

        The processes go on, with nothing to do.

        Parameters
        ----------
        look
            Told about once a second how it stands.

        Raises
        ------
        StreamAlError
            What a process ended with.
        """
        process = self._process
        writer = self._log.writer()
        feed = Feed(
            writer,
            self._topics.events,
            self._config.log.partitions,
            self._source.name,
            Pace(rate=self._rate),
            self._clock,
            stopped=lambda: process.ended,
        )
        feeding = threading.Thread(target=feed.run, args=(self._source.rows(),), daemon=True)
        began = self._clock.monotonic()
        process.start()
        try:
            feeding.start()
            while not process.wait(_LOOK_S):
                look(self._look(feed.sent, began))
                if not feeding.is_alive() and process.idle:
                    break
            else:
                self.close()
        except BaseException:
            process.stop()
            raise
        finally:
            if feeding.ident is not None:
                feeding.join()
            writer.close()
        look(msgspec.structs.replace(self._look(feed.sent, began), ended=True))

    def stay(self, stopped: Callable[[], bool]) -> None:
        """Wait until told to stop, or a process fails."""
        while not stopped() and not self._process.wait(_STOPPED_S):
            continue

    def scores(self) -> StreamScores:
        """Score all predictions against the truth, asked or not."""
        scores = StreamScores(len(self._truths.in_order))
        decode = msgspec.json.Decoder(Prediction).decode
        log = self._open()
        try:
            for record in log.read(self._topics.predictions, 0):
                found = decode(record.value or b"")
                truth = self._truths.by_id[found.id][1]
                scores.update(truth, found.prediction, found.probabilities)
        finally:
            log.close()
        return scores

    def verify(self) -> Verification:
        """Recompute every decision from the topics."""
        log = self._open()
        try:
            return LiveVerifier(LogTopics(log), self._config.log).run()
        finally:
            log.close()

    def _open(self) -> Log:
        return SqliteLog(self._config.log, self._config.loop)

    def _look(self, fed: int, began: float) -> Look:
        get = self._process.telemetry.get
        asked = get("predictions_total", "ask")
        self.asked = int(asked)
        return Look(
            seconds=self._clock.monotonic() - began,
            fed=fed,
            predicted=int(asked + get("predictions_total", "auto")),
            asked=self.asked,
            learnt=int(get("labels_total", "labelled")),
            accuracy=get("rolling_accuracy_naive_ratio"),
        )
