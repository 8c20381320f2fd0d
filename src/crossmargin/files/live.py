"""An account read from a venue with a read-only key, through the exchange client ccxt.

The venue's own answers are kept as they came (numbers as they were written) and read like files. A key that can trade
or withdraw is refused where the venue says what a key can do. Every failure of the venue is one error.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, NamedTuple

from crossmargin.errors import Fault, MissingExtra, VenueError
from crossmargin.files.secret import Secret
from crossmargin.files.text import parse_json

TRIES = 3
LONGEST_WAIT = 30.0
"""Seconds that a venue's Retry-After is honoured; beyond that the read is given up with the venue's words."""


class Call(NamedTuple):
    """One read of a venue: the client's method, its parameters, and what it is for."""

    method: str
    parameters: Mapping[str, str] = {}


_BINANCE_USDM = (
    Call("fapiPrivateV3GetAccount"),
    Call("fapiPrivateV3GetPositionRisk"),
    Call("fapiPublicGetAssetIndex"),  # what the account counts its assets at where Multi-Assets mode is on
    Call("fapiPrivateGetOpenOrders"),
    Call("fapiPublicGetTickerPrice"),  # last prices: what a resting sell is taken at
)
CALLS: Mapping[str, tuple[Call, ...]] = {
    "binance-usdm": _BINANCE_USDM,
    "binance-usdm-multi-assets": _BINANCE_USDM,
    "binance-coinm": (
        Call("dapiPrivateGetAccount"),
        Call("dapiPrivateGetPositionRisk"),
        Call("dapiPrivateGetOpenOrders"),
    ),
    "binance-portfolio-margin": (
        Call("papiGetAccount"),
        Call("papiGetBalance"),
        Call("papiGetUmPositionRisk"),
        Call("papiGetCmPositionRisk"),
        Call("papiGetUmOpenOrders"),
        Call("papiGetCmOpenOrders"),
    ),
    "bybit-uta": (
        Call("privateGetV5AccountWalletBalance", {"accountType": "UNIFIED"}),
        Call("privateGetV5AccountInfo"),
        Call("privateGetV5PositionList", {"category": "linear", "settleCoin": "USDT"}),
        Call("privateGetV5PositionList", {"category": "linear", "settleCoin": "USDC"}),
        Call("privateGetV5PositionList", {"category": "inverse"}),
        Call("privateGetV5OrderRealtime", {"category": "linear", "settleCoin": "USDT"}),
        Call("privateGetV5OrderRealtime", {"category": "linear", "settleCoin": "USDC"}),
        Call("privateGetV5OrderRealtime", {"category": "inverse"}),
    ),
    "bingx-usdm": (
        Call("swapV3PrivateGetUserBalance"),
        Call("swapV2PrivateGetUserPositions"),
        Call("swapV2PrivateGetTradeOpenOrders"),
    ),
    "mexc-usdm": (
        Call("contractPrivateGetAccountAssets"),
        Call("contractPrivateGetPositionOpenPositions"),
        Call("contractPrivateGetOrderListOpenOrders"),
    ),
    "okx-futures": (
        Call("privateGetAccountConfig"),
        Call("privateGetAccountBalance"),
        Call("privateGetAccountPositions"),
        Call("privateGetTradeOrdersPending"),
    ),
    "gate-futures": (
        Call("privateFuturesGetSettleAccounts", {"settle": "usdt"}),
        Call("privateFuturesGetSettlePositions", {"settle": "usdt", "holding": "true"}),
        Call("privateFuturesGetSettleOrders", {"settle": "usdt", "status": "open"}),
    ),
    "hyperliquid": (
        Call("publicPostInfo", {"type": "clearinghouseState", "user": "{walletAddress}"}),
        Call("publicPostInfo", {"type": "frontendOpenOrders", "user": "{walletAddress}"}),
    ),
    "bitget-usdm": (
        Call("privateMixGetV2MixAccountAccounts", {"productType": "USDT-FUTURES"}),
        Call("privateMixGetV2MixPositionAllPosition", {"productType": "USDT-FUTURES", "marginCoin": "USDT"}),
        Call("privateMixGetV2MixOrderOrdersPending", {"productType": "USDT-FUTURES"}),
    ),
}
"""Profile -> the private reads that make its account. Other venues are read through the client's own two calls."""


