"""The questions of an account, one table for the command line, the service and whoever else asks.

A question has a name (its verb), options (a model whose fields are the verb's long flags with ``_`` for ``-``) and an
``answer(subject, options)``, which is pure: equal subjects and options give equal bytes
(:func:`crossmargin.model.report.to_json` of the answer) whatever the door. A question's title is the first line of the
docstring of its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field

from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import MarginMode, PositionSide
from crossmargin.model.change import (
    Close,
    Deposit,
    MovePrice,
    Order,
    RulesOf,
    SetBalance,
    SetLeverage,
    SetMarginMode,
    Transfer,
    Withdraw,
    changes_from,
)
from crossmargin.model.fund import Fund, ObjectiveKind
from crossmargin.model.noun import SOME, Noun
from crossmargin.model.number import FundingRate, Leverage, NonNegative, Number, Positive, Rate
from crossmargin.model.report import ShockThreshold, Thresholds
from crossmargin.model.scenario import Move, Scenario

if TYPE_CHECKING:
    from crossmargin.analytics.covariance import Covariance
    from crossmargin.files.accounts import Case
    from crossmargin.model.history import Bar

MANY = 10_000
"""No list or table of options is longer."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
Moves = Annotated[dict[Name, Move], Field(max_length=MANY)]
Amounts = Annotated[dict[Name, Number], Field(max_length=MANY)]
Closes = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(max_length=MANY)]
PastRates = Annotated[tuple[Number, ...], Field(max_length=MANY)]
RulesNamed = Annotated[str, Field(max_length=100, description="PROFILE[@DATE]; @DATE alone: its own rules of a date.")]
Mode = Literal["as_held", "cross", "isolated", "hedged_cross"]


class Subject(NamedTuple):
    """What a question is asked of: an account in its market under its rules.

    ``rules_of``: the rules of another profile or date with what the account file restates of them (None = its own).
    ``bars``: the history that a replay leads the account through.
    """

    case: Case
    rules_of: RulesOf
    bars: tuple[Bar, ...] = ()

    def named(self, names: tuple[str, ...]) -> list[Any]:
        """The rules that ``PROFILE[@DATE]`` names, one for each."""
        parts = [name.partition("@") for name in names]
        return [self.rules_of(profile or None, date or None) for profile, _, date in parts]


class Options(Noun):
    """What can be said besides the account; every field may be left out unless the question needs it."""

    model_config = ConfigDict(use_attribute_docstrings=True, populate_by_name=True)


class NoOptions(Options):
    """Nothing can be said besides the account."""


# where it stands ------------------------------------------------------------------------------------------------------


class EvaluateOptions(Options):
    """Options of a report."""

    lines: bool = True
    """With every line; they are most of the answer, and of 10,000 positions 20 MB."""


def evaluate(subject: Subject, options: EvaluateOptions) -> Any:
    """Judge an account: equity, initial and maintenance margin, headroom, ratio and status."""
    from crossmargin.engine.reporting import evaluate as judge

    return judge(*subject.case, explain=options.lines)


def explain(subject: Subject, _options: NoOptions) -> Any:
    """Show where headroom comes from: the tree of figures down to inputs, each with its rule and source."""
    from crossmargin.apps.verbs.venues import sources_of
    from crossmargin.engine.reporting import evaluate as judge

    return {"lines": judge(*subject.case).lines, "sources": sources_of(subject.case.rules)}


class ThresholdOptions(Options):
    """Options of a threshold."""

    frozen: bool = False
    """Move only the contract's own mark, as the figure a venue prints does; by default the coin as collateral and
    every contract on it move together."""
    shock: Amounts = Field(default_factory=dict)
    """Also ask along a direction of your own, coin by coin: BTC 1 and ETH 1.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShockedThresholds(Thresholds):
    """Thresholds, and that of a direction of one's own."""

    shock: ShockThreshold


