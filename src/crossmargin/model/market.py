"""The market at one instant: the prices and rates that an evaluation may use, and no others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from crossmargin.model.noun import Noun
from crossmargin.model.number import FundingRate, Positive


def _text_or_datetime(value: object) -> object:
    if isinstance(value, bool | int | float):
        raise ValueError("must be a date and time such as 2026-11-20T08:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999, in UTC too") from None


Instant = Annotated[datetime, BeforeValidator(_text_or_datetime), AfterValidator(_utc)]
"""A point in time; without a zone it is UTC."""

Prices = dict[str, Positive]


class MarketTables(Noun):
    """The prices and rates of a market. Every price is per unit of its quote; rates are fractions; intervals are hours.

    ``mark_price`` and ``last_price`` by symbol; ``index_price``, ``bid_rate`` and ``ask_rate`` by asset, in the
    profile's reference currency; ``funding_rate`` and ``funding_interval`` by symbol.
    """

    mark_price: Prices = Field(default_factory=dict)
    index_price: Prices = Field(default_factory=dict)
    last_price: Prices = Field(default_factory=dict)
    bid_rate: Prices = Field(default_factory=dict)
    ask_rate: Prices = Field(default_factory=dict)
    funding_rate: dict[str, FundingRate] = Field(default_factory=dict)
    funding_interval: Prices = Field(default_factory=dict)


class Market(MarketTables):
    """One snapshot: the tables of a moment."""

    as_of: Instant
