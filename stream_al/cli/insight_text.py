"""What the training log tells about itself, for people."""

from __future__ import annotations

from stream_al.counted import counted
from stream_al.learner.monitor import Insight
from stream_al.learner.warning_signs import Sign, SignName

__all__ = ["insight_lines"]


def insight_lines(insight: Insight) -> list[str]:
    """Lay out what is known from the labels alone, as in a live run."""
    estimate, rolling = insight.estimate, insight.rolling
    lines = ["from the labels alone, as live:"]
    value = "-" if estimate.value is None else f"{estimate.value:.4f}"
    lines.append(
        f"accuracy          {value:>12}   {estimate.lower:.4f} to {estimate.upper:.4f} (95 %, "
        f"at all times), {counted(estimate.blocks, 'block')}"
    )
    epoch = insight.epoch
    if epoch.epoch > 1:
        value = "-" if epoch.value is None else f"{epoch.value:.4f}"
        lines.append(
            f"since drift       {value:>12}   {epoch.lower:.4f} to {epoch.upper:.4f}, "
            f"{counted(epoch.blocks, 'block')}"
        )
    naive = "-" if rolling.naive is None else f"{rolling.naive:.4f}"
    lines.append(f"naive, lately     {naive:>12}   of labelled events as they are: mostly hard")
    if estimate.unanswered:
        lines.append(
            f"unanswered        {estimate.unanswered:>12,}   blocks; accuracy between "
            f"{estimate.worst:.4f} and {estimate.best:.4f} whatever they would have been"
        )
    alarms = [f"{cause} {count}" for cause, count in insight.drift.counts.items() if count]
    lines.append(
        f"drift alarms      {sum(insight.drift.counts.values()):>12,}   {', '.join(alarms)}"
    )
    helping = insight.helping
    if helping.difference is not None:
        lines.append(
            f"asking, or random {helping.difference:>+12.4f}   {helping.lower:+.4f} to "
            f"{helping.upper:+.4f}: {helping.verdict}"
        )
    pairs = insight.agreement.random.kappa.count + insight.agreement.picked.kappa.count
    if pairs:
        for name, found in (
            ("random", insight.agreement.random.kappa),
            ("picked", insight.agreement.picked.kappa),
        ):
            value = "-" if found.value is None else f"{found.value:.4f}"
            lines.append(
                f"kappa, {name:11}{value:>12}   {found.lower:.4f} to {found.upper:.4f}, "
                f"{counted(found.count, 'pair')}"
            )
    lines += [f"warning           {name:>12}   {sign.why}" for name, sign in _on(insight)]
    return [line.rstrip() for line in lines]


def _on(insight: Insight) -> list[tuple[SignName, Sign]]:
    return [(name, sign) for name, sign in insight.warnings.items() if sign.on]
