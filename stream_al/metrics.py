"""Every Prometheus metric, declared once.

Names follow Prometheus' conventions: base units, ``_total`` for counters, bounded labels. A process
exports the metrics of the roles that it runs, and no others, so that a sum, a mean or a minimum
over processes is one over those that have something to say.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.labels.outcomes import OUTCOMES
from stream_al.learner.stopping import Criterion
from stream_al.learner.warning_signs import SignName

__all__ = ["METRICS", "PREFIX", "ROLES", "Metric"]

PREFIX = "stream_al_"

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]
Aggregate: TypeAlias = Literal["sum", "min", "max", "avg", "count"]

_GATE = ("gate",)
_LEDGER = ("ledger",)
ROLES = (*_GATE, *_LEDGER, "annotator")


class Metric(msgspec.Struct, frozen=True):
    """A metric, as it is declared.

    Attributes
    ----------
    name
        Without the prefix.
    kind, unit, meaning
        What it is; the unit is empty where there is none.
    roles
        Those that it tells of. Where they are several, the first label is ``role``.
    labels
        Their names.
    values
        All values of a label, for those where they are known beforehand. A metric whose labels
        are all known, ``role`` being one of the process's own, shows them from the start.
    buckets
        Upper bounds of a histogram's buckets, without infinity.
    aggregate
        What makes one figure of those of several replicas.
    initial
        What it shows before it is set; NaN: nothing, so that no mean over replicas becomes NaN.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    aggregate: Aggregate = "sum"
    roles: tuple[str, ...] = ROLES
    labels: tuple[str, ...] = ()
    values: dict[str, tuple[str, ...]] = {}
    buckets: tuple[float, ...] = ()
    initial: float = 0.0

    @property
    def full_name(self) -> str:
        """The name that Prometheus sees."""
        return PREFIX + self.name


