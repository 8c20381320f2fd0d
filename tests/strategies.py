"""Random account files that a venue could send: plain dicts with the numbers as strings, one strategy per profile.

The shapes are drawn so that the interesting cases are common: sizes that cross brackets, wallets near the
requirement, both legs of a hedge, pockets, debts, several coins of collateral. ``features`` names what an account
contains; a test counts that every profile really produces each of its features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction as F
from typing import Any

from hypothesis import strategies as st

import oracle

Account = dict[str, Any]

PRICES = {"BTC": 60000, "ETH": 3000, "SOL": 150, "XRP": "0.5", "BNB": 600, "USDT": 1, "USDC": 1, "HYPE": 40}


def text(value: F, places: int) -> str:
    """A fraction as a plain decimal, cut to so many places."""
    scaled = abs(value) * 10**places
    whole = Decimal(scaled.numerator // scaled.denominator).scaleb(-places)
    plain = format(whole, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"-{plain}" if value < 0 and plain != "0" else plain


@dataclass(frozen=True)
class Menu:
    """What one profile's accounts are made of.

    ``symbols``: contracts the profile has tables for. ``bare``: contracts whose brackets come with the account file.
    ``coins``: assets that may be held. ``indexed``: the market has index prices. ``as_of``: dates to judge at.
    """

    profile: str
    symbols: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    coins: tuple[str, ...] = ("USDT",)
    debts: bool = False
    switch: bool = False
    ratios: bool = False
    indexed: bool = False
    bid_ask: bool = False
    isolated: bool = True
    cross: bool = True
    hedge: bool = True
    leverage_always: bool = False
    as_of: tuple[str, ...] = ("2026-11-20T08:00:00Z",)
    sizes: dict[str, str] = field(default_factory=dict)


MENUS = {
    "plain-cross": Menu(
        "plain-cross",
        bare=(
            "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDC:USDC", "BTC/USD:BTC", "ETH/USD:ETH", "BTC/USDT:USDT-261225",
        ),
        coins=("USDT", "USDC", "BTC", "ETH", "SOL"),
        debts=True, switch=True, ratios=True, indexed=True,
    ),
    "binance-usdm": Menu(
        "binance-usdm",
        symbols=("BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USDC:USDC"),
        bare=("SOL/USDT:USDT", "BTC/USDT:USDT-261225"),
        coins=("USDT", "USDC", "BNB"),
    ),
}  # fmt: skip


# --- numbers ---------------------------------------------------------------------------------------------------


def near(price: object, low: int = 600, high: int = 1600) -> st.SearchStrategy[F]:
    """A price around a usual one, by thousandths."""
    return st.integers(low, high).map(lambda k: F(str(price)) * k / 1000)


def magnitude(low: int, high: int) -> st.SearchStrategy[F]:
    """A number of any of these orders of magnitude, each as likely."""
    return st.builds(lambda m, e: F(m) * F(10) ** (e - 3), st.integers(1000, 9999), st.integers(low, high))


@st.composite
def tables(draw: st.DrawFn, top: int = 6) -> list[dict[str, str]]:
    """A marginal bracket table: floors rise from 0, rates never fall, leverage fits the rate."""
    steps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=5, unique=True))
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


# --- positions -------------------------------------------------------------------------------------------------


def has_inverse(symbol: str) -> bool:
    return not oracle.contract(symbol).linear


@st.composite
def position(draw: st.DrawFn, menu: Menu, symbol: str, mark: F, side: str) -> Account:
    what = oracle.contract(symbol)
    size = F(menu.sizes.get(symbol, "1"))
    notional = draw(magnitude(1, 8))  # 10 to 10^9 in quote units: every bracket of every table is reached
    units = notional if not what.linear else notional / mark
    count = max(F(1, 1000), units / size)
    whole = text(count, 3) if what.linear else str(max(1, int(count)))
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
    if not menu.cross or (menu.isolated and draw(st.integers(0, 3)) == 0):
        value = F(whole) * size * mark if what.linear else F(whole) * size / mark
        found["margin_mode"] = "isolated"
        found["isolated_margin"] = text(value * draw(st.integers(1, 300)) / 1000, 8)
    return found


@st.composite
def open_order(draw: st.DrawFn, menu: Menu, symbol: str, mark: F) -> Account:
    size = F(menu.sizes.get(symbol, "1"))
    notional = draw(magnitude(1, 5))
    count = (notional / mark if oracle.contract(symbol).linear else notional) / size
    whole = text(max(F(1, 1000), count), 3) if oracle.contract(symbol).linear else str(max(1, int(count)))
    found: Account = {
        "symbol": symbol,
        "quantity": whole if draw(st.booleans()) else f"-{whole}",
        "price": text(draw(near(mark, 900, 1100)), 4),
        "leverage": str(draw(st.integers(1, 50))),
    }
    if draw(st.integers(0, 4)) == 0:
        found["reduce_only"] = True
    return found


# --- accounts --------------------------------------------------------------------------------------------------


@st.composite
def accounts(draw: st.DrawFn, profile: str, *, orders: bool = True, most: int = 6) -> Account:
    """One account file of a profile with 1 to 6 positions."""
    menu = MENUS[profile]
    base = {coin: draw(near(price)) for coin, price in PRICES.items() if coin not in ("USDT", "USDC")}
    base |= {coin: draw(near(1, 970, 1030)) for coin in ("USDT", "USDC")}
    symbols = draw(st.lists(st.sampled_from(menu.symbols + menu.bare), min_size=1, max_size=4, unique=True))
    mark: dict[str, str] = {}
    positions: list[Account] = []
    for symbol in symbols:
        what = oracle.contract(symbol)
        mark[symbol] = text(base[what.base] * draw(st.integers(990, 1010)) / 1000, 4)
        both = menu.hedge and what.linear and draw(st.integers(0, 3)) == 0
        for side in ("long", "short") if both else ("net",):
            if len(positions) < most:
                positions.append(draw(position(menu, symbol, F(mark[symbol]), side)))

    found: Account = {"profile": profile, "as_of": draw(st.sampled_from(menu.as_of)), "positions": positions}
    market: Account = {"mark_price": mark}
    settles = {oracle.contract(symbol).settle for symbol in symbols}
    held = draw(st.lists(st.sampled_from(menu.coins), min_size=0, max_size=3, unique=True))
    found["balances"] = {
        coin: draw(balance(menu, coin, positions, mark, base)) for coin in sorted({*held, *settles})
    }
    if menu.indexed:
        priced = sorted({*held, *settles} - {oracle.law_of(profile, found["as_of"]).reference})
        market["index_price"] = {coin: text(base[coin], 6) for coin in priced}
    if menu.bid_ask:
        market["bid_rate"] = {c: text(base[c] * draw(st.integers(850, 1000)) / 1000, 6) for c in {*held, *settles}}
        market["ask_rate"] = {c: text(base[c] * draw(st.integers(1000, 1100)) / 1000, 6) for c in {*held, *settles}}
    crossed = [s for s in symbols if not any(p["symbol"] == s and "isolated_margin" in p for p in positions)]
    if orders and crossed and draw(st.integers(0, 2)) == 0:
        where = draw(st.lists(st.sampled_from(crossed), min_size=1, max_size=3))
        found["open_orders"] = [draw(open_order(menu, symbol, F(mark[symbol]))) for symbol in where]
    bare = [symbol for symbol in symbols if symbol in menu.bare or (menu.symbols and draw(st.integers(0, 9)) == 0)]
    if bare:
        found["instruments"] = [{"symbol": symbol, "brackets": draw(brackets_for(profile, symbol))} for symbol in bare]
    if menu.ratios:
        for coin in sorted({*held, *settles}):
            if draw(st.integers(0, 2)) == 0:
                rule = {"asset": coin, "collateral_ratio": text(F(draw(st.integers(0, 100)), 100), 2)}
                found.setdefault("assets", []).append(rule)
    found["market"] = market
    return found


@st.composite
def brackets_for(draw: st.DrawFn, profile: str, symbol: str) -> list[dict[str, str]]:
    """A table for one contract; inverse brackets count coins, so their floors are small."""
    return draw(tables(top=2 if has_inverse(symbol) else 6))


@st.composite
def balance(draw: st.DrawFn, menu: Menu, coin: str, positions: list[Account], mark: dict[str, str], base: Any) -> Any:
    """A wallet of the order of the positions' value, so that accounts stand near their requirement."""
    values = [
        F(p["quantity"].lstrip("-")) * (F(mark[p["symbol"]]) if oracle.contract(p["symbol"]).linear else F(1))
        * F(menu.sizes.get(p["symbol"], "1"))
        for p in positions
        if "isolated_margin" not in p
    ]  # fmt: skip
    scale = sum(values, F(100)) / base[coin]
    wallet = scale * draw(st.integers(0, 1500)) / 1000
    if menu.debts and draw(st.integers(0, 4)) == 0:
        wallet = -wallet / 10
    short = text(wallet, 8)
    if draw(st.booleans()):
        return short
    whole: Account = {"wallet_balance": short}
    if draw(st.booleans()):
        whole["bonus_credit"] = text(abs(wallet) * draw(st.integers(0, 100)) / 1000, 8)
    if draw(st.booleans()):
        whole["accrued_interest"] = text(abs(wallet) * draw(st.integers(0, 30)) / 1000, 8)
    if draw(st.booleans()):
        whole["locked"] = text(abs(wallet) * draw(st.integers(0, 300)) / 1000, 8)
    if menu.switch and draw(st.integers(0, 2)) == 0:
        whole["use_as_collateral"] = draw(st.booleans())
    return whole


