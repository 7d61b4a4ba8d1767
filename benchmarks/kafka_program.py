"""How fast the live gate is, on each log, beside a bare kafka-python loop and Quix Streams.

One run on one machine, with a broker of its own (or the one that ``STREAM_AL_KAFKA`` names).
Events are JSON of 175 bytes, 10 numeric features, with a key of 8 bytes. The gate is the process
``stream-al run gate`` with the default configuration: exactly once, 2,000 events in a transaction
at most, a budget of 5 %, and a model that has learnt about 500 labels. What goes out for each
event is its prediction, about 530 bytes of JSON and 6 headers; requests and the observed sample
are written too, and nobody answers: neither ledger nor annotator runs.

Passes that are compared follow one another, in turns; a ratio is the median of the ratios of its
turns, so what slows the machine down for a while hits both sides. A first turn does not count: in
it the broker's own code is still being compiled. A pass counts from the first
tenth of its outputs to the last (the log's own times), so neither start nor joining is in it.
Processor time of the measured processes is reported beside it, since other work on the machine
does not lengthen that; the broker's is not in it.

What is measured (names for --only):

- ``bare``: driver ``kafka`` over a bare loop of kafka-python that consumes, produces and commits
  in transactions of 2,000, the events' own 175 bytes in and out, with the same settings.
- ``quix``: driver ``librdkafka`` over Quix Streams passing the same events through exactly once:
  JSON decoded and encoded, no model; in a virtual environment of its own, made at first. The gate
  has the default committee, then one plain model; Quix Streams commits every 2,000 events, then
  by its default, every 5 seconds.
- ``sqlite``: the gate on the embedded log, in events a second.
- ``gates``: two gates on two partitions over one gate on the same, driver ``librdkafka`` (else
  ``kafka``); broker and gates share the cores of this machine.
- ``latency``: from an event's time to its committed prediction in a reader's hands, at a paced
  1,000 events a second, on each log.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from _events import EVENT_BYTES, make_messages
from _processes import BenchmarkError, exit_at_sigterm
from kafka_latency import RATE, latency
from kafka_quix_environment import QUIX, quix_python
from kafka_runs import BATCH, Pass, Site, gate_config, prepare

from consumers.drivers import open_log
from consumers.testing.broker import Broker
from stream_al.config import LogConfig
from stream_al.errors import StreamAlError

PARTS = ("bare", "quix", "sqlite", "gates", "latency")
TARGETS = {
    "kafka_vs_bare": 0.7,
    "librdkafka_vs_quix": 1.0,
    "sqlite_events_per_second": 10_000.0,
}
EVENTS = 100_000
PACED_S = 20

Arms = dict[str, Callable[[], Pass]]
Passes = dict[str, list[Pass]]


def take_turns(arms: Arms, repetitions: int, say: Callable[[str], object]) -> Passes:
    """Run all arms in turn, as often as asked, after a turn that does not count."""
    found: Passes = {name: [] for name in arms}
    for turn in range(repetitions + 1):
        for name, arm in arms.items():
            one = arm()
            cpu = f"{one.cpu_us_per_event:.1f} us of processor time an event"
            say(
                f"{name}: {one.events_per_second:,.0f} events/s, {cpu}"
                + " (warming up)" * (not turn)
            )
            if turn:
                found[name].append(one)
    return found


def ratio(passes: Passes, name: str, beside: str) -> float | None:
    """Return the median of the turns' ratios of speed; None where one side was not run."""
    turns = zip(passes.get(name, ()), passes.get(beside, ()), strict=False)
    found = [one.events_per_second / other.events_per_second for one, other in turns]
    return statistics.median(found) if found else None


def arms_of(part: str, site: Site, say: Callable[[str], object]) -> Arms:
    """Return the passes of a part; those that need what is not installed are left out."""
    if part == "bare":
        return {"kafka": lambda: site.gate("kafka"), "bare": site.bare}
    if part == "sqlite":
        return {
            "sqlite": site.sqlite,
            "sqlite_plain": lambda: site.sqlite(committee=False),
        }
    librdkafka = find_spec("confluent_kafka") is not None
    if part == "gates":
        driver = "librdkafka" if librdkafka else "kafka"
        return {
            "one_gate": lambda: site.gates(driver, 1),
            "two_gates": lambda: site.gates(driver, 2),
        }
    if not librdkafka:
        say("librdkafka is left out: it comes with pip install -e '.[librdkafka]'")
        return {}
    arms: Arms = {
        "librdkafka": lambda: site.gate("librdkafka"),
        "librdkafka_plain": lambda: site.gate("librdkafka", committee=False),
    }
    try:
        python = quix_python()
    except BenchmarkError as error:
        say(f"Quix Streams is left out: {error}")
        return arms
    return arms | {
        "quix": lambda: site.quix(python, commit_every=BATCH),
        "quix_every_5_s": lambda: site.quix(python, commit_every=0),
    }


