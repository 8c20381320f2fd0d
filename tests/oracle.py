"""A slow, obvious judge in exact fractions, written from the venues' documents and not from the engine.

It takes an account file as plain data and a :class:`Law` (what the documents say, as plain data), and answers with
equity, initial margin, maintenance margin and headroom of every pool. Nothing is cached, nothing is rounded, nothing
is imported from crossmargin: if the engine and this file agree, they agree by arithmetic and not by kinship.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction as F
from pathlib import Path
from typing import Any, NamedTuple

VENUES = Path(__file__).resolve().parent.parent / "src" / "crossmargin" / "venues"

Account = Mapping[str, Any]
Row = tuple[F, F, F | None, F | None]  # floor, maintenance rate, max leverage, deduction where it is published


# --- the law, as plain data ------------------------------------------------------------------------------------


class Basis(NamedTuple):
    """Which price values the position for each requirement: "mark" or "entry"."""

    initial: str = "mark"
    maintenance: str = "mark"


@dataclass(frozen=True)
class Law:
    """One account mode at one date.

    ``pooling``: "one" pool for everything, or "per_settle" asset. ``collateral``: "settle" (own asset at par),
    "index" (amount x index x one ratio), "tiers" (marginal ratios by coin amount) or "bid_ask". ``fee``: the taker fee
    of the close at bankruptcy that is part of both margins, or None. ``strict``: liquidated only below, not at.
    """

    reference: str
    pooling: str = "one"
    collateral: str = "index"
    cross: Basis = Basis()
    isolated: Basis = Basis()
    fee: F | None = None
    isolated_fee: F | None = None
    half_of_max_leverage: bool = False
    open_loss: bool = False
    orders_pick_bracket: bool = False
    liability_maintenance: F = F(0)
    unlisted_in_full: bool = False
    strict: bool = False
    linear_size: F | None = F(1)
    inverse_size: F | None = F(1)
    brackets: Mapping[str, list[Row]] = field(default_factory=dict)
    sizes: Mapping[str, F] = field(default_factory=dict)
    ratios: Mapping[str, list[tuple[F, F]]] = field(default_factory=dict)
    buffers: Mapping[str, tuple[F, F]] = field(default_factory=dict)


def read_csv(name: str) -> list[dict[str, str]]:
    with (VENUES / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def some(text: object) -> F | None:
    return F(str(text)) if text not in (None, "") else None


def row(raw: Mapping[str, Any]) -> Row:
    floor, rate = F(str(raw["notional_floor"])), some(raw.get("maintenance_rate"))
    return floor, rate if rate is not None else F(0), some(raw.get("max_leverage")), some(
        raw.get("maintenance_deduction")
    )


def bracket_file(name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for raw in read_csv(name):
        for symbol in raw["symbols"].split():
            found.setdefault(symbol, []).append(row(raw))
    return found


def ratio_file(name: str) -> dict[str, list[tuple[F, F]]]:
    found: dict[str, list[tuple[F, F]]] = {}
    for raw in read_csv(name):
        for asset in raw["assets"].split():
            if raw.get("collateral_ratio"):
                found.setdefault(asset, []).append((F(raw.get("floor") or "0"), F(raw["collateral_ratio"])))
    return found


def buffer_file(name: str) -> dict[str, tuple[F, F]]:
    return {
        asset: (F(raw["bid_buffer"]), F(raw["ask_buffer"]))
        for raw in read_csv(name)
        for asset in raw["assets"].split()
    }


def size_file(name: str) -> dict[str, F]:
    return {symbol: F(raw["contract_size"]) for raw in read_csv(name) for symbol in raw["symbols"].split()}


# --- reading an account file -----------------------------------------------------------------------------------


class Contract(NamedTuple):
    base: str
    settle: str
    linear: bool


def contract(symbol: str) -> Contract:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    settle = settle.split("-")[0]
    return Contract(base, settle, settle == quote)


class Market:
    """Prices, with a factor for every coin or for single marks: the only way prices move here."""

    def __init__(
        self, account: Account, coins: Mapping[str, F] | None = None, marks: Mapping[str, F] | None = None
    ) -> None:
        self.raw, self.coins, self.marks = account.get("market", {}), coins or {}, marks or {}

    def mark(self, symbol: str) -> F:
        price = F(str(self.raw["mark_price"][symbol]))
        return price * self.coins.get(contract(symbol).base, F(1)) * self.marks.get(symbol, F(1))

    def asset(self, table: str, name: str) -> F | None:
        price = self.raw.get(table, {}).get(name)
        return None if price is None else F(str(price)) * self.coins.get(name, F(1))

    def index(self, name: str, reference: str) -> F:
        price = self.asset("index_price", name)
        if price is None and name == reference:
            return F(1)
        if price is None:
            raise KeyError(f"no index price of {name}")
        return price


def amount(entry: object) -> F:
    """What a balance is: own money and trial money, less the interest that is owed."""
    if not isinstance(entry, Mapping):
        return F(str(entry))
    own = F(str(entry.get("wallet_balance", "0")))
    return own + F(str(entry.get("bonus_credit", "0"))) - F(str(entry.get("accrued_interest", "0")))


def counts(entry: object) -> bool:
    return not isinstance(entry, Mapping) or bool(entry.get("use_as_collateral", True))


def applied(law: Law, account: Account) -> Law:
    """The law with what the account file restates for single instruments and assets."""
    brackets, sizes, ratios, buffers = dict(law.brackets), dict(law.sizes), dict(law.ratios), dict(law.buffers)
    for rule in account.get("instruments", ()):
        if "brackets" in rule:
            brackets[rule["symbol"]] = [row(raw) for raw in rule["brackets"]]
        if "contract_size" in rule:
            sizes[rule["symbol"]] = F(str(rule["contract_size"]))
    for rule in account.get("assets", ()):
        if "collateral_ratio" in rule:
            ratios[rule["asset"]] = [(F(0), F(str(rule["collateral_ratio"])))]
        if "collateral_tiers" in rule:
            ratios[rule["asset"]] = [
                (F(str(t["floor"])), F(str(t["collateral_ratio"]))) for t in rule["collateral_tiers"]
            ]
        if "bid_buffer" in rule:
            buffers[rule["asset"]] = (F(str(rule["bid_buffer"])), F(str(rule["ask_buffer"])))
    return Law(**{**law.__dict__, "brackets": brackets, "sizes": sizes, "ratios": ratios, "buffers": buffers})


# --- one position ----------------------------------------------------------------------------------------------


def bracket_table(law: Law, symbol: str) -> list[tuple[F, F, F, F | None]]:
    """Each bracket as (floor, rate, deduction, max leverage), by the venues' published recursion:
    deduction_n = deduction_(n-1) + floor_n x (rate_n - rate_(n-1))."""
    table: list[tuple[F, F, F, F | None]] = []
    for floor, stated, leverage, published in law.brackets[symbol]:
        rate = stated
        if law.half_of_max_leverage:
            assert leverage is not None
            rate = 1 / (2 * leverage)
        if published is not None:
            deduction = published
        elif table:
            deduction = table[-1][2] + floor * (rate - table[-1][1])
        else:
            deduction = F(0)
        table.append((floor, rate, deduction, leverage))
    return table


def bracket_of(law: Law, symbol: str, value: F) -> tuple[F, F, F, F | None]:
    """The bracket a value lies in: the floor is exclusive, the cap inclusive."""
    table = bracket_table(law, symbol)
    return next((entry for entry in reversed(table) if entry[0] < value), table[0])


class Figures(NamedTuple):
    """One position in its settle asset."""

    settle: str
    value: F
    pnl: F
    initial: F | None
    maintenance: F
    fee: F
    leverage_cap: F | None


def size_of(law: Law, symbol: str) -> F:
    stated = law.sizes.get(symbol, law.linear_size if contract(symbol).linear else law.inverse_size)
    assert stated is not None, f"no contract size of {symbol}"
    return stated


def bankruptcy_fee(law: Law, position: Mapping[str, Any], units: F, long: bool, linear: bool) -> F:
    """The taker fee of closing at the price where the margin is gone.

    Cross: value at bankruptcy is the entry value less (a short: plus) one leverage-th of it; for inverse contracts the
    coin value at bankruptcy is larger for a long. Isolated: bankruptcy is where the pocket net of this fee is 0.
    """
    entry = F(str(position["entry_price"]))
    value = units * entry if linear else units / entry
    loses_in_value = long == linear  # the value at bankruptcy is below the entry value
    if position.get("margin_mode") == "isolated":
        if law.isolated_fee is None:
            return F(0)
        pocket = F(str(position["isolated_margin"]))
        fee = law.isolated_fee
        left = (value - pocket) / (1 - fee) if loses_in_value else (value + pocket) / (1 + fee)
        return max(F(0), left) * fee  # a pocket above the whole value is never bankrupt
    if law.fee is None:
        return F(0)
    leverage = F(str(position["leverage"]))
    return value * (1 - 1 / leverage if loses_in_value else 1 + 1 / leverage) * law.fee


def figures(law: Law, position: Mapping[str, Any], market: Market, resting: F = F(0)) -> Figures:
    symbol = position["symbol"]
    what = contract(symbol)
    quantity, entry, mark = F(str(position["quantity"])), F(str(position["entry_price"])), market.mark(symbol)
    units = abs(quantity) * size_of(law, symbol)
    side = 1 if quantity > 0 else -1
    isolated = position.get("margin_mode") == "isolated"

    def value_at(price: F) -> F:
        return units * price if what.linear else units / price

    pnl = side * units * (mark - entry) if what.linear else side * units * (1 / entry - 1 / mark)
    basis = law.isolated if isolated else law.cross
    prices = {"mark": mark, "entry": entry}
    kept, opened = value_at(prices[basis.maintenance]), value_at(prices[basis.initial])
    _, rate, deduction, cap = bracket_of(law, symbol, kept + resting)
    fee = bankruptcy_fee(law, position, units, side > 0, what.linear)
    leverage = position.get("leverage")
    initial = None if leverage is None else opened / F(str(leverage)) + fee
    return Figures(what.settle, value_at(mark), pnl, initial, kept * rate - deduction + fee, fee, cap)


# --- pools -----------------------------------------------------------------------------------------------------

Key = tuple[str, ...]
"""("cross", settle asset, or "" for the one pool) or ("isolated", symbol, position side)."""


class Pool(NamedTuple):
    """One pool: in its settle asset if it has only one, else in the reference currency."""

    key: Key
    equity: F
    initial: F | None
    maintenance: F
    pnl: F
    requirement: bool

    @property
    def headroom(self) -> F:
        return self.equity - self.maintenance


def total(parts: Iterable[F | None]) -> F | None:
    """A sum, unknown if one part is."""
    known = list(parts)
    return None if None in known else sum((p for p in known if p is not None), F(0))


def order_margin(law: Law, order: Mapping[str, Any], account: Account, market: Market) -> tuple[str, F | None]:
    """What one resting order holds: its value over leverage and, where the venue says so, the loss it opens with."""
    symbol = order["symbol"]
    what = contract(symbol)
    if order.get("reduce_only"):
        return what.settle, F(0)
    quantity, price = F(str(order["quantity"])), F(str(order["price"]))
    units = abs(quantity) * size_of(law, symbol)
    same = [p for p in account.get("positions", ()) if p["symbol"] == symbol and p.get("leverage") is not None]
    leverage = order.get("leverage") or (same[0]["leverage"] if same else None)
    if leverage is None:
        return what.settle, None
    held = (units * price if what.linear else units / price) / F(str(leverage))
    if law.open_loss:
        gap = market.mark(symbol) - price if what.linear else 1 / price - 1 / market.mark(symbol)
        held += units * max(F(0), -gap if quantity > 0 else gap)
    return what.settle, held


def tiered(coin_amount: F, tiers: list[tuple[F, F]]) -> F:
    """The coins that count: each slice of the amount at its own tier's ratio."""
    counted = F(0)
    for number, (floor, ratio) in enumerate(tiers):
        cap = tiers[number + 1][0] if number + 1 < len(tiers) else coin_amount
        counted += ratio * max(F(0), min(coin_amount, cap) - floor)
    return counted


