"""Is cross better than isolated here, and on which venue?

The same positions at the same prices, pooled in different ways and judged by different rules: what opens, how much
more of the same book the collateral would carry, what is lost where one pool breaks, what sets that off, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Literal

from crossmargin.analytics.threshold import Convention, thresholds_of
from crossmargin.analytics.whatif import Standing
from crossmargin.engine.boundary import MOST, largest
from crossmargin.engine.changes import Books, book, wallet
from crossmargin.engine.reference import PoolState, gross_notional
from crossmargin.engine.reporting import report
from crossmargin.errors import CrossmarginError
from crossmargin.model.account import Account, Position
from crossmargin.model.change import ChangeRules, Close, Order, SetMarginMode
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.profile import Rules
from crossmargin.model.report import Report, Thresholds, Verdict

Mode = Literal["as_held", "cross", "isolated", "hedged_cross"]
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """What is lost where one pool breaks: its equity, ``at_stake`` in ``currency`` and as a ``share`` of the account's.

    ``share`` is None where the account's equity is unknown or not above 0. ``trigger`` is the level in words.
    """

    pool: str
    currency: str
    positions: tuple[str, ...]
    at_stake: Decimal
    share: Decimal | None
    headroom: Decimal
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One mode under one revision of one profile. Money is in ``currency``.

    ``admitted``: whether every line of the venue holds, so that these positions could be opened like this; ``reasons``
    says which do not, or why the row could not be judged (then every figure is None). ``notional``: value of all
    positions at the mark. ``largest_scale``: the factor by which every position could be multiplied at the mark before
    a line forbids, fees left out; None = unknown, or no limit where ``notional`` is 0. ``capital_efficiency``: notional
    that one unit of equity carries at that factor, largest_scale x notional / equity.
    """

    profile: str
    rules_since: date
    mode: Mode
    admitted: bool | None
    reasons: tuple[str, ...]
    currency: str | None = None
    equity: Decimal | None = None
    initial_margin: Decimal | None = None
    maintenance_margin: Decimal | None = None
    free_collateral: Decimal | None = None
    headroom: Decimal | None = None
    margin_ratio: Decimal | None = None
    status: Verdict | None = None
    notional: Decimal | None = None
    largest_scale: Decimal | None = None
    capital_efficiency: Decimal | None = None
    defaults: tuple[Default, ...] = ()
    thresholds: Thresholds | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One row for each mode under each set of rules, in the order they were asked for."""

    id: str
    rows: tuple[ComparisonRow, ...]


def compare(
    account: Account,
    market: Market,
    rules: Rules,
    others: Sequence[Rules] = (),
    *,
    modes: Sequence[Mode] | None = None,
    convention: Convention = "coin",
) -> Comparison:
    """The same positions under several margin modes and under several rules (venues or dates).

    ``cross``: every position in the shared pool, pockets given back to it. ``isolated``: every position in a pocket
    with the least margin that meets its own initial margin, the rest in the wallet. ``hedged_cross``: cross, with the
    opposite legs of a symbol set off against each other at the mark (one-way mode). ``as_held``: as the account says.
    Unless given, ``modes`` are cross and isolated, after as_held where a position is isolated, before hedged_cross
    where a symbol is held both ways. Rules that cannot take the account make a row with reasons, not an error.
    """
    chosen = tuple(modes) if modes is not None else tuple(_modes(account))
    return Comparison(
        id=account.id,
        rows=tuple(
            _row(Books(account, market, rules), law, mode, convention) for law in (rules, *others) for mode in chosen
        ),
    )


# modes ----------------------------------------------------------------------------------------------------------------


def _modes(account: Account) -> Iterator[Mode]:
    if any(p.margin_mode == "isolated" for p in account.positions):
        yield "as_held"
    yield "cross"
    yield "isolated"
    if any(_legs(account)):
        yield "hedged_cross"


def _legs(account: Account) -> Iterator[tuple[Position, Position]]:
    """The long and the short leg of each symbol that is held both ways."""
    by_side = {(p.symbol, p.position_side): p for p in account.positions}
    for symbol in dict.fromkeys(p.symbol for p in account.positions):
        if (symbol, "long") in by_side and (symbol, "short") in by_side:
            yield by_side[symbol, "long"], by_side[symbol, "short"]


def _as_held(books: Books) -> Books:
    return books


def _cross(books: Books) -> Books:
    return _moved(books, "cross")


def _isolated(books: Books) -> Books:
    return _moved(_cross(books), "isolated")


def _moved(books: Books, mode: Literal["cross", "isolated"]) -> Books:
    for p in books.account.positions:
        if p.margin_mode != mode:
            change = SetMarginMode(symbol=p.symbol, margin_mode=mode, position_side=p.position_side)
            books = book(books, change).books
    return books


def _hedged_cross(books: Books) -> Books:
    books = _cross(books)
    for long, short in tuple(_legs(books.account)):
        both = min(abs(long.quantity), abs(short.quantity))
        for leg in (long, short):
            change = Close(symbol=leg.symbol, position_side=leg.position_side, fee_rate=_ZERO)
            books = book(books, change.model_copy(update={"quantity": both})).books
    return books


_POOLED: Mapping[Mode, Callable[[Books], Books]] = {
    "as_held": _as_held,
    "cross": _cross,
    "isolated": _isolated,
    "hedged_cross": _hedged_cross,
}


def pooled(books: Books, mode: Mode) -> Books:
    """The books with every position pooled as :func:`compare` says of the mode; call it in the judge's context."""
    return _POOLED[mode](books)