def features(account: Account) -> set[str]:
    """What an account contains, to count what the strategies really produce."""
    found: set[str] = set()
    positions, law = account["positions"], oracle.law_of(account["profile"], account["as_of"])
    rules = oracle.applied(law, account)
    if any(p["quantity"].startswith("-") for p in positions):
        found.add("short")
    if any(not p["quantity"].startswith("-") for p in positions):
        found.add("long")
    if any("isolated_margin" in p for p in positions):
        found.add("isolated")
    if any("position_side" in p for p in positions):
        found.add("hedge")
    if any(has_inverse(p["symbol"]) for p in positions):
        found.add("inverse")
    if len({p["symbol"] for p in positions}) > 1:
        found.add("several symbols")
    if len(account["balances"]) > 1:
        found.add("several coins")
    if any(oracle.amount(b) < 0 for b in account["balances"].values()):
        found.add("debt")
    if account.get("open_orders"):
        found.add("open orders")
    market = oracle.Market(account)
    for p in positions:
        figures = oracle.figures(rules, p, market)
        if oracle.bracket_of(rules, p["symbol"], figures.value)[0] > 0:
            found.add("upper bracket")
    for pool in oracle.judge(law, account).values():
        if pool.requirement:
            found.add("safe" if pool.headroom > 0 else "broken")
    return found


