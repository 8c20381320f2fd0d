"""Random account files that a venue could send: plain dicts with the numbers as strings, one strategy per law.

The shapes are drawn so that the interesting cases are common: sizes that cross brackets, wallets near the
requirement, both legs of a hedge, pockets, debts, several coins of collateral. ``features`` names what an account
contains; a test counts that every profile really produces each of its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction as F
from typing import Any

from hypothesis import strategies as st

import oracle

Account = dict[str, Any]

PRICES = {
    "BTC": "60000", "ETH": "3000", "SOL": "150", "XRP": "0.5", "ADA": "0.4", "DOGE": "0.1", "BNB": "600",
    "USDT": "1", "USDC": "1",
}  # fmt: skip
STABLE = ("USDT", "USDC")


@dataclass(frozen=True)
class Menu:
    """What the accounts of one profile at some dates are made of.

    A contract without a bracket table at the date gets one in the account file. ``indexed``: the venue counts in a
    currency of its own, so the market has index prices. ``inverse_hedge``: both legs of an inverse contract may stand.
    ``by_leverage``: rates follow from the maximum leverage and are not stated.
    """

    profile: str
    as_of: tuple[str, ...]
    symbols: tuple[str, ...]
    coins: tuple[str, ...]
    debts: bool = False
    switch: bool = False
    ratios: bool = False
    indexed: bool = False
    bid_ask: bool = False
    isolated: bool = True
    hedge: bool = True
    inverse_hedge: bool = False
    leverage_always: bool = False
    own_sizes: bool = False
    own_fees: bool = False
    one_rate: bool = False
    by_leverage: bool = False


NOW = "2026-11-20T08:00:00Z"
TEXTBOOK = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDC:USDC", "BTC/USD:BTC", "ETH/USD:ETH", "BTC/USDT:USDT-261225")
WITH_BYBIT = ("BTC/USDT:USDT", "ADA/USDT:USDT", "BTC/USD:BTC", "ETH/USDC:USDC", "ETH/USD:ETH", "BTC/USDT:USDT-261225")

MENUS = {
    "plain-cross": Menu(
        "plain-cross", (NOW,), TEXTBOOK, ("USDT", "USDC", "BTC", "ETH", "SOL"),
        debts=True, switch=True, ratios=True, indexed=True, inverse_hedge=True, own_sizes=True,
    ),
    "plain-isolated": Menu("plain-isolated", (NOW,), TEXTBOOK, ("USDT", "USDC", "BTC"), inverse_hedge=True),
    "plain-highest-rate": Menu(
        "plain-highest-rate", (NOW,), TEXTBOOK, ("USDT", "USDC", "BTC", "ETH"),
        debts=True, ratios=True, indexed=True, one_rate=True,
    ),
    "binance-usdm": Menu(
        "binance-usdm",
        (NOW, "2025-10-01T00:00:00Z", "2024-11-01T00:00:00Z", "2023-01-01T00:00:00Z", "2020-08-14T00:00:00Z"),
        ("BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USDC:USDC", "SOL/USDT:USDT", "BTC/USDT:USDT-261225"),
        ("USDT", "USDC", "BNB"),
    ),
    "binance-usdm-multi-assets": Menu(
        "binance-usdm-multi-assets",
        (NOW, "2024-11-01T00:00:00Z", "2021-06-01T00:00:00Z"),
        ("BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USDC:USDC", "SOL/USDC:USDC"),
        ("USDT", "USDC", "BTC", "ETH", "SOL"),
        debts=True, bid_ask=True, isolated=False,
    ),
    "binance-coinm": Menu(
        "binance-coinm",
        (NOW, "2021-07-27T00:00:00Z", "2021-07-26T23:59:59Z"),
        ("BTC/USD:BTC", "ETH/USD:ETH", "SOL/USD:SOL", "BTC/USD:BTC-261225"),
        ("BTC", "ETH", "SOL"),
        inverse_hedge=True, own_sizes=True,
    ),
    "bybit-uta": Menu(
        "bybit-uta", (NOW, "2025-09-02T00:00:00Z"), WITH_BYBIT, ("USDT", "USDC", "BTC", "ETH", "SOL"),
        debts=True, switch=True, ratios=True, indexed=True, leverage_always=True, own_fees=True,
    ),
    "bybit-uta before September 2025": Menu(
        # no document says how two legs with two entry prices are netted at entry value: no hedges
        "bybit-uta", ("2025-09-01T23:59:59Z", "2023-01-01T00:00:00Z"), WITH_BYBIT, ("USDT", "USDC", "BTC", "ETH"),
        debts=True, switch=True, ratios=True, indexed=True, leverage_always=True, hedge=False,
    ),
    "hyperliquid": Menu(
        "hyperliquid",
        (NOW, "2025-10-17T00:00:00Z", "2024-06-01T00:00:00Z"),
        ("BTC/USDC:USDC", "ETH/USDC:USDC", "SOL/USDC:USDC", "XRP/USDC:USDC", "DOGE/USDC:USDC"),
        ("USDC", "USDT"),
        hedge=False, by_leverage=True,
    ),
}  # fmt: skip


# --- numbers ---------------------------------------------------------------------------------------------------


def text(value: F, places: int) -> str:
    """A fraction as a plain decimal, cut to so many places."""
    scaled = abs(value) * 10**places
    plain = format(Decimal(scaled.numerator // scaled.denominator).scaleb(-places), "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"-{plain}" if value < 0 and plain != "0" else plain


def near(price: object, low: int = 600, high: int = 1600) -> st.SearchStrategy[F]:
    """A price around a usual one, by thousandths."""
    return st.integers(low, high).map(lambda k: F(str(price)) * k / 1000)


def magnitude(low: int, high: int) -> st.SearchStrategy[F]:
    """A number of any of these orders of magnitude, each as likely."""
    return st.builds(lambda m, e: F(m) * F(10) ** (e - 3), st.integers(1000, 9999), st.integers(low, high))


@st.composite
def tables(draw: st.DrawFn, top: int = 6, most: int = 5) -> list[dict[str, str]]:
    """A marginal bracket table: floors rise from 0, rates never fall, leverage fits the rate."""
    steps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=most, unique=True))
    rates = sorted(draw(st.lists(st.integers(4, 500), min_size=len(steps), max_size=len(steps))))
    scale = draw(st.integers(1, top))
    floors = [0, *sorted(steps)[:-1]]
    return [
        {
            "notional_floor": str(floor * 10**scale),
            "maintenance_rate": text(F(rate, 1000), 3),
            "max_leverage": text(max(F(1), F(1000, 2 * rate)), 2),
        }
        for floor, rate in zip(floors, rates, strict=True)
    ]


# --- parts of an account ---------------------------------------------------------------------------------------


@st.composite
def instrument(draw: st.DrawFn, menu: Menu, symbol: str) -> Account:
    """What an account file restates of one contract; inverse brackets count coins, so their floors are small."""
    inverse = not oracle.contract(symbol).linear
    found: Account = {
        "symbol": symbol,
        "brackets": draw(tables(top=2 if inverse else 6, most=1 if menu.one_rate else 5)),
    }
    if menu.by_leverage:
        for bracket in found["brackets"]:
            del bracket["maintenance_rate"]
    if menu.own_sizes and draw(st.booleans()):
        found["contract_size"] = draw(st.sampled_from(["1", "10", "100"] if inverse else ["1", "0.001", "1000"]))
    if menu.own_fees and draw(st.booleans()):
        found["taker_fee"] = draw(st.sampled_from(["0", "0.0003", "0.001"]))
    return found


@st.composite
def contracts(draw: st.DrawFn, symbol: str, size: F, mark: F, low: int, high: int) -> str:
    """A count of contracts whose value has any order of magnitude: every bracket of every table is reached."""
    value = draw(magnitude(low, high))
    if oracle.contract(symbol).linear:
        return text(max(F(1, 1000), value / mark / size), 3)
    return str(max(1, int(value / size)))


@st.composite
def position(draw: st.DrawFn, menu: Menu, symbol: str, size: F, mark: F, side: str) -> Account:
    whole = draw(contracts(symbol, size, mark, 1, 8))
    long = side == "long" or (side == "net" and draw(st.booleans()))
    found: Account = {
        "symbol": symbol,
        "quantity": whole if long else f"-{whole}",
        "entry_price": text(draw(near(mark, 800, 1250)), 4),
    }
    if menu.leverage_always or draw(st.integers(0, 7)):
        found["leverage"] = str(draw(st.integers(1, 50)))
    if side != "net":
        found["position_side"] = side
    if menu.isolated and draw(st.integers(0, 3)) == 0:
        value = F(whole) * size * mark if oracle.contract(symbol).linear else F(whole) * size / mark
        found["margin_mode"] = "isolated"
        found["isolated_margin"] = text(value * draw(st.integers(1, 300)) / 1000, 8)
    return found


@st.composite
def open_order(draw: st.DrawFn, symbol: str, size: F, mark: F) -> Account:
    whole = draw(contracts(symbol, size, mark, 1, 5))
    found: Account = {
        "symbol": symbol,
        "quantity": whole if draw(st.booleans()) else f"-{whole}",
        "price": text(draw(near(mark, 900, 1100)), 4),
        "leverage": str(draw(st.integers(1, 50))),
    }
    if draw(st.integers(0, 4)) == 0:
        found["reduce_only"] = True
    return found


@st.composite
def balance(draw: st.DrawFn, menu: Menu, scale: F) -> Any:
    """A wallet of the order of the positions' value, so that accounts stand near their requirement."""
    wallet = scale * draw(st.integers(0, 1500)) / 1000
    if menu.debts and draw(st.integers(0, 4)) == 0:
        wallet = -wallet / 10
    short = text(wallet, 8)
    if draw(st.booleans()):
        return short
    whole: Account = {"wallet_balance": short}
    for key, share in (("bonus_credit", 100), ("accrued_interest", 30), ("locked", 300)):
        if draw(st.booleans()):
            whole[key] = text(abs(wallet) * draw(st.integers(0, share)) / 1000, 8)
    if menu.switch and draw(st.integers(0, 2)) == 0:
        whole["use_as_collateral"] = draw(st.booleans())
    return whole


