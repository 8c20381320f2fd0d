"""Who falls when the liquidations of some move the prices of all?

A shock moves the market. Every account that it breaks is liquidated by its own venue's programme at the prices of that
round; what the programmes sell and buy moves those prices by the depth of the market, and the next round asks again,
until nobody is broken any more. One price path for all, each account exactly by its own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import NamedTuple

from crossmargin.analytics.cascade import Bill, bills_of
from crossmargin.analytics.replay_watch import Watched, at_stake, is_near
from crossmargin.analytics.threshold import coins_of
from crossmargin.engine.liquidation import Step, liquidate
from crossmargin.engine.moves import coins_moved
from crossmargin.engine.prepare import prepare
from crossmargin.errors import AccountError, CrossmarginError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

_ZERO, _ONE = Decimal(0), Decimal(1)
_PER_CENT = Decimal(100)
_NO_MARKET = frozenset({"auto_deleverage", "socialized_loss"})
"""Steps that pass a position to other traders: nothing reaches the order book."""

Member = tuple[Account, Market, Rules]
"""One account with its venue's prices and rules; what ``cm.load`` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: where prices stand (``moves``: coin -> move since the start), who breaks there, what is then traded.

    ``broken`` counts accounts, ``new`` those that broke for the first time. ``forced`` is the net amount that the
    programmes buy (below 0: sell) by coin, in quote currency at the round's prices.
    """

    number: int
    moves: dict[str, Decimal]
    broken: int
    new: int
    forced: dict[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemic:
    """A cascade through many accounts.

    ``by_shock`` accounts break by the shock alone, ``by_others`` only because others were liquidated; ``names`` are
    their ids in the order in which they broke. ``moves`` is where prices come to rest; ``amplification`` that move over
    the shock's, by coin, None where the shock left the coin alone. ``sold`` and ``bought`` are in quote currency, by
    coin. ``bills`` as in a single :class:`~crossmargin.analytics.cascade.Cascade`, over all accounts. ``settled`` is
    False where the rounds ran out before the market came to rest. ``left_out``: accounts that cannot be judged, each
    with the reason; what they would have done is not known and not in any figure.
    """

    accounts: int
    shock: dict[str, Decimal]
    depth: dict[str, Decimal]
    by_shock: int
    by_others: int
    names: tuple[str, ...]
    moves: dict[str, Decimal]
    amplification: dict[str, Decimal | None]
    sold: dict[str, Decimal]
    bought: dict[str, Decimal]
    rounds: tuple[Round, ...]
    bills: tuple[Bill, ...]
    settled: bool
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


class _Trade(NamedTuple):
    coin: str
    value: Decimal


class _Fallen(NamedTuple):
    """Who broke in one round, what that traded and did, and what the fund holds after it."""

    accounts: list[int]
    trades: list[_Trade]
    steps: list[Step]
    fund: Mapping[str, Decimal]


def systemic(
    members: Iterable[Member],
    *,
    shock: Mapping[str, Decimal],
    others: Decimal | None = None,
    depth: Mapping[str, Decimal] | None = None,
    other_depth: Decimal | None = None,
    insurance_fund: Mapping[str, Decimal] | None = None,
    most_rounds: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> Systemic:
    """Lead many accounts through a shock and the liquidations that follow from it.

    ``shock``: coin -> relative move (above -1) of everything on the coin, ``others`` that of every coin not named but
    stablecoins and currencies. ``depth``: coin -> the amount in quote currency whose purchase moves its price up by
    1 %, ``other_depth`` that of every coin not named; selling moves it back by the same factor, so that no price
    reaches 0. A coin without a depth does not move by what is traded. ``insurance_fund`` is what one fund for all holds
    by currency; a fund not named is taken to hold enough. ``progress(round, accounts looked at)`` is called now and
    then. An account that cannot be judged is left out by name. Raises :class:`AccountError` for an impossible shock or
    depth, and where no account is left.
    Price impact: linear in the amount, permanent (Kyle 1985); the rounds are those of docs/cascade.md.
    """
    moves_at_start, depths = dict(shock), dict(depth or {})
    _check(moves_at_start, others, depths, other_depth, most_rounds)
    with localcontext(CONTEXT):
        everyone, left_out = _watched(members)
        coins = sorted({coin for one in everyone for coin in one.coins} - CASH | set(shock))
        for given, rest in ((moves_at_start, others), (depths, other_depth)):
            given.update({coin: rest for coin in coins if rest is not None and coin not in given})
        factors = {coin: _ONE + moves_at_start.get(coin, _ZERO) for coin in coins}
        fund: Mapping[str, Decimal] = insurance_fund or {}
        rounds: list[Round] = []
        steps: list[Step] = []
        fallen: dict[int, int] = {}
        traded: list[_Trade] = []
        settled = False
        for number in range(1, most_rounds + 1):
            fell = _round(everyone, factors, fund, number, progress)
            new = [index for index in fell.accounts if index not in fallen]
            fallen |= dict.fromkeys(new, number)
            fund, net = fell.fund, _net(fell.trades)
            steps += fell.steps
            traded += fell.trades
            moves = {coin: factor - 1 for coin, factor in factors.items()}
            rounds.append(Round(number=number, moves=moves, broken=len(fell.accounts), new=len(new), forced=net))
            if not fell.accounts:
                settled = True
                break
            for coin, value in net.items():
                if coin in depths:
                    factors[coin] = factors[coin] * _impact(value, depths[coin])
        first = sum(1 for when in fallen.values() if when == 1)
        return Systemic(
            accounts=len(everyone),
            shock=moves_at_start,
            depth=depths,
            by_shock=first,
            by_others=len(fallen) - first,
            names=tuple(everyone[index].watched.exact.account.id for index in fallen),
            moves={coin: factor - 1 for coin, factor in factors.items()},
            amplification={
                coin: (factors[coin] - 1) / moves_at_start[coin] if moves_at_start.get(coin) else None
                for coin in factors
            },
            sold=_net([t for t in traded if t.value < 0]),
            bought=_net([t for t in traded if t.value > 0]),
            rounds=tuple(rounds),
            bills=bills_of(tuple(steps)),
            settled=settled,
            left_out=left_out,
            notes=_notes(coins, depths, steps),
        )


def _round(
    everyone: Sequence[_Watcher],
    factors: Mapping[str, Decimal],
    fund: Mapping[str, Decimal],
    number: int,
    progress: Callable[[int, int], None] | None,
) -> _Fallen:
    """Every account once at these prices, one after another: each finds the fund as the one before has left it."""
    fallen = _Fallen([], [], [], fund)
    for index, one in enumerate(everyone):
        done = one.walk(factors, fallen.fund)
        if done is not None:
            fallen.accounts.append(index)
            fallen.trades.extend(done.trades)
            fallen.steps.extend(done.steps)
            fallen = fallen._replace(fund=done.fund)
        if progress is not None and not index % 100:
            progress(number, index)
    return fallen


def _check(
    shock: Mapping[str, Decimal],
    others: Decimal | None,
    depth: Mapping[str, Decimal],
    other_depth: Decimal | None,
    most_rounds: int,
) -> None:
    moves = {f"shock.{coin}": move for coin, move in shock.items()} | ({} if others is None else {"others": others})
    depths = {f"depth.{coin}": amount for coin, amount in depth.items()}
    depths |= {} if other_depth is None else {"other_depth": other_depth}
    faults = [
        Fault(path, str(move), "must be above -1: a price cannot fall by 100 % or more (5 % down is -0.05)")
        for path, move in moves.items()
        if not move.is_finite() or move <= -1
    ]
    faults += [
        Fault(path, str(amount), "must be greater than 0: the amount that moves the price by 1 %")
        for path, amount in depths.items()
        if not amount.is_finite() or amount <= 0
    ]
    if not moves:
        faults.append(Fault("shock", "", "is empty; name at least one coin and its move, or others"))
    if most_rounds < 1:
        faults.append(Fault("most_rounds", str(most_rounds), "must be at least 1"))
    if faults:
        raise AccountError("systemic", faults)


def _watched(members: Iterable[Member]) -> tuple[list[_Watcher], tuple[tuple[str, str], ...]]:
    """The accounts that can be judged, and the others with the reason; at least one can be."""
    found: list[_Watcher] = []
    left_out: list[tuple[str, str]] = []
    for account, market, rules in members:
        try:
            found.append(_Watcher(account, market, rules))
        except CrossmarginError as error:
            left_out.append((account.id, "; ".join(map(str, error.faults))))
    if not found:
        faults = [Fault(name, "", why) for name, why in left_out]
        raise AccountError("systemic", faults or (Fault("members", "", "is empty; give at least one account"),))
    return found, tuple(left_out)


def _impact(value: Decimal, depth: Decimal) -> Decimal:
    """The factor of a price after ``value`` is bought (below 0: sold) where ``depth`` moves it by 1 %.

    >>> _impact(Decimal(25), Decimal(1)), _impact(Decimal(-25), Decimal(1))
    (Decimal('1.25'), Decimal('0.8'))
    """
    with localcontext(CONTEXT):
        factor = _ONE + abs(value) / depth / _PER_CENT
        return factor if value >= 0 else _ONE / factor


def _net(trades: Iterable[_Trade]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for trade in trades:
        found[trade.coin] = found.get(trade.coin, _ZERO) + trade.value
    return dict(sorted(found.items()))


def _notes(coins: list[str], depth: Mapping[str, Decimal], steps: list[Step]) -> tuple[str, ...]:
    notes = []
    still = [coin for coin in coins if coin not in depth]
    if still:
        notes.append(f"no depth is given for {', '.join(still)}: what is traded there does not move the price")
    strange = sorted(set(depth) - set(coins))
    if strange:
        notes.append(f"nobody holds or trades {', '.join(strange)}: the depth given is of no use")
    if any(step.step in _NO_MARKET for step in steps):
        notes.append("what was passed on to other traders is not taken from the accounts given here")
    return tuple(notes)


# one account ----------------------------------------------------------------------------------------------------------


class _Done(NamedTuple):
    steps: tuple[Step, ...]
    trades: list[_Trade]
    fund: Mapping[str, Decimal]


class _Watcher:
    """One account on its way: floats say where to ask, the exact judge decides."""

    def __init__(self, account: Account, market: Market, rules: Rules) -> None:
        if rules.slots.liquidation is None:
            why = "states no liquidation programme, so what a venue does to a broken account is not known"
            raise UnsupportedRule(f"account {account.id}", (Fault("liquidation", rules.profile, why),))
        self.market, self.rules = market, rules
        self._restart(account)
        self.coins = set(coins_of(self.watched.exact))

    def _restart(self, account: Account) -> None:
        self.watched = Watched(prepare(account, self.market, self.rules))
        names = [(symbol, parse_symbol(symbol).base, float(price)) for symbol, price in self.market.mark_price.items()]
        names += [(asset, asset, float(price)) for asset, price in self.market.index_price.items()]
        self._prices = names
        self._stakes = any(map(at_stake, self.watched.exact.pools))

    def walk(self, factors: Mapping[str, Decimal], fund: Mapping[str, Decimal]) -> _Done | None:
        """What the venue does at these prices; None where no pool is broken or nothing is left to do."""
        if not self._stakes:
            return None
        quick = {coin: float(factor) for coin, factor in factors.items()}
        prices = {name: price * quick.get(coin, 1.0) for name, coin, price in self._prices}
        if not any(is_near(state) for state in self.watched.at(prices, "range")):
            return None
        account = self.watched.exact.account
        market = coins_moved(self.market, factors)
        done = liquidate(account, market, self.rules, insurance_fund=fund)
        if not done.steps:
            return None
        trades = [trade for step in done.steps if step.step not in _NO_MARKET for trade in self._trades(step, market)]
        self._restart(done.account)
        return _Done(done.steps, trades, done.insurance_fund)

    def _trades(self, step: Step, market: Market) -> Iterable[_Trade]:
        """What a step buys and sells in the market, in quote currency at the prices of the round."""
        exposures = {e.symbol.name: e for pool in self.watched.exact.pools for a in pool.assets for e in a.exposures}
        for entry in step.entries:
            exposure = exposures.get(entry.what)
            if exposure is not None and entry.market_price is not None:
                size = entry.quantity * exposure.contract_size
                yield _Trade(exposure.symbol.base, size if exposure.inverse else size * entry.market_price)
            elif exposure is None and entry.what not in CASH and step.step == "repay":
                yield _Trade(entry.what, entry.quantity * market.index_price[entry.what])
