"""What each change does to an account, its market and its rules: the bookkeeping of hypothetical steps.

Nothing is admitted or refused here. Fills follow :mod:`crossmargin.engine.fills`. Venues agree on the bookkeeping of
pockets in outline only, so one way is taken for all: an order into a pocket brings its own initial margin from the
shared pool; a reduction gives back the pocket's margin in proportion, with the PnL it realized; fees are paid from the
shared pool.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.boundary import UNIT, largest
from crossmargin.engine.fills import fill, pay
from crossmargin.engine.moves import scaled
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.engine.rooms import tightest
from crossmargin.errors import AccountError, Fault, MarketDataError
from crossmargin.model.account import Account, Balance, MarginMode, Position, PositionSide
from crossmargin.model.change import (
    Change,
    ChangeRules,
    Close,
    Deposit,
    MovePrice,
    Order,
    SetBalance,
    SetLeverage,
    SetMarginMode,
    Transfer,
    Withdraw,
)
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)


class Books(NamedTuple):
    """An account, its market and its rules at one step; judged as they stand: ``evaluate(*books)``."""

    account: Account
    market: Market
    rules: Rules


class Booked(NamedTuple):
    """The books after a change, and what it cost: PnL realized and fee paid in ``asset``; ``fee`` None = unknown."""

    books: Books
    reducing: bool = False
    asset: str | None = None
    realized_pnl: Decimal = _ZERO
    fee: Decimal | None = _ZERO


def book(books: Books, change: Change) -> Booked:
    """Apply one change to a copy.

    Raises :class:`AccountError` for a change that names what is not there or would turn a position round,
    :class:`MarketDataError` where it needs a price that is missing. Call it in the context of
    :mod:`crossmargin.model.number`.
    """
    return _BOOKED[type(change)](books, change)


# looking up -----------------------------------------------------------------------------------------------------------


def _fault(change: Change, path: str, value: object, why: str) -> AccountError:
    where = f"{change.kind} {getattr(change, 'symbol', None) or ''}".strip()
    return AccountError(where, (Fault(path, str(value), why),))


def held_at(books: Books, change: Change, side: PositionSide, mode: MarginMode | None) -> int | None:
    """The index of the position a change speaks of, None where there is none; two that fit are a fault."""
    symbol = getattr(change, "symbol", None)
    here = [(i, p) for i, p in enumerate(books.account.positions) if p.symbol == symbol]
    fits = [(i, p) for i, p in here if p.position_side == side and mode in (None, p.margin_mode)]
    if len(fits) > 1:
        raise _fault(change, "margin_mode", "", f"{symbol} is held cross and isolated; say which")
    if not fits and side == "net" and any(p.position_side != "net" for _, p in here):
        raise _fault(change, "position_side", side, f"{symbol} is held in hedge mode; say long or short")
    return fits[0][0] if fits else None


def _must_hold(books: Books, change: Change, side: PositionSide, mode: MarginMode | None) -> int:
    index = held_at(books, change, side, mode)
    if index is None:
        kept = ", ".join(f"{p.symbol} {p.position_side} {p.margin_mode}" for p in books.account.positions)
        raise _fault(change, "symbol", getattr(change, "symbol", ""), f"no such position; held are: {kept or 'none'}")
    return index


def mark_price(market: Market, symbol: str) -> Decimal:
    """The mark of a contract; :class:`MarketDataError` where the market has none."""
    price = market.mark_price.get(symbol)
    if price is None:
        raise MarketDataError(symbol, (Fault(f"market.mark_price.{symbol}", "", "is missing: the price to trade at"),))
    return price


# writing --------------------------------------------------------------------------------------------------------------


def _with_position(books: Books, index: int | None, position: Position | None) -> Books:
    """The books with one position replaced, added (``index`` None) or gone (``position`` None)."""
    held = list(books.account.positions)
    at = len(held) if index is None else index
    held[at : at + 1] = [] if position is None else [position]
    return books._replace(account=books.account.model_copy(update={"positions": tuple(held)}))


def _with_balance(books: Books, asset: str, **update: Any) -> Books:
    balances = dict(books.account.balances)
    balances[asset] = balances.get(asset, Balance()).model_copy(update=update)
    return books._replace(account=books.account.model_copy(update={"balances": balances}))


def _paid(books: Books, asset: str, amount: Decimal) -> Books:
    """The shared pool's wallet plus an amount (below 0: paid out of it)."""
    if not amount:
        return books
    return _with_balance(books, asset, wallet_balance=wallet(books.account, asset) + amount)


