"""A small pipeline of real processes, with everything in it that the dashboards show."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec
from faults.managed import Managed, stream_al
from faults.mischief import Mischief
from faults.sites import Settings, Site

from consumers.clock import Clock
from consumers.drivers import open_log
from consumers.feed import Feed, Pace
from consumers.log import Log, Out, Writer
from consumers.topics import Topics, specs
from stream_al.config import SourceConfig
from stream_al.replay.sources import Row, open_source

from .prometheus import fetched

__all__ = ["EMBEDDED", "LIVE", "Pipeline", "free_addresses"]

LIVE, EMBEDDED = "stream-al", "stream-al-embedded"
"""The jobs: two gates, a ledger and an annotator on Kafka, and all of it on an embedded log."""

_LIVE = ("gate-1", "gate-2", "ledger-1", "annotator-1")
_CARDS, _FEW = "cards:60000", "cards:8000"
_RATE = 250.0
_READY_S = 120.0
_PARTITIONS = 4
# What is fed by then looks otherwise from then on, so that there is something to be alarmed at.
_CHANGE_AT = 14_000


class _Shared(Site):
    """A broker that other tests use as well; topics have a name of their own."""

    def __init__(self, folder: Path, settings: Settings, brokers: str) -> None:
        super().__init__(folder, settings)
        name = f"seen{uuid.uuid4().hex[:8]}"
        self._configure(driver="kafka", brokers=brokers, name=name, events=f"{name}.events")

    def __enter__(self) -> Self:
        """Create the topics."""
        log = self.open()
        log.create(specs(self.config.log))
        log.close()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the broker to whoever started it."""

    def open(self) -> Log:
        """Open the log for the test itself."""
        return open_log(self.config)


