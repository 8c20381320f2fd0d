"""Requests to addresses that a user has typed: https only, the name resolved once, every address checked, no redirects.

What a name resolves to is checked and then connected to, with the name in ``Host`` and in the TLS handshake, so a name
that resolves to something else a moment later changes nothing. Private networks are reached only where the operator
says so.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from crossmargin.errors import Fault, VenueError

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> its addresses."""

DEADLINE = 10.0
"""Seconds that one request may take, from the first packet to the last byte of the answer."""
_LARGEST_ANSWER = 65_536

_NAME = re.compile(
    r"(?=.{1,253}\.?\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
"""Every printable ASCII sign but the backslash, which some readers take for a slash."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Policy(NamedTuple):
    """Where requests may go: ``ports``; ``hosts`` (empty = any); ``private``: the operator's own network too.

    ``private`` also lets plain http through, to private addresses alone.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = (443, 8443)
    private: bool = False


class Target(NamedTuple):
    """An address that has been checked: connect to one of ``addresses``, and say ``host``."""

    host: str
    port: int
    path: str
    addresses: tuple[str, ...]
    secure: bool


class Answer(NamedTuple):
    """What a target answered; ``retry_after`` in seconds where it asked for that."""

    status: int
    retry_after: float | None


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def checked(url: str, policy: Policy, resolve: Resolve = resolved, *, where: str = "url") -> Target:
    """A target that may be asked. Raises :class:`VenueError` saying why an address may not, never repeating it."""

    def refuse(why: str) -> VenueError:
        return VenueError("address", (Fault(where, "", why),))

    if not _PRINTABLE.fullmatch(url):
        raise refuse("must be printable ASCII without blanks and backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("is no address") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.private):
        raise refuse("must be https://")
    if "@" in parts.netloc or parts.fragment:
        raise refuse("must have no user, password or fragment in it")
    secure = parts.scheme == "https"
    port = (443 if secure else 80) if port is None else port
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host, addresses = checked_host(parts.hostname or "", port, policy, resolve, where=where)
    if not secure and any(_public(ipaddress.ip_address(address)) for address in addresses):
        raise refuse("must be https:// outside a private network")
    return Target(host, port, path, addresses, secure)


def checked_host(
    host: str, port: int, policy: Policy, resolve: Resolve = resolved, *, where: str = "host"
) -> tuple[str, tuple[str, ...]]:
    """(host, its addresses), each of which may be connected to. Raises as :func:`checked` does."""

    def refuse(why: str) -> VenueError:
        return VenueError("address", (Fault(where, "", why),))

    host = host.lower()
    if port not in policy.ports:
        raise refuse(f"has a port that is not allowed; allowed are {', '.join(map(str, policy.ports))}")
    if policy.hosts and host.rstrip(".") not in policy.hosts:
        raise refuse("is a host that is not on the list of allowed ones")
    addresses = [host] if _literal(host) else None
    if addresses is None:
        # 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to some resolvers: a name does not end in a number
        last = host.rstrip(".").rpartition(".")[2]
        if not _NAME.fullmatch(host) or last.isdigit() or last.startswith("0x"):
            raise refuse("is no host name and no plain address")
        try:
            addresses = list(resolve(host, port))
        except (OSError, UnicodeError):
            raise refuse("does not resolve") from None
    if not addresses:
        raise refuse("does not resolve")
    for address in addresses:
        found = _literal(address)
        if found is None or not (_public(found) or (policy.private and _reachable(found))):
            raise refuse("leads to an address that is private, local or reserved")
    return host, tuple(addresses)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _public(address: _Address) -> bool:
    """Whether an address, and every one that is wrapped in it, is of the public network."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not _public(one) for one in inner):
            return False
        if address.is_site_local or int(address) >> 32 == 0:  # ::a.b.c.d, an old way to write a v4 address
            return False
        if address.ipv4_mapped is not None:
            return True
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not special and not address.is_link_local


def _reachable(address: _Address) -> bool:
    """Whether an address may be one of an operator's own network; a cloud's metadata (link-local) never is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return _reachable(mapped)
    metadata = address == ipaddress.ip_address("fd00:ec2::254")
    special = address.is_multicast or address.is_unspecified or address.is_link_local or metadata
    return (address.is_private or address.is_loopback) and not special


# asking ---------------------------------------------------------------------------------------------------------------


def connected(addresses: Sequence[str], port: int, timeout: float) -> socket.socket:
    """A connection to the first of some checked addresses that takes one."""
    problem: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as error:
            problem = error
    raise problem


class _Connection(http.client.HTTPConnection):
    """A connection to a checked address that names its host."""

    def __init__(self, target: Target, timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self._target = target
        self._tls = tls

    def connect(self) -> None:
        self.sock = connected(self._target.addresses, self._target.port, self.timeout or DEADLINE)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._target.host)


def post(
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    *,
    deadline: float = DEADLINE,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send a body to a checked target; redirects are not followed. Raises :class:`OSError` where nothing answers.

    ``deadline`` ends the whole exchange, however slowly the other side sends.
    """
    context = (tls or ssl.create_default_context()) if target.secure else None
    connection = _Connection(target, deadline, context)
    late = threading.Event()

    def end() -> None:
        late.set()
        sock = connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                sock.close()

    watchdog = threading.Timer(deadline, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target.path, body, {**headers, "Connection": "close"})
        answer = connection.getresponse()
        answer.read(_LARGEST_ANSWER)
        if late.is_set():  # what was cut off reads like an end
            raise OSError
        return Answer(answer.status, _seconds(answer.getheader("Retry-After")))
    except http.client.HTTPException as error:
        raise OSError(
            "did not answer in time" if late.is_set() else f"answered nonsense: {type(error).__name__}"
        ) from None
    except OSError as error:
        raise OSError("did not answer in time") if late.is_set() else error from None
    finally:
        watchdog.cancel()
        connection.close()


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else None