def wallet(account: Account, asset: str) -> Decimal:
    """What the shared pool holds of an asset."""
    balance = account.balances.get(asset)
    return balance.wallet_balance if balance else _ZERO


# trades ---------------------------------------------------------------------------------------------------------------


def _order(books: Books, change: Order) -> Booked:
    index = held_at(books, change, change.position_side, change.margin_mode)
    mode = change.margin_mode
    if mode is None:
        mode = "cross" if index is None else books.account.positions[index].margin_mode
    if index is None and {"long": change.quantity < 0, "short": change.quantity > 0}.get(change.position_side, False):
        raise _fault(change, "quantity", change.quantity, f"reduces a {change.position_side} position that is not held")
    if mode == "cross" and change.isolated_margin is not None:
        raise _fault(change, "isolated_margin", change.isolated_margin, "is given for an order that fills no pocket")
    leverage = change.leverage
    if index is None and leverage is None:  # venues keep one leverage for a symbol
        leverage = next((p.leverage for p in books.account.positions if p.symbol == change.symbol and p.leverage), None)
    booked, position = _filled(books, change, index, change.quantity, leverage)
    if booked.reducing or position is None:
        return booked
    at = len(books.account.positions) if index is None else index
    position = position.model_copy(update={"position_side": change.position_side, "margin_mode": mode})
    if mode == "cross":
        slots = books.rules.slots
        if position.leverage is None and "bankruptcy" in (
            slots.maintenance_margin.close_fee,
            slots.initial_margin.close_fee,
        ):
            why = "is missing; {} holds the fee to close at the bankruptcy price that leverage sets"
            raise _fault(change, "leverage", "", why.format(books.rules.profile))
        return booked._replace(books=_with_position(booked.books, at, position))
    margin = position.isolated_margin or _ZERO
    brought = change.isolated_margin
    if brought is None:
        brought = _brought(books, change, position)
    position = position.model_copy(update={"isolated_margin": margin + brought})
    settle = parse_symbol(change.symbol).settle
    return booked._replace(books=_paid(_with_position(booked.books, at, position), settle, -brought))


def _close(books: Books, change: Close) -> Booked:
    index = _must_hold(books, change, change.position_side, change.margin_mode)
    held = books.account.positions[index].quantity
    size = change.quantity if change.quantity is not None else abs(held) * (change.share or 1)
    return _filled(books, change, index, -size if held > 0 else size, None)[0]


def _filled(
    books: Books, change: Order | Close, index: int | None, quantity: Decimal, leverage: Decimal | None
) -> tuple[Booked, Position | None]:
    price = _price(books, change)
    return filled(books, change.symbol, index, quantity, price=price, fee_rate=change.fee_rate, leverage=leverage)


def filled(
    books: Books,
    symbol: str,
    index: int | None,
    quantity: Num,
    *,
    price: Decimal,
    fee_rate: Decimal | None = None,
    leverage: Decimal | None = None,
) -> tuple[Booked, Position | None]:
    """The books after a fill, PnL, fee and what a smaller pocket frees in the wallet; and the position it leaves.

    ``index``: the position it adds to or reduces, None = a new one. ``fee_rate``: the profile's taker fee unless given.
    ``quantity`` may be a ray. Raises :class:`AccountError` where the contract size is not known.
    """
    held = None if index is None else books.account.positions[index]
    rate = fee_rate if fee_rate is not None else books.rules.taker_fee(symbol)
    done = fill(
        held,
        symbol=symbol,
        quantity=quantity,
        price=price,
        contract_size=_contract_size(books.rules, symbol),
        fee_rate=rate or _ZERO,
        leverage=leverage,
        exact=True,
    )
    position, freed = done.position, _ZERO
    reducing = held is not None and (held.quantity > 0) != (quantity > 0)
    if held is not None and held.isolated_margin is not None and reducing:
        freed = held.isolated_margin * abs(quantity) / abs(held.quantity)
        if position is not None:
            position = position.model_copy(update={"isolated_margin": held.isolated_margin - freed})
    asset = parse_symbol(symbol).settle
    after = _paid(_with_position(books, index, position), asset, freed)
    if done.realized_pnl or done.fee:
        balance = after.account.balances.get(asset, Balance())
        paid = pay(balance, {"loss": -done.realized_pnl, "fee": done.fee}, books.rules.slots.bonus)
        after = _with_balance(after, asset, wallet_balance=paid.wallet_balance, bonus_credit=paid.bonus_credit)
    return Booked(after, reducing, asset, done.realized_pnl, None if rate is None else done.fee), position