@st.composite
def restated_ratio(draw: st.DrawFn, coin: str, *, tiered: bool) -> Account:
    ratios = draw(st.lists(st.integers(0, 100), min_size=1, max_size=4 if tiered else 1))
    if len(ratios) == 1:
        return {"asset": coin, "collateral_ratio": text(F(ratios[0], 100), 2)}
    floors = [0, *(F(10) ** draw(st.integers(-2, 1)) * 4**n for n in range(1, len(ratios)))]
    tiers = zip(sorted(set(floors)), sorted(ratios, reverse=True), strict=False)
    return {
        "asset": coin,
        "collateral_tiers": [{"floor": text(F(f), 3), "collateral_ratio": text(F(r, 100), 2)} for f, r in tiers],
    }


# --- accounts --------------------------------------------------------------------------------------------------


@st.composite
def accounts(draw: st.DrawFn, name: str, *, orders: bool = True, most: int = 6) -> Account:
    """One account file of a menu, with 1 to ``most`` positions."""
    menu = MENUS[name]
    found: Account = {"profile": menu.profile, "as_of": draw(st.sampled_from(menu.as_of))}
    law = oracle.law_of(menu.profile, found["as_of"])
    symbols = draw(st.lists(st.sampled_from(menu.symbols), min_size=1, max_size=min(4, most), unique=True))
    restated = [s for s in symbols if s not in law.brackets or draw(st.integers(0, 9)) == 0]
    if restated:
        found["instruments"] = [draw(instrument(menu, symbol)) for symbol in restated]
    rules = oracle.applied(law, found)
    settles = {oracle.contract(symbol).settle for symbol in symbols}
    coins = sorted({*draw(st.lists(st.sampled_from(menu.coins), max_size=3, unique=True)), *settles})
    base = {
        coin: draw(near(PRICES[coin], 970, 1030) if coin in STABLE else near(PRICES[coin]))
        for coin in sorted({*coins, *(oracle.contract(symbol).base for symbol in symbols)})
    }

    mark: dict[str, str] = {}
    positions: list[Account] = []
    for symbol in symbols:
        what = oracle.contract(symbol)
        mark[symbol] = text(base[what.base] * draw(st.integers(990, 1010)) / 1000, 4)
        two = menu.hedge and (what.linear or menu.inverse_hedge) and draw(st.integers(0, 3)) == 0
        for side in ("long", "short") if two else ("net",):
            if len(positions) < most:
                size = oracle.size_of(rules, symbol)
                positions.append(draw(position(menu, symbol, size, F(mark[symbol]), side)))
    found["positions"] = positions

    prices = oracle.Market({"market": {"mark_price": mark}})
    shared = [oracle.figures(rules, p, prices) for p in positions if "isolated_margin" not in p]
    found["balances"] = {coin: draw(balance(menu, backed(law, coin, shared, base))) for coin in coins}
    found["market"] = {"mark_price": mark, **draw(rates(menu, law, coins, base))}

    crossed = [s for s in symbols if not any(p["symbol"] == s and "isolated_margin" in p for p in positions)]
    if orders and crossed and draw(st.integers(0, 2)) == 0:
        where = draw(st.lists(st.sampled_from(crossed), min_size=1, max_size=3))
        found["open_orders"] = [draw(open_order(s, oracle.size_of(rules, s), F(mark[s]))) for s in where]
        if law.sells_above_last is not None:
            found["market"]["last_price"] = {s: text(draw(near(F(mark[s]), 990, 1010)), 4) for s in sorted({*where})}
    if menu.ratios:
        tiered = law.collateral == "tiers"
        assets = [draw(restated_ratio(c, tiered=tiered)) for c in coins if draw(st.integers(0, 2)) == 0]
        if assets:
            found["assets"] = assets
    return found