def threshold(subject: Subject, options: ThresholdOptions) -> Any:
    """Say at which price of each coin, and at which common move, the account is liquidated."""
    from crossmargin.analytics.threshold import Convention, threshold_along
    from crossmargin.analytics.threshold import threshold as ask

    convention: Convention = "frozen" if options.frozen else "coin"
    found = ask(*subject.case, convention=convention)
    if not options.shock:
        return found
    return ShockedThresholds(
        convention=found.convention,
        thresholds=found.thresholds,
        common_shock=found.common_shock,
        shock=threshold_along(*subject.case, options.shock, convention=convention),
    )


# what if --------------------------------------------------------------------------------------------------------------


class RulesChange(Noun):
    """Another rule profile, or the same at another date."""

    kind: Literal["change_rules"] = "change_rules"
    profile: Name | None = None
    on: Name | None = None


_Change = Annotated[
    Order | Close | Deposit | Withdraw | Transfer | SetLeverage | SetMarginMode | MovePrice | SetBalance | RulesChange,
    Field(discriminator="kind"),
]


class WhatIfOptions(Options):
    """Options of a what-if."""

    changes: Annotated[tuple[_Change, ...], Field(max_length=MANY, json_schema_extra={"minItems": 1}), SOME]
    """What changes, in this order."""


def whatif(subject: Subject, options: WhatIfOptions) -> Any:
    """Apply changes to a copy of the account: figures and thresholds before and after, and what would be refused."""
    from crossmargin.analytics.whatif import whatif as ask

    raw: list[Any] = [change.model_dump() if isinstance(change, RulesChange) else change for change in options.changes]
    return ask(*subject.case, changes_from(raw, subject.rules_of))


class CompareOptions(Options):
    """Options of a comparison."""

    with_: Annotated[tuple[RulesNamed, ...], Field(alias="with", max_length=20)] = ()
    """Also by these rules, or by its own of another @DATE."""
    mode: Annotated[tuple[Mode, ...], Field(max_length=4)] = ()
    """Only these margin modes. By default all that differ for this account."""


def compare(subject: Subject, options: CompareOptions) -> Any:
    """Compare margin modes and venues on the same positions: efficiency, what each default takes, thresholds."""
    from crossmargin.analytics.comparison import compare as ask

    return ask(*subject.case, subject.named(options.with_), modes=options.mode or None)


class MaxOrderOptions(Options):
    """Options of a largest order."""

    symbol: Name
    """The contract: BTC/USDT:USDT."""
    side: Literal["buy", "sell"]
    """Which way the order goes."""
    price: Positive | None = None
    """What it fills at; by default the mark."""
    leverage: Leverage | None = None
    """Its leverage; by default that of the position held."""
    fee_rate: Rate | None = None
    """The fee as a fraction of value; by default the taker fee."""
    position_side: PositionSide = "net"
    """The side it adds to, in hedge mode."""
    margin_mode: MarginMode | None = None
    """Open it cross or isolated; by default as the position held."""


def max_order(subject: Subject, options: MaxOrderOptions) -> Any:
    """Find the largest order that the rules admit, fees included: one last digit more would be refused."""
    from crossmargin.analytics.limits import max_order as ask

    return ask(*subject.case, **dict(options))


class MaxWithdrawOptions(Options):
    """Options of a largest withdrawal."""

    asset: Name
    """The asset to take out: USDT."""


def max_withdraw(subject: Subject, options: MaxWithdrawOptions) -> Any:
    """Find the most of an asset that the rules let out: one last digit more would be refused."""
    from crossmargin.analytics.limits import max_withdraw as ask

    return ask(*subject.case, options.asset)


class HedgeOptions(Options):
    """Options of a hedge."""

    trade: Amounts = Field(default_factory=dict)
    """Show the effect of these trades at the mark, contracts by symbol."""
    use: Annotated[tuple[Name | Amounts, ...], Field(max_length=100)] = ()
    """Solve for the size of these instruments; a pair is a table of weights by symbol."""
    headroom: Number = Decimal(0)
    """The headroom to restore, in the pool's currency."""
    distance: Number = Decimal(0)
    """The common move to survive either way; 0.3 is 30 %."""
    pool: Name | None = None
    """The pool to restore."""
    by: Literal["fee", "margin"] = "fee"
    """What the best hedge costs least of."""
    leverage: Leverage | None = None
    """The leverage of positions that a trade opens."""


