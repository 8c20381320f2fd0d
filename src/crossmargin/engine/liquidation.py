"""What a venue does with a pool that has reached its liquidation level, one step of its programme after another.

Every step is a pure function of the account as it stands, and the judge decides again after each: a pool that is
healthy is never touched, and the walk ends when it is healthy or flat. The kinds of steps are in
:mod:`crossmargin.engine.programme`, the closes and their sizes in :mod:`crossmargin.engine.closing`.

Money is conserved: in each entry ``wallet_change = realized_pnl - fee - insurance_fund + transfer``, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.closing import Entry, Plan, View, money, view_of
from crossmargin.engine.fills import fill
from crossmargin.engine.prepare import prepare
from crossmargin.engine.programme import KINDS, socialize
from crossmargin.engine.reference import measure
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a programme on one pool; sums are in ``currency``, the pool's.

    ``step`` is the programme's kind, or ``socialized_loss`` where the programme has no more to offer.
    ``headroom_after`` and ``equity_after`` are 0 for a pocket that is gone.
    """

    step: str
    pool: str
    currency: str
    entries: tuple[Entry, ...]
    realized_pnl: Decimal
    fee: Decimal
    insurance_fund: Decimal
    transfer: Decimal
    headroom_before: Decimal
    headroom_after: Decimal
    equity_after: Decimal
    wait_seconds: Decimal
    note: str
    source: tuple[str, ...]


class State(NamedTuple):
    """Where a walk stands: the account, the place in the programme, what the insurance fund holds by currency.

    A fund that is not named is unknown: it is taken to hold enough, and the step says so.
    """

    account: Account
    at: int = 0
    insurance_fund: Mapping[str, Decimal] = {}


class Liquidated(NamedTuple):
    """A whole walk: its steps, the account and the fund after the last."""

    steps: tuple[Step, ...]
    account: Account
    insurance_fund: Mapping[str, Decimal]


# public questions -----------------------------------------------------------------------------------------------------


def liquidate(
    account: Account,
    market: Market,
    rules: Rules,
    *,
    pool_name: str | None = None,
    insurance_fund: Mapping[str, Decimal] | None = None,
) -> Liquidated:
    """What the venue does now: the programme's steps until every pool (or ``pool_name``) is healthy or flat.

    No step for a pool that has not reached its liquidation level. ``insurance_fund`` is what the fund holds by
    currency. Raises as :func:`crossmargin.evaluate` does; :class:`UnsupportedRule` where the profile states no
    liquidation programme; :class:`AccountError` for a pool that is not there. Source: the profile's liquidation slot.
    """
    with localcontext(CONTEXT):
        prepared = prepare(account, market, rules)
        names = [pool.name for pool in prepared.pools]
        if pool_name is not None and pool_name not in names:
            fault = Fault("pool_name", pool_name, f"is not a pool of the account; known are {', '.join(names)}")
            raise AccountError(f"account {account.id}", (fault,))
        broken = [pool.name for pool in prepared.pools if measure(pool).liquidatable and pool_name in (None, pool.name)]
        state = State(account, insurance_fund=insurance_fund or {})
        steps: list[Step] = []
        for name in broken:
            state = state._replace(at=0)
            while (following := next_step(state, market, rules, name)) is not None:
                step, state = following
                steps.append(step)
    return Liquidated(tuple(steps), state.account, state.insurance_fund)


def next_step(state: State, market: Market, rules: Rules, pool_name: str) -> tuple[Step, State] | None:
    """The next step of the programme on one pool and the state after it; None where the pool is healthy or done.

    The pool is judged afresh, so prices may have moved since the last step. Errors as :func:`liquidate`.
    """
    with localcontext(CONTEXT):
        view = view_of(state.account, market, rules, pool_name, state.insurance_fund)
        if view is None or not view.pool.liquidatable:
            return None
        programme = view.slot.programme
        # what a later step did may give an earlier one work again: a closed loss is a debt that other coins repay
        again = [at for at in range(state.at) if programme[at].step != "reduce_slice"]
        for at in (*range(state.at, len(programme)), *again):
            rule = programme[at]
            plan = KINDS[rule.step](view, rule)
            if plan is not None:
                # a slice is sent once; every other kind has its turn until it finds nothing to do
                following = at + 1 if rule.step == "reduce_slice" else at
                return _step(state, view, rule.step, plan, following, getattr(rule, "cooldown_seconds", _ZERO))
        plan = socialize(view)
        return None if plan is None else _step(state, view, "socialized_loss", plan, len(programme), _ZERO)


