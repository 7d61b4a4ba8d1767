"""All sections together, and what is wrong with them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

import msgspec

from stream_al.config.live import (
    LedgerConfig,
    LogConfig,
    LoopConfig,
    MessageConfig,
    SecurityConfig,
    ServeConfig,
)
from stream_al.config.sections import (
    AnnotatorConfig,
    GateConfig,
    LearnerConfig,
    ReplayConfig,
    Section,
    SourceConfig,
)
from stream_al.errors import ConfigError

__all__ = ["Config", "content_hash", "decision_hash", "problems", "validate"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Config(Section, frozen=True, kw_only=True):
    """Everything that can be configured.

    Examples
    --------
    >>> config = Config(gate=GateConfig(budget=0.02))
    >>> config.gate.budget, config.learner.model
    (0.02, 'logistic')
    """

    learner: LearnerConfig = LearnerConfig()
    gate: GateConfig = GateConfig()
    source: SourceConfig = SourceConfig()
    annotator: AnnotatorConfig = AnnotatorConfig()
    replay: ReplayConfig = ReplayConfig()
    log: LogConfig = LogConfig()
    security: SecurityConfig = SecurityConfig()
    message: MessageConfig = MessageConfig()
    loop: LoopConfig = LoopConfig()
    ledger: LedgerConfig = LedgerConfig()
    serve: ServeConfig = ServeConfig()


def content_hash(section: msgspec.Struct) -> str:
    """Hash a section's values: 16 hexadecimal digits that name the configuration.

    Examples
    --------
    >>> content_hash(GateConfig()) == content_hash(GateConfig(budget=0.05))
    True
    """
    return hashlib.blake2b(msgspec.json.encode(section, order="sorted"), digest_size=8).hexdigest()


def decision_hash(config: Config | Mapping[str, object]) -> str:
    """Hash what decisions depend on besides the model: the sections of gate and messages.

    Parameters
    ----------
    config
        A configuration, or one as a ``configured`` record holds it.

    Examples
    --------
    >>> decision_hash(Config()) == decision_hash(msgspec.to_builtins(Config()))
    True
    """
    sections = config if isinstance(config, Mapping) else msgspec.structs.asdict(config)
    chosen = [sections.get("gate"), sections.get("message")]
    return hashlib.blake2b(msgspec.json.encode(chosen, order="sorted"), digest_size=8).hexdigest()


def problems(config: Config) -> list[tuple[str, str]]:
    """List what is wrong with the values, as (``section.key``, what was expected).

    Examples
    --------
    >>> problems(Config(gate=GateConfig(budget=0.0)))
    [('gate.budget', 'must be in (0, 1], not 0.0')]
    """
    learner, gate, source = config.learner, config.gate, config.source
    annotator, replay = config.annotator, config.replay
    found: list[tuple[str, str]] = []

    def need(key: str, holds: bool, expected: str, value: object) -> None:
        if not holds:
            found.append((key, f"must be {expected}, not {value!r}"))

    need("learner.model", bool(learner.model), "a preset or package.module:factory", learner.model)
    need(
        "learner.classes",
        len(set(learner.classes)) == len(learner.classes) != 1 and all(learner.classes),
        "at least two different names, none empty, or none at all",
        list(learner.classes),
    )
    need("learner.memory", learner.memory >= 1, "at least 1", learner.memory)
    need("learner.draws", learner.draws >= 0, "at least 0", learner.draws)
    need("learner.balance", 0 <= learner.balance <= 0.5, "in [0, 0.5]", learner.balance)
    need("gate.budget", 0 < gate.budget <= 1, "in (0, 1]", gate.budget)
    need("gate.explore", 0 <= gate.explore <= 1, "in [0, 1]", gate.explore)
    need("gate.burst", 2 <= gate.burst < math.inf, "at least 2 and finite", gate.burst)
    need("gate.threshold", 0 <= gate.threshold <= 1, "in [0, 1]", gate.threshold)
    step = gate.step
    need("gate.step", step is None or 0 < step < math.inf, "above 0 and finite", step)
    need("gate.observe_every", gate.observe_every >= 1, "at least 1", gate.observe_every)
    ends = gate.stop_labels
    need("gate.stop_labels", ends is None or ends >= 1, "at least 1, or null", ends)
    counts = "budget" not in gate.stop_when or ends is not None
    need("gate.stop_labels", counts, "set, because gate.stop_when has 'budget'", ends)
    measured = "performance" not in gate.stop_when or gate.explore > 0
    need(
        "gate.explore", measured, "above 0, because gate.stop_when has 'performance'", gate.explore
    )
    need("gate.floor", 0 <= gate.floor <= 1, "in [0, 1]", gate.floor)
    need("gate.drift_events", gate.drift_events >= 1, "at least 1", gate.drift_events)
    wide = gate.drift_explore
    need("gate.drift_explore", 0 < wide <= 1, "in (0, 1]", wide)
    explores = gate.on_drift != "explore" or gate.explore > 0
    need("gate.explore", explores, "above 0 with gate.on_drift = 'explore'", gate.explore)
    second = gate.second_opinion
    need("gate.second_opinion", 0 <= second <= 1, "in [0, 1]", second)
    if gate.score == "risk":
        named = "a class, because score is 'risk'"
        need("gate.risk_class", bool(gate.risk_class), named, gate.risk_class)
        if gate.risk_class and learner.classes:
            among = f"one of the declared classes {', '.join(learner.classes)}"
            need("gate.risk_class", gate.risk_class in learner.classes, among, gate.risk_class)
    need("source.label", bool(source.label), "the name of a column", source.label)
    need("source.partitions", source.partitions >= 1, "at least 1", source.partitions)
    need("annotator.abstain", 0 <= annotator.abstain <= 1, "in [0, 1]", annotator.abstain)
    found += _noise_problems(annotator.noise, learner.classes)
    capacity = annotator.capacity_per_day
    need("annotator.capacity_per_day", capacity is None or capacity >= 1, "at least 1", capacity)
    need("replay.limit", replay.limit is None or replay.limit >= 1, "at least 1", replay.limit)
    need("replay.batch_size", replay.batch_size >= 1, "at least 1", replay.batch_size)
    return found + _live_problems(config)


def _live_problems(config: Config) -> list[tuple[str, str]]:
    log, security, message = config.log, config.security, config.message
    loop, ledger, serve = config.loop, config.ledger, config.serve
    found: list[tuple[str, str]] = []

    def need(key: str, holds: bool, expected: str, value: object) -> None:
        if not holds:
            found.append((key, f"must be {expected}, not {value!r}"))

    named = "letters, digits, '.', '_' and '-', at most 100"
    need("log.path", bool(log.path), "the name of a file", log.path)
    need("log.brokers", bool(log.brokers.strip()), "host:port, or several", log.brokers)
    for key in ("name", "events"):
        need(f"log.{key}", bool(_NAME.fullmatch(getattr(log, key))), named, getattr(log, key))
    need(
        "log.instance",
        log.instance is None or bool(_NAME.fullmatch(log.instance)),
        named,
        log.instance,
    )
    need("log.partitions", 1 <= log.partitions <= 10_000, "in [1, 10000]", log.partitions)
    room = "at least 8 times message.max_bytes, for what a request adds to its event"
    need(
        "log.max_record_bytes",
        log.max_record_bytes >= 8 * message.max_bytes,
        room,
        log.max_record_bytes,
    )
    retain = log.retain_bytes
    need("log.retain_bytes", retain is None or retain >= 1, "at least 1", retain)
    sasl, mechanism = security.protocol.startswith("SASL"), security.mechanism
    if sasl and mechanism == "OAUTHBEARER":
        need("security.token_file", bool(security.token_file), "a file", security.token_file)
    elif sasl:
        need("security.username", bool(security.username), "a name", security.username)
        given = [security.password_file, security.password_env]
        one = "given, or else password_env, and not both"
        need("security.password_file", sum(map(bool, given)) == 1, one, security.password_file)
    pair = bool(security.cert_file) == bool(security.key_file)
    need("security.key_file", pair, "given together with cert_file", security.key_file)
    need("message.max_bytes", message.max_bytes >= 1, "at least 1", message.max_bytes)
    need("loop.batch_size", loop.batch_size >= 1, "at least 1", loop.batch_size)
    need("loop.fold_size", loop.fold_size >= 1, "at least 1", loop.fold_size)
    for key in (
        "poll_s",
        "transaction_timeout_s",
        "session_timeout_s",
        "commit_timeout_s",
        "stop_timeout_s",
        "snapshot_s",
    ):
        value = getattr(loop, key)
        need(f"loop.{key}", 0 < value < math.inf, "above 0 and finite", value)
    expire = ledger.expire_after_s
    holds = expire is None or 0 < expire < math.inf
    need("ledger.expire_after_s", holds, "above 0 and finite", expire)
    wait = ledger.early_wait_s
    need("ledger.early_wait_s", 0 <= wait < math.inf, "at least 0 and finite", wait)
    need("ledger.early_limit", ledger.early_limit >= 0, "at least 0", ledger.early_limit)
    need("ledger.gold_share", 0 <= ledger.gold_share <= 1, "in [0, 1]", ledger.gold_share)
    need("ledger.gold_file", ledger.gold_file != "", "the name of a file", ledger.gold_file)
    need("ledger.remember", ledger.remember >= 1, "at least 1", ledger.remember)
    need("ledger.schema", ledger.schema >= 1, "at least 1", ledger.schema)
    versions = [str(version) for version in range(2, ledger.schema + 1)]
    for version, changes in ledger.schema_changes.items():
        key = f"ledger.schema_changes.{version}"
        need(key, version in versions, "of a version from 2 to ledger.schema", version)
        need(key, all(changes) and all(changes.values()), "names, none empty", changes)
    silence, declared = ledger.on_expiry, config.learner.classes
    expected = "'missing' or 'class:NAME'"
    means = silence.removeprefix("class:") if silence.startswith("class:") else ""
    need("ledger.on_expiry", silence == "missing" or bool(means), expected, silence)
    if means and declared:
        among = f"of one of the declared classes {', '.join(declared)}"
        need("ledger.on_expiry", means in declared, among, silence)
    need("serve.host", bool(serve.host), "an address", serve.host)
    need("serve.port", serve.port is None or 0 <= serve.port < 65536, "a port", serve.port)
    need("serve.stale_s", 0 < serve.stale_s < math.inf, "above 0 and finite", serve.stale_s)
    return found


def _noise_problems(
    noise: float | dict[str, dict[str, float]], classes: tuple[str, ...]
) -> list[tuple[str, str]]:
    if not isinstance(noise, dict):
        return [] if 0 <= noise <= 1 else [("annotator.noise", f"must be in [0, 1], not {noise!r}")]
    found = []
    for truth, answers in noise.items():
        key = f"annotator.noise.{truth}"
        if classes and not {truth, *answers} <= set(classes):
            found.append((key, f"must name declared classes only: {', '.join(classes)}"))
        total = sum(answers.values())
        if any(not 0 <= p <= 1 for p in answers.values()) or abs(total - 1) > 1e-9:
            found.append((key, f"must hold probabilities that add up to 1, not {answers!r}"))
    return found


def validate(config: Config) -> Config:
    """Return the configuration unchanged, or say what is wrong with it.

    Raises
    ------
    ConfigError
        With every mistake in one line, keys named.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"expected a Config, not {type(config).__name__}")
    try:
        msgspec.convert(msgspec.to_builtins(config), Config)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(str(error)) from error
    if found := problems(config):
        raise ConfigError("; ".join(f"{key} {what}" for key, what in found))
    return config