class Pipeline:
    """Runs from entering to leaving.

    Attributes
    ----------
    addresses
        Where each process serves its metrics, by name.
    """

    def __init__(self, folder: Path, brokers: str) -> None:
        gold = folder / "gold.jsonl"
        _write_gold(gold)
        self._site = _Shared(folder, _settings(folder, gold), brokers)
        addresses = free_addresses(len(_LIVE) + 1)
        self.addresses = dict(zip((*_LIVE, "embedded"), addresses, strict=True))
        self._processes = {name: self._process(folder, name) for name in _LIVE}
        self._add_embedded(folder)
        self._mischief = Mischief(self._site.open, self._site.config, seed=6)
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._failure: BaseException | None = None

    def _process(self, folder: Path, name: str) -> Managed:
        role, _, _ = name.partition("-")
        answers = ("--answers-from", _CARDS) if role == "annotator" else ()
        environment = self._site.environment(name)
        environment["STREAM_AL__SERVE__PORT"] = self.addresses[name].rpartition(":")[2]
        return Managed(name, stream_al("run", role, *answers), environment, folder)

    def _add_embedded(self, folder: Path) -> None:
        environment = {
            "STREAM_AL__LOG__PATH": str(folder / "embedded.db"),
            "STREAM_AL__SERVE__PORT": self.addresses["embedded"].rpartition(":")[2],
        }
        run = stream_al("run", "all", "--answers-from", _FEW)
        feed = stream_al("feed", _FEW, "--rate", "40")
        self._processes["embedded"] = Managed("embedded", run, environment, folder)
        self._processes["feed"] = Managed("feed", feed, environment, folder)

    @property
    def targets(self) -> dict[str, list[str]]:
        """What is to be scraped, by job."""
        return {
            LIVE: [self.addresses[name] for name in _LIVE],
            EMBEDDED: [self.addresses["embedded"]],
        }

    def __enter__(self) -> Self:
        """Start everything, and wait until all is ready."""
        with ExitStack() as stack:
            stack.push(self._end)
            stack.enter_context(self._site)
            for name, process in self._processes.items():
                if name != "feed":
                    process.start()
            for name in self.addresses:
                self._await_ready(name)
            self._processes["feed"].start()
            self._feeder.start()
            self._mischief.start()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._end()

    def _end(self, *_: object) -> None:
        self._stop.set()
        self._mischief.stop()
        if self._feeder.is_alive():
            self._feeder.join(30.0)
        for process in self._processes.values():
            if process.running:
                process.signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(30.0)

    def go_on(self, seconds: float) -> None:
        """Let time pass; what must run has to run."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.look_after()
            time.sleep(min(0.5, left))

    def look_after(self) -> None:
        """Fail where something has ended that should not have."""
        assert self._failure is None, self._failure
        for name, process in self._processes.items():
            assert process.running, f"{name} has ended: {process.last_words()}"

    def restart(self, name: str) -> None:
        """Stop a process in good order and start it again; the others go on."""
        process = self._processes[name]
        assert process.stop() == 0, process.last_words()
        process.start()
        self._await_ready(name)

    def poison(self, count: int) -> None:
        """Have some malformed events and labels come in."""
        self._mischief.poison(count)

    def _await_ready(self, name: str) -> None:
        process, end = self._processes[name], time.monotonic() + _READY_S
        while fetched(self.addresses[name], "/readyz")[0] != 200:
            assert process.running, f"{name} has ended: {process.last_words()}"
            assert time.monotonic() < end, f"{name} is not ready: {process.last_words()}"
            time.sleep(0.1)

    def _feed(self) -> None:
        log = self._site.open()
        try:
            writer = log.writer()
            topic = self._site.config.log.events
            feed = Feed(writer, topic, _PARTITIONS, _CARDS, Pace(_RATE), Clock(), self._stop.is_set)
            feed.run(self._rows(writer))
            writer.close()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever looks after it
            self._failure = error
        finally:
            log.close()

    def _rows(self, writer: Writer) -> Iterator[Row]:
        rng = random.Random("rows")
        labels = Topics.of(self._site.config.log).labels
        for number, row in enumerate(open_source(_CARDS, SourceConfig()).rows()):
            if number > _CHANGE_AT:
                row = _changed(row)
            if row.truth == "1" and rng.random() < 0.5:
                chargeback = {"class": "1", "source": "bank", **row.event.features}
                writer.send(Out(labels, json.dumps(chargeback).encode(), b"bank"))
            yield row


def free_addresses(count: int) -> list[str]:
    """Pick addresses that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def _changed(row: Row) -> Row:
    """Make a row's numbers thrice as large."""
    features = {
        name: 3.0 * value if isinstance(value, float) else value
        for name, value in row.event.features.items()
    }
    return msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, features=features))


def _write_gold(path: Path) -> None:
    rows = list(open_source("cards:6000:7", SourceConfig()).rows())
    # The rare class is wanted as well.
    chosen = [*rows[:20], *[row for row in rows if row.truth == "1"][:20]]
    cases = [
        {"id": f"old-{number}", "features": row.event.features, "label": row.truth}
        for number, row in enumerate(chosen)
    ]
    path.write_text("".join(f"{json.dumps(case)}\n" for case in cases))


def _settings(folder: Path, gold: Path) -> Settings:
    return {
        "learner": {"classes": ["0", "1"]},
        "gate": {
            "budget": 0.15,
            "explore": 0.6,
            "observe_every": 20,
            "second_opinion": 0.2,
            "drift_events": 500,
        },
        "log": {"partitions": _PARTITIONS},
        "loop": {
            "session_timeout_s": 15.0,
            "state_dir": str(folder / "snapshots"),
            "snapshot_s": 10.0,
        },
        "ledger": {
            "expire_after_s": 10.0,
            "early_wait_s": 3.0,
            "gold_file": str(gold),
            "gold_share": 0.1,
        },
        "message": {"label": "class", "source": "source"},
        "annotator": {
            "delay": "3s",
            "delay_distribution": "exponential",
            "noise": 0.05,
            "abstain": 0.05,
        },
    }
