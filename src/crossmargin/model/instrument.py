"""An instrument: what is traded, named by its ccxt unified symbol."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

InstrumentKind = Literal["linear", "inverse", "spot"]

_SYMBOL = re.compile(
    r"(?P<base>[A-Z0-9a-z]{1,24})/(?P<quote>[A-Z0-9a-z]{1,24})"
    r"(:(?P<settle>[A-Z0-9a-z]{1,24})(-(?P<expiry>[0-9]{6}))?)?"
    r"(@(?P<venue>[a-z0-9-]{1,24}))?",
    re.ASCII,
)


class Symbol(NamedTuple):
    """A unified symbol taken apart: ``BTC/USDT:USDT-261225`` is base/quote:settle-expiry.

    Where one pool holds contracts of several venues, ``@venue`` tells them apart: ``ETH/USDT:USDT@binance``.
    """

    name: str
    base: str
    quote: str
    settle: str
    expiry: str | None
    kind: InstrumentKind
    venue: str | None = None


@lru_cache(maxsize=100_000)
def parse_symbol(name: str) -> Symbol:
    """Take a unified symbol apart; a contract settled in its base is inverse, in its quote linear.

    >>> parse_symbol("BTC/USD:BTC").kind
    'inverse'
    """
    match = _SYMBOL.fullmatch(name)
    if not match:
        raise ValueError("must be a unified symbol: BTC/USDT:USDT, BTC/USD:BTC, BTC/USDT:USDT-261225 or spot BTC/USDT")
    base, quote, settle = match["base"], match["quote"], match["settle"]
    if settle is None:
        return Symbol(name, base, quote, quote, None, "spot", match["venue"])
    if settle == quote:
        return Symbol(name, base, quote, settle, match["expiry"], "linear", match["venue"])
    if settle == base:
        return Symbol(name, base, quote, settle, match["expiry"], "inverse", match["venue"])
    raise ValueError(f"settles in {settle}, neither its quote (linear) nor its base (inverse): quanto is not supported")


CASH = frozenset(
    [
        "USD",
        "EUR",
        "GBP",
        "TRY",
        "BRL",
        "USDT",
        "USDC",
        "FDUSD",
        "BUSD",
        "TUSD",
        "DAI",
        "USDE",
        "USD1",
        "PYUSD",
        "USDP",
        "GUSD",
        "USDD",
        "USDS",
        "USDF",
        "USDH",
        "BFUSD",
        "RLUSD",
        "BNFCR",
    ]
)
"""Currencies and stablecoins: a common shock of the market leaves them where they are."""