class Winner(NamedTuple):
    """A trader who may be deleveraged: a profitable position and the account value behind it (settle asset)."""

    id: str
    position: Position
    equity: Decimal


class Deleveraged(NamedTuple):
    """What one trader's position was closed by, at the bankruptcy price, and the profit that cost against the mark."""

    id: str
    quantity: Decimal
    realized_pnl: Decimal
    given_up: Decimal


def deleverage(
    quantity: Decimal,
    winners: Iterable[Winner],
    *,
    symbol: str,
    price: Decimal,
    mark_price: Decimal,
    contract_size: Decimal,
) -> tuple[Deleveraged, ...]:
    """Who is closed against a bankrupt position of ``quantity`` contracts (+ long) at its bankruptcy ``price``.

    Ranked by profit over entry value times value over equity, highest first. Only positions of the other side that
    are in profit at mark, never more in sum than ``quantity``. Source: Hyperliquid, auto-deleveraging (rank by mark /
    entry x notional / account value); Binance and Bybit rank by profit and effective leverage likewise.
    """
    with localcontext(CONTEXT):
        inverse = parse_symbol(symbol).kind == "inverse"
        pnl = formulas.inverse_pnl if inverse else formulas.linear_pnl
        notional = formulas.inverse_notional if inverse else formulas.linear_notional
        ranked = []
        for winner in winners:
            held = winner.position
            size = held.quantity * contract_size
            gain = pnl(size, held.entry_price, mark_price)
            if held.symbol == symbol and (held.quantity > 0) != (quantity > 0) and gain > 0 and winner.equity > 0:
                value, entry_value = notional(size, mark_price), notional(size, held.entry_price)
                rank = formulas.deleveraging_rank(gain, entry_value, value, winner.equity)
                ranked.append((rank, winner))
        found = []
        left = abs(quantity)
        for _, winner in sorted(ranked, key=lambda pair: pair[0], reverse=True):
            if not left:
                break
            closed = min(left, abs(winner.position.quantity))
            left -= closed
            order = -closed if winner.position.quantity > 0 else closed
            booked, marked = (
                fill(
                    winner.position,
                    symbol=symbol,
                    quantity=order,
                    price=at,
                    contract_size=contract_size,
                    fee_rate=_ZERO,
                )
                for at in (price, mark_price)
            )
            realized = money(booked.realized_pnl)
            found.append(Deleveraged(winner.id, order, realized, money(marked.realized_pnl) - realized))
    return tuple(found)


def _step(state: State, view: View, kind: str, plan: Plan, following: int, wait: Decimal) -> tuple[Step, State]:
    """Put a plan into effect."""
    # an asset of another pool has only cancelled orders here, which move no money
    price = {own.asset.name: own.asset.price for own in view.pool.assets}
    currency = view.pool.pool.currency

    def total(name: str) -> Decimal:
        return sum((getattr(entry, name) * price.get(entry.asset, 1) for entry in plan.entries), _ZERO)

    to_fund = total("insurance_fund")
    funds = dict(state.insurance_fund)
    notes = [plan.note] if plan.note else []
    if view.fund is not None:
        funds[currency] = view.fund + to_fund
    elif to_fund < 0:
        notes.append("the insurance fund is taken to hold enough; what it holds is not given")
    after = view.judged(plan.account)
    step = Step(
        step=kind,
        pool=view.pool.pool.name,
        currency=currency,
        entries=plan.entries,
        realized_pnl=total("realized_pnl"),
        fee=total("fee"),
        insurance_fund=to_fund,
        transfer=total("transfer"),
        headroom_before=view.pool.headroom,
        headroom_after=_ZERO if after is None else after.headroom + _ZERO,
        equity_after=_ZERO if after is None else after.equity + _ZERO,
        wait_seconds=wait,
        note="; ".join(notes),
        source=view.slot.source,
    )
    return step, State(plan.account, following, funds)
