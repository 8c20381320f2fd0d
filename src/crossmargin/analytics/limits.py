"""How much more can this account open, and how much can it take out?

The largest amount is found with the same judgement that admits or refuses a what-if, so the two cannot disagree: the
amount is admitted, one unit of the eighteenth decimal more is refused, and both were asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

from crossmargin.analytics.whatif import Standing, removable_wallet, shortfalls
from crossmargin.engine.boundary import MOST, UNIT, largest
from crossmargin.engine.changes import Booked, Books, book, held_at, mark_price
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reporting import report
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account, MarginMode, PositionSide
from crossmargin.model.change import Order, Withdraw
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

Side = Literal["buy", "sell"]
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxOrder:
    """The largest order in one symbol, in contracts (``quantity``, 0 or more; the side says which way).

    ``binding`` names the line that the next 1e-18 of a contract would cross, ``position`` where the order closes a
    position and more would turn it round, None where nothing binds. ``quantity`` is None where it is unbounded or
    unknown: ``reason`` says which and why. ``free_collateral`` is what the whole account has left after it, and
    ``fee`` what it costs, in the settle asset; None = unknown.
    """

    symbol: str
    side: Side
    price: Decimal
    leverage: Decimal | None
    quantity: Decimal | None
    fee: Decimal | None
    free_collateral: Decimal | None
    binding: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxWithdraw:
    """The most that can leave the account in one asset, in units of the asset.

    ``binding`` is ``wallet`` where all that may leave does, else the line that the next 1e-18 would cross. ``amount``
    is None where it is unknown: ``reason`` says why.
    """

    asset: str
    amount: Decimal | None
    free_collateral: Decimal | None
    binding: str | None
    reason: str | None


def max_order(
    account: Account,
    market: Market,
    rules: Rules,
    symbol: str,
    side: Side,
    *,
    price: Decimal | None = None,
    leverage: Decimal | None = None,
    fee_rate: Decimal | None = None,
    position_side: PositionSide = "net",
    margin_mode: MarginMode | None = None,
) -> MaxOrder:
    """The largest order that these rules admit, fees included, exact to the eighteenth decimal.

    ``price``: what it fills at, default the mark. ``leverage``, ``fee_rate``, ``position_side``, ``margin_mode``: as
    for :class:`~crossmargin.model.change.Order`. An order against a position is always admitted up to the position's
    size. Under rules that are not concave (whole-position step brackets) the answer is a boundary between admitted and
    refused, but not always the only one. Raises as :func:`crossmargin.whatif` does.
    """
    if side not in ("buy", "sell"):
        raise AccountError("max_order", (Fault("side", str(side), "must be buy or sell"),))
    sign = 1 if side == "buy" else -1
    books = Books(account, market, rules)
    order = Order(
        symbol=symbol,
        quantity=sign,
        price=price,
        leverage=leverage,
        fee_rate=fee_rate,
        position_side=position_side,
        margin_mode=margin_mode,
    )
    with localcontext(CONTEXT):
        at = price if price is not None else mark_price(market, symbol)
        index = held_at(books, order, position_side, margin_mode)
        held = None if index is None else account.positions[index]

        def done(quantity: Decimal) -> Booked:
            return book(books, order.model_copy(update={"quantity": sign * quantity}))

        if held is not None and (held.quantity > 0) != (sign > 0):
            why = "closes the position; close it first to open the other way, so that each has its own entry price"
            found = _Found(abs(held.quantity), "position", why)
        else:
            found = _found(books, done, MOST, leaving=False)
            if found.amount == MOST:
                why = "unbounded: at this price each contract adds at least the margin it needs"
                found = _Found(None, None, why)
        after = None if found.amount is None else done(found.amount) if found.amount else Booked(books)
        return MaxOrder(
            symbol=symbol,
            side=side,
            price=at,
            leverage=leverage if leverage is not None else held.leverage if held is not None else None,
            quantity=found.amount,
            fee=None if after is None else after.fee,
            free_collateral=None if after is None else _free_collateral(after.books),
            binding=found.binding,
            reason=found.reason,
        )


def max_withdraw(account: Account, market: Market, rules: Rules, asset: str) -> MaxWithdraw:
    """The most of one asset that these rules let out, exact to the eighteenth decimal.

    Never bonus credit, nor what is locked. Where an asset counts with a haircut, a unit taken out lowers equity by less
    than its price, so more may leave than its value suggests. Raises :class:`AccountError` for an asset that is not
    held, and as :func:`crossmargin.evaluate` does.
    """
    if asset not in account.balances:
        known = ", ".join(account.balances) or "none"
        raise AccountError(f"account {account.id}", (Fault("asset", asset, f"is not held; balances are {known}"),))
    books = Books(account, market, rules)
    leave = Withdraw(asset=asset, amount=Decimal(1))
    with localcontext(CONTEXT):

        def done(amount: Decimal) -> Booked:
            return book(books, leave.model_copy(update={"amount": amount}))

        most = removable_wallet(account, rules, asset)
        if rules.slots.withdrawal is None:
            found = _Found(None, None, f"{rules.profile} has no rule for withdrawals")
        elif most == 0:
            found = _Found(_ZERO, "wallet", None)
        else:
            found = _found(books, done, MOST if most is None else most, leaving=True)
            if found.amount == most:
                found = _Found(most, "wallet", None)
        after = None if found.amount is None else done(found.amount).books
        return MaxWithdraw(
            asset=asset,
            amount=found.amount,
            free_collateral=None if after is None else _free_collateral(after),
            binding=found.binding,
            reason=found.reason,
        )


class _Found(NamedTuple):
    """An amount, the line that binds it, and why where it is not known or special."""

    amount: Decimal | None
    binding: str | None
    reason: str | None


def _found(books: Books, done: Callable[[Decimal], Booked], most: Decimal, *, leaving: bool) -> _Found:
    """The largest amount that no line refuses."""
    before = Standing.of(books)

    def short(amount: Decimal) -> dict[str, Decimal | None]:
        return shortfalls(before, Standing.of(done(amount).books), leaving=leaving)

    unknown = [name for name, left in short(UNIT).items() if left is None]
    if unknown:
        return _Found(None, None, f"unknown: {', '.join(unknown)}, because a leverage is missing; state it")

    def room(amount: Decimal) -> Decimal:
        return min((left for left in short(amount).values() if left is not None), default=_ZERO)

    amount = largest(room, most)
    if amount == most:
        return _Found(most, None, None)
    crossed = {name: left for name, left in short(amount + UNIT).items() if left is not None}
    return _Found(amount, min(crossed, key=lambda name: crossed[name]), None)


def _free_collateral(books: Books) -> Decimal | None:
    return report(prepare(*books), explain=False).free_collateral
