"""Which documented cause gives the figure that a venue printed?

Venues, dates and account modes differ in documented ways. Each is a case of its own here: the same account under rules
that differ in that one thing, judged as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any, NamedTuple

from crossmargin.analytics.venue_figures import AccountCase, Figure, VenueFigures
from crossmargin.errors import CrossmarginError
from crossmargin.model.account import Position
from crossmargin.model.brackets import Bracket, InstrumentRule
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import plain
from crossmargin.model.profile import Rules
from crossmargin.model.reported import Reported, unit_of
from crossmargin.model.slots import Slots

_TICK = Decimal("0.01")
"""How far another tick of the mark may lie before it is no explanation."""
_NEAR_TICK = Decimal("0.0005")
"""How near it must lie to be likelier than open orders that the source does not list."""


class Causes:
    """The documented causes of one account, each judged when first asked.

    ``printed`` are the venue's other figures by path; ``other_rules`` revisions that a difference may come from.
    """

    def __init__(
        self, judged: VenueFigures, printed: Mapping[str, Decimal | None], other_rules: Iterable[Rules] = ()
    ) -> None:
        self.judged = judged
        self.case = judged.case
        self.printed = printed
        self.other_rules = tuple(other_rules)
        self._alternatives: list[_Alternative] | None = None

    def of(self, row: Reported, ours: Decimal) -> str | None:
        """The documented cause under which our figure is the venue's, to its last digit; None where none is.

        Of several that fit, the one that comes nearest; of several as near, the first.
        """
        others = self.alternatives(row.figure.rpartition(".")[2])
        near = [(gap, other.words) for other in others if (gap := _gap(other.judged, row)) is not None]
        if near:
            return min(near, key=lambda found: found[0])[1]
        found = _with_profit(self, row, ours) or _rounded(row, ours) or _rounded_entry(self, row, ours)
        found = found or _another_rate(self, row) or _held_elsewhere(self, row, ours)
        found = found or _another_tick(self.case, row, ours)
        return found or next((words for other in others if (words := _tick_besides(other, row))), None)

    def alternatives(self, name: str) -> list[_Alternative]:
        """Every documented cause as a case of its own, those that change the slot of this figure alone first."""
        if self._alternatives is None:
            self._alternatives = list(_alternatives(self))
        return sorted(self._alternatives, key=lambda other: other.slots != {name})


def _fits(judged: VenueFigures, row: Reported) -> bool:
    return _gap(judged, row) is not None


def _gap(judged: VenueFigures, row: Reported) -> Decimal | None:
    """How far our figure is off, in tenths of the venue's last digit; None where it is not the venue's."""
    try:
        found = judged.find(row.figure)
    except CrossmarginError:
        return None
    if not isinstance(found, Decimal) or row.value is None or abs(found - row.value) > row.unit:
        return None
    return (abs(found - row.value) * 10 / row.unit).to_integral_value() if row.unit else Decimal(0)


class _Alternative(NamedTuple):
    """A documented cause: the slots it changes, and the account judged under it."""

    words: str
    slots: frozenset[str]
    judged: VenueFigures


def _alternatives(causes: Causes) -> Iterator[_Alternative]:
    """The table of documented causes, as cases that differ from the account's own in that one thing."""
    account, market, rules = causes.case
    for words, changes in _OTHER_SLOTS:
        changed = _with_slots(rules, changes)
        if changed is not None:
            slots = frozenset(change.slot for change in changes)
            yield _Alternative(words, slots, VenueFigures((account, market, changed)))
    for other in causes.other_rules:
        if other.since != rules.since:
            words = f"the rules and tables of {other.since}, not of {rules.since}"
            yield _Alternative(words, frozenset(), VenueFigures((account, market, _restated(other, rules))))
    fees = {p.symbol: fee for p in account.positions if (fee := rules.taker_fee(p.symbol)) is not None}
    hedged = any(position.position_side != "net" for position in account.positions)
    for words, times in (
        ("without any fee to close", 0),
        *((("the fee to close both legs of a hedge held by each of them", 2),) if hedged else ()),
    ):
        other_fees = {**rules.taker_fees, **{symbol: fee * times for symbol, fee in fees.items()}}
        yield _Alternative(words, frozenset(), VenueFigures((account, market, replace(rules, taker_fees=other_fees))))
    if account.open_orders:
        bare = account.model_copy(update={"open_orders": ()})
        yield _Alternative("the open orders hold nothing", frozenset(), VenueFigures((bare, market, rules)))


