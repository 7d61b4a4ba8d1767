"""How brokers are talked to, as each of the two client libraries wants to be told.

Secrets are read here, when a client is opened, and nowhere else; no message ever holds one.
"""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path
from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from stream_al.config import SecurityConfig
from stream_al.errors import ConfigError

__all__ = ["kafka_python_security", "librdkafka_security"]

# librdkafka asks for a token anew after four fifths of its life: this is how often, not how long
# the broker takes it for.
_TOKEN_REREAD_S = 60.0


def kafka_python_security(config: SecurityConfig) -> dict[str, Any]:
    """Return what kafka-python's clients take as keyword arguments.

    Raises
    ------
    ConfigError
        Naming the file or environment variable that is missing or does not fit.

    Examples
    --------
    >>> kafka_python_security(SecurityConfig())
    {'security_protocol': 'PLAINTEXT'}
    """
    found: dict[str, Any] = {"security_protocol": config.protocol}
    if config.protocol.endswith("SSL"):
        found["ssl_context"] = _ssl_context(config)
    if config.protocol.startswith("SASL"):
        found["sasl_mechanism"] = config.mechanism
        if config.mechanism == "OAUTHBEARER":
            _token(config)
            found["sasl_oauth_token_provider"] = _TokenFile(config)
        else:
            found["sasl_plain_username"] = config.username
            found["sasl_plain_password"] = _password(config)
    return found


def librdkafka_security(config: SecurityConfig) -> dict[str, Any]:
    """Return what confluent-kafka's clients take, by librdkafka's names.

    Raises
    ------
    ConfigError
        Naming the file or environment variable that is missing or does not fit.

    Examples
    --------
    >>> librdkafka_security(SecurityConfig())
    {'security.protocol': 'PLAINTEXT'}
    """
    found: dict[str, Any] = {"security.protocol": config.protocol}
    if config.protocol.endswith("SSL"):
        _ssl_context(config)
        files = {
            "ssl.ca.location": config.ca_file,
            "ssl.certificate.location": config.cert_file,
            "ssl.key.location": config.key_file,
            "ssl.key.password": _key_password(config),
        }
        found |= {name: value for name, value in files.items() if value}
    if config.protocol.startswith("SASL"):
        found["sasl.mechanism"] = config.mechanism
        if config.mechanism == "OAUTHBEARER":
            _token(config)
            found["oauth_cb"] = lambda _: (_token(config), time.time() + _TOKEN_REREAD_S)
        else:
            found["sasl.username"] = config.username
            found["sasl.password"] = _password(config)
    return found


class _TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, config: SecurityConfig) -> None:
        super().__init__()
        self._config = config

    def token(self) -> str:
        return _token(self._config)


def _ssl_context(config: SecurityConfig) -> ssl.SSLContext:
    """Load the certificates now, so that what is wrong with them is known by name and at once."""
    for key in ("ca_file", "cert_file", "key_file"):
        if path := getattr(config, key):
            _read(path, f"security.{key}")
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except ssl.SSLError as error:
        what = f"{config.ca_file} holds no certificates ({error.reason})"
        raise ConfigError(what, "security.ca_file") from error
    if config.cert_file:
        password = _key_password(config)
        try:
            # Given as a function: without one OpenSSL would ask on the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, lambda: password or "")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "the password does not fit"
            what = f"{config.cert_file} and {config.key_file} cannot be used together ({reason})"
            raise ConfigError(what, "security.cert_file, key_file, key_password_env") from error
    return context


def _password(config: SecurityConfig) -> str:
    if config.password_file:
        return _secret(_read(config.password_file, "security.password_file"), config.password_file)
    return _variable(config.password_env or "", "security.password_env")


def _token(config: SecurityConfig) -> str:
    path = config.token_file or ""
    return _secret(_read(path, "security.token_file"), path).strip()


def _key_password(config: SecurityConfig) -> str | None:
    if not config.key_password_env:
        return None
    return _variable(config.key_password_env, "security.key_password_env")


def _variable(name: str, where: str) -> str:
    return _secret(os.environ.get(name, "").encode(), f"the environment variable {name!r}", where)


def _read(path: str, where: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror}", where) from error


def _secret(raw: bytes, name: str, where: str = "security") -> str:
    """Decode a secret without the newline that editors add; what it holds is never told."""
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{name} holds no UTF-8 text", where) from None
    if not text:
        raise ConfigError(f"{name} holds nothing", where)
    return text
