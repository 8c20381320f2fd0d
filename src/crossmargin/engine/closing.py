"""One pool being closed: what it holds, the closes at the market and at the bankruptcy price, and their money.

Sizes are solved exactly: the account is judged with its positions and wallets as rays of the share closed, close fee
included, and the root is the share. Amounts are cut at 18 decimals where they arise, so that books add up exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.fills import fill
from crossmargin.engine.pool import Asset, Exposure, Leg
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray, first_fall
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account, Balance, Pocket, Position
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.programme import Liquidation

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)
_CENT = Decimal(1).scaleb(-18)
_TRACE = Decimal(1).scaleb(-28)
_LOT = Decimal(1).scaleb(-8)
_WIDE = Context(prec=100)
"""Rounds whatever figure the judge's context can hold: its digits before the point and 28 after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change of the account, in units of ``asset``.

    ``what`` is a symbol (a position closed by ``quantity``, an order cancelled) or an asset (an amount sold, repaid or
    paid in). ``price`` is what the account is booked at, ``market_price`` what the market gives; ``realized_pnl`` is
    at the market's. ``insurance_fund`` is what the fund receives (negative: pays); ``transfer`` what comes from
    another asset (repay), from other traders (auto_deleverage, socialized_loss).
    """

    what: str
    position_side: str
    asset: str
    quantity: Decimal
    price: Decimal | None = None
    market_price: Decimal | None = None
    realized_pnl: Decimal = _ZERO
    fee: Decimal = _ZERO
    insurance_fund: Decimal = _ZERO
    transfer: Decimal = _ZERO

    @property
    def wallet_change(self) -> Decimal:
        """What the account's wallets and pockets gain of ``asset``."""
        with localcontext(CONTEXT):
            return self.realized_pnl - self.fee - self.insurance_fund + self.transfer


# one pool as it stands ------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """One position of the pool with what it hangs on."""

    position: Position
    leg: Leg
    exposure: Exposure
    asset: Asset
    pnl: Num
    value: Num

    @property
    def contracts(self) -> Decimal:
        """How many contracts are held, without the sign."""
        return abs(self.position.quantity)

    @property
    def loss_sign(self) -> int:
        """The direction of value that loses, as the formulas count it."""
        return 1 if (self.position.quantity > 0) == self.exposure.inverse else -1

    def price_of(self, value: Num) -> Decimal | None:
        """The price at which the whole position has a value; None where no finite price gives it."""
        size = abs(self.leg.size)
        if self.exposure.inverse and not value:
            return None
        price: Decimal = money(size / value if self.exposure.inverse else value / size)
        return price


class View(NamedTuple):
    """One pool of an account at a market, judged."""

    account: Account
    market: Market
    rules: Rules
    pool: PoolState
    slot: Liquidation
    held: tuple[Held, ...]
    """The positions, the largest unrealized loss first."""
    fund: Decimal | None
    """What the insurance fund holds in the pool's currency; None = unknown, taken as enough."""
    pocket: Pocket | None = None
    """The pocket of borrowed coins that the pool is, where it is one; it holds no positions."""

    def judged(self, account: Account) -> PoolState | None:
        """The same pool of another account; None where a pocket is gone."""
        return _judged(account, self.market, self.rules, self.pool.pool.name)

    def fee_rate(self, symbol: str) -> Decimal:
        """The share of value that a close at the market costs."""
        rate = self.slot.liquidation_fees.get(symbol, self.slot.liquidation_fee)
        if rate is None:
            rate = self.rules.taker_fee(symbol)
        if rate is None:
            why = f"{self.rules.profile} knows no taker fee for it; add [[instruments]] with taker_fee"
            raise AccountError(f"account {self.account.id}", (Fault("liquidation_fee", symbol, why),))
        return rate


class Plan(NamedTuple):
    """What a step would do: its entries, and the account after them."""

    entries: tuple[Entry, ...]
    account: Account
    note: str = ""


def _judged(account: Account, market: Market, rules: Rules, name: str) -> PoolState | None:
    prepared = prepare(account, market, rules)
    return next((measure(pool) for pool in prepared.pools if pool.name == name), None)