def hedge(subject: Subject, options: HedgeOptions) -> Any:
    """Say what each position needs, what trades would free (--trade), and which hedge restores a target (--use)."""
    from crossmargin.analytics import hedge as ask
    from crossmargin.analytics.best_hedge import best_hedge

    if options.trade:
        return ask.hedge(*subject.case, options.trade, leverage=options.leverage)
    if options.use:
        target = {name: getattr(options, name) for name in ("headroom", "distance", "pool", "by", "leverage")}
        return {"choices": best_hedge(*subject.case, options.use, **target)}
    return {"requirements": ask.requirements(*subject.case), "pairs": ask.neutral_pairs(*subject.case)}


# what the market may do -----------------------------------------------------------------------------------------------


class StressOptions(Options):
    """Options of a stress."""

    move: Moves = Field(default_factory=dict)
    """A scenario of your own: the move of each coin, BTC -0.2 is 20 % down."""
    index: Moves = Field(default_factory=dict)
    """In it, a move of this venue's index price alone."""
    others: Move | None = None
    """In it, the move of every coin not named."""
    scenarios: Annotated[tuple[Scenario, ...], Field(max_length=MANY)] = ()
    """Scenarios from a TOML, JSON, CSV or Parquet file."""
    historical: bool = False
    """The days of falling markets that ship with crossmargin."""
    ladder: Name | None = None
    """One coin from -50 % to +50 %; all: every coin together."""
    map: tuple[Name, Name] | None = None
    """Headroom as two coins move apart."""
    box: Annotated[dict[Name, tuple[Number, Number]], Field(max_length=100)] = Field(default_factory=dict)
    """The worst while coins move within bounds: BTC from -0.3 to 0.2."""


def stress(subject: Subject, options: StressOptions) -> Any:
    """Say what a market move does: scenarios, ladders, worst cases; without options how far it is to the edge."""
    from crossmargin.analytics.box import worst_in_box
    from crossmargin.analytics.stress import depeg, heat_map, ladder, safety_buffer, worst_case
    from crossmargin.analytics.stress import stress as ask

    case, found = subject.case, dict[str, Any]()
    asked = _scenarios(options)
    if asked or options.ladder is not None:
        found["outcomes"] = ask(*case, asked)
        if options.ladder is not None:
            found["outcomes"] += ladder(*case, coin=None if options.ladder == "all" else options.ladder)
    if options.map is not None:
        found["heat_map"] = heat_map(*case, coin_x=options.map[0], coin_y=options.map[1])
    if options.box:
        found["box"] = worst_in_box(*case, bounds=options.box)
    if found:
        return found
    found["outcomes"] = ladder(*case)
    if any(position.leverage is not None for position in case.account.positions):
        found["worst_case"] = worst_case(*case)
    return {**found, "safety_buffer": safety_buffer(*case), "depeg": depeg(*case)}


def _scenarios(options: StressOptions) -> list[Scenario]:
    from crossmargin.files.scenarios import historical_scenarios

    asked: list[Scenario] = []
    if options.move or options.index or options.others is not None:
        asked.append(
            Scenario(name="yours", moves=options.move, index_moves=options.index, others=options.others),
        )
    return [*asked, *options.scenarios, *(historical_scenarios() if options.historical else ())]


class ReverseStressOptions(Options):
    """Options of a reverse stress."""

    history: Annotated[dict[Name, Closes], Field(max_length=500)] = Field(default_factory=dict)
    """Daily closes by coin, oldest first; the covariance's source."""
    volatility: Amounts = Field(default_factory=dict)
    """Instead: the daily volatility of each coin."""
    correlation: FundingRate = Decimal(0)
    """With it, one correlation for every pair."""
    horizon: Positive | None = None
    """Also the probability within so many days."""
    tails: Positive | None = None
    """Student-t moves with so many degrees of freedom; by default normal."""
    paths: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    """Paths of the simulation."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the simulation."""