class Right(NamedTuple):
    """Where a venue says what a key can do: the read, and the words in its answer for more than reading."""

    method: str
    excess: Callable[[Any], list[str]]


def _true_fields(*names: str) -> Callable[[Any], list[str]]:
    return lambda answer: [name for name in names if str(answer.get(name)).lower() == "true"]


def _bybit_rights(answer: Any) -> list[str]:
    result = answer.get("result", {})
    if str(result.get("readOnly")) == "1":
        return []
    permissions = result.get("permissions") or {}
    return sorted(f"{kind}: {right}" for kind, rights in permissions.items() for right in rights or ()) or [
        "readOnly 0"
    ]


def _okx_rights(answer: Any) -> list[str]:
    rows = answer.get("data") or [{}]
    return [right for right in str(rows[0].get("perm", "")).split(",") if right not in ("read_only", "")]


RIGHTS: Mapping[str, Right] = {
    "binance": Right(
        "sapiGetAccountApiRestrictions",
        _true_fields(
            "enableWithdrawals",
            "enableInternalTransfer",
            "permitsUniversalTransfer",
            "enableMargin",
            "enableFutures",
            "enableSpotAndMarginTrading",
            "enablePortfolioMarginTrading",
            "enableVanillaOptions",
        ),
    ),
    "bybit": Right("privateGetV5UserQueryApi", _bybit_rights),
    "okx": Right("privateGetAccountConfig", _okx_rights),
}
"""Venue -> how its key's rights are read. Elsewhere they cannot be, and a note says so."""


class Read(NamedTuple):
    """What was read: the venue's own answers, when, and notes."""

    payloads: tuple[Any, ...]
    when: datetime
    notes: tuple[str, ...]


