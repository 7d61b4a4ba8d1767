"""The sections that a live run needs: log, security, message, loop, ledger, serve.

No section holds a secret: passwords, keys and tokens are named by file or environment variable.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from stream_al.config.sections import Section

__all__ = [
    "LedgerConfig",
    "LogConfig",
    "LoopConfig",
    "MessageConfig",
    "SecurityConfig",
    "ServeConfig",
]

Driver: TypeAlias = Literal["sqlite", "kafka", "librdkafka"]


class LogConfig(Section, frozen=True, kw_only=True):
    """Where events come from and everything else goes.

    Attributes
    ----------
    driver
        ``sqlite`` (one file, no server), ``kafka`` (kafka-python) or ``librdkafka``
        (confluent-kafka, the extra of that name). All members of a group use one driver.
    path
        With ``sqlite``: the file.
    brokers
        With the other two: host:port of one or more brokers, separated by commas.
    name
        What the names of all topics but the events', of groups and of transactions begin with.
    instance
        Names this process among those of its role: unique, and the same after a restart. `run`
        requires it with Kafka. With ``sqlite``, null: whoever starts waits until who was there
        before has left, or was silent for ``loop.session_timeout_s``.
    events
        The topic of the events.
    partitions
        With ``sqlite``, and where topics are created: partitions of each topic but the training
        log, which has one.
    max_record_bytes
        The most that a record may take: key, value and headers.
    retain_bytes
        With ``sqlite``: bytes kept of each topic's partition, except of the training log and of
        states; null: all.
    assignor
        With Kafka: how the gate's group shares partitions. With ``cooperative-sticky`` a member
        reads on in what it keeps while others come and go; but where one dies while partitions
        move, one of them may be nobody's until they move again. The ledger's is always ``range``.
    """

    driver: Driver = "sqlite"
    path: str = "stream-al.db"
    brokers: str = "localhost:9092"
    name: str = "stream-al"
    instance: str | None = None
    events: str = "events"
    partitions: int = 1
    max_record_bytes: int = 1_048_576
    retain_bytes: int | None = None
    assignor: Literal["range", "cooperative-sticky"] = "range"


class SecurityConfig(Section, frozen=True, kw_only=True):
    """How brokers are talked to; no secret stands here, only where it is.

    Attributes
    ----------
    protocol
        As Kafka's ``security.protocol``.
    mechanism
        As Kafka's ``sasl.mechanism``.
    username
        For PLAIN and SCRAM.
    password_file, password_env
        File, or environment variable, that holds the password.
    token_file
        For OAUTHBEARER: file that holds the token, read again whenever one is needed.
    ca_file
        Certificates that a broker's is checked against; null: the system's.
    cert_file, key_file
        The client's certificate and key, where brokers ask for them.
    key_password_env
        Environment variable that holds the password of `key_file`.
    """

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password_env: str | None = None


class MessageConfig(Section, frozen=True, kw_only=True):
    """How a user's message, a JSON object, becomes an event. Paths are names joined by dots.

    Attributes
    ----------
    id
        Path of the user's id; null: the ``ce_id`` header, else none.
    time
        Path of event time, epoch seconds or RFC 3339; null: the ``ce_time`` header, else the
        time that the log stored the message.
    key
        Path of the key that requests and predictions go by; null: the message's own key.
    features
        Path of the object that holds the features; empty: the whole message. Objects within
        become features named by their paths.
    include
        The features, by path within `features`; empty: all that are there. A path stands for all
        under it, and `*` matches any run of characters.
    exclude
        What is no feature, likewise. Id, time, key and label never are.
    categorical
        Features whose numbers are categories, likewise.
    missing
        Null, or a feature of `include` that is not there: ``refuse`` the message, or ``allow`` it
        without that feature.
    numeric_text
        Text that spells a number: ``refuse`` the message, take it as a ``number``, or as a
        ``category``.
    label
        In labels that nobody asked for (chargebacks, say): path of the class; null: such labels
        are refused.
    source
        In such labels: path of the name of who sent them; null: none.
    max_bytes
        The largest message that is looked at: of its value, and of key and headers together.
    """

    id: str | None = None
    time: str | None = None
    key: str | None = None
    features: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    missing: Literal["refuse", "allow"] = "refuse"
    numeric_text: Literal["refuse", "number", "category"] = "refuse"
    label: str | None = None
    source: str | None = None
    max_bytes: int = 131_072


class LoopConfig(Section, frozen=True, kw_only=True):
    """How the processes go round.

    Attributes
    ----------
    batch_size
        Records in one transaction, at most.
    poll_s
        How long to wait for a record.
    fold_size
        Training records folded between two batches, at most.
    transaction_timeout_s
        After this long without an end, the log aborts a transaction by itself.
    session_timeout_s
        After this long without a sign of life, a member's partitions go to others.
    commit_timeout_s
        How long a commit may take before its outcome counts as unknown.
    stop_timeout_s
        How long the batch under way may take to end after SIGTERM.
    state_dir
        Folder for snapshots of the fold; null: none are taken.
    snapshot_s
        Time between two snapshots.
    """

    batch_size: int = 2000
    poll_s: float = 0.1
    fold_size: int = 2000
    transaction_timeout_s: float = 10.0
    session_timeout_s: float = 45.0
    commit_timeout_s: float = 15.0
    stop_timeout_s: float = 20.0
    state_dir: str | None = None
    snapshot_s: float = 300.0


class LedgerConfig(Section, frozen=True, kw_only=True):
    """What becomes of requests and answers in time.

    Attributes
    ----------
    expire_after_s
        A request that nobody has answered for so long is closed; null: never.
    early_wait_s
        A label whose request has not been seen waits so long for it.
    early_limit
        Such labels kept for each partition, at most; beyond it the oldest is refused.
    on_expiry
        What silence means: ``missing`` (the request is closed without a label), or ``class:NAME``
        (an answer of that class; with chargebacks, silence means that a payment was good).
    remember
        Ended requests of each partition that an answer can still revise, retract or repeat.
    reasons
        What an answer may give as the reason of a revision, retraction, skip or flag; empty:
        any text.
    schema
        Current version of the label schema.
    schema_changes
        By version: which class names of the version before have which names from then on. Two
        with one new name are merged. Answers of an older version are read by them; what stands
        in the training log keeps its name.
    gold_file
        Cases whose class is known, JSON Lines: ``features`` as a request holds them, ``label``,
        and, optionally, ``id``. They are put among the requests, and what is answered tells how
        right annotators are; null: none.
    gold_share
        Share of requests that such a case follows, in [0, 1], beside the gate's budget.
    """

    expire_after_s: float | None = 604_800.0
    early_wait_s: float = 600.0
    early_limit: int = 10_000
    on_expiry: str = "missing"
    remember: int = 10_000
    reasons: tuple[str, ...] = ()
    schema: int = 1
    schema_changes: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    gold_file: str | None = None
    gold_share: float = 0.05

    @property
    def silence(self) -> str | None:
        """The class that silence means; None: it means none."""
        return None if self.on_expiry == "missing" else self.on_expiry.removeprefix("class:")


class ServeConfig(Section, frozen=True, kw_only=True):
    """Where health, metrics and the live page are served.

    Attributes
    ----------
    host, port
        Address and TCP port; port 0: a free one, which the log names; null: not served.
    stale_s
        A process whose last round is older than this is not healthy.
    decisions
        Who sees the last decisions on the page, which hold people's data: ``loopback``, whoever
        asks from this host (a proxy on it included); ``anyone``; ``nobody``.
    """

    host: str = "127.0.0.1"
    port: int | None = 9108
    stale_s: float = 60.0
    decisions: Literal["loopback", "anyone", "nobody"] = "loopback"