def traded(books: Books, symbol: str, quantity: Num, *, leverage: Decimal | None = None) -> Booked:
    """The books after a trade at the mark in the shared pool: what stands on the other side is closed, the rest opens.

    ``quantity`` in contracts, + buys and - sells; it may be a ray. A symbol has one leverage: that of a position in it,
    else the one given. Raises as :func:`book` does.
    """
    price = mark_price(books.market, symbol)
    held = [p for p in books.account.positions if p.symbol == symbol]
    legs = [p for p in held if p.margin_mode == "cross"]
    leverage = next((p.leverage for p in held if p.leverage is not None), leverage)
    buys, left = quantity > 0, quantity
    total = Booked(books, asset=parse_symbol(symbol).settle)
    for leg in legs:
        if left and (leg.quantity > 0) != buys:
            index = next(i for i, p in enumerate(total.books.account.positions) if p is leg)
            part = -leg.quantity if abs(left) > abs(leg.quantity) else left
            total = _and_then(total, filled(total.books, symbol, index, part, price=price)[0])
            left = left - part
    if not left:
        return total._replace(reducing=True)
    positions = total.books.account.positions
    at = next((i for i, p in enumerate(positions) if any(p is leg for leg in legs)), None)
    done, position = filled(total.books, symbol, at, left, price=price, leverage=leverage)
    if at is None and position is not None and any(leg.position_side != "net" for leg in legs):
        position = position.model_copy(update={"position_side": "long" if buys else "short"})
        done = done._replace(books=_with_position(done.books, len(positions), position))
    return _and_then(total, done)


def _and_then(first: Booked, second: Booked) -> Booked:
    """Two fills in one symbol as one."""
    fee = None if first.fee is None or second.fee is None else first.fee + second.fee
    return second._replace(realized_pnl=first.realized_pnl + second.realized_pnl, fee=fee)


def _contract_size(rules: Rules, symbol: str) -> Decimal:
    size = rules.contract_size(symbol)
    if size is None:
        why = "its contract size is not known; add [[instruments]] with contract_size"
        raise AccountError(symbol, (Fault("symbol", symbol, why),))
    return size


def _price(books: Books, change: Order | Close) -> Decimal:
    return change.price if change.price is not None else mark_price(books.market, change.symbol)


def _brought(books: Books, change: Order, position: Position) -> Decimal:
    """The margin an order brings into its pocket: its value / leverage, and no less than the pocket then needs."""
    if position.leverage is None:
        raise _fault(change, "leverage", "", "is missing: an isolated order brings its value / leverage")
    inverse = parse_symbol(position.symbol).kind == "inverse"
    size = change.quantity * _contract_size(books.rules, change.symbol)
    value = (formulas.inverse_notional if inverse else formulas.linear_notional)(size, _price(books, change))
    own: Decimal = formulas.leverage_requirement(value, position.leverage).quantize(UNIT, ROUND_CEILING)
    return max(own, pocket_margin(books, position) - (position.isolated_margin or _ZERO))


def pocket_margin(books: Books, position: Position) -> Decimal:
    """The least isolated margin with which a position meets its own initial margin, in the settle asset, by the judge.

    Raises :class:`AccountError` where its leverage is missing.
    """
    if position.leverage is None:
        why = "is missing: without it the initial margin of the pocket is unknown"
        raise AccountError(position.symbol, (Fault("leverage", "", why),))

    def room(margin: Decimal) -> Decimal:
        alone = position.model_copy(update={"margin_mode": "isolated", "isolated_margin": margin})
        account = Account(profile=books.account.profile).model_copy(update={"positions": (alone,)})
        pool = prepare(account, books.market, books.rules).pools[-1]
        return tightest(measure(pool)) or _ZERO

    short = -room(_ZERO)
    if short <= 0:
        return _ZERO
    # a fee held at the bankruptcy price may grow with the margin, by less than half of it
    enough = (2 * short).quantize(UNIT, ROUND_CEILING)
    given_back = largest(lambda amount: room(enough - amount), enough)
    return enough - given_back


# money ----------------------------------------------------------------------------------------------------------------


def _deposit(books: Books, change: Deposit) -> Booked:
    return Booked(_paid(books, change.asset, change.amount))


