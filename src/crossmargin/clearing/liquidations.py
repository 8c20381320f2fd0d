"""One step of a liquidation, as the profile's programme has it, and who pays what the pool cannot.

The step itself is :func:`crossmargin.engine.liquidation.next_step`. Here its money becomes ledger entries: losses and
gains against the market, fees, what the insurance fund takes or pays, and what other traders bear:

* ``auto_deleverage`` of a position: profitable positions of the other side are closed at its bankruptcy price, ranked
  by :func:`crossmargin.engine.liquidation.deleverage`, never more of them than the bankrupt position has;
* what is then still owed is taken from unrealized profits in the same settle asset, in proportion, never more than
  those are;
* what no profit covers is the venue's ``bad_debt``. An account without a position never pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from crossmargin.clearing import events
from crossmargin.clearing.commands import LiquidateStep
from crossmargin.clearing.events import Event, stamp, text
from crossmargin.clearing.ledger import VENUE, WALLET, Entry, exact
from crossmargin.clearing.state import AccountState, Episode, Key, State, as_account, as_market, pocket, pool_of
from crossmargin.clearing.trading import Decision, account_of, must_be_fresh, trimmed, venue_booked
from crossmargin.clearing.watch import Watch, judged
from crossmargin.engine import formulas
from crossmargin.engine.closing import Entry as Closed
from crossmargin.engine.liquidation import State as Walk
from crossmargin.engine.liquidation import Step, Winner, deleverage, next_step
from crossmargin.engine.reference import PoolState
from crossmargin.errors import CommandRejected, CrossmarginError
from crossmargin.model.account import Account
from crossmargin.model.instrument import parse_symbol

_ZERO = Decimal(0)
_BORNE_BY_OTHERS = ("auto_deleverage", "socialized_loss")


def liquidate_step(state: State, _watch: Watch, command: LiquidateStep) -> Decision:
    """The next step on a pool that is at its liquidation level by the exact judge, at fresh prices."""
    own = account_of(state, command.account)
    account = as_account(state, own, every_order=True)
    pools = judged(state, account)
    pool = pools.get(command.pool)
    if pool is None:
        why = f"{own.id} has no pool {command.pool}; its pools are {', '.join(pools) or 'none'}"
        raise CommandRejected(own.id, "unknown_name", why)
    episode = own.episodes.get(command.pool, Episode(0, state.liquidate_from))
    _may_go_on(state, own, account, pool, episode)
    fund = state.ledger.balance(VENUE, "insurance_fund", pool.pool.currency)
    walk = Walk(account, episode.at, {pool.pool.currency: fund})
    market, rules = as_market(state, account), state.rules[own.profile]
    following = next_step(walk, market, rules, command.pool)
    if following is None:
        raise CommandRejected(own.id, "wrong_state", f"the programme has nothing to do on pool {command.pool}")
    step, after = following
    booking = _Booking(state, own, pool)
    others = booking.others(step) if step.step in _BORNE_BY_OTHERS else []
    entries = booking.entries(step, account, after.account)
    money = events.posted(step.step, venue_booked(state, entries, ROUND_CEILING))
    wait = state.now + timedelta(seconds=float(step.wait_seconds))
    done = [
        _walked(own.id, step, after.at, stamp(wait)),
        *([money] if money["entries"] else []),
        *_positions(own, account, after.account),
        *_orders(own, account, after.account),
        *others,
    ]
    return Decision(done, dirty=frozenset([own.id, *booking.payers]))


def _may_go_on(state: State, own: AccountState, account: Account, pool: PoolState, episode: Episode) -> None:
    if state.halted:
        raise CommandRejected(own.id, "halted", "trading is stopped: nothing is liquidated")
    must_be_fresh(state, account, pool)
    if not pool.liquidatable:
        raise CommandRejected(own.id, "wrong_state", f"pool {pool.pool.name} has not reached its liquidation level")
    begin = max(state.liquidate_from, episode.wait_until)
    if state.now < begin:
        why = f"nothing is liquidated before {stamp(begin)}"
        raise CommandRejected(own.id, "wrong_state", why, {"at": f"from {stamp(begin)}"})


def _walked(account: str, step: Step, following: int, wait: str) -> Event:
    return {
        "event": "liquidation",
        "account": account,
        "pool": step.pool,
        "step": step.step,
        "at": following,
        "wait_until": wait,
        "headroom_before": _figure(step.headroom_before),
        "headroom_after": _figure(step.headroom_after),
        "note": step.note,
    }


def _figure(value: Decimal) -> str:
    return text(exact(value))


def _positions(own: AccountState, before: Account, after: Account) -> list[Event]:
    was = {(one.symbol, one.position_side): one for one in before.positions}
    now = {(one.symbol, one.position_side): one for one in after.positions}
    done: list[Event] = []
    for key in sorted(was):
        if key not in now:
            done.append(events.flat(own.id, *key))
        elif now[key].quantity != was[key].quantity:
            done.append(events.position(own.id, now[key]))
        else:
            continue
        kept = {id(order) for order in after.open_orders}
        resting = {name: order for name, order in own.orders.items() if id(order) in kept}
        left = AccountState(own.id, own.profile, orders=resting)
        done += trimmed(left, key, now.get(key))
    return done


def _orders(own: AccountState, before: Account, after: Account) -> list[Event]:
    kept = {id(order) for order in after.open_orders}
    given = {id(order) for order in before.open_orders}
    return [
        events.gone(own.id, order_id, "liquidation")
        for order_id, order in sorted(own.orders.items())
        if id(order) in given and id(order) not in kept
    ]


class _Profit(NamedTuple):
    """An open position in profit at the mark."""

    account: str
    key: Key
    place: str
    gain: Decimal


class _Booking:
    """The ledger's side of one step; ``payers`` are the other accounts that it concerns."""

    def __init__(self, state: State, own: AccountState, pool: PoolState) -> None:
        self.state = state
        self.own = own
        self.pool = pool
        self.payers: set[str] = set()
        self._paid: dict[str, Decimal] = {}

    def entries(self, step: Step, before: Account, after: Account) -> list[Entry]:
        """What the step moves: the account's wallets and pockets by difference, the venue's places by its entries."""
        found: list[Entry] = []
        for asset in sorted({*before.balances, *after.balances}):
            held, left = before.balances.get(asset), after.balances.get(asset)
            change = (left.wallet_balance if left else _ZERO) - (held.wallet_balance if held else _ZERO)
            found.append(Entry(self.own.id, WALLET, asset, change))
            lent = (left.bonus_credit if left else _ZERO) - (held.bonus_credit if held else _ZERO)
            found.append(Entry(self.own.id, "bonus", asset, lent))
        left_in = {(one.symbol, one.position_side): one.isolated_margin or _ZERO for one in after.positions}
        for one in before.positions:
            if one.margin_mode == "isolated":
                key = (one.symbol, one.position_side)
                change = left_in.get(key, _ZERO) - (one.isolated_margin or _ZERO)
                found.append(Entry(self.own.id, pocket(*key), parse_symbol(one.symbol).settle, change))
        for entry in step.entries:
            found += self._venue(step, entry)
        return found

    def _venue(self, step: Step, entry: Closed) -> list[Entry]:
        asset = entry.asset
        found = [Entry(VENUE, "market", asset, -entry.realized_pnl), Entry(VENUE, "fees", asset, entry.fee)]
        currency = self.pool.pool.currency
        if asset == currency or not entry.insurance_fund:
            found.append(Entry(VENUE, "insurance_fund", asset, entry.insurance_fund))
        else:  # the fund is counted in the pool's currency: what it takes or pays in another is exchanged
            price = next(own.asset.price for own in self.pool.assets if own.asset.name == asset)
            value = exact(entry.insurance_fund * price)
            found += [
                Entry(VENUE, "exchange", asset, entry.insurance_fund),
                Entry(VENUE, "exchange", currency, -value),
                Entry(VENUE, "insurance_fund", currency, value),
            ]
        if entry.transfer:
            place = "market" if step.step in _BORNE_BY_OTHERS else "exchange"
            found.append(Entry(VENUE, place, asset, -entry.transfer))
        return found

    # what others bear ------------------------------------------------------------------------------------------------

    def others(self, step: Step) -> list[Event]:
        """The trades and payments of other accounts that bring in what the step transfers to the pool.

        The step's entries take it from ``@venue market``; these bring it there, and what they cannot is bad debt.
        """
        owed: dict[str, Decimal] = {}
        done: list[Event] = []
        closed: dict[tuple[str, Key], Decimal] = {}
        for entry in step.entries:
            left = entry.transfer
            if step.step == "auto_deleverage" and entry.position_side and left > 0:
                left -= self._deleveraged(entry, done, closed)
            owed[entry.asset] = owed.get(entry.asset, _ZERO) + left
        for asset in sorted(owed):
            if owed[asset] > 0:
                done += self._shared(asset, owed[asset], closed)
            elif owed[asset]:
                rest = [Entry(VENUE, "market", asset, owed[asset]), Entry(VENUE, "rounding", asset, -owed[asset])]
                done.append(events.posted("rounding", rest))
        return done

    def _deleveraged(self, entry: Closed, done: list[Event], closed: dict[tuple[str, Key], Decimal]) -> Decimal:
        """Close winners at the bankruptcy price; returns what they give up in sum."""
        state, symbol = self.state, entry.what
        rules = state.rules[self.own.profile]
        size = rules.contract_size(symbol)
        if entry.price is None or size is None:
            return _ZERO
        winners = dict(self._winners(symbol, -entry.quantity))
        found = deleverage(
            -entry.quantity,
            winners.values(),
            symbol=symbol,
            price=entry.price,
            mark_price=state.marks[symbol].price,
            contract_size=size,
        )
        given_up = _ZERO
        settle = parse_symbol(symbol).settle
        for one in found:
            name, _, side = one.id.rpartition(" ")
            own, key = state.accounts[name], (symbol, side)
            held = own.positions[key]
            place = pocket(*key) if key in own.isolated else WALLET
            rows = [Entry(name, place, settle, one.realized_pnl), Entry(VENUE, "market", settle, -one.realized_pnl)]
            done.append(events.posted("auto_deleverage", venue_booked(state, rows)))
            left = held.quantity + one.quantity
            rest = held.model_copy(update={"quantity": left}) if left else None
            done.append(events.flat(name, *key) if rest is None else events.position(name, rest))
            done += trimmed(own, key, rest)
            closed[name, key] = one.quantity
            given_up += one.given_up
            self.payers.add(name)
        return given_up

    def _winners(self, symbol: str, quantity: Decimal) -> Iterator[tuple[str, Winner]]:
        for name in sorted(self.state.holders.get(symbol, ())):
            own = self.state.accounts[name]
            faces = [
                key
                for key in sorted(own.positions)
                if key[0] == symbol and (own.positions[key].quantity > 0) != (quantity > 0)
            ]
            if name == self.own.id or not faces:
                continue
            try:
                pools = judged(self.state, as_account(self.state, own))
            except CrossmarginError:  # its own state is unknown: it is not ranked
                continue
            settle = parse_symbol(symbol).settle
            for key in faces:
                pool = pools[pool_of(self.state.rules[own.profile], *key, isolated=key in own.isolated)]
                price = next(one.asset.price for one in pool.assets if one.asset.name == settle)
                yield f"{name} {key[1]}", Winner(f"{name} {key[1]}", own.positions[key], pool.equity / price)

    def _shared(self, asset: str, amount: Decimal, closed: dict[tuple[str, Key], Decimal]) -> list[Event]:
        """Take an amount from the profits of others, in proportion; the rest is bad debt."""
        profits = list(self._profits(asset, closed))
        total = sum((one.gain for one in profits), _ZERO)
        borne = min(amount, total)
        rows: list[Entry] = []
        so_far = taken = _ZERO
        for one in profits:
            so_far += one.gain
            due = (borne * so_far / total).quantize(self.state.quantum(asset), ROUND_CEILING)
            rows += [Entry(one.account, one.place, asset, taken - due), Entry(VENUE, "market", asset, due - taken)]
            taken = due
            self.payers.add(one.account)
        if taken < amount:
            rows += [Entry(VENUE, "bad_debt", asset, taken - amount), Entry(VENUE, "market", asset, amount - taken)]
        elif taken > amount:  # rounded up to the quantum of those who pay
            rows += [Entry(VENUE, "rounding", asset, taken - amount), Entry(VENUE, "market", asset, amount - taken)]
        return [events.posted("loss shared", venue_booked(self.state, rows))]

    def _profits(self, asset: str, closed: dict[tuple[str, Key], Decimal]) -> Iterator[_Profit]:
        state = self.state
        for symbol in sorted(state.holders):
            what, mark = parse_symbol(symbol), state.marks.get(symbol)
            if what.settle != asset or mark is None or not state.fresh(mark):
                continue
            pnl = formulas.inverse_pnl if what.kind == "inverse" else formulas.linear_pnl
            for name in sorted(state.holders[symbol] - {self.own.id}):
                own = state.accounts[name]
                size = state.rules[own.profile].contract_size(symbol) or _ZERO
                for key in sorted(own.positions):
                    held = own.positions[key]
                    left = held.quantity + closed.get((name, key), _ZERO)
                    gain = pnl(left * size, held.entry_price, mark.price)
                    if key[0] == symbol and gain > 0:
                        yield _Profit(name, key, pocket(*key) if key in own.isolated else WALLET, gain)