def bid_and_ask(law: Law, asset: str, market: Market) -> tuple[F, F]:
    bid, ask = market.asset("bid_rate", asset), market.asset("ask_rate", asset)
    if bid is not None and ask is not None:
        return bid, ask
    index = market.index(asset, law.reference)
    below, above = law.buffers[asset]
    return bid if bid is not None else index * (1 - below), ask if ask is not None else index * (1 + above)


def collateral_value(law: Law, asset: str, held: F, usable: bool, market: Market) -> F:
    """What an amount counts for in the reference currency, before any profit or loss."""
    index = market.index(asset, law.reference)
    if held < 0:
        return held * index  # a debt counts in full, whatever the ratio of the coin
    if not usable:
        return F(0)
    tiers = law.ratios.get(asset)
    if tiers is None and not law.unlisted_in_full:
        raise KeyError(f"no collateral ratio of {asset}")
    return (held if tiers is None else tiered(held, tiers)) * index


def judge(
    law: Law, account: Account, coins: Mapping[str, F] | None = None, marks: Mapping[str, F] | None = None
) -> dict[Key, Pool]:
    """Every pool of an account, with every coin's prices and single marks multiplied by the factors given."""
    law, market = applied(law, account), Market(account, coins, marks)
    balances: Mapping[str, Any] = account.get("balances", {})
    positions = list(account.get("positions", ()))
    pools: dict[Key, Pool] = {}
    for position in positions:
        if position.get("margin_mode") != "isolated":
            continue
        one = figures(law, position, market)
        key = ("isolated", position["symbol"], position.get("position_side", "net"))
        pocket = F(str(position["isolated_margin"]))
        pools[key] = Pool(key, pocket + one.pnl, one.initial, one.maintenance, one.pnl, True)

    shared = [
        (p, figures(law, p, market, resting(law, account, p, market)))
        for p in positions
        if p.get("margin_mode") != "isolated"
    ]
    orders = [order_margin(law, order, account, market) for order in account.get("open_orders", ())]
    if law.pooling == "per_settle":
        for asset in sorted({*balances, *(f.settle for _, f in shared), *(settle for settle, _ in orders)}):
            mine = [f for _, f in shared if f.settle == asset]
            held = [margin for settle, margin in orders if settle == asset]
            pnl = sum((f.pnl for f in mine), F(0))
            pools["cross", asset] = Pool(
                ("cross", asset),
                amount(balances.get(asset, "0")) + pnl,
                total([*(f.initial for f in mine), *held]),
                sum((f.maintenance for f in mine), F(0)),
                pnl,
                bool(mine),
            )
        return pools

    pnl_of = {asset: F(0) for asset in [*balances, *(f.settle for _, f in shared), *(s for s, _ in orders)]}
    for _, one in shared:
        pnl_of[one.settle] += one.pnl
    equity, pnl_value, debts = F(0), F(0), F(0)
    rate: dict[str, F] = {}
    for asset, pnl in pnl_of.items():
        held = amount(balances.get(asset, "0"))
        if law.collateral == "bid_ask":
            bid, ask = bid_and_ask(law, asset, market)
            rate[asset] = ask  # requirements are converted at the ask rate
            equity += min((held + pnl) * bid, (held + pnl) * ask)
            pnl_value += min(pnl * bid, pnl * ask)
        else:
            rate[asset] = market.index(asset, law.reference)
            equity += pnl * rate[asset]
            pnl_value += pnl * rate[asset]
            if held != 0:
                equity += collateral_value(law, asset, held, counts(balances.get(asset, "0")), market)
                debts += max(F(0), -held) * rate[asset] * law.liability_maintenance
    initial = total(
        [
            *(None if f.initial is None else f.initial * rate[f.settle] for _, f in shared),
            *(None if margin is None else margin * rate[settle] for settle, margin in orders),
        ]
    )
    maintenance = sum((f.maintenance * rate[f.settle] for _, f in shared), F(0)) + debts
    pools["cross", ""] = Pool(("cross", ""), equity, initial, maintenance, pnl_value, bool(shared) or debts > 0)
    return pools


