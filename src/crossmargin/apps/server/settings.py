"""What a service is started with, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from crossmargin.errors import AccountError, Fault

LOCAL = "local"
"""The tenant of a service for one user on one machine."""
_LEAST_BODY = 1024 * 1024
"""Bytes that are read however few positions are: a history or a fund has none, or many lines beside them."""
_BYTES = 256
"""Of a position with all its fields, its mark price, and a bracket of its instrument where they stand beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the service listens, who may ask, and how much.

    ``tokens``: whether every request must bear one; without, the service is one user's own and must stay on the
    loopback. ``names``: host names under which browsers reach it, besides its address and ``localhost``. ``rate`` and
    ``burst``: requests a second of one address and of one token.
    ``timeout``: seconds that an answer may take, ``slow_timeout`` one to a slow question. Sizes in bytes.
    ``most_positions``: positions, and open orders, of one request; how large a body may be follows from it.
    ``stale_after``: seconds after which prices of an account are old.
    ``ahead``: seconds that prices may be ahead of this machine's clock; later ones are not taken for prices of now.
    ``row_security``: refuse a store whose database does not keep tenants apart by itself.
    ``monitor``: a monitor.toml whose channels alerts are sent to (None = the log).
    ``workers``: processes that answer questions beside the one that keeps accounts (0 = threads of that one).
    ``connections``: at one time, streams among them; who comes when there are so many is told to come back.
    ``keep_days``: age in days from which history, the snapshots that only it names, answers under idempotency keys,
    alerts that are over and acknowledged, and readings are forgotten (0 = never).
    ``journal``: the books of record that are open to commands, and ``journal_tenant`` whose they are.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tokens: bool = False
    names: tuple[str, ...] = ()
    rate: float = 200.0
    burst: int = 400
    most_positions: int = 10_000
    most_message: int = 256 * 1024
    queue: int = 1000
    timeout: float = 10.0
    slow_timeout: float = 60.0
    threads: int = 4
    workers: int = 0
    waiting: int = 256
    connections: int = 4096
    keep_days: int = 0
    row_security: bool = False
    stale_after: float = 900.0
    ahead: float = 60.0
    journal: str | None = None
    journal_tenant: str = LOCAL
    monitor: str | None = None

    def __post_init__(self) -> None:
        """Refuse to be reachable from elsewhere without tokens."""
        if not self.tokens and not is_loopback(self.host):
            why = "is not the loopback, and nobody has a token; make one first: crossmargin token create NAME"
            raise AccountError("serve", (Fault("--host", self.host, why),))

    @property
    def most_body(self) -> int:
        """Bytes of a body that are read: as many as the positions of one request need, and never under a mebibyte.

        >>> Settings().most_body, Settings(most_positions=100).most_body
        (2560000, 1048576)
        """
        return max(_LEAST_BODY, self.most_positions * _BYTES)

    @property
    def hosts(self) -> frozenset[str]:
        """The names that a request may call this service by: any other is a page of somebody else (DNS rebinding)."""
        return frozenset({"localhost", "127.0.0.1", "[::1]", _bracketed(self.host), *map(str.lower, self.names)})


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()
