"""What a broker for tests is made of: its jars, its settings, and a data folder to copy."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stream_al.errors import StreamAlError

__all__ = ["BrokerError", "Listener", "home_folder", "java", "write_properties"]

_VERSION = "4.1.1"
_POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>stream-al</groupId><artifactId>broker</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{_VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
<version>1.7.36</version></dependency></dependencies></project>
"""
_CLUSTER = "c3RyZWFtLWFsLXRlc3RzXw"
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "2",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "2000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


class BrokerError(StreamAlError):
    """A broker cannot be had here; says why."""


class Listener(NamedTuple):
    """Where a broker listens, how it is talked to, and the address that clients are told."""

    address: str
    protocol: str = "PLAINTEXT"
    advertised: str | None = None


def home_folder() -> Path:
    """Return the folder of the broker's jars and of a formatted data folder; makes what is missing.

    It is ``STREAM_AL_KAFKA_HOME``, else in the user's cache. Safe among processes.

    Raises
    ------
    BrokerError
        If Java or Maven is missing or fails.
    """
    given = os.environ.get("STREAM_AL_KAFKA_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(given) if given else cache / "stream-al" / f"kafka-{_VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            (home / "pom.xml").write_text(_POM)
            fetch = ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
            _run([_tool("mvn"), *fetch], home)
            shutil.rmtree(home / "formatted", ignore_errors=True)
            # One for all brokers, to be copied: formatting takes as long as starting does.
            properties = home / "format.properties"
            names = ("INTERNAL", "CLIENTS", "CONTROLLER")
            anywhere = {name: Listener(f"127.0.0.1:{n}") for n, name in enumerate(names, start=1)}
            write_properties(properties, home / "formatted", anywhere, {})
            what = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER]
            _run([*java(home), *what, "-c", str(properties)], home)
            (home / "complete").touch()
    return home


def write_properties(
    path: Path, data: Path, listeners: Mapping[str, Listener], given: Mapping[str, str]
) -> None:
    """Write a broker's settings."""
    settings = {
        **_SETTINGS,
        "log.dirs": str(data),
        "controller.quorum.voters": f"1@{listeners['CONTROLLER'].address}",
        "listeners": ",".join(f"{name}://{each.address}" for name, each in listeners.items()),
        "advertised.listeners": ",".join(
            f"{name}://{each.advertised or each.address}"
            for name, each in listeners.items()
            if name != "CONTROLLER"
        ),
        "listener.security.protocol.map": ",".join(
            f"{name}:{each.protocol}" for name, each in listeners.items()
        ),
        **given,
    }
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def java(home: Path) -> list[str]:
    """Begin a command line that runs one of the broker's classes."""
    return [
        _tool("java"),
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        str(home / "jars" / "*"),
    ]


def _tool(name: str) -> str:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(name, path=f"{home}/bin") if home and name == "java" else None
    if found := found or shutil.which(name):
        return found
    raise BrokerError(f"a broker for tests needs Java 17 or newer and Maven: no {name!r} here")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-1000:]
        raise BrokerError(f"{Path(command[0]).name} failed with {done.returncode}: {said}")
