"""The other libraries' sides of ``benchmarks/peers.py``, each run by the interpreter of its own environment.

Run by it as: python benchmarks/peer_sides.py PEER WORLD.npz ANSWER.npz ROUNDS. ``WORLD`` holds the accounts as columns,
``ANSWER`` gets what the peer computed, so that it can be held against the runner's figures; seconds go to standard
output as JSON. Knows nothing of crossmargin. Nobody's code stands here: each library is only called.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np

FLAT = 0.01
"""The one maintenance rate of peers that know no brackets, or only brackets of the whole account."""
PORTFOLIOS = 300
"""Accounts that go through a whole portfolio object each; more take minutes to build."""

Answer = dict[str, np.ndarray]
Work = Callable[[], Answer]


class World:
    """The accounts as columns: see ``write_world`` of ``benchmarks/peers.py``."""

    def __init__(self, path: str) -> None:
        columns = np.load(path)
        self.start, self.code = columns["start"], columns["code"].astype(np.int64)
        self.size, self.entry, self.wallet = columns["size"], columns["entry"], columns["wallet"]
        self.mark, self.first = columns["mark"], columns["first"]
        self.floor, self.rate, self.deduction = columns["floor"], columns["rate"], columns["deduction"]
        self.account = np.repeat(np.arange(len(self.wallet)), np.diff(self.start))
        self.table = np.repeat(np.arange(len(self.mark)), np.diff(self.first))


# the state alone, on frames -------------------------------------------------------------------------------------------


def in_numpy(world: World) -> Work:
    # one search for all tables: each lies in a range of its own, as in the fastest of several variants tried
    apart = 1e13
    keys = world.table * apart + world.floor
    account, accounts = world.account, len(world.wallet)

    def work() -> Answer:
        mark = world.mark[world.code]
        notional = np.abs(world.size) * mark
        row = np.searchsorted(keys, world.code * apart + notional, "right") - 1
        required = world.rate[row] * notional - world.deduction[row]
        gain = world.size * (mark - world.entry)
        equity = world.wallet + np.bincount(account, gain, accounts)
        maintenance = np.bincount(account, required, accounts)
        headroom = equity - maintenance
        return {"equity": equity, "maintenance": maintenance, "headroom": headroom, "broken": headroom < 0}

    return work


def in_pandas(world: World) -> Work:
    pd = import_module("pandas")
    held = pd.DataFrame({"account": world.account, "code": world.code, "size": world.size, "entry": world.entry})
    marks = pd.Series(world.mark)
    tables = pd.DataFrame(
        {"code": world.table, "floor": world.floor, "rate": world.rate, "deduction": world.deduction}
    ).sort_values("floor")
    wallet = pd.Series(world.wallet)

    def work() -> Answer:
        rows = held.assign(mark=held["code"].map(marks))
        rows["notional"] = rows["size"].abs() * rows["mark"]
        rows = pd.merge_asof(rows.sort_values("notional"), tables, left_on="notional", right_on="floor", by="code")
        rows["required"] = rows["rate"] * rows["notional"] - rows["deduction"]
        rows["gain"] = rows["size"] * (rows["mark"] - rows["entry"])
        sums = rows.groupby("account", sort=True)[["gain", "required"]].sum()
        equity = wallet + sums["gain"]
        headroom = equity - sums["required"]
        return {
            "equity": equity.to_numpy(),
            "maintenance": sums["required"].to_numpy(),
            "headroom": headroom.to_numpy(),
            "broken": (headroom < 0).to_numpy(),
        }

    return work


def in_polars(world: World) -> Work:
    pl = import_module("polars")
    held = pl.DataFrame({"account": world.account, "code": world.code, "size": world.size, "entry": world.entry})
    marks = pl.DataFrame({"code": np.arange(len(world.mark)), "mark": world.mark})
    tables = pl.DataFrame(
        {"code": world.table, "floor": world.floor, "rate": world.rate, "deduction": world.deduction}
    ).sort("floor")
    wallets = pl.DataFrame({"account": np.arange(len(world.wallet)), "wallet": world.wallet})
    required = pl.col("rate") * pl.col("notional") - pl.col("deduction")
    gain = pl.col("size") * (pl.col("mark") - pl.col("entry"))
    asked = (
        held.lazy()
        .join(marks.lazy(), on="code")
        .with_columns(notional=pl.col("size").abs() * pl.col("mark"))
        .sort("notional")
        .join_asof(tables.lazy(), left_on="notional", right_on="floor", by="code", check_sortedness=False)
        .group_by("account")
        .agg(maintenance=required.sum(), gain=gain.sum())
        .join(wallets.lazy(), on="account")
        .with_columns(equity=pl.col("wallet") + pl.col("gain"))
        .with_columns(headroom=pl.col("equity") - pl.col("maintenance"))
        .with_columns(broken=pl.col("headroom") < 0)
        .select("account", "equity", "maintenance", "headroom", "broken")
        .sort("account")
    )

    def work() -> Answer:
        found = asked.collect()
        return {name: found[name].to_numpy() for name in ("equity", "maintenance", "headroom", "broken")}

    return work


def in_duckdb(world: World) -> Work:
    duckdb = import_module("duckdb")
    connection = duckdb.connect()
    tables = {
        "held": {"account": world.account, "code": world.code, "size": world.size, "entry": world.entry},
        "marks": {"code": np.arange(len(world.mark)), "mark": world.mark},
        "tables": {"code": world.table, "floor": world.floor, "rate": world.rate, "deduction": world.deduction},
        "wallets": {"account": np.arange(len(world.wallet)), "wallet": world.wallet},
    }
    for name, columns in tables.items():
        connection.register("given", columns)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
    asked = """
        WITH valued AS (
            SELECT account, code, size * (mark - entry) AS gain, abs(size) * mark AS notional
            FROM held JOIN marks USING (code)
        ), summed AS (
            SELECT account, sum(gain) AS gain, sum(rate * notional - deduction) AS maintenance
            FROM valued ASOF JOIN tables ON valued.code = tables.code AND valued.notional >= tables.floor
            GROUP BY account
        )
        SELECT account, wallet + gain AS equity, maintenance, wallet + gain - maintenance AS headroom,
               wallet + gain - maintenance < 0 AS broken
        FROM summed JOIN wallets USING (account) ORDER BY account
    """

    def work() -> Answer:
        found: Answer = connection.execute(asked).fetchnumpy()
        return found

    return work


# trading systems ------------------------------------------------------------------------------------------------------


def in_freqtrade(world: World) -> Work:
    """Its cross liquidation price of every position, as a dry run on Binance forms it for the open trades.

    It takes the price of another trade to be its open rate, and the PnL of it without its side; so the trades are
    opened at the mark, and what they have gained comes with the wallet: the same work, the right figure.
    """
    binance = import_module("freqtrade.exchange.binance").Binance
    enums = import_module("freqtrade.enums")
    exchange = binance.__new__(binance)
    exchange.__dict__.update(
        _config={"runmode": enums.RunMode.BACKTEST, "dry_run": True},
        margin_mode=enums.MarginMode.CROSS,
        trading_mode=enums.TradingMode.FUTURES,
        close=lambda: None,
        loop=None,
        _leverage_tiers={
            f"C{code}": [
                {
                    "minNotional": float(world.floor[row]),
                    "maintenanceMarginRate": float(world.rate[row]),
                    "maintAmt": float(world.deduction[row]),
                }
                for row in range(world.first[code], world.first[code + 1])
            ]
            for code in range(len(world.mark))
        },
    )
    binance.__del__ = lambda self: None
    gain = world.size * (world.mark[world.code] - world.entry)
    accounts = []
    for number, wallet in enumerate(world.wallet):
        rows = range(world.start[number], world.start[number + 1])
        trades = [
            SimpleNamespace(
                pair=f"C{world.code[row]}",
                open_rate=float(world.mark[world.code[row]]),
                amount=float(abs(world.size[row])),
                stake_amount=float(abs(world.size[row]) * world.mark[world.code[row]]),
                is_short=bool(world.size[row] < 0),
                entry=float(world.entry[row]),
                wallet=float(wallet + gain[rows].sum() - gain[row]),
            )
            for row in rows
        ]
        accounts.append(trades)

    def work() -> Answer:
        found = [
            exchange.dry_run_liquidation_price(
                pair=trade.pair,
                open_rate=trade.entry,
                is_short=trade.is_short,
                amount=trade.amount,
                stake_amount=trade.stake_amount,
                leverage=1.0,
                wallet_balance=trade.wallet,
                open_trades=trades,
            )
            for trades in accounts
            for trade in trades
        ]
        return {"price": np.array(found, np.float64)}

    return work


_NAUTILUS = (
    "model.identifiers", "model.objects", "model.instruments", "model.enums", "model.events", "model.position",
    "model.currencies", "model.data", "accounting.accounts.margin", "accounting.margin_models", "core.uuid",
    "common.component", "cache.cache", "cache.config", "portfolio.portfolio", "portfolio.config",
)  # fmt: skip


class Nautilus:
    """What both measurements of nautilus_trader need: instruments, filled positions and a margin account."""

    def __init__(self, world: World) -> None:
        self.world = world
        named: dict[str, Any] = {}
        for module in _NAUTILUS:
            named = vars(import_module(f"nautilus_trader.{module}")) | named
        self.of = SimpleNamespace(**{name: value for name, value in named.items() if not name.startswith("_")})

    def instrument(self, code: int, venue: str) -> Any:
        decimal = import_module("decimal").Decimal
        name = self.of.InstrumentId(self.of.Symbol(f"C{code}"), self.of.Venue(venue))
        return self.of.CryptoPerpetual(
            name, self.of.Symbol(f"C{code}"), self.of.BTC, self.of.USDT, self.of.USDT, False, 4, 6,
            self.of.Price(1e-4, 4), self.of.Quantity(1e-6, 6), 0, 0,
            margin_init=decimal("0.1"), margin_maint=decimal(str(FLAT)),
        )  # fmt: skip

    def account(self, venue: str, wallet: float) -> Any:
        money = self.of.Money(wallet, self.of.USDT)
        state = self.of.AccountState(
            self.of.AccountId(f"{venue}-1"), self.of.AccountType.MARGIN, None, True,
            [self.of.AccountBalance(money, self.of.Money(0, self.of.USDT), money)], [], {}, self.of.UUID4(), 0, 0,
        )  # fmt: skip
        account = self.of.MarginAccount(state, True)
        account.set_margin_model(self.of.StandardMarginModel())
        return account

    def position(self, row: int, instrument: Any, venue: str) -> Any:
        size, entry = float(self.world.size[row]), float(self.world.entry[row])
        fill = self.of.OrderFilled(
            self.of.TraderId("T-1"), self.of.StrategyId("S-1"), instrument.id, self.of.ClientOrderId(f"O-{row}"),
            self.of.VenueOrderId(str(row)), self.of.AccountId(f"{venue}-1"), self.of.TradeId(str(row)),
            self.of.PositionId(f"P-{row}"), self.of.OrderSide.BUY if size > 0 else self.of.OrderSide.SELL,
            self.of.OrderType.MARKET, self.of.Quantity(abs(size), 6), self.of.Price(entry, 4), self.of.USDT,
            self.of.Money(0, self.of.USDT), self.of.LiquiditySide.TAKER, self.of.UUID4(), 0, 0,
        )  # fmt: skip
        return self.of.Position(instrument, fill)


def nautilus_primitives(world: World) -> Work:
    """Its initial margin, maintenance margin and unrealized PnL of every position at the mark."""
    library = Nautilus(world)
    instruments = [library.instrument(code, "SIM") for code in range(len(world.mark))]
    account = library.account("SIM", 1e6)
    prices = [library.of.Price(float(mark), 4) for mark in world.mark]
    rows = [
        (library.position(row, instruments[code], "SIM"), instruments[code], prices[code])
        for row, code in enumerate(world.code)
    ]

    def work() -> Answer:
        found = [
            (
                account.calculate_margin_init(instrument, position.quantity, price),
                account.calculate_margin_maint(instrument, position.side, position.quantity, price),
                position.unrealized_pnl(price),
            )
            for position, instrument, price in rows
        ]
        return {
            "required": np.array([kept.as_double() for _, kept, _ in found]),
            "gain": np.array([gain.as_double() for _, _, gain in found]),
        }

    return work


def nautilus_portfolio(world: World) -> Work:
    """Its portfolio: every account's positions told to it anew, then what it says of PnL and maintenance margin.

    An account is a venue, for a portfolio has one account a venue. Maintenance margin is that of the entry price.
    """
    library = Nautilus(world)
    made = []
    for number in range(min(PORTFOLIOS, len(world.wallet))):
        name = f"V{number}"
        clock = library.of.TestClock()
        cache = library.of.Cache(database=None)
        bus = library.of.MessageBus(trader_id=library.of.TraderId("T-1"), clock=clock)
        portfolio = library.of.Portfolio(bus, cache, clock, config=library.of.PortfolioConfig(use_mark_prices=True))
        cache.add_account(library.account(name, float(world.wallet[number])))
        for row in range(world.start[number], world.start[number + 1]):
            code = int(world.code[row])
            instrument = library.instrument(code, name)
            cache.add_instrument(instrument)
            mark = library.of.Price(float(world.mark[code]), 4)
            cache.add_mark_price(library.of.MarkPriceUpdate(instrument.id, mark, 0, 0))
            cache.add_position(library.position(row, instrument, name), library.of.OmsType.NETTING)
        made.append((portfolio, library.of.Venue(name)))

    def work() -> Answer:
        gains, kept = [], []
        for portfolio, venue in made:
            portfolio.initialize_positions()
            gains.append(sum(gain.as_double() for gain in portfolio.unrealized_pnls(venue).values()))
            kept.append(sum(margin.as_double() for margin in portfolio.margins_maint(venue).values()))
        return {"gain": np.array(gains), "required": np.array(kept)}

    return work


def in_flox(world: World) -> Work:
    """Its liquidation engine at one tick of one contract: it goes over every account attached to it."""
    flox = import_module("flox_py")
    engine = flox.LiquidationEngine().add_tier(0, FLAT)
    accounts = []
    for number, wallet in enumerate(world.wallet):
        account = flox.Account(number, float(wallet))
        account.set_margin_mode("cross")
        for row in range(world.start[number], world.start[number + 1]):
            account.open_position(int(world.code[row]), float(world.size[row]), float(world.entry[row]))
        engine.attach_account(account)
        accounts.append(account)
    engine.on_marks([(code, float(mark)) for code, mark in enumerate(world.mark)], 0)
    headroom = np.array([account.cross_headroom(FLAT) for account in accounts])
    popular = int(np.bincount(world.code).argmax())

    def work() -> Answer:
        engine.on_mark(popular, float(world.mark[popular]))
        return {"headroom": headroom}

    return work


SIDES: dict[str, tuple[str, Callable[[World], Work]]] = {
    "numpy": ("numpy", in_numpy),
    "pandas": ("pandas", in_pandas),
    "polars": ("polars", in_polars),
    "duckdb": ("duckdb", in_duckdb),
    "freqtrade": ("freqtrade", in_freqtrade),
    "nautilus_trader, primitives": ("nautilus_trader", nautilus_primitives),
    "nautilus_trader, portfolio": ("nautilus_trader", nautilus_portfolio),
    "flox-py": ("flox-py", in_flox),
}
"""Peer -> (the package whose version is told, its side)."""


def main(peer: str, given: str, answer: str, rounds: int) -> None:
    package, side = SIDES[peer]
    work = side(World(given))
    found = work()
    np.savez(answer, **found)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    json.dump({"version": version(package), "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
