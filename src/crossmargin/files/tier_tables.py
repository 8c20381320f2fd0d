"""Tier and collateral tables as venues answer them, into the columns of a profile's CSV tables.

A table with a gap, an overlap or a floor that falls is refused here; rates that fall and ratios that rise are refused
where the profile that the table is for is loaded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from crossmargin.errors import AccountError, Fault
from crossmargin.files.payloads.reading import Parts, Row, plain_figure
from crossmargin.files.payloads.symbols import unified

Key = Literal["notional", "contracts"]


class Tier(NamedTuple):
    """One bracket as a venue states it. ``cap`` and ``deduction`` are kept to be checked; None = not stated."""

    floor: Decimal
    cap: Decimal | None
    rate: Decimal | None
    max_leverage: Decimal | None = None
    initial_rate: Decimal | None = None
    deduction: Decimal | None = None


@dataclass(frozen=True, slots=True)
class TierTable:
    """The brackets of one contract; ``key`` is what its floors count."""

    symbol: str
    key: Key
    tiers: tuple[Tier, ...]


class CollateralRow(NamedTuple):
    """One tier of one asset as collateral, or its buffers."""

    asset: str
    floor: Decimal = Decimal(0)
    ratio: Decimal | None = None
    bid_buffer: Decimal | None = None
    ask_buffer: Decimal | None = None


@dataclass(slots=True)
class _Tables:
    """Tables being read, with the faults found."""

    parts: Parts = field(default_factory=Parts)
    brackets: dict[str, tuple[Key, list[Tier]]] = field(default_factory=dict)
    collateral: list[CollateralRow] = field(default_factory=list)

    def add(self, symbol: str | None, tier: Tier, key: Key = "notional") -> None:
        if symbol is not None:
            self.brackets.setdefault(symbol, (key, []))[1].append(tier)


# brackets -------------------------------------------------------------------------------------------------------------


def read_tiers(payload: Any, where: str) -> tuple[TierTable, ...]:
    """Every bracket table of an answer, a client's or a venue's. Raises :class:`AccountError` with every fault."""
    found = _Tables()
    if not _any(payload, where, found, _TIER_SHAPES):
        raise AccountError(where, (Fault("(whole)", "", f"has no tier table that is recognised; known are {_TIERS}"),))
    tables = []
    for symbol, (key, tiers) in found.brackets.items():
        ordered = tuple(sorted(tiers, key=lambda tier: tier.floor))
        found.parts.faults += [Fault(f"{where} {symbol}", "", why) for why in _gaps(ordered)]
        # counts that begin one after the cap before them begin, in a table of floors, at that cap
        floors = [Decimal(0), *(b.floor if a.cap is None else a.cap for a, b in pairwise(ordered))]
        tables.append(TierTable(symbol, key, tuple(t._replace(floor=f) for t, f in zip(ordered, floors, strict=True))))
    if found.parts.faults:
        raise AccountError(where, found.parts.faults)
    return tuple(tables)


def _gaps(tiers: tuple[Tier, ...]) -> Iterator[str]:
    """What is wrong between one bracket and the next; counts of contracts may start one after the cap."""
    if tiers[0].floor > 1:
        yield f"starts at {tiers[0].floor}, not at 0: below it no rule is known"
    for tier, following in pairwise(tiers):
        if tier.cap is None:
            continue
        if following.floor < tier.cap:
            yield f"overlaps: {following.floor} lies below the cap {tier.cap} of the bracket before"
        elif following.floor - tier.cap > 1:
            yield f"has a gap between {tier.cap} and {following.floor}"


def _binance(row: Row, found: _Tables) -> None:
    symbol = row.symbol("binance", "symbol")
    for item in row.rows("brackets"):
        found.add(
            symbol,
            Tier(
                item.need("notionalFloor", "qtyFloor", "qtylFloor"),
                item.number("notionalCap", "qtyCap"),
                item.need("maintMarginRatio"),
                item.number("initialLeverage"),
                None,
                item.number("cum"),
            ),
        )


def _bybit(row: Row, found: _Tables) -> None:
    symbol = row.symbol("bybit", "symbol")
    most, rate, initial = row.need("maxLeverage"), row.need("maintenanceMargin"), row.need("initialMargin")
    # the answer has written rates as fractions and as per cent; the leverage beside tells which
    share = Decimal(1) if abs(initial * most - 1) < Decimal("0.1") else Decimal(100)
    if abs(initial * most / share - 1) >= Decimal("0.1"):
        row.parts.fault(f"{row.path}.initialMargin", initial, f"is neither 1 / {most} nor that in per cent")
    cap = row.need("riskLimitValue")
    tier = Tier(cap, cap, rate / share, most, initial / share, row.number("mmDeduction"))
    found.add(symbol, tier)


def _by_caps(found: _Tables) -> None:
    """Tables that state only where each bracket ends: each begins where the one before ended."""
    for symbol, (key, tiers) in found.brackets.items():
        ordered = sorted(tiers, key=lambda tier: tier.floor)
        floors = [Decimal(0), *(tier.floor for tier in ordered)]
        found.brackets[symbol] = (key, [t._replace(floor=low) for t, low in zip(ordered, floors, strict=False)])


def _okx(row: Row, found: _Tables) -> None:
    name = row.text("instId") or f"{row.need_text('instFamily', 'uly')}-SWAP"
    try:
        symbol = unified("okx", name)
    except ValueError as error:
        row.parts.fault(f"{row.path}.instFamily", name, str(error))
        return
    cap = row.number("maxSz")
    tier = Tier(row.need("minSz"), cap, row.need("mmr"), row.number("maxLever"), row.number("imr"))
    found.add(symbol, tier, "contracts")


def _hyperliquid(row: Row, found: _Tables) -> None:
    pairs = [entry for entry in row.raw.get("marginTables") or () if isinstance(entry, list) and len(entry) == 2]
    tables = {str(name): table for name, table in pairs if isinstance(table, Mapping)}
    for coin in row.rows("universe"):
        if ":" in str(coin.raw.get("name")) or coin.flag("isDelisted"):
            continue
        symbol, most = coin.symbol("hyperliquid", "name"), coin.need("maxLeverage")
        listed = tables.get(coin.text("marginTableId") or "", {}).get("marginTiers")
        for item in listed or ({"lowerBound": "0", "maxLeverage": str(most)},):
            tier = row.parts.row(item, f"{coin.path}.marginTiers")
            found.add(symbol, Tier(tier.need("lowerBound"), None, None, tier.need("maxLeverage")))


def _gate(row: Row, found: _Tables) -> None:
    cap = row.need("risk_limit")
    tier = Tier(
        cap,
        cap,
        row.need("maintenance_rate"),
        row.number("leverage_max"),
        row.number("initial_rate"),
        row.number("deduction"),
    )
    found.add(row.symbol("underscored", "contract"), tier)


def _kucoin(row: Row, found: _Tables) -> None:
    tier = Tier(
        row.need("minRiskLimit"),
        row.need("maxRiskLimit"),
        row.need("maintainMargin"),
        row.number("maxLeverage"),
        row.number("initialMargin"),
    )
    found.add(row.symbol("kucoin", "symbol"), tier)


def _mexc(row: Row, found: _Tables) -> None:
    """A list of its own, or brackets that grow by fixed steps: volume, maintenance and initial rate."""
    symbol = row.symbol("underscored", "symbol")
    key: Key = "notional" if row.text("riskLimitType") == "BY_VALUE" else "contracts"
    listed = list(row.rows("riskLimitCustom")) if row.text("riskLimitMode") == "CUSTOM" else []
    floor = Decimal(0)
    for item in listed:
        cap = item.need("maxVol")
        found.add(symbol, Tier(floor, cap, item.need("mmr"), item.number("maxLeverage"), item.number("imr")), key)
        floor = cap
    if listed:
        return
    cap, step = row.need("riskBaseVol"), row.need("riskIncrVol")
    rate, more = row.need("maintenanceMarginRate"), row.need("riskIncrMmr")
    initial, more_initial = row.need("initialMarginRate"), row.need("riskIncrImr")
    for _ in range(int(row.need("riskLevelLimit"))):
        found.add(symbol, Tier(floor, cap, rate, None, initial), key)
        floor, cap, rate, initial = cap, cap + step, rate + more, initial + more_initial


def _client(raw: Mapping[str, Any], where: str, found: _Tables) -> bool:
    """``fetch_leverage_tiers``: a list for each unified symbol."""
    first = next(iter(raw.values()), None)
    if "/" not in next(iter(raw), "") or not isinstance(first, list):
        return False
    for symbol, items in raw.items():
        if not isinstance(items, list):
            found.parts.fault(f"{where}.{symbol}", items, "must be a list of brackets")
            continue
        for index, item in enumerate(items):
            row = found.parts.row(item, f"{where}.{symbol}[{index}]")
            info = row.raw.get("info")
            deduction = found.parts.row(info, row.path).number("cum") if isinstance(info, Mapping) else None
            rate, most = row.need("maintenanceMarginRate"), row.number("maxLeverage")
            floor, cap = row.need("minNotional"), row.number("maxNotional")
            found.add(symbol, Tier(floor, cap, rate, most, None, deduction))
    return True


class _TableShape(NamedTuple):
    name: str
    keys: frozenset[str]
    read: Callable[[Row, _Tables], None]
    by_caps: bool = False


def _shape(name: str, keys: str, read: Callable[[Row, _Tables], None], *, by_caps: bool = False) -> _TableShape:
    return _TableShape(name, frozenset(keys.split()), read, by_caps)


_TIER_SHAPES = (
    _shape("Binance leverageBracket", "symbol brackets", _binance),
    _shape("Bybit risk-limit", "symbol riskLimitValue maintenanceMargin maxLeverage", _bybit, by_caps=True),
    _shape("OKX position-tiers", "maxSz minSz mmr", _okx),
    _shape("Hyperliquid meta", "universe", _hyperliquid),
    _shape("Gate risk_limit_tiers", "contract risk_limit maintenance_rate", _gate, by_caps=True),
    _shape("KuCoin risk-limit", "maxRiskLimit minRiskLimit maintainMargin symbol", _kucoin),
    _shape("MEXC contract detail", "symbol riskBaseVol riskIncrVol maintenanceMarginRate", _mexc),
)
_TIERS = ", ".join(["ccxt fetch_leverage_tiers", *(shape.name for shape in _TIER_SHAPES)])


# collateral -----------------------------------------------------------------------------------------------------------


def read_collateral(payload: Any, where: str) -> tuple[CollateralRow, ...]:
    """Every collateral ratio of an answer. Raises :class:`AccountError` with every fault."""
    found = _Tables()
    if not _any(payload, where, found, _COLLATERAL_SHAPES):
        names = ", ".join(shape.name for shape in _COLLATERAL_SHAPES)
        why = f"has no collateral table that is recognised; known are {names}"
        raise AccountError(where, (Fault("(whole)", "", why),))
    if found.parts.faults:
        raise AccountError(where, found.parts.faults)
    return tuple(found.collateral)


def _asset_index(row: Row, found: _Tables) -> None:
    asset = row.need_text("symbol").removesuffix("USD")
    bid, ask = row.need("bidBuffer"), row.need("askBuffer")
    found.collateral.append(CollateralRow(asset, bid_buffer=bid, ask_buffer=ask))


def _tiered(asset: str, floor: str, ratio: str, tiers: str | None = None) -> Callable[[Row, _Tables], None]:
    """A reader of one asset with its tiers inside (or of one ratio): the names of the fields that hold them."""

    def read(row: Row, found: _Tables) -> None:
        name = row.need_text(asset)
        for item in row.rows(tiers) if tiers else (row,):
            low = item.number(floor) if floor else None
            found.collateral.append(CollateralRow(name, low or Decimal(0), item.need(ratio)))

    return read


_COLLATERAL_SHAPES = (
    _shape("Binance assetIndex", "symbol bidBuffer askBuffer", _asset_index),
    _shape(
        "Binance portfolio collateral rate (tiered)",
        "asset collateralInfo",
        _tiered("asset", "tierFloor", "collateralRate", "collateralInfo"),
    ),
    _shape("Binance portfolio collateral rate", "asset collateralRate", _tiered("asset", "", "collateralRate")),
    _shape(
        "Bybit tier-collateral-ratio",
        "currency collateralRatioList",
        _tiered("currency", "minQty", "collateralRatio", "collateralRatioList"),
    ),
    _shape("Bybit collateral-info", "currency collateralRatio", _tiered("currency", "", "collateralRatio")),
    _shape("OKX discount-rate-interest-free-quota", "ccy details", _tiered("ccy", "minAmt", "discountRate", "details")),
    _shape(
        "OKX discount-rate-interest-free-quota (older)",
        "ccy discountInfo",
        _tiered("ccy", "minAmt", "discountRate", "discountInfo"),
    ),
    _shape(
        "Gate currency_discount_tiers",
        "currency discount_tiers",
        _tiered("currency", "lower_limit", "discount", "discount_tiers"),
    ),
)


# finding --------------------------------------------------------------------------------------------------------------

_INSIDE = ("result", "data", "list")


def _any(value: Any, where: str, found: _Tables, shapes: tuple[_TableShape, ...]) -> bool:
    """Read whatever of these shapes lies in an answer, envelopes and lists opened."""
    if isinstance(value, list | tuple):
        rows = [row for item in value for row in (item if isinstance(item, list) else (item,))]
        read = [_any(item, f"{where}[{index}]", found, shapes) for index, item in enumerate(rows)]
        first = rows[0].keys() if rows and isinstance(rows[0], Mapping) else ()
        if any(shape.by_caps and shape.keys <= set(first) for shape in shapes):
            _by_caps(found)
        return bool(read) and all(read)
    if not isinstance(value, Mapping):
        return False
    if shapes is _TIER_SHAPES and _client(value, where, found):
        return True
    for shape in shapes:
        if shape.keys <= value.keys():
            shape.read(found.parts.row(value, where), found)
            return True
    return any(_any(value[name], where, found, shapes) for name in _INSIDE if name in value)


# writing --------------------------------------------------------------------------------------------------------------


def brackets_csv(tables: Iterable[TierTable], source: str) -> str:
    """A profile's bracket table; contracts whose brackets are alike share their rows."""
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for table in tables:
        rows = tuple(
            tuple(_cell(value) for value in (tier.floor, tier.rate, tier.max_leverage, tier.initial_rate))
            for tier in table.tiers
        )
        alike.setdefault(rows, []).append(table.symbol)
    header = ["symbols", "notional_floor", "maintenance_rate", "max_leverage", "initial_rate", "source"]
    return _csv(header, ([" ".join(names), *row, source] for rows, names in alike.items() for row in rows))


def collateral_csv(rows: Iterable[CollateralRow], source: str) -> str:
    """A profile's collateral table, tiers of an asset in order."""
    header = ["assets", "floor", "collateral_ratio", "bid_buffer", "ask_buffer", "source"]
    ordered = sorted(rows, key=lambda row: (row.asset, row.floor))
    return _csv(header, ([row.asset, *(_cell(value) for value in row[1:]), source] for row in ordered))


def _cell(value: Decimal | None) -> str:
    return "" if value is None else plain_figure(value)


def _csv(header: list[str], rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
