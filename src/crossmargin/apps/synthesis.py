"""A made-up book as files: the book, and the market with the contracts it is judged by."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from crossmargin.engine.columns import Floats
from crossmargin.engine.interchange import write_book
from crossmargin.engine.synthetic import Synthetic, synthetic_book
from crossmargin.files.profiles import load_profile
from crossmargin.model.number import plain
from crossmargin.model.profile import Rules
from crossmargin.model.report import to_json

_DONORS = ("binance-usdm", "binance-coinm")
"""Whose tables the contracts have where the profile has none of their kind."""


def write_synthetic(out: Path, *, profile: str, pools: int, seed: int, on: datetime | None = None) -> Path:
    """Write a book of about so many pools, and the market file whose path is returned (``BOOK.market.json``).

    The market restates each contract's size and maintenance table, so that the pair says all that a profile is asked
    beside its own rules. Raises :class:`ProfileError` for a profile that is not known.
    """
    chosen = load_profile(profile)
    when = on or datetime.combine(chosen.revisions[-1].since, datetime.min.time(), UTC)
    donors = [load_profile(name).revisions[-1] for name in _DONORS]
    made = synthetic_book(chosen.on(when), pools=pools, seed=seed, donors=donors)
    write_book(out, made.book)
    market = out.with_name(out.name + ".market.json")
    market.write_text(to_json(_market(made, when)) + "\n", encoding="utf-8")
    return market


def _market(made: Synthetic, when: datetime) -> dict[str, Any]:
    prices = made.prices
    return {
        "as_of": when,
        "market": {
            "mark_price": _table(prices.instruments, prices.mark_price),
            "index_price": _table(prices.assets, prices.index_price),
        },
        "instruments": [_instrument(symbol, made.rules) for symbol in prices.instruments],
        "assets": _assets(made),
    }


def _table(names: tuple[str, ...], column: Floats) -> dict[str, str]:
    return {name: plain(Decimal(repr(price))) for name, price in zip(names, column.tolist(), strict=True)}


def _instrument(symbol: str, rules: Rules) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contract_size": rules.contract_size(symbol),
        "brackets": [_stated(bracket) for bracket in rules.brackets[symbol]],
    }


def _assets(made: Synthetic) -> list[dict[str, Any]]:
    """A ratio for every made-up coin that the profile does not list, so that its pools can be judged."""
    known = made.rules.assets
    return [{"asset": name, "collateral_ratio": "0.9"} for name in made.book.assets if name not in known]


def _stated(noun: Any) -> dict[str, Any]:
    return {key: value for key, value in noun.model_dump().items() if value is not None}
