"""Whether the machinery runs: speed, transactions, restores, dead letters, memory."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.expressions import (
    increase,
    mean,
    over,
    per_minute,
    process,
    process_rate,
    quantile,
    rate,
)
from deploy.grafana.source.frame import Panels, Row, framed
from deploy.grafana.source.looks import GREEN, ORANGE, RED, Query
from deploy.grafana.source.panels import bars, figure, graph, listing, states

__all__ = ["build"]


def build() -> Dashboard:
    """Build the dashboard."""
    return framed(
        "operations",
        "Operations",
        "Whether the machinery runs: speed, transactions, restores, dead letters, memory.",
        [("", _figures()), _speed(), _inputs(), _faults(), _processes(), _embedded()],
    )


def _figures() -> Panels:
    return [
        figure(
            "Events a second",
            "Events that the gates read, all together.",
            "eps",
            Query(rate("events_total"), "events"),
        ),
        figure(
            "A decision takes",
            "99 of 100 decisions of the gate take less, scoring and the share of the batch "
            "included.",
            "s",
            Query(quantile(0.99, "decision_seconds", role="gate"), "decision"),
        ),
        figure(
            "Dead letters",
            "Records in the time range shown that could not be used. Some are normal where "
            "messages are malformed; why is shown below.",
            "short",
            Query(increase("dead_letters_total"), "dead letters"),
            decimals=0,
            steps=[(1, ORANGE)],
            words={"0": "none"},
            whole_range=True,
        ),
        figure(
            "Transactions aborted",
            "Transactions in the time range shown that were given up; their batch was processed "
            "again, nothing is lost. A few at a rebalance are normal.",
            "short",
            Query(increase("transactions_aborted_total"), "aborted"),
            decimals=0,
            steps=[(1, ORANGE)],
            words={"0": "none"},
            whole_range=True,
        ),
        figure(
            "Oldest round",
            "Time since the slowest role ended a round. Above `serve.stale_s` (60 s unless "
            "configured) its process is not healthy.",
            "s",
            Query(over("loop_age_seconds"), "age"),
            steps=[(30, ORANGE), (60, RED)],
        ),
        figure(
            "Restores",
            "Times in the time range shown that a role took over partitions. Starts and rebalances "
            "make them; else none is healthy.",
            "short",
            Query(increase("restores_total"), "restores"),
            decimals=0,
            whole_range=True,
        ),
    ]


def _speed() -> Row:
    return "Speed", [
        graph(
            "Time for each record",
            "Time of processing a batch divided by its records, at the median and for 99 of 100, "
            "by role; of the gate, the time of deciding about one event.",
            "s",
            Query(quantile(0.5, "decision_seconds", "role"), "{{role}}, half"),
            Query(quantile(0.99, "decision_seconds", "role"), "{{role}}, 99 %"),
            low=0,
            runbook="streamaldecisionsslow",
        ),
        graph(
            "Commit",
            "Time that a round spends on sending what a batch put out and on waiting for its "
            "commit. A broker that slows down is seen here first.",
            "s",
            Query(quantile(0.5, "commit_seconds", "role"), "{{role}}, half"),
            Query(quantile(0.99, "commit_seconds", "role"), "{{role}}, 99 %"),
            low=0,
            runbook="streamalcommitsslow",
        ),
        graph(
            "Batch",
            "Mean records in a batch, by role. It rises with the load, up to `loop.batch_size`; at "
            "that for long, a role is at its limit.",
            "short",
            Query(mean("batch_records", "role"), "{{role}}"),
            low=0,
        ),
    ]


def _inputs() -> Row:
    return "Inputs", [
        graph(
            "Events and answers",
            "Events that the gates read and answers that the ledger counts, in a second.",
            "eps",
            Query(rate("events_total"), "events"),
            Query(rate("labels_total"), "answers and expiries"),
            low=0,
        ),
        graph(
            "Records that wait, by topic",
            "What is written to an input and not yet read. Near zero is healthy; control records "
            "of transactions count, so it is seldom 0 for long.",
            "short",
            Query(over("consumer_lag_records", "role", "topic"), "{{role}}: {{topic}}"),
            low=0,
            runbook="streamaleventslag",
        ),
        graph(
            "Held up by open transactions",
            "Offsets that nobody can read yet because a transaction before them is open. Comes and "
            "goes in healthy running; above 0 for minutes, a transaction hangs.",
            "short",
            Query(over("last_stable_offset_lag_records", "role", "topic"), "{{role}}: {{topic}}"),
            low=0,
            runbook="streamalhangingtransaction",
        ),
    ]


_REFUSED = increase("dead_letters_total", "role", "stage", "reason")


def _faults() -> Row:
    return "What goes wrong", [
        bars(
            "Dead letters by stage and reason",
            "Records in the time range shown that could not be used, by where that was found and "
            "why, the ten most frequent. The original bytes are in the topics whose names contain "
            "`dlq`.",
            "short",
            Query(
                f"sort_desc(topk(10, {_REFUSED} > 0))",
                "{{role}}, {{stage}}: {{reason}}",
            ),
            runbook="streamaldeadletters",
        ),
        graph(
            "Dead letters by role",
            "Records a minute that could not be used, by role and stage.",
            "cpm",
            Query(per_minute("dead_letters_total", "role", "stage"), "{{role}}, {{stage}}"),
            low=0,
            runbook="streamaldeadlettersmany",
        ),
        graph(
            "Aborts, rebuilds, retries",
            "In a minute: transactions given up, groups joined anew, calls to the log made again. "
            "All of them repair themselves; going on for long they say that brokers are ill.",
            "cpm",
            Query(per_minute("transactions_aborted_total"), "transactions aborted"),
            Query(per_minute("member_rebuilds_total"), "groups joined anew"),
            Query(per_minute("log_retries_total"), "calls made again"),
            low=0,
            runbook="streamalaborts",
        ),
        graph(
            "Restores by role",
            "Times in a minute that the state of partitions was taken over, by role: at a start "
            "and whenever partitions move.",
            "cpm",
            Query(per_minute("restores_total", "role"), "{{role}}"),
            width=12,
            low=0,
            runbook="streamalrestoresrepeated",
        ),
        graph(
            "A restore takes",
            "Time of taking over partitions, catching up with their model included: mean by role. "
            "Their events wait for so long.",
            "s",
            Query(mean("restore_seconds", "role"), "{{role}}"),
            width=12,
            low=0,
            gaps=False,
        ),
    ]


def _processes() -> Row:
    return "Processes", [
        states(
            "Ready",
            "For each role of each process whether it is ready. Not ready: it starts, folds, waits "
            "for brokers, or has no partitions; `/readyz` says why.",
            Query(over("ready", "instance", "role"), "{{instance}} {{role}}"),
            words={"0": ("no", RED), "1": ("yes", GREEN)},
            runbook="streamalnotready",
        ),
        graph(
            "Partitions",
            "Partitions of its inputs that each role of each process works on. Together they are "
            "as many as the topic has; fewer for minutes: one of them is nobody's.",
            "short",
            Query(over("assigned_partitions", "instance", "role"), "{{instance}} {{role}}"),
            low=0,
        ),
        graph(
            "Time since the last round",
            "By role, of its slowest process. Parts of a second are healthy; above `serve.stale_s` "
            "the process is restarted by its probe.",
            "s",
            Query(over("loop_age_seconds", "role"), "{{role}}"),
            low=0,
            runbook="streamalloopstale",
        ),
        listing(
            "Versions",
            "How many processes run which versions. More than one line outside an upgrade is worth "
            "a look: decisions are the same to the bit only with one version of river.",
            {
                "version": ("stream_al", ""),
                "river": ("river", ""),
                "python": ("Python", ""),
                "Value": ("processes", "short"),
            },
            Query(over("build_info", "version", "river", "python")),
        ),
        graph(
            "Memory",
            "Resident memory of each process. Grows until some thousand answers are kept, then "
            "stays level.",
            "bytes",
            Query(
                f"max by (instance) ({process('process_resident_memory_bytes')})", "{{instance}}"
            ),
            low=0,
            runbook="streamalmemorygrows",
        ),
        graph(
            "CPU",
            "Processor cores that each process uses. A role is one thread, so near 1 it is at its "
            "limit.",
            "none",
            Query(process_rate("process_cpu_seconds_total"), "{{instance}}"),
            low=0,
        ),
        graph(
            "Open files",
            "Open file descriptors of each process, as a share of what it may open.",
            "percentunit",
            Query(
                f"max by (instance) ({process('process_open_fds')} / {process('process_max_fds')})",
                "{{instance}}",
            ),
            low=0,
        ),
    ]


def _embedded() -> Row:
    return "Embedded log", [
        graph(
            "Size of the log",
            "Files of the embedded log, by process; with Kafka there is none. Grows without end "
            "unless `log.retain_bytes` is set.",
            "bytes",
            Query(over("log_bytes", "instance"), "{{instance}}"),
            width=12,
            low=0,
            runbook="streamaldiskfillsup",
        ),
        graph(
            "Free on its disk",
            "Share of the disk of the embedded log that is free. On a full disk nothing is "
            "committed any more.",
            "percentunit",
            Query(
                f"{over('log_disk_free_bytes', 'instance')} / {over('log_disk_bytes', 'instance')}",
                "{{instance}}",
            ),
            width=12,
            low=0,
            high=1,
            runbook="streamaldisklow",
        ),
    ]
