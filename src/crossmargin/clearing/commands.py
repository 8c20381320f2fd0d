"""Commands to the books of record: what a client may ask, one JSON object a line, every field with both bounds.

A command carries its ``command_id`` (the client's, kept for ever) and ``at``, the time it speaks of. Ids, times and
prices come in from outside; nothing behind this door looks at a clock or draws a random number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, InstanceOf, TypeAdapter, ValidationError, model_validator

from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.model.account import ContractSymbol, MarginMode, PositionSide, Quantity
from crossmargin.model.brackets import AssetRule, InstrumentRule
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun, faults_of
from crossmargin.model.number import FundingRate, Leverage, NonNegative, Positive, Rate, plain
from crossmargin.model.profile import Rules

CODES = (
    "duplicate",  # the name is taken
    "unknown_name",  # no such account, order, asset or rule
    "halted",  # trading is stopped
    "stale_prices",  # a price that the decision needs is missing or too old
    "late",  # older than what is known already, or settled already
    "implausible",  # a price or a clock too far from the last
    "insufficient_margin",
    "insufficient_balance",
    "wrong_size",  # finer than the quantum, more than is there
    "wrong_state",  # the account is not in a state in which this means anything
    "unknown_rule",  # the rules do not say what this needs
)
"""Why a command can be refused."""

MAX_LINE = 1_000_000
"""Bytes of the longest command line that is read."""

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
AccountId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Asset = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,24}$")]
Partition = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,15}$")]
TransferId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,35}$")]
INSURANCE_FUND = "@insurance_fund"


def _decimal_places(value: Decimal) -> Decimal:
    if value == 0 or value > 1 or value.normalize().as_tuple().digits != (1,):
        raise ValueError("must be a power of ten from 0.000000000000000001 to 1")
    return value


Quantum = Annotated[Positive, AfterValidator(_decimal_places)]


class Command(Noun):
    """What every command has."""

    command_id: Id
    at: Instant


class Start(Command):
    """The first command of a journal: the venue's settings.

    ``quantum``: the smallest amount of an asset that an account is booked in, ``default_quantum`` for the others.
    ``max_age_seconds``: a price older than this decides nothing. ``max_move``: the largest relative move of a price
    between two fresh ticks; a larger one must be ``confirmed``. ``max_step_seconds``: the furthest the clock may jump
    between two commands; ``resume`` sets it right. ``grace_seconds``: no liquidation so long after a ``resume``.
    ``max_orders``: resting orders an account may have. ``partition``: the name of these books among several, see
    :mod:`crossmargin.clearing.partitions`.
    """

    kind: Literal["start"] = "start"
    quantum: dict[Asset, Quantum] = Field(default_factory=dict)
    default_quantum: Quantum = Decimal("0.00000001")
    max_age_seconds: Annotated[Positive, Field(le=86400)] = Decimal(10)
    max_move: Annotated[Positive, Field(le=1000)] = Decimal("0.5")
    max_step_seconds: Annotated[Positive, Field(le=31_622_400)] = Decimal(3600)
    grace_seconds: Annotated[NonNegative, Field(le=86400)] = Decimal(0)
    max_orders: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 200
    partition: Partition | None = None


class ChangeRules(Command):
    """The rules of a profile from now on: a profile and a date, with what the venue restates; loaded by the caller."""

    kind: Literal["change_rules"] = "change_rules"
    profile: str
    on: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    instruments: tuple[InstrumentRule, ...] = ()
    assets: tuple[AssetRule, ...] = ()
    rules: InstanceOf[Rules] | None = Field(default=None, exclude=True)


class OpenAccount(Command):
    """An account under one profile."""

    kind: Literal["open_account"] = "open_account"
    account: AccountId
    profile: str


class Deposit(Command):
    """An amount that arrives from outside in the shared pool of an account, or in ``@insurance_fund``."""

    kind: Literal["deposit"] = "deposit"
    account: AccountId | Literal["@insurance_fund"]
    asset: Asset
    amount: Positive


class Withdraw(Command):
    """An amount that leaves for the outside."""

    kind: Literal["withdraw"] = "withdraw"
    account: AccountId | Literal["@insurance_fund"]
    asset: Asset
    amount: Positive


class Transfer(Command):
    """Margin between the shared pool and a pocket, in the settle asset: + into the pocket, - out of it."""

    kind: Literal["transfer"] = "transfer"
    account: AccountId
    symbol: ContractSymbol
    position_side: PositionSide = "net"
    amount: Quantity


class _Transit(Command):
    """A command about a transfer between partitions: its id says which, so that each can happen once only."""

    transfer_id: TransferId

    def name(self) -> str:
        """The one ``command_id`` that it may have."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.command_id != self.name():
            raise ValueError(f"command_id: must be {self.name()}, so that this happens once only")
        return self


