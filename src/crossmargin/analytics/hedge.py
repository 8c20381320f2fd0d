"""What does this hedge free?

A position's requirement is what the pool needs with it less what it needs without; a hedge is a few fills, and what it
frees is the difference of two judgements. The best size of a hedge is solved as a threshold is: headroom along the size
is a chain of formulas, and its first zero is the answer.
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
from crossmargin.engine.moves import coins_moved
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray, first_fall
from crossmargin.engine.reference import Case, evaluate, measure
from crossmargin.errors import AccountError, Fault, MarketDataError, UnsupportedRule
from crossmargin.model.account import Account, Position
from crossmargin.model.instrument import CASH, parse_symbol
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeChoice:
    """One candidate of :func:`best_hedge`; the figures are those of ``pool`` after it, in ``currency``.

    ``openable``: free collateral after it is not negative (None = unknown). A candidate that cannot reach the target
    has no trades and says why in ``reason``.
    """

    instrument: str
    side: Literal["buy", "sell", "none"]
    pool: str
    currency: str
    trades: tuple[Trade, ...]
    fee: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    headroom: Decimal | None
    openable: bool | None
    reason: str | None


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
            whole, without = _pool(case, pool), _pool((_closed(case, own), market, rules), pool)
            alone = _pool((_closed(case, others), market, rules), pool)
            empty = _pool((_closed(case, account.positions), market, rules), pool)
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
        after, trades = _traded((account, market, rules), quantities, leverage)
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


def best_hedge(
    account: Account,
    market: Market,
    rules: Rules,
    instruments: Iterable[str | Mapping[str, Decimal]],
    *,
    headroom: Decimal = _ZERO,
    distance: Decimal = _ZERO,
    pool: str | None = None,
    by: Literal["fee", "margin"] = "fee",
    leverage: Decimal | None = None,
) -> tuple[HedgeChoice, ...]:
    """The least trade in each instrument that restores a wanted headroom or a wanted distance, best first.

    An instrument is a symbol, or a pair as weights of symbols (``{"BTC/USDT": 1, "BTC/USDT:USDT": -1}``); both
    directions are tried. The trade is the smallest after which ``pool`` (default: the only shared one) has at least
    ``headroom`` in its currency at the present prices and after every coin but cash has moved by ``distance`` (a
    fraction from 0 to 1) up and down, and no other pool that the trade settles in is below zero there. Exact: the first
    zero of headroom along the size. Ranked by taker fee or by the pool's initial margin; candidates that cannot be
    opened come after those that can, those that do not reach the target last. Raises as :func:`hedge` does.
    """
    if not 0 <= distance < 1:
        raise AccountError("best_hedge", (Fault("distance", str(distance), "must be from 0 to below 1 (10 % is 0.1)"),))
    with localcontext(CONTEXT):
        shared = [found.name for found in prepare(account, market, rules).pools if not found.isolated]
        if pool is None and len(shared) != 1:
            why = f"is missing; the account has the pools {', '.join(shared)}"
            raise AccountError("best_hedge", (Fault("pool", "", why),))
        if pool is not None and pool not in shared:
            raise AccountError("best_hedge", (Fault("pool", pool, f"is not one of {', '.join(shared)}"),))
        target = _Target((account, market, rules), pool or shared[0], headroom, distance, leverage)
        found = []
        for instrument in instruments:
            weights = {instrument: _ONE} if isinstance(instrument, str) else dict(instrument)
            found += target.choices(weights)
    far = Decimal("Infinity")

    def rank(choice: HedgeChoice) -> tuple[bool, bool, Decimal]:
        cost = choice.fee if by == "fee" else choice.initial_margin
        return choice.reason is not None, choice.openable is False, far if cost is None else cost

    return tuple(sorted(found, key=rank))


# trades ---------------------------------------------------------------------------------------------------------------


def _traded(case: Case, quantities: Mapping[str, Num], leverage: Decimal | None) -> tuple[Account, tuple[Trade, ...]]:
    """The account after trades at the mark; quantities may be rays."""
    _check(case, quantities)
    books = Books(*case)
    trades: list[Trade] = []
    for symbol, quantity in quantities.items():
        make = _spot if parse_symbol(symbol).kind == "spot" else _contract
        books, trade = make(books, symbol, quantity, leverage)
        trades.append(trade)
    return books.account, tuple(trades)


def _check(case: Case, quantities: Mapping[str, Num]) -> None:
    _, market, rules = case
    faults, missing = [], []
    for symbol, quantity in quantities.items():
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


def _pool(case: Case, name: str) -> PoolReport | None:
    return next((pool for pool in evaluate(*case, explain=False).pools if pool.name == name), None)


def _less(left: PoolReport | None, right: PoolReport | None) -> Decimal:
    return (left.maintenance_margin if left else _ZERO) - (right.maintenance_margin if right else _ZERO)


def _initial_less(left: PoolReport | None, right: PoolReport | None) -> Decimal | None:
    figures = [_ZERO if pool is None else pool.initial_margin for pool in (left, right)]
    return None if figures[0] is None or figures[1] is None else figures[0] - figures[1]


# the best size --------------------------------------------------------------------------------------------------------


class _Target:
    """A wanted headroom of one pool at some prices, and the trades that reach it."""

    def __init__(self, case: Case, pool: str, headroom: Decimal, distance: Decimal, leverage: Decimal | None) -> None:
        self.case = case
        self.pool = pool
        self.wanted = headroom
        self.leverage = leverage
        account, market, rules = case
        symbols = [parse_symbol(name) for name in market.mark_price]
        coins = {symbol.base for symbol in symbols} | set(market.index_price) | set(market.ask_rate)
        moving = coins - CASH - {rules.reference_currency}
        self.markets = [
            coins_moved(market, dict.fromkeys(moving, 1 + shift))
            for shift in dict.fromkeys((_ZERO, -distance, distance))
        ]
        report = evaluate(account, market, rules, explain=False)
        self.currency = next(found.currency for found in report.pools if found.name == pool)

    def room(self, quantities: Mapping[str, Num], zero: Num) -> Num:
        """The least distance to the target over the prices: 0 or more where the trade is enough."""
        account, _, rules = self.case
        if quantities:
            account, _ = _traded(self.case, quantities, self.leverage)
        settles = {parse_symbol(symbol).settle for symbol in quantities}
        rooms = []
        for prices in self.markets:
            for pool in prepare(account, prices, rules).pools:
                if pool.name == self.pool:
                    rooms.append(measure(pool).headroom - self.wanted + zero)
                elif pool.name in settles:
                    rooms.append(measure(pool).headroom + zero)
        return min(rooms)

    def choices(self, weights: Mapping[str, Decimal]) -> list[HedgeChoice]:
        """The least buy and the least sell; no trade where none is needed."""
        if self.room({}, _ZERO) >= 0:
            return [self._choice(weights, "none", {})]
        held = {p.symbol: p.quantity for p in self.case[0].positions if p.margin_mode == "cross"}
        found = []
        for side, way in (("buy", 1), ("sell", -1)):
            # sizes are counted from a point at which no leg is flat, so that no ray starts at zero
            start = way * (_ONE + max((abs(held.get(s, _ZERO) / w) for s, w in weights.items()), default=_ZERO))
            found.append(self._solve(weights, side, start, way))
        return found

    def _solve(self, weights: Mapping[str, Decimal], side: Any, start: Decimal, way: int) -> HedgeChoice:
        def shortfall(point: Decimal, direction: int) -> Ray:
            s = Ray(_ZERO, _ONE, Line(point, direction, track=True))
            short: Ray = -self.room({symbol: weight * (start + s) for symbol, weight in weights.items()}, s * 0)
            return short

        try:
            root = first_fall(shortfall, -start, None, way)
        except UnsupportedRule as rule:
            return self._choice(weights, side, {}, reason=str(rule))
        if root is None:
            return self._choice(weights, side, {}, reason="no size of it reaches the target")
        return self._choice(weights, side, {symbol: weight * (start + root) for symbol, weight in weights.items()})

    def _choice(
        self, weights: Mapping[str, Decimal], side: Any, quantities: Mapping[str, Decimal], reason: str | None = None
    ) -> HedgeChoice:
        account, market, rules = self.case
        trades: tuple[Trade, ...] = ()
        if quantities:
            account, trades = _traded(self.case, quantities, self.leverage)
        after = None if reason else _pool((account, market, rules), self.pool)
        free = after.free_collateral if after else None
        fees = [None if (rate := self._rate(trade.currency)) is None else trade.fee * rate for trade in trades]
        known = [fee for fee in fees if fee is not None]
        return HedgeChoice(
            instrument=", ".join(s if w == 1 else f"{w} {s}" for s, w in weights.items()),
            side=side,
            pool=self.pool,
            currency=self.currency,
            trades=trades,
            fee=sum(known, _ZERO) if len(known) == len(fees) and not reason else None,
            initial_margin=after.initial_margin if after else None,
            maintenance_margin=after.maintenance_margin if after else None,
            headroom=after.headroom if after else None,
            openable=None if free is None else free >= 0,
            reason=reason,
        )

    def _rate(self, asset: str) -> Decimal | None:
        """What a unit of an asset is worth in the pool's currency, where the market says."""
        _, market, rules = self.case
        if asset == self.currency:
            return _ONE
        prices = [
            _ONE if name == rules.reference_currency else market.index_price.get(name)
            for name in (asset, self.currency)
        ]
        return None if prices[0] is None or prices[1] is None else prices[0] / prices[1]
