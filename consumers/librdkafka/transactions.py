"""Writing in transactions: a producer whose every error says what is left to do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError, Producer

from consumers.errors import AbortError, LogError, RebuildError, RetryError, StopError
from consumers.librdkafka.admin import Target
from consumers.librdkafka.client import SOCKET_MS, Clients, places
from consumers.librdkafka.errors import FAILURES, Reports, error_of, is_fatal, meaning
from consumers.librdkafka.outbox import Outbox
from consumers.log import Out, Partition
from consumers.testing.crash import crash_point
from consumers.watch import Call, Watch
from stream_al.config import LoopConfig

__all__ = ["FencedError", "Transactions"]

_INIT_S = 15.0
_AGAIN_S = 0.02
_GRACE_S = 1.0
_FLUSH_S = 1.0


class FencedError(RebuildError):
    """The producer was fenced: its transaction took too long, or another has its identity."""


class Transactions:
    """One transaction after the other, all under one transactional id.

    Parameters
    ----------
    identity
        The transactional id; whoever had it before is fenced.
    target
        Looks up a topic to write to.
    watch
        Runs what may hang.

    Raises
    ------
    RetryError, StopError
    """

    def __init__(
        self,
        clients: Clients,
        identity: str,
        loop: LoopConfig,
        target: Callable[[str], Target],
        watch: Watch,
    ) -> None:
        self._identity = identity
        self._watch = watch
        self._open = False
        self._sending: Call | None = None
        self._committing: Call | None = None
        self._sent: tuple[Mapping[Partition, int], bytes] | None = None
        self._reports = Reports()
        self._producer = clients.producer(
            Producer,
            self._reports,
            {
                "transactional.id": identity,
                "transaction.timeout.ms": int(loop.transaction_timeout_s * 1000),
                # librdkafka wants it to be no longer than the transaction.
                "socket.timeout.ms": min(SOCKET_MS, int(loop.transaction_timeout_s * 1000)),
                # A commit does not wait for it.
                "linger.ms": 20,
                # What fails makes the transaction fail, which tells.
                "delivery.report.only.error": True,
            },
        )
        self._timeout_s = loop.commit_timeout_s
        self._outbox = Outbox(self._producer, target, self._timeout_s)
        self._begin(loop.transaction_timeout_s + _INIT_S)

    def send(
        self, outs: Iterable[Out], offsets: Mapping[Partition, int], generation: bytes | None
    ) -> None:
        """Write into the transaction, beginning one where none is open.

        Parameters
        ----------
        offsets, generation
            What is going to be committed with it, as far as it is known: it is sent meanwhile.

        Raises
        ------
        TooLargeError, AbortError, FencedError, RebuildError, StopError
        """
        try:
            first = not self._open
            if first:
                self._producer.begin_transaction()
                self._open = True
            self._outbox.put(outs)
            if first and offsets and generation is not None:
                self._send_offsets(offsets, generation)
        except FAILURES as error:
            raise self._meaning(error, "sending") from error
        except RetryError as error:
            # A topic could not be looked up: what was sent before cannot stay alone.
            raise AbortError(str(error)) from error

    def begin_commit(self, offsets: Mapping[Partition, int], generation: bytes) -> None:
        """Begin to commit what was sent with these offsets, as a member of this generation.

        Raises
        ------
        AbortError, FencedError, RebuildError, StopError
        """
        if not self._open:
            self.send((), offsets, generation)
        if self._sent != (offsets, generation):
            self._await_offsets()
            self._send_offsets(offsets, generation)
        # Taken here: a call that hung may come back when this is closed.
        sending, end, commit = self._sending, self._deadline(), self._producer.commit_transaction
        self._sending = None

        def decide() -> None:
            if sending is not None:
                sending.end()
            crash_point("offsets")
            self._until(end, "committing", commit)

        self._committing = self._watched("committing", decide)

    def end_commit(self) -> None:
        """Wait until it is decided.

        Raises
        ------
        AbortError, FencedError, RebuildError, StopError
        """
        committing, self._committing = self._committing, None
        if committing is not None:
            self._await(committing)
            self._open, self._sent = False, None

    def abort(self) -> None:
        """Give up the open transaction, if any.

        Raises
        ------
        FencedError, RebuildError
        """
        with contextlib.suppress(AbortError):
            self.end_commit()
        self._outbox.forget()
        if not self._open:
            return
        producer, end = self._producer, self._deadline()

        def decide() -> None:
            # Were a partition still being added to a transaction that follows another at once,
            # librdkafka would end one that the broker has not begun, and that is fatal.
            producer.flush(_FLUSH_S)
            self._until(end, "aborting", producer.abort_transaction)

        try:
            with contextlib.suppress(AbortError):
                self._await_offsets()
            self._await(self._watched("aborting", decide))
            self._open, self._sent = False, None
        except AbortError as error:
            raise RebuildError(str(error)) from error

    def close(self, timeout_s: float) -> None:
        """Give up what is open, as far as brokers answer in time.

        Raises
        ------
        KafkaException, KafkaError
        """
        try:
            with contextlib.suppress(LogError):
                self.end_commit()
            if self._open:
                self._producer.abort_transaction(timeout_s)
        finally:
            # Ends the client's threads.
            del self._outbox, self._producer

    def _begin(self, timeout_s: float) -> None:
        try:
            self._producer.init_transactions(timeout_s)
        except FAILURES as raised:
            error = error_of(raised)
            if self._reports.refused:
                raise StopError(f"brokers refuse access: {self._reports.refused}") from raised
            otherwise = StopError if is_fatal(error) else RetryError
            raise meaning(error, f"opening transaction {self._identity!r}", otherwise) from raised

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_s

    def _send_offsets(self, offsets: Mapping[Partition, int], generation: bytes) -> None:
        """Begin to send offsets: that takes about as long as to end the transaction."""
        self._sent = offsets, generation
        send, positions = self._producer.send_offsets_to_transaction, places(offsets)
        doing, end = "sending offsets", self._deadline()
        self._sending = self._watched(
            doing,
            lambda: self._until(end, doing, lambda left: send(positions, generation, left)),
        )

    def _await_offsets(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            self._await(sending)

    def _watched(self, doing: str, call: Callable[[], None]) -> Call:
        doing = f"transaction {self._identity!r}: {doing}"
        return self._watch.begin(call, self._timeout_s + _GRACE_S, doing)

    def _await(self, call: Call) -> None:
        try:
            call.end()
        except RebuildError:
            # Whoever has this identity next has it decided.
            self._open, self._sent = False, None
            raise

    def _until(self, end: float, doing: str, call: Callable[[float], None]) -> None:
        """Call, and again while that may help; without an answer nothing is known."""
        while (left := end - time.monotonic()) > 0:
            try:
                call(left)
            except FAILURES as raised:
                if not error_of(raised).retriable():
                    raise self._meaning(raised, doing) from raised
                time.sleep(_AGAIN_S)
            else:
                return
        raise RebuildError(
            f"transaction {self._identity!r}: {doing}: no answer within {self._timeout_s:g} s; "
            "its outcome is unknown"
        )

    def _meaning(self, raised: BaseException, doing: str) -> LogError:
        error = error_of(raised)
        if error.code() == KafkaError._STATE:
            error = self._why(error)
        if error.code() in (KafkaError._FENCED, KafkaError._FATAL):
            return meaning(error, f"transaction {self._identity!r}: {doing}", FencedError)
        if error.code() == KafkaError.FENCED_INSTANCE_ID:
            # The seat's holder may be this member itself, which has joined anew meanwhile; if not,
            # the next poll tells.
            return AbortError(f"transaction {self._identity!r}: {doing}: {error.str()}")
        otherwise = AbortError if error.txn_requires_abort() else RebuildError
        return meaning(error, f"transaction {self._identity!r}: {doing}", otherwise)

    def _why(self, error: KafkaError) -> KafkaError:
        """Ask why a transaction that has failed takes no more records: beginning one tells."""
        try:
            self._producer.begin_transaction()
        except FAILURES as raised:
            return error_of(raised)
        return error
