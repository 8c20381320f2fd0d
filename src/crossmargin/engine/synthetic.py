"""A made-up book, seeded: for measuring, for trying things out, for ``crossmargin book generate``.

Heavy-tailed like a venue's: most pools hold a few positions in the popular contracts, some hold hundreds; values spread
over orders of magnitude; part of the positions is isolated; unified pools hold several assets. Nothing in it is
anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.book import Book
from crossmargin.engine.columns import Floats, frozen
from crossmargin.engine.prices import Prices
from crossmargin.errors import ProfileError
from crossmargin.model.brackets import Bracket, InstrumentRule
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.profile import Rules

_BIG = 60  # from so many positions on a pool's contracts are drawn evenly, else they would repeat
_LEVERAGES = np.array([1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 25.0, 50.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """A book, the prices it stands at, and the rules it is judged by (the profile's, with the made-up contracts)."""

    book: Book
    prices: Prices
    rules: Rules


def synthetic_book(
    rules: Rules,
    *,
    pools: int,
    seed: int = 7,
    positions: float = 5.0,
    longest: int = 500,
    instruments: int = 300,
    inverse: int = 19,
    isolated: float = 0.15,
    extra_holdings: float = 1.5,
    holdings: Sequence[str] | None = None,
    donors: Sequence[Rules] = (),
) -> Synthetic:
    """A book of about ``pools`` purses with ``positions`` each on average, the same for the same seed.

    ``instruments``: how many contracts, ``inverse`` of them coin-settled, each with a maintenance table of ``rules`` or
    of the ``donors``. ``longest``: the most positions of a purse. ``isolated``: the share of purses that are pockets of
    one position. ``extra_holdings``: how many more assets a shared purse holds on average, drawn from ``holdings``
    (None = all). Raises :class:`ProfileError` where nobody has a table.
    """
    if pools < 1 or instruments < 1 or not 0 <= inverse <= instruments:
        raise ProfileError("synthetic book", "pools and instruments must be 1 or more, inverse among the instruments")
    rng = np.random.default_rng(seed)
    contracts = _contracts([rules, *donors], instruments, inverse)
    symbols = tuple(rule.symbol for rule in contracts)
    parsed = [parse_symbol(symbol) for symbol in symbols]
    coins = list(dict.fromkeys([s.base for s in parsed]))
    assets = tuple(dict.fromkeys(["USDT", "USDC", *coins, *(s.settle for s in parsed), *(holdings or ())]))
    place = {name: code for code, name in enumerate(assets)}
    base = np.array([place[s.base] for s in parsed])
    settle = np.array([place[s.settle] for s in parsed])
    coin_settled = np.array([s.kind == "inverse" for s in parsed])
    coin_price = np.exp(rng.uniform(np.log(0.01), np.log(3000), len(assets)))
    for name, own in place.items():
        coin_price[own] = 1.0 if name in CASH else 60_000.0 if name == "BTC" else round(coin_price[own], 8)
    mark = np.round(coin_price[base] * rng.uniform(0.999, 1.001, len(base)), 10)
    pocket = rng.random(pools) < isolated
    purse, pair = _legs(rng, pocket, positions, longest, instruments)
    code = pair % instruments
    value = np.exp(rng.normal(np.log(3_000), 1.6, len(code)))  # in dollars
    contract_size = np.array([float(contract.contract_size or 1) for contract in contracts])
    count = np.where(coin_settled[code], value, value / mark[code]) / contract_size[code]
    step = 10.0 ** np.floor(np.log10(np.maximum(count, 1e-9)) - 2)
    quantity = np.round(np.round(np.maximum(count / step, 1.0)) * step, 12) * np.where(pair >= instruments, -1, 1)
    entry = np.round(mark[code] * np.exp(rng.normal(0, 0.06, len(code))), 8)
    leverage = _LEVERAGES[rng.integers(0, len(_LEVERAGES), len(code))]
    kept = np.array([place[name] for name in (assets if holdings is None else holdings)], np.int64)
    (owner, asset), holding_of = _holdings(rng, purse, settle[code], pocket, extra_holdings, len(assets), kept)
    amount = _amounts(rng, np.bincount(purse, value, pools).astype(np.float64)[owner], pocket[owner], coin_price[asset])
    order = np.lexsort((code, holding_of))
    book = Book(
        instruments=symbols,
        assets=assets,
        account=np.arange(pools),
        isolated=pocket,
        open_orders=np.zeros(pools, np.bool_),
        holding_start=_starts(owner, pools),
        asset=asset.astype(np.int32),
        amount=amount,
        bonus_credit=np.zeros(len(amount)),
        use_as_collateral=np.ones(len(amount), np.bool_),
        position_start=_starts(holding_of, len(amount)),
        instrument=code[order].astype(np.int32),
        quantity=quantity[order],
        entry_price=entry[order],
        leverage=leverage[order],
    )
    nan = np.full(len(assets), np.nan)
    prices = Prices(
        instruments=symbols,
        assets=assets,
        mark_price=frozen(mark),
        index_price=frozen(coin_price),
        bid_rate=frozen(nan),
        ask_rate=frozen(nan),
    )
    return Synthetic(book=book, prices=prices, rules=rules.with_overrides(contracts, ()))


def _starts(owner: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Offsets of the children of each row, from the row each child belongs to."""
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=rows))]).astype(np.int64)


def _amounts(rng: np.random.Generator, gross: Floats, pocket: NDArray[np.bool_], price: Floats) -> Floats:
    """What a holding is, in its asset: some share of the value of the purse's positions, now and then a debt."""
    dollars = gross * np.exp(rng.normal(np.log(0.25), 0.7, len(gross))) * np.where(pocket, 0.4, 1.0)
    owed = (rng.random(len(gross)) < 0.02) & ~pocket
    return np.round(np.where(owed, -0.2 * dollars, dollars) / price, 8)


def _contracts(sources: Sequence[Rules], count: int, inverse: int) -> tuple[InstrumentRule, ...]:
    """So many contracts, the named ones of the sources first, the rest made up with their tables by turns."""
    tables: dict[bool, dict[str, tuple[Bracket, ...]]] = {False: {}, True: {}}
    for rules in sources:
        for symbol, table in rules.brackets.items():
            known = parse_symbol(symbol)
            if known.expiry is None and known.kind != "spot" and known.base not in CASH:
                tables[known.kind == "inverse"].setdefault(symbol, table)
    found = []
    for kind, wanted in ((False, count - inverse), (True, inverse)):
        if wanted and not tables[kind]:
            why = f"no {'inverse' if kind else 'linear'} maintenance table is known; name donors that have one"
            raise ProfileError("synthetic book", why)
        given = list(tables[kind].items())
        for number in range(wanted):
            symbol, table = given[number % len(given)]
            if number >= len(given):
                symbol = f"C{number}/USD:C{number}" if kind else f"C{number}/USDT:USDT"
            stated = [row.contract_size(symbol) for row in sources if symbol in row.brackets]
            found.append(
                InstrumentRule(symbol=symbol, contract_size=stated[0] if stated and stated[0] else 1, brackets=table)
            )
    return tuple(found)


def _legs(
    rng: np.random.Generator, pocket: NDArray[np.bool_], mean: float, longest: int, instruments: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(purse, instrument + side) of every position, no pair twice in a purse."""
    pools = len(pocket)
    share = pocket.mean() if pools else 0.0
    shared_mean = (mean - share) / max(1 - share, 1e-9) * 1.12  # some of the popular draws repeat and are dropped
    count = np.exp(rng.normal(np.log(max(shared_mean, 1.0)) - 0.5, 1.0, pools))
    count = np.clip(np.ceil(count - 0.5), 1, min(longest, 2 * instruments)).astype(np.int64)
    count[pocket] = 1
    if pools and not pocket.all():
        count[np.flatnonzero(~pocket)[0]] = min(longest, 2 * instruments)
    purse = np.repeat(np.arange(pools), count)
    place = np.arange(len(purse)) - np.repeat(np.cumsum(count) - count, count)
    popular = np.minimum(rng.zipf(1.3, len(purse)) - 1, 10**9) % instruments
    popular += instruments * (rng.random(len(purse)) < 0.45)
    start = rng.integers(0, 2 * instruments, pools)
    even = (start[purse] + place) % (2 * instruments)
    pair = np.where(count[purse] >= _BIG, even, popular)
    key = np.unique(purse * (2 * instruments) + pair)
    return key // (2 * instruments), key % (2 * instruments)


def _holdings(
    rng: np.random.Generator,
    purse: NDArray[np.int64],
    settle: NDArray[np.int64],
    pocket: NDArray[np.bool_],
    extra: float,
    assets: int,
    kept: NDArray[np.int64],
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]:
    """((purse, asset) of every holding, the holding of each position): what positions settle in, and some more."""
    shared = np.flatnonzero(~pocket)
    more = rng.choice(shared, int(extra * len(shared))) if len(shared) else shared
    what = kept[np.minimum(rng.zipf(1.8, len(more)) - 1, 10**9) % len(kept)]
    keys = np.unique(np.concatenate([purse * assets + settle, more * assets + what]))
    return (keys // assets, keys % assets), np.searchsorted(keys, purse * assets + settle)
