"""What would have become of this account in this history?

The account is led through bars of prices and funding. Each bar has three moments: its open (a gap is filled where the
market opened), its adverse range (each coin at the end that hurts the pool; what breaks on the way is filled at the
crossing, exactly), and its close, before which the funding of the bar is paid. Bars far from every level are judged on
floats, prepared once; near a level the exact judge decides, and only it liquidates
(:func:`crossmargin.engine.liquidation.liquidate`). One run is a :class:`Replay`, which a back-tester may lead itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from crossmargin.analytics.comparison import Mode, pooled
from crossmargin.analytics.replay_watch import Moment, Watched, at_bar, at_stake, is_near, within
from crossmargin.analytics.whatif import Step as Admission
from crossmargin.analytics.whatif import whatif
from crossmargin.engine.changes import Books, book
from crossmargin.engine.liquidation import Step, liquidate
from crossmargin.engine.path import headroom_along
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import first_fall
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import CrossmarginError, Fault, MarketDataError, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.change import ChangeRules, Order
from crossmargin.model.history import Bar
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

_ZERO, _ONE = Decimal(0), Decimal(1)
_LOOKS = 8
"""How often a venue looks at a pool again on the way from its first walk to the end of a bar's range."""
_JUST_BEYOND = (_ZERO, Decimal("1e-15"), Decimal("1e-9"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """One walk of the venue's programme: ``moment`` of the bar at ``time``, and the marks of the pool's contracts.

    Equities are the pool's, in ``currency``, before the first step and after the last.
    """

    time: datetime
    moment: Moment
    pool: str
    currency: str
    marks: dict[str, Decimal]
    equity_before: Decimal
    equity_after: Decimal
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The account at the close of a bar, as floats to draw: in the run's currency, None where it is not known.

    ``headroom`` is that of the weakest pool; ``funding`` what was paid since the start (below 0 = received).
    """

    time: datetime
    equity: float | None
    headroom: float | None
    initial_margin: float | None
    funding: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One account through one history. Money is in ``currency`` unless said.

    ``liquidated``: when the first liquidation began, None = never. ``lowest_headroom`` is that of closes, at the time
    ``lowest_at``; ``capital_used`` the greatest initial margin. ``funding_paid`` is exact, by settle asset (below 0 =
    received). What is not known is None, with a note; ``reasons`` says why a run could not be made at all.
    """

    profile: str
    mode: Mode
    currency: str
    bars: int
    equity_start: float | None
    equity_end: float | None
    lowest_headroom: float | None
    lowest_at: datetime | None
    capital_used: float | None
    liquidated: datetime | None
    funding_paid: dict[str, Decimal]
    liquidations: tuple[Liquidation, ...]
    points: tuple[Point, ...]
    notes: tuple[str, ...]
    reasons: tuple[str, ...] = ()


# public questions -----------------------------------------------------------------------------------------------------


def replay(
    account: Account,
    market: Market,
    rules: Rules,
    bars: Sequence[Bar],
    *,
    others: Sequence[Rules] = (),
    modes: Sequence[Mode] = ("as_held",),
) -> tuple[Run, ...]:
    """The same account through the same bars, one run for each mode (as in ``compare``) under each set of rules.

    The first bar's close is where it starts: pockets of the mode ``isolated`` are sized there. ``market`` gives what
    the bars do not move. Rules stay as they are through time. Raises :class:`MarketDataError` naming every coin that
    is held and not in the bars, and as :func:`crossmargin.evaluate` and :func:`crossmargin.liquidate` do.
    """
    if not bars:
        raise MarketDataError("replay", (Fault("bars", "", "is empty; give at least one bar"),))
    with localcontext(CONTEXT):
        start = Books(account, at_bar(account, market, bars[0].time, bars[0].close), rules)
    return tuple(_run(start, law, mode, bars) for law in (rules, *others) for mode in modes)


def entered(account: Account, bar: Bar) -> Account:
    """The account with every position entered at a bar's close, as if it had just been opened there, fees left out.

    A contract that the bar does not price keeps its entry; :func:`replay` names it.
    """
    positions = (
        p.model_copy(
            update={"entry_price": bar.close.get(p.symbol, bar.close.get(parse_symbol(p.symbol).base, p.entry_price))}
        )
        for p in account.positions
    )
    return account.model_copy(update={"positions": tuple(positions)})


def _run(start: Books, law: Rules, mode: Mode, bars: Sequence[Bar]) -> Run:
    """One run; rules or a mode that cannot take the account make one with reasons, as in ``compare``."""
    own = law is start.rules and mode == "as_held"
    try:
        with localcontext(CONTEXT):
            under = start if law is start.rules else book(start, ChangeRules(rules=law)).books
            books = pooled(under, mode)
        run = Replay(books.account, books.market, books.rules)
        for bar in bars:
            run.step(bar)
        return run.result(mode)
    except CrossmarginError as error:
        if own:
            raise
        nothing = dict.fromkeys(("equity_start", "equity_end", "lowest_headroom", "lowest_at", "capital_used"))
        return Run(
            profile=law.profile,
            mode=mode,
            currency=law.reference_currency,
            bars=0,
            liquidated=None,
            funding_paid={},
            liquidations=(),
            points=(),
            notes=(),
            reasons=tuple(str(fault) for fault in error.faults),
            **nothing,
        )


class Replay:
    """One account led through a history, bar by bar; ask it between bars as a back-tester does.

    ``account``, ``market`` and ``rules`` as for :func:`crossmargin.evaluate`. :meth:`step` moves on, :meth:`may_open`
    and :meth:`open` take orders at the last close, ``account`` and ``market`` are exact at any time, ``liquidated``
    says when the venue first stepped in.
    """

    def __init__(self, account: Account, market: Market, rules: Rules) -> None:
        if rules.slots.liquidation is None:
            why = "states no liquidation programme, so what a venue does to a broken account is not known"
            raise UnsupportedRule(f"replay under {rules.profile}", (Fault("liquidation", rules.profile, why),))
        self.rules = rules
        self._base = market
        self._market: Market | None = market
        self._given: Account = account
        self._watched: Watched | None = None
        self._last: Bar | None = None
        self.liquidations: list[Liquidation] = []
        self.points: list[Point] = []
        self.funding_paid: dict[str, Decimal] = {}
        self._currency = rules.reference_currency
        self._charged: dict[str, bool] = {}

    @property
    def account(self) -> Account:
        """The account as it stands, funding paid and liquidations done, exactly."""
        return self._given if self._watched is None else self._watched.account

    @property
    def market(self) -> Market:
        """The market at the last close."""
        if self._market is None and self._last is not None:
            self._market = at_bar(self.account, self._base, self._last.time, self._last.close)
        return self._market or self._base

    @property
    def liquidated(self) -> datetime | None:
        """When the venue first stepped in; None = not yet."""
        return self.liquidations[0].time if self.liquidations else None

    def step(self, bar: Bar) -> Point:
        """Lead the account through one bar; the first only sets its prices. Returns where it stands at the close.

        Raises :class:`MarketDataError` for a bar that is not later than the last or lacks a coin that is held.
        """
        if self._last is not None and bar.time <= self._last.time:
            why = f"must be later than {self._last.time.isoformat()}, the bar before"
            raise MarketDataError("replay", (Fault("bar.time", bar.time.isoformat(), why),))
        with localcontext(CONTEXT):
            last = self._last
            if last is None or last.close.keys() != bar.close.keys():
                at_bar(self.account, self._base, bar.time, bar.close)  # every coin that is missing, at once
            self._last, self._market = bar, None
            if self._watched is None:
                self._restart(self.account, self.market)
            if last is not None:
                start = {k: bar.open.get(k, last.close.get(k, price)) for k, price in bar.close.items()}
                if bar.open:
                    self._look(bar, start, "open")
                if bar.high or bar.low:
                    self._range(bar, start)
                self._pay(bar)
            point = self._point(bar, self._look(bar, bar.close, "close"))
            self.points.append(point)
            return point

    def may_open(self, order: Order) -> Admission:
        """Whether the venue would take an order now, at the last close: its ``verdict`` and ``reasons``.

        The same judgement as :func:`crossmargin.whatif`, and the same errors.
        """
        return whatif(self.account, self._market_of(order), self.rules, [order]).steps[0]

    def open(self, order: Order) -> None:
        """Fill an order now, at its price or the last close; nothing is asked. Errors as :func:`crossmargin.whatif`."""
        with localcontext(CONTEXT):
            self._market = self._market_of(order)
            done = book(Books(self.account, self._market, self.rules), order)
            self._restart(done.books.account, self._market)

    def result(self, mode: Mode = "as_held") -> Run:
        """What has happened so far."""
        rooms = [(p.headroom, p.time) for p in self.points if p.headroom is not None]
        lowest = min(rooms, default=(None, None))
        used = [p.initial_margin for p in self.points if p.initial_margin is not None]
        notes = [
            f"funding of {name} is not in the history: none was charged"
            for name, once in self._charged.items()
            if not once
        ]
        if any(p.equity is None for p in self.points):
            notes.append(f"pools in several currencies without a price in {self._currency}: totals are not known")
        return Run(
            profile=self.rules.profile,
            mode=mode,
            currency=self._currency,
            bars=len(self.points),
            equity_start=self.points[0].equity if self.points else None,
            equity_end=self.points[-1].equity if self.points else None,
            lowest_headroom=lowest[0],
            lowest_at=lowest[1],
            capital_used=max(used) if used and len(used) == len(self.points) else None,
            liquidated=self.liquidated,
            funding_paid=dict(self.funding_paid),
            liquidations=tuple(self.liquidations),
            points=tuple(self.points),
            notes=tuple(notes),
        )

    # one bar ----------------------------------------------------------------------------------------------------------

    def _restart(self, account: Account, market: Market) -> None:
        self._watched = Watched(prepare(account, market, self.rules))
        currencies = {pool.currency for pool in self._watched.floats.pools}
        if not self.points and len(currencies) == 1:
            self._currency = currencies.pop()

    def _current(self) -> Watched:
        if self._watched is None:
            raise MarketDataError("replay", (Fault("bar", "", "none was given yet; call step with the first"),))
        return self._watched

    def _market_of(self, order: Order) -> Market:
        """The market of the last close with a mark for the order's contract."""
        self._current()
        bar = self._last
        if bar is None or order.symbol in self.market.mark_price:
            return self.market
        price = bar.close.get(order.symbol, bar.close.get(parse_symbol(order.symbol).base))
        if price is None:
            raise MarketDataError("replay", (Fault(order.symbol, "", "has no price in the history"),))
        return self.market.model_copy(update={"mark_price": {**self.market.mark_price, order.symbol: price}})

    def _look(self, bar: Bar, prices: Mapping[str, Decimal], moment: Moment) -> list[PoolState]:
        """Liquidate every pool that is broken at these prices; the pools there, on floats."""
        watched = self._current()
        states = watched.at(prices, moment)
        near = [state.pool.name for state in states if at_stake(state.pool) and is_near(state)]
        if not near:
            return states
        market = at_bar(watched.account, self._base, bar.time, prices)
        for name in near:
            self._liquidate(bar, market, name, moment)
        return self._current().at(prices, moment)

    def _liquidate(self, bar: Bar, market: Market, name: str, moment: Moment) -> None:
        """Run the venue's programme on a pool, if the exact judge finds it broken."""
        account = self.account
        before = _state(account, market, self.rules, name)
        if before is None or not before.liquidatable:
            return
        done = liquidate(account, market, self.rules, pool_name=name)
        after = _state(done.account, market, self.rules, name)
        self.liquidations.append(
            Liquidation(
                time=bar.time,
                moment=moment,
                pool=name,
                currency=before.pool.currency,
                marks={e.symbol.name: e.mark for own in before.assets for e, _, _ in own.exposures},
                equity_before=before.equity + _ZERO,
                equity_after=_ZERO if after is None else after.equity + _ZERO,
                steps=done.steps,
            )
        )
        self._restart(done.account, market)

    def _range(self, bar: Bar, start: Mapping[str, Decimal]) -> None:
        """Each pool from the start of the bar to its adverse end; what breaks on the way is filled at the crossing.

        A programme that only just restores a pool is met again at once, without end: after the first walk the venue
        looks again at each of :data:`_LOOKS` equal pieces of the rest of the way.
        """
        for name, end in self._current().adverse(bar, start).items():
            if not self._is_broken(bar, name, end):
                continue
            at = self._crossing(bar, name, start, end)
            self._liquidate(bar, at_bar(self.account, self._base, bar.time, at), name, "range")
            for look in range(1, _LOOKS + 1):
                there = _between(at, end, Decimal(look) / _LOOKS)
                if self._is_broken(bar, name, there):
                    self._liquidate(bar, at_bar(self.account, self._base, bar.time, there), name, "range")

    def _is_broken(self, bar: Bar, name: str, prices: Mapping[str, Decimal]) -> bool:
        """Whether a pool is broken at these prices: the exact judge, asked only where floats are near."""
        watched = self._current()
        watched.move(prices)
        pool = next((p for p in watched.staked if p.name == name), None)
        if pool is None or not is_near(within(pool)):
            return False
        account = watched.account
        state = _state(account, at_bar(account, self._base, bar.time, prices), self.rules, name)
        return state is not None and state.liquidatable

    def _crossing(
        self, bar: Bar, name: str, start: Mapping[str, Decimal], end: Mapping[str, Decimal]
    ) -> Mapping[str, Decimal]:
        """The first prices on the way from start to end at which a pool is broken; the end where no root is found."""
        account = self.account

        def along(point: Decimal, way: int) -> Any:
            def build(s: Any) -> Books:
                return Books(account, at_bar(account, self._base, bar.time, _between(start, end, s)), self.rules)

            return headroom_along(build, name, point, way)

        found: Decimal | None = first_fall(along, _ZERO, _ONE, 1)
        if found is None:
            return end
        for beyond in _JUST_BEYOND:
            there = _between(start, end, min(_ONE, found + beyond))
            state = _state(account, at_bar(account, self._base, bar.time, there), self.rules, name)
            if state is not None and state.liquidatable:
                return there
        return end

    def _pay(self, bar: Bar) -> None:
        watched = self._current()
        for asset, amount in watched.pay(bar).items():
            self.funding_paid[asset] = self.funding_paid.get(asset, _ZERO) + amount
        for flow in watched.flows:
            symbol = flow.exposure.symbol
            has_rate = symbol.name in bar.funding_rate or symbol.base in bar.funding_rate
            self._charged[symbol.name] = self._charged.get(symbol.name, False) or has_rate

    def _point(self, bar: Bar, states: Sequence[PoolState]) -> Point:
        rates = {s.pool.currency: self._rate(s.pool.currency, bar) for s in states}
        known = None not in rates.values()

        def total(figures: Iterable[tuple[PoolState, float | None]]) -> list[float] | None:
            rows = [(figure, rates[state.pool.currency]) for state, figure in figures]
            return [f * r for f, r in rows if f is not None and r is not None] if _complete(rows) else None

        equity = total((s, s.equity) for s in states)
        rooms = total((s, s.headroom) for s in states)
        initial = total((s, s.initial) for s in states)
        paid = [(amount, self._rate(asset, bar)) for asset, amount in self.funding_paid.items()]
        return Point(
            time=bar.time,
            equity=None if equity is None else float(sum(equity)),
            headroom=None if rooms is None else float(min(rooms, default=0.0)),
            initial_margin=None if initial is None else float(sum(initial)),
            funding=sum(float(a) * r for a, r in paid if r is not None) if known and _complete(paid) else None,
        )

    def _rate(self, currency: str, bar: Bar) -> float | None:
        """What a pool's currency is worth in the run's: an account of one currency is shown in it."""
        if currency == self._currency:
            return 1.0
        price = bar.close.get(currency, self._base.index_price.get(currency))
        return None if price is None else float(price)


def _between(start: Mapping[str, Decimal], end: Mapping[str, Decimal], share: Any) -> dict[str, Any]:
    """Prices a share of the way from start to end, all together; the share may be a ray."""
    return {key: price + (end[key] - price) * share for key, price in start.items()}


def _complete(rows: Iterable[tuple[Any, Any]]) -> bool:
    return all(figure is not None and rate is not None for figure, rate in rows)


def _state(account: Account, market: Market, rules: Rules, name: str) -> PoolState | None:
    """One pool judged exactly; None where it is gone."""
    return next((measure(pool) for pool in prepare(account, market, rules).pools if pool.name == name), None)
