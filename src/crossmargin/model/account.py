"""An account: balances, positions and open orders, in the units the venue counts them in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun
from crossmargin.model.number import Leverage, NonNegative, Number, Positive

MarginMode = Literal["cross", "isolated"]
PositionSide = Literal["net", "long", "short"]


def _any_symbol(name: str) -> str:
    parse_symbol(name)
    return name


def _contract(name: str) -> str:
    if parse_symbol(name).kind == "spot":
        raise ValueError("is a spot pair; hold the coin as a balance")
    return name


def _not_zero(value: Decimal) -> Decimal:
    if value == 0:
        raise ValueError("is 0; leave the entry out")
    return value


AnySymbol = Annotated[str, AfterValidator(_any_symbol)]
ContractSymbol = Annotated[str, AfterValidator(_contract)]
Quantity = Annotated[Number, AfterValidator(_not_zero)]


class Balance(Noun):
    """What the account holds of one asset, in units of the asset.

    ``wallet_balance`` is what the shared pool holds (negative = borrowed); margin set aside in an isolated
    position is that position's ``isolated_margin`` and not counted here. ``bonus_credit`` is trial money that the
    venue lends as margin; ``accrued_interest`` is owed; ``locked`` is held by spot orders or earn products and
    cannot be withdrawn. From ``bonus_expires`` on the bonus credit counts nothing.
    """

    wallet_balance: Number = Decimal(0)
    bonus_credit: NonNegative = Decimal(0)
    accrued_interest: NonNegative = Decimal(0)
    locked: NonNegative = Decimal(0)
    use_as_collateral: bool = True
    bonus_expires: Instant | None = None

    def expired(self, when: datetime) -> bool:
        """Whether the bonus credit has run out."""
        return self.bonus_expires is not None and when >= self.bonus_expires


class Position(Noun):
    """One open position. ``quantity`` counts contracts, + long and - short; prices are per unit of the quote.

    ``isolated_margin`` is everything the position's own pocket holds, in the settle asset, fees reserved included.
    ``leverage`` is what the user set; without it the initial margin is unknown.
    """

    symbol: ContractSymbol
    quantity: Quantity
    entry_price: Positive
    leverage: Leverage | None = None
    margin_mode: MarginMode = "cross"
    isolated_margin: NonNegative | None = None
    position_side: PositionSide = "net"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.margin_mode == "isolated" and self.isolated_margin is None:
            raise ValueError("isolated_margin: is missing; an isolated position needs the margin of its own pocket")
        if self.margin_mode == "cross" and self.isolated_margin is not None:
            raise ValueError("isolated_margin: is given for a cross position; set margin_mode = 'isolated' or drop it")
        if (self.position_side == "long" and self.quantity < 0) or (
            self.position_side == "short" and self.quantity > 0
        ):
            raise ValueError(f"quantity: has the wrong sign for position_side {self.position_side!r} (+ long, - short)")
        return self


class OpenOrder(Noun):
    """One resting order. ``quantity`` + buys, - sells. Without ``leverage`` that of a position in the symbol counts."""

    symbol: AnySymbol
    quantity: Quantity
    price: Positive
    reduce_only: bool = False
    position_side: PositionSide = "net"
    leverage: Leverage | None = None


def _pair(name: str) -> str:
    if parse_symbol(name).kind != "spot":
        raise ValueError("is a contract; a pocket is of a spot pair, an isolated contract is a position")
    return name


def short_form(value: Any) -> Any:
    """``USDT = "2000"`` is short for a balance with that wallet_balance."""
    if isinstance(value, dict):
        return {k: v if isinstance(v, dict | Balance) else {"wallet_balance": v} for k, v in value.items()}
    return value


class Pocket(Noun):
    """Holdings and debts in the two coins of a spot pair that stand alone: an isolated position on borrowed coins.

    ``balances`` are in units of the coins, what is owed below 0, interest that is owed as ``accrued_interest``;
    margin put in is part of them. ``leverage`` is what the user set; without it the initial margin is unknown.
    """

    symbol: Annotated[str, AfterValidator(_pair)]
    balances: Annotated[dict[str, Balance], BeforeValidator(short_form)]
    leverage: Leverage | None = None

    @model_validator(mode="after")
    def _of_the_pair(self) -> Self:
        pair = parse_symbol(self.symbol)
        strange = sorted(set(self.balances) - {pair.base, pair.quote})
        if strange:
            raise ValueError(f"balances: {', '.join(strange)} is no coin of {self.symbol}")
        return self


class Account(Noun):
    """One account under one rule profile: what :func:`crossmargin.evaluate` judges."""

    id: str = "account"
    profile: str
    balances: Annotated[dict[str, Balance], BeforeValidator(short_form)] = Field(default_factory=dict)
    positions: tuple[Position, ...] = ()
    open_orders: tuple[OpenOrder, ...] = ()
    pockets: tuple[Pocket, ...] = ()

    @model_validator(mode="after")
    def _no_duplicates(self) -> Self:
        pairs = [pocket.symbol for pocket in self.pockets]
        twice = sorted({symbol for symbol in pairs if pairs.count(symbol) > 1})
        if twice:
            raise ValueError(f"pockets: {', '.join(twice)} stands more than once; a venue keeps one, add them up")
        seen: dict[tuple[str, str, str], int] = {}
        for index, position in enumerate(self.positions):
            key = (position.symbol, position.position_side, position.margin_mode)
            if key in seen:
                raise ValueError(
                    f"positions[{index}]: is the same symbol, side and mode as positions[{seen[key]}] "
                    f"({', '.join(key)}); a venue keeps one, add them up"
                )
            seen[key] = index
        return self
