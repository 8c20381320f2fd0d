"""A scenario: a named set of relative moves of coins, and of single index prices on one venue."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from crossmargin.model.noun import Noun
from crossmargin.model.number import parse_decimal


def _above_total_loss(value: Decimal) -> Decimal:
    if value <= -1:
        raise ValueError("must be above -1: a price cannot fall by 100 % or more (5 % down is -0.05)")
    return value


def _read(value: Any) -> Decimal:
    return parse_decimal(value)


Move = Annotated[Decimal, BeforeValidator(_read), AfterValidator(_above_total_loss)]
"""A relative move of a price, a fraction above -1: -0.05 is 5 % down."""


class Scenario(Noun):
    """What the market does, as fractions of the present prices.

    ``moves``: coin -> move of everything on the coin: its contracts' marks and its index price. ``index_moves``:
    asset -> move of the venue's own index price of the asset, instead of the coin's move; marks stay (a depeg on one
    venue). ``others``: the move of every coin that the scenario does not name; with it the scenario speaks of the
    whole market and may name coins that an account lacks. Without it, it speaks of one account: what it names must be
    held or traded there. Currencies and stablecoins stand still unless named.
    """

    name: str
    moves: dict[str, Move] = Field(default_factory=dict)
    index_moves: dict[str, Move] = Field(default_factory=dict)
    others: Move | None = None
    title: str = ""
    source: str = ""
