"""A decision in plain words."""

from __future__ import annotations

from stream_al.records import Prediction

__all__ = ["told_apart", "why"]


def why(decision: Prediction) -> str:
    """Say in plain words why an event was asked about or not.

    Examples
    --------
    >>> from stream_al import Engine, Event
    >>> print(why(Engine().decide_one(Event(offset=0, features={"amount": 12.5})).prediction))
    Asked by the policy. Fewer than two classes were known, so the score was at its highest. The
    score of 1 reached the threshold of 0.5.
    """
    pick = (
        f"this event was the pick of block {decision.block}, drawn when the block opened, "
        "whatever its score"
    )
    match decision.reason:
        case "policy":
            told = ["Asked by the policy."]
        case "both":
            told = [f"Asked by the policy, and by exploration: {pick}."]
        case "explore":
            told = [f"Asked by exploration: {pick}."]
        case "boost":
            told = ["Asked by the policy, which an operator had told to ask more."]
        case "burst":
            told = ["Asked by the policy, which asks more since drift was found."]
        case _:
            told = ["Not asked."]
    if len(decision.probabilities) < 2:
        told.append("Fewer than two classes were known, so the score was at its highest.")
    return " ".join([*told, _policy_told(decision)])


def _policy_told(decision: Prediction) -> str:
    """Say what the policy made of the event, whatever exploration did."""
    score, threshold = told_apart(decision.score, decision.threshold)
    reason, p = decision.reason, decision.p_policy
    if reason == "paused":
        return "An operator has paused the policy."
    if 0.0 < p < 1.0:
        said = "yes" if reason in ("policy", "both") else "no"
        return (
            f"At the score of {score} the policy asks with probability {p:.4g}, by a draw; "
            f"the draw said {said}."
        )
    if p > 0.0 and decision.score < decision.threshold:
        return f"The score of {score}, below the threshold of {threshold}, did not matter."
    if p > 0.0:
        return f"The score of {score} reached the threshold of {threshold}."
    tokens, one = told_apart(decision.tokens, 1.0)
    empty = f"its bucket held {tokens} tokens, and a request takes {one}"
    if reason == "budget":
        return (
            f"The policy would have asked (score {score}, threshold {threshold}), but its budget "
            f"was used up: {empty}."
        )
    if reason == "explore" and decision.tokens < 1.0:
        return f"The policy itself could not ask: {empty}."
    if decision.score < decision.threshold:
        return f"The score of {score} stayed below the threshold of {threshold}."
    return f"At the score of {score} the policy does not ask."


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Write two numbers, with as many digits as it takes to see that they differ.

    Examples
    --------
    >>> told_apart(0.25, 0.5), told_apart(0.999999, 1.0)
    (('0.25', '0.5'), ('0.999999', '1'))
    """
    for digits in range(4, 18):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if one == other or texts[0] != texts[1]:
            break
    return texts
