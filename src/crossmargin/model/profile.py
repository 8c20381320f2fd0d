"""A rule profile: one venue's account mode as slots of data, each with its kind, its date and its source.

A slot names a *kind* from a closed list; :mod:`crossmargin.engine.kinds` holds the arithmetic of each kind. A
revision restates only the slots that changed at its date; the loader merges them in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from crossmargin.errors import CrossmarginError, Fault, ProfileError
from crossmargin.model.account import AnySymbol
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.noun import SOME, Noun
from crossmargin.model.number import Leverage, NonNegative, Positive, Rate

Status = Literal["documented", "observed", "assumed"]


class RuleNoun(Noun):
    """A noun of the law: its faults are the profile's."""

    error_class: ClassVar[type[CrossmarginError]] = ProfileError


class Source(RuleNoun):
    """Where a rule was read, when, and how sure it is."""

    title: str
    url: str = ""
    retrieved: date
    status: Status


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


SourceIds = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Slot(RuleNoun):
    """One rule; ``source`` names entries of the profile's sources."""

    source: SourceIds
    note: str = ""


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


class IsolatedSlots(RuleNoun):
    """The slots that differ for isolated pockets."""

    valuation: Valuation | None = None
    initial_margin: InitialMargin | None = None
    maintenance_margin: MaintenanceMargin | None = None
    levels: Levels | None = None
    liquidation: Liquidation | None = None


class Tables(Slot):
    """Names of the CSV files beside the profile: brackets (one file or several), collateral, contract sizes."""

    brackets: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules in force for one account at one date: a revision, its tables, and the account file's own overrides."""

    profile: str
    venue: str
    account_mode: str
    reference_currency: str
    since: date
    slots: Slots
    sources: Mapping[str, Source]
    brackets: Mapping[str, tuple[Bracket, ...]]
    contract_sizes: Mapping[str, Decimal]
    assets: Mapping[str, AssetRule]
    taker_fees: Mapping[str, Decimal]
    row_sources: Mapping[str, frozenset[str]]
    """The sources of the table rows of each symbol and asset."""
    overridden: frozenset[str] = frozenset()

    def with_overrides(self, instruments: tuple[InstrumentRule, ...], assets: tuple[AssetRule, ...]) -> Rules:
        """These rules with what an account file restates for single instruments and assets.

        Raises :class:`ProfileError` for a table that is named by its date only and was not looked up.
        """
        if not instruments and not assets:
            return self
        why = "a table of another date is known to account files only; give its brackets here"
        undated = [rule for rule in instruments if rule.brackets_as_of is not None]
        if undated:
            faults = [Fault(f"instruments {r.symbol}.brackets_as_of", str(r.brackets_as_of), why) for r in undated]
            raise ProfileError(f"profile {self.profile}", faults)
        brackets, sizes, fees = dict(self.brackets), dict(self.contract_sizes), dict(self.taker_fees)
        for rule in instruments:
            if rule.brackets is not None:
                brackets[rule.symbol] = rule.brackets
            if rule.contract_size is not None:
                sizes[rule.symbol] = rule.contract_size
            if rule.taker_fee is not None:
                fees[rule.symbol] = rule.taker_fee
        return replace(
            self,
            brackets=brackets,
            contract_sizes=sizes,
            taker_fees=fees,
            assets={**self.assets, **{rule.asset: rule.over(self.assets.get(rule.asset)) for rule in assets}},
            overridden=self.overridden | {r.symbol for r in instruments} | {r.asset for r in assets},
        )

    def slots_for(self, *, isolated: bool) -> Slots:
        """The slots of a shared pool, or of an isolated pocket."""
        own = self.slots.isolated
        if not isolated or own is None:
            return self.slots
        stated = {name: getattr(own, name) for name in IsolatedSlots.model_fields if getattr(own, name) is not None}
        if own.maintenance_margin is not None and own.maintenance_margin.kind != "worst_scenario":
            stated["scenarios"] = None  # a pocket with a rule of its own is no part of the shared pool's scenarios
        return self.slots.model_copy(update=stated)

    def contract_size(self, symbol: str) -> Decimal | None:
        """Coins or quote units in one contract, or None where no rule says.

        A dated contract that no rule names has the size of its pair's perpetual, which is how venues list them.
        """
        parsed = parse_symbol(symbol)
        stated = self.contract_sizes.get(symbol)
        if stated is None and parsed.expiry is not None:
            stated = self.contract_sizes.get(symbol.replace(f"-{parsed.expiry}", ""))
        if stated is not None:
            return stated
        return self.slots.contract_sizes.inverse if parsed.kind == "inverse" else self.slots.contract_sizes.linear

    def taker_fee(self, symbol: str) -> Decimal | None:
        """The fee of a taker as a fraction of value, or None where no rule says."""
        return self.taker_fees.get(symbol, self.slots.fees.taker if self.slots.fees else None)

    def liability_rates(self, asset: str) -> tuple[Decimal, Decimal | None]:
        """What a debt of an asset holds as maintenance margin and to open, of its value; None: no rate of its own.

        The fee to close is that of the dearest contract settled in the asset whose fee is stated, else the venue's.
        """
        slot, rule = self.slots.collateral, self.assets.get(asset)
        kept, opened = slot.liability_maintenance_rate, slot.liability_initial_rate
        if rule is not None and rule.liability_maintenance_rate is not None:
            kept, opened = rule.liability_maintenance_rate, rule.liability_initial_rate
        if slot.liability_close_fee:
            stated = [
                fee for symbol, fee in self.taker_fees.items() if symbol.partition(":")[2].partition("@")[0] == asset
            ]
            general = self.slots.fees.taker if self.slots.fees else None
            kept += max(stated, default=general or Decimal(0))
        return kept, opened

    def assumed(self, names: Iterable[str], *, pairs: Iterable[str] = ()) -> tuple[str, ...]:
        """The titles of what is only assumed in these slots and in the table rows of these symbols and assets.

        ``pairs``: the spot pairs of pockets, which follow the borrowing rule unless the account file restates theirs.
        """
        cited = _cited(self.slots)
        if self.slots.borrowing is not None and set(pairs) - self.overridden:
            cited |= set(self.slots.borrowing.source)
        for name in names:
            if name not in self.overridden:
                cited |= self.row_sources.get(name, frozenset())
        return tuple(
            source.title for key, source in self.sources.items() if key in cited and source.status == "assumed"
        )