def reverse_stress(subject: Subject, options: ReverseStressOptions) -> Any:
    """Say which plausible move liquidates the account first, how far it is, and how likely within a horizon."""
    from crossmargin.analytics.barrier import liquidation_probability
    from crossmargin.analytics.reverse_stress import reverse_stress as ask

    covariance = covariance_of(options)
    found = {"reverse_stress": ask(*subject.case, covariance)}
    if options.horizon is None:
        return found
    chance = liquidation_probability(
        *subject.case,
        covariance,
        horizon_days=options.horizon,
        degrees_of_freedom=options.tails,
        paths=options.paths,
        seed=options.seed,
    )
    return {**found, "probability": chance}


def covariance_of(options: ReverseStressOptions) -> Covariance:
    """The covariance that the options state, by history or by volatilities; one of them, else an error."""
    from crossmargin.analytics.covariance import correlated, estimate_covariance

    if bool(options.history) == bool(options.volatility):
        why = "give either --history FILE or --volatility COIN=FRACTION for every coin"
        raise AccountError("reverse-stress", (Fault("--history, --volatility", "", why),))
    if options.history:
        return estimate_covariance(options.history)
    daily = {coin: float(number) for coin, number in options.volatility.items()}
    return correlated(daily, float(options.correlation))


class SensitivityOptions(Options):
    """Options of a sensitivity."""

    threshold: Annotated[tuple[Name, ...], Field(max_length=MANY)] = ()
    """Also say what moves the thresholds of these symbols, or: all."""
    move: Number = Decimal("0.1")
    """The adverse move of safe leverage; 0.1 is 10 %."""
    volatility: Amounts = Field(default_factory=dict)
    """Also rank by these moves of coins: BTC 0.03."""


def sensitivity(subject: Subject, options: SensitivityOptions) -> Any:
    """Say what moves the account: the slope of headroom in every input, the worst first, and safe leverage."""
    from crossmargin.analytics.sensitivity import sensitivity as ask

    return ask(
        *subject.case,
        thresholds=None if options.threshold == ("all",) else options.threshold,
        move=options.move,
        volatility=options.volatility,
    )


class RunwayOptions(Options):
    """Options of a runway."""

    history: Annotated[dict[Name, PastRates], Field(max_length=500)] = Field(default_factory=dict)
    """Past funding rates: a list of rates for each symbol."""
    quantile: Annotated[tuple[Number, ...], Field(max_length=100)] = ()
    """Quantiles of the history, 0.9 of the cost."""
    paid: Amounts = Field(default_factory=dict)
    """Funding paid so far (below 0: received): shows how far it moved the thresholds."""


def runway(subject: Subject, options: RunwayOptions) -> Any:
    """Say what funding costs by interval and day, and when it alone brings headroom to zero."""
    from crossmargin.analytics.funding import runway as ask

    given: dict[str, Any] = {"quantiles": options.quantile} if options.quantile else {}
    return ask(*subject.case, history=options.history or None, paid=options.paid, **given)


# what becomes of it ---------------------------------------------------------------------------------------------------


class CascadeOptions(Options):
    """Options of a cascade."""

    coin: Name | None = None
    """Move this coin alone; by default every coin falls alike."""
    up: bool = False
    """Prices rise to the threshold; by default they fall."""
    gap: Number = Decimal(0)
    """The market jumps past the threshold by this fraction (-0.10 = 10 % below); orders are filled there."""
    with_: Annotated[tuple[RulesNamed, ...], Field(alias="with", max_length=20)] = ()
    """Also walk it by the rules of these profiles."""
    fund: Annotated[dict[Name, NonNegative], Field(max_length=100)] = Field(default_factory=dict)
    """What the venue's insurance fund holds; without it the fund is taken to hold enough."""


def cascade(subject: Subject, options: CascadeOptions) -> Any:
    """Walk the liquidation step by step: orders, reductions, take-over, fees, insurance fund, what the owner keeps."""
    from crossmargin.analytics.cascade import cascades

    account, market, rules = subject.case
    found = cascades(
        account,
        market,
        [rules, *subject.named(options.with_)],
        direction=None if options.coin is None else {options.coin: Decimal(1)},
        side="up" if options.up else "down",
        gap=options.gap,
        insurance_fund=options.fund,
    )
    return {"cascades": found}


