"""Which payload is this? The table of shapes over all venues, and the unwrapping of their envelopes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from crossmargin.errors import AccountError, Fault
from crossmargin.files.payloads import (
    binance,
    bingx,
    bybit,
    client,
    deribit,
    funding,
    gate,
    htx,
    hyperliquid,
    kucoin,
    mexc,
    okx,
    orders,
    phemex,
    smaller,
    weex,
    whitebit,
)
from crossmargin.files.payloads.reading import Parts, Shape, printed_number

SHAPES: tuple[Shape, ...] = (
    *client.SHAPES,
    *funding.SHAPES,
    *orders.SHAPES,
    *bybit.SHAPES,
    *okx.SHAPES,
    *bingx.SHAPES,
    *weex.SHAPES,
    *whitebit.SHAPES,
    *mexc.SHAPES,
    *phemex.SHAPES,
    *smaller.SHAPES,
    *kucoin.SHAPES,
    *htx.SHAPES,
    *gate.SHAPES,
    *deribit.SHAPES,
    *binance.SHAPES,
    *hyperliquid.SHAPES,
)
"""Every shape that is recognised, those with more particular keys before those whose keys others have too."""

_GOOD = ("0", "00000", "200", "200000", "100000", "success", "ok", "true")
_CODES = ("retCode", "code", "status", "success", "retcode", "ret_code")
_WORDS = ("retMsg", "msg", "message", "err_msg", "errorMessage", "err-msg", "error")
_INSIDE = (
    "result",
    "data",
    "list",
    "account",
    "positions",
    "balance",
    "payments",
    "rows",
    "items",
    "bills",
    "dataList",
    "resultList",
    "records",
    "settlements",
    "logs",
    "orders",
    "entrustedList",
    "summaries",
    "info",
    "clearinghouseState",
    "clearinghouseStates",
    "dexToClearinghouseState",
    "spotState",
)
_OF_REQUEST = ("arg", "rateLimits", "rateLimit", "retExtInfo", "pagination", "request", "headers")
"""Tables of an envelope that are of the request, not of the account."""


def shape_names(venue: str | None = None) -> tuple[str, ...]:
    """The names that ``--as`` takes, those of one venue first."""
    names = sorted(shape.name for shape in SHAPES)
    return tuple(sorted(names, key=lambda name: not (venue and name.startswith(venue))))


def read_payload(payload: Any, where: str, forced: str | None = None) -> Parts:
    """Read one answer of a venue or a client. Raises :class:`AccountError`: a refusal, or a shape that is not known."""
    parts = Parts()
    if not _read(payload, where, parts, forced):
        raise AccountError(where, (Fault("(whole)", _sketch(payload), _UNKNOWN),))
    return parts


_UNKNOWN = (
    "is no answer that is recognised; name its shape with --as (crossmargin import --shapes lists them), "
    "or give the account as an account file"
)


def _read(value: Any, where: str, parts: Parts, forced: str | None) -> bool:
    if isinstance(value, list | tuple):
        return _read_list(list(value), where, parts, forced)
    if not isinstance(value, Mapping):
        return False
    by_symbol = client.table_reader(value) if forced is None else None
    if by_symbol is not None:
        by_symbol(value, parts)
        return True
    found = [shape for shape in SHAPES if (shape.name == forced if forced else shape.fits(value))]
    if forced and found and not found[0].keys & value.keys():
        found = []
    if found:
        _apply(found[0], value, where, parts)
        return True
    _refusal(value, where)
    return _inside(value, where, parts, forced)


def _inside(value: Mapping[str, Any], where: str, parts: Parts, forced: str | None) -> bool:
    """Look into an envelope; its time is the time of what it holds."""
    if value.get("category") in ("spot", "option") and "list" in value:
        parts.notes.append(f"a list of the category {value['category']} is left out: it is of no contract of futures")
        return True
    if hyperliquid.is_portfolio(value):
        parts.profile("hyperliquid-portfolio", "mode")
    inside = [value[name] for name in _INSIDE if isinstance(value.get(name), list | tuple | Mapping)]
    for time in ("time", "timestamp", "ts"):
        parts.seen(_number(value.get(time)))
    read = [not inner or _read(inner, where, parts, forced) for inner in inside]
    others = [name for name in value if name not in (*_INSIDE, *_OF_REQUEST)]
    named = [_by_name(name, value[name], where, parts, forced) for name in others]
    return all(read) and (bool(read) or any(named))


def _by_name(name: str, inner: Any, where: str, parts: Parts, forced: str | None) -> bool:
    """Read what stands under a name of the user's own: an answer beside others, or a position under its symbol.

    What holds tables and is no answer that is known is told as not understood, never passed over.
    """
    tables = inner if isinstance(inner, list | tuple) else [inner]
    if not tables or not all(isinstance(table, Mapping) and table for table in tables):
        return False
    own = Parts()
    if _read(inner, f"{where}.{name}", own, forced):
        _add(parts, own)
        return True
    parts.row({name: inner}, where)
    return False


def _number(value: Any) -> Decimal | None:
    """A time of an envelope; what is no number is no time."""
    try:
        return printed_number(value)
    except ValueError:
        return None


def _read_list(items: list[Any], where: str, parts: Parts, forced: str | None) -> bool:
    if len(items) == 2 and isinstance(items[0], Mapping) and "universe" in items[0]:
        hyperliquid.universe(items, parts)
        return True
    if items and all(map(hyperliquid.is_of_exchange, items)):
        states = hyperliquid.main_exchange(items, where, parts)
        return all(_read(state, where, parts, forced) for state in states)
    items = hyperliquid.one_account(items, where)
    read = [_read(item, f"{where}[{index}]", parts, forced) for index, item in enumerate(items)]
    return all(read)


def _apply(found: Shape, value: Mapping[str, Any], where: str, parts: Parts) -> None:
    inner = value.get("info") if found.name.startswith("ccxt-") else None
    if inner:
        own = Parts(hint=value.get("symbol"))
        try:
            known = _read(inner, f"{where}.info", own, None)
        except AccountError:
            known = False
        if known and not own.faults:
            _add(parts, own)
            if found.name == "ccxt-position":
                client.fill_position(parts.row(value, where), parts)
            return
    found.read(parts.row(value, where), parts)


def _add(parts: Parts, own: Parts) -> None:
    for key, value in own.stated.items():
        if key[0] == "positions" and key[-1] == "symbol" and key in parts.stated:
            parts.fault(".".join(key[:-1]), "", "stands twice in one payload; a venue keeps one, add them up")
        parts.put(*key, value=value)
    parts.faults += own.faults
    for key, (value, words) in own.derived.items():
        parts.derive(*key, value=value, words=words)
    for key, (amount, words) in own.added.items():
        parts.add_up(*key, amount=amount, words=words)
    parts.reported += own.reported
    parts.notes += own.notes
    parts.lists |= own.lists
    parts.rows += own.rows
    parts.times += own.times
    parts.profiles += own.profiles
    parts.payments += own.payments
    parts.orders += own.orders
    parts.given.update(own.given)
    parts.margins.update(own.margins)
    parts.all_isolated = parts.all_isolated or own.all_isolated
    for asset, figures in own.with_pockets.items():
        parts.with_pockets.setdefault(asset, set()).update(figures)


def _refusal(value: Mapping[str, Any], where: str) -> None:
    """An envelope that says no is an error with the venue's own words, never an empty account."""
    for name in _CODES:
        code = value.get(name)
        if code is None or str(code).lower() in _GOOD or (name == "status" and str(code).isdigit()):
            continue  # a status in digits is a state, of an account or of a subscription
        words = next((str(value[word]) for word in _WORDS if value.get(word)), "no reason given")
        raise AccountError(where, (Fault(name, str(code), f"the venue refused: {words[:200]}"),))
    problem = value.get("error")
    if isinstance(problem, Mapping):
        code = str(problem.get("code", ""))
        raise AccountError(where, (Fault("error", code, f"the venue refused: {str(problem.get('message'))[:200]}"),))


def _sketch(payload: Any) -> str:
    if isinstance(payload, Mapping):
        return "keys " + ", ".join(list(map(str, payload))[:8])
    if isinstance(payload, list):
        return f"a list of {len(payload)}"
    return repr(payload)[:60]
