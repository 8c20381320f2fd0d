"""A slow, obvious judge in exact fractions, written from the venues' documents and not from the engine.

It takes an account file as plain data and a :class:`Law` (what the documents say, as plain data), and answers with
equity, initial margin, maintenance margin and headroom of every pool. Nothing is cached, nothing is rounded, nothing
is imported from crossmargin: if the engine and this file agree, they agree by arithmetic and not by kinship.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction as F
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

VENUES = Path(__file__).resolve().parent.parent / "src" / "crossmargin" / "venues"

Account = Mapping[str, Any]
Row = tuple[F, F | None, F | None, F | None]  # floor, stated rate, max leverage, deduction where it is published
Table = tuple[tuple[F, F, F, F | None], ...]  # of brackets: floor, rate, deduction, max leverage


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
    of the close at bankruptcy that is part of both margins, or None. ``maintenance``: "marginal" brackets, "steps" (the
    rate of the bracket on the whole value), or the "highest" rate of any position on the value of all. ``netted``: only
    the difference of a shared pool's long and short leg needs maintenance. ``orders_kept``: resting orders need it too,
    as the larger difference that fills of the buys, or of the sells, could leave. ``strict``: liquidated below, not at.
    ``sells_above_last``: a resting sell is taken at max(last x (1 + this), mark, its price); None: at its price.
    ``debts_keep``, ``debts_open``: the share of a debt's value that is part of maintenance and initial margin.
    """

    reference: str
    pooling: str = "one"
    collateral: str = "index"
    cross: Basis = Basis()
    isolated: Basis = Basis()
    fee: F | None = None
    maintenance: str = "marginal"
    netted: bool = False
    orders_kept: bool = False
    half_of_max_leverage: bool = False
    open_loss: bool = False
    sells_above_last: F | None = None
    debts_keep: F = F(0)
    debts_open: F = F(0)
    unlisted_in_full: bool = False
    strict: bool = False
    linear_size: F | None = F(1)
    inverse_size: F | None = F(1)
    brackets: Mapping[str, Table] = field(default_factory=dict)
    fees: Mapping[str, F] = field(default_factory=dict)
    sizes: Mapping[str, F] = field(default_factory=dict)
    ratios: Mapping[str, list[tuple[F, F]]] = field(default_factory=dict)
    buffers: Mapping[str, tuple[F, F]] = field(default_factory=dict)


