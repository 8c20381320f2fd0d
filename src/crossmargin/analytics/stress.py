"""What if the market moves like this?

Each scenario moves the market's prices and the account is judged again, exactly: equity, maintenance margin, headroom,
status, and which pool breaks first on the way there. A coin moves everywhere at once: its contracts, and itself as
collateral or debt. The buffers are the exact thresholds of :mod:`crossmargin.analytics.threshold`, not a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

from crossmargin.analytics.threshold import coins_of, crossings_of, is_priced
from crossmargin.engine.moves import scaled
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.reporting import evaluate, report
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing, Report, Verdict
from crossmargin.model.scenario import Scenario

_ZERO, _ONE = Decimal(0), Decimal(1)
STEPS = tuple(Decimal(step) / 100 for step in (-50, -40, -30, -20, -10, -5, 5, 10, 20, 30, 40, 50))
"""The usual ladder: 5 % to 50 % down and up."""
ADVERSE = tuple(Decimal(step) / 100 for step in (5, 10, 20, 30, 50))
"""The usual sizes of a market move against a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOutcome:
    """The figures of one pool after a scenario, in ``currency``."""

    pool: str
    currency: str
    equity: Decimal
    maintenance_margin: Decimal
    headroom: Decimal
    status: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One account after one scenario, in ``currency``; a total that cannot be known is None.

    ``moves`` are those of every coin of the account, as applied; ``index_moves`` of single index prices.
    ``breaks_first`` is the pool that is liquidated first as the scenario unfolds evenly, ``breaks_at`` the share of
    the scenario at which it is (0.4 = after 40 % of every move); both None where every pool stands at its end.
    """

    scenario: str
    moves: dict[str, Decimal]
    index_moves: dict[str, Decimal]
    currency: str
    equity: Decimal | None
    equity_change: Decimal | None
    maintenance_margin: Decimal | None
    headroom: Decimal | None
    margin_ratio: Decimal | None
    status: Verdict
    breaks_first: str | None
    breaks_at: Decimal | None
    pools: tuple[PoolOutcome, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Headroom and status over a grid of moves of two coins: one row for each of ``moves_y``."""

    coin_x: str
    coin_y: str
    moves_x: tuple[Decimal, ...]
    moves_y: tuple[Decimal, ...]
    currency: str
    headroom: tuple[tuple[Decimal | None, ...], ...]
    status: tuple[tuple[Verdict, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The account after a move against its most leveraged position. ``equity_lost`` is a share of present equity."""

    move: Decimal
    equity: Decimal | None
    equity_lost: Decimal | None
    headroom: Decimal | None
    status: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The market against the most leveraged position, ``symbol``; equity is None where it cannot be known."""

    symbol: str
    leverage: Decimal
    currency: str
    equity: Decimal | None
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """How far one coin, or all together, may move before a pool is liquidated.

    ``side`` is down or up. ``kind`` as in a threshold: ``price`` (there is a limit, ``move``), ``never``, ``already``,
    ``unknown`` with ``reason``. ``equity_left`` is that of ``pool``, in ``currency``, at the limit.
    """

    direction: str
    side: Literal["down", "up"]
    kind: Literal["price", "never", "already", "unknown"]
    move: Decimal | None = None
    pool: str | None = None
    currency: str | None = None
    equity_left: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyBuffer:
    """``common``: all coins together, down and up. ``single``: each coin alone, the tightest limit first."""

    common: tuple[Buffer, ...]
    single: tuple[Buffer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Depeg:
    """To what index price an asset may fall or rise on this venue alone, every mark and other asset standing still.

    ``value_share`` is what the asset brings to its pool's equity as a share of that equity, None where it is not
    positive.
    """

    asset: str
    pool: str
    index_price: Decimal
    value_share: Decimal | None
    below: Crossing
    above: Crossing


# scenarios ------------------------------------------------------------------------------------------------------------


def stress(account: Account, market: Market, rules: Rules, scenarios: Iterable[Scenario]) -> tuple[Outcome, ...]:
    """The account after each scenario, in the order given, every figure exact.

    Raises :class:`AccountError` where a scenario about this account (one without ``others``) names a coin that is not
    held or traded, or an index price that counts nowhere; else as :func:`crossmargin.evaluate` does.
    """
    base = _Base.of(account, market, rules)
    return tuple(base.outcome(scenario) for scenario in scenarios)


def ladder(
    account: Account, market: Market, rules: Rules, *, coin: str | None = None, steps: Sequence[Decimal] = STEPS
) -> tuple[Outcome, ...]:
    """One-factor scenarios: ``coin`` alone moves by each step, or without it every coin does (not the stablecoins)."""
    name = coin or "all coins"
    scenarios = [
        Scenario(
            name=f"{name} {plain(step * 100)} %", moves={coin: step} if coin else {}, others=None if coin else step
        )
        for step in steps
    ]
    return stress(account, market, rules, scenarios)


def heat_map(
    account: Account,
    market: Market,
    rules: Rules,
    *,
    coin_x: str,
    coin_y: str,
    moves_x: Sequence[Decimal] = STEPS,
    moves_y: Sequence[Decimal] = STEPS,
) -> HeatMap:
    """Headroom as two coins move apart, over every pair of moves."""
    if coin_x == coin_y:
        raise AccountError("heat map", (Fault("coin_y", coin_y, "is the coin of the other axis; name two coins"),))
    base = _Base.of(account, market, rules)
    rows = []
    for y in moves_y:
        pairs = [Scenario(name="", moves={coin_x: x, coin_y: y}) for x in moves_x]
        rows.append([base.judged(pair) for pair in pairs])
    return HeatMap(
        coin_x=coin_x,
        coin_y=coin_y,
        moves_x=tuple(moves_x),
        moves_y=tuple(moves_y),
        currency=base.now.currency,
        headroom=tuple(tuple(cell.headroom for cell in row) for row in rows),
        status=tuple(tuple(cell.status for cell in row) for row in rows),
    )


def worst_case(account: Account, market: Market, rules: Rules, *, moves: Sequence[Decimal] = ADVERSE) -> WorstCase:
    """Which share of equity is gone when the whole market moves against the most leveraged position?

    ``moves`` are sizes (0.1 = 10 %): down for a long, up for a short; every coin moves, stablecoins do not. The most
    leveraged position is that of the highest leverage set, of equals the one of the greatest value.
    Raises :class:`AccountError` where no position states its leverage.
    """
    stated = [position for position in account.positions if position.leverage is not None]
    if not stated:
        why = "no position states its leverage, so none is the most leveraged; give it"
        raise AccountError(f"account {account.id}", (Fault("positions.leverage", "", why),))
    base = _Base.of(account, market, rules)
    value = {(row.symbol, row.position_side): row.notional for row in base.now.positions}
    worst = max(stated, key=lambda p: (p.leverage or _ZERO, value.get((p.symbol, p.position_side), _ZERO)))
    sign = -1 if worst.quantity > 0 else 1
    equity = base.now.equity
    losses = []
    for size in moves:
        after = base.judged(Scenario(name=f"{size}", others=sign * size))
        with localcontext(CONTEXT):
            lost = None if not equity or equity < 0 or after.equity is None else (equity - after.equity) / equity
        losses.append(
            Loss(
                move=sign * size,
                equity=after.equity,
                equity_lost=lost,
                headroom=after.headroom,
                status=after.status,
            )
        )
    silent = [position.symbol for position in account.positions if position.leverage is None]
    return WorstCase(
        symbol=worst.symbol,
        leverage=worst.leverage or _ONE,
        currency=base.now.currency,
        equity=equity,
        losses=tuple(losses),
        notes=(f"left out of the choice, no leverage stated: {', '.join(silent)}",) if silent else (),
    )


# limits ---------------------------------------------------------------------------------------------------------------


def safety_buffer(account: Account, market: Market, rules: Rules) -> SafetyBuffer:
    """The largest common and the largest single shock that the account survives, and the equity left there.

    From the exact thresholds, so the limit itself is the first move that liquidates. A coin whose two sides are
    ``never`` is listed too: no move of it alone breaks the account.
    """
    base = _Base.of(account, market, rules)
    coins = coins_of(base.prepared)
    common = base.buffers("all coins together", [coin for coin in coins if coin not in CASH])
    single = [buffer for coin in coins for buffer in base.buffers(coin, [coin])]
    single.sort(key=lambda buffer: (_KINDS.index(buffer.kind), abs(buffer.move or _ZERO)))
    return SafetyBuffer(common=common, single=tuple(single))


_KINDS = ("already", "unknown", "price", "never")
"""A side of several pools is the first of these that holds for any of them."""


def depeg(account: Account, market: Market, rules: Rules) -> tuple[Depeg, ...]:
    """To what value may each collateral asset fall on this venue only?

    Only the venue's index price of the asset moves (with its bid and ask rate); marks, other assets and the reference
    currency stand still. One row for each asset that a pool values in another currency.
    """
    prepared = prepare(account, market, rules)
    rows = []
    with localcontext(CONTEXT):
        for state in map(measure, prepared.pools):
            for own in state.assets:
                name, price = own.asset.name, own.asset.price
                if not is_priced(state.pool) or name == rules.reference_currency or not (own.asset.cash or own.pnl):
                    continue
                sides = (
                    Crossing(
                        kind=side.kind,
                        price=None if side.distance is None else price * (1 + side.distance),
                        distance=side.distance,
                        reason=side.reason,
                    )
                    for side in crossings_of(state, {}, {name: _ONE})
                )
                share = own.equity / state.equity if state.equity > 0 else None
                below, above = sides
                rows.append(
                    Depeg(
                        asset=name,
                        pool=state.pool.name,
                        index_price=price,
                        value_share=share,
                        below=below,
                        above=above,
                    )
                )
    return tuple(rows)


# the work -------------------------------------------------------------------------------------------------------------


class Applied(NamedTuple):
    """A scenario as it applies to one account: each coin's move, each index price's own move, and what to say."""

    moves: dict[str, Decimal]
    index_moves: dict[str, Decimal]
    notes: tuple[str, ...]


def applied(prepared: Prepared, scenario: Scenario) -> Applied:
    """Match a scenario with an account. Raises :class:`AccountError` for names that a scenario of the account lacks."""
    coins = coins_of(prepared)
    valued = {
        asset.name
        for pool in prepared.pools
        if is_priced(pool)
        for asset in pool.assets
        if asset.name != prepared.rules.reference_currency
    }
    if scenario.others is None:
        faults = [
            Fault(f"{key}.{name}", str(move), f"is not held or traded here; known are {', '.join(sorted(known))}")
            for key, named, known in (
                ("moves", scenario.moves, set(coins)),
                ("index_moves", scenario.index_moves, valued),
            )
            for name, move in named.items()
            if name not in known
        ]
        if faults:
            raise AccountError(f"scenario {scenario.name}", faults)
    moves: dict[str, Decimal] = {}
    notes = []
    for coin in coins:
        move = scenario.moves.get(coin)
        if move is None and coin not in CASH and coin not in scenario.index_moves:
            move = scenario.others
            words = "stands still" if move is None else f"follows others = {move}"
            if scenario.moves or scenario.index_moves:  # else every coin moves alike, and that is the scenario
                notes.append(f"{coin} {words}: the scenario names no move for it")
        moves[coin] = _ZERO if move is None else move
    index = {asset: move for asset, move in scenario.index_moves.items() if asset in valued}
    return Applied(moves, index, tuple(notes))


class _Base(NamedTuple):
    """An account before anything moves."""

    prepared: Prepared
    now: Report

    @staticmethod
    def of(account: Account, market: Market, rules: Rules) -> _Base:
        prepared = prepare(account, market, rules)
        return _Base(prepared, report(prepared, explain=False))

    def judged(self, scenario: Scenario) -> Report:
        """The account's report after a scenario."""
        return self.after(applied(self.prepared, scenario))

    def after(self, change: Applied) -> Report:
        """The account's report after moves."""
        prepared = self.prepared
        market = moved(prepared, change)
        return evaluate(prepared.account, market, prepared.rules, explain=False)

    def outcome(self, scenario: Scenario) -> Outcome:
        change = applied(self.prepared, scenario)
        after = self.after(change)
        pool, share = self.first(change) if after.status == "liquidation" else (None, None)
        with localcontext(CONTEXT):
            lost = None if after.equity is None or self.now.equity is None else after.equity - self.now.equity
        pools = tuple(
            PoolOutcome(
                pool=row.name,
                currency=row.currency,
                equity=row.equity,
                maintenance_margin=row.maintenance_margin,
                headroom=row.headroom,
                status=row.status,
            )
            for row in after.pools
        )
        return Outcome(
            scenario=scenario.name,
            moves=change.moves,
            index_moves=change.index_moves,
            currency=after.currency,
            equity=after.equity,
            equity_change=lost,
            maintenance_margin=after.maintenance_margin,
            headroom=after.headroom,
            margin_ratio=after.margin_ratio,
            status=after.status,
            breaks_first=pool,
            breaks_at=share,
            pools=pools,
            notes=change.notes + after.notes,
        )

    def first(self, change: Applied) -> tuple[str | None, Decimal | None]:
        """The pool that breaks first as every move grows evenly from nothing, and at which share of the whole."""
        nearest: tuple[str | None, Decimal | None] = (None, None)
        with localcontext(CONTEXT):
            for state in map(measure, self.prepared.pools):
                share = _share(state, change)
                if share is not None and (nearest[1] is None or share < nearest[1]):
                    nearest = (state.pool.name, share)
        return nearest

    def buffers(self, direction: str, coins: list[str]) -> tuple[Buffer, Buffer]:
        """How far these coins may move together, down and up: the nearest crossing of any pool on each side."""
        change = Applied(dict.fromkeys(coins, _ONE), {}, ())
        with localcontext(CONTEXT):
            found = [
                (state.pool.name, crossings_of(state, *_weights(state, change)))
                for state in map(measure, self.prepared.pools)
            ]
        sides: tuple[Literal["down", "up"], ...] = ("down", "up")
        down, up = (
            self.buffer(direction, side, [(pool, pair[index]) for pool, pair in found], coins)
            for index, side in enumerate(sides)
        )
        return down, up

    def buffer(
        self, direction: str, side: Literal["down", "up"], found: list[tuple[str, Crossing]], coins: list[str]
    ) -> Buffer:
        """One side: the worst kind of any pool, and the equity that the first pool to break has left there."""
        if not found:
            return Buffer(direction=direction, side=side, kind="never")
        pool, crossing = min(found, key=lambda one: (_KINDS.index(one[1].kind), abs(one[1].distance or _ZERO)))
        if crossing.distance is None:
            where = None if crossing.kind == "never" else pool
            return Buffer(direction=direction, side=side, kind=crossing.kind, pool=where, reason=crossing.reason)
        after = self.after(Applied(dict.fromkeys(coins, crossing.distance), {}, ()))
        left = next(row for row in after.pools if row.name == pool)
        return Buffer(
            direction=direction,
            side=side,
            kind="price",
            move=crossing.distance,
            pool=pool,
            currency=left.currency,
            equity_left=left.equity,
        )


def _share(state: PoolState, change: Applied) -> Decimal | None:
    """At which share of a change a pool breaks; None where it stands to the end."""
    if state.liquidatable:
        return _ZERO
    _, found = crossings_of(state, *_weights(state, change))
    return found.distance if found.distance is not None and found.distance <= 1 else None


def _weights(state: PoolState, change: Applied) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """A change as the weights of a line: each contract's by its coin, each index price's by its asset."""
    marks = {
        exposure.symbol.name: change.moves[exposure.symbol.base]
        for own in state.assets
        for exposure, _, _ in own.exposures
        if exposure.symbol.base in change.moves
    }
    if not is_priced(state.pool):
        return marks, {}
    by_asset = {**change.moves, **change.index_moves}
    names = [own.asset.name for own in state.assets if own.asset.name != state.pool.currency]
    return marks, {name: by_asset[name] for name in names if name in by_asset}


def moved(prepared: Prepared, change: Applied) -> Market:
    """The market after a change: contracts with their coin, index prices with their asset; the reference stands."""
    factors = {coin: 1 + move for coin, move in change.moves.items()}
    own = {asset: 1 + move for asset, move in change.index_moves.items()}
    by_asset = {**factors, **own, prepared.rules.reference_currency: _ONE}
    with localcontext(CONTEXT):
        return scaled(
            prepared.market,
            lambda symbol: factors.get(parse_symbol(symbol).base, _ONE),
            lambda asset: by_asset.get(asset, _ONE),
        )
