"""Orders and fills: what is admitted, what is refused and with how much more it would be admitted.

An order must leave its pool with room above every line while it rests and after it has filled at its own price, fee
and loss against the mark included; an order in a pocket is measured against the pocket alone. A fill has happened and
is never refused for margin. Reduce-only orders are always admitted up to the position.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from crossmargin.clearing import events
from crossmargin.clearing.commands import CancelOrder, Fill, PlaceOrder
from crossmargin.clearing.events import Event, text
from crossmargin.clearing.ledger import BONUS, VENUE, WALLET, Entry, booked, exact
from crossmargin.clearing.state import AccountState, Key, State, as_account, as_market, pocket, pool_of
from crossmargin.clearing.watch import Cost, Payment, Watch, needed, stale
from crossmargin.engine.fills import fill as fill_position
from crossmargin.engine.fills import pay
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.rooms import bracket_rooms, tightest
from crossmargin.errors import CommandRejected
from crossmargin.model.account import Account, Balance, MarginMode, OpenOrder, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.noun import made
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Burn

_ZERO = Decimal(0)


class Decision(NamedTuple):
    """What a command does: its events, the accounts to judge again, and what the watch may know the cost of."""

    events: list[Event]
    dirty: frozenset[str] = frozenset()
    cost: Cost | None = None
    filled: bool = False
    payments: tuple[Payment, ...] = ()


def account_of(state: State, name: str) -> AccountState:
    """The account of that name; refused where there is none."""
    own = state.accounts.get(name)
    if own is None:
        raise CommandRejected(name, "unknown_name", f"there is no account {name}; open it first")
    return own


# trades ---------------------------------------------------------------------------------------------------------------


class Trade(NamedTuple):
    """A position after a trade, the PnL it realized and its fee, exact, in the settle asset."""

    position: Position | None
    realized_pnl: Decimal
    fee: Decimal


def trade(
    rules: Rules, held: Position | None, order: OpenOrder, quantity: Decimal, price: Decimal, fee: Decimal
) -> Trade:
    """A trade of ``quantity``: what faces the position closes first, the rest opens a new one."""
    size = rules.contract_size(order.symbol)
    if size is None:
        raise CommandRejected(order.symbol, "unknown_rule", f"{rules.profile} does not know its contract size")
    parts = [quantity]
    if held is not None and (held.quantity > 0) != (quantity > 0) and abs(quantity) > abs(held.quantity):
        parts = [-held.quantity, quantity + held.quantity]
    realized = paid = _ZERO
    position = held
    for part in parts:
        done = fill_position(
            position,
            symbol=order.symbol,
            quantity=part,
            price=price,
            contract_size=size,
            fee_rate=fee,
            leverage=order.leverage,
        )
        position, realized, paid = done.position, realized + done.realized_pnl, paid + done.fee
    return Trade(position, exact(realized), exact(paid))


def charged(
    state: State, own: AccountState, asset: str, costs: dict[Burn, Decimal], place: str = WALLET
) -> list[Entry]:
    """The account's side of costs by kind (below 0: received): the wallet's or a pocket's, and bonus credit by rule."""
    bonus, rule = state.ledger.balance(own.id, BONUS, asset), state.rules[own.profile].slots.bonus
    if place != WALLET or not bonus or rule is None:
        return [Entry(own.id, place, asset, -sum(costs.values(), _ZERO))]
    wallet = state.ledger.balance(own.id, WALLET, asset)
    before = Balance.model_construct(wallet_balance=wallet, bonus_credit=bonus)
    after = pay(before, costs, rule)
    return [
        Entry(own.id, WALLET, asset, after.wallet_balance - wallet),
        Entry(own.id, BONUS, asset, after.bonus_credit - bonus),
    ]


def venue_booked(state: State, entries: Iterable[Entry], rounding: str = ROUND_FLOOR) -> tuple[Entry, ...]:
    """Entries in the quanta of this venue."""
    return booked(entries, state.venue.quantum, state.venue.default_quantum, rounding)


def taker_fee(rules: Rules, symbol: str, stated: Decimal | None = None) -> Decimal:
    """The fee rate of a fill; refused where neither it nor the rules state one."""
    rate = stated if stated is not None else rules.taker_fee(symbol)
    if rate is None:
        raise CommandRejected(symbol, "unknown_rule", f"{rules.profile} knows no taker fee", {"fee_rate": "0 to 1"})
    return rate


