"""Funding that was paid: one row of a venue's list, as it printed it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import model_validator

from crossmargin.model.account import ContractSymbol
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun
from crossmargin.model.number import FundingRate, NonNegative, Number, Positive


class PaidFunding(Noun):
    """One payment of funding. ``payment`` is in ``currency``, above 0 = paid, below 0 = received, as printed.

    ``quantity`` counts contracts, + long and - short; ``notional`` is the value that the rate was charged on.
    ``funding_rate`` is the market's (longs pay a positive one), ``fee_rate`` the position's own (it pays a positive
    one): a list prints one of them, or none. What a row does not carry is None. ``symbol`` may be missing where a list
    is of one contract and does not name it.
    """

    time: Instant
    payment: Number
    symbol: ContractSymbol | None = None
    currency: str | None = None
    quantity: Number | None = None
    position_side: Literal["long", "short"] | None = None
    price: Positive | None = None
    notional: NonNegative | None = None
    funding_rate: FundingRate | None = None
    fee_rate: FundingRate | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.funding_rate is not None and self.fee_rate is not None:
            raise ValueError("fee_rate: is given beside funding_rate; a payment follows one of them")
        return self

    @property
    def long(self) -> bool | None:
        """Whether a long paid it; None where the row does not say."""
        if self.quantity:
            return self.quantity > Decimal(0)
        return None if self.position_side is None else self.position_side == "long"
