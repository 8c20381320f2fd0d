"""The judge: one account's figures from its rules, blind to the number type; lines and sources on request.

:func:`standing` is the one place where an asset's equity and requirement are formed; the report, the float path of
back-tests and every threshold go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.explain import pool_lines
from crossmargin.engine.prepare import Asset, Exposure, Leg, Pool, Prepared, prepare
from crossmargin.engine.ray import Line, Ray
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import BalanceReport, PoolReport, PositionReport, Report, Verdict

Num = Any


# the arithmetic of a pool ---------------------------------------------------------------------------------------------


def standing(pool: Pool, asset: Asset, pnl: Num, maintenance: Num, price: Num, bid: Num, ask: Num) -> tuple[Num, Num]:
    """(equity, requirement) that one asset brings to its pool, in the pool's currency.

    ``pnl`` and ``maintenance`` are those of everything that settles in the asset, in units of the asset.
    """
    if pool.counted != "all":
        pnl = min(pnl, pnl * 0) if pool.counted == "losses" else pnl * 0
    owned = asset.cash + pnl
    if pool.weighted:
        equity = asset.worth(owned, price, bid, ask)
    else:
        equity = asset.worth(asset.cash, price, bid, ask) + _valued(pnl, price)
    requirement = _valued(maintenance, ask if pool.at_ask else price)
    if pool.liability_rate:
        requirement = requirement + formulas.share_of(max(-owned, owned * 0) * price, pool.liability_rate)
    return equity, requirement


def _valued(amount: Num, price: Num) -> Num:
    """amount x price; a price of exactly 1 (the pool's own currency) is not multiplied with."""
    return amount if price == 1 else amount * price


class AssetState(NamedTuple):
    """The figures of one asset of a pool at the market's prices."""

    asset: Asset
    pnl: Num
    maintenance: Num
    exposures: tuple[tuple[Exposure, Num, Num], ...]
    """(exposure, its PnL, its maintenance margin), in the asset."""
    equity: Num
    requirement: Num
    initial: Num | None
    """Initial margin of positions and orders in the pool's currency; None = a leverage is missing."""


class PoolState(NamedTuple):
    """The figures of one pool at the market's prices, in the pool's currency."""

    pool: Pool
    assets: tuple[AssetState, ...]
    equity: Num
    maintenance: Num
    initial: Num | None
    headroom: Num

    def requirement(self, name: str) -> Num | None:
        """The requirement a level of the ladder is measured against."""
        return self.maintenance if name == "maintenance" else self.initial

    def reached(self, name: str, multiple: Num) -> bool | None:
        """Whether equity has fallen to a level; None where its requirement is unknown."""
        base = self.requirement(name)
        if base is None:
            return None
        required = base * multiple
        room = formulas.headroom(self.equity, required)
        return bool(room < 0 or (room == 0 and required > 0 and not self.pool.strict))

    @property
    def liquidatable(self) -> bool:
        """Whether the liquidation level is reached."""
        level, multiple = self.pool.ladder[-1]
        return bool(self.reached(level.requirement, multiple))


def measure(pool: Pool) -> PoolState:
    """Judge one prepared pool at its own prices; the path of back-tests on floats, and of the report on decimals."""
    equity = maintenance = initial = 0
    unknown = False
    states = []
    for asset in pool.assets:
        pnl = required = own_initial = asset.cash * 0
        rows = []
        for exposure in asset.exposures:
            mark = exposure.mark
            if exposure.legs:
                gain, kept = exposure.unrealized_pnl(mark), exposure.maintenance(mark)
                pnl, required = pnl + gain, required + kept
                rows.append((exposure, gain, kept))
            opened = initial_margin(pool, exposure)
            if opened is None:
                own_initial = None
            elif own_initial is not None:
                own_initial = own_initial + opened
        value, requirement = standing(pool, asset, pnl, required, asset.price, asset.bid, asset.ask)
        if own_initial is None:
            unknown = True
        else:
            own_initial = own_initial * (asset.ask if pool.at_ask else asset.price)
            # a debt's margin is needed to open as it is to stay
            own_initial = own_initial + (requirement - required * (asset.ask if pool.at_ask else asset.price))
            initial = initial + own_initial
        equity, maintenance = equity + value, maintenance + requirement
        states.append(AssetState(asset, pnl, required, tuple(rows), value, requirement, own_initial))
    room = formulas.headroom(equity, maintenance * pool.liquidation_multiple)
    return PoolState(pool, tuple(states), equity, maintenance, None if unknown else initial, room)


def leg_initial_margin(pool: Pool, exposure: Exposure, leg: Leg) -> Num | None:
    """Initial margin of one leg, close fee included; None where the leverage is not known."""
    if leg.leverage is None:
        return None
    slots = pool.slots
    price = exposure.mark if slots.valuation.initial == "mark" else leg.entry
    value = exposure.notional(leg.size, price)
    margin = formulas.leverage_requirement(value, leg.leverage)
    if slots.initial_margin.kind == "leverage_or_bracket" and exposure.steps is not None:
        rate = exposure.initial_rates[exposure.steps.find(value)]
        if rate is not None:
            margin = max(margin, formulas.share_of(value, rate))
    return margin if slots.initial_margin.close_fee == "none" else margin + leg.close_fee


def initial_margin(pool: Pool, exposure: Exposure) -> Num | None:
    """Initial margin of one exposure and its orders, in the settle asset; None where a leverage is missing."""
    rule = pool.slots.initial_margin
    longs = shorts = exposure.mark * 0
    for leg in exposure.legs:
        margin = leg_initial_margin(pool, exposure, leg)
        if margin is None:
            return None
        if leg.size > 0:
            longs = longs + margin
        else:
            shorts = shorts + margin
    if rule.scope == "larger_side":
        total = max(longs, shorts)
    elif rule.scope == "net":
        total = abs(longs - shorts)
    else:
        total = longs + shorts
    held = rule.orders
    if held is None:
        return total
    for order in exposure.orders:
        if order.leverage is None:
            return None
        if held.value:
            value = exposure.notional(order.size, order.price)
            total = total + formulas.leverage_requirement(value, order.leverage)
        if held.open_loss:
            total = total + max(exposure.mark * 0, -exposure.pnl(order.size, order.price, exposure.mark))
        total = total + order.fees
    return total


# along a line of prices -----------------------------------------------------------------------------------------------


class Path:
    """The headroom of one pool as some of its prices move together: what stays is summed once.

    ``marks`` and ``rates`` map a symbol or an asset to its weight: at ``s`` its price is ``now x (1 + weight x s)``.
    """

    __slots__ = ("_assets", "_one", "pool", "scale", "still")

    def __init__(self, state: PoolState, marks: Mapping[str, Num], rates: Mapping[str, Num]) -> None:
        self.pool = pool = state.pool
        self.still = state.headroom * 0
        self._one = self.still + 1
        self._assets: list[tuple[Asset, Num, Num, Num, list[tuple[Exposure, Num]]]] = []
        multiple = pool.liquidation_multiple
        for own in state.assets:
            weight = rates.get(own.asset.name)
            moving = [
                (exposure, marks[exposure.symbol.name])
                for exposure, _, _ in own.exposures
                if exposure.symbol.name in marks
            ]
            if weight is None and not moving:
                self.still = self.still + formulas.headroom(own.equity, own.requirement * multiple)
                continue
            pnl = required = own.pnl * 0
            if len(moving) < len(own.exposures):
                for exposure, gain, kept in own.exposures:
                    if exposure.symbol.name not in marks:
                        pnl, required = pnl + gain, required + kept
            self._assets.append((own.asset, weight, pnl, required, moving))
        # a pool counted in a coin that moves: headroom x coin price is straight where headroom is not
        self.scale = next(
            (
                weight
                for asset, _, _, _, moving in self._assets
                for exposure, weight in moving
                if exposure.inverse and asset.name == pool.currency and asset.name not in rates
            ),
            None,
        )

    @property
    def moves(self) -> bool:
        """Whether anything in the pool moves at all."""
        return bool(self._assets)

    def headroom(self, point: Num, direction: int, *, track: bool = True) -> Ray:
        """Headroom near ``point`` as a ray, on the branches that hold just beyond it in ``direction``."""
        line = Line(point, direction, track=track)
        pool = self.pool
        multiple = pool.liquidation_multiple
        total: Any = self.still
        for asset, weight, pnl, required, moving in self._assets:
            for exposure, factor in moving:
                mark = Ray(exposure.mark, exposure.mark * factor, line)
                pnl = pnl + exposure.unrealized_pnl(mark)  # noqa: PLW2901 - the sum goes on from what stands still
                required = required + exposure.maintenance(mark)  # noqa: PLW2901
            price, bid, ask = asset.price, asset.bid, asset.ask
            if weight is not None:
                price = Ray(price, price * weight, line)
                bid = Ray(bid, bid * weight, line)
                ask = Ray(ask, ask * weight, line)
            equity, requirement = standing(pool, asset, pnl, required, price, bid, ask)
            total = total + equity - _valued(requirement, multiple)
        if type(total) is not Ray:
            return Ray(total, total * 0, line)
        return total if self.scale is None else total * Ray(self._one, self.scale, line)


Case = tuple[Account, Market, Rules]


def headroom_along(build: Callable[[Ray], Case], pool: str, point: Num, direction: int) -> Ray:
    """The headroom of one pool as any input moves: the judge, fed with the case that ``build`` makes of ``s``.

    Exact decimals; near ``point``, on the branches that hold just beyond it in ``direction``. What ``build`` puts ``s``
    into (a price, a balance, a quantity, a ratio) skips validation, as ``model_copy`` does. A pool that the case does
    not make is empty: its headroom is 0.
    """
    line = Line(point, direction, track=True)
    zero, one = Decimal(0), Decimal(1)
    prepared = prepare(*build(Ray(zero, one, line)))
    for found in prepared.pools:
        if found.name == pool:
            room = measure(found).headroom
            return room if type(room) is Ray else Ray(room, zero, line)
    return Ray(zero, zero, line)


# the report -----------------------------------------------------------------------------------------------------------


def evaluate(account: Account, market: Market, rules: Rules, *, explain: bool = True) -> Report:
    """What the venue would compute for this account: every figure of every pool, with its lines.

    Exact decimals throughout. ``explain=False`` leaves the lines out. Raises :class:`AccountError` for an account the
    rules cannot take, :class:`MarketDataError` naming every missing price. Formulas:
    :mod:`crossmargin.engine.formulas`; rules and sources: the profile.
    """
    return report(prepare(account, market, rules), explain=explain)


def report(prepared: Prepared, *, explain: bool = True) -> Report:
    """The report of a prepared account (exact decimals)."""
    with localcontext(CONTEXT):
        states = [measure(pool) for pool in prepared.pools]
        pools = tuple(_pool_report(state) for state in states)
        positions = tuple(row for state in states for row in _positions(state))
        balances = tuple(row for state in states for row in _balances(state))
        lines = tuple(pool_lines(state, prepared.rules) for state in states) if explain else ()
        totals, notes = _totals(pools, prepared)
    rules = prepared.rules
    assumed = rules.assumed([row.symbol for row in positions] + [row.asset for row in balances])
    if assumed:
        notes += (f"assumed, not documented: {'; '.join(assumed)}",)
    return Report(
        id=prepared.account.id,
        profile=rules.profile,
        rules_since=rules.since,
        as_of=prepared.market.as_of,
        pools=pools,
        positions=positions,
        balances=balances,
        lines=lines,
        notes=tuple(dict.fromkeys(note for pool in pools for note in pool.notes)) + notes,
        **totals,
    )


_ZERO = Decimal(0)


def _verdict(state: PoolState) -> tuple[Verdict, str | None]:
    """The worst level reached; the ladder goes from mild to worst."""
    worst = None
    for level, multiple in state.pool.ladder:
        if state.reached(level.requirement, multiple):
            worst = level
    if worst is None:
        return "healthy", None
    return ("liquidation" if worst.action == "liquidate" else "warning"), worst.name


def _pool_report(state: PoolState) -> PoolReport:
    pool = state.pool
    status, level = _verdict(state)
    initial = state.initial
    notes = []
    if initial is None:
        notes.append(f"{pool.name}: initial margin is unknown because a leverage is missing")
    collateral = sum((_worth(own, own.asset.cash) for own in state.assets), _ZERO)
    # where the collateral rule applies to PnL too, PnL is worth what it adds to the collateral
    gain = sum((own.pnl * own.asset.price for own in state.assets), _ZERO)
    return PoolReport(
        name=pool.name,
        currency=pool.currency,
        collateral_value=collateral,
        unrealized_pnl=state.equity - collateral if pool.weighted else gain,
        equity=state.equity + _ZERO,
        initial_margin=None if initial is None else initial + _ZERO,
        maintenance_margin=state.maintenance + _ZERO,
        headroom=state.headroom + _ZERO,
        free_collateral=None if initial is None else state.equity - initial,
        margin_ratio=state.maintenance / state.equity if state.equity > 0 else None,
        withdrawable=_withdrawable(state),
        status=status,
        level=level,
        notes=tuple(notes),
    )


def _worth(own: AssetState, amount: Num) -> Num:
    asset = own.asset
    return asset.worth(amount, asset.price, asset.bid, asset.ask)


def gross_notional(state: PoolState) -> Decimal:
    """Value of every position of a pool at the mark, longs and shorts added, in the pool's currency."""
    return sum(
        (
            exposure.notional(leg.size, exposure.mark) * own.asset.price
            for own in state.assets
            for exposure in own.asset.exposures
            for leg in exposure.legs
        ),
        _ZERO,
    )


def removable(state: PoolState) -> Decimal | None:
    """Equity of a pool beyond what its withdrawal rule keeps, in the pool's currency, below 0 where that is not met.

    None where the profile has no rule or a leverage is missing. Bonus credit never leaves.
    """
    rule = state.pool.slots.withdrawal
    if rule is None or state.initial is None:
        return None
    kept = state.initial
    if rule.kind == "keep_share":
        kept = max(kept, formulas.share_of(gross_notional(state), rule.share))
    lent = sum((own.asset.balance.bonus_credit * own.asset.price for own in state.assets), _ZERO)
    free: Decimal = state.equity - kept - (lent if state.pool.slots.equity.bonus_credit else _ZERO)
    return free


def _withdrawable(state: PoolState) -> Decimal | None:
    """What may leave the pool, in its currency; None where the profile or a leverage does not say."""
    rule = state.pool.slots.withdrawal
    free = removable(state)
    if rule is None or free is None or state.pool.isolated:
        return None
    if rule.kind == "keep_share":
        return max(_ZERO, free)
    wallet: Decimal = sum(
        (
            max(_ZERO, own.asset.balance.wallet_balance - own.asset.balance.locked) * own.asset.price
            for own in state.assets
        ),
        _ZERO,
    )
    most: Decimal = min(free, wallet)
    return max(_ZERO, most)


def _positions(state: PoolState) -> list[PositionReport]:
    rows = []
    for own in state.assets:
        for exposure, _, kept in own.exposures:
            for leg in exposure.legs:
                value = exposure.notional(leg.size, exposure.mark)
                row = _bracket_row(exposure, state.pool, leg)
                rows.append(
                    PositionReport(
                        symbol=exposure.symbol.name,
                        pool=state.pool.name,
                        position_side=leg.position.position_side,
                        quantity=leg.position.quantity,
                        mark_price=exposure.mark,
                        notional=value,
                        unrealized_pnl=exposure.pnl(leg.size, leg.entry, exposure.mark),
                        initial_margin=leg_initial_margin(state.pool, exposure, leg),
                        maintenance_margin=_leg_maintenance(exposure, state.pool, leg, kept),
                        close_fee=leg.close_fee + formulas.share_of(value, exposure.mark_fee),
                        bracket=None if row is None else row + 1,
                        maintenance_rate=None if row is None or exposure.steps is None else exposure.steps.rates[row],
                        maintenance_deduction=(
                            None if row is None or exposure.steps is None else exposure.steps.offsets[row]
                        ),
                        bankruptcy_price=leg.bankruptcy_price,
                    )
                )
    return rows


def _leg_maintenance(exposure: Exposure, pool: Pool, leg: Leg, kept: Num) -> Num:
    """The part of an exposure's maintenance margin that is one leg's.

    A rule for each leg says it; one that nets or adds the legs is shared out by size. Fees stay where they arise.
    """
    if len(exposure.legs) == 1:
        return kept
    fee = leg.close_fee + formulas.share_of(exposure.notional(leg.size, exposure.mark), exposure.mark_fee)
    if pool.slots.maintenance_margin.scope == "per_leg" and exposure.requirement is not None:
        price = exposure.mark if pool.slots.valuation.maintenance == "mark" else leg.entry
        return fee + exposure.requirement(exposure.notional(leg.charged, price))
    gross = sum((abs(other.size) for other in exposure.legs), _ZERO)
    fees = sum(
        (
            other.close_fee + formulas.share_of(exposure.notional(other.size, exposure.mark), exposure.mark_fee)
            for other in exposure.legs
        ),
        _ZERO,
    )
    return fee + (kept - fees) * abs(leg.size) / gross


def _bracket_row(exposure: Exposure, pool: Pool, leg: Leg) -> int | None:
    """The row of the table that applies to a leg, or None where the rule has no table."""
    if exposure.steps is None:
        return None
    slots = pool.slots
    price = exposure.mark if slots.valuation.maintenance == "mark" else leg.entry
    by_key = {
        "notional": exposure.notional(leg.size, price),
        "contracts": abs(leg.position.quantity),
        "coin": abs(leg.size),
    }
    return exposure.steps.find(by_key[slots.maintenance_margin.key])


def _balances(state: PoolState) -> list[BalanceReport]:
    return [
        BalanceReport(
            asset=own.asset.name,
            pool=state.pool.name,
            wallet_balance=own.asset.balance.wallet_balance,
            bonus_credit=own.asset.balance.bonus_credit,
            unrealized_pnl=own.pnl,
            equity=own.asset.cash + own.pnl,
            collateral_value=_worth(own, own.asset.cash),
        )
        for own in state.assets
    ]


_ADDED = (
    "collateral_value",
    "unrealized_pnl",
    "equity",
    "initial_margin",
    "maintenance_margin",
    "free_collateral",
    "withdrawable",
)
_WORST: tuple[Verdict, ...] = ("healthy", "warning", "liquidation")


def _totals(pools: tuple[PoolReport, ...], prepared: Prepared) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The account's totals: sums in one currency, and the weakest pool's headroom, ratio and status."""
    reference = prepared.rules.reference_currency
    currencies = {pool.currency for pool in pools}
    currency = currencies.pop() if len(currencies) == 1 else reference
    rates: dict[str, Decimal | None] = {pool.currency: Decimal(1) for pool in pools}
    notes: tuple[str, ...] = ()
    if currency == reference and any(pool.currency != reference for pool in pools):
        for name in rates:
            rates[name] = Decimal(1) if name == reference else prepared.market.index_price.get(name)
        unpriced = [name for name, rate in rates.items() if rate is None]
        if unpriced:
            notes = (f"totals over the pools are unknown: no index_price for {', '.join(unpriced)} in {reference}",)

    def in_currency(pool: PoolReport, name: str) -> Decimal | None:
        figure, rate = getattr(pool, name), rates[pool.currency]
        return None if figure is None or rate is None else figure * rate

    totals: dict[str, Any] = {"currency": currency}
    for name in _ADDED:
        figures = [
            in_currency(pool, name)
            for pool in pools
            if not (name == "withdrawable" and pool.name.endswith(" isolated"))
        ]
        known = [figure for figure in figures if figure is not None]
        totals[name] = sum(known, _ZERO) if len(known) == len(figures) else None
    rooms = [in_currency(pool, "headroom") for pool in pools]
    known_rooms = [room for room in rooms if room is not None]
    totals["headroom"] = min(known_rooms, default=_ZERO) if len(known_rooms) == len(rooms) else None
    totals["status"] = max((pool.status for pool in pools), key=_WORST.index, default="healthy")
    ratios = [pool.margin_ratio for pool in pools if pool.margin_ratio is not None]
    totals["margin_ratio"] = max(ratios, default=_ZERO) if len(ratios) == len(pools) else None
    return totals, notes
