"""The slots of a rule profile: what its file may say, each slot with its kind and its source.

A slot names a *kind* from a closed list; :mod:`crossmargin.engine.kinds` holds the arithmetic of each kind. The steps
of a liquidation stand in :mod:`crossmargin.model.programme`, the rows of tables in :mod:`crossmargin.model.brackets`.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from crossmargin.model.account import AnySymbol
from crossmargin.model.noun import SOME
from crossmargin.model.number import NonNegative, Positive, Rate
from crossmargin.model.programme import Liquidation
from crossmargin.model.source import RuleNoun, Slot, as_tuple


class Pooling(Slot):
    """Which holdings and positions stand or fall together; isolated positions are pockets of their own."""

    kind: Literal["per_settle_asset", "unified", "per_collateral_token"]
    isolated: bool = True


PriceUse = Literal["mark", "entry"]


class Valuation(Slot):
    """The price behind each requirement; unrealized PnL is always at mark."""

    initial: PriceUse = "mark"
    maintenance: PriceUse = "mark"


class Collateral(Slot):
    """What a unit of an asset counts for.

    ``settle_asset``: the pool's own asset at par. ``flat``: amount x index x ratio. ``tiered_by_amount`` and
    ``tiered_by_value``: marginal ratios by coin amount or by value. ``bid_ask``: positive amounts at the bid rate,
    negative ones and all requirements at the ask rate. Negative amounts count ``liability_ratio`` (1 = par) and hold
    ``liability_maintenance_rate`` of their value as maintenance margin, more to open where ``liability_initial_rate``
    says so; an asset's own rates go before both. ``liability_close_fee``: the maintenance rate of a debt comes with the
    taker fee, as that of a position does whose fee to close is held. ``liability_ratio = 0`` with a maintenance rate of
    1 counts a debt as a requirement and not against equity. ``unlisted`` says what an asset without a ratio is:
    refused, counted in full, or worth nothing. One asset owed beyond ``debt_limit`` (in the reference currency) is
    exchanged by the venue on its own: the report says so.
    """

    kind: Literal["settle_asset", "flat", "tiered_by_amount", "tiered_by_value", "bid_ask"]
    unlisted: Literal["refuse", "full", "nothing"] = "refuse"
    liability_ratio: Annotated[NonNegative, Field(le=10)] = Decimal(1)
    liability_maintenance_rate: Rate = Decimal(0)
    liability_initial_rate: Rate | None = None
    liability_close_fee: bool = False
    debt_limit: Positive | None = None


CountedPnl = Literal["all", "losses", "none"]


class Equity(Slot):
    """Which unrealized PnL counts as margin, whether the haircut applies to it, and whether bonus credit counts.

    ``unrealized_pnl_initial``: which PnL counts to open and to withdraw, where that differs from what keeps the pool.
    """

    unrealized_pnl: CountedPnl = "all"
    unrealized_pnl_initial: CountedPnl | None = None
    weighted: bool = False
    bonus_credit: bool = True


Scope = Literal["per_leg", "gross", "net", "larger_side"]
CloseFee = Literal["none", "bankruptcy", "mark", "entry"]


class OrderMargin(RuleNoun):
    """What resting orders hold: their value over leverage, the loss they would open with, and their fees.

    ``scope``: added to the positions' margin, or only the worse of the two sides that fills could leave
    (``worse_side``: max(|position + buys|, |position - sells|), valued at the mark). ``price = "assuming"``: a sell is
    taken at max(last x (1 + ``assuming_markup``), mark, its price). ``from_equity``: what they hold is taken out of
    equity too, so it no longer keeps the pool alive (``margin``: all of it; ``open_fee``: the fee only).
    """

    value: bool = True
    open_loss: bool = False
    open_fee: bool = False
    close_fee: bool = False
    scope: Literal["added", "worse_side"] = "added"
    price: Literal["order", "assuming"] = "order"
    assuming_markup: Rate = Decimal(0)
    from_equity: Literal["none", "open_fee", "margin"] = "none"


class InitialMargin(Slot):
    """The margin to open and keep a position at the user's leverage.

    ``leverage``: value / leverage. ``leverage_or_bracket``: value x max(1/leverage, the bracket's initial rate).
    ``marginal_brackets``: each bracket's initial rate on the part of the value inside it, at least value / leverage
    where a leverage is given. ``linear_in_size``: value x (initial rate + slope x size). ``multiple_of_maintenance``:
    ``multiple`` x the maintenance margin of the pool.
    """

    kind: Literal["leverage", "leverage_or_bracket", "marginal_brackets", "linear_in_size", "multiple_of_maintenance"]
    scope: Scope = "per_leg"
    close_fee: CloseFee = "none"
    orders: OrderMargin | None = None
    multiple: Annotated[Positive, Field(le=100)] | None = None

    @model_validator(mode="after")
    def _multiple_where_used(self) -> Self:
        if (self.kind == "multiple_of_maintenance") != (self.multiple is not None):
            raise ValueError("multiple: belongs to kind = 'multiple_of_maintenance', and that kind needs it")
        return self


class MaintenanceMargin(Slot):
    """The margin below which the pool is liquidated.

    ``marginal_brackets``: value x rate - deduction, continuous. ``step_brackets``: the rate of the bracket on the
    whole value. ``linear_in_size``: value x (rate + slope x size). ``highest_rate``: the highest rate of any
    position on the value of all. ``fraction_of_initial``: a share of the initial margin.
    ``key`` is what picks the bracket: the value in the settle asset, or the number of contracts or coins.
    ``rate = half_of_max_leverage`` derives each bracket's rate as 1 / (2 x max_leverage).
    ``worst_scenario``: for each coin the worst loss of everything on it together, by the profile's ``scenarios``.
    ``orders``: resting orders are charged as if filled, each side added to that side's positions (``added``), or only
    the larger side (``worse_side``; with ``scope = "net"`` the larger net size that fills of one side could leave).
    ``close_fee_rate`` is the rate of the fee to close where it is not the taker fee.
    A pool with positions or debts holds ``fixed_amount`` besides, in its own currency.
    """

    kind: Literal[
        "marginal_brackets", "step_brackets", "linear_in_size", "highest_rate", "fraction_of_initial", "worst_scenario"
    ]
    key: Literal["notional", "contracts", "coin"] = "notional"
    scope: Scope = "per_leg"
    rate: Literal["stated", "half_of_max_leverage"] = "stated"
    close_fee: CloseFee = "none"
    close_fee_rate: Rate | None = None
    fraction: Rate | None = None
    orders: Literal["none", "worse_side", "added"] = "none"
    fixed_amount: NonNegative = Decimal(0)


class CoinScenarios(RuleNoun):
    """The scenarios of some coins; ``coins`` empty = every coin that no other entry names.

    With ``net`` the value of everything on the coin (longs less shorts) and ``hedged`` the smaller of the two sides,
    the requirement is max(``price_move`` x |net|, ``extreme_share`` x ``extreme_move`` x |net|) + ``basis_rate`` x
    hedged, at least ``minimum_rate`` x the value of the contracts, scaled by the profile's ``minimum_tiers``.
    """

    coins: tuple[str, ...] = ()
    price_move: Rate
    extreme_move: Rate = Decimal(0)
    extreme_share: Rate = Decimal(1)
    basis_rate: Rate = Decimal(0)
    minimum_rate: Rate = Decimal(0)


class MinimumTier(RuleNoun):
    """The multiplier of the part of a minimum charge above ``floor`` (reference currency)."""

    floor: NonNegative
    multiplier: Annotated[Positive, Field(le=1000)]


class Scenarios(Slot):
    """Portfolio margin without options: per coin, net of hedges (``spot`` holdings hedge too where counted)."""

    spot: bool = True
    coins: Annotated[tuple[CoinScenarios, ...], SOME]
    minimum_tiers: tuple[MinimumTier, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        named = [coin for entry in self.coins for coin in entry.coins]
        if len(named) != len(set(named)):
            raise ValueError("coins: a coin is named twice")
        if [bool(entry.coins) for entry in self.coins].count(False) != 1:
            raise ValueError("coins: exactly one entry must name no coins, it holds for all others")
        if self.minimum_tiers and (
            self.minimum_tiers[0].floor != 0
            or any(b.floor <= a.floor or b.multiplier < a.multiplier for a, b in pairwise(self.minimum_tiers))
        ):
            raise ValueError("minimum_tiers: floors must rise from 0 and multipliers must not fall")
        return self


class Fees(Slot):
    """Trading fees as fractions of value, at the base level."""

    taker: Rate
    maker: Rate


Action = Literal["block", "call", "cancel_orders", "repay", "reduce", "liquidate"]


class Level(RuleNoun):
    """Reached when equity falls to ``multiple`` x the requirement."""

    name: str
    requirement: Literal["maintenance", "initial"]
    multiple: Annotated[Positive, Field(le=100)] = Decimal(1)
    action: Action


class Levels(Slot):
    """The ladder; the last level is the liquidation. ``trigger`` says whether equality already counts.

    ``price = "mark_and_last"``: a pool is liquidated only when the level is reached at mark prices and at last prices.
    """

    trigger: Literal["at_or_below", "below"] = "at_or_below"
    price: Literal["mark", "mark_and_last"] = "mark"
    ladder: Annotated[tuple[Level, ...], SOME]

    @model_validator(mode="after")
    def _one_liquidation_last(self) -> Self:
        if [level.action for level in self.ladder].count("liquidate") != 1 or self.ladder[-1].action != "liquidate":
            raise ValueError("ladder: must end with its one level whose action is 'liquidate'")
        if self.ladder[-1].requirement != "maintenance":
            raise ValueError("ladder: the liquidation level must be on the maintenance requirement")
        return self


class Funding(Slot):
    """How often funding is exchanged, on which price, and the most a rate may be an interval (either sign).

    ``caps`` are those of single contracts, before the ``cap`` of all.
    """

    interval_hours: Annotated[Positive, Field(le=24)]
    price: Literal["mark", "oracle"] = "mark"
    cap: Rate | None = None
    caps: dict[AnySymbol, Rate] = Field(default_factory=dict)

    def cap_of(self, symbol: str) -> Decimal | None:
        """The most a rate of this contract may be an interval; None where no rule says."""
        return self.caps.get(symbol, self.cap)


class Withdrawal(Slot):
    """What may leave, bonus credit never.

    ``available``: free collateral, at most what the wallet holds. ``available_less_losses``: the same, at most the
    wallet less the unrealized losses. ``available_less_profit``: free collateral without the unrealized profit, at most
    the wallet. ``keep_share``: equity, unrealized profit included, down to max(initial margin,
    share x value of positions). ``keep_ratio``: equity down to ``ratio`` x maintenance margin, at most the wallet.
    """

    kind: Literal["available", "available_less_losses", "available_less_profit", "keep_share", "keep_ratio"]
    share: Rate = Decimal(0)
    ratio: Annotated[Positive, Field(le=100)] = Decimal(1)


class Borrowing(Slot):
    """What a debt in an isolated spot pocket holds of its value: (1 + ``maintenance_rate``) x (1 + ``fee``) - 1.

    ``fee`` is the taker fee to buy back what is owed. An account file's instrument of the pair goes before both, by
    its table (floors in units of the coin that is owed) and its taker fee.
    """

    maintenance_rate: Rate
    fee: Rate


Burn = Literal["fee", "loss", "funding"]


class Bonus(Slot):
    """What becomes of bonus credit: what it pays, in what order, and when it is lost. It never leaves as money.

    ``pays``: which costs it may bear. ``first``: it pays them before own funds (else only when those are used up);
    ``share`` is the most of one cost that it bears. ``forfeited_on_transfer``: any transfer or withdrawal out of its
    asset ends it. ``isolated``: it may stand behind isolated positions too.
    """

    pays: tuple[Burn, ...] = ("fee", "loss", "funding")
    first: bool = True
    share: Annotated[Rate, Field(gt=0)] = Decimal(1)
    forfeited_on_transfer: bool = True
    isolated: bool = True


class ContractSizes(Slot):
    """Coins (linear) or quote units (inverse) in one contract where no table or account file says otherwise."""

    linear: Positive | None = None
    inverse: Positive | None = None


class IsolatedSlots(RuleNoun):
    """The slots that differ for isolated pockets."""

    valuation: Valuation | None = None
    initial_margin: InitialMargin | None = None
    maintenance_margin: MaintenanceMargin | None = None
    levels: Levels | None = None
    liquidation: Liquidation | None = None


class Tables(Slot):
    """Names of the CSV files beside the profile: brackets (one file or several), collateral, contract sizes."""

    brackets: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    collateral: str | None = None
    contracts: str | None = None


class Slots(RuleNoun):
    """Every slot of one revision."""

    pooling: Pooling
    valuation: Valuation
    collateral: Collateral
    equity: Equity
    initial_margin: InitialMargin
    maintenance_margin: MaintenanceMargin
    levels: Levels
    contract_sizes: ContractSizes
    fees: Fees | None = None
    funding: Funding | None = None
    withdrawal: Withdrawal | None = None
    borrowing: Borrowing | None = None
    bonus: Bonus | None = None
    scenarios: Scenarios | None = None
    liquidation: Liquidation | None = None
    isolated: IsolatedSlots | None = None
    tables: Tables | None = None

    @model_validator(mode="after")
    def _scenarios_where_used(self) -> Self:
        if (self.maintenance_margin.kind == "worst_scenario") != (self.scenarios is not None):
            raise ValueError("scenarios: belongs to maintenance_margin kind = 'worst_scenario', and that kind needs it")
        return self
