"""How large may a position be for a move not to break its pool?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from crossmargin.analytics.funding import after_payments, purse_of
from crossmargin.engine.fills import fill
from crossmargin.engine.moves import coins_moved
from crossmargin.engine.path import Case, headroom_along
from crossmargin.engine.pool import Asset, Exposure, Leg
from crossmargin.engine.ray import Ray, first_fall
from crossmargin.engine.reference import PoolState
from crossmargin.errors import UnsupportedRule
from crossmargin.model.market import Market

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeLeverage:
    """How large a position may be, as the others stand, for an adverse ``move`` of its coin not to break the pool.

    ``margin`` is what it can rely on, in the pool's currency: the pool's headroom without it. ``leverage`` is its
    notional over that margin now, ``safe_notional`` the largest at which the pool survives the move, ``safe_leverage``
    the largest over the margin. ``per_margin``: the change of ``safe_leverage`` when the others gain one unit.
    None with a ``note`` where there is none.
    """

    pool: str
    symbol: str
    position_side: str
    move: Decimal
    margin: Decimal | None
    leverage: Decimal | None
    safe_notional: Decimal | None
    safe_leverage: Decimal | None
    per_margin: Decimal | None
    note: str | None


def safe_leverage(
    case: Case, state: PoolState, asset: Asset, exposure: Exposure, leg: Leg, move: Decimal
) -> SafeLeverage:
    """The largest size the position could have, opened anew at the mark, that survives the move of its coin.

    ``move``: a fraction between 0 and 1, against the position. ``state`` and what follows: where the position stands
    among the measured pools of the case.
    """
    account, market, rules = case
    position, symbol, pool = leg.position, exposure.symbol, state.pool
    side = 1 if position.quantity > 0 else -1
    per_contract = leg.size / position.quantity
    closed = fill(
        position,
        symbol=symbol.name,
        quantity=-position.quantity,
        price=exposure.mark,
        contract_size=per_contract,
        fee_rate=_ZERO,
    )
    settled = after_payments(account, {purse_of(pool, exposure, leg): -closed.realized_pnl})
    index = account.positions.index(position)
    shocked = coins_moved(market, {symbol.base: 1 - side * move})

    def sized(prices: Market) -> Callable[[Ray], Case]:
        """The case with the position of ``quantity + s`` contracts, its entry at the mark."""

        def build(s: Ray) -> Case:
            fresh = {"quantity": position.quantity + s, "entry_price": exposure.mark}
            positions = list(settled.positions)
            positions[index] = positions[index].model_copy(update=fresh)
            return settled.model_copy(update={"positions": tuple(positions)}), prices, rules

        return build

    none = -position.quantity
    per_contract_value = exposure.notional(leg.size, exposure.mark) * asset.price / abs(position.quantity)
    notional = per_contract_value * abs(position.quantity)
    margin = safe_notional = safe = per_margin = note = None
    try:
        margin = headroom_along(sized(market), pool.name, none, side).at(none)
        root = first_fall(lambda at, way: headroom_along(sized(shocked), pool.name, at, way), none, None, side)
        if margin <= 0:
            note = "the pool has no headroom without it"
        elif root is None:
            note = "no size of it breaks the pool on this move"
        else:
            safe_notional = per_contract_value * abs(root - none)
            safe = safe_notional / margin
            fall = headroom_along(sized(shocked), pool.name, root, side).slope(root) * side
            if root == none:
                note = "the pool does not survive the move even without it"
            elif fall:
                # one unit more of margin moves the root out by -1 / fall contracts
                per_margin = (-per_contract_value / fall - safe) / margin
    except UnsupportedRule as rule:
        note = str(rule)
    return SafeLeverage(
        pool=pool.name,
        symbol=symbol.name,
        position_side=position.position_side,
        move=-side * move,
        margin=margin,
        leverage=notional / margin if margin is not None and margin > 0 else None,
        safe_notional=safe_notional,
        safe_leverage=safe,
        per_margin=per_margin,
        note=note,
    )