def resting(law: Law, account: Account, position: Mapping[str, Any], market: Market) -> F:
    """The value of the position's resting orders, where orders help to pick the bracket."""
    if not law.orders_pick_bracket:
        return F(0)
    linear = contract(position["symbol"]).linear
    long = F(str(position["quantity"])) > 0
    found = F(0)
    for order in account.get("open_orders", ()):
        same_side = (F(str(order["quantity"])) > 0) == long
        if order["symbol"] == position["symbol"] and same_side and not order.get("reduce_only"):
            units = abs(F(str(order["quantity"]))) * size_of(law, order["symbol"])
            found += units * F(str(order["price"])) if linear else units / F(str(order["price"]))
    return found


# --- thresholds by brute force ---------------------------------------------------------------------------------

LOW, HIGH = F(1, 1000), F(30)
GRID = sorted({F(round(10**6 * 10 ** (-3 + 4.4771 * k / 160)), 10**6) for k in range(161)} | {F(1), LOW, HIGH})
Headroom = Callable[[F], F]


def along_coins(law: Law, account: Account, key: Key, weights: Mapping[str, F]) -> Headroom:
    """Headroom when the coin c moves by 1 + weight x (factor - 1); one coin of weight 1 is simply its factor."""
    return lambda f: judge(law, account, coins={c: 1 + w * (f - 1) for c, w in weights.items()})[key].headroom