# orders ---------------------------------------------------------------------------------------------------------------


def place_order(state: State, watch: Watch, command: PlaceOrder) -> Decision:
    """An order that rests, if its pool can carry it."""
    own = account_of(state, command.account)
    key = (command.symbol, command.position_side)
    if command.order_id in own.orders:
        raise CommandRejected(command.order_id, "duplicate", f"{own.id} has an order of that id; take another")
    if len(own.orders) >= state.venue.max_orders:
        why = f"{own.id} has {len(own.orders)} resting orders"
        raise CommandRejected(own.id, "wrong_state", why, {"first": "cancel_order"})
    if state.halted and not command.reduce_only:
        raise CommandRejected(own.id, "halted", "trading is stopped", {"reduce_only": "true"})
    _one_mode(own, key)
    leverage = own.leverage.get(command.symbol)
    if leverage is None:
        why = f"the leverage of {command.symbol} is not set"
        raise CommandRejected(own.id, "wrong_state", why, {"first": "set_leverage"})
    order = made(
        OpenOrder,
        symbol=command.symbol,
        quantity=command.quantity,
        price=command.price,
        reduce_only=command.reduce_only,
        position_side=command.position_side,
        leverage=leverage,
    )
    done = [events.resting(own.id, command.order_id, order)]
    if command.reduce_only:
        _must_reduce(own, key, order)
        return Decision(done)
    cost = None
    if key not in own.isolated:
        cost = watch.cost(state, own, order.symbol, order.position_side, order.quantity, order.price)
    if cost is not None and watch.affords(state, own, cost):
        return Decision(done, cost=cost)
    _admit(state, own, key, order)
    return Decision(done, dirty=frozenset([own.id]))


def _one_mode(own: AccountState, key: Key) -> None:
    """A symbol is held net or in hedge mode, not both; a hedge side holds one sign only."""
    resting = [order.position_side for order in own.orders.values() if order.symbol == key[0]]
    for side in (*resting, *(side for symbol, side in own.positions if symbol == key[0])):
        if (side == "net") != (key[1] == "net"):
            why = f"{key[0]} is held {'net' if side == 'net' else 'in hedge mode'}"
            raise CommandRejected(own.id, "wrong_state", why, {"position_side": side})


def _must_reduce(own: AccountState, key: Key, order: OpenOrder) -> None:
    held = own.positions.get(key)
    left = _ZERO
    if held is not None:
        waiting = [abs(o.quantity) for o in own.orders.values() if o.reduce_only and _key(o) == key]
        left = abs(held.quantity) - sum(waiting, _ZERO)
    if held is None or (held.quantity > 0) == (order.quantity > 0) or abs(order.quantity) > left:
        sign = "-" if held is not None and held.quantity > 0 else ""
        most = f"{sign}{text(max(left, _ZERO))}" if held is not None else "0"
        raise CommandRejected(own.id, "wrong_size", "reduces more than there is to reduce", {"quantity": most})


def _key(order: OpenOrder) -> Key:
    return order.symbol, order.position_side


def _admit(state: State, own: AccountState, key: Key, order: OpenOrder) -> None:
    """Refuse an order that its pool cannot carry, resting or filled."""
    rules = state.rules[own.profile]
    isolated = key in own.isolated
    name = pool_of(rules, *key, isolated=isolated)
    account = as_account(state, own)
    held_for = rules.slots_for(isolated=isolated).initial_margin.orders
    alone = not isolated and held_for is not None and held_for.value
    if alone:
        _must_stand(state, account.model_copy(update={"open_orders": (*account.open_orders, order)}), name)
    others = [] if alone else [o for o in own.orders.values() if _together(own, o, order, isolated=isolated)]
    for one in (*others, order):
        account = _as_if_filled(state, own, account, one)
    _must_stand(state, account, name, leg=f"{name} {key[0]} {key[1]}")


def _together(own: AccountState, other: OpenOrder, order: OpenOrder, *, isolated: bool) -> bool:
    """Whether another resting order may fill as well and nothing is held for it yet."""
    same = _key(other) == _key(order)
    if other.reduce_only or (same and (other.quantity > 0) != (order.quantity > 0)):
        return False
    return same if isolated else _key(other) not in own.isolated


