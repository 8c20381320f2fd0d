"""How a market moves: every price of it times a factor, in one place, for numbers and for rays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market

Num = Any
_OF_CONTRACTS = ("mark_price", "last_price")
_OF_ASSETS = ("index_price", "bid_rate", "ask_rate")


def scaled(market: Market, contracts: Callable[[str], Num], assets: Callable[[str], Num]) -> Market:
    """The market after a move: each contract's mark and last price, each asset's index price, bid and ask rate.

    ``contracts``: symbol -> factor, ``assets``: asset -> factor; 1 stands still. Factors may be rays. What comes back
    is not validated again: a moved price has more digits than an input may have.
    """
    tables: dict[str, dict[str, Num]] = {}
    for names, factor in ((_OF_CONTRACTS, contracts), (_OF_ASSETS, assets)):
        for name in names:
            tables[name] = {key: price * factor(key) for key, price in getattr(market, name).items()}
    return market.model_copy(update=tables)


def coins_moved(market: Market, factors: Mapping[str, Num]) -> Market:
    """The market after coins have moved everywhere: every contract on a coin, and the coin itself; the rest stands."""
    return scaled(market, lambda symbol: factors.get(parse_symbol(symbol).base, 1), lambda asset: factors.get(asset, 1))
