"""Deciding: a command and the state as it is give events, or a refusal that changes nothing.

:func:`apply` is the whole machine: decide, fold the events, judge whom they concern, fold the levels reached. It reads
no clock, draws no number and touches no file, so the same commands give the same events everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

from crossmargin.clearing import events, liquidations, money, trading
from crossmargin.clearing.commands import (
    AccrueInterest,
    AnyCommand,
    CancelOrder,
    ChangeRules,
    CloseTransfer,
    Deposit,
    Fill,
    GrantBonus,
    Halt,
    Index,
    LiquidateStep,
    Mark,
    OpenAccount,
    PlaceOrder,
    Receive,
    Resume,
    Send,
    SetLeverage,
    SetMarginMode,
    SettleFunding,
    Start,
    Transfer,
    Withdraw,
)
from crossmargin.clearing.events import Event, stamp, text
from crossmargin.clearing.ledger import WALLET, Entry
from crossmargin.clearing.state import (
    Price,
    State,
    as_account,
    as_market,
    evolve,
    pocket,
    pool_of,
    rules_as_json,
    settings_as_json,
    tick,
)
from crossmargin.clearing.trading import Decision, account_of, must_be_fresh, must_have_room, released
from crossmargin.clearing.watch import Watch, judged
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.engine.rooms import bracket_rooms
from crossmargin.errors import CommandRejected, CrossmarginError, MarketDataError
from crossmargin.model.account import Account, Balance
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import CONTEXT


def apply(state: State, command: AnyCommand, watch: Watch | None = None) -> list[Event]:
    """The events of a command, folded into the state; a refusal is one ``rejected`` event and leaves it as it was.

    ``watch`` keeps what is known of accounts between commands (see :mod:`crossmargin.clearing.watch`); without it
    every decision asks the judge, for the same events.
    """
    watch = watch if watch is not None else Watch(bounds=False)
    with localcontext(CONTEXT):
        before = state.now
        try:
            _clock(state, command)
            tick(state, command.at)
            decision = _DECIDE[type(command)](state, watch, command)
        except CrossmarginError as error:
            state.now = before
            return [_refusal(error)]
        found = list(decision.events)
        for event in found:
            evolve(state, event)
        for event in _levels(state, watch, _to_judge(state, watch, command, decision)):
            evolve(state, event)
            found.append(event)
        return found


def _refusal(error: CrossmarginError) -> Event:
    if isinstance(error, CommandRejected):
        return events.rejected(error.code, error.why, error.accepted)
    why = "; ".join(str(fault) for fault in error.faults)
    if isinstance(error, MarketDataError):
        return events.rejected("stale_prices", why, {"first": "the prices that are missing"})
    return events.rejected("unknown_rule", why, {})


def _clock(state: State, command: AnyCommand) -> None:
    """Books are started once, and their clock goes in steps."""
    if isinstance(command, Start):
        if state.settings is not None:
            raise CommandRejected("start", "duplicate", "the books are started already")
        return
    if state.settings is None:
        raise CommandRejected(command.kind, "wrong_state", "the books are not started", {"first": "start"})
    begun = state.now > state.venue.at  # the first command sets the clock
    if begun and command.at - state.now > state.max_step and not isinstance(command, Resume):
        furthest = state.now + state.max_step
        why = f"the clock would jump from {stamp(state.now)}"
        raise CommandRejected(command.kind, "implausible", why, {"at": f"up to {stamp(furthest)}", "first": "resume"})


def _to_judge(state: State, watch: Watch, command: AnyCommand, decision: Decision) -> set[str]:
    """The accounts whose verdict the command may have changed."""
    if isinstance(command, Mark):
        return watch.concerned(state, command.symbol, command.price)
    if isinstance(command, Index):
        return watch.concerned(state, command.asset, command.price)
    if decision.cost is not None:
        (name,) = decision.dirty or [getattr(command, "account", "")]
        own = state.accounts[name]
        if watch.charge(state, own, decision.cost, filled=decision.filled) and not own.levels:
            return set()
        return {name}
    known: dict[str, bool] = {}
    for paid in decision.payments:
        own = state.accounts[paid.account]
        known[own.id] = watch.pay(own, paid) and not own.levels and known.get(own.id, True)
    return {*decision.dirty, *(name for name, sure in known.items() if not sure)}


def _levels(state: State, watch: Watch, names: Iterable[str]) -> list[Event]:
    """Judge accounts and say which pools have come to another level."""
    found = []
    for name in sorted(names):
        own = state.accounts[name]
        levels = watch.settle(state, own)
        for pool in sorted(levels):
            if levels[pool] != own.levels.get(pool):
                found.append(events.level(name, pool, levels[pool]))
    return found


# the venue ------------------------------------------------------------------------------------------------------------


def _start(_state: State, _watch: Watch, command: Start) -> Decision:
    return Decision([{"event": "started", "settings": settings_as_json(command)}])


def _change_rules(state: State, watch: Watch, command: ChangeRules) -> Decision:
    """New rules for a profile, if every account under it can be judged by them."""
    rules = command.rules
    if rules is None:
        raise CommandRejected(command.profile, "unknown_rule", "the rules are not loaded; pass rules_of to read")
    if rules.profile != command.profile:
        raise CommandRejected(command.profile, "unknown_rule", f"the rules loaded are those of {rules.profile}")
    under = [own for own in state.accounts.values() if own.profile == command.profile]
    wrong = []
    for own in under:
        account = as_account(state, own)
        try:
            prepare(account, as_market(state, account), rules)
        except CrossmarginError as error:
            wrong.append(f"{own.id}: {'; '.join(str(fault) for fault in error.faults)}")
    if wrong:
        raise CommandRejected(command.profile, "unknown_rule", "; ".join(wrong[:5]))
    watch.forget()
    event = {"event": "rules_changed", "profile": command.profile, "rules": rules_as_json(rules)}
    return Decision([event], dirty=frozenset(own.id for own in under if own.positions or own.levels))


def _halt(_state: State, _watch: Watch, _command: Halt) -> Decision:
    return Decision([{"event": "halted"}])


def _resume(state: State, _watch: Watch, _command: Resume) -> Decision:
    until = state.now + timedelta(seconds=float(state.venue.grace_seconds))
    return Decision([{"event": "resumed", "liquidate_from": stamp(until)}])


# prices ---------------------------------------------------------------------------------------------------------------


def _mark(state: State, _watch: Watch, command: Mark) -> Decision:
    _plausible(state, command.symbol, state.marks.get(command.symbol), command)
    last = None if command.last_price is None else text(command.last_price)
    return Decision([{"event": "mark", "symbol": command.symbol, **_price(command), "last_price": last}])


def _index(state: State, _watch: Watch, command: Index) -> Decision:
    _plausible(state, command.asset, state.indexes.get(command.asset), command)
    rates = {name: None if rate is None else text(rate) for name, rate in _rates(command)}
    return Decision([{"event": "index", "asset": command.asset, **_price(command), **rates}])


def _rates(command: Index) -> tuple[tuple[str, Decimal | None], ...]:
    return ("bid_rate", command.bid_rate), ("ask_rate", command.ask_rate)


def _price(command: Mark | Index) -> dict[str, str]:
    return {"price": text(command.price), "at": stamp(command.at)}


def _plausible(state: State, name: str, last: Price | None, command: Mark | Index) -> None:
    """A price is newer than the last, and near it unless that one is stale or the move is confirmed."""
    if last is None:
        return
    if command.at <= last.at:
        why = f"a price of {name} of {stamp(last.at)} is known"
        raise CommandRejected(name, "late", why, {"at": f"after {stamp(last.at)}"})
    most = state.venue.max_move
    if state.fresh(last) and not command.confirmed and abs(command.price - last.price) > most * last.price:
        low, high = max(Decimal(0), last.price * (1 - most)), last.price * (1 + most)
        why = f"moves by more than {text(most)} of {text(last.price)} at once; send it confirmed if it is meant"
        raise CommandRejected(name, "implausible", why, {"price": f"{text(low)} to {text(high)}", "confirmed": "true"})


# accounts -------------------------------------------------------------------------------------------------------------


def _open_account(state: State, _watch: Watch, command: OpenAccount) -> Decision:
    if command.account in state.accounts:
        raise CommandRejected(command.account, "duplicate", "the account is open already")
    if command.profile not in state.rules:
        known = ", ".join(sorted(state.rules)) or "none"
        why = f"there are no rules for {command.profile}; known are {known}"
        raise CommandRejected(command.account, "unknown_rule", why, {"first": "change_rules"})
    return Decision([{"event": "account_opened", "account": command.account, "profile": command.profile}])


def _set_leverage(state: State, _watch: Watch, command: SetLeverage) -> Decision:
    """Another leverage, if the pool can carry it; equity and maintenance margin stay as they are."""
    own = account_of(state, command.account)
    update = {"leverage": command.leverage}
    account = as_account(state, own)
    changed: dict[str, Any] = {
        name: tuple(
            one.model_copy(update=update) if one.symbol == command.symbol else one for one in getattr(account, name)
        )
        for name in ("positions", "open_orders")
    }
    done: list[Event] = [
        {"event": "leverage", "account": own.id, "symbol": command.symbol, "leverage": text(command.leverage)}
    ]
    sides = [key for key in sorted(own.positions) if key[0] == command.symbol]
    if not sides and all(order.symbol != command.symbol for order in own.orders.values()):
        return Decision(done)
    if command.leverage != own.leverage.get(command.symbol):
        _carries(state, account, account.model_copy(update=changed), command)
    done += [events.position(own.id, own.positions[key].model_copy(update=update)) for key in sides]
    done += [
        events.resting(own.id, order_id, order.model_copy(update=update))
        for order_id, order in sorted(own.orders.items())
        if order.symbol == command.symbol
    ]
    return Decision(done, dirty=frozenset([own.id]))


def _carries(state: State, before: Account, after: Account, command: SetLeverage) -> None:
    prepared = prepare(after, as_market(state, after), state.rules[after.profile])
    for leg, room in bracket_rooms(prepared).items():
        if f" {command.symbol} " in f" {leg} " and room < 0:
            why = f"{leg} is {text(-room)} too large for a leverage of {text(command.leverage)}"
            raise CommandRejected(after.id, "wrong_size", why, {"leverage": "lower"})
    was = judged(state, before)
    for pool in map(measure, prepared.pools):
        more = was.get(pool.pool.name)
        if more is None or pool.initial is None or more.initial is None or pool.initial > more.initial:
            must_be_fresh(state, after, pool)
            must_have_room(state, after.id, pool)


def _set_margin_mode(state: State, _watch: Watch, command: SetMarginMode) -> Decision:
    """A symbol and side on the shared pool or in a pocket; an open position takes its margin along."""
    own = account_of(state, command.account)
    key = (command.symbol, command.position_side)
    rules = state.rules[own.profile]
    if (command.margin_mode == "isolated") == (key in own.isolated):
        raise CommandRejected(own.id, "wrong_state", f"{command.symbol} is {command.margin_mode} already")
    if command.margin_mode == "isolated" and not rules.slots.pooling.isolated:
        raise CommandRejected(
            own.id, "unknown_rule", f"{rules.profile} has cross margin only", {"margin_mode": "cross"}
        )
    if any((order.symbol, order.position_side) == key for order in own.orders.values()):
        raise CommandRejected(own.id, "wrong_state", "orders rest on it", {"first": "cancel_order"})
    held = own.positions.get(key)
    settle = parse_symbol(command.symbol).settle
    mode: Event = {
        "event": "margin_mode",
        "account": own.id,
        "symbol": command.symbol,
        "position_side": command.position_side,
        "margin_mode": command.margin_mode,
    }
    if held is None:
        return Decision([*released(state, own, key), mode])
    margin = command.isolated_margin
    if command.margin_mode == "isolated" and margin is None:
        raise CommandRejected(
            own.id, "wrong_size", "an open position needs isolated_margin", {"isolated_margin": "> 0"}
        )
    if margin is not None and margin % state.quantum(settle):
        raise CommandRejected(own.id, "wrong_size", f"is finer than {text(state.quantum(settle))} {settle}")
    moved = margin if margin is not None else -state.ledger.balance(own.id, pocket(*key), settle)
    account = as_account(state, own)
    positions = tuple(
        one.model_copy(update={"margin_mode": command.margin_mode, "isolated_margin": margin})
        if (one.symbol, one.position_side) == key
        else one
        for one in account.positions
    )
    balances = dict(account.balances)
    wallet = balances.get(settle, Balance())
    balances[settle] = wallet.model_copy(update={"wallet_balance": wallet.wallet_balance - moved})
    pools = judged(state, account.model_copy(update={"positions": positions, "balances": balances}))
    for isolated in (True, False):
        pool = pools.get(pool_of(rules, *key, isolated=isolated))
        if pool is not None:
            must_be_fresh(state, account, pool)
            must_have_room(state, own.id, pool)
    entries = [Entry(own.id, WALLET, settle, -moved), Entry(own.id, pocket(*key), settle, moved)]
    changed = events.position(own.id, held.model_copy(update={"margin_mode": command.margin_mode}))
    done = [events.posted("margin mode", [one for one in entries if one.amount]), mode, changed]
    return Decision(done, dirty=frozenset([own.id]))


_DECIDE: dict[type[Any], Callable[[State, Watch, Any], Decision]] = {
    Start: _start,
    ChangeRules: _change_rules,
    OpenAccount: _open_account,
    Deposit: money.deposit,
    Withdraw: money.withdraw,
    Transfer: money.transfer,
    Send: money.send,
    Receive: money.receive,
    CloseTransfer: money.close_transfer,
    GrantBonus: money.grant_bonus,
    SetLeverage: _set_leverage,
    SetMarginMode: _set_margin_mode,
    PlaceOrder: trading.place_order,
    CancelOrder: trading.cancel_order,
    Fill: trading.fill,
    Mark: _mark,
    Index: _index,
    SettleFunding: money.settle_funding,
    AccrueInterest: money.accrue_interest,
    LiquidateStep: liquidations.liquidate_step,
    Halt: _halt,
    Resume: _resume,
}