def _as_if_filled(state: State, own: AccountState, account: Account, order: OpenOrder) -> Account:
    """The account after an order has filled whole at its own price."""
    rules, key = state.rules[own.profile], _key(order)
    isolated = key in own.isolated
    held = next((one for one in account.positions if (one.symbol, one.position_side) == key), None)
    rate = rules.taker_fee(order.symbol) or _ZERO
    after = trade(rules, held, order, order.quantity, order.price, rate)
    received = after.realized_pnl - after.fee
    settle = parse_symbol(order.symbol).settle
    position = after.position
    if position is not None and isolated:
        margin = held.isolated_margin if held is not None else None
        if margin is None:
            margin = state.ledger.balance(own.id, pocket(*key), settle)
        if margin + received < 0:
            short = (-(margin + received)).quantize(state.quantum(settle), ROUND_CEILING)
            why = "the pocket cannot pay the fee"
            raise CommandRejected(own.id, "insufficient_margin", why, {"transfer": text(short), "asset": settle})
        position = position.model_copy(update={"margin_mode": "isolated", "isolated_margin": margin + received})
    if position is not None and position.position_side != order.position_side:
        position = position.model_copy(update={"position_side": order.position_side})
    kept = tuple(one for one in account.positions if one is not held)
    update: dict[str, object] = {"positions": kept if position is None else (*kept, position)}
    if not isolated:
        balances = dict(account.balances)
        wallet = balances.get(settle, Balance())
        balances[settle] = wallet.model_copy(update={"wallet_balance": wallet.wallet_balance + received})
        update["balances"] = balances
    return account.model_copy(update=update)


def _must_stand(state: State, account: Account, name: str, *, leg: str | None = None) -> None:
    """Refuse an account whose pool would have no room, or whose prices are stale."""
    prepared = prepare(account, as_market(state, account), state.rules[account.profile])
    pool = next((measure(one) for one in prepared.pools if one.name == name), None)
    if pool is None:  # flat: nothing to carry
        return
    must_be_fresh(state, account, pool)
    must_have_room(state, account.id, pool)
    cap = None if leg is None else bracket_rooms(prepared).get(leg)
    if cap is not None and cap < 0:
        why = f"the position would be {text(-cap)} too large for its leverage"
        raise CommandRejected(account.id, "wrong_size", why, {"first": "set_leverage lower"})


def must_be_fresh(state: State, account: Account, pool: PoolState) -> None:
    """Refuse a decision about a pool with a price that is missing or stale: its state is unknown."""
    missing = stale(state, needed(state, account, pool))
    if missing:
        why = f"the state of pool {pool.pool.name} is unknown: no fresh price of {', '.join(missing)}"
        raise CommandRejected(account.id, "stale_prices", why, {"first": f"prices of {', '.join(missing)}"})


def must_have_room(state: State, account: str, pool: PoolState, room: Decimal | None = None) -> None:
    """Refuse what leaves a pool below a line; the answer says what it lacks."""
    left = tightest(pool)
    if left is None:
        why = f"the initial margin of pool {pool.pool.name} is unknown: a leverage is missing"
        raise CommandRejected(account, "unknown_rule", why, {"first": "set_leverage"})
    left = left if room is None else min(left, room)
    if left < 0:
        currency = pool.pool.currency
        short = text((-left).quantize(state.quantum(currency), ROUND_CEILING))
        why = f"pool {pool.pool.name} would be short of {short} {currency}"
        how = "transfer" if pool.pool.isolated else "deposit"
        raise CommandRejected(account, "insufficient_margin", why, {how: short, "asset": currency})


def cancel_order(state: State, _watch: Watch, command: CancelOrder) -> Decision:
    """An order taken back; what it held is free again when the pool is judged next."""
    own = account_of(state, command.account)
    order = _order_of(own, command.order_id)
    done = [events.gone(own.id, command.order_id, "cancelled")]
    return Decision([*done, *released(state, own, _key(order), without=command.order_id)])