def along_mark(law: Law, account: Account, key: Key, symbol: str) -> Headroom:
    """Headroom when one mark moves and everything else stands still."""
    return lambda f: judge(law, account, marks={symbol: f})[key].headroom


def kinks(law: Law, account: Account) -> set[F]:
    """Factors of one coin at which a position changes its bracket: between them headroom is monotone in the factor,
    so a sign change cannot hide between two points of a scan that includes them."""
    rules, market, found = applied(law, account), Market(account), set()
    for position in account.get("positions", ()):
        symbol = position["symbol"]
        units = abs(F(str(position["quantity"]))) * size_of(rules, symbol)
        linear = contract(symbol).linear
        value = units * market.mark(symbol) if linear else units / market.mark(symbol)
        for floor, _, _, _ in bracket_table(rules, symbol):
            gap = floor - resting(rules, account, position, market)
            if gap > 0:
                found.add(gap / value if linear else value / gap)
    return found


class Nearest(NamedTuple):
    """The nearest factor on each side at which headroom reaches 0, or None: not within the range."""

    below: F | None
    above: F | None


def scan(headroom: Headroom, points: Iterable[F], *, low: F = LOW, high: F = HIGH) -> Nearest:
    """Walk outwards from 1 over a dense grid, and halve the first interval that changes sign until 1e-12."""
    inside = sorted({p for p in [*points, *GRID] if low <= p <= high} | {low, high})
    return Nearest(
        walk(headroom, [p for p in reversed(inside) if p < 1]), walk(headroom, [p for p in inside if p > 1])
    )