def backed(law: oracle.Law, coin: str, shared: list[oracle.Figures], base: dict[str, F]) -> F:
    """What the positions that a coin backs are worth, in that coin."""
    worth = [one.value * base[one.settle] for one in shared if law.pooling == "one" or one.settle == coin]
    return sum(worth, F(100)) / base[coin]


@st.composite
def rates(draw: st.DrawFn, menu: Menu, law: oracle.Law, coins: list[str], base: dict[str, F]) -> Account:
    """The prices of assets that the rules need: index prices, or bid and ask rates, or an index and the buffers."""
    priced = [coin for coin in coins if coin != law.reference]
    if menu.bid_ask and draw(st.booleans()):
        return {
            "bid_rate": {c: text(base[c] * draw(st.integers(850, 1000)) / 1000, 6) for c in priced},
            "ask_rate": {c: text(base[c] * draw(st.integers(1000, 1100)) / 1000, 6) for c in priced},
        }
    return {"index_price": {coin: text(base[coin], 6) for coin in priced}} if menu.indexed or menu.bid_ask else {}


def features(account: Account) -> set[str]:
    """What an account contains, to count what the strategies really produce."""
    positions, law = account["positions"], oracle.law_of(account["profile"], account["as_of"])
    rules, market = oracle.applied(law, account), oracle.Market(account)
    pools = [pool for pool in oracle.judge(law, account).values() if pool.requirement]
    has = {
        "long": any(not p["quantity"].startswith("-") for p in positions),
        "short": any(p["quantity"].startswith("-") for p in positions),
        "isolated": any("isolated_margin" in p for p in positions),
        "hedge": any("position_side" in p for p in positions),
        "linear": any(oracle.contract(p["symbol"]).linear for p in positions),
        "inverse": any(not oracle.contract(p["symbol"]).linear for p in positions),
        "several symbols": len({p["symbol"] for p in positions}) > 1,
        "several coins": len(account["balances"]) > 1,
        "debt": any(oracle.amount(b) < 0 for b in account["balances"].values()),
        "open orders": bool(account.get("open_orders")),
        "upper bracket": any(
            oracle.bracket_of(rules, p["symbol"], oracle.figures(rules, p, market).value)[0] > 0 for p in positions
        ),
        "safe": any(pool.headroom > 0 for pool in pools),
        "broken": any(pool.headroom <= 0 for pool in pools),
    }
    return {name for name, present in has.items() if present}


def promised(menu: Menu) -> set[str]:
    """The features that accounts of a menu must show, often enough to be tested."""
    kinds = {oracle.contract(symbol).linear for symbol in menu.symbols}
    found = {"long", "short", "several symbols", "several coins", "open orders", "safe", "broken"}
    for name, present in (
        ("isolated", menu.isolated),
        ("hedge", menu.hedge),
        ("debt", menu.debts),
        ("linear", True in kinds),
        ("inverse", False in kinds),
        ("upper bracket", not menu.one_rate),
    ):
        if present:
            found.add(name)
    return found
