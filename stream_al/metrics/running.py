"""Metrics of labels, of the loop, and of what goes wrong."""

from __future__ import annotations

import math

from stream_al.labels.outcomes import OUTCOMES
from stream_al.metrics.declared import GATE, LEDGER, Metric
from stream_al.metrics.refusals import REFUSALS

__all__ = ["RUNNING"]

RUNNING: tuple[Metric, ...] = (
    Metric(
        "decision_seconds",
        "histogram",
        "seconds",
        (
            "Time of processing a batch divided by its records, observed once a batch; of the "
            "gate, the time of deciding about one event."
        ),
        labels=("role",),
        buckets=(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1),
    ),
    Metric(
        "snapshot_age_seconds",
        "gauge",
        "seconds",
        "Time since the fold's last snapshot, as of the last round; absent where there is none.",
        aggregate="max",
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "snapshots_refused_total",
        "counter",
        "snapshots",
        "Snapshots that did not fit, so that the training log was folded from its start.",
        roles=GATE,
    ),
    Metric(
        "snapshots_failed_total",
        "counter",
        "snapshots",
        "Snapshots that could not be written; the one before, if any, stays.",
        roles=GATE,
    ),
    Metric(
        "labels_total",
        "counter",
        "labels",
        (
            "Answers, by what became of them: learnt from (`labelled`; `late`, after the request "
            "had been closed; `revised`), closing without a label (`skipped`, `retracted`), one "
            "of several (`noted`; `disagreed`, the last word is asked for), about a case whose "
            "class was known (`gold`), remarks (`flagged`), said before (`repeated`), against "
            "what was said before (`conflicting`), to no request that is known (`unknown`), not "
            "usable (`refused`), kept until the request comes (`early`, counted again when it has "
            "come), to what nobody asked (`unsolicited`); and requests that nobody answered in "
            "time (`expired`; `assumed`, where silence means a class)."
        ),
        roles=LEDGER,
        labels=("outcome",),
        values={"outcome": (*OUTCOMES, "early", "unsolicited")},
    ),
    Metric(
        "open_requests",
        "gauge",
        "requests",
        "Label requests that wait for an answer, in the partitions of this process.",
        roles=LEDGER,
    ),
    Metric(
        "oldest_open_request_age_seconds",
        "gauge",
        "seconds",
        "How long the oldest open request has been open, in the partitions of this process.",
        aggregate="max",
        roles=LEDGER,
    ),
    Metric(
        "request_expiry_seconds",
        "gauge",
        "seconds",
        "`ledger.expire_after_s`: how long a request may be open; absent where none expires.",
        aggregate="max",
        roles=LEDGER,
        initial=math.nan,
    ),
    Metric(
        "label_delay_seconds",
        "histogram",
        "seconds",
        (
            "Time from the opening of a request to the answer that labelled it, by the ledger's "
            "clock; late answers are not in it."
        ),
        roles=LEDGER,
        buckets=(
            *(1, 3, 10, 30, 60, 300, 1800, 3600, 14_400, 43_200),
            *(86_400, 259_200, 604_800, 1_209_600),
        ),
    ),
    Metric(
        "early_labels",
        "gauge",
        "labels",
        "Labels that wait for their request, in the partitions of this process.",
        roles=LEDGER,
    ),
    Metric(
        "batch_records",
        "histogram",
        "records",
        "Records in a batch; a poll that brings none is no batch.",
        buckets=(1, 3, 10, 30, 100, 300, 1000, 2000, 5000, 10_000),
        labels=("role",),
    ),
    Metric(
        "commit_seconds",
        "histogram",
        "seconds",
        (
            "Time that the loop spent on sending what a batch put out and on waiting for its "
            "commit; what of that passes while the next batch is processed is not in it."
        ),
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
        labels=("role",),
    ),
    Metric(
        "assigned_partitions",
        "gauge",
        "partitions",
        "Partitions of its inputs that a role of this process works on.",
        labels=("role",),
    ),
    Metric(
        "consumer_lag_records",
        "gauge",
        "records",
        "Offsets of an input from the next to be read to the end, control records included.",
        labels=("role", "topic", "partition"),
    ),
    Metric(
        "last_stable_offset_lag_records",
        "gauge",
        "records",
        (
            "Offsets that nobody can read yet because a transaction before them is open; one that "
            "stays above 0 is a hanging transaction."
        ),
        aggregate="max",
        labels=("role", "topic", "partition"),
    ),
    Metric(
        "dead_letters_total",
        "counter",
        "records",
        "Records that could not be used, by where that was found and why, in fixed words.",
        labels=("role", "stage", "reason"),
        series=REFUSALS,
    ),
    Metric(
        "transactions_aborted_total",
        "counter",
        "transactions",
        "Transactions given up; their batch was processed again.",
        labels=("role",),
    ),
    Metric(
        "member_rebuilds_total",
        "counter",
        "rebuilds",
        "Times that the group was joined anew, after a fence or an unknown outcome.",
        labels=("role",),
    ),
    Metric(
        "log_retries_total",
        "counter",
        "retries",
        "Calls to the log that failed without effect and were made again.",
        labels=("role",),
    ),
    Metric(
        "restores_total",
        "counter",
        "restores",
        "Times that the state of partitions was taken over from the changelog.",
        labels=("role",),
    ),
    Metric(
        "restore_seconds",
        "histogram",
        "seconds",
        "Time of taking over partitions, catching up with their model included.",
        buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
        labels=("role",),
    ),
    Metric(
        "ready",
        "gauge",
        "",
        "1 where `/readyz` finds the role ready, else 0.",
        aggregate="min",
        labels=("role",),
    ),
    Metric(
        "loop_age_seconds",
        "gauge",
        "seconds",
        "Time since the last round ended; `/healthz` fails above `serve.stale_s`.",
        aggregate="max",
        labels=("role",),
    ),
    Metric(
        "log_bytes",
        "gauge",
        "bytes",
        "Size of the embedded log's files; absent with Kafka, as are the two below.",
        aggregate="max",
        initial=math.nan,
    ),
    Metric(
        "log_disk_free_bytes",
        "gauge",
        "bytes",
        "What is free on the disk of the embedded log.",
        aggregate="min",
        initial=math.nan,
    ),
    Metric(
        "log_disk_bytes",
        "gauge",
        "bytes",
        "Size of the disk of the embedded log.",
        aggregate="max",
        initial=math.nan,
    ),
    Metric(
        "build_info",
        "info",
        "",
        "Versions of stream_al, river and Python.",
        aggregate="count",
        labels=("version", "river", "python"),
    ),
)