def latencies(site: Site, seconds: int, say: Callable[[str], object]) -> dict[str, dict[str, Any]]:
    """Measure latency on each log that is installed."""
    found = {}
    messages = make_messages(seconds * RATE)
    librdkafka = find_spec("confluent_kafka") is not None
    for driver in ("sqlite", "kafka", "librdkafka") if librdkafka else ("sqlite", "kafka"):
        name = site.name()
        place = site.place(name)
        config = gate_config(
            LogConfig(
                driver=driver,
                path=str(place / "log.db"),
                brokers=site.brokers,
                name=name,
                events=f"{name}.events",
                instance="a",
            )
        )
        log = open_log(config)
        prepare(log, config)
        found[driver] = latency(log, config, place, messages)
        log.close()
        say(f"{driver}: p50 {found[driver]['p50_ms']:.1f} ms, p99 {found[driver]['p99_ms']:.1f} ms")
        if driver != "sqlite":
            site.remove(name)
    return found


def measure(
    site: Site, parts: tuple[str, ...], repetitions: int, seconds: int, say: Callable[[str], object]
) -> dict[str, Any]:
    """Run the parts, and compare."""
    passes: Passes = {}
    for part in parts:
        if part != "latency":
            passes |= take_turns(arms_of(part, site, say), repetitions, say)
    lags = latencies(site, seconds, say) if "latency" in parts else {}
    return compared(passes, lags) | {
        "events": len(site.messages),
        "event_bytes": EVENT_BYTES,
        "transaction_events": BATCH,
        "repetitions": repetitions,
        "paced_events_per_second": RATE,
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "quixstreams": QUIX,
            **{
                name: version(name) if find_spec(module) else None
                for name, module in (
                    ("kafka-python", "kafka"),
                    ("confluent-kafka", "confluent_kafka"),
                )
            },
        },
    }


def compared(passes: Passes, lags: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Compute what is to be told from the raw figures; None for what was not measured."""
    rates = {name: [one.events_per_second for one in found] for name, found in passes.items()}
    cpu = {name: [one.cpu_us_per_event for one in found] for name, found in passes.items()}
    medians = {name: statistics.median(found) for name, found in rates.items()}
    default = lags.get("kafka", {})
    return {
        "kafka_vs_bare": ratio(passes, "kafka", "bare"),
        "librdkafka_vs_quix": ratio(passes, "librdkafka", "quix"),
        "librdkafka_plain_vs_quix": ratio(passes, "librdkafka_plain", "quix"),
        "librdkafka_vs_quix_every_5_s": ratio(passes, "librdkafka", "quix_every_5_s"),
        "librdkafka_plain_vs_quix_every_5_s": ratio(passes, "librdkafka_plain", "quix_every_5_s"),
        "sqlite_events_per_second": medians.get("sqlite"),
        "two_gates_vs_one": ratio(passes, "two_gates", "one_gate"),
        "latency_p50_ms": default.get("p50_ms"),
        "latency_p99_ms": default.get("p99_ms"),
        "targets": TARGETS,
        "events_per_second": medians,
        "events_per_second_of_all_repetitions": rates,
        "cpu_us_per_event": {name: statistics.median(found) for name, found in cpu.items()},
        "cpu_us_per_event_of_all_repetitions": cpu,
        "latency": lags,
    }


def _as_text(found: dict[str, Any]) -> str:
    lines = [f"{'pass':26}{'events/s':>10}{'cpu us/event':>14}   all"]
    for name, rate in found["events_per_second"].items():
        every = found["events_per_second_of_all_repetitions"][name]
        shown = "  ".join(f"{one:,.0f}" for one in every)
        cpu = found["cpu_us_per_event"][name]
        lines.append(f"{name:26}{rate:10,.0f}{cpu:14.1f}   {shown}")
    for driver, lag in found["latency"].items():
        name, rare = f"latency {driver}", f"p99 {lag['p99_ms']:.1f} ms, at most {lag['max_ms']:.1f}"
        lines.append(
            f"{name:26}{lag['p50_ms']:7.1f} ms   {rare} ms, at {lag['rate']:,.0f} events/s"
        )
    lines.append("")
    for name, value in found.items():
        if name.endswith("_ms") or "_vs_" in name or name in TARGETS:
            shown = "-" if value is None else f"{value:,.0f}" if value > 100 else f"{value:.2f}"
            aim = f"   target: at least {TARGETS[name]:,g}" if name in TARGETS else ""
            lines.append(f"{name:36}{shown:>10}{aim}")
    return "\n".join(lines)


@contextmanager
def _brokers(needed: bool) -> Iterator[str]:
    if named := os.environ.get("STREAM_AL_KAFKA"):
        yield named
    elif needed:
        with Broker() as broker:
            yield broker.address
    else:
        yield ""


@click.command(help=__doc__.replace("\n\n-", "\n\n\b\n-"))
@click.option("--events", default=EVENTS, show_default=True, type=click.IntRange(1_000))
@click.option("--repetitions", default=5, show_default=True, help="Turns.")
@click.option("--quick", is_flag=True, help="A tenth of the events, and of the paced time.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(events: int, repetitions: int, quick: bool, only: tuple[str, ...], as_json: bool) -> None:
    """Measure and print."""
    shrunk = 10 if quick else 1
    parts = only or PARTS

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        with (
            tempfile.TemporaryDirectory(prefix="stream-al-") as folder,
            _brokers(parts != ("sqlite",)) as brokers,
        ):
            site = Site(brokers, Path(folder), make_messages(events // shrunk))
            try:
                found = measure(site, parts, repetitions, PACED_S // shrunk, say)
            finally:
                site.close()
    except StreamAlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.stdout.write((json.dumps(found) if as_json else _as_text(found)) + "\n")


if __name__ == "__main__":
    exit_at_sigterm()
    main()