class Send(_Transit):
    """An amount that leaves for an account of another partition; from then on it is in transit."""

    kind: Literal["send"] = "send"
    account: AccountId | Literal["@insurance_fund"]
    asset: Asset
    amount: Positive
    to_partition: Partition
    to_account: AccountId | Literal["@insurance_fund"]

    def name(self) -> str:
        """``send:`` and the transfer's id."""
        return f"send:{self.transfer_id}"


class Receive(_Transit):
    """An amount that arrives from another partition; a refusal is final, and the amount goes back."""

    kind: Literal["receive"] = "receive"
    account: AccountId | Literal["@insurance_fund"]
    asset: Asset
    amount: Positive
    from_partition: Partition
    to_partition: Partition

    def name(self) -> str:
        """``receive:``, the partition it comes from and the transfer's id."""
        return f"receive:{self.from_partition}:{self.transfer_id}"


class CloseTransfer(_Transit):
    """The end of a transfer where it began: it has arrived, or it was refused there and comes back."""

    kind: Literal["close_transfer"] = "close_transfer"
    arrived: bool

    def name(self) -> str:
        """``close:`` and the transfer's id."""
        return f"close:{self.transfer_id}"


class GrantBonus(Command):
    """Trial money that the venue lends as margin; it never leaves."""

    kind: Literal["grant_bonus"] = "grant_bonus"
    account: AccountId
    asset: Asset
    amount: Positive


class SetLeverage(Command):
    """The leverage of a symbol, for positions, resting orders and what follows."""

    kind: Literal["set_leverage"] = "set_leverage"
    account: AccountId
    symbol: ContractSymbol
    leverage: Leverage


class SetMarginMode(Command):
    """Whether a symbol and side stand on the shared pool or on a pocket of their own; no order may rest there.

    ``isolated_margin``: what an open position takes with it into its pocket.
    """

    kind: Literal["set_margin_mode"] = "set_margin_mode"
    account: AccountId
    symbol: ContractSymbol
    margin_mode: MarginMode
    position_side: PositionSide = "net"
    isolated_margin: NonNegative | None = None

    @model_validator(mode="after")
    def _pocket(self) -> Self:
        if self.margin_mode == "cross" and self.isolated_margin is not None:
            raise ValueError("isolated_margin: goes back to the shared pool whole; drop it")
        return self


class PlaceOrder(Command):
    """A resting order; ``quantity`` in contracts, + buys, - sells; ``price`` is the worst it may be filled at."""

    kind: Literal["place_order"] = "place_order"
    account: AccountId
    order_id: Id
    symbol: ContractSymbol
    quantity: Quantity
    price: Positive
    reduce_only: bool = False
    position_side: PositionSide = "net"


class CancelOrder(Command):
    """A resting order taken back."""

    kind: Literal["cancel_order"] = "cancel_order"
    account: AccountId
    order_id: Id


class Fill(Command):
    """A fill of a resting order, whole or in part, in contracts signed as the order; ``fee_rate``: taker unless given.

    It has happened: margin does not refuse it.
    """

    kind: Literal["fill"] = "fill"
    account: AccountId
    order_id: Id
    quantity: Quantity
    price: Positive
    fee_rate: Rate | None = None


class Mark(Command):
    """The mark price of a contract at ``at``, with the last traded one for rules that look at it.

    ``confirmed``: a move beyond the venue's limit is meant.
    """

    kind: Literal["mark"] = "mark"
    symbol: ContractSymbol
    price: Positive
    last_price: Positive | None = None
    confirmed: bool = False


