"""Who may see decisions."""

from __future__ import annotations

import ipaddress

from consumers.http_server import Request
from stream_al.config import ServeConfig

__all__ = ["refusal"]


def refusal(config: ServeConfig, asked: Request) -> str | None:
    """Say why decisions are kept from whoever asks; None: they are not.

    A page of anyone's that a browser on this host has open can make its own name stand for this
    host, and then read what is served here. So from this host only names are taken that nobody
    else can give away: addresses, ``localhost``, and the configured one.

    Examples
    --------
    >>> refusal(ServeConfig(), Request("/page.json", host="127.0.0.1:9108", peer="127.0.0.1"))
    >>> refusal(ServeConfig(decisions="nobody"), Request("/page.json"))
    "Decisions are shown to nobody here: serve.decisions is 'nobody'."
    """
    if config.decisions == "nobody":
        return "Decisions are shown to nobody here: serve.decisions is 'nobody'."
    near = _is_loopback(asked.peer)
    if config.decisions == "loopback" and not near:
        return (
            "Decisions hold people's data, so they are shown only on the host that this process "
            "runs on: serve.decisions is 'loopback'."
        )
    if near and not _is_ours(_name(asked.host), config.host):
        return (
            "Decisions are not shown under the name that this page was asked for by: it may be "
            "anyone's. Use 127.0.0.1, localhost, or what serve.host says."
        )
    return None


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def _name(host: str) -> str:
    """Return a ``Host`` without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_ours(name: str, configured: str) -> bool:
    if name in ("localhost", configured.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
