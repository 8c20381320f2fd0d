"""The closed registry of rule kinds: each name a profile may use in a slot, bound to formulas.

A kind turns a slot's data into a small function of numbers that is blind to their type (decimal, float, ray). Beside
each kind stands whether it keeps headroom concave in prices; :func:`is_concave` derives it for a whole profile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from crossmargin.engine import formulas
from crossmargin.errors import UnsupportedRule
from crossmargin.model.brackets import AssetRule, Bracket
from crossmargin.model.slots import Collateral, MaintenanceMargin, Scenarios, Slots

Num = Any
Convert = Callable[[Decimal], Num]
Valuation = Callable[[Num, Num, Num, Num], Num]
"""(amount, index price, bid rate, ask rate) -> value in the pool's currency."""
Requirement = Callable[[Num], Num]
"""notional -> maintenance margin, both in the settle asset."""


class Steps:
    """A table of lines by floor: ``find`` gives the row that holds at a value (floor exclusive, cap inclusive).

    ``end``: where the table is known to, None where its last row has no end.
    """

    __slots__ = ("end", "floors", "name", "offsets", "rates")

    def __init__(
        self, name: str, floors: Sequence[Num], rates: Sequence[Num], offsets: Sequence[Num], end: Num | None = None
    ) -> None:
        self.end = end
        self.name = name
        self.floors = tuple(floors)
        self.rates = tuple(rates)
        self.offsets = tuple(offsets)

    def find(self, value: Num) -> int:
        """The row that holds at a value; below the first floor of a fragment, and beyond its end, nothing is known."""
        if self.end is not None and value > self.end:
            raise UnsupportedRule(self.name, f"the table given is known to {self.end}; beyond it no tier is known")
        row = bisect_left(self.floors, value) - 1
        if row >= 0:
            return row
        if self.floors[0] > 0:
            raise UnsupportedRule(self.name, f"the table given starts at {self.floors[0]}; below it no tier is known")
        return 0


# maintenance ----------------------------------------------------------------------------------------------------------


def maintenance_rate(bracket: Bracket, slot: MaintenanceMargin) -> Decimal | None:
    """A bracket's rate as stated, or derived from its maximum leverage where the slot says so."""
    if bracket.maintenance_rate is not None or slot.rate == "stated":
        return bracket.maintenance_rate
    return formulas.half_of_max_leverage(bracket.max_leverage) if bracket.max_leverage else None


def maintenance_steps(name: str, table: Sequence[Bracket], slot: MaintenanceMargin, convert: Convert) -> Steps:
    """A maintenance table ready for use: deductions as stated by an account file, else by continuity."""
    rates = [maintenance_rate(bracket, slot) or Decimal(0) for bracket in table]
    deductions: list[Decimal] = []
    for row, bracket in enumerate(table):
        if slot.kind != "marginal_brackets":
            deductions.append(Decimal(0))
        elif bracket.maintenance_deduction is not None:
            deductions.append(bracket.maintenance_deduction)
        elif row == 0:
            # a fragment that starts above 0 without its deduction cannot be completed; prepare() refuses it
            deductions.append(Decimal(0))
        else:
            deductions.append(
                formulas.bracket_deduction(bracket.notional_floor, rates[row], rates[row - 1], deductions[row - 1])
            )
    return Steps(
        f"maintenance table of {name}",
        [convert(bracket.notional_floor) for bracket in table],
        [convert(rate) for rate in rates],
        [convert(deduction) for deduction in deductions],
        None if table[-1].known_to is None else convert(table[-1].known_to),
    )


def marginal_brackets(steps: Steps) -> Requirement:
    """Each bracket's rate on the part of the value inside it."""
    find, rates, deductions = steps.find, steps.rates, steps.offsets

    def requirement(notional: Num) -> Num:
        row = find(notional)
        return formulas.bracket_requirement(notional, rates[row], deductions[row])

    return requirement


def step_brackets(steps: Steps) -> Requirement:
    """The bracket's rate on the whole value: the requirement jumps at each floor."""
    find, rates = steps.find, steps.rates

    def requirement(notional: Num) -> Num:
        return formulas.share_of(notional, rates[find(notional)])

    return requirement


