"""What does this hedge free?

A position's requirement is what the pool needs with it less what it needs without; a hedge is a few fills, and what it
frees is the difference of two judgements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Literal

from crossmargin.analytics.funding import Purse, after_payments
from crossmargin.analytics.threshold import threshold, threshold_along
from crossmargin.engine import formulas
from crossmargin.engine.changes import Books, filled, mark_price, traded
from crossmargin.engine.path import Case
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import AccountError, Fault, MarketDataError
from crossmargin.model.account import Account, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing, PoolReport, ShockThreshold

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What one position needs in its pool, in the pool's ``currency``.

    ``marginal``: the pool's requirement with it less without it (closed at the mark, no fee); ``stand_alone``: what it
    would need with every other position closed; ``offset``: how much less the pool needs because they stand together
    (below 0: more). ``headroom_without``: the pool's headroom if it were closed. Initial figures are None where a
    leverage is missing.
    """

    symbol: str
    position_side: str
    pool: str
    currency: str
    marginal_maintenance: Decimal
    stand_alone_maintenance: Decimal
    offset_maintenance: Decimal
    marginal_initial: Decimal | None
    stand_alone_initial: Decimal | None
    offset_initial: Decimal | None
    headroom_without: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One fill of a hedge: ``quantity`` in contracts (coins for spot), its ``fee`` and realized PnL in ``currency``."""

    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realized_pnl: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChange:
    """The figures of one pool before and after (None = the pool is not there), and what the hedge freed.

    ``freed_maintenance`` and ``freed_initial`` are before less after: above 0 the pool needs less.
    """

    pool: str
    currency: str
    before: PoolReport | None
    after: PoolReport | None
    freed_maintenance: Decimal
    freed_initial: Decimal | None
    headroom_change: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdChange:
    """One side of one threshold before and after; a threshold that is not there is None."""

    symbol: str
    pool: str
    side: Literal["below", "above"]
    before: Crossing | None
    after: Crossing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralPair:
    """Legs in one coin that cancel in price but not in margin.

    ``delta``: coins the account is long (contracts, and what it holds where that is collateral); ``gross``: the sum of
    the legs. ``below`` and ``above``: where the first pool is liquidated as the coin moves; ``margin_neutral`` says
    that neither side exists.
    """

    coin: str
    delta: Decimal
    gross: Decimal
    below: Crossing
    above: Crossing
    margin_neutral: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeEffect:
    """What trades at the mark do to every pool and every threshold, fees taken off; ``pairs`` is of the result."""

    trades: tuple[Trade, ...]
    pools: tuple[PoolChange, ...]
    thresholds: tuple[ThresholdChange, ...]
    common_shock_before: ShockThreshold
    common_shock_after: ShockThreshold
    pairs: tuple[NeutralPair, ...]


# public questions -----------------------------------------------------------------------------------------------------


def requirements(account: Account, market: Market, rules: Rules) -> tuple[Requirement, ...]:
    """What each position needs in its pool, alone and beside the others, in the pool's currency.

    Raises as :func:`crossmargin.evaluate` does. The requirements are the judge's; the difference is ours.
    """
    with localcontext(CONTEXT):
        case = (account, market, rules)
        owners = {(p.symbol, p.position_side, p.pool): p.pool for p in evaluate(*case, explain=False).positions}
        found = []
        for symbol, side, pool in owners:
            isolated = pool.endswith(" isolated")
            mode = "isolated" if isolated else "cross"
            own = [p for p in account.positions if (p.symbol, p.position_side, p.margin_mode) == (symbol, side, mode)]
            others = [p for p in account.positions if p not in own]
            whole, without = pool_report(case, pool), pool_report((_closed(case, own), market, rules), pool)
            alone = pool_report((_closed(case, others), market, rules), pool)
            empty = pool_report((_closed(case, account.positions), market, rules), pool)
            currency = whole.currency if whole else ""
            marginal, lone = _less(whole, without), _less(alone, empty)
            initial = _initial_less(whole, without), _initial_less(alone, empty)
            both = initial[0] is not None and initial[1] is not None
            found.append(
                Requirement(
                    symbol=symbol,
                    position_side=side,
                    pool=pool,
                    currency=currency,
                    marginal_maintenance=marginal,
                    stand_alone_maintenance=lone,
                    offset_maintenance=lone - marginal,
                    marginal_initial=initial[0],
                    stand_alone_initial=initial[1],
                    offset_initial=(initial[1] or _ZERO) - (initial[0] or _ZERO) if both else None,
                    headroom_without=without.headroom if without else _ZERO,
                )
            )
        return tuple(found)


def hedge(
    account: Account,
    market: Market,
    rules: Rules,
    quantities: Mapping[str, Decimal],
    *,
    leverage: Decimal | None = None,
) -> HedgeEffect:
    """The effect of trades at the mark on margins, headroom and thresholds, taker fees taken off.

    ``quantities`` maps symbols to contracts (spot pairs to coins), + buys and - sells. A trade first closes cross
    positions of the other side in its symbol, then adds to its own side or opens it, at ``leverage`` where the symbol
    has none (without one the initial margin is unknown). Spot trades at ``market.mark_price`` or ``last_price`` of the
    pair. Raises :class:`MarketDataError` for prices and :class:`AccountError` for fees and contract sizes that are not
    known, and as :func:`crossmargin.evaluate` does.
    """
    with localcontext(CONTEXT):
        after, trades = fills_of((account, market, rules), quantities, leverage)
        old, new = evaluate(account, market, rules, explain=False), evaluate(after, market, rules, explain=False)
        was, now = {p.name: p for p in old.pools}, {p.name: p for p in new.pools}
        pools = []
        for name in dict.fromkeys([*was, *now]):
            first, last = was.get(name), now.get(name)
            shown = first or now[name]
            initial = _initial_less(first, last)
            pools.append(
                PoolChange(
                    pool=name,
                    currency=shown.currency,
                    before=first,
                    after=last,
                    freed_maintenance=_less(first, last),
                    freed_initial=initial,
                    headroom_change=(last.headroom if last else _ZERO) - (first.headroom if first else _ZERO),
                )
            )
        before_lines, after_lines = threshold(account, market, rules), threshold(after, market, rules)
        earlier = {(row.symbol, row.pool): row for row in before_lines.thresholds}
        later = {(row.symbol, row.pool): row for row in after_lines.thresholds}
        sides: tuple[Literal["below", "above"], ...] = ("below", "above")
        return HedgeEffect(
            trades=trades,
            pools=tuple(pools),
            thresholds=tuple(
                ThresholdChange(
                    symbol=key[0],
                    pool=key[1],
                    side=side,
                    before=getattr(earlier[key], side) if key in earlier else None,
                    after=getattr(later[key], side) if key in later else None,
                )
                for key in dict.fromkeys([*earlier, *later])
                for side in sides
            ),
            common_shock_before=before_lines.common_shock,
            common_shock_after=after_lines.common_shock,
            pairs=neutral_pairs(after, market, rules),
        )


def neutral_pairs(
    account: Account, market: Market, rules: Rules, *, tolerance: Decimal = Decimal("0.01")
) -> tuple[NeutralPair, ...]:
    """Coins in which long and short legs cancel to within ``tolerance`` of their sum, and where they still break.

    Legs are contracts (an inverse one of ``size`` quote units is size / price coins) and what the account owns of the
    coin. They cancel in price; margin grows with price, settles in different assets and is
    charged on each leg, so the pair has thresholds of its own. Raises as :func:`crossmargin.evaluate` does.
    """
    with localcontext(CONTEXT):
        prepared = prepare(account, market, rules)
        legs: dict[str, list[Decimal]] = {}
        for pool in prepared.pools:
            for own in measure(pool).assets:
                for exposure, _, _ in own.exposures:
                    for leg in exposure.legs:
                        coins = leg.size / exposure.mark if exposure.inverse else leg.size
                        legs.setdefault(exposure.symbol.base, []).append(coins)
                if own.asset.cash + own.pnl and (own.asset.name in legs or _traded_base(account, own.asset.name)):
                    legs.setdefault(own.asset.name, []).append(own.asset.cash + own.pnl)
        found = []
        for coin, sizes in legs.items():
            gross, delta = sum((abs(size) for size in sizes), _ZERO), sum(sizes, _ZERO)
            if min(sizes) < 0 < max(sizes) and abs(delta) <= tolerance * gross:
                line = threshold_along(account, market, rules, {coin: _ONE})
                neutral = {line.below.kind, line.above.kind} == {"never"}
                found.append(
                    NeutralPair(
                        coin=coin,
                        delta=delta,
                        gross=gross,
                        below=line.below,
                        above=line.above,
                        margin_neutral=neutral,
                    )
                )
        return tuple(found)


# trades ---------------------------------------------------------------------------------------------------------------


def fills_of(case: Case, quantities: Mapping[str, Num], leverage: Decimal | None) -> tuple[Account, tuple[Trade, ...]]:
    """The account after trades at the mark; quantities may be rays."""
    check_trades(case, quantities)
    books = Books(*case)
    trades: list[Trade] = []
    for symbol, quantity in quantities.items():
        make = _spot if parse_symbol(symbol).kind == "spot" else _contract
        books, trade = make(books, symbol, quantity, leverage)
        trades.append(trade)
    return books.account, tuple(trades)


def check_trades(case: Case, quantities: Mapping[str, Num]) -> None:
    """Raise :class:`AccountError` or :class:`MarketDataError` with all that keeps these trades from being made."""
    _, market, rules = case
    faults, missing = [], []
    for symbol, quantity in quantities.items():
        try:
            parse_symbol(symbol)
        except ValueError as error:
            faults.append(Fault("symbol", symbol, str(error)))
            continue
        if rules.taker_fee(symbol) is None:
            faults.append(Fault(symbol, "", "no taker fee is known; add [[instruments]] with taker_fee"))
        if _price(market, symbol) is None:
            missing.append(Fault(f"market.mark_price.{symbol}", "", "is missing: the price of the hedge"))
        if parse_symbol(symbol).kind != "spot" and rules.contract_size(symbol) is None:
            faults.append(Fault(symbol, "", "no contract size is known; add [[instruments]] with contract_size"))
        if isinstance(quantity, Decimal) and not quantity:
            faults.append(Fault(symbol, "0", "is 0; leave the trade out"))
    if faults:
        raise AccountError("hedge", faults)
    if missing:
        raise MarketDataError("hedge", missing)


def _price(market: Market, symbol: str) -> Decimal | None:
    price = market.mark_price.get(symbol)
    return market.last_price.get(symbol) if price is None and parse_symbol(symbol).kind == "spot" else price


def _spot(books: Books, symbol: str, quantity: Num, _leverage: Decimal | None) -> tuple[Books, Trade]:
    price, rate = _price(books.market, symbol) or _ZERO, books.rules.taker_fee(symbol) or _ZERO
    what = parse_symbol(symbol)
    fee = formulas.share_of(formulas.linear_notional(quantity, price), rate)
    paid = {Purse(what.base): -quantity, Purse(what.quote): quantity * price + fee}
    trade = Trade(symbol=symbol, quantity=quantity, price=price, fee=fee, realized_pnl=_ZERO, currency=what.quote)
    return books._replace(account=after_payments(books.account, paid)), trade


def _contract(books: Books, symbol: str, quantity: Num, leverage: Decimal | None) -> tuple[Books, Trade]:
    done = traded(books, symbol, quantity, leverage=leverage)
    trade = Trade(
        symbol=symbol,
        quantity=quantity,
        price=mark_price(books.market, symbol),
        fee=done.fee if done.fee is not None else _ZERO,
        realized_pnl=done.realized_pnl,
        currency=parse_symbol(symbol).settle,
    )
    return done.books, trade


def _closed(case: Case, positions: Iterable[Position]) -> Account:
    """The account with positions closed at the mark without a fee; isolated margin goes with its position."""
    books, gone = Books(*case), list(positions)
    kept = tuple(p for p in books.account.positions if p not in gone or p.margin_mode == "cross")
    books = books._replace(account=books.account.model_copy(update={"positions": kept}))
    for position in gone:
        if position.margin_mode == "cross":
            mark = mark_price(books.market, position.symbol)
            index = books.account.positions.index(position)
            done, _ = filled(books, position.symbol, index, -position.quantity, price=mark, fee_rate=_ZERO)
            books = done.books
    return books.account


def _traded_base(account: Account, asset: str) -> bool:
    return any(parse_symbol(position.symbol).base == asset for position in account.positions)


# figures --------------------------------------------------------------------------------------------------------------


def pool_report(case: Case, name: str) -> PoolReport | None:
    """The report of one pool; None where the case does not make it."""
    return next((pool for pool in evaluate(*case, explain=False).pools if pool.name == name), None)


def _less(left: PoolReport | None, right: PoolReport | None) -> Decimal:
    return (left.maintenance_margin if left else _ZERO) - (right.maintenance_margin if right else _ZERO)


def _initial_less(left: PoolReport | None, right: PoolReport | None) -> Decimal | None:
    figures = [_ZERO if pool is None else pool.initial_margin for pool in (left, right)]
    return None if figures[0] is None or figures[1] is None else figures[0] - figures[1]
