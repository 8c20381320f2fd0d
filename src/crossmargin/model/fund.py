"""A fund: several accounts, the ways capital can move between them, what it must survive and what it is after.

Everything is stated and nothing computed: :mod:`crossmargin.analytics.allocation` answers where the capital should sit.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, InstanceOf, model_validator

from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account, ContractSymbol
from crossmargin.model.market import Market
from crossmargin.model.noun import SOME, Noun
from crossmargin.model.number import Leverage, NonNegative, Number, Positive, Rate
from crossmargin.model.profile import Rules
from crossmargin.model.scenario import Move, Scenario

OUTSIDE = "outside"
"""The end of a route that is no account: where deposits come from and withdrawals go."""
_ZERO = Decimal(0)


class Member(NamedTuple):
    """One account of a fund with its market and its rules; it is known by the account's id."""

    account: Account
    market: Market
    rules: Rules


class Route(Noun):
    """A way for one asset from one account to another, or from or to ``outside``.

    ``fee`` is charged on each transfer, ``fee_rate`` on the amount; both are taken from what arrives. ``cost`` is what
    a unit sent costs besides, in the fund's currency: the price of capital from outside. ``minimum`` and ``maximum``
    bound what is sent, in units of the asset; less than the minimum is nothing. ``delay_hours`` is reported.
    """

    model_config = ConfigDict(populate_by_name=True)

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    asset: str
    fee: NonNegative = _ZERO
    fee_rate: Annotated[Rate, Field(lt=1)] = _ZERO
    cost: NonNegative = _ZERO
    minimum: NonNegative = _ZERO
    maximum: NonNegative | None = None
    delay_hours: NonNegative = _ZERO

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == self.target:
            raise ValueError("to: is where it comes from")
        if self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum: {self.minimum} is above the maximum of {self.maximum}")
        return self


class Conversion(Noun):
    """One asset sold for another inside an account at its index prices, less ``spread`` and ``fee_rate`` of the value.

    ``maximum`` in units sold.
    """

    account: str
    sell: str
    buy: str
    spread: Rate = _ZERO
    fee_rate: Rate = _ZERO
    maximum: NonNegative | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sell == self.buy:
            raise ValueError("buy: is what is sold")
        if self.spread + self.fee_rate >= 1:
            raise ValueError("spread: with the fee it takes all that is sold")
        return self


class Impact(Noun):
    """From ``quantity`` contracts on, the next ones cost this ``spread`` off the mark."""

    quantity: Positive
    spread: Rate


class FundOrder(Noun):
    """Trading in one contract that a plan may use, in the shared pool; of an isolated position it may close some.

    ``side``: what it may do; against a position it closes (never turning it round), else it opens. ``maximum`` a side
    in contracts; ``required``: this much must be traded. ``lot``: whole multiples only. It fills ``spread`` off the
    mark, more from each step of ``impact`` on, and pays ``fee_rate`` (default: the profile's taker fee).
    ``leverage``: of what it opens where no position in the symbol states one.
    """

    account: str
    symbol: ContractSymbol
    side: Literal["buy", "sell", "both"] = "both"
    maximum: NonNegative | None = None
    required: NonNegative = _ZERO
    lot: Positive | None = None
    fee_rate: Rate | None = None
    spread: Annotated[Rate, Field(lt=1)] = _ZERO
    impact: tuple[Impact, ...] = ()
    leverage: Leverage | None = None
    position_side: Literal["net", "long", "short"] = "net"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.maximum is not None and self.required > self.maximum:
            raise ValueError(f"required: {self.required} is above the maximum of {self.maximum}")
        if self.required and self.side == "both":
            raise ValueError("side: must be buy or sell where a quantity is required")
        steps = [(_ZERO, self.spread), *((step.quantity, step.spread) for step in self.impact)]
        if any(later[0] <= one[0] or later[1] < one[1] for one, later in pairwise(steps)):
            raise ValueError("impact: quantities must rise, and spreads must not fall")
        if self.impact and self.lot is not None:
            raise ValueError("impact: is given beside lot; give one of them")
        return self


class Pocket(Noun):
    """The margin of an isolated position may be moved to and from the shared pool, at most ``maximum`` either way."""

    account: str
    symbol: ContractSymbol
    position_side: Literal["net", "long", "short"] = "net"
    maximum: NonNegative | None = None


class LeverageChoice(Noun):
    """The leverage of a contract may be set to one of ``choices``.

    Without choices: every largest leverage that a bracket of the contract states.
    """

    account: str
    symbol: ContractSymbol
    choices: tuple[Leverage, ...] = ()