def read_csv(name: str) -> list[dict[str, str]]:
    with (VENUES / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def some(text: object) -> F | None:
    return F(str(text)) if text not in (None, "") else None


def row(raw: Mapping[str, Any]) -> Row:
    return (
        F(str(raw["notional_floor"])),
        some(raw.get("maintenance_rate")),
        some(raw.get("max_leverage")),
        some(raw.get("maintenance_deduction")),
    )


def with_deductions(rows: Iterable[Row], *, half_of_max_leverage: bool = False) -> Table:
    """By the venues' published recursion: deduction_n = deduction_(n-1) + floor_n x (rate_n - rate_(n-1))."""
    table: list[tuple[F, F, F, F | None]] = []
    for floor, stated, leverage, published in rows:
        rate = 1 / (2 * leverage) if half_of_max_leverage and leverage is not None else stated
        assert rate is not None, "a bracket without a rate"
        if published is not None:
            deduction = published
        elif table:
            deduction = table[-1][2] + floor * (rate - table[-1][1])
        else:
            deduction = F(0)
        table.append((floor, rate, deduction, leverage))
    return tuple(table)


def bracket_file(name: str, *, half_of_max_leverage: bool = False) -> dict[str, Table]:
    rows: dict[str, list[Row]] = {}
    for raw in read_csv(name):
        for symbol in raw["symbols"].split():
            rows.setdefault(symbol, []).append(row(raw))
    return {s: with_deductions(r, half_of_max_leverage=half_of_max_leverage) for s, r in rows.items()}


def ratio_file(name: str) -> dict[str, list[tuple[F, F]]]:
    found: dict[str, list[tuple[F, F]]] = {}
    for raw in read_csv(name):
        for asset in raw["assets"].split():
            if raw.get("collateral_ratio"):
                found.setdefault(asset, []).append((F(raw.get("floor") or "0"), F(raw["collateral_ratio"])))
    return found


def buffer_file(name: str) -> dict[str, tuple[F, F]]:
    return {
        asset: (F(raw["bid_buffer"]), F(raw["ask_buffer"])) for raw in read_csv(name) for asset in raw["assets"].split()
    }


def size_file(name: str) -> dict[str, F]:
    return {symbol: F(raw["contract_size"]) for raw in read_csv(name) for symbol in raw["symbols"].split()}


# --- reading an account file -----------------------------------------------------------------------------------


class Contract(NamedTuple):
    base: str
    settle: str
    linear: bool


@cache
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

    def last(self, symbol: str) -> F:
        return F(str(self.raw["last_price"][symbol])) * self.mark(symbol) / F(str(self.raw["mark_price"][symbol]))

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
    brackets, sizes, fees = dict(law.brackets), dict(law.sizes), dict(law.fees)
    ratios, buffers = dict(law.ratios), dict(law.buffers)
    for rule in account.get("instruments", ()):
        if "brackets" in rule:
            rows = [row(raw) for raw in rule["brackets"]]
            brackets[rule["symbol"]] = with_deductions(rows, half_of_max_leverage=law.half_of_max_leverage)
        if "contract_size" in rule:
            sizes[rule["symbol"]] = F(str(rule["contract_size"]))
        if "taker_fee" in rule:
            fees[rule["symbol"]] = F(str(rule["taker_fee"]))
    for rule in account.get("assets", ()):
        if "collateral_ratio" in rule:
            ratios[rule["asset"]] = [(F(0), F(str(rule["collateral_ratio"])))]
        if "collateral_tiers" in rule:
            ratios[rule["asset"]] = [
                (F(str(t["floor"])), F(str(t["collateral_ratio"]))) for t in rule["collateral_tiers"]
            ]
        if "bid_buffer" in rule:
            buffers[rule["asset"]] = (F(str(rule["bid_buffer"])), F(str(rule["ask_buffer"])))
    return replace(law, brackets=brackets, sizes=sizes, fees=fees, ratios=ratios, buffers=buffers)


# --- one position ----------------------------------------------------------------------------------------------


def bracket_of(law: Law, symbol: str, value: F) -> tuple[F, F, F, F | None]:
    """The bracket a value lies in: the floor is exclusive, the cap inclusive."""
    table = law.brackets[symbol]
    return next((entry for entry in reversed(table) if entry[0] < value), table[0])


class Figures(NamedTuple):
    """One position in its settle asset."""

    settle: str
    value: F
    pnl: F
    initial: F | None
    maintenance: F
    fee: F


def size_of(law: Law, symbol: str) -> F:
    # quarterly contracts are as large as the perpetual of their pair
    known = law.sizes.get(symbol, law.sizes.get(symbol.split("-", maxsplit=1)[0]))
    stated = known if known is not None else law.linear_size if contract(symbol).linear else law.inverse_size
    assert stated is not None, f"no contract size of {symbol}"
    return stated


def fee_rate(law: Law, symbol: str) -> F:
    assert law.fee is not None
    return law.fees.get(symbol, law.fee)


def bankruptcy_fee(law: Law, position: Mapping[str, Any]) -> F:
    """The taker fee of closing at the price where the margin is gone.

    Cross: value at bankruptcy is the entry value less (a short: plus) one leverage-th of it; for inverse contracts the
    coin value at bankruptcy is larger for a long. Isolated: bankruptcy is where the pocket net of this fee is 0.
    """
    if law.fee is None:
        return F(0)
    symbol, quantity, entry = position["symbol"], F(str(position["quantity"])), F(str(position["entry_price"]))
    fee = fee_rate(law, symbol)
    value = value_of(law, symbol, quantity, entry)
    loses_in_value = (quantity > 0) == contract(symbol).linear  # the value at bankruptcy is below the entry value
    if position.get("margin_mode") == "isolated":
        pocket = F(str(position["isolated_margin"]))
        left = (value - pocket) / (1 - fee) if loses_in_value else (value + pocket) / (1 + fee)
        return max(F(0), left) * fee  # a pocket above the whole value is never bankrupt
    leverage = F(str(position["leverage"]))
    return value * (1 - 1 / leverage if loses_in_value else 1 + 1 / leverage) * fee


def value_of(law: Law, symbol: str, quantity: F, price: F) -> F:
    """What so many contracts are worth in the settle asset."""
    units = abs(quantity) * size_of(law, symbol)
    return units * price if contract(symbol).linear else units / price


def kept_for(law: Law, symbol: str, value: F) -> F:
    """The maintenance margin of a value, without any fee."""
    _, rate, deduction, _ = bracket_of(law, symbol, value)
    return value * rate - (deduction if law.maintenance == "marginal" and value > 0 else 0)


def figures(law: Law, position: Mapping[str, Any], market: Market) -> Figures:
    """One position on its own."""
    symbol = position["symbol"]
    quantity, entry, mark = F(str(position["quantity"])), F(str(position["entry_price"])), market.mark(symbol)
    side = 1 if quantity > 0 else -1
    basis = law.isolated if position.get("margin_mode") == "isolated" else law.cross
    prices = {"mark": mark, "entry": entry}

    def value_at(price: F) -> F:
        return value_of(law, symbol, quantity, price)

    # a long gains as its value rises; an inverse contract's value in coins falls as the price rises
    pnl = side * (value_at(mark) - value_at(entry)) * (1 if contract(symbol).linear else -1)
    kept = value_at(prices[basis.maintenance])
    fee, leverage = bankruptcy_fee(law, position), position.get("leverage")
    initial = None if leverage is None else value_at(prices[basis.initial]) / F(str(leverage)) + fee
    return Figures(contract(symbol).settle, value_at(mark), pnl, initial, kept_for(law, symbol, kept) + fee, fee)


Shared = list[tuple[Mapping[str, Any], Figures]]


def filled(quantities: Iterable[F], orders: Iterable[F]) -> F:
    """The largest net quantity that fills of one side's orders could leave."""
    now, resting = sum(quantities, F(0)), list(orders)
    bought = now + sum((q for q in resting if q > 0), F(0))
    sold = now + sum((q for q in resting if q < 0), F(0))
    return max(abs(bought), abs(sold))


def shared_maintenance(
    law: Law, shared: Shared, market: Market, rate: Mapping[str, F], orders: Iterable[Mapping[str, Any]]
) -> F:
    """What the positions of one shared pool need together; ``rate``: what a unit of each settle asset counts for.

    ``orders`` are all of the account's; those of other pools settle in an asset that ``rate`` has not.
    """
    if law.orders_kept:
        resting = [o for o in orders if not o.get("reduce_only") and contract(o["symbol"]).settle in rate]
        needed = sum((one.fee * rate[one.settle] for _, one in shared), F(0))
        for symbol in {p["symbol"] for p, _ in shared} | {o["symbol"] for o in resting}:
            legs = [F(str(p["quantity"])) for p, _ in shared if p["symbol"] == symbol]
            most = filled(legs, [F(str(o["quantity"])) for o in resting if o["symbol"] == symbol])
            value = value_of(law, symbol, most, market.mark(symbol))
            needed += kept_for(law, symbol, value) * rate[contract(symbol).settle]
        return needed
    if law.maintenance == "highest":
        rates = [bracket_of(law, p["symbol"], f.value)[1] for p, f in shared]
        return max(rates, default=F(0)) * sum((f.value * rate[f.settle] for _, f in shared), F(0))
    needed = F(0)
    for position, one in shared:
        symbol = position["symbol"]
        legs = [p for p, _ in shared if p["symbol"] == symbol]
        if law.netted and len(legs) > 1:
            assert law.cross.maintenance == "mark", "no document says how legs of two entry prices are netted"
            net = abs(sum((F(str(leg["quantity"])) for leg in legs), F(0)))
            both = kept_for(law, symbol, value_of(law, symbol, net, market.mark(symbol)))
            needed += (both / len(legs) + one.fee) * rate[one.settle]
        else:
            needed += one.maintenance * rate[one.settle]
    return needed


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

    @property
    def headroom(self) -> F:
        return self.equity - self.maintenance

    @property
    def requirement(self) -> bool:
        """Whether anything is asked of the pool; a perfect hedge without fees asks for nothing."""
        return self.maintenance > 0


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
    same = [p for p in account.get("positions", ()) if p["symbol"] == symbol and p.get("leverage") is not None]
    leverage = order.get("leverage") or (same[0]["leverage"] if same else None)
    if leverage is None:
        return what.settle, None
    if law.sells_above_last is not None and quantity < 0:
        price = max(market.last(symbol) * (1 + law.sells_above_last), market.mark(symbol), price)
    value = value_of(law, symbol, quantity, price)
    held = value / F(str(leverage))
    if law.open_loss:
        gap = market.mark(symbol) - price if what.linear else 1 / price - 1 / market.mark(symbol)
        held += abs(quantity) * size_of(law, symbol) * max(F(0), -gap if quantity > 0 else gap)
    if law.fee is not None:
        # the fee to open at the order's price, and the fee to close at the bankruptcy price of what it opens
        opened = {"symbol": symbol, "quantity": order["quantity"], "entry_price": order["price"], "leverage": leverage}
        held += value * fee_rate(law, symbol) + bankruptcy_fee(law, opened)
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
        pools[key] = Pool(key, pocket + one.pnl, one.initial, one.maintenance, one.pnl)

    shared = [(p, figures(law, p, market)) for p in positions if p.get("margin_mode") != "isolated"]
    orders = [order_margin(law, order, account, market) for order in account.get("open_orders", ())]
    if law.pooling == "per_settle":
        for asset in sorted({*balances, *(f.settle for _, f in shared), *(settle for settle, _ in orders)}):
            mine = [(p, f) for p, f in shared if f.settle == asset]
            pnl = sum((f.pnl for _, f in mine), F(0))
            pools["cross", asset] = Pool(
                ("cross", asset),
                amount(balances.get(asset, "0")) + pnl,
                total([*(f.initial for _, f in mine), *(margin for settle, margin in orders if settle == asset)]),
                shared_maintenance(law, mine, market, {asset: F(1)}, account.get("open_orders", ())),
                pnl,
            )
        return pools

    pnl_of = {asset: F(0) for asset in [*balances, *(f.settle for _, f in shared), *(settle for settle, _ in orders)]}
    for _, one in shared:
        pnl_of[one.settle] += one.pnl
    equity, pnl_value = F(0), F(0)
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
    initial = total(
        [
            *(None if f.initial is None else f.initial * rate[f.settle] for _, f in shared),
            *(None if margin is None else margin * rate[settle] for settle, margin in orders),
        ]
    )
    maintenance = shared_maintenance(law, shared, market, rate, account.get("open_orders", ()))
    # what is owed of an asset, an unrealized loss included, holds a share of its value in both margins
    owed = [max(F(0), -(amount(balances.get(a, "0")) + pnl)) * rate[a] for a, pnl in pnl_of.items()]
    maintenance += law.debts_keep * sum(owed, F(0))
    initial = None if initial is None else initial + law.debts_open * sum(owed, F(0))
    pools["cross", ""] = Pool(("cross", ""), equity, initial, maintenance, pnl_value)
    return pools


# --- thresholds by brute force ---------------------------------------------------------------------------------

LOW, HIGH = F(1, 1000), F(30)
GRID = sorted({F(round(10**6 * 10 ** (-3 + 4.4771 * k / 80)), 10**6) for k in range(81)} | {LOW, HIGH})
Headroom = Callable[[F], F]


def along_coins(law: Law, account: Account, key: Key, weights: Mapping[str, F]) -> Headroom:
    """Headroom when the coin c moves by 1 + weight x (factor - 1); one coin of weight 1 is simply its factor."""
    rules, rest = applied(law, account), unruled(account)
    return lambda f: judge(rules, rest, coins={c: 1 + w * (f - 1) for c, w in weights.items()})[key].headroom


def along_mark(law: Law, account: Account, key: Key, symbol: str) -> Headroom:
    """Headroom when one mark moves and everything else stands still."""
    rules, rest = applied(law, account), unruled(account)
    return lambda f: judge(rules, rest, marks={symbol: f})[key].headroom


def unruled(account: Account) -> Account:
    """The account without the rules it restates, which are in the applied law already."""
    return {key: value for key, value in account.items() if key not in ("instruments", "assets")}


def kinks(law: Law, account: Account) -> set[F]:
    """Factors of one coin at which a position changes its bracket: between them headroom is monotone in the factor,
    so a sign change cannot hide between two points of a scan that includes them."""
    rules, market, found = applied(law, account), Market(account), set()
    for position in account.get("positions", ()):
        symbol = position["symbol"]
        legs = [F(str(p["quantity"])) for p in account["positions"] if p["symbol"] == symbol]
        for quantity in {*legs, sum(legs, F(0))} - {F(0)}:
            value = value_of(rules, symbol, quantity, market.mark(symbol))
            floors = [entry[0] for entry in rules.brackets[symbol] if entry[0] > 0]
            found |= {floor / value if contract(symbol).linear else value / floor for floor in floors}
    return found


class Nearest(NamedTuple):
    """The nearest factor on each side at which headroom reaches 0, or None: not within the range."""

    below: F | None
    above: F | None


def scan(headroom: Headroom, points: Iterable[F], *, low: F = LOW, high: F = HIGH) -> Nearest:
    """Walk outwards from 1 over a dense grid, and halve the first interval that changes sign until 1e-12."""
    inside = sorted({p for p in [*points, *GRID] if low <= p <= high} | {low, high})
    return Nearest(walk(headroom, [p for p in reversed(inside) if p < 1]), walk(headroom, [p for p in inside if p > 1]))


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


def law_of(profile: str, as_of: str) -> Law:
    """The law of a shipped profile at a date, as VENUES.md states it; the tables are those shipped for that date."""
    return _law_on(profile, date.fromisoformat(as_of[:10]))


@cache
def _law_on(profile: str, day: date) -> Law:
    return _LAWS[profile](day)


def since(day: date, *tables: tuple[str, str]) -> str:
    """The newest of (date, file) that is in force; ISO dates sort as text."""
    return max((start, name) for start, name in tables if start <= day.isoformat())[1]


def _binance_table(day: date) -> dict[str, Table]:
    name = since(
        day,
        ("2020-08-14", "-2020"),
        ("2021-03-18", "-2021"),
        ("2022-05-01", "-2022"),
        ("2023-07-07", "-2023"),
        ("2024-10-24", ""),
        ("2025-09-29", "-2025"),
        ("2026-09-29", "-2026"),
    )
    return bracket_file(f"binance-usdm{name}.brackets.csv")


def _binance_sells(day: date) -> F | None:
    return F("0.0015") if day >= date(2026, 1, 5) else None


def _binance_usdm(day: date) -> Law:
    return Law(
        "USD",
        pooling="per_settle",
        collateral="settle",
        open_loss=True,
        sells_above_last=_binance_sells(day),
        brackets=_binance_table(day),
    )


def _binance_multi_assets(day: date) -> Law:
    name = since(day, ("2021-05-28", "-2021"), ("2023-07-07", ""), ("2025-09-29", "-2025"))
    return Law(
        "USD",
        collateral="bid_ask",
        open_loss=True,
        sells_above_last=_binance_sells(day),
        brackets=_binance_table(day),
        buffers=buffer_file(f"binance-usdm-multi-assets{name}.collateral.csv"),
    )


def _binance_coinm(day: date) -> Law:
    table = since(day, ("2020-06-11", "binance-coinm-2020"), ("2021-07-27", "binance-coinm"))
    return Law(
        "USD",
        pooling="per_settle",
        collateral="settle",
        open_loss=True,
        linear_size=None,
        inverse_size=F(10),
        brackets=bracket_file(f"{table}.brackets.csv"),
        sizes=size_file("binance-coinm.contracts.csv"),
    )


def _bybit(day: date) -> Law:
    """From 2 September 2025 cross margins are valued at mark, isolated maintenance at mark and initial at entry."""
    new = day >= date(2025, 9, 2)
    name = since(day, ("2022-12-01", "-2022"), ("2025-09-02", ""), ("2026-09-25", "-2026-09"))
    return Law(
        "USD",
        collateral="tiers",
        cross=Basis("mark", "mark") if new else Basis("entry", "entry"),
        isolated=Basis("entry", "mark") if new else Basis("entry", "entry"),
        fee=F("0.00055") if day >= date(2023, 11, 21) else F("0.0006"),
        maintenance="marginal" if new else "steps",
        netted=True,
        orders_kept=new,
        debts_keep=F("0.04"),
        debts_open=F("0.2"),
        brackets=bracket_file(f"bybit-uta{name}.brackets.csv"),
        ratios=ratio_file("bybit-uta.collateral.csv"),
    )


def _hyperliquid(day: date) -> Law:
    name = since(day, ("2024-02-22", "-2024"), ("2025-03-15", "-2025-03"), ("2025-10-18", ""))
    return Law(
        "USDC",
        pooling="per_settle",
        collateral="settle",
        half_of_max_leverage=True,
        strict=True,
        brackets=bracket_file(f"hyperliquid{name}.brackets.csv", half_of_max_leverage=True),
    )


_LAWS: dict[str, Callable[[date], Law]] = {
    "plain-cross": lambda _: Law("USDT", unlisted_in_full=True),
    "plain-isolated": lambda _: Law("USDT", pooling="per_settle", collateral="settle"),
    "plain-highest-rate": lambda _: Law("USDT", unlisted_in_full=True, maintenance="highest", strict=True),
    "binance-usdm": _binance_usdm,
    "binance-usdm-multi-assets": _binance_multi_assets,
    "binance-coinm": _binance_coinm,
    "bybit-uta": _bybit,
    "hyperliquid": _hyperliquid,
}
