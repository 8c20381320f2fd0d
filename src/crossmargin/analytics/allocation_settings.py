"""From which settings may a plan start: which positions isolated, which cross, at which leverage of a pocket?

A margin mode decides which pools there are, so no single programme holds two of them. Bonus credit that the first
transfer out of its asset ends is kept, and nothing leaves, or given up. Every combination of the choices is a fund of
its own, in which they are made before anything else is done, in an order that the venue admits. There are few of them,
and each is solved or shown to be worse than the best so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from math import prod
from typing import NamedTuple

from crossmargin.analytics.allocation_building import values_of
from crossmargin.analytics.allocation_plan import Move, effects_of
from crossmargin.analytics.whatif import Standing, shortfalls
from crossmargin.engine.changes import Books, book, held_at
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import MarginMode
from crossmargin.model.change import SetLeverage, SetMarginMode
from crossmargin.model.fund import Fund, LeverageChoice, Member, ModeChoice, Pocket

_ZERO = Decimal(0)
_MOST = 256
"""So many combinations of settings are compared, and no more."""
_FlipOrSet = SetMarginMode | SetLeverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A fund whose settings are changed already, the moves that did it, and what they cost in the fund's currency."""

    fund: Fund
    moves: tuple[Move, ...]

    @property
    def cost(self) -> Decimal:
        """Bonus credit that is given up."""
        return sum((move.cost for move in self.moves), _ZERO)


class _Forfeit(NamedTuple):
    """Bonus credit of an asset, given up for being free to take from its wallet."""

    asset: str
    amount: Decimal
    value: Decimal


_Choice = _FlipOrSet | _Forfeit


def starts(fund: Fund) -> Iterator[Start]:
    """The fund as it is, then with every other combination of settings that its venues allow; in the judge's context.

    Raises :class:`AccountError` for a choice about what is not held, and where there are too many combinations.
    """
    places = {member.account.id: place for place, member in enumerate(fund.members)}
    apart = [choice for choice in fund.leverages if _is_apart(fund, places, choice)]
    options: list[list[tuple[int, _Choice] | None]] = [_of_leverage(fund, places, choice) for choice in apart]
    options += [_of_mode(fund, places, choice) for choice in fund.modes]
    options += [[None, (place, forfeit)] for place, forfeit in _forfeits(fund)]
    count = prod(len(own) for own in options)
    if count > _MOST:
        why = f"make {count} combinations; {_MOST} can be compared, so state fewer of them"
        raise AccountError(f"fund {fund.id}", (Fault("modes, leverages", "", why),))
    rest = fund.model_copy(update={"leverages": tuple(c for c in fund.leverages if c not in apart)})
    for combination in product(*options):
        start = _started(rest, [one for one in combination if one is not None])
        if start is not None:
            yield start


def _forfeits(fund: Fund) -> Iterator[tuple[int, _Forfeit]]:
    """Bonus credit that the first transfer or conversion out of its wallet ends, where the fund allows one."""
    values = values_of(fund)
    for place, member in enumerate(fund.members):
        rule, name = member.rules.slots.bonus, member.account.id
        taken = {route.asset for route in fund.routes if route.source == name}
        taken |= {conversion.sell for conversion in fund.conversions if conversion.account == name}
        for asset in sorted(taken & set(member.account.balances)):
            bonus = member.account.balances[asset].bonus_credit
            if bonus and rule is not None and rule.forfeited_on_transfer:
                yield place, _Forfeit(asset, bonus, bonus * values.get(asset, _ZERO))  # no price: refused later


def _kept(fund: Fund, given_up: set[tuple[str, str]]) -> Fund:
    """The fund in which nothing leaves a wallet whose bonus credit is kept."""
    kept = {(fund.members[place].account.id, own.asset) for place, own in _forfeits(fund)} - given_up
    routes = tuple(
        r.model_copy(update={"maximum": _ZERO, "minimum": _ZERO}) if (r.source, r.asset) in kept else r
        for r in fund.routes
    )
    conversions = tuple(
        c.model_copy(update={"maximum": _ZERO}) if (c.account, c.sell) in kept else c for c in fund.conversions
    )
    return fund.model_copy(update={"routes": routes, "conversions": conversions}) if kept else fund


def _is_apart(fund: Fund, places: dict[str, int], choice: LeverageChoice) -> bool:
    """Whether a leverage is one of a pocket, now or perhaps."""
    held = fund.members[places[choice.account]].account.positions
    flips = any((m.account, m.symbol) == (choice.account, choice.symbol) for m in fund.modes)
    return flips or any(p.symbol == choice.symbol and p.margin_mode == "isolated" for p in held)


def _of_leverage(fund: Fund, places: dict[str, int], choice: LeverageChoice) -> list[tuple[int, _Choice] | None]:
    member = fund.members[places[choice.account]]
    now = {p.leverage for p in member.account.positions if p.symbol == choice.symbol}
    brackets = member.rules.brackets.get(choice.symbol, ())
    leverages = sorted(set(choice.choices or [b.max_leverage for b in brackets if b.max_leverage is not None]))
    place = places[choice.account]
    return [None, *((place, SetLeverage(symbol=choice.symbol, leverage=own)) for own in leverages if {own} != now)]