def _restated(other: Rules, rules: Rules) -> Rules:
    """Other rules with what the account's own file restates for single instruments and assets."""
    own = rules.overridden

    def over(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        return {**theirs, **{name: value for name, value in ours.items() if name in own}}

    return replace(
        other,
        brackets=over(other.brackets, rules.brackets),
        contract_sizes=over(other.contract_sizes, rules.contract_sizes),
        taker_fees=over(other.taker_fees, rules.taker_fees),
        assets=over(other.assets, rules.assets),
        overridden=own,
    )


class _Change(NamedTuple):
    """One slot with some of its fields changed."""

    slot: str
    fields: Mapping[str, Any]


def _fee_changes() -> Iterator[tuple[str, tuple[_Change, ...]]]:
    where = {
        "none": "without the fee to close in {}",
        "bankruptcy": "with the fee to close at the bankruptcy price in {}",
        "mark": "with the fee to close at the mark in {}",
        "entry": "with the fee to close at entry in {}",
    }
    both = ("initial_margin", "maintenance_margin")
    for kind, words in where.items():
        for slots, name in (
            ((both[0],), "the initial margin"),
            (both, "both margins"),
            (both[1:], "the maintenance margin"),
        ):
            yield words.format(name), tuple(_Change(slot, {"close_fee": kind}) for slot in slots)


_OTHER_SLOTS: tuple[tuple[str, tuple[_Change, ...]], ...] = (
    *(
        (f"{which} margin valued at {price}", (_Change("valuation", {which: price}),))
        for which, price in product(("initial", "maintenance"), ("entry", "mark"))
    ),
    *_fee_changes(),
    ("unrealized profit does not count", (_Change("equity", {"unrealized_pnl": "losses"}),)),
    ("unrealized profit does not count to open", (_Change("equity", {"unrealized_pnl_initial": "losses"}),)),
    ("no unrealized PnL counts", (_Change("equity", {"unrealized_pnl": "none"}),)),
    ("bonus credit does not count", (_Change("equity", {"bonus_credit": False}),)),
    *(
        (f"both sides of a hedge charged {words}", (_Change(slot, {"scope": scope}),))
        for slot in ("maintenance_margin", "initial_margin")
        for scope, words in (
            ("per_leg", "each on its own"),
            ("gross", "added up"),
            ("net", "net"),
            ("larger_side", "by the larger one"),
        )
    ),
    ("the rate of the bracket on the whole value", (_Change("maintenance_margin", {"kind": "step_brackets"}),)),
    ("each bracket's rate on its part of the value", (_Change("maintenance_margin", {"kind": "marginal_brackets"}),)),
    ("collateral counted flat, without its tiers", (_Change("collateral", {"kind": "flat"}),)),
)
"""Documented differences between venues, dates and account modes: what a rule would say instead."""


def _with_slots(rules: Rules, changes: tuple[_Change, ...]) -> Rules | None:
    """The rules with these slots changed, shared pools and pockets alike; None where that changes nothing."""
    slots = rules.slots
    changed: Slots = slots
    for change in changes:
        for holder in ("", "isolated"):
            owner = changed.isolated if holder else changed
            slot = getattr(owner, change.slot, None) if owner is not None else None
            if slot is None or all(getattr(slot, key) == value for key, value in change.fields.items()):
                continue
            new = slot.model_copy(update=dict(change.fields))
            if holder and changed.isolated is not None:
                inner = changed.isolated.model_copy(update={change.slot: new})
                changed = changed.model_copy(update={"isolated": inner})
            else:
                changed = changed.model_copy(update={change.slot: new})
    return None if changed == slots else replace(rules, slots=changed)


def _with_profit(causes: Causes, row: Reported, ours: Decimal) -> str | None:
    """A venue's margin of a position that is what the position holds now: with its unrealized PnL in it."""
    head, _, name = row.figure.rpartition(".")
    profit = causes.judged.find(f"{head}.unrealized_pnl") if name == "initial_margin" else None
    if isinstance(profit, Decimal) and row.value is not None and abs(ours + profit - row.value) <= row.unit:
        return "the venue's figure is the margin with its unrealized PnL"
    return None


def _rounded_entry(causes: Causes, row: Reported, ours: Decimal) -> str | None:
    """PnL of a linear position off by less than the digits that its entry price was printed without.

    Only where the venue's value of the position agrees, so that it is no other tick of the mark.
    """
    account, _, rules = causes.case
    symbol = _symbol_of(row.figure, account.positions)
    leg = next((position for position in account.positions if position.symbol == symbol), None)
    size = None if leg is None else rules.contract_size(leg.symbol)
    if leg is None or size is None or parse_symbol(leg.symbol).kind != "linear" or row.value is None:
        return None
    figure = f"positions.{leg.symbol}.notional"
    value = Reported(figure=figure, value=causes.printed.get(figure))
    slack = abs(leg.quantity) * size * unit_of(leg.entry_price)
    profit = row.figure.rpartition(".")[2] in ("unrealized_pnl", "equity")
    if not profit or abs(ours - row.value) > slack or not _fits(causes.judged, value):
        return None
    return f"within the digits that the entry price {plain(leg.entry_price)} was printed without"


def _rounded(row: Reported, ours: Decimal) -> str | None:
    """A price that a venue prints in steps of 5 or 10 of its last digit."""
    if not row.figure.endswith("_price") or row.value is None:
        return None
    for step in (row.unit * 5, row.unit * 10):
        if row.value % step == 0 and abs(row.value - ours) <= step:
            return f"consistent with a price rounded to a tick of {plain(step)}"
    return None


def _another_rate(causes: Causes, row: Reported) -> str | None:
    """A plain maintenance rate (up to four decimals, 0.65 %) that gives the venue's figure: another tier or table."""
    own = causes.judged.position(row.figure.removeprefix("positions.").rpartition(".")[0])
    if own is None or not row.figure.endswith(".maintenance_margin") or row.value is None or not own.notional:
        return None
    account, market, rules = causes.case
    for fee in dict.fromkeys((own.close_fee, Decimal(0))):
        rate = ((row.value - fee) / own.notional).quantize(Decimal("0.0001"))
        if not 0 < rate < 1:
            continue
        table = (Bracket(notional_floor=Decimal(0), maintenance_rate=rate),)
        changed = rules.with_overrides((InstrumentRule(symbol=own.symbol, brackets=table),), ())
        if _fits(VenueFigures((account, market, changed)), row):
            here = "unknown" if own.maintenance_rate is None else plain(own.maintenance_rate)
            return f"the tier table: the venue's figure is a rate of {plain(rate)}, ours {here}"
    return None


_HELD = ("free_collateral", "withdrawable")


def _held_elsewhere(causes: Causes, row: Reported, ours: Decimal) -> str | None:
    """What the venue leaves less of than its equity and margins give, where the source lists no orders."""
    name = row.figure.rpartition(".")[2]
    if name not in _HELD or causes.case[0].open_orders or row.value is None or ours <= row.value:
        return None
    equity = row.figure.removesuffix(name) + "equity"
    printed, found = causes.printed.get(equity), causes.judged.find(equity)
    agreed = printed is None or (isinstance(found, Decimal) and abs(found - printed) <= abs(printed) * _TICK)
    tick = _another_tick(causes.case, row, ours, _NEAR_TICK)
    if not agreed or tick is not None:
        return tick
    return f"consistent with open orders that the source does not list: they would hold {plain(ours - row.value)}"


def _tick_besides(other: _Alternative, row: Reported) -> str | None:
    """Another tick of the mark under a requirement that follows the mark where the profile's follows the entry."""
    if other.slots != {"valuation"}:
        return None
    try:
        ours = other.judged.find(row.figure)
    except CrossmarginError:
        return None
    tick = _another_tick(other.judged.case, row, ours) if isinstance(ours, Decimal) else None
    return None if tick is None else f"{tick}, with {other.words}"


def _another_tick(case: AccountCase, row: Reported, ours: Decimal, most: Decimal = _TICK) -> str | None:
    """A mark near ours that gives the venue's figure. One free price fits one figure, so this proves nothing."""
    account, market, rules = case
    symbol = _symbol_of(row.figure, account.positions)
    if symbol is None or row.value is None:
        return None
    mark = market.mark_price[symbol]

    def at(price: Decimal) -> Figure:
        moved = market.model_copy(update={"mark_price": {**market.mark_price, symbol: price}})
        return VenueFigures((account, moved, rules)).find(row.figure)

    step = mark * Decimal("0.001")
    beside = at(mark + step)
    if not isinstance(beside, Decimal) or beside == ours:
        return None
    implied = mark + (row.value - ours) * step / (beside - ours)
    there = at(implied) if implied > 0 else None
    if not isinstance(there, Decimal) or abs(there - row.value) > row.unit or abs(implied / mark - 1) > most:
        return None
    move = (implied / mark - 1) * 100
    return f"consistent with another tick of the mark: {implied:.8g} in place of {plain(mark)} ({move:+.4f} %)"


def _symbol_of(figure: str, positions: tuple[Position, ...]) -> str | None:
    """The contract whose mark a figure may have been taken at another tick of, where there is only one."""
    held = {position.symbol for position in positions}
    named = [symbol for symbol in held if f"positions.{symbol}" in figure or f"pools.{symbol}" in figure]
    if named:
        return named[0]
    return next(iter(held)) if len(held) == 1 else None