# a row ----------------------------------------------------------------------------------------------------------------


def _row(books: Books, law: Rules, mode: Mode, convention: Convention) -> ComparisonRow:
    try:
        with localcontext(CONTEXT):
            under = books if law is books.rules else book(books, ChangeRules(rules=law)).books
            return _judged(under, pooled(under, mode), mode, convention)
    except CrossmarginError as error:
        reasons = tuple(str(fault) for fault in error.faults)
        return ComparisonRow(profile=law.profile, rules_since=law.since, mode=mode, admitted=None, reasons=reasons)


def _judged(under: Books, pooled: Books, mode: Mode, convention: Convention) -> ComparisonRow:
    standing = Standing.of(pooled)
    found = report(standing.prepared, explain=False)
    lines = standing.lines(leaving=False)
    crossed = [
        f"{line} of {pool} is short of {plain(-room)}" for (line, pool), room in lines.items() if room and room < 0
    ]
    unknown = [f"{line} of {pool} is unknown" for (line, pool), room in lines.items() if room is None]
    notional = _notional(standing, found)
    scale = None if unknown or not notional else _largest_scale(under, mode)
    return ComparisonRow(
        profile=found.profile,
        rules_since=found.rules_since,
        mode=mode,
        admitted=False if crossed else None if unknown else True,
        reasons=(*crossed, *unknown),
        currency=found.currency,
        equity=found.equity,
        initial_margin=found.initial_margin,
        maintenance_margin=found.maintenance_margin,
        free_collateral=found.free_collateral,
        headroom=found.headroom,
        margin_ratio=found.margin_ratio,
        status=found.status,
        notional=notional,
        largest_scale=scale,
        capital_efficiency=(
            scale * notional / found.equity
            if scale is not None and notional and found.equity and found.equity > 0
            else None
        ),
        defaults=tuple(_defaults(standing, found)),
        thresholds=thresholds_of(standing.prepared, convention=convention),
        notes=(*found.notes, *_borrowed(under.account, pooled.account)),
    )


def _borrowed(before: Account, after: Account) -> Iterator[str]:
    for asset, balance in after.balances.items():
        if balance.wallet_balance < min(_ZERO, wallet(before, asset)):
            yield f"the pockets take more {asset} than the wallet holds: {plain(-balance.wallet_balance)} is borrowed"


def _rate(standing: Standing, state: PoolState, found: Report) -> Decimal | None:
    """What a unit of the pool's currency is in the report's; None = unknown."""
    if state.pool.currency == found.currency:
        return Decimal(1)
    return standing.prepared.market.index_price.get(state.pool.currency)


def _notional(standing: Standing, found: Report) -> Decimal | None:
    total = _ZERO
    for state in standing.states.values():
        value, rate = gross_notional(state), _rate(standing, state, found)
        if value and rate is None:
            return None
        total += value * (rate or 1)
    return total


def _defaults(standing: Standing, found: Report) -> Iterator[Default]:
    for name, state in standing.states.items():
        held = tuple(row.symbol for row in found.positions if row.pool == name)
        if not held:
            continue
        rate, level = _rate(standing, state, found), state.pool.slots.levels.ladder[-1]
        known = rate is not None and found.equity is not None and found.equity > 0
        yield Default(
            pool=name,
            currency=state.pool.currency,
            positions=held,
            at_stake=state.equity,
            share=state.equity * rate / found.equity if known else None,
            headroom=state.headroom,
            trigger=f"equity {'below' if state.pool.strict else 'at or below'} "
            f"{f'{plain(level.multiple)} x ' if level.multiple != 1 else ''}{level.requirement} margin",
        )


def _largest_scale(under: Books, mode: Mode) -> Decimal | None:
    """The factor on every position at which the first line is met, all profit and loss taken at the mark first."""
    flat, reopened = under, []
    for p in under.account.positions:
        closed = Close(symbol=p.symbol, position_side=p.position_side, margin_mode=p.margin_mode, fee_rate=_ZERO)
        done = book(flat, closed)
        flat = done.books
        order = Order(
            symbol=p.symbol,
            quantity=1 if p.quantity > 0 else -1,
            fee_rate=_ZERO,
            leverage=p.leverage,
            position_side=p.position_side,
            margin_mode=p.margin_mode,
        )
        pocket = None if p.isolated_margin is None else p.isolated_margin + done.realized_pnl
        reopened.append((order.model_copy(update={"isolated_margin": pocket}), p.quantity))

    def room(scale: Decimal) -> Decimal:
        books = flat
        for order, quantity in reopened:
            books = book(books, order.model_copy(update={"quantity": quantity * scale})).books
        lines = Standing.of(_POOLED[mode](books)).lines(leaving=False)
        return min(left for left in lines.values() if left is not None)

    scale = largest(room, MOST)
    return None if scale == MOST else scale