def flat_rate(rate: Num) -> Requirement:
    """One rate on the value: what counted tables, size-linear rates and shares of the initial margin come to."""

    def requirement(notional: Num) -> Num:
        return formulas.share_of(notional, rate)

    return requirement


BY_NOTIONAL: dict[str, Callable[[Steps], Requirement]] = {
    "marginal_brackets": marginal_brackets,
    "step_brackets": step_brackets,
}
"""Kinds whose bracket depends on the value, so on the price."""


def _counted_marginal(count: Num, steps: Steps, _slope: Num) -> Num:
    row = steps.find(count)
    return formulas.bracket_requirement(count, steps.rates[row], steps.offsets[row]) / count


def _counted_step(count: Num, steps: Steps, _slope: Num) -> Num:
    return steps.rates[steps.find(count)]


def _linear_in_size(count: Num, steps: Steps, slope: Num) -> Num:
    return formulas.size_rate(steps.rates[0], slope, count)


BY_COUNT: dict[str, Callable[[Num, Steps, Num], Num]] = {
    "marginal_brackets": _counted_marginal,
    "step_brackets": _counted_step,
    "linear_in_size": _linear_in_size,
}
"""Kinds whose rate depends on contracts or coins only: one rate whatever the price."""

CONCAVE_MAINTENANCE = {"marginal_brackets", "linear_in_size", "highest_rate", "fraction_of_initial"}


# collateral -----------------------------------------------------------------------------------------------------------


def collateral_steps(rule: AssetRule | None, convert: Convert) -> Steps:
    """A collateral table ready for use: ratios with the credits that join them; in full where none is stated."""
    stated = rule.tiers if rule else None
    if not stated:
        return Steps("", [convert(Decimal(0))], [convert(Decimal(1))], [convert(Decimal(0))])
    credits = [Decimal(0)]
    for previous, this in pairwise(stated):
        credits.append(formulas.tier_credit(this.floor, this.collateral_ratio, previous.collateral_ratio, credits[-1]))
    return Steps(
        f"collateral table of {rule.asset if rule else ''}",
        [convert(tier.floor) for tier in stated],
        [convert(tier.collateral_ratio) for tier in stated],
        [convert(credit) for credit in credits],
        None if rule is None or rule.known_to is None else convert(rule.known_to),
    )


def liability_steps(rule: AssetRule | None, convert: Convert, *, opening: bool) -> Steps | None:
    """The tiers of a debt, by the amount owed, to stay or to open; None where one rate holds for any size."""
    if rule is None or rule.liability_tiers is None:
        return None
    tiers = rule.liability_tiers
    rates = [
        max(tier.maintenance_rate, tier.initial_rate or Decimal(0)) if opening else tier.maintenance_rate
        for tier in tiers
    ]
    zeros = [convert(Decimal(0))] * len(tiers)
    name = f"liability tiers of {rule.asset}"
    return Steps(name, [convert(tier.floor) for tier in tiers], [convert(rate) for rate in rates], zeros)


def settle_asset(_rule: AssetRule | None, _slot: Collateral, _convert: Convert) -> Valuation:
    """The pool's own asset counts as it is, owned or owed."""
    return lambda amount, _price, _bid, _ask: amount


def at_price(amount: Num, price: Num, _bid: Num, _ask: Num) -> Num:
    """Amount x price, owned or owed: what a pocket of two coins is worth in one of them."""
    return amount * price


def flat(rule: AssetRule | None, slot: Collateral, convert: Convert) -> Valuation:
    """Amount x index price x one ratio; tiers of an account file are honoured by amount."""
    if rule is not None and rule.tiers is not None and (len(rule.tiers) > 1 or rule.known_to is not None):
        return tiered_by_amount(rule, slot, convert)
    return _one_ratio(collateral_steps(rule, convert).rates[0], convert(slot.liability_ratio))


def _one_ratio(ratio: Num, liability: Num) -> Valuation:
    if ratio <= liability:
        return lambda amount, price, _bid, _ask: formulas.flat_amount(amount, ratio, liability) * price
    # a debt that counts for less than its value elsewhere: the smaller of the two lines is then not the one that holds
    return lambda amount, price, _bid, _ask: formulas.share_of(amount, liability if amount < 0 else ratio) * price