def _of_mode(fund: Fund, places: dict[str, int], choice: ModeChoice) -> list[tuple[int, _Choice] | None]:
    member, place = fund.members[places[choice.account]], places[choice.account]
    other: dict[MarginMode, MarginMode] = {"cross": "isolated", "isolated": "cross"}
    found = []
    for mode, flipped in other.items():
        flip = SetMarginMode(symbol=choice.symbol, margin_mode=flipped, position_side=choice.position_side)
        if held_at(Books(*member), flip, choice.position_side, mode) is not None:
            found.append((place, flip))
    if len(found) != 1:
        why = "is not held" if not found else "is held cross and isolated"
        raise AccountError(f"fund {fund.id}", (Fault(f"modes of {choice.account}", choice.symbol, why),))
    return [None, *found]


def _changed(
    members: tuple[Member, ...], changes: tuple[tuple[int, _Choice], ...], refused: set[frozenset[tuple[int, _Choice]]]
) -> tuple[tuple[Member, ...], list[Move]] | None:
    """The members with every change made, in the first order in which no venue refuses one; None = there is none.

    ``refused``: what is known not to be admitted once all the other changes are made.
    """
    if not changes:
        return members, []
    if frozenset(changes) in refused:
        return None
    for n, (place, change) in enumerate(changes):
        books = Books(*members[place])
        after = _given_up(books, change) if isinstance(change, _Forfeit) else book(books, change).books
        before, then = Standing.of(books), Standing.of(after)
        # bonus credit ends with a step of the plan, whose lines are drawn without it from the start
        refusable = not isinstance(change, _Forfeit)
        if refusable and any(room is None or room < 0 for room in shortfalls(before, then).values()):
            continue
        own = (*members[:place], Member(*after), *members[place + 1 :])
        found = _changed(own, (*changes[:n], *changes[n + 1 :]), refused)
        if found is not None:
            return found[0], [_move(books.account.id, change, before, then), *found[1]]
    refused.add(frozenset(changes))
    return None


def _given_up(books: Books, forfeit: _Forfeit) -> Books:
    own = books.account.balances[forfeit.asset].model_copy(update={"bonus_credit": _ZERO})
    balances = {**books.account.balances, forfeit.asset: own}
    return books._replace(account=books.account.model_copy(update={"balances": balances}))


def _started(fund: Fund, changes: Sequence[tuple[int, _Choice]]) -> Start | None:
    """The fund with its choices made; None where no order of them is admitted, or a required order is left out."""
    changed = _changed(fund.members, tuple(changes), set())
    if changed is None:
        return None
    # a pocket that is closed has no headroom to count: where that is the aim, only what is stated so is asked for
    counted = "headroom" in (fund.objective.weights or fund.objective.kind)
    from_the_start = {
        (m.account.id, p.symbol) for m in fund.members for p in m.account.positions if p.margin_mode == "isolated"
    }
    members, moves = changed
    fund = _kept(fund, {(fund.members[p].account.id, c.asset) for p, c in changes if isinstance(c, _Forfeit)})
    held = [(m.account.id, p) for m in members for p in m.account.positions]
    isolated = {(name, p.symbol, p.position_side) for name, p in held if p.margin_mode == "isolated"}
    apart = {own[:2] for own in isolated}
    flips = {(m.account, m.symbol, m.position_side) for m in fund.modes}
    closing = {(name, p.symbol, p.position_side): "buy" if p.quantity < 0 else "sell" for name, p in held}
    orders = tuple(
        order
        for order in fund.orders
        if (own := (order.account, order.symbol, order.position_side))[:2] not in apart
        or (own in isolated and order.side == closing[own] and (not counted or own[:2] in from_the_start))
    )
    if any(order.required for order in fund.orders if order not in orders):
        return None
    pockets = [p for p in fund.pockets if (p.account, p.symbol, p.position_side) in isolated - flips]
    stated = {(p.account, p.symbol, p.position_side): p for p in fund.pockets}
    pockets += [
        stated.get(own, Pocket(account=own[0], symbol=own[1], position_side=own[2])) for own in sorted(flips & isolated)
    ]
    unknown = [p for p in fund.pockets if (p.account, p.symbol, p.position_side) not in isolated | flips]
    coins = {order.symbol.split("/")[0] for order in orders}
    update = {
        "members": members,
        "orders": orders,
        "pockets": (*pockets, *unknown),  # the unknown are refused where a fund is taken apart
        "modes": (),
        "neutral": tuple(coin for coin in fund.neutral if coin in coins or orders == fund.orders),
    }
    return Start(fund=fund.model_copy(update=update), moves=tuple(moves))


def _move(account: str, change: _Choice, before: Standing, after: Standing) -> Move:
    effects = effects_of(account, before, after)
    if isinstance(change, _Forfeit):
        return Move(
            phase="set",
            kind="forfeit_bonus",
            words=f"give up the bonus credit of {change.asset} on {account}, which ends when anything leaves",
            account=account,
            asset=change.asset,
            amount=change.amount,
            cost=change.value,
            effects=effects,
        )
    move = Move(
        phase="set",
        kind="set_margin_mode",
        words="",
        account=account,
        symbol=change.symbol,
        cost=_ZERO,
        effects=effects,
    )
    if isinstance(change, SetLeverage):
        words = f"set the leverage of {change.symbol} on {account} to {change.leverage}"
        return replace(move, kind="set_leverage", words=words, leverage=change.leverage)
    words = f"make {change.symbol} on {account} {change.margin_mode}"
    return replace(move, words=words, margin_mode=change.margin_mode, position_side=change.position_side)