class ModeChoice(Noun):
    """A position may be made isolated, or cross, before anything else is done; its margin moves with it."""

    account: str
    symbol: ContractSymbol
    position_side: Literal["net", "long", "short"] = "net"


class Borrow(Noun):
    """An asset may be owed in an account: at most ``maximum`` units more than now, at ``rate`` a year."""

    account: str
    asset: str
    rate: NonNegative = _ZERO
    maximum: NonNegative | None = None


class Yield(Noun):
    """What an asset earns a year, as a fraction, in one account or (``account`` not given) in every one."""

    asset: str
    rate: NonNegative
    account: str | None = None


class Buffer(Noun):
    """What a pool keeps above its liquidation level: an ``amount`` in its currency and a ``share`` of that level.

    The level is the maintenance margin times the multiple at which the venue liquidates, nearly everywhere 1.
    """

    amount: NonNegative = _ZERO
    share: Annotated[NonNegative, Field(le=100)] = _ZERO


class PoolBuffer(Buffer):
    """The buffer of one account, or of one ``pool`` of it, in place of the common one."""

    account: str
    pool: str | None = None


class Ladder(Noun):
    """Single moves: each of ``coins`` alone by each of ``steps``, or without coins all of them together."""

    coins: tuple[str, ...] = ()
    steps: Annotated[tuple[Move, ...], SOME]


class AssetDepeg(Noun):
    """The index price of an asset moves on one venue alone, that of ``account``; marks and other venues stand still."""

    account: str
    asset: str
    moves: Annotated[tuple[Move, ...], SOME]