def _withdraw(books: Books, change: Withdraw) -> Booked:
    left, bonus = _paid(books, change.asset, -change.amount), books.rules.slots.bonus
    if bonus is not None and bonus.forfeited_on_transfer and change.amount:
        left = _with_balance(left, change.asset, bonus_credit=_ZERO)
    return Booked(left)


def _transfer(books: Books, change: Transfer) -> Booked:
    index = _must_hold(books, change, change.position_side, "isolated")
    position = books.account.positions[index]
    margin = (position.isolated_margin or _ZERO) + change.amount
    if margin < 0:
        raise _fault(change, "amount", change.amount, f"the pocket holds only {position.isolated_margin}")
    moved = _with_position(books, index, position.model_copy(update={"isolated_margin": margin}))
    return Booked(_paid(moved, parse_symbol(change.symbol).settle, -change.amount))


# settings -------------------------------------------------------------------------------------------------------------


def _set_leverage(books: Books, change: SetLeverage) -> Booked:
    account, update = books.account, {"leverage": change.leverage}
    if change.symbol not in [p.symbol for p in account.positions] + [o.symbol for o in account.open_orders]:
        raise _fault(change, "symbol", change.symbol, "has no position and no open order")
    changed = {
        name: tuple(i.model_copy(update=update) if i.symbol == change.symbol else i for i in getattr(account, name))
        for name in ("positions", "open_orders")
    }
    return Booked(books._replace(account=account.model_copy(update=changed)))


def _set_margin_mode(books: Books, change: SetMarginMode) -> Booked:
    was: MarginMode = "isolated" if change.margin_mode == "cross" else "cross"
    index = _must_hold(books, change, change.position_side, was)
    position = books.account.positions[index]
    if held_at(books, change, change.position_side, change.margin_mode) is not None:
        raise _fault(change, "margin_mode", change.margin_mode, "is held already; close one of the two first")
    asset = parse_symbol(change.symbol).settle
    if change.margin_mode == "cross":
        margin, moved = None, position.isolated_margin or _ZERO
    else:
        given = change.isolated_margin
        margin = pocket_margin(books, position) if given is None else given
        moved = -margin
    update = {"margin_mode": change.margin_mode, "isolated_margin": margin}
    return Booked(_paid(_with_position(books, index, position.model_copy(update=update)), asset, moved))


def _set_balance(books: Books, change: SetBalance) -> Booked:
    if change.asset not in books.account.balances:
        known = ", ".join(books.account.balances)
        raise _fault(change, "asset", change.asset, f"is not held; balances are {known or 'none'}")
    return Booked(_with_balance(books, change.asset, use_as_collateral=change.use_as_collateral))


# market and rules -----------------------------------------------------------------------------------------------------


def _move_price(books: Books, change: MovePrice) -> Booked:
    market = books.market
    coin = change.coin if change.symbol is None else parse_symbol(change.symbol).base
    alone = change.symbol is not None and change.only == "mark"
    factor = _factor(market, change)

    def contracts(symbol: str) -> Decimal:
        moves = symbol == change.symbol if alone else parse_symbol(symbol).base == coin
        return factor if moves and change.only != "index" else _ONE

    def assets(asset: str) -> Decimal:
        return factor if asset == coin and change.only != "mark" else _ONE

    after = scaled(market, contracts, assets)
    if after == market and factor != 1:
        raise _fault(change, "coin", coin, "has no price in this market; name a coin that has")
    return Booked(books._replace(market=after))


def _factor(market: Market, change: MovePrice) -> Decimal:
    if change.by is not None:
        return 1 + change.by
    if change.symbol is not None:
        now = mark_price(market, change.symbol)
    else:
        index = market.index_price.get(change.coin or "")
        if index is None:
            why = "is missing: a move to a price starts from it; give by, or a symbol"
            raise MarketDataError("move_price", (Fault(f"market.index_price.{change.coin}", "", why),))
        now = index
    return (change.to or now) / now


def _change_rules(books: Books, change: ChangeRules) -> Booked:
    account = books.account.model_copy(update={"profile": change.rules.profile})
    return Booked(books._replace(account=account, rules=change.rules))


_BOOKED: dict[type[Change], Callable[[Books, Any], Booked]] = {
    Order: _order,
    Close: _close,
    Deposit: _deposit,
    Withdraw: _withdraw,
    Transfer: _transfer,
    SetLeverage: _set_leverage,
    SetMarginMode: _set_margin_mode,
    MovePrice: _move_price,
    ChangeRules: _change_rules,
    SetBalance: _set_balance,
}
