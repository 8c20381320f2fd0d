"""The liquidation programme of a profile: the steps by which a venue takes a pool down, each with its own keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crossmargin.model.account import AnySymbol
from crossmargin.model.noun import SOME
from crossmargin.model.number import NonNegative, Rate
from crossmargin.model.source import RuleNoun, Slot


class CancelOrders(RuleNoun):
    """Cancel resting orders: every one of the account, or those in the symbols of the pool that breaks."""

    step: Literal["cancel_orders"]
    scope: Literal["all", "symbol"] = "all"


class Repay(RuleNoun):
    """Repay debts from the other assets, sold ``buffer`` (a fraction) below their index price."""

    step: Literal["repay"]
    buffer: Annotated[Rate, Field(lt=1)] = Decimal(0)


class OffsetTwoSided(RuleNoun):
    """Close long against short at mark: of the same symbol, or of every linear contract on the same coin."""

    step: Literal["offset_two_sided"]
    match: Literal["symbol", "coin"] = "symbol"


class Closing(RuleNoun):
    """What the steps that close have in common.

    ``price``: the market's (mark, worse by the fraction ``discount``: slippage or a liquidator's reward), or the
    pool's bankruptcy price, where the insurance fund is the counterparty.
    """

    price: Literal["mark", "bankruptcy"] = "mark"
    discount: Rate = Decimal(0)

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if self.price == "bankruptcy" and self.discount:
            raise ValueError("discount: is given beside price = 'bankruptcy'; a discount is one on the mark price")
        return self


class ReduceToRequirement(Closing):
    """Close just enough, largest loss first, for the pool to stand above its requirement again."""

    step: Literal["reduce_to_requirement"]
    price: Literal["mark"] = "mark"


class ReduceByBracket(Closing):
    """Bring a position down by so many maintenance brackets at a time, largest loss first."""

    step: Literal["reduce_by_bracket"]
    brackets: Annotated[int, Field(ge=1, le=100)] = 1


class ReduceSlice(Closing):
    """Send a share of a position worth more than ``above_notional`` (settle asset) first; then wait the cooldown."""

    step: Literal["reduce_slice"]
    share: Annotated[Rate, Field(gt=0, lt=1)]
    above_notional: NonNegative = Decimal(0)
    cooldown_seconds: NonNegative = Decimal(0)


class LargestLossFirst(Closing):
    """Close whole positions one after another, the largest unrealized loss first."""

    step: Literal["largest_loss_first"]


class ProRata(Closing):
    """Close the same share of every position: the smallest that suffices, or (``whole``) all of it."""

    step: Literal["pro_rata"]
    price: Literal["mark"] = "mark"
    whole: bool = False


class TakeOver(RuleNoun):
    """The insurance fund takes positions over at the bankruptcy price: one after another, or all of the pool."""

    step: Literal["take_over"]
    scope: Literal["position", "pool"] = "position"


class Backstop(RuleNoun):
    """Below ``share_of_maintenance`` x the maintenance margin a backstop takes the pool and all its margin."""

    step: Literal["backstop"]
    share_of_maintenance: Rate


class InsuranceFund(RuleNoun):
    """The insurance fund pays what a flat pool owes."""

    step: Literal["insurance_fund"]


class AutoDeleverage(RuleNoun):
    """What the fund cannot bear is closed at the bankruptcy price against profitable traders, by this ranking."""

    step: Literal["auto_deleverage"]
    ranking: str


LiquidationStep = Annotated[
    CancelOrders
    | Repay
    | OffsetTwoSided
    | ReduceToRequirement
    | ReduceByBracket
    | ReduceSlice
    | LargestLossFirst
    | ProRata
    | TakeOver
    | Backstop
    | InsuranceFund
    | AutoDeleverage,
    Field(discriminator="step"),
]
"""One step of a programme; each kind has its own keys and no others."""

_CLOSES_ALL = {"largest_loss_first", "pro_rata", "take_over"}


class Liquidation(Slot):
    """What the venue does with a pool that has reached its liquidation level, step by step until it stands again.

    ``liquidation_fee`` is a fraction of the value closed at the market, ``liquidation_fees`` the same for single
    symbols; without one the taker fee is paid. ``remainder`` says who gets what the market gives better than the
    bankruptcy price at a take-over.
    """

    programme: Annotated[tuple[LiquidationStep, ...], SOME]
    liquidation_fee: Rate | None = None
    liquidation_fees: dict[AnySymbol, Rate] = Field(default_factory=dict)
    remainder: Literal["insurance_fund", "owner"] = "insurance_fund"

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if not _CLOSES_ALL & {rule.step for rule in self.programme}:
            raise ValueError(f"programme: has no step that closes everything; add one of {sorted(_CLOSES_ALL)}")
        return self