def tiered_by_amount(rule: AssetRule | None, slot: Collateral, convert: Convert) -> Valuation:
    """Marginal ratios by the amount of coins."""
    steps, liability = collateral_steps(rule, convert), convert(slot.liability_ratio)
    if len(steps.floors) == 1 and steps.end is None:
        return _one_ratio(steps.rates[0], liability)

    def value(amount: Num, price: Num, _bid: Num, _ask: Num) -> Num:
        if amount < 0:
            return formulas.share_of(amount, liability) * price
        row = steps.find(amount)
        return formulas.tier_amount(amount, steps.rates[row], steps.offsets[row]) * price

    return value


def tiered_by_value(rule: AssetRule | None, slot: Collateral, convert: Convert) -> Valuation:
    """Marginal ratios by the value of the holding."""
    by_amount = tiered_by_amount(rule, slot, convert)
    one = convert(Decimal(1))
    return lambda amount, price, bid, ask: by_amount(amount * price, one, bid, ask)


def bid_ask(_rule: AssetRule | None, _slot: Collateral, _convert: Convert) -> Valuation:
    """Owned at the bid rate, owed at the ask rate."""
    return lambda amount, _price, bid, ask: formulas.bid_ask_value(amount, bid, ask)


COLLATERAL: dict[str, Callable[[AssetRule | None, Collateral, Convert], Valuation]] = {
    "settle_asset": settle_asset,
    "flat": flat,
    "tiered_by_amount": tiered_by_amount,
    "tiered_by_value": tiered_by_value,
    "bid_ask": bid_ask,
}


def initial_valuation(rule: AssetRule | None, slot: Collateral, convert: Convert) -> Valuation | None:
    """What an asset counts for to open and to withdraw, where the profile states another ratio for that."""
    if rule is None or rule.initial_ratio is None:
        return None
    return _one_ratio(convert(rule.initial_ratio), convert(slot.liability_ratio))


# initial margin -------------------------------------------------------------------------------------------------------


def initial_steps(name: str, table: Sequence[Bracket], convert: Convert) -> Steps | None:
    """The marginal table of initial rates; None where a bracket states none."""
    rates = [bracket.initial_rate for bracket in table]
    stated = [rate for rate in rates if rate is not None]
    if len(stated) < len(rates):
        return None
    deductions = [Decimal(0)]
    for row in range(1, len(table)):
        deductions.append(
            formulas.bracket_deduction(table[row].notional_floor, stated[row], stated[row - 1], deductions[-1])
        )
    return Steps(
        f"initial margin table of {name}",
        [convert(bracket.notional_floor) for bracket in table],
        [convert(rate) for rate in stated],
        [convert(deduction) for deduction in deductions],
    )


# portfolio margin -----------------------------------------------------------------------------------------------------


def minimum_steps(slot: Scenarios, convert: Convert) -> Steps | None:
    """The multipliers of a minimum charge, each on the part of the charge inside its tier."""
    if not slot.minimum_tiers:
        return None
    deductions = [Decimal(0)]
    for previous, this in pairwise(slot.minimum_tiers):
        deductions.append(formulas.bracket_deduction(this.floor, this.multiplier, previous.multiplier, deductions[-1]))
    return Steps(
        "minimum charge",
        [convert(tier.floor) for tier in slot.minimum_tiers],
        [convert(tier.multiplier) for tier in slot.minimum_tiers],
        [convert(deduction) for deduction in deductions],
    )


def is_concave(slots: Slots) -> bool:
    """Whether headroom is concave along every line on which nothing but mark and index prices move together.

    The tables themselves are checked where they are read: rates never fall, ratios never rise.
    """
    maintenance = slots.maintenance_margin
    keyed_by_count = maintenance.key != "notional"
    return (
        maintenance.kind in CONCAVE_MAINTENANCE or keyed_by_count or slots.valuation.maintenance == "entry"
    ) and slots.collateral.liability_ratio >= 1