def view_of(
    account: Account, market: Market, rules: Rules, name: str, insurance_fund: Mapping[str, Decimal]
) -> View | None:
    """The pool of that name as it stands; None where there is none. :class:`UnsupportedRule` without a programme."""
    pool = _judged(account, market, rules, name)
    if pool is None:
        return None
    slot = pool.pool.slots.liquidation
    if slot is None:
        why = "states no liquidation programme; add a [revisions.liquidation] slot"
        raise UnsupportedRule(f"profile {rules.profile}", (Fault("liquidation", "", why),))
    held = [
        Held(
            leg.position,
            leg,
            exposure,
            own.asset,
            exposure.pnl(leg.size, leg.entry, exposure.mark),
            exposure.notional(leg.size, exposure.mark),
        )
        for own in pool.assets
        for exposure, _, _ in own.exposures
        for leg in exposure.legs
    ]
    held.sort(key=lambda one: one.pnl * one.asset.price)
    pocket = next((one for one in account.pockets if name == f"{one.symbol} isolated"), None)
    return View(account, market, rules, pool, slot, tuple(held), insurance_fund.get(pool.pool.currency), pocket)


# money and quantities -------------------------------------------------------------------------------------------------


def money(value: Num, rounding: str = ROUND_HALF_EVEN) -> Num:
    """An amount in 18 decimals, so that books add up exactly; a ray has no digits to cut."""
    if isinstance(value, Ray):
        return value
    # what only 50 digits of working precision have left over is not an amount
    trace = value.quantize(_TRACE, rounding=ROUND_HALF_EVEN, context=_WIDE)
    return trace.quantize(_CENT, rounding=rounding, context=_WIDE)


def lots(quantity: Decimal, rounding: str) -> Decimal:
    """A quantity in steps of 1e-8 contracts."""
    return quantity.quantize(_LOT, rounding=rounding, context=_WIDE)


def with_money(account: Account, changes: Mapping[str, Num]) -> Account:
    """The account with amounts added to its wallets; an amount may be a ray."""
    balances = dict(account.balances)
    for asset, change in changes.items():
        held = balances.get(asset, Balance())
        balances[asset] = held.model_copy(update={"wallet_balance": held.wallet_balance + change})
    return account.model_copy(update={"balances": balances})


def _replaced(account: Account, old: Position, new: Position | None) -> Account:
    positions = tuple(rest for one in account.positions if (rest := new if one is old else one) is not None)
    return account.model_copy(update={"positions": positions})


class Close(NamedTuple):
    """One position to be closed by ``quantity`` contracts (a ray while it is solved for) at a price."""

    held: Held
    quantity: Num
    market_price: Num
    fee_rate: Decimal


def closed(account: Account, close: Close, given: Num = _ZERO) -> tuple[Account, Num, Num] | None:
    """(account, realized PnL, fee) after one close that also costs ``given``; None where a pocket cannot pay for it."""
    held = close.held
    position = held.position
    done = fill(
        position,
        symbol=position.symbol,
        quantity=-close.quantity if position.quantity > 0 else close.quantity,
        price=close.market_price,
        contract_size=abs(held.leg.size) / held.contracts,
        fee_rate=close.fee_rate,
    )
    realized, fee = money(done.realized_pnl), money(done.fee)
    change = realized - fee - given
    if position.margin_mode == "cross":
        changed = with_money(account, {held.asset.name: change})
        return _replaced(changed, position, done.position), realized, fee
    margin = position.isolated_margin + change
    if not isinstance(margin, Ray) and margin < 0:
        return None
    if done.position is None:
        return _replaced(with_money(account, {held.asset.name: margin}), position, None), realized, fee
    rest = done.position.model_copy(update={"isolated_margin": margin})
    return _replaced(account, position, rest), realized, fee


# closing at the market ------------------------------------------------------------------------------------------------


def _market_close(view: View, held: Held, quantity: Num, discount: Decimal) -> Close:
    """A close at mark, made worse by the discount."""
    price = held.exposure.mark
    if discount:
        # prices of both kinds of contract move against a long downward
        price = formulas.value_against(price, -1 if held.position.quantity > 0 else 1, discount)
    return Close(held, quantity, price, view.fee_rate(held.position.symbol))