class ReplayOptions(Options):
    """Options of a replay."""

    with_: Annotated[tuple[RulesNamed, ...], Field(alias="with", max_length=20)] = ()
    """Also by these rules, or by its own of another @DATE."""
    mode: Annotated[tuple[Mode, ...], Field(max_length=4)] = ("as_held",)
    """Margin modes, side by side. By default as held."""
    enter: bool = False
    """Enter the positions at the first close, whatever entry the file gives."""


def replay(subject: Subject, options: ReplayOptions) -> Any:
    """Lead an account through a price and funding history: equity, headroom, funding paid, liquidations."""
    from crossmargin.analytics.replay import entered
    from crossmargin.analytics.replay import replay as ask

    account, market, rules = subject.case
    start = entered(account, subject.bars[0]) if options.enter and subject.bars else account
    runs = ask(start, market, rules, subject.bars, others=subject.named(options.with_), modes=options.mode)
    return {"runs": runs}


# capital --------------------------------------------------------------------------------------------------------------


class AllocateOptions(Options):
    """Options of an allocation."""

    objective: ObjectiveKind | None = None
    """Instead of the file's: least_cost, most_freed, largest_headroom, least_collateral, most_carry or
    largest_position."""
    buffer: NonNegative | None = None
    """Instead of the file's common share of maintenance margin; 0.2 is 20 %."""
    frontier: Annotated[int, Field(ge=2, le=100)] | None = None
    """So many plans, with the buffers from nothing to twice as stated."""
    dry_run: bool = False
    """Check the file and say what would be decided, without solving."""


def allocate(fund: Fund, options: AllocateOptions, progress: Callable[[str], None] | None = None) -> Any:
    """Say which moves keep every pool of a fund safe at least cost, or free the most; it advises, it never trades."""
    from crossmargin.analytics.allocation import allocate as ask
    from crossmargin.analytics.allocation import frontier, outline

    stated = overridden(fund, options)
    if options.dry_run:
        return outline(stated)
    if options.frontier is None:
        return ask(stated, progress=progress)
    steps = options.frontier - 1
    levels = [(Decimal(2) * step / steps).quantize(Decimal("0.0001")) for step in range(options.frontier)]
    return {"frontier": frontier(stated, levels, progress=progress)}


def overridden(fund: Fund, options: AllocateOptions) -> Fund:
    """The fund with what the options say in place of its file."""
    update: dict[str, Any] = {}
    if options.objective is not None:
        objective = fund.objective.model_copy(update={"kind": options.objective, "weights": {}})
        update["objective"] = objective
    if options.buffer is not None:
        update["safety"] = fund.safety.model_copy(update={"share": options.buffer})
    return fund.model_copy(update=update)


# the table ------------------------------------------------------------------------------------------------------------


class Question(NamedTuple):
    """One question: what may be said besides its subject, and how it is answered."""

    options: type[Options]
    answer: Callable[..., Any]
    subject: Literal["account", "replay", "fund"] = "account"
    slow: bool = False
    """Whether an answer may take seconds: it must not keep quick ones waiting."""

    @property
    def title(self) -> str:
        """What it answers, in one line."""
        return (self.answer.__doc__ or "").splitlines()[0]


QUESTIONS: Mapping[str, Question] = {
    "evaluate": Question(EvaluateOptions, evaluate),
    "threshold": Question(ThresholdOptions, threshold),
    "explain": Question(NoOptions, explain),
    "stress": Question(StressOptions, stress),
    "reverse-stress": Question(ReverseStressOptions, reverse_stress, slow=True),
    "sensitivity": Question(SensitivityOptions, sensitivity),
    "runway": Question(RunwayOptions, runway),
    "hedge": Question(HedgeOptions, hedge),
    "whatif": Question(WhatIfOptions, whatif),
    "compare": Question(CompareOptions, compare),
    "max-order": Question(MaxOrderOptions, max_order),
    "max-withdraw": Question(MaxWithdrawOptions, max_withdraw),
    "cascade": Question(CascadeOptions, cascade),
    "replay": Question(ReplayOptions, replay, subject="replay", slow=True),
    "allocate": Question(AllocateOptions, allocate, subject="fund", slow=True),
}
"""Every question by the name of its verb."""
