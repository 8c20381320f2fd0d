"""The tables of a rule profile: brackets and tiers row by row, and what is said of one instrument or asset."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Self

from pydantic import model_validator

from crossmargin.model.account import AnySymbol
from crossmargin.model.number import Leverage, NonNegative, Positive, Rate
from crossmargin.model.source import RuleNoun


class Bracket(RuleNoun):
    """One step of a maintenance table; it applies above its floor up to and including the next.

    ``notional_floor`` counts in the table's key (value in the settle asset, contracts or coins). ``known_to``, on the
    last row, says how far the table is known: beyond it nothing is, and what leads there is an error or unknown.
    """

    notional_floor: NonNegative
    maintenance_rate: Rate | None = None
    max_leverage: Leverage | None = None
    initial_rate: Rate | None = None
    maintenance_deduction: NonNegative | None = None
    size_slope: Rate | None = None
    known_to: Positive | None = None


class CollateralTier(RuleNoun):
    """The collateral ratio of what lies above ``floor``, up to the next tier's floor."""

    floor: NonNegative
    collateral_ratio: Rate


class LiabilityTier(RuleNoun):
    """What a debt above ``floor`` (in the asset) holds of its whole value: to stay, and (at least that) to open."""

    floor: NonNegative
    maintenance_rate: Rate
    initial_rate: Rate | None = None


def check_brackets(brackets: tuple[Bracket, ...], *, steps: bool = False, loose_first: bool = False) -> list[str]:
    """Say what is wrong with a maintenance table: floors must rise from 0, rates must not fall."""
    wrong = []
    if not brackets:
        return ["the table is empty"]
    if brackets[0].notional_floor != 0 and not loose_first:
        wrong.append(f"the first floor is {brackets[0].notional_floor}, must be 0: a gap below it has no rule")
    end = brackets[-1].known_to
    if end is not None and end <= brackets[-1].notional_floor:
        wrong.append(f"known_to {end} is not above the last floor {brackets[-1].notional_floor}")
    for previous, this in pairwise(brackets):
        if previous.known_to is not None:
            wrong.append(f"known_to {previous.known_to} stands on a row that another one follows")
        if this.notional_floor <= previous.notional_floor:
            wrong.append(f"floor {this.notional_floor} follows {previous.notional_floor}: floors must rise")
        for name in ("maintenance_rate", "initial_rate"):
            low, high = getattr(previous, name), getattr(this, name)
            if low is not None and high is not None and high < low and not steps:
                wrong.append(f"{name} falls from {low} to {high} at floor {this.notional_floor}")
        if previous.max_leverage and this.max_leverage and this.max_leverage > previous.max_leverage:
            wrong.append(f"max_leverage rises from {previous.max_leverage} to {this.max_leverage}")
    return wrong


def check_tiers(tiers: tuple[CollateralTier, ...]) -> list[str]:
    """Say what is wrong with a collateral table: floors must rise from 0, ratios must not rise."""
    if not tiers:
        return ["the table is empty"]
    wrong = [] if tiers[0].floor == 0 else [f"the first floor is {tiers[0].floor}, must be 0"]
    for previous, this in pairwise(tiers):
        if this.floor <= previous.floor:
            wrong.append(f"floor {this.floor} follows {previous.floor}: floors must rise")
        if this.collateral_ratio > previous.collateral_ratio:
            wrong.append(f"collateral_ratio rises to {this.collateral_ratio} at floor {this.floor}")
    return wrong


def check_liabilities(rule: AssetRule) -> list[str]:
    """Say what is wrong with the tiers of a debt: floors must rise from 0, rates must not fall, one rule at a time."""
    tiers = rule.liability_tiers or ()
    if not tiers:
        return ["the table is empty"]
    wrong = [] if tiers[0].floor == 0 else [f"the first floor is {tiers[0].floor}, must be 0"]
    if rule.liability_maintenance_rate is not None or rule.liability_initial_rate is not None:
        wrong.append("given beside a rate for debts of any size; give one of them")
    for previous, this in pairwise(tiers):
        if this.floor <= previous.floor:
            wrong.append(f"floor {this.floor} follows {previous.floor}: floors must rise")
        if this.maintenance_rate < previous.maintenance_rate:
            wrong.append(f"maintenance_rate falls to {this.maintenance_rate} at floor {this.floor}")
    return wrong


class InstrumentRule(RuleNoun):
    """What an account file says of one instrument, over the profile: contract size, brackets, fee.

    ``brackets_as_of``: the profile's own table of that date, where a venue leaves positions that were opened before a
    change under the table of their time; :meth:`Profile.dated` looks it up.
    """

    symbol: AnySymbol
    contract_size: Positive | None = None
    brackets: tuple[Bracket, ...] | None = None
    brackets_as_of: date | None = None
    taker_fee: Rate | None = None

    @model_validator(mode="after")
    def _table_holds(self) -> Self:
        if self.brackets is not None and self.brackets_as_of is not None:
            raise ValueError("brackets_as_of: is given beside brackets; give one of them")
        if self.brackets is not None:
            wrong = check_brackets(self.brackets, loose_first=True)
            if wrong:
                raise ValueError("brackets: " + "; ".join(wrong))
        return self


class AssetRule(RuleNoun):
    """What one asset counts for as collateral: one ratio, or tiers, or bid and ask buffers.

    ``initial_ratio``: what it counts for to open and to withdraw, where that differs. The liability rates are what a
    debt of it holds as margin, of its value: one rate for any size, or ``liability_tiers``, whose tier's rate holds for
    the whole debt. ``known_to``: how far the ratios are known, in what their floors count.
    """

    asset: str
    collateral_ratio: Rate | None = None
    collateral_tiers: tuple[CollateralTier, ...] | None = None
    initial_ratio: Rate | None = None
    bid_buffer: Rate | None = None
    ask_buffer: Rate | None = None
    liability_maintenance_rate: Rate | None = None
    liability_initial_rate: Rate | None = None
    liability_tiers: tuple[LiabilityTier, ...] | None = None
    known_to: Positive | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.collateral_ratio is not None and self.collateral_tiers is not None:
            raise ValueError("collateral_tiers: is given beside collateral_ratio; give one of them")
        if self.collateral_tiers is not None:
            wrong = check_tiers(self.collateral_tiers)
            if wrong:
                raise ValueError("collateral_tiers: " + "; ".join(wrong))
        if self.liability_tiers is not None:
            wrong = check_liabilities(self)
            if wrong:
                raise ValueError("liability_tiers: " + "; ".join(wrong))
        if self.known_to is not None and (not self.tiers or self.known_to <= self.tiers[-1].floor):
            raise ValueError(f"known_to: {self.known_to} needs ratios whose last floor lies below it")
        return self

    def over(self, known: AssetRule | None) -> AssetRule:
        """This rule laid over a known one: liability rates alone leave what the asset counts for as it was."""
        stated = self.model_fields_set - {"asset"}
        rates = {"liability_maintenance_rate", "liability_initial_rate", "liability_tiers"}
        if known is None or not stated <= rates:
            return self
        return known.model_copy(update={name: getattr(self, name) if name in stated else None for name in rates})

    @property
    def tiers(self) -> tuple[CollateralTier, ...] | None:
        """The ratios as tiers, whichever way they were given."""
        if self.collateral_ratio is not None:
            return (CollateralTier(floor=Decimal(0), collateral_ratio=self.collateral_ratio),)
        return self.collateral_tiers
