"""Explanations of decisions for people."""

from __future__ import annotations

import textwrap

from stream_al.cli.insight_text import insight_lines
from stream_al.counted import counted
from stream_al.gate.why import told_apart, why
from stream_al.records import Prediction, request_id
from stream_al.replay.explain import Explanation

__all__ = ["explanation_text"]

_WIDTH = 79
_COLUMN = 13
_CLASSES = 5


def explanation_text(explanation: Explanation) -> str:
    """Lay out an explanation: a heading, the reason in words, and what it was made of."""
    decision = explanation.decision
    name = f", id {decision.id!r}" if decision.id else ""
    asked = "ASKED" if decision.action == "ask" else "NOT ASKED"
    place = request_id(decision.topic, decision.partition, decision.offset)
    return "\n".join(
        [
            f"event {place}{name}: {asked}",
            *textwrap.wrap(why(decision), _WIDTH, break_on_hyphens=False),
            "",
            *_lines(decision),
            "",
            *_weighed(explanation),
            *(["", *insight_lines(explanation.insight)] if explanation.insight else []),
        ]
    )


def _lines(decision: Prediction) -> list[str]:
    """Lay out the figures of the decision, each with what it means."""
    score, threshold = told_apart(decision.score, decision.threshold)
    tokens, _ = told_apart(decision.tokens, 1.0)
    if decision.block < 0:
        block = "none: nothing is explored"
    elif decision.explored:
        block = f"{decision.block}: this event was its pick, which is asked whatever its score"
    else:
        block = f"{decision.block}: another of its events was its pick"
    version = decision.model_version
    model = "nothing learned yet"
    if version:
        model = f"first {counted(version, 'record')} of the training log"
    return [
        _line("score", f"{score}, in [0, 1]: 1 where a label would tell most"),
        _line("threshold", f"{threshold}: what the policy compared the score with"),
        _line("tokens", f"{tokens} left to the policy after the decision; each request takes 1"),
        _line("block", block),
        _line("p_policy", f"{decision.p_policy:.4g}: {_p_policy(decision)}"),
        _line("propensity", f"{decision.propensity:.4g}: {_propensity(decision)}"),
        _line("prediction", _prediction(decision)),
        _line("model", f"version {version}: {model}"),
        _line("", f"fold {decision.fold_id}, digest {decision.digest}"),
    ]


def _line(name: str, text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"{name:{_COLUMN}}",
        subsequent_indent=" " * _COLUMN,
        break_on_hyphens=False,
    )


def _p_policy(decision: Prediction) -> str:
    if decision.p_policy >= 1.0:
        return "given all before, the policy was certain to ask"
    if decision.p_policy > 0.0:
        return "probability that the policy asks, given all before"
    return "given all before, the policy was certain not to ask"


def _propensity(decision: Prediction) -> str:
    p = decision.propensity
    if p <= 0.0:
        return "nothing could ask; no label can speak for such events"
    if p >= 1.0:
        return "certain to be asked; a label speaks for this event alone"
    return (
        "probability that policy or exploration asks; a label speaks for "
        f"{1.0 / p:,.4g} such events"
    )


def _prediction(decision: Prediction) -> str:
    if decision.prediction is None:
        return "none: no class was known"
    ranked = sorted(decision.probabilities.items(), key=lambda item: -item[1])
    shares = [f"{name}: {p:.4g}" for name, p in ranked[:_CLASSES]]
    if more := len(ranked) - _CLASSES:
        shares += [counted(more, "more class", "more classes")] if more > 0 else []
    return f"{decision.prediction} (probabilities: {', '.join(shares)})"


def _weighed(explanation: Explanation) -> list[str]:
    """Lay out the features that moved the prediction, or say why there are none."""
    weighed, features = explanation.weighed, explanation.features or {}
    if weighed is None:
        return [
            "The features that weighed most are kept for events that were asked about.",
            "To recompute them for this one, add --source SOURCE --training OUT.jsonl",
            "(the stream that was played, and what `replay --training` wrote).",
        ]
    if not weighed:
        return ["No feature weighed: no model had learned to tell two classes apart."]
    width = max(map(len, weighed)) + 2
    lines = [
        "features that weighed most: what each added to the log odds of class "
        f"{explanation.decision.prediction}"
    ]
    for name, part in weighed.items():
        value = f"   {name} = {features[name]}" if name in features else ""
        lines.append(f"  {name:{width}}{part:+9.4f}{value}")
    return lines
