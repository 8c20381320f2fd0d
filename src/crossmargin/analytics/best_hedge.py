"""Which hedge restores a target at least cost?

The size of a hedge is solved as a threshold is: headroom along the size is a chain of formulas, and its first zero is
the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Literal

from crossmargin.analytics.hedge import Trade, check_trades, fills_of, pool_report
from crossmargin.engine.moves import coins_moved
from crossmargin.engine.path import Case
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray, first_fall
from crossmargin.engine.reference import measure
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)


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
    opened come after those that can, those that do not reach the target last. Raises as :func:`crossmargin.hedge` does.
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
        candidates = [{one: _ONE} if isinstance(one, str) else dict(one) for one in instruments]
        check_trades(target.case, dict.fromkeys((symbol for weights in candidates for symbol in weights), _ONE))
        found = [choice for weights in candidates for choice in target.choices(weights)]
    far = Decimal("Infinity")

    def rank(choice: HedgeChoice) -> tuple[bool, bool, Decimal]:
        cost = choice.fee if by == "fee" else choice.initial_margin
        return choice.reason is not None, choice.openable is False, far if cost is None else cost

    return tuple(sorted(found, key=rank))


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
            account, _ = fills_of(self.case, quantities, self.leverage)
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
            account, trades = fills_of(self.case, quantities, self.leverage)
        after = None if reason else pool_report((account, market, rules), self.pool)
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