def _cited(slots: RuleNoun) -> set[str]:
    """The ids of every source that slots and the slots inside them name; the tables' own rows name theirs.

    What happens after a liquidation, and what bonus credit pays, decide no figure of a report: their sources are cited
    by the walk itself. The borrowing rule counts where there is a pocket that follows it.
    """
    cited: set[str] = set()
    for value in vars(slots).values():
        if isinstance(value, Slot) and not isinstance(value, Tables | Liquidation | Bonus | Borrowing):
            cited |= set(value.source)
        if isinstance(value, RuleNoun):
            cited |= _cited(value)
    return cited


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One venue account mode: its identity and its revisions, oldest first, each with complete rules."""

    id: str
    venue: str
    account_mode: str
    reference_currency: str
    revisions: tuple[Rules, ...]
    aliases: Mapping[str, str]

    def on(self, when: datetime | date) -> Rules:
        """The rules in force at a date (UTC); before the first revision there are none, which is an error."""
        day = when.astimezone(UTC).date() if isinstance(when, datetime) else when
        for rules in reversed(self.revisions):
            if rules.since <= day:
                return rules
        first = self.revisions[0].since
        fault = Fault("as_of", day.isoformat(), f"no rules are known before {first}; use a date from then on")
        raise ProfileError(f"profile {self.id}", (fault,))

    def dated(self, instruments: Iterable[InstrumentRule], when: datetime | date) -> tuple[InstrumentRule, ...]:
        """The same with every ``brackets_as_of`` looked up: the brackets of that date, for an account of ``when``.

        Raises :class:`ProfileError` with every table that is not there, and with those that another rule read then
        (whole positions instead of parts, contracts instead of values): the table alone would not be the old rule.
        """
        found: list[InstrumentRule] = []
        faults: list[Fault] = []
        for rule in instruments:
            day = rule.brackets_as_of
            if day is None:
                found.append(rule)
                continue
            then = self.on(day) if day >= self.revisions[0].since else None
            table = None if then is None else then.brackets.get(rule.symbol)
            why = None
            if then is None or table is None:
                why = f"has no table of it then (rules are known from {self.revisions[0].since}); give its brackets"
            elif _reading(then) != _reading(self.on(when)):
                why = "read its tables by another rule then; a table of that time cannot stand under the present one"
            if why is not None:
                faults.append(Fault(f"instruments {rule.symbol}.brackets_as_of", str(day), f"{self.id} {why}"))
                continue
            found.append(rule.model_copy(update={"brackets": table, "brackets_as_of": None}))
        if faults:
            raise ProfileError(f"profile {self.id}", faults)
        return tuple(found)


def _reading(rules: Rules) -> tuple[tuple[str, str], ...]:
    """How maintenance tables are read, in shared pools and in pockets."""
    slots = (rules.slots_for(isolated=law).maintenance_margin for law in (False, True))
    return tuple((slot.kind, slot.key) for slot in slots)
