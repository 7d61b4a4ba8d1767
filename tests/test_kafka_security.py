"""How brokers are talked to: secrets from files and environment, TLS and SASL on a real broker."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from consumers.errors import RetryError, StopError
from consumers.kafka.log import KafkaLog
from consumers.log import Out, TopicSpec
from consumers.security import kafka_python_security, librdkafka_security
from consumers.testing.broker import Broker
from stream_al.config import LogConfig, LoopConfig, SecurityConfig
from stream_al.errors import ConfigError

SECRET = "correct horse battery staple"  # noqa: S105 - of a broker that lives for seconds
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
MODULES = "org.apache.kafka.common.security"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate for 127.0.0.1, and return both stores: PKCS12 and PEM."""
    store, pem = folder / "broker.p12", folder / "broker.pem"
    tool = [shutil.which("keytool") or "keytool", "-keystore", str(store), "-storepass", "changeit"]
    made = [*tool, "-genkeypair", "-alias", "b", "-keyalg", "RSA", "-dname", "CN=broker"]
    for command in (
        [*made, "-storetype", "PKCS12", "-ext", "san=ip:127.0.0.1", "-validity", "2"],
        [*tool, "-exportcert", "-alias", "b", "-rfc", "-file", str(pem)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return store, pem


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_brokers: str,  # noqa: ARG001 - skips where there is none
) -> Iterator[tuple[Broker, Path]]:
    """Give a broker that wants TLS and credentials, and its certificate."""
    store, pem = certificate(tmp_path_factory.mktemp("tls"))
    clients = "listener.name.clients"
    plain = f'{MODULES}.plain.PlainLoginModule required user_robot="{SECRET}";'
    settings = {
        "sasl.enabled.mechanisms": MECHANISMS,
        f"{clients}.plain.sasl.jaas.config": plain,
        f"{clients}.oauthbearer.sasl.jaas.config": (
            f"{MODULES}.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="b";'
        ),
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(store),
        "ssl.keystore.password": "changeit",
    }
    for kind in ("256", "512"):
        scram = f"{MODULES}.scram.ScramLoginModule required;"
        settings[f"{clients}.scram-sha-{kind}.sasl.jaas.config"] = scram
    with Broker(protocol="SASL_SSL", settings=settings) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.internal)
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion("robot", mechanism, SECRET)]
            )
        admin.close()
        yield broker, pem


def open_log(broker: Broker, security: SecurityConfig) -> KafkaLog:
    """Open a log on the secured broker."""
    log = LogConfig(driver="kafka", brokers=broker.address, name="t", instance="a")
    return KafkaLog(log, security, LoopConfig())


def token() -> str:
    """Return a token that a broker without a token server takes."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": "robot", "iat": now, "exp": now + 300})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(part.rstrip("=") for part in coded) + "."


@pytest.mark.parametrize("mechanism", MECHANISMS.split(","))
def test_each_mechanism_gets_through(
    secured: tuple[Broker, Path], tmp_path: Path, mechanism: str
) -> None:
    """With the right secret, records are written and read over TLS."""
    broker, pem = secured
    secret = tmp_path / "secret"
    secret.write_text(f"{token() if mechanism == 'OAUTHBEARER' else SECRET}\n")
    bearer = mechanism == "OAUTHBEARER"
    security = SecurityConfig(
        protocol="SASL_SSL",
        mechanism=mechanism,  # type: ignore[arg-type]
        username=None if bearer else "robot",
        password_file=None if bearer else str(secret),
        token_file=str(secret) if bearer else None,
        ca_file=str(pem),
    )
    log = open_log(broker, security)
    topic = f"t.{mechanism}"
    log.create([TopicSpec(topic, 1)])
    writer = log.writer()
    writer.send(Out(topic, b"x"))
    writer.close()
    assert [record.value for record in log.read(topic, 0)] == [b"x"]
    log.close()


def test_a_wrong_password_is_suspected_and_not_told(
    secured: tuple[Broker, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a broker hangs up on a client, credentials are named as a reason, never shown."""
    broker, pem = secured
    monkeypatch.setattr("consumers.kafka.clients._BOOTSTRAP_MS", 1000)
    monkeypatch.setenv("BROKER_PASSWORD", "swordfish")
    security = SecurityConfig(
        protocol="SASL_SSL",
        mechanism="PLAIN",
        username="robot",
        password_env="BROKER_PASSWORD",  # noqa: S106 - the name of a variable
        ca_file=str(pem),
    )
    log = open_log(broker, security)
    with pytest.raises((StopError, RetryError), match=r"credentials|[Aa]uthentication") as caught:
        log.topics()
    assert "swordfish" not in str(caught.value)


def test_secrets_are_read_when_they_are_used(tmp_path: Path) -> None:
    """A token that was replaced is used with the next connection, by either library."""
    path = tmp_path / "token"
    path.write_text("first\n")
    config = SecurityConfig(
        protocol="SASL_PLAINTEXT", mechanism="OAUTHBEARER", token_file=str(path)
    )
    provider = kafka_python_security(config)["sasl_oauth_token_provider"]
    refresh = librdkafka_security(config)["oauth_cb"]
    assert provider.token() == "first"
    path.write_text("second\n")
    assert provider.token() == "second"
    text, until = refresh("")
    assert text == "second"
    assert until > time.time()


def test_both_libraries_are_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, password, mechanism and certificates reach either library by its own names."""
    _, pem = certificate(tmp_path)
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    config = SecurityConfig(
        protocol="SASL_SSL",
        username="robot",
        password_env="BROKER_PASSWORD",  # noqa: S106 - the name of a variable
        ca_file=str(pem),
    )
    python, c = kafka_python_security(config), librdkafka_security(config)
    context = python.pop("ssl_context")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1
    assert python == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "robot",
        "sasl_plain_password": SECRET,
    }
    assert c == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "robot",
        "sasl.password": SECRET,
        "ssl.ca.location": str(pem),
    }


@pytest.mark.parametrize("told", [kafka_python_security, librdkafka_security])
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"password_file": "none"}, r"security\.password_file.*'none'"),
        ({"password_env": "NOT_SET"}, r"security\.password_env.*'NOT_SET'"),
        ({"password_file": "empty"}, "holds nothing"),
        ({"password_file": "bytes"}, "no UTF-8"),
        ({"password_file": "text", "ca_file": "none"}, r"security\.ca_file.*'none'"),
        ({"password_file": "text", "ca_file": "text"}, r"security\.ca_file.*no certificates"),
        (
            {"password_file": "text", "cert_file": "text", "key_file": "text"},
            r"security\.cert_file",
        ),
        ({"mechanism": "OAUTHBEARER", "token_file": "none"}, r"security\.token_file.*'none'"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: object,
    changes: dict[str, str],
    match: str,
) -> None:
    """A file or variable that is missing, empty or of another kind is named, never its content."""
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("bytes").write_bytes(b"\xff\xfe")
    Path("text").write_text("hunter2")
    config = SecurityConfig(protocol="SASL_SSL", username="robot", **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=match) as caught:
        told(config)  # type: ignore[operator]
    assert "hunter2" not in str(caught.value)
