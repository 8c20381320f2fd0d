"""Venue symbols to unified ones, by rule: ``BTCUSDT``, ``BTC-USDT-SWAP``, ``XBTUSDTM``, ``BTC-27DEC24`` and the like.

A style is a list of patterns; the first that fits gives base, quote, settle currency and expiry. A name that fits
none, or that is an option or a spot pair, is refused with the reason.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from crossmargin.model.instrument import parse_symbol

_COINS = {"XBT": "BTC"}
_QUOTES = "USDT|USDC|BUSD|FDUSD|USD1|USDE|USDH|USD|EUR|TRY|BRL|BTC|ETH"
_STABLE = "USDT|USDC|BUSD|FDUSD|USD1|USDE"
_QUARTERS = {"F": 1, "G": 2, "H": 3, "J": 4, "K": 5, "M": 6, "N": 7, "Q": 8, "U": 9, "V": 10, "X": 11, "Z": 12}


class Rule(NamedTuple):
    """One way of writing a symbol. ``settle``: which group or currency it settles in."""

    pattern: re.Pattern[str]
    quote: str | None = None
    settle: str | None = None


def _rule(pattern: str, quote: str | None = None, settle: str | None = None) -> Rule:
    return Rule(re.compile(pattern), quote, settle)


_BASE = r"(?P<base>[A-Za-z0-9]{1,24}?)"
_SIX = r"(?P<six>[0-9]{6})"
_EIGHT = r"20(?P<six>[0-9]{6})"
_DAY = r"(?P<day>[0-9]{1,2}[A-Z]{3}[0-9]{2})"

_GLUED = [
    _rule(rf"{_BASE}USD_PERP", quote="USD", settle="base"),
    _rule(rf"{_BASE}USD_{_SIX}", quote="USD", settle="base"),
    _rule(rf"{_BASE}(?P<quote>{_STABLE}|BTC|ETH)(_{_SIX})?"),
]
STYLES: Mapping[str, list[Rule]] = {
    "binance": _GLUED,
    "bybit": [
        _rule(rf"{_BASE}PERP", quote="USDC"),
        _rule(rf"{_BASE}(?P<quote>USDT)-{_DAY}"),
        _rule(rf"{_BASE}-{_DAY}", quote="USDC"),
        _rule(rf"{_BASE}USD(?P<quarter>[FGHJKMNQUVXZ][0-9]{{2}})", quote="USD", settle="base"),
        _rule(rf"{_BASE}(?P<quote>{_STABLE})"),
        _rule(rf"{_BASE}USD", quote="USD", settle="base"),
    ],
    "bitget": [
        _rule(rf"{_BASE}PERP(_CMCBL)?", quote="USDC"),
        _rule(rf"{_BASE}(?P<quote>USDT)_UMCBL"),
        *_GLUED,
    ],
    "glued": [*_GLUED, _rule(rf"{_BASE}USD", quote="USD", settle="base")],
    "dashed": [
        _rule(rf"{_BASE}-USD(-SWAP)?", quote="USD", settle="base"),
        _rule(rf"{_BASE}-USD-{_SIX}", quote="USD", settle="base"),
        _rule(rf"{_BASE}-(?P<quote>{_STABLE})(-SWAP)?(-{_SIX})?"),
        _rule(rf"{_BASE}/(?P<quote>{_STABLE})"),
    ],
    "okx": [
        _rule(rf"{_BASE}-USD-(SWAP|{_SIX})", quote="USD", settle="base"),
        _rule(rf"{_BASE}-(?P<quote>{_STABLE})-(SWAP|{_SIX})"),
    ],
    "underscored": [
        _rule(rf"{_BASE}_USD(_{_EIGHT})?", quote="USD", settle="base"),
        _rule(rf"{_BASE}_(?P<quote>{_STABLE})(_{_EIGHT})?"),
    ],
    "kucoin": [
        _rule(rf"{_BASE}(?P<quote>USDT|USDC)M"),
        _rule(rf"{_BASE}USDM", quote="USD", settle="base"),
        _rule(rf"{_BASE}M(?P<quarter>[FGHJKMNQUVXZ][0-9]{{2}})", quote="USD", settle="base"),
    ],
    "deribit": [
        _rule(rf"{_BASE}_(?P<quote>USDC|USDT)-(PERPETUAL|{_DAY})"),
        _rule(rf"{_BASE}-(PERPETUAL|{_DAY})", quote="USD", settle="base"),
    ],
    "hyperliquid": [_rule(rf"{_BASE}", quote="USDC")],
    "cryptocom": [_rule(rf"{_BASE}(?P<quote>USD|USDT)-PERP"), _rule(rf"{_BASE}(?P<quote>USD|USDT)-{_SIX}")],
    "whitebit": [_rule(rf"{_BASE}_PERP", quote="USDT")],
    "crossex": [_rule(rf"(?P<venue>[A-Z]+)_FUTURE_{_BASE}_(?P<quote>{_STABLE})")],
}
"""Style -> its patterns, the most particular first."""

_REFUSED: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r".*-[0-9.]+-[CP](-[A-Z]+)?"), "is an option; options are not in an account file of futures"),
    (re.compile(r".+:.+"), "is of an exchange built on the venue; its collateral is apart and its rules are not known"),
]


def unified(style: str, name: str) -> str:
    """The unified symbol of a contract as a venue writes it. Raises ValueError with the reason.

    >>> unified("okx", "BTC-USD-240628")
    'BTC/USD:BTC-240628'
    """
    for pattern, why in _REFUSED:
        if pattern.fullmatch(name):
            raise ValueError(why)
    for rule in STYLES[style]:
        match = rule.pattern.fullmatch(name)
        if match:
            return _named(rule, match.groupdict())
    raise ValueError(f"is not a contract name of this venue that is known; unified symbols look like {_EXAMPLES}")


_EXAMPLES = "BTC/USDT:USDT, BTC/USD:BTC or BTC/USDT:USDT-261225"


def _named(rule: Rule, groups: Mapping[str, str | None]) -> str:
    base = _coin(groups["base"] or "")
    quote = rule.quote or groups.get("quote") or ""
    settle = base if rule.settle == "base" else quote
    expiry = groups.get("six") or _of_day(groups.get("day")) or _of_quarter(groups.get("quarter"))
    symbol = f"{base}/{quote}:{settle}" + (f"-{expiry}" if expiry else "")
    return parse_symbol(symbol).name


def _coin(name: str) -> str:
    return _COINS.get(name, name)


def asset_code(name: str) -> str:
    """The code of a coin where a venue has one of its own (XBT)."""
    return _coin(name)


def _of_day(text: str | None) -> str | None:
    """``27DEC24`` as ``241227``."""
    if not text:
        return None
    try:
        return datetime.strptime(text.title(), "%d%b%y").strftime("%y%m%d")
    except ValueError:
        raise ValueError(f"expires on {text}, which is no date") from None


def _of_quarter(text: str | None) -> str | None:
    """``Z25``: the last Friday of December 2025."""
    if not text:
        return None
    year, month = 2000 + int(text[1:]), _QUARTERS[text[0]]
    last = calendar.monthrange(year, month)[1]
    day = date(year, month, last)
    while day.weekday() != calendar.FRIDAY:
        day = day.replace(day=day.day - 1)
    return day.strftime("%y%m%d")
