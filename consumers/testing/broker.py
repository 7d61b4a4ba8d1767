"""A real Kafka broker for tests: downloaded once, started on free ports, always ended.

Needs Java 17 or newer and Maven. One process is broker and controller; nothing is replicated.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient

from consumers.errors import LogError
from consumers.kafka.clients import FAILURES, Clients
from consumers.testing.broker_files import (
    BrokerError,
    Listener,
    home_folder,
    java,
    write_properties,
)
from stream_al.config import LogConfig, SecurityConfig

__all__ = ["Broker", "BrokerError", "shared"]

_READY_S = 180.0
"""A machine that was just made may read Java and Kafka for the first time for over a minute."""
_GRACE_S = 20.0


class Broker:
    """One Kafka 4.1.1 broker of its own, with its data in a temporary folder.

    A context manager: entering starts it, leaving ends it and removes its data. It also ends with
    the thread that started it (on Linux), so that a test run that is killed leaves nothing behind.

    Parameters
    ----------
    protocol
        How clients talk to it, as Kafka's ``security.protocol``.
    settings
        Of the broker, by Kafka's names, over those that suit tests.
    advertised
        host:port that clients are told to go on with, a proxy's say; None: `address`.

    Attributes
    ----------
    address
        host:port for clients; the same after a restart.
    internal
        host:port that needs neither credentials nor TLS, whatever `protocol` is.
    log
        The file that the broker's messages go to.
    """

    def __init__(
        self,
        *,
        protocol: str = "PLAINTEXT",
        settings: Mapping[str, str] | None = None,
        advertised: str | None = None,
    ) -> None:
        self._protocol = protocol
        self._advertised = advertised
        self._given = dict(settings or {})
        self._folder = Path(tempfile.mkdtemp(prefix="stream-al-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.log = self._folder / "broker.log"
        clients, internal, controller = _free_ports(3)
        self.address = f"127.0.0.1:{clients}"
        self.internal = f"127.0.0.1:{internal}"
        self._controller = f"127.0.0.1:{controller}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process, while it runs.

        Raises
        ------
        BrokerError
            If it does not.
        """
        if self._process is None:
            raise BrokerError("the broker does not run")
        return self._process.pid

    def start(self) -> None:
        """Start with the data that is there, and wait until a client is answered.

        Raises
        ------
        BrokerError
            If Java or Maven is missing, or the broker did not start: names its log.
        """
        if self._process is not None:
            return
        home = home_folder()
        data = self._folder / "data"
        if not data.exists():
            shutil.copytree(home / "formatted", data)
        properties = self._folder / "server.properties"
        listeners = {
            "INTERNAL": Listener(self.internal),
            "CLIENTS": Listener(self.address, self._protocol, self._advertised),
            "CONTROLLER": Listener(self._controller),
        }
        write_properties(properties, data, listeners, self._given)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*java(home), "-Xmx512m", "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        self._await()

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL); the data stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order; the data stays."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it and start it again, with the same data and address.

        Raises
        ------
        BrokerError
            As `start`.
        """
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await(self) -> None:
        # Clients are asked for on the listener that needs no credentials.
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            if _answers(self.internal) and _accepts(self.address):
                return
            time.sleep(0.1)
        self.kill()
        tail = self.log.read_text(errors="replace")[-1500:]
        raise BrokerError(f"the broker did not start within {_READY_S:.0f} s; its log ends: {tail}")


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[str]:
    """Share one broker among processes: yields its host:port, starts it where none runs yet.

    It belongs to a process of its own, which ends it when the last user has left or died.

    Parameters
    ----------
    folder
        Names the broker: whoever gives the same folder uses the same one.

    Raises
    ------
    BrokerError
        As `Broker.start`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address, failure = folder / "address", folder / "failure"
    with (folder / "users").open("ab") as users, (folder / "lock").open("ab") as lock:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists() and not failure.exists():
            with (folder / "holder.log").open("ab") as log:
                holder = subprocess.Popen(
                    [sys.executable, "-m", "consumers.testing.broker", "--hold", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            while not address.exists() and not failure.exists() and holder.poll() is None:
                time.sleep(0.05)
            # It outlives whoever started it.
            holder.returncode = 0
        fcntl.flock(lock, fcntl.LOCK_UN)
        if not address.exists():
            why = failure.read_text() if failure.exists() else f"see {folder / 'holder.log'}"
            raise BrokerError(why)
        yield address.read_text()


def _hold(folder: Path) -> None:
    """Run a broker until nobody holds `users` any more."""
    try:
        with Broker() as broker:
            _publish(folder / "address", broker.address)
            with (folder / "users").open("ab") as users:
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    time.sleep(0.2)
                (folder / "address").unlink()
    except BrokerError as error:
        _publish(folder / "failure", str(error))


def _publish(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1.0).close()
    except OSError:
        return False
    return True


def _answers(address: str) -> bool:
    if not _accepts(address):
        return False
    clients = Clients(LogConfig(driver="kafka", brokers=address), SecurityConfig())
    try:
        with contextlib.closing(clients.open(KafkaAdminClient)) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except (LogError, *FAILURES):
        return False


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    set_death_signal = 1
    return lambda: libc.prctl(set_death_signal, signal.SIGKILL)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m consumers.testing.broker",
        description="Run a Kafka broker for trying things out, until Ctrl-C; prints its address.",
    )
    parser.add_argument("--hold", type=Path, metavar="FOLDER", help="used by tests that share one")
    folder = parser.parse_args().hold
    if folder is not None:
        _hold(folder)
        return
    try:
        with Broker() as broker, contextlib.suppress(KeyboardInterrupt):
            sys.stdout.write(f"{broker.address}\n")
            sys.stdout.flush()
            forever = threading.Event()
            while not forever.wait(1.0):
                continue
    except BrokerError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()