def _order_of(own: AccountState, order_id: str) -> OpenOrder:
    order = own.orders.get(order_id)
    if order is None:
        raise CommandRejected(own.id, "unknown_name", f"{own.id} has no resting order {order_id}")
    return order


# fills ----------------------------------------------------------------------------------------------------------------


def fill(state: State, watch: Watch, command: Fill) -> Decision:
    """A fill: PnL and fee into the ledger, the position and the order as they are after it."""
    own = account_of(state, command.account)
    order = _order_of(own, command.order_id)
    if state.halted:
        raise CommandRejected(own.id, "halted", "trading is stopped")
    if (command.quantity > 0) != (order.quantity > 0) or abs(command.quantity) > abs(order.quantity):
        why = f"order {command.order_id} has {text(order.quantity)} left"
        raise CommandRejected(own.id, "wrong_size", why, {"quantity": text(order.quantity)})
    if (command.price - order.price) * command.quantity > 0:
        why = "is worse than the order's price"
        raise CommandRejected(own.id, "implausible", why, {"price": text(order.price)})
    rules, key = state.rules[own.profile], _key(order)
    held = own.positions.get(key)
    rate = taker_fee(rules, order.symbol, command.fee_rate)
    cost = watch.cost(state, own, order.symbol, order.position_side, command.quantity, command.price)
    after = trade(rules, held, order, command.quantity, command.price, rate)
    paid = _money(state, own, key, after)
    done = [paid] if paid["entries"] else []
    if after.position is None:
        done.append(events.flat(own.id, *key))
    else:
        mode: MarginMode = "isolated" if key in own.isolated else "cross"
        done.append(events.position(own.id, after.position, mode, order.position_side))
    left = order.quantity - command.quantity
    if left:
        done.append(events.resting(own.id, command.order_id, order.model_copy(update={"quantity": left})))
    else:
        done.append(events.gone(own.id, command.order_id, "filled"))
    done += trimmed(own, key, after.position, skip=command.order_id, rest=left)
    if after.position is None:
        done += released(state, own, key, without=None if left else command.order_id, paid=paid)
        cost = None
    return Decision(done, dirty=frozenset([own.id]), cost=cost, filled=True)


def _money(state: State, own: AccountState, key: Key, after: Trade) -> Event:
    settle = parse_symbol(key[0]).settle
    place = pocket(*key) if key in own.isolated else WALLET
    entries = charged(state, own, settle, {"loss": -after.realized_pnl, "fee": after.fee}, place)
    entries += [
        Entry(VENUE, "market", settle, -after.realized_pnl),
        Entry(VENUE, "fees", settle, after.fee),
    ]
    return events.posted("fill", venue_booked(state, entries))


def trimmed(
    own: AccountState, key: Key, position: Position | None, *, skip: str | None = None, rest: Decimal = _ZERO
) -> list[Event]:
    """Reduce-only orders that the position can no longer fill, the last placed first in the order of their ids."""
    left = _ZERO if position is None else abs(position.quantity)
    done = []
    reducing = [order_id for order_id, order in own.orders.items() if order.reduce_only and _key(order) == key]
    for order_id in sorted(reducing):
        quantity = rest if order_id == skip else own.orders[order_id].quantity
        if not quantity:
            continue
        faces = position is not None and (position.quantity > 0) != (quantity > 0)
        if faces and abs(quantity) <= left:
            left -= abs(quantity)
        else:
            done.append(events.gone(own.id, order_id, "nothing left to reduce"))
    return done


def released(
    state: State, own: AccountState, key: Key, *, without: str | None = None, paid: Event | None = None
) -> list[Event]:
    """The pocket of a position that is flat goes back to the wallet, unless an order still rests on it."""
    if key not in own.isolated or (paid is None and key in own.positions):
        return []
    if any(_key(o) == key and not o.reduce_only for order_id, o in own.orders.items() if order_id != without):
        return []
    settle, place = parse_symbol(key[0]).settle, pocket(*key)
    left = state.ledger.balance(own.id, place, settle)
    for owner, where, asset, amount in () if paid is None else paid["entries"]:
        if (owner, where, asset) == (own.id, place, settle):
            left += Decimal(amount)
    if not left:
        return []
    entries = [Entry(own.id, place, settle, -left), Entry(own.id, WALLET, settle, left)]
    return [events.posted("pocket released", entries)]
