"""What each kind of step of a liquidation programme does to a pool: a function a kind, None where nothing is to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from crossmargin.engine import formulas
from crossmargin.engine.closing import (
    Close,
    Entry,
    Held,
    Plan,
    View,
    as_ray,
    at_bankruptcy,
    at_market,
    closed,
    closing_entry,
    enough,
    lots,
    money,
    pocket_closed,
    with_money,
)
from crossmargin.engine.ray import Line, Ray, first_fall
from crossmargin.model.instrument import parse_symbol

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)


def _cancel_orders(view: View, rule: Any) -> Plan | None:
    symbols = {one.position.symbol for one in view.held}
    gone = [order for order in view.account.open_orders if rule.scope == "all" or order.symbol in symbols]
    if not gone:
        return None
    kept = tuple(order for order in view.account.open_orders if all(order is not one for one in gone))
    entries = tuple(
        Entry(
            what=order.symbol,
            position_side=order.position_side,
            asset=parse_symbol(order.symbol).settle,
            quantity=-order.quantity,
            price=order.price,
        )
        for order in gone
    )
    return Plan(entries, view.account.model_copy(update={"open_orders": kept}), "open orders cancelled")


def _repay(view: View, rule: Any) -> Plan | None:
    """The largest debt from the largest holding; called again until one of the two kinds runs out.

    Where the venue charges an unrealized loss as a debt, it is repaid as one.
    """
    if view.pool.pool.isolated:
        return None
    owned = []
    for own in view.pool.assets:
        wallet = own.asset.balance.wallet_balance - own.asset.balance.accrued_interest
        charged = min(own.pnl, own.pnl * 0) if own.asset.kept_rate(own.pnl * 0) else own.pnl * 0
        owned.append((own.asset, wallet + charged))
    debts = [(asset, -amount) for asset, amount in owned if amount < 0]
    sources = [(asset, amount) for asset, amount in owned if amount > 0]
    if not debts or not sources:
        return None
    owed, debt = max(debts, key=lambda pair: pair[1] * pair[0].price)
    sold, stock = max(sources, key=lambda pair: pair[1] * pair[0].price)
    gross = money(debt / (1 - rule.buffer), ROUND_CEILING)
    amount = money(gross * owed.price / sold.price, ROUND_CEILING)
    fee = gross - debt
    if amount > stock:
        amount = stock
        gross = money(stock * sold.price / owed.price, ROUND_FLOOR)
        fee = money(formulas.share_of(gross, rule.buffer))
    entries = (
        Entry(what=sold.name, position_side="", asset=sold.name, quantity=-amount, transfer=-amount),
        Entry(
            what=owed.name,
            position_side="",
            asset=owed.name,
            quantity=gross - fee,
            price=sold.price / owed.price * (1 - rule.buffer),
            market_price=sold.price / owed.price,
            fee=fee,
            transfer=gross,
        ),
    )
    changes = {entry.asset: entry.wallet_change for entry in entries}
    return Plan(entries, with_money(view.account, changes), f"{owed.name} repaid from {sold.name}")


def _offset_two_sided(view: View, rule: Any) -> Plan | None:
    """The first long and short that face each other; no market is needed and no fee is taken."""
    for one in view.held:
        if one.exposure.inverse and rule.match == "coin":
            continue
        for other in view.held:
            if (one.position.quantity > 0) == (other.position.quantity > 0):
                continue
            same = one.position.symbol == other.position.symbol or (
                rule.match == "coin"
                and not other.exposure.inverse
                and one.exposure.symbol.base == other.exposure.symbol.base
            )
            if not same:
                continue
            matched = min(abs(one.leg.size), abs(other.leg.size))
            account, entries = view.account, []
            for side in (one, other):
                whole = abs(side.leg.size) == matched
                quantity = side.contracts if whole else money(side.contracts * matched / abs(side.leg.size))
                close = Close(side, quantity, side.exposure.mark, _ZERO)
                done = closed(account, close)
                if done is None:
                    return None
                account, realized, _ = done
                entries.append(closing_entry(close, price=close.market_price, realized_pnl=realized))
            return Plan(tuple(entries), account, "long closed against short")
    return None


def _reduce_to_requirement(view: View, rule: Any) -> Plan | None:
    """One position by what is needed, largest loss first; one that is not enough goes whole, if that helps at all."""
    for one in view.held:
        plan = enough(view, [one], rule.discount)
        if plan is not None:
            return plan
        whole = at_market(view, [(one, one.contracts)], rule.discount)
        after = None if whole is None else view.judged(whole.account)
        # a close whose fee would leave a debt is not made: what is left then goes to the take-over
        if whole is not None and after is not None and after.headroom > view.pool.headroom and after.equity >= 0:
            return whole
    return None


def _reduce_by_bracket(view: View, rule: Any) -> Plan | None:
    """The first position that is above its lowest bracket comes down by so many brackets."""
    if view.pool.equity <= 0:  # nothing is left to save by reducing
        return None
    for one in view.held:
        kept = _kept_in_lower_bracket(view, one, rule.brackets)
        if kept is not None:
            return _close_by(view, rule, [(one, one.contracts - kept)])
    return None


def _kept_in_lower_bracket(view: View, one: Held, brackets: int) -> Decimal | None:
    """The contracts that remain at the top of the lower bracket; None where there is no lower one."""
    steps = one.exposure.steps
    if steps is None:
        return None
    slots = view.pool.pool.slots
    by_key = {
        "notional": one.exposure.notional(
            one.leg.size, one.exposure.mark if slots.valuation.maintenance == "mark" else one.leg.entry
        ),
        "contracts": one.contracts,
        "coin": abs(one.leg.size),
    }
    value = by_key[slots.maintenance_margin.key]
    row = steps.find(value)
    if row == 0:
        return None
    return lots(one.contracts * steps.floors[max(1, row - brackets + 1)] / value, ROUND_FLOOR)


def _reduce_slice(view: View, rule: Any) -> Plan | None:
    if view.pool.equity <= 0:
        return None
    for one in view.held:
        if one.value > rule.above_notional:
            return _close_by(view, rule, [(one, min(one.contracts, lots(one.contracts * rule.share, ROUND_CEILING)))])
    return None


def _close_by(view: View, rule: Any, wanted: Sequence[tuple[Held, Decimal]]) -> Plan | None:
    """Close at the price a rule names; a pocket that cannot pay at the market is closed at its bankruptcy price."""
    plan = at_market(view, wanted, rule.discount) if rule.price == "mark" else None
    return plan or at_bankruptcy(view, wanted, against=view.slot.remainder)


def _largest_loss_first(view: View, rule: Any) -> Plan | None:
    return _close_by(view, rule, [(one, one.contracts) for one in view.held[:1]]) if view.held else None


def _pro_rata(view: View, rule: Any) -> Plan | None:
    if not view.held:
        return None
    plan = None if rule.whole or view.pool.equity <= 0 else enough(view, view.held, rule.discount)
    return plan or _close_by(view, rule, [(one, one.contracts) for one in view.held])


def _take_over(view: View, rule: Any) -> Plan | None:
    if view.pocket is not None:
        return pocket_closed(view, view.pocket)
    taken = view.held if rule.scope == "pool" else view.held[:1]
    if not taken:
        return None
    return at_bankruptcy(view, [(one, one.contracts) for one in taken], against=view.slot.remainder)


def _backstop(view: View, rule: Any) -> Plan | None:
    """The margin is forfeited, whoever gets the remainder elsewhere; a bankrupt pool is not taken."""
    short = view.pool.equity < formulas.share_of(view.pool.maintenance, rule.share_of_maintenance)
    if not view.held or not short or view.pool.equity < 0:
        return None
    plan = at_bankruptcy(view, [(one, one.contracts) for one in view.held], against="insurance_fund")
    return None if plan is None else plan._replace(note="the pool and its margin go to the backstop")


def _covered(view: View, *, against: str) -> Plan | None:
    """What a flat pool owes is paid in: by the fund as far as it goes, or by other traders."""
    debts = [own.asset for own in view.pool.assets if own.asset.cash < 0]
    if view.held or view.pool.equity >= 0 or not debts or view.pocket is not None:
        return None  # a pocket is taken over with its debts, or its loss is shared

    def debt_left(point: Num, direction: int) -> Ray:
        line = Line(point, direction, track=True)
        paid = {asset.name: Ray(_ZERO, -asset.cash, line) for asset in debts}
        return -as_ray(view.judged(with_money(view.account, paid)), "equity", line)

    share = first_fall(debt_left, _ZERO, _ONE, 1)
    share = _ONE if share is None else share
    cost = sum((-asset.cash * asset.price for asset in debts), _ZERO) * share
    rounding = ROUND_CEILING
    if against == "insurance_fund" and view.fund is not None and cost > view.fund:
        share, rounding = share * max(_ZERO, view.fund) / cost, ROUND_FLOOR
    entries = []
    for asset in debts:
        amount = money(-asset.cash * share, rounding)
        if amount:
            flows = {"insurance_fund": -amount} if against == "insurance_fund" else {"transfer": amount}
            entries.append(Entry(what=asset.name, position_side="", asset=asset.name, quantity=amount, **flows))
    if not entries:
        return None
    return Plan(tuple(entries), with_money(view.account, {e.asset: e.wallet_change for e in entries}))


def _insurance_fund(view: View, _rule: Any) -> Plan | None:
    return _covered(view, against="insurance_fund")


def _against_traders(view: View, note: str) -> Plan | None:
    if not view.held:
        plan = _covered(view, against="traders")
    else:
        plan = at_bankruptcy(view, [(one, one.contracts) for one in view.held], against="traders")
    return None if plan is None else plan._replace(note=note)


def _auto_deleverage(view: View, rule: Any) -> Plan | None:
    return _against_traders(view, f"closed against profitable traders, ranked by {rule.ranking}")


def socialize(view: View) -> Plan | None:
    """After the programme: what nobody bears is shared by all; a pool that is not bankrupt is taken over."""
    if view.pocket is not None:
        return pocket_closed(view, view.pocket, shared=True)
    plan = _against_traders(view, "the programme has no more steps: the loss is shared by all")
    if plan is None and view.held:
        plan = at_bankruptcy(view, [(one, one.contracts) for one in view.held], against="insurance_fund")
    return plan


KINDS: dict[str, Callable[[View, Any], Plan | None]] = {
    "cancel_orders": _cancel_orders,
    "repay": _repay,
    "offset_two_sided": _offset_two_sided,
    "reduce_to_requirement": _reduce_to_requirement,
    "reduce_by_bracket": _reduce_by_bracket,
    "reduce_slice": _reduce_slice,
    "largest_loss_first": _largest_loss_first,
    "pro_rata": _pro_rata,
    "take_over": _take_over,
    "backstop": _backstop,
    "insurance_fund": _insurance_fund,
    "auto_deleverage": _auto_deleverage,
}
"""Every kind a profile may name in its programme; the rule is the profile's own data for that kind."""
