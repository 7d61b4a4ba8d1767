"""How a page writes numbers, and what it calls things."""

from __future__ import annotations

from collections.abc import Mapping

from stream_al.replay.runs import Metric

__all__ = ["METRIC_NAMES", "count", "number", "per_cent", "signed"]

METRIC_NAMES: Mapping[Metric, str] = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "mean_cycle_f1": "mean cycle F1",
    "kappa": "Cohen's kappa",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
}
"""What people call each metric, in the order in which it is shown."""

_MISSING = "-"


def number(value: float | None) -> str:
    """Write a score.

    Examples
    --------
    >>> number(0.98765), number(None)
    ('0.9877', '-')
    """
    return _MISSING if value is None else f"{value:.4f}"


def signed(value: float) -> str:
    """Write a difference of scores.

    Examples
    --------
    >>> signed(0.01), signed(-0.01)
    ('+0.0100', '-0.0100')
    """
    return f"{value:+.4f}"


def count(value: float) -> str:
    """Write a number of things.

    Examples
    --------
    >>> count(12345.6)
    '12,346'
    """
    return f"{value:,.0f}"


def per_cent(value: float | None) -> str:
    """Write a share; no line breaks before its sign.

    Examples
    --------
    >>> per_cent(0.0512).split(), per_cent(None)
    (['5.12', '%'], '-')
    """
    return _MISSING if value is None else f"{value:.2%}".replace("%", "\N{NO-BREAK SPACE}%")