METRICS: tuple[Metric, ...] = (
    Metric(
        "events_total",
        "counter",
        "events",
        "Events read, those that became dead letters included.",
        roles=_GATE,
    ),
    Metric(
        "predictions_total",
        "counter",
        "predictions",
        "Predictions committed: `ask` with a label request, `auto` without.",
        roles=_GATE,
        labels=("action",),
        values={"action": ("ask", "auto")},
    ),
    Metric(
        "label_requests_total",
        "counter",
        "requests",
        (
            "Label requests committed, by what asked: the policy, exploration, both, or an "
            "operator's boost."
        ),
        roles=_GATE,
        labels=("reason",),
        values={"reason": ("policy", "explore", "both", "boost", "burst")},
    ),
    Metric(
        "query_ratio",
        "gauge",
        "ratio",
        (
            "Share of the last 10,000 events or so that was asked about, over the partitions of "
            "this process; absent before the first."
        ),
        aggregate="avg",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "rolling_accuracy_naive_ratio",
        "gauge",
        "ratio",
        (
            "Share of the last 1,000 labelled requests that had been predicted right; absent "
            "before the first. Naive: what is asked about is harder than traffic."
        ),
        aggregate="avg",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "accuracy_ratio",
        "gauge",
        "",
        (
            "Estimated share of right predictions among all events up to the watermark, from "
            "explored events; unbiased, unlike the naive one."
        ),
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "accuracy_limit_ratio",
        "gauge",
        "",
        "Limits of `accuracy_ratio` that hold at all times at once with 95 %.",
        aggregate="max",
        roles=_GATE,
        labels=("limit",),
        values={"limit": ("lower", "upper")},
        initial=math.nan,
    ),
    Metric(
        "rolling_accuracy_ratio",
        "gauge",
        "",
        "As `accuracy_ratio`, over the last 200 blocks of each partition before the watermark.",
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "rolling_accuracy_limit_ratio",
        "gauge",
        "",
        "Pointwise limits of `rolling_accuracy_ratio`: 95 % for one look, not for all.",
        aggregate="max",
        roles=_GATE,
        labels=("limit",),
        values={"limit": ("lower", "upper")},
        initial=math.nan,
    ),
    Metric(
        "accuracy_events",
        "gauge",
        "events",
        "Predictions up to the watermark, which the accuracy is about.",
        aggregate="max",
        roles=_GATE,
    ),
    Metric(
        "accuracy_since_drift_ratio",
        "gauge",
        "",
        (
            "As `accuracy_ratio`, since the last drift that called for a response; absent before "
            "its first answers."
        ),
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "accuracy_since_drift_limit_ratio",
        "gauge",
        "",
        "Limits of `accuracy_since_drift_ratio` that hold at all times, of all such stretches.",
        aggregate="max",
        roles=_GATE,
        labels=("limit",),
        values={"limit": ("lower", "upper")},
        initial=math.nan,
    ),
    Metric(
        "calibration_error_ratio",
        "gauge",
        "",
        (
            "Expected calibration error on the last 1,000 explored answers, without what chance "
            "alone would make."
        ),
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "calibration_error_limit_ratio",
        "gauge",
        "",
        "Pointwise 95 % limits of `calibration_error_ratio`.",
        aggregate="max",
        roles=_GATE,
        labels=("limit",),
        values={"limit": ("lower", "upper")},
        initial=math.nan,
    ),
    Metric(
        "class_recall_ratio",
        "gauge",
        "",
        "Estimated share of a class's events that are predicted as it, up to the watermark.",
        aggregate="max",
        roles=_GATE,
        labels=("class",),
    ),
    Metric(
        "class_precision_ratio",
        "gauge",
        "",
        "Estimated share of the events predicted as a class that are of it.",
        aggregate="max",
        roles=_GATE,
        labels=("class",),
    ),
    Metric(
        "class_f1_ratio",
        "gauge",
        "",
        "Harmonic mean of `class_recall_ratio` and `class_precision_ratio`.",
        aggregate="max",
        roles=_GATE,
        labels=("class",),
    ),
    Metric(
        "class_average_precision_ratio",
        "gauge",
        "",
        "Estimated average precision of all events ranked by the probability of a class.",
        aggregate="max",
        roles=_GATE,
        labels=("class",),
    ),
    Metric(
        "drift_alarms",
        "gauge",
        "alarms",
        "Alarms of drift in the training log, by cause; every replica counts the same.",
        aggregate="max",
        roles=_GATE,
        labels=("cause",),
        values={"cause": ("residual", "error", "features")},
    ),
    Metric(
        "warning",
        "gauge",
        "",
        "1 while a warning sign is on, else 0.",
        aggregate="max",
        roles=_GATE,
        labels=("sign",),
        values={"sign": get_args(SignName)},
    ),
    Metric(
        "stopping_criterion",
        "gauge",
        "",
        "1 while a criterion for stopping is met, else 0.",
        aggregate="min",
        roles=_GATE,
        labels=("criterion",),
        values={"criterion": get_args(Criterion)},
    ),
    Metric(
        "maintenance",
        "gauge",
        "",
        "1 while the policy asks as little as `gate.floor` says, by `gate.stop_when`; else 0.",
        aggregate="max",
        roles=_GATE,
    ),
    Metric(
        "helping_difference_ratio",
        "gauge",
        "",
        "Accuracy of a learner of selected labels less that of one of as many random labels.",
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "annotators_kappa_ratio",
        "gauge",
        "",
        "Agreement of annotators beyond chance, on explored and on picked requests.",
        aggregate="max",
        roles=_GATE,
        labels=("requests",),
        values={"requests": ("random", "picked")},
        initial=math.nan,
    ),
    Metric(
        "annotators_gold_ratio",
        "gauge",
        "",
        "Share of gold cases that annotators answer right; absent before the first answer.",
        aggregate="max",
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "annotators_gold_limit_ratio",
        "gauge",
        "",
        "Pointwise 95 % limits of `annotators_gold_ratio`.",
        aggregate="max",
        roles=_GATE,
        labels=("limit",),
        values={"limit": ("lower", "upper")},
        initial=math.nan,
    ),
    Metric(
        "annotator_answers",
        "gauge",
        "answers",
        "Answers in the training log by annotator, the first hundred by name.",
        aggregate="max",
        roles=_GATE,
        labels=("annotator",),
    ),
    Metric(
        "annotator_agreement_ratio",
        "gauge",
        "",
        "Share of others' answers to the same requests that agree with an annotator's.",
        aggregate="max",
        roles=_GATE,
        labels=("annotator",),
    ),
    Metric(
        "budget_tokens",
        "gauge",
        "tokens",
        "Label requests that the policy may make at once.",
        roles=_GATE,
        labels=("partition",),
    ),
    Metric(
        "threshold",
        "gauge",
        "",
        "What the policy compares scores with, in [0, 1].",
        aggregate="avg",
        roles=_GATE,
        labels=("partition",),
    ),
    Metric(
        "model_version",
        "gauge",
        "",
        "Offset of the last data record of the training log that was folded, + 1; 0: none.",
        aggregate="min",
        roles=_GATE,
    ),
    Metric(
        "model_info",
        "info",
        "",
        "The fold in force, and the kind of model that it trains.",
        aggregate="count",
        roles=_GATE,
        labels=("fold_id", "model"),
    ),
    Metric(
        "fold_lag_records",
        "gauge",
        "records",
        "Offsets of the training log that are still to be folded.",
        aggregate="max",
        roles=_GATE,
    ),
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
        roles=_GATE,
        initial=math.nan,
    ),
    Metric(
        "snapshots_refused_total",
        "counter",
        "snapshots",
        "Snapshots that did not fit, so that the training log was folded from its start.",
        roles=_GATE,
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
        roles=_LEDGER,
        labels=("outcome",),
        values={"outcome": (*OUTCOMES, "early", "unsolicited")},
    ),
    Metric(
        "open_requests",
        "gauge",
        "requests",
        "Label requests that wait for an answer, in the partitions of this process.",
        roles=_LEDGER,
    ),
    Metric(
        "early_labels",
        "gauge",
        "labels",
        "Labels that wait for their request, in the partitions of this process.",
        roles=_LEDGER,
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
        "build_info",
        "info",
        "",
        "Versions of stream_al, river and Python.",
        aggregate="count",
        labels=("version", "river", "python"),
    ),
)
