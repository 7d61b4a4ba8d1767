"""What people are asked, what they answer, how long they take and how right they are."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.expressions import increase, over, per_minute, quantile, rate
from deploy.grafana.source.frame import Panels, Row, framed
from deploy.grafana.source.looks import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, Query, limits
from deploy.grafana.source.panels import bars, figure, graph, heat, listing

__all__ = ["build"]

_LEARNT = "labelled|late|revised|assumed"
_GROUPS = (
    ("learnt from", _LEARNT, BLUE),
    ("no label: skipped, retracted", "skipped|retracted", ORANGE),
    ("no answer: expired", "expired", RED),
    ("second opinions", "noted|disagreed", GREEN),
    ("gold cases", "gold", PURPLE),
    ("not asked for", "early|unsolicited", SKY),
    ("changed nothing", "flagged|repeated|conflicting|unknown|refused", GREY),
)


def build() -> Dashboard:
    """Build the dashboard."""
    return framed(
        "labels",
        "Labels",
        "What people are asked, what they answer, how long they take and how right they are.",
        [("", _figures()), _throughput(), _waiting(), _right()],
    )


def _figures() -> Panels:
    expired = increase("labels_total", outcome="expired")
    return [
        figure(
            "Labels learnt from",
            "Answers in the time range shown that trained the model: labelled, late, revised, or "
            "assumed from silence.",
            "short",
            Query(increase("labels_total", outcome=_LEARNT), "labels"),
            decimals=0,
            whole_range=True,
        ),
        figure(
            "Half are answered within",
            "Median time from a request to the answer that labelled it, in the time range shown.",
            "s",
            Query(quantile(0.5, "label_delay_seconds", whole_range=True), "half"),
            whole_range=True,
        ),
        figure(
            "Nine in ten within",
            "90 % of the answers in the time range shown came sooner after their request.",
            "s",
            Query(quantile(0.9, "label_delay_seconds", whole_range=True), "nine in ten"),
            whole_range=True,
        ),
        figure(
            "Expired",
            "Requests in the time range shown that nobody answered in time, as a share of those "
            "that were made. 0 is healthy; many mean that more is asked than can be answered.",
            "percentunit",
            Query(f"{expired} / {increase('label_requests_total')}", "expired"),
            decimals=1,
            steps=[(0.1, ORANGE)],
            whole_range=True,
            runbook="streamalrequestsnearexpiry",
        ),
        figure(
            "Oldest open request",
            "How long the oldest open request has waited. Above `ledger.expire_after_s` nothing "
            "stays, as long as the ledger keeps up with the answers.",
            "s",
            Query(over("oldest_open_request_age_seconds"), "age"),
        ),
        figure(
            "Gold answered right",
            "Share of cases whose class was known for certain that annotators answered right.",
            "percentunit",
            Query(over("annotators_gold_ratio"), "right"),
            decimals=1,
            absent="no gold case answered yet",
        ),
    ]


def _throughput() -> Row:
    return "Throughput", [
        graph(
            "Asked and answered",
            "Label requests, and answers that trained the model, a minute. Healthy: the two go "
            "together, the answers later. What is asked beyond what is answered waits or expires.",
            "cpm",
            Query(per_minute("label_requests_total"), "asked"),
            Query(per_minute("labels_total", outcome=_LEARNT), "learnt from"),
            Query(f"60 * {rate('labels_total', outcome='skipped|expired')}", "without label"),
            low=0,
            runbook="streamalnolabels",
        ),
        graph(
            "Answers over time",
            "Answers a minute by what became of them, one upon the other. What changed nothing was "
            "a remark, said before, against what was said before, to no known request, or not "
            "usable.",
            "cpm",
            *(
                Query(per_minute("labels_total", outcome=outcomes), name, colour)
                for name, outcomes, colour in _GROUPS
            ),
            low=0,
            stacked=True,
        ),
        bars(
            "Answers by outcome",
            "Every outcome that an answer had in the time range shown. conflicting: another class "
            "than before, without saying that it is a revision; unknown: to no request; refused: "
            "not usable.",
            "short",
            Query(f"sort_desc({increase('labels_total', 'outcome')} > 0)", "{{outcome}}"),
            runbook="streamaldeadletters",
        ),
    ]


def _waiting() -> Row:
    return "Waiting", [
        graph(
            "Open requests and early labels",
            "Requests that wait for an answer, and labels that wait for their request, which may "
            "come later than they. Early labels are seldom more than a few.",
            "short",
            Query(over("open_requests"), "open requests"),
            Query(over("early_labels"), "early labels"),
            low=0,
            runbook="streamalqueueovercapacity",
        ),
        graph(
            "Age of the oldest open request",
            "Rises by a second a second while one request is left over, falls when it is answered "
            "or expires.",
            "s",
            Query(over("oldest_open_request_age_seconds"), "oldest"),
            Query(over("request_expiry_seconds"), "expires at", GREY, dashed=True),
            low=0,
            runbook="streamalrequestsnearexpiry",
        ),
        heat(
            "How long answers take",
            "Answers by the time that they took, brighter where there are more; late ones, which "
            "come after the request was closed, are not in it.",
            "s",
            Query(rate("label_delay_seconds", "le", suffix="_bucket"), "{{le}}"),
        ),
    ]


def _right() -> Row:
    return "How right", [
        graph(
            "Agreement beyond chance",
            "Cohen's kappa of two annotators of the same request: 1 always agree, 0 as by chance. "
            "Explored requests stand for all traffic, picked ones for what is hard. Needs "
            "`gate.second_opinion`.",
            "none",
            Query(over("annotators_kappa_ratio", requests="random"), "explored"),
            Query(over("annotators_kappa_ratio", requests="picked"), "picked"),
            high=1,
            runbook="streamalsignagreement",
        ),
        graph(
            "Gold cases answered right",
            "Share of cases of known class that were answered right, with limits that hold for one "
            "look with 95 %. Needs `ledger.gold_file`.",
            "percentunit",
            *limits(
                over("annotators_gold_limit_ratio", limit="lower"),
                over("annotators_gold_limit_ratio", limit="upper"),
            ),
            Query(over("annotators_gold_ratio"), "right", BLUE),
            high=1,
        ),
        listing(
            "Annotators",
            "For each annotator (the first hundred by name) the answers in the training log, and "
            "the share of others' answers to the same requests that agree; empty where nobody else "
            "answered.",
            {
                "annotator": ("annotator", ""),
                "Value #A": ("answers", "short"),
                "Value #B": ("others agree", "percentunit"),
            },
            Query(over("annotator_answers", "annotator")),
            Query(over("annotator_agreement_ratio", "annotator")),
        ),
    ]
