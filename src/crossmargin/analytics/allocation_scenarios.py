"""Which market moves must every pool of a fund survive?

One table for the whole fund: a row is a scenario, a column a coin, and a few index prices have columns of their own (a
depeg, on every venue or on one). The table is floats for speed; a row is read back exactly, because every move in it is
a decimal of at most 15 digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.compiled import INDEX, compile_scenarios
from crossmargin.analytics.covariance import Covariance, correlated, estimate_covariance
from crossmargin.analytics.stress import Applied, moved
from crossmargin.analytics.threshold import coins_of, is_priced
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.fund import Draws, Safety
from crossmargin.model.instrument import CASH
from crossmargin.model.market import Market
from crossmargin.model.number import plain
from crossmargin.model.scenario import Scenario

Floats = NDArray[np.float64]
NOW = "present prices"
_DIGITS = 9
_ZERO = Decimal(0)


class Shocks:
    """The scenarios of a fund. Row 0 is the present market; rows are only ever added."""

    def __init__(self, coins: Sequence[str], accounts: Sequence[str]) -> None:
        self.coins = list(coins)
        self.place = {coin: column for column, coin in enumerate(self.coins)}
        self.accounts = list(accounts)
        self.names: list[str] = []
        self._blocks: list[Floats] = []
        self._whole: Floats | None = None
        self._index: dict[tuple[str | None, str], dict[int, float]] = {}
        self.drawn = range(0)
        """The rows of random moves of which so many (``spare``) may break."""
        self.spare = 0
        self.add([NOW], np.zeros((1, len(self.coins))))

    def __len__(self) -> int:
        return len(self.names)

    def add(self, names: Sequence[str], moves: Floats) -> None:
        """More rows, one column a coin."""
        self.names += names
        self._blocks.append(moves)
        self._whole = None

    def add_moves(self, name: str, moves: Mapping[str, Decimal]) -> None:
        """One row from the moves of some coins."""
        row = np.zeros((1, len(self.coins)))
        for coin, move in moves.items():
            row[0, self.place[coin]] = _exact(move, f"{name}.{coin}")
        self.add([name], row)

    def add_index(self, account: str | None, asset: str, move: Decimal) -> None:
        """The last row also moves an index price alone, on one venue or (None) on all."""
        self._index.setdefault((account, asset), {})[len(self) - 1] = _exact(move, asset)

    @property
    def moves(self) -> Floats:
        """The whole table (scenarios x coins)."""
        if self._whole is None:
            self._whole = self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks)
            self._blocks = [self._whole]
        return self._whole

    def _own_index(self, account: int) -> dict[str, dict[int, float]]:
        """By asset: the rows in which its index price moves alone for an account."""
        found: dict[str, dict[int, float]] = {}
        for (where, asset), rows in self._index.items():
            if where in (None, self.accounts[account]):
                found[asset] = {**found.get(asset, {}), **rows}
        return found

    def applied(self, account: int, row: int) -> Applied:
        """One scenario as it applies to one account, in exact decimals."""
        moves = self.moves[row]
        changed = {self.coins[column]: _decimal(moves[column]) for column in np.flatnonzero(moves)}
        own = {asset: _decimal(rows[row]) for asset, rows in self._own_index(account).items() if row in rows}
        return Applied(changed, own, ())

    def market(self, prepared: Prepared, account: int, row: int) -> Market:
        """The market of an account after a scenario, exactly."""
        return prepared.market if row == 0 else moved(prepared, self.applied(account, row))

    def rooms(self, prepared: Prepared, account: int) -> Floats:
        """Headroom of every pool of a prepared account (in floats) in every scenario: (scenarios x pools)."""
        coins = coins_of(prepared)
        valued = {a.name for pool in prepared.pools if is_priced(pool) for a in pool.assets}
        index = {asset: rows for asset, rows in self._own_index(account).items() if asset in valued and asset in coins}
        try:
            compiled = compile_scenarios(prepared, coins=coins, index_assets=list(index))
        except UnsupportedRule:
            return self._one_by_one(prepared, account)
        table = np.empty((len(self), len(compiled.columns)))
        for column, name in enumerate(compiled.columns):
            coin = name.removesuffix(INDEX)
            table[:, column] = self.moves[:, self.place[coin]]
            if name.endswith(INDEX):
                for row, move in index[coin].items():
                    table[row, column] = move
        return compiled(table)

    def _one_by_one(self, prepared: Prepared, account: int) -> Floats:
        """The judge on floats, scenario after scenario: for rules that no table of terms can hold."""
        rooms = np.empty((len(self), len(prepared.pools)))
        ladders = [pool.ladder for pool in prepared.pools]
        for row in range(len(self)):
            again = prepare(
                prepared.account, self.market(prepared, account, row), prepared.rules, number=prepared.number
            )
            for column, (pool, ladder) in enumerate(zip(again.pools, ladders, strict=True)):
                pool.ladder = ladder
                rooms[row, column] = measure(pool).headroom
        return rooms


def _exact(move: Decimal, where: str) -> float:
    value = float(move)
    if Decimal(repr(value)) != move:
        raise AccountError("scenarios", (Fault(where, plain(move), "has more than 15 digits"),))
    return value


def _decimal(move: Any) -> Decimal:
    return Decimal(repr(float(move)))


# from what is stated --------------------------------------------------------------------------------------------------


def shocks_of(safety: Safety, prepared: Sequence[Prepared], more: Iterable[str] = ()) -> Shocks:
    """The scenarios of a fund, a column for each coin of its accounts and of ``more``, which a plan may add.

    Raises :class:`AccountError` for a scenario about coins that no account holds or trades, and for a covariance that
    lacks a coin.
    """
    coins = list(dict.fromkeys([coin for one in prepared for coin in coins_of(one)] + list(more)))
    shocks = Shocks(coins, [one.account.id for one in prepared])
    _check(safety, coins)
    for scenario in safety.scenarios:
        shocks.add_moves(scenario.name, _moves(scenario, coins))
        for asset, move in scenario.index_moves.items():
            shocks.add_index(None, asset, move)
    risky = [coin for coin in coins if coin not in CASH]
    for ladder in safety.ladders:
        for coin in ladder.coins or (None,):
            for step in ladder.steps:
                name = f"{coin or 'all coins'} {plain(step * 100)} %"
                shocks.add_moves(name, dict.fromkeys([coin] if coin else risky, step))
    for depeg in safety.depegs:
        for step in depeg.moves:
            shocks.add_moves(f"{depeg.asset} {plain(step * 100)} % on {depeg.account} alone", {})
            shocks.add_index(depeg.account, depeg.asset, step)
    if safety.draws is not None:
        _add_draws(shocks, safety.draws, risky)
    return shocks


def _check(safety: Safety, coins: Sequence[str]) -> None:
    named: list[tuple[str, Iterable[str]]] = [("safety.box", safety.box)]
    named += [(f"safety.ladders[{i}].coins", ladder.coins) for i, ladder in enumerate(safety.ladders)]
    named += [(f"safety.depegs[{i}].asset", (depeg.asset,)) for i, depeg in enumerate(safety.depegs)]
    for scenario in safety.scenarios:
        if scenario.others is None:
            named.append((f"scenario {scenario.name}", [*scenario.moves, *scenario.index_moves]))
    words = f"is not held or traded in this fund; known are {', '.join(coins)}"
    faults = [Fault(path, coin, words) for path, own in named for coin in own if coin not in coins]
    if faults:
        raise AccountError("safety", faults)


def _moves(scenario: Scenario, coins: Sequence[str]) -> dict[str, Decimal]:
    """As :func:`crossmargin.analytics.stress.applied` reads a scenario, for the whole fund."""
    found = {}
    for coin in coins:
        move = scenario.moves.get(coin)
        if move is None and coin not in CASH and coin not in scenario.index_moves:
            move = scenario.others
        if move is not None:
            found[coin] = move
    return found


def _add_draws(shocks: Shocks, draws: Draws, risky: Sequence[str]) -> None:
    """Normal moves by the covariance; the farthest out by Mahalanobis distance where only a tail is kept."""
    covariance = _covariance(draws)
    drivers = [coin for coin in risky if coin in covariance.coins]
    matrix = covariance.of(list(risky)) * float(draws.days)
    # an eigenvalue that rounding has put below zero is zero
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    standard = np.random.default_rng(draws.seed).standard_normal((draws.count, len(drivers)))
    kept = np.arange(draws.count)
    if draws.tail < 1:
        far = np.argsort(-(standard**2).sum(axis=1), kind="stable")
        kept = np.sort(far[: max(1, round(float(draws.tail) * draws.count))])
    moves = np.maximum(standard[kept] @ root.T, -0.99).round(_DIGITS)
    table = np.zeros((len(kept), len(shocks.coins)))
    table[:, [shocks.place[coin] for coin in risky]] = moves
    if draws.probability is not None:
        shocks.drawn = range(len(shocks), len(shocks) + len(kept))
        shocks.spare = int(draws.probability * draws.count)
    shocks.add([f"draw {row + 1} of {draws.count}" for row in kept.tolist()], table)


def _covariance(draws: Draws) -> Covariance:
    if draws.history:
        return estimate_covariance(draws.history)
    return correlated({coin: float(own) for coin, own in draws.volatility.items()}, float(draws.correlation))