def walk(headroom: Headroom, points: list[F]) -> F | None:
    safe = F(1)
    for point in points:
        if headroom(point) <= 0:
            broken = point
            while abs(broken - safe) > F(1, 10**12) * broken:
                middle = (safe + broken) / 2
                # short fractions keep the halving fast and stay strictly inside the interval
                middle = F(round(middle * 2**60), 2**60)
                if headroom(middle) <= 0:
                    broken = middle
                else:
                    safe = middle
            return broken
        safe = point
    return None


# --- the laws of the shipped profiles --------------------------------------------------------------------------

NEW_BYBIT = date(2025, 9, 2)
"""From this day Bybit values cross margins at mark, and isolated initial margin at entry."""


def law_of(profile: str, as_of: str) -> Law:
    """The law of a shipped profile at a date, as VENUES.md states it."""
    return _LAWS[profile](date.fromisoformat(as_of[:10]))


def _textbook(_: date) -> Law:
    return Law(reference="USDT", unlisted_in_full=True)


def _binance_usdm(_: date) -> Law:
    brackets = bracket_file("binance-usdm.brackets.csv")
    return Law(reference="USD", pooling="per_settle", collateral="settle", open_loss=True, brackets=brackets)


_LAWS: dict[str, Callable[[date], Law]] = {
    "plain-cross": _textbook,
    "binance-usdm": _binance_usdm,
}