class Draws(Noun):
    """Random moves: ``count`` draws of ``days`` days from a normal market, the same for the same ``seed``.

    The covariance comes from a price ``history`` (coin -> daily closes, oldest first) or from daily ``volatility`` by
    coin with one ``correlation``. ``tail``: the share of the draws kept, those farthest out. ``probability``: the share
    of the draws that may break a buffer; without it none may.
    """

    count: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: int = 7
    days: Annotated[Positive, Field(le=365)] = Decimal(1)
    tail: Annotated[Rate, Field(gt=0)] = Decimal(1)
    history: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    volatility: dict[str, Positive] = Field(default_factory=dict)
    correlation: Annotated[Number, Field(ge=-1, le=1)] = _ZERO
    probability: Annotated[Rate, Field(lt=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.probability is not None and self.probability * self.count < 1:
            raise ValueError(f"probability: of {self.count} draws it lets not one break; leave it out or draw more")
        if bool(self.history) == bool(self.volatility):
            raise ValueError("volatility: give one of volatility and history")
        return self


class Safety(Buffer):
    """What every pool with positions or debts must survive with its buffer left, besides the present prices.

    ``box``: coin -> (low, high), every point of it. ``buffers`` go before the common ``amount`` and ``share``.
    ``in_transit``: the scenarios may also come while money is on its way, when it counts nowhere; a buffer that would
    be broken as the accounts stand may not be broken further then.
    """

    buffers: tuple[PoolBuffer, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    box: dict[str, tuple[Move, Move]] = Field(default_factory=dict)
    depegs: tuple[AssetDepeg, ...] = ()
    draws: Draws | None = None
    in_transit: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for coin, (low, high) in self.box.items():
            if low > high:
                raise ValueError(f"box: {coin} must be low, high; {low} is above {high}")
        names = [scenario.name for scenario in self.scenarios]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"scenarios: {', '.join(twice)} stands more than once")
        return self

    def buffer(self, account: str, pool: str) -> Buffer:
        """The buffer of a pool: its own, else its account's, else the common one."""
        for wanted in (pool, None):
            for own in self.buffers:
                if own.account == account and own.pool == wanted:
                    return own
        return self


ObjectiveKind = Literal[
    "least_cost", "most_freed", "largest_headroom", "least_collateral", "most_carry", "largest_position"
]
Weight = Literal["cost", "freed", "headroom", "collateral", "carry", "position"]


class Objective(Noun):
    """What is sought: a ``kind``, or ``weights`` for a mix; carry counts over ``horizon_days``."""

    kind: ObjectiveKind = "least_cost"
    weights: dict[Weight, NonNegative] = Field(default_factory=dict)
    horizon_days: Annotated[Positive, Field(le=3650)] = Decimal(30)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights: are all 0, so every plan is as good as any other")
        return self


class Fund(Noun):
    """Accounts, what can be moved, what must hold and what is sought.

    ``currency``: that of costs and of the objective. ``prices``: what a unit of an asset is worth in it, where no
    account's market says. ``quantum``: the least unit in which an asset is moved (default 1e-8). ``neutral``: coins of
    which the orders of a plan together may neither buy nor sell, so that a hedge over several venues stays one. Raises
    :class:`AccountError` with every fault.
    """

    id: str = "fund"
    currency: str
    members: tuple[InstanceOf[Member], ...]
    routes: tuple[Route, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    orders: tuple[FundOrder, ...] = ()
    pockets: tuple[Pocket, ...] = ()
    leverages: tuple[LeverageChoice, ...] = ()
    modes: tuple[ModeChoice, ...] = ()
    borrows: tuple[Borrow, ...] = ()
    yields: tuple[Yield, ...] = ()
    safety: Safety = Field(default_factory=Safety)
    objective: Objective = Field(default_factory=Objective)
    prices: dict[str, Positive] = Field(default_factory=dict)
    quantum: dict[str, Positive] = Field(default_factory=dict)
    neutral: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults = [*self._unknown_accounts(), *self._twice(), *self._orders_of_pockets()]
        if not self.members:
            faults.append(Fault("accounts", "", "is empty; a fund needs at least one account"))
        if faults:
            raise AccountError(f"fund {self.id}", faults)
        return self

    def _unknown_accounts(self) -> Iterator[Fault]:
        known = [member.account.id for member in self.members]
        words = f"is not an account of this fund; known are {', '.join(known)}"
        ends = [(f"routes[{i}].from", route.source) for i, route in enumerate(self.routes)]
        ends += [(f"routes[{i}].to", route.target) for i, route in enumerate(self.routes)]
        yield from (Fault(path, end, f"{words}, {OUTSIDE}") for path, end in ends if end not in (*known, OUTSIDE))
        named: list[tuple[str, str]] = []
        for name in ("conversions", "orders", "pockets", "leverages", "modes", "borrows"):
            named += [(f"{name}[{i}].account", item.account) for i, item in enumerate(getattr(self, name))]
        named += [(f"yields[{i}].account", item.account) for i, item in enumerate(self.yields) if item.account]
        named += [(f"safety.buffers[{i}].account", item.account) for i, item in enumerate(self.safety.buffers)]
        named += [(f"safety.depegs[{i}].account", item.account) for i, item in enumerate(self.safety.depegs)]
        yield from (Fault(path, account, words) for path, account in named if account not in known)

    def _twice(self) -> Iterator[Fault]:
        ids = [member.account.id for member in self.members]
        for name in sorted({name for name in ids if ids.count(name) > 1 or name == OUTSIDE}):
            yield Fault("accounts.id", name, "must be an id of its own (outside is the world around the fund)")
        for name, keys in (
            ("borrows", [(item.account, item.asset) for item in self.borrows]),
            ("yields", [(item.account or "", item.asset) for item in self.yields]),
            ("orders", [(item.account, item.symbol, item.position_side, item.side) for item in self.orders]),
            ("pockets", [(item.account, item.symbol, item.position_side) for item in self.pockets]),
            ("leverages", [(item.account, item.symbol) for item in self.leverages]),
            ("modes", [(item.account, item.symbol, item.position_side) for item in self.modes]),
        ):
            seen = set()
            for index, key in enumerate(keys):
                if key in seen:
                    yield Fault(f"{name}[{index}]", ", ".join(key), "stands more than once; a plan needs one of each")
                seen.add(key)

    def _orders_of_pockets(self) -> Iterator[Fault]:
        for member in self.members:
            held = [p for p in member.account.positions if p.margin_mode == "isolated"]
            shared = {p.symbol for p in member.account.positions if p.margin_mode == "cross"}
            for index, order in enumerate(self.orders):
                own = [p for p in held if p.symbol == order.symbol]
                if order.account != member.account.id or not own:
                    continue
                leg = next((p for p in own if p.position_side == order.position_side), None)
                closing = "sell" if leg is not None and leg.quantity > 0 else "buy"
                if leg is None or order.symbol in shared:
                    why = "is held isolated, and beside it shared or on another side; say which, by what-if, before"
                    yield Fault(f"orders[{index}].symbol", order.symbol, why)
                elif order.side != closing:
                    why = f"may only be {closing}: a plan closes what is held isolated, and adds nothing to it"
                    yield Fault(f"orders[{index}].side", order.side, why)