class Index(Command):
    """The index price of an asset at ``at`` in the reference currency; bid and ask rates where a venue has them."""

    kind: Literal["index"] = "index"
    asset: Asset
    price: Positive
    bid_rate: Positive | None = None
    ask_rate: Positive | None = None
    confirmed: bool = False

    @model_validator(mode="after")
    def _not_crossed(self) -> Self:
        if self.bid_rate is not None and self.ask_rate is not None and self.bid_rate > self.ask_rate:
            raise ValueError("bid_rate: is above the ask_rate")
        return self


class SettleFunding(Command):
    """Funding of one contract for the interval that ends at ``interval_end``; rate > 0 is paid by longs."""

    kind: Literal["settle_funding"] = "settle_funding"
    symbol: ContractSymbol
    interval_end: Instant
    rate: FundingRate


class AccrueInterest(Command):
    """Interest on debts of one asset for the interval that ends at ``interval_end``: debt x rate."""

    kind: Literal["accrue_interest"] = "accrue_interest"
    asset: Asset
    interval_end: Instant
    rate: Rate


class LiquidateStep(Command):
    """The next step of the profile's liquidation programme on one pool."""

    kind: Literal["liquidate_step"] = "liquidate_step"
    account: AccountId
    pool: str


class Halt(Command):
    """Trading stops: no orders that increase risk, no fills, no money out, no liquidation."""

    kind: Literal["halt"] = "halt"


class Resume(Command):
    """Trading goes on from ``at``; the one command that may set the clock further than a step."""

    kind: Literal["resume"] = "resume"


AnyCommand = (
    Start
    | ChangeRules
    | OpenAccount
    | Deposit
    | Withdraw
    | Transfer
    | Send
    | Receive
    | CloseTransfer
    | GrantBonus
    | SetLeverage
    | SetMarginMode
    | PlaceOrder
    | CancelOrder
    | Fill
    | Mark
    | Index
    | SettleFunding
    | AccrueInterest
    | LiquidateStep
    | Halt
    | Resume
)
_ANY: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="kind")])

RulesOf = Callable[[str, str], Rules]
"""(profile id, date) -> rules; what the caller's files say."""


# the wire -------------------------------------------------------------------------------------------------------------


def read(line: str | bytes, rules_of: RulesOf | None = None) -> tuple[AnyCommand, str]:
    """One line as a command and its canonical text, by which two commands are the same.

    Raises :class:`AccountError` with every fault and its path. ``rules_of`` loads what ``change_rules`` names.

    >>> read('{"kind": "halt", "at": "2026-11-20T08:00:00Z", "command_id": "h1"}')[1]
    '{"at":"2026-11-20T08:00:00Z","command_id":"h1","kind":"halt"}'
    """
    if len(line) > MAX_LINE:
        raise AccountError("command", (Fault("(line)", f"{len(line)} bytes", f"is longer than {MAX_LINE} bytes"),))
    try:
        raw = decode(line if isinstance(line, str) else line.decode())
    except (ValueError, RecursionError) as error:
        raise AccountError("command", (Fault("(line)", "", f"is not JSON: {error}"),)) from None
    return read_object(raw, rules_of)


def read_object(raw: Any, rules_of: RulesOf | None = None) -> tuple[AnyCommand, str]:
    """The same for an object that is JSON already, as Python has it."""
    try:
        command = _ANY.validate_python(raw)
    except ValidationError as error:
        kind = raw.get("kind") if isinstance(raw, Mapping) else None
        faults = [
            Fault(fault.path.removeprefix(f"{kind}.") or "kind", fault.value, fault.why) for fault in faults_of(error)
        ]
        raise AccountError("command", faults) from None
    if isinstance(command, ChangeRules) and command.rules is None and rules_of is not None:
        try:
            found = rules_of(command.profile, command.on).with_overrides(command.instruments, command.assets)
        except CrossmarginError as error:
            raise AccountError("command", error.faults) from None
        command = command.model_copy(update={"rules": found})
    return command, canonical(raw)


decode = json.JSONDecoder(parse_float=Decimal, parse_constant=str).decode
"""A JSON text as Python has it, numbers read exactly."""


def canonical(value: Any) -> str:
    """The one text of a JSON value: keys sorted, no blanks, ASCII, decimals as plain strings."""
    return _ENCODE(value)


def _default(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_default, check_circular=False).encode
