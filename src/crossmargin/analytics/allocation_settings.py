"""From which settings may a plan start: which positions isolated, which cross, at which leverage of a pocket?

A margin mode decides which pools there are, so no single programme holds two of them. Every combination of the stated
choices is a fund of its own, in which the settings are changed before anything else is done. There are few of them, and
each is solved or shown to be worse than the best so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from math import prod

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
    """A fund whose settings are changed already, and the moves that did it."""

    fund: Fund
    moves: tuple[Move, ...]


def starts(fund: Fund) -> Iterator[Start]:
    """The fund as it is, then with every other combination of settings that its venues allow; in the judge's context.

    Raises :class:`AccountError` for a choice about what is not held, and where there are too many combinations.
    """
    places = {member.account.id: place for place, member in enumerate(fund.members)}
    apart = [choice for choice in fund.leverages if _is_apart(fund, places, choice)]
    options: list[list[tuple[int, _FlipOrSet] | None]] = [_of_leverage(fund, places, choice) for choice in apart]
    options += [_of_mode(fund, places, choice) for choice in fund.modes]
    count = prod(len(own) for own in options)
    if count > _MOST:
        why = f"make {count} combinations; {_MOST} can be compared, so state fewer of them"
        raise AccountError(f"fund {fund.id}", (Fault("modes, leverages", "", why),))
    rest = fund.model_copy(update={"leverages": tuple(c for c in fund.leverages if c not in apart)})
    for combination in product(*options):
        start = _started(rest, [one for one in combination if one is not None])
        if start is not None:
            yield start


def _is_apart(fund: Fund, places: dict[str, int], choice: LeverageChoice) -> bool:
    """Whether a leverage is one of a pocket, now or perhaps."""
    held = fund.members[places[choice.account]].account.positions
    flips = any((m.account, m.symbol) == (choice.account, choice.symbol) for m in fund.modes)
    return flips or any(p.symbol == choice.symbol and p.margin_mode == "isolated" for p in held)


def _of_leverage(fund: Fund, places: dict[str, int], choice: LeverageChoice) -> list[tuple[int, _FlipOrSet] | None]:
    member = fund.members[places[choice.account]]
    now = {p.leverage for p in member.account.positions if p.symbol == choice.symbol}
    brackets = member.rules.brackets.get(choice.symbol, ())
    leverages = sorted(set(choice.choices or [b.max_leverage for b in brackets if b.max_leverage is not None]))
    place = places[choice.account]
    return [None, *((place, SetLeverage(symbol=choice.symbol, leverage=own)) for own in leverages if {own} != now)]


def _of_mode(fund: Fund, places: dict[str, int], choice: ModeChoice) -> list[tuple[int, _FlipOrSet] | None]:
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


def _started(fund: Fund, changes: Sequence[tuple[int, _FlipOrSet]]) -> Start | None:
    """The fund with its settings changed one after another; None where a venue refuses one, or an order is left out."""
    members, moves = list(fund.members), []
    for place, change in changes:
        books = Books(*members[place])
        after = book(books, change).books
        before, then = Standing.of(books), Standing.of(after)
        if any(room is None or room < 0 for room in shortfalls(before, then).values()):
            return None
        members[place] = Member(*after)
        moves.append(_move(books.account.id, change, before, then))
    held = [(m.account.id, p) for m in members for p in m.account.positions]
    isolated = {(name, p.symbol, p.position_side) for name, p in held if p.margin_mode == "isolated"}
    apart = {own[:2] for own in isolated}
    flips = {(m.account, m.symbol, m.position_side) for m in fund.modes}
    orders = tuple(o for o in fund.orders if (o.account, o.symbol) not in apart)
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
        "members": tuple(members),
        "orders": orders,
        "pockets": (*pockets, *unknown),  # the unknown are refused where a fund is taken apart
        "modes": (),
        "neutral": tuple(coin for coin in fund.neutral if coin in coins or orders == fund.orders),
    }
    return Start(fund=fund.model_copy(update=update), moves=tuple(moves))


def _move(account: str, change: _FlipOrSet, before: Standing, after: Standing) -> Move:
    move = Move(
        phase="set",
        kind="set_margin_mode",
        words="",
        account=account,
        symbol=change.symbol,
        cost=_ZERO,
        effects=effects_of(account, before, after),
    )
    if isinstance(change, SetLeverage):
        words = f"set the leverage of {change.symbol} on {account} to {change.leverage}"
        return replace(move, kind="set_leverage", words=words, leverage=change.leverage)
    words = f"make {change.symbol} on {account} {change.margin_mode}"
    return replace(move, words=words, margin_mode=change.margin_mode, position_side=change.position_side)
