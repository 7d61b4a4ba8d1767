"""The gate: score, policy, budget, exploration, and the decision that they make together."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from stream_al import keyed
from stream_al.config import GateConfig, content_hash
from stream_al.gate.exploration import Shares, pick
from stream_al.gate.policies import Policy, make_policy
from stream_al.gate.scores import Score, make_score
from stream_al.records import (
    Block,
    Decision,
    Event,
    Features,
    LabelRequest,
    ModelStamp,
    Observed,
    Prediction,
    Tally,
    check_features,
    request_id,
)

__all__ = ["Gate", "GateState", "Told"]

Weigh: TypeAlias = Callable[[Features, str], dict[str, float]]

_checksummed = msgspec.msgpack.Encoder().encode


Told: TypeAlias = Literal["pause", "boost", "burst", "random", "maintain"]
"""What the policy is told instead of what it would do: by an operator, or by the configuration."""


class GateState(msgspec.Struct):
    """What one partition's gate remembers: a few numbers, written with every batch.

    Attributes
    ----------
    next_offset
        No event below this offset is decided again.
    events, requests, observed
        Counts so far.
    level, tokens
        The policy's level and what is left in its bucket.
    block_end, picked
        Exploration: event count at which the open block ends, event count of its pick.
    block
        The open block; None before the first.
    unpredicted, sums
        Running `stream_al.records.Tally` of all events.
    drifted, drift_end
        Version of the drift that was responded to last, and event count at which that ends.
    sample_end, sampled
        The same two as for exploration for the block of the observed sample.
    checksum
        Running checksum of events and decisions.
    version
        Version of the model that decided last; no older one decides after it.
    config_hash
        Configuration that decided last.
    """

    level: float
    tokens: float
    next_offset: int = 0
    events: int = 0
    requests: int = 0
    observed: int = 0
    block: Block | None = None
    block_end: int = 0
    picked: int = -1
    unpredicted: int = 0
    sums: dict[str, list[float]] = {}
    drifted: int = 0
    drift_end: int = 0
    sample_end: int = 0
    sampled: int = -1
    checksum: int = 0
    version: int = 0
    config_hash: str = ""


class Gate:
    """Decides about events, one partition's state at a time.

    At every t the events asked for are at most ``budget * t + burst``: the policy's bucket holds
    at most ``burst`` less the one request that exploration may be ahead, fills at the budget's
    rate less exploration's, and is never overdrawn.

    Parameters
    ----------
    config
        Validated configuration.
    score, policy
        In place of the configured ones: any function and object that hold the contracts which
        `stream_al.gate.checks` tests.
    config_hash
        Names the configuration in decisions; the hash of `config` where None.
    """

    def __init__(
        self,
        config: GateConfig,
        score: Score | None = None,
        policy: Policy | None = None,
        config_hash: str | None = None,
    ) -> None:
        self.config = config
        self.config_hash = content_hash(config) if config_hash is None else config_hash
        self._usual = Shares.of(config.budget, config.explore)
        self._drifted = self._usual
        if config.on_drift == "explore":
            self._drifted = Shares.of(config.budget, max(config.explore, config.drift_explore))
        self.block_length, self.rate = self._usual.length, self._usual.policy
        self.capacity = config.burst - (1.0 if self.block_length else 0.0) if self.rate else 0.0
        self.score = make_score(config) if score is None else score
        self.policy = make_policy(config, self.rate or config.budget) if policy is None else policy

    def fresh_state(self) -> GateState:
        """Return the state before a partition's first event."""
        return GateState(
            level=self.policy.initial(), tokens=self.capacity, config_hash=self.config_hash
        )

    def adopt(self, state: GateState) -> None:
        """Go on with a state that another configuration decided with.

        The policy starts afresh, with no more tokens than there were, and a new block opens,
        which the bucket pays for: two picks may fall closer together than a block.
        """
        state.level = self.policy.initial()
        state.tokens = max(0.0, min(state.tokens, self.capacity) - 1.0)
        state.block_end, state.picked = state.events, -1
        state.config_hash = self.config_hash

    def respond(self, state: GateState, version: int) -> None:
        """Respond to a drift, once, from the next event on.

        Parameters
        ----------
        version
            Of the model as of the drift found last; 0: none was.
        """
        if version > state.drifted:
            state.drifted = version
            if self.config.on_drift != "report":
                state.drift_end = state.events + self.config.drift_events

    def decide(
        self,
        state: GateState,
        event: Event,
        probabilities: dict[str, float],
        prior: dict[str, float],
        stamp: ModelStamp,
        weigh: Weigh,
        now: float | None,
        told: Told | None = None,
    ) -> Decision:
        """Decide about one event and move the partition's state.

        Parameters
        ----------
        state
            The partition's; changed in place.
        event
            With an offset of at least ``state.next_offset``.
        probabilities
            Calibrated, over the known classes.
        prior
            Each known class's share of all traffic, as the model has it.
        stamp
            Names the model that they come from.
        weigh
            Tells which features moved the prediction of a class; called for asked events only.
        now
            The decision's time, epoch seconds.
        told
            What an operator wants of the policy instead of its own proposal, or what follows
            from the state of the model.
        """
        config = self.config
        offset, partition = event.offset, event.partition
        # First of all: what cannot be packed is refused before anything has moved.
        packed = _checksummed((offset, event.id, event.time, event.features))
        t = state.events
        if t == state.block_end and self.block_length:
            self._open_block(state, offset, partition)
        block, shares = state.block, self._usual
        if block is not None and block.length == self._drifted.length:
            shares = self._drifted
        explored = t == state.picked
        if t == state.sample_end:
            self._open_sample_block(state, partition)

        score = 1.0
        if len(probabilities) > 1:
            score = self.score(probabilities, prior)
            # Also true of NaN: what cannot be scored is what nothing is known about.
            if not 0.0 <= score <= 1.0:
                score = 0.0 if score < 0.0 else 1.0

        level, policy = state.level, self.policy
        tokens = state.tokens + shares.policy
        if tokens > self.capacity:
            tokens = self.capacity
        threshold, p_policy = policy.propose(level, score)
        if t < state.drift_end and told is None and config.on_drift == "burst":
            told = "burst"
        if told is not None:
            if told == "random":
                threshold, p_policy = 0.0, shares.policy
            elif told == "maintain":
                p_policy *= config.floor
            else:
                p_policy = 0.0 if told == "pause" else 1.0
        if tokens < 1.0:
            reason = "budget" if p_policy > 0.0 else "confident"
            p_policy = 0.0
            chosen = False
        else:
            if p_policy >= 1.0:
                chosen = True
            elif p_policy <= 0.0:
                chosen, reason = False, "confident"
            else:
                chosen = keyed.uniform("policy", config.salt, partition, offset) < p_policy
                reason = "draw"
            if told is None:
                # Else it stands still: what was told says nothing about the scores.
                level = policy.moved(level, score, chosen)
            if chosen:
                tokens -= 1.0
                reason = told if told == "boost" or told == "burst" else "policy"
        if told == "pause":
            reason = "paused"
        if explored:
            reason = "both" if chosen else "explore"
        asked = chosen or explored
        if asked or t == state.sampled:
            check_features(event.features)

        state.level = level
        state.tokens = tokens
        state.events = t + 1
        state.next_offset = offset + 1
        state.checksum = checksum = zlib.crc32(packed, state.checksum ^ asked)
        if len(probabilities) == 2:
            first, second = probabilities
            prediction = first if probabilities[first] >= probabilities[second] else second
        elif probabilities:
            prediction = max(probabilities, key=probabilities.__getitem__)
        else:
            prediction = None
        if prediction is None:
            state.unpredicted += 1
        else:
            sums = state.sums
            for name, probability in probabilities.items():
                if name in sums:
                    sums[name][2] += probability
                else:
                    sums[name] = [0.0, 0.0, probability]
            expected = sums[prediction]
            expected[0] += 1.0
            expected[1] += probabilities[prediction]
        propensity = 1.0 - (1.0 - shares.explored) * (1.0 - p_policy)
        weighed = (weigh(event.features, prediction) if prediction else {}) if asked else None
        # By position: by name would cost a fifth of the whole decision.
        predicted = Prediction(
            event.topic,
            partition,
            offset,
            event.id,
            event.time,
            prediction,
            probabilities,
            "ask" if asked else "auto",
            reason,
            score,
            threshold,
            p_policy,
            propensity,
            -1 if block is None else block.number,
            explored,
            tokens,
            stamp.fold_id,
            stamp.version,
            stamp.digest,
            self.config_hash,
            now,
            checksum,
            weighed,
        )
        observed = self._sample(state, event) if t == state.sampled else None
        if weighed is None:
            return Decision(predicted, None, observed)
        request = LabelRequest(
            request_id=request_id(event.topic, partition, offset),
            request_no=state.requests,
            topic=event.topic,
            partition=partition,
            offset=offset,
            id=event.id,
            time=event.time,
            features=event.features,
            prediction=prediction,
            probabilities=probabilities,
            score=score,
            reason=reason,
            explored=explored,
            propensity=propensity,
            fold_id=stamp.fold_id,
            model_version=stamp.version,
            weighed=weighed,
            block=block,
            opinions=2 if self._second_opinion(partition, offset) else 1,
        )
        state.requests += 1
        return Decision(predicted, request, observed)

    def _second_opinion(self, partition: int, offset: int) -> bool:
        share = self.config.second_opinion
        return bool(share) and keyed.uniform("opinion", self.config.salt, partition, offset) < share

    def _open_block(self, state: GateState, offset: int, partition: int) -> None:
        number = 0 if state.block is None else state.block.number + 1
        length = (self._drifted if state.events < state.drift_end else self._usual).length
        sums = {
            name: (int(n), confidence, mass) for name, (n, confidence, mass) in state.sums.items()
        }
        state.block = Block(number, length, offset, Tally(state.unpredicted, sums))
        state.block_end = state.events + length
        state.picked = state.events + pick(self.config.salt, partition, number, length)

    def _open_sample_block(self, state: GateState, partition: int) -> None:
        """Pick the next event for the sample of all traffic.

        Blocks grow with the sample, from one event to `observe_every`, so that means and
        deviations settle soon whatever the traffic.
        """
        length = min(self.config.observe_every, 1 + state.observed // 8)
        block = (self.config.salt, partition, state.observed)
        state.sampled = state.events + keyed.below(length, "observe", *block)
        state.sample_end = state.events + length

    def _sample(self, state: GateState, event: Event) -> Observed:
        state.observed += 1
        return Observed(
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            time=event.time,
            features=event.features,
        )