def at_market(view: View, wanted: Sequence[tuple[Held, Decimal]], discount: Decimal = _ZERO) -> Plan | None:
    """Close quantities at the market; None where a pocket cannot pay for it."""
    account, entries = view.account, []
    for held, quantity in wanted:
        close = _market_close(view, held, quantity, discount)
        done = closed(account, close)
        if done is None:
            return None
        account, realized, fee = done
        entries.append(closing_entry(close, price=close.market_price, realized_pnl=realized, fee=fee))
    return Plan(tuple(entries), account)


def closing_entry(close: Close, **figures: Any) -> Entry:
    """The entry of a close with its figures; the quantity is signed as the fill is."""
    position = close.held.position
    return Entry(
        what=position.symbol,
        position_side=position.position_side,
        asset=close.held.asset.name,
        quantity=-close.quantity if position.quantity > 0 else close.quantity,
        market_price=close.market_price,
        **figures,
    )


def enough(view: View, held: Sequence[Held], discount: Decimal) -> Plan | None:
    """The smallest common share of some positions whose close lifts the pool above its level; None = there is none."""

    def shortfall(point: Num, direction: int) -> Ray:
        line = Line(point, direction, track=True)
        account = view.account
        for one in held:
            quantity = Ray(_ZERO, one.contracts, line)
            done = closed(account, _market_close(view, one, quantity, discount))
            assert done is not None  # a pocket's margin is a ray here
            account = done[0]
        return -as_ray(view.judged(account), "headroom", line)

    try:
        share = first_fall(shortfall, _ZERO, _ONE, 1)
    except UnsupportedRule:
        return None
    if share is None:
        return None
    for extra in (_ZERO, _LOT):  # on the level itself the pool is still liquidatable: one lot more
        wanted = [(one, min(one.contracts, lots(one.contracts * share, ROUND_CEILING) + extra)) for one in held]
        plan = at_market(view, [(one, quantity) for one, quantity in wanted if quantity], discount)
        if plan is not None and plan.entries and not _liquidatable(view, plan):
            return plan
    return None


def as_ray(pool: PoolState | None, name: str, line: Line) -> Ray:
    """A figure of a pool judged along a line, as a ray even where nothing moves it."""
    figure = _ZERO if pool is None else getattr(pool, name)
    return figure if isinstance(figure, Ray) else Ray(figure, _ZERO, line)


def _liquidatable(view: View, plan: Plan) -> bool:
    after = view.judged(plan.account)
    return after is not None and after.liquidatable


# closing at the bankruptcy price --------------------------------------------------------------------------------------


def _bankruptcy_share(view: View) -> Decimal:
    """The share of its value that every position must lose, against the mark, for the pool to be left with nothing.

    Pro rata: the same share for all. For a pocket it is equity / value, so its price is the pocket's own bankruptcy
    price. Negative for a pool that is bankrupt at mark. At most 1: a position cannot lose more than its value.
    """
    gross: Decimal = sum((one.value * one.asset.price for one in view.held), _ZERO)
    if view.pool.pool.isolated:
        own: Decimal = view.pool.equity / gross
        return min(_ONE, own)
    gone = {id(one.position) for one in view.held}
    flat = view.account.model_copy(update={"positions": tuple(p for p in view.account.positions if id(p) not in gone)})
    value: dict[str, Decimal] = {}
    pnl: dict[str, Decimal] = {}
    for one in view.held:
        value[one.asset.name] = value.get(one.asset.name, _ZERO) + one.value
        pnl[one.asset.name] = pnl.get(one.asset.name, _ZERO) + one.pnl
    flat = with_money(flat, pnl)
    left = view.judged(flat)
    assert left is not None  # its wallets are there
    direction = 1 if left.equity >= 0 else -1

    def equity(point: Num, _direction: int) -> Ray:
        line = Line(point, _direction, track=True)
        lost = {asset: Ray(_ZERO, -amount, line) for asset, amount in value.items()}
        return as_ray(view.judged(with_money(flat, lost)), "equity", line) * direction

    try:
        share: Decimal | None = first_fall(equity, _ZERO, _ONE if direction > 0 else None, direction)
    except UnsupportedRule:
        share = left.equity / gross
    if share is None:
        # collateral the loss cannot reach, or a debt in another asset that a price here cannot repay
        share = _ONE if direction > 0 else left.equity / gross
    return min(_ONE, share)


