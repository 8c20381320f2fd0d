"""A change to an account, to its market or to its rules: the hypothetical steps of a what-if, in one wire format.

Each kind is one table of keys, in Python a frozen noun of the same fields: ``{"kind": "order", "symbol": ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, InstanceOf, TypeAdapter, ValidationError, model_validator

from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.model.account import ContractSymbol, MarginMode, PositionSide, Quantity
from crossmargin.model.noun import Noun, faults_of
from crossmargin.model.number import Leverage, NonNegative, Positive, Rate
from crossmargin.model.profile import Rules
from crossmargin.model.scenario import Move


def _some(value: Decimal) -> Decimal:
    if value == 0:
        raise ValueError("is 0; a share is above 0, up to 1 for all of it")
    return value


Share = Annotated[Rate, AfterValidator(_some)]


class Order(Noun):
    """An order that fills: ``quantity`` in contracts, + buys and - sells, at its own ``price`` (default: the mark).

    ``fee_rate``: the profile's taker fee unless given. ``leverage``: that of the symbol unless given. ``margin_mode``:
    that of the position it adds to, else cross. ``isolated_margin``: what an isolated order brings into the pocket;
    unless given its value / leverage, or more where the pocket needs more to meet its own initial margin.
    """

    kind: Literal["order"] = "order"
    symbol: ContractSymbol
    quantity: Quantity
    price: Positive | None = None
    fee_rate: Rate | None = None
    leverage: Leverage | None = None
    position_side: PositionSide = "net"
    margin_mode: MarginMode | None = None
    isolated_margin: NonNegative | None = None

    @model_validator(mode="after")
    def _pocket(self) -> Self:
        if self.margin_mode == "cross" and self.isolated_margin is not None:
            raise ValueError("isolated_margin: is given for a cross order; set margin_mode = 'isolated' or drop it")
        return self


class Close(Noun):
    """A position closed, whole or in part: a ``share`` of it (0..1) or a ``quantity`` of contracts, at ``price``.

    Price and fee as for :class:`Order`.
    """

    kind: Literal["close"] = "close"
    symbol: ContractSymbol
    share: Share | None = None
    quantity: Positive | None = None
    price: Positive | None = None
    fee_rate: Rate | None = None
    position_side: PositionSide = "net"
    margin_mode: MarginMode | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.share is not None and self.quantity is not None:
            raise ValueError("quantity: is given beside share; give one of them, or none to close it all")
        return self


class Deposit(Noun):
    """An amount of an asset that arrives in the shared pool, in units of the asset."""

    kind: Literal["deposit"] = "deposit"
    asset: str
    amount: Positive


class Withdraw(Noun):
    """An amount of an asset that leaves the shared pool, in units of the asset."""

    kind: Literal["withdraw"] = "withdraw"
    asset: str
    amount: Positive


class Transfer(Noun):
    """Margin moved between the shared pool and an isolated pocket, in the settle asset: + into it, - out of it."""

    kind: Literal["transfer"] = "transfer"
    symbol: ContractSymbol
    amount: Quantity
    position_side: PositionSide = "net"


class SetLeverage(Noun):
    """Another leverage for every position and resting order in a symbol; a pocket's margin stays where it is."""

    kind: Literal["set_leverage"] = "set_leverage"
    symbol: ContractSymbol
    leverage: Leverage


class SetMarginMode(Noun):
    """A position made isolated or cross, its margin moved with it.

    ``isolated_margin``: what the new pocket gets; unless given the least that meets its own initial margin.
    """

    kind: Literal["set_margin_mode"] = "set_margin_mode"
    symbol: ContractSymbol
    margin_mode: MarginMode
    isolated_margin: NonNegative | None = None
    position_side: PositionSide = "net"

    @model_validator(mode="after")
    def _pocket(self) -> Self:
        if self.margin_mode == "cross" and self.isolated_margin is not None:
            raise ValueError("isolated_margin: goes back to the shared pool whole; drop it")
        return self


class MovePrice(Noun):
    """A price that moves: ``by`` a fraction of itself (-0.2 = 20 % down), or ``to`` a price.

    ``coin`` moves everything on the coin: its contracts and its index, bid and ask. ``symbol`` with ``to`` names the
    move by one contract's mark, and the coin moves with it. ``only = "index"``: a venue's own price of one asset,
    contracts stay (a depeg on one venue). ``only = "mark"``: contracts alone, for ``symbol`` that one alone.
    """

    kind: Literal["move_price"] = "move_price"
    coin: str | None = None
    symbol: ContractSymbol | None = None
    by: Move | None = None
    to: Positive | None = None
    only: Literal["index", "mark"] | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.coin is None) == (self.symbol is None):
            raise ValueError("coin: give one of coin and symbol")
        if (self.by is None) == (self.to is None):
            raise ValueError("by: give one of by (a fraction) and to (a price)")
        if self.symbol is not None and self.only == "index":
            raise ValueError("only: an index price is a coin's; give coin")
        return self


class ChangeRules(Noun):
    """Another rule profile, or the same at another date. In a file: ``profile`` and ``on``, loaded by the caller."""

    kind: Literal["change_rules"] = "change_rules"
    rules: InstanceOf[Rules]


class SetBalance(Noun):
    """Whether an asset counts as collateral."""

    kind: Literal["set_balance"] = "set_balance"
    asset: str
    use_as_collateral: bool


Change = (
    Order | Close | Deposit | Withdraw | Transfer | SetLeverage | SetMarginMode | MovePrice | ChangeRules | SetBalance
)
_CHANGE: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])

RulesOf = Callable[[str | None, str | None], Rules]
"""(profile id, date) -> rules; None = the account file's own."""


def changes_from(raw: Sequence[Mapping[str, Any]], rules_of: RulesOf | None = None) -> tuple[Change, ...]:
    """Read a list of changes in their wire form, as JSON or TOML gives it.

    ``rules_of`` loads what ``{"kind": "change_rules", "profile": ..., "on": ...}`` names. Raises
    :class:`AccountError` with every fault of every change and its path, ``changes[0].order.quantity``.

    >>> changes_from([{"kind": "deposit", "asset": "USDT", "amount": "100"}])[0].amount
    Decimal('100')
    """
    faults: list[Fault] = []
    found: list[Change] = []
    for index, item in enumerate(raw):
        path = f"changes[{index}]"
        try:
            found.append(_CHANGE.validate_python(_loaded(item, rules_of)))
        except ValidationError as error:
            faults += faults_of(error, path)
        except CrossmarginError as error:
            faults += [Fault(f"{path}.change_rules.{f.path}".rstrip("."), f.value, f.why) for f in error.faults]
    if faults:
        raise AccountError("changes", faults)
    return tuple(found)


def _loaded(item: Any, rules_of: RulesOf | None) -> Any:
    """The change with the rules that it names by profile and date in their place."""
    if not (isinstance(item, Mapping) and item.get("kind") == "change_rules" and "rules" not in item):
        return item
    unknown = sorted(set(item) - {"kind", "profile", "on"})
    if unknown:
        raise AccountError("changes", (Fault(unknown[0], repr(item[unknown[0]]), "is not a known key here"),))
    if rules_of is None:
        why = "rules are loaded by the command line; in Python pass ChangeRules(rules=...)"
        raise AccountError("changes", (Fault("profile", repr(item.get("profile")), why),))
    return {"kind": "change_rules", "rules": rules_of(item.get("profile"), item.get("on"))}