def read_live(
    venue: str,
    profile: str,
    keys: Mapping[str, Secret],
    *,
    allow_trading_key: bool = False,
    client: Any = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Read:
    """Read an account from its venue. ``client`` is a ccxt exchange (made here from ``keys`` unless given).

    Raises :class:`VenueError` (exit code 6) for whatever goes wrong there, with the secrets blacked out,
    :class:`MissingExtra` where ccxt is not installed.
    """
    exchange = _client(venue, keys) if client is None else client
    asked = _Asked(venue, exchange, keys, sleep)
    notes = [] if allow_trading_key else _refuse_trading_key(venue, asked)
    when = datetime.now(UTC)
    if profile in CALLS:
        return Read(tuple(asked(call) for call in CALLS[profile]), when, tuple(notes))
    payloads = [asked(call) for call in _CLIENT_CALLS]
    payloads += _client_orders(asked, payloads[-1], notes)
    return Read(tuple(payloads), when, tuple(notes))


_CLIENT_CALLS = (Call("fetch_balance", {"type": "swap"}), Call("fetch_positions"))


def _client_orders(asked: _Asked, positions: Any, notes: list[str]) -> list[Any]:
    """Open orders by the client's own call: all at once, or by symbol of the positions where a venue wants one."""
    try:
        return [asked(Call("fetch_open_orders"))]
    except VenueError as refusal:
        if not any(fault.why == _WORDS["ArgumentsRequired"] for fault in refusal.faults):
            raise
    notes.append(f"{asked.venue} lists open orders by symbol: those in symbols without a position are not read")
    symbols = dict.fromkeys(row["symbol"] for row in positions if row.get("contracts"))
    return [asked(Call("fetch_open_orders", {"symbol": symbol})) for symbol in symbols]


def _client(venue: str, keys: Mapping[str, Secret]) -> Any:
    try:
        ccxt = import_module("ccxt")
    except ImportError:
        raise MissingExtra("import --live", "needs ccxt; install crossmargin[venues]") from None
    if not hasattr(ccxt, venue):
        raise VenueError(venue, (Fault("venue", venue, "is not one that the client ccxt reads"),))
    # at its debug level the client logs the headers, and the key in them: give it a log that nobody reads
    silent = logging.Logger("crossmargin.silent", level=logging.CRITICAL + 1)
    settings: dict[str, Any] = {"enableRateLimit": True, "logger": silent}
    return getattr(ccxt, venue)({name: secret.reveal() for name, secret in keys.items()} | settings)


def _refuse_trading_key(venue: str, asked: _Asked) -> list[str]:
    rights = RIGHTS.get(venue)
    if rights is None:
        return [f"{venue} does not say what a key can do: see that this one can only read"]
    excess = rights.excess(asked(Call(rights.method)))
    if excess:
        why = "can do more than read; make a read-only key, or say --allow-trading-key"
        raise VenueError(venue, (Fault("key", ", ".join(excess), why),))
    return []


class _Asked:
    """Asks a venue: retries what may pass, keeps the raw answer, and says every failure in one way."""

    def __init__(self, venue: str, exchange: Any, keys: Mapping[str, Secret], sleep: Callable[[float], None]) -> None:
        self.venue = venue
        self.exchange = exchange
        self.keys = keys
        self.sleep = sleep

    def __call__(self, call: Call) -> Any:
        for left in reversed(range(TRIES)):
            try:
                answer = self._ask(call)
            except Exception as problem:  # whatever a client raises is the venue's failure, told once
                wait = self._wait(problem)
                if left and wait is not None:
                    self.sleep(wait)
                    continue
                raise self._error(call, problem) from None
            return self._as_written(call, answer)
        raise AssertionError("the last try returns or raises")

    def _ask(self, call: Call) -> Any:
        method = getattr(self.exchange, call.method)
        shown = {name: key.reveal() for name, key in self.keys.items() if name == "walletAddress"}
        parameters = {name: text.format(**shown) for name, text in call.parameters.items()}
        if call.method == "fetch_open_orders":
            return method(*parameters.values())
        return method(parameters) if parameters else method()

    def _as_written(self, call: Call, answer: Any) -> Any:
        """The answer with every number as the venue wrote it; the client's own parsing went through binary floats."""
        text = getattr(self.exchange, "last_http_response", None)
        if call.method.startswith("fetch_") or not isinstance(text, str):
            return answer
        return parse_json(text.encode(), f"{self.venue} {call.method}", VenueError)

    def _wait(self, problem: Exception) -> float | None:
        """Seconds until another try makes sense; None where it makes none."""
        kinds = {kind.__name__ for kind in type(problem).__mro__}
        if not kinds & {"NetworkError", "RateLimitExceeded", "DDoSProtection", "OnMaintenance"}:
            return None
        headers = {k.lower(): v for k, v in (getattr(self.exchange, "last_response_headers", None) or {}).items()}
        try:
            wait = float(headers.get("retry-after", 1))
        except ValueError:
            return None
        return wait if 0 <= wait <= LONGEST_WAIT else None

    def _error(self, call: Call, problem: Exception) -> VenueError:
        kinds = [kind.__name__ for kind in type(problem).__mro__]
        why = next((words for name, words in _WORDS.items() if name in kinds), "could not be read")
        text = _QUERY.sub("", " ".join(str(problem).split()))
        for secret in self.keys.values():
            text = secret.hidden_in(text)
        return VenueError(self.venue, (Fault(call.method, text[:200], why),))


_QUERY = re.compile(r"\?\S+")
"""What stands behind an address: times and signatures, nothing that a reader needs."""

_WORDS = {
    "ArgumentsRequired": "the venue wants a symbol",
    "AuthenticationError": "the venue does not accept the key (permission, address or signature)",
    "PermissionDenied": "the venue does not let this key read that",
    "RateLimitExceeded": "the venue limits the reads; wait and read again",
    "DDoSProtection": "the venue limits the reads; wait and read again",
    "OnMaintenance": "the venue is in maintenance",
    "RequestTimeout": "the venue did not answer in time",
    "ExchangeNotAvailable": "the venue is not available",
    "NetworkError": "the venue could not be reached",
    "BadResponse": "the venue's answer cannot be understood",
    "ExchangeError": "the venue refused",
}
"""The client's kinds of failure, the particular before the general."""