def at_bankruptcy(view: View, wanted: Sequence[tuple[Held, Decimal]], *, against: str) -> Plan | None:
    """Close quantities at the bankruptcy price against the insurance fund, its owner's remainder, or other traders.

    A fund that is short bears what it can, whole lots; the rest stays for the steps that follow.
    """
    share = _bankruptcy_share(view)
    if against == "traders" and share >= 0:
        return None
    if against == "owner" and share >= 0:
        return _at_market_for_owner(view, wanted)
    account, entries, fund = view.account, [], view.fund
    lost: dict[str, Decimal] = {}  # by asset, before rounding: the amounts given add up to it, cut once
    for held, whole in wanted:
        quantity = whole
        name, price = held.asset.name, held.asset.price
        if share < 0 and against != "traders" and fund is not None:
            cost = -share * held.value * price * whole / held.contracts
            if cost > fund:
                quantity = min(whole, lots(whole * max(_ZERO, fund) / cost, ROUND_FLOOR))
            if not quantity:
                continue
        before = lost.get(name, _ZERO)
        part = quantity / held.contracts
        # with what rounding adds to the PnL, so that the last one leaves nothing at all
        lost[name] = before + share * held.value * part + money(held.pnl * part) - held.pnl * part
        given = money(lost[name], ROUND_FLOOR) - money(before, ROUND_FLOOR)
        close = Close(held, quantity, held.exposure.mark, _ZERO)
        done = closed(account, close, given)
        if done is None:  # a pocket that a rounded lot would leave a trace below nothing
            continue
        account, realized, _ = done
        booked = held.price_of(formulas.value_against(held.value, held.loss_sign, share))
        flows = {"transfer": -given} if against == "traders" else {"insurance_fund": given}
        entries.append(closing_entry(close, price=booked, realized_pnl=realized, **flows))
        if fund is not None:
            fund += given * price
    return Plan(tuple(entries), account) if entries else None


def _at_market_for_owner(view: View, wanted: Sequence[tuple[Held, Decimal]]) -> Plan | None:
    """A take-over whose better price goes back to the owner is a close at mark without a fee."""
    account, entries = view.account, []
    for held, quantity in wanted:
        close = Close(held, quantity, held.exposure.mark, _ZERO)
        done = closed(account, close)
        if done is None:
            continue
        account, realized, _ = done
        entries.append(closing_entry(close, price=close.market_price, realized_pnl=realized))
    return Plan(tuple(entries), account) if entries else None


def pocket_closed(view: View, pocket: Pocket, *, shared: bool = False) -> Plan | None:
    """A pocket of borrowed coins taken over whole at its bankruptcy price: what it holds buys back what it owes.

    What the mark gives better than that price is the insurance fund's, or the owner's where the profile says so; what
    it gives worse the fund pays. None where the fund cannot pay all of it, unless the rest is ``shared`` by others.
    Source: OKX, isolated margin mode (the bankruptcy price is where the assets just buy back the debt).
    """
    base, quote = (own.asset for own in view.pool.assets)
    value = money(base.cash * base.price)
    left = quote.cash + value
    paid = left if left >= 0 or view.fund is None else max(left, -max(_ZERO, view.fund))
    if paid != left and not shared:
        return None
    owned = left if left > 0 and view.slot.remainder == "owner" else _ZERO
    bought = Entry(
        what=base.name,
        position_side="",
        asset=base.name,
        quantity=-base.cash,
        price=money(-quote.cash / base.cash) if quote.cash * base.cash < 0 else base.price,
        market_price=base.price,
        transfer=-base.cash,
    )
    settled = Entry(
        what=quote.name,
        position_side="",
        asset=quote.name,
        quantity=-quote.cash,
        insurance_fund=paid - owned,
        transfer=value + paid - left,
    )
    gone = view.account.model_copy(update={"pockets": tuple(p for p in view.account.pockets if p is not pocket)})
    account = with_money(gone, {quote.name: owned}) if owned else gone
    return Plan((bought, settled), account, f"{pocket.symbol}: the pocket is closed, its debt bought back")
